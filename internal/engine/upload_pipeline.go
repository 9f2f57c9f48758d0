package engine

import (
	"context"
	"errors"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// UploadPipeline adds steps to a running build.
type UploadPipeline struct {
	JobID    string
	UUID     string // idempotency key
	Pipeline []byte // JSON as received
	Replace  bool   // remove the steps that have not started first
}

// UploadPipeline applies an upload as a whole or not at all. An upload that is refused is recorded,
// so that the same uuid gets the same answer; the build is as it was.
func (e *Engine) UploadPipeline(ctx context.Context, op UploadPipeline) (store.Upload, error) {
	up := store.Upload{JobID: op.JobID, UUID: op.UUID, State: "applied", CreatedAt: e.Now()}
	err := e.drafting(ctx, func(d *draft) error {
		return e.onJob(ctx, op.JobID, func(p *progress, job store.Job) error {
			p.draft, up.BuildID = d, job.BuildID
			known, err := decidedUpload(ctx, p.tx, up)
			if err == nil {
				up = known
				return nil
			}
			if !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if up.Jobs, err = p.upload(op, job); err != nil {
				return err
			}
			return p.tx.SaveUpload(ctx, up)
		})
	})
	var refused *Refused
	if err = planRefusal(err); errors.As(err, &refused) && refused.Why != Missing {
		up.State, up.Message, up.Jobs = "rejected", refused.Message, 0
		known, err := e.rejectUpload(ctx, up)
		if errors.Is(err, store.ErrConflict) { // the same upload was refused at once, and is known now
			return e.rejectUpload(ctx, up)
		}
		return known, err
	}
	return up, err
}

// decidedUpload returns an upload of which is known what became of it; ErrNotFound if that is not so.
func decidedUpload(ctx context.Context, tx *store.Tx, up store.Upload) (store.Upload, error) {
	known, err := tx.Upload(ctx, up.JobID, up.UUID)
	if err == nil && known.State == pendingUpload {
		return known, store.ErrNotFound
	}
	return known, err
}

// rejectUpload records a refusal, unless the same upload was applied meanwhile.
func (e *Engine) rejectUpload(ctx context.Context, up store.Upload) (store.Upload, error) {
	err := e.Store.Update(ctx, func(tx *store.Tx) error {
		known, err := decidedUpload(ctx, tx, up)
		if err == nil {
			up = known
			return nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return tx.SaveUpload(ctx, up)
	})
	return up, err
}

func (p *progress) upload(op UploadPipeline, job store.Job) (int, error) {
	if p.build.State.Finished() || p.build.State == ci.BuildCanceling {
		return 0, refuse(Invalid, "You can only change the pipeline of a running build")
	}
	// Its token was good when the request came; the agent may have been lost since.
	if !job.State.Held() {
		return 0, refuse(Invalid, "The job has ended; its uploads are no longer taken")
	}
	if err := requireAllow(p.build); err != nil {
		return 0, err
	}
	decided, err := p.settings()
	if err != nil {
		return 0, err
	}
	if most := int64(decided.MaxUploadsPerBuild); most > 0 && p.build.NextPosition >= most {
		return 0, refuse(Invalid, "The build has %d pipeline uploads; your organization's limit is %d.", p.build.NextPosition, most)
	}
	uploader, err := p.step(job.StepID)
	if err != nil {
		return 0, err
	}
	if op.Replace {
		if err := p.removeUnstarted(uploader); err != nil {
			return 0, err
		}
		// New edges are counted with what their sources tell when they are made.
		if err := p.settle(); err != nil {
			return 0, err
		}
	}
	plan, pl, err := p.planUpload(op)
	if err != nil {
		return 0, err
	}
	group, err := p.joined(plan, uploader)
	if err != nil {
		return 0, err
	}
	p.build.NextPosition++
	return plan.JobCount(), p.addPlan(plan, placement{
		pipeline: pl, uploader: uploader, group: group, scheduledAt: job.ScheduledAt,
		position: uploadPosition(uploader.Position, p.build.NextPosition),
	})
}

func (p *progress) planUpload(op UploadPipeline) (pipeline.Plan, store.Pipeline, error) {
	pl, err := p.pipeline()
	if err != nil {
		return pipeline.Plan{}, pl, err
	}
	org, err := p.organization()
	if err != nil {
		return pipeline.Plan{}, pl, err
	}
	d := p.draft
	if op.Replace {
		d = nil // it frees keys in this transaction
	}
	plan, err := p.e.planned(d, planInput{
		org: org, pipeline: pl, build: p.build, source: op.Pipeline,
		used: func(key string) (bool, error) { return hasKey(p.ctx, p.tx.Reader, p.build.ID, key) },
	})
	return plan, pl, err
}

// hasKey says whether a step of a build has a key.
func hasKey(ctx context.Context, r store.Reader, buildID, key string) (bool, error) {
	_, err := r.StepByKey(ctx, buildID, key)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// uploadPosition is where an upload's steps begin: right behind the uploading step, the newest
// upload first.
func uploadPosition(after string, n int64) string {
	const width = 999_999
	return after + sixDigits(width-n)
}

func sixDigits(n int64) string {
	b := []byte("000000")
	for i := len(b) - 1; i >= 0 && n > 0; i, n = i-1, n/10 {
		b[i] = byte('0' + n%10)
	}
	return string(b)
}

// removeUnstarted takes the steps out of the build of which nothing has started, besides the one
// that uploads, and the groups that lose all their members. Their keys are free again.
func (p *progress) removeUnstarted(uploader *store.Step) error {
	steps, err := p.tx.Steps(p.ctx, p.build.ID)
	if err != nil {
		return err
	}
	stays := map[string]bool{} // groups that keep a member
	for _, s := range steps {
		if s.Kind == ci.StepGroup {
			continue
		}
		removed := false
		if s.ID != uploader.ID && unstarted(s) {
			if removed, err = p.remove(s.ID); err != nil {
				return err
			}
		}
		stays[s.GroupID] = stays[s.GroupID] || !removed
	}
	for _, s := range steps {
		if s.Kind != ci.StepGroup || stays[s.ID] {
			continue
		}
		if _, err := p.remove(s.ID); err != nil {
			return err
		}
	}
	return nil
}

func unstarted(s store.Step) bool {
	t := s.Jobs
	return t.Total() > 0 && t.Total() == t[ci.ClassWaiting]+t[ci.ClassBlocked]+t[ci.ClassReady]
}

// remove takes one step out, unless an agent is about to start it or ran an earlier attempt of it.
// Its jobs are skipped, so that nothing waits for it. It is saved at once: steps of the upload may
// have its key.
func (p *progress) remove(id string) (bool, error) {
	s, err := p.step(id)
	if err != nil {
		return false, err
	}
	byStep, err := p.jobsOf([]*store.Step{s})
	if err != nil {
		return false, err
	}
	jobs := byStep[s.ID]
	for _, j := range jobs {
		if j.State.Held() || j.Retries > 0 {
			return false, nil
		}
	}
	for _, j := range jobs {
		if _, err := p.apply(j, ci.JobSkip{Reason: "replaced by a pipeline upload"}); err != nil {
			return false, err
		}
	}
	p.touch(s)
	s.Gone, s.Key = true, ""
	p.forgetUnserved(s.ID)
	return true, p.tx.UpdateStep(p.ctx, *s)
}
