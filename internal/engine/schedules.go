package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/cron"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// maxSchedules is how many schedules a pipeline may have.
const maxSchedules = 100

// SaveSchedule adds a schedule to a pipeline, or changes the one with its id: change gets the present one and
// returns the wanted one. What the server keeps of a schedule, its next time and its failures, is not for
// the caller to say.
func (e *Engine) SaveSchedule(ctx context.Context, pipelineID, id string, change func(store.Schedule) store.Schedule) (store.Schedule, error) {
	var out store.Schedule
	err := e.Store.Update(ctx, func(tx *store.Tx) error {
		was := store.Schedule{ID: e.NewID(), PipelineID: pipelineID, Commit: "HEAD", Enabled: true, CreatedAt: e.Now()}
		var err error
		if id != "" { // whose lock comes before its pipeline's, as where it makes a build
			was, err = scheduleOf(ctx, tx, pipelineID, id)
		} else {
			_, err = tx.LockPipeline(ctx, pipelineID)
			err = missing(err, "No pipeline found")
		}
		if err != nil {
			return err
		}
		out = change(was)
		out.ID, out.PipelineID, out.CreatedAt = was.ID, was.PipelineID, was.CreatedAt
		if err := e.timeSchedule(&out, was); err != nil {
			return err
		}
		if id != "" {
			return tx.UpdateSchedule(ctx, out)
		}
		all, err := tx.Schedules(ctx, pipelineID, maxSchedules)
		if err != nil {
			return err
		}
		if len(all) == maxSchedules {
			return refuse(Conflict, "The pipeline has %d schedules, which is the most that it may have.", maxSchedules)
		}
		return tx.InsertSchedule(ctx, out)
	})
	return out, err
}

// timeSchedule checks a schedule and says when it comes next. A change of its times, or enabling it, forgets
// what went wrong and does not make up for what it missed.
func (e *Engine) timeSchedule(s *store.Schedule, was store.Schedule) error {
	s.Label, s.Cronline, s.Branch = strings.TrimSpace(s.Label), strings.TrimSpace(s.Cronline), strings.TrimSpace(s.Branch)
	s.Commit = firstNonEmpty(strings.TrimSpace(s.Commit), "HEAD")
	fields := map[string]string{}
	if s.Label == "" {
		fields["label"] = "can't be blank"
	}
	maps.Copy(fields, checkOrigin(s.Branch, s.Commit))
	times, err := cron.Parse(s.Cronline, time.LoadLocation)
	if err != nil {
		fields["cronline"] = err.Error()
	}
	if len(fields) > 0 {
		return &Refused{Why: Invalid, Message: "Validation Failed", Fields: fields}
	}
	if s.Cronline != was.Cronline || s.Enabled != was.Enabled || was.NextAt.IsZero() {
		s.NextAt, s.FailedAt, s.FailedMessage = times.Next(e.Now()), time.Time{}, ""
	}
	return nil
}

// checkOrigin refuses a branch and a commit that need not be of the pipeline's own repository: what builds
// of themselves may run what members pushed, and a pull request's refs are not that.
func checkOrigin(branch, commit string) map[string]string {
	wrong := map[string]string{}
	for field, ref := range map[string]string{"branch": branch, "commit": commit} {
		if checkRef(ref) != nil || strings.HasPrefix(ref, "refs/") || strings.ContainsAny(ref, ":~^?*[\\") {
			wrong[field] = "is not the name of a branch, a tag or a commit"
		}
	}
	return wrong
}

// DeleteSchedule removes a pipeline's schedule.
func (e *Engine) DeleteSchedule(ctx context.Context, pipelineID, id string) error {
	return e.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := scheduleOf(ctx, tx, pipelineID, id); err != nil {
			return err
		}
		return tx.DeleteSchedule(ctx, id)
	})
}

func scheduleOf(ctx context.Context, tx *store.Tx, pipelineID, id string) (store.Schedule, error) {
	s, err := tx.LockSchedule(ctx, id)
	if err == nil && s.PipelineID != pipelineID {
		err = store.ErrNotFound
	}
	return s, missing(err, "No schedule found")
}

// FireSchedule makes the build of a schedule whose time has come, and sets its next time: once, however many
// servers try. A schedule whose times passed while no server ran makes one build. A build that cannot be
// made is recorded with the schedule and tried again at its next time.
func (e *Engine) FireSchedule(ctx context.Context, id string) error {
	return e.drafting(ctx, func(d *draft) error { return e.fireSchedule(ctx, id, d) })
}

func (e *Engine) fireSchedule(ctx context.Context, id string, d *draft) error {
	return e.update(ctx, func(tx *store.Tx, hint func(...string)) error {
		s, err := tx.LockSchedule(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			return nil // deleted meanwhile
		}
		if err != nil || !s.Enabled || s.NextAt.IsZero() || s.NextAt.After(e.Now()) {
			return err
		}
		nominal := s.NextAt
		times, err := cron.Parse(s.Cronline, time.LoadLocation)
		if err != nil {
			s.NextAt, s.FailedAt, s.FailedMessage = time.Time{}, e.Now(), "The schedule cannot be read: "+err.Error()
			return tx.UpdateSchedule(ctx, s)
		}
		s.NextAt, s.FailedAt, s.FailedMessage = times.Next(e.Now()), time.Time{}, ""
		if err := e.scheduledBuild(ctx, tx, hint, &s, nominal, d); err != nil {
			return err
		}
		return tx.UpdateSchedule(ctx, s)
	})
}

func (e *Engine) scheduledBuild(ctx context.Context, tx *store.Tx, hint func(...string), s *store.Schedule, nominal time.Time, of *draft) error {
	author, err := personOf(ctx, tx.Reader, s.CreatedBy)
	if err != nil {
		return err
	}
	b, err := e.createBuild(ctx, tx, hint, CreateBuild{
		PipelineID: s.PipelineID, Source: trust.SourceSchedule, Commit: s.Commit, Branch: s.Branch,
		Message: firstNonEmpty(s.Message, "Scheduled build: "+s.Label), Author: author, CreatorID: s.CreatedBy, Env: s.Env, draft: of,
	})
	d := store.Delivery{
		ID: e.NewID(), PipelineID: s.PipelineID, Key: fmt.Sprintf("schedule:%s:%d", s.ID, nominal.UnixMicro()), Source: "schedule",
		Event: "schedule", Subject: s.Label, Outcome: Built, Builds: []int64{b.Number}, CreatedAt: e.Now(),
		Reason: fmt.Sprintf("The schedule's time of %s.", nominal.Format(time.RFC3339)),
	}
	if refused, ok := errors.AsType[*Refused](err); ok {
		d.Outcome, d.Reason, d.Builds = Declined, refusalText(refused), nil
		s.FailedAt, s.FailedMessage = e.Now(), d.Reason
	} else if err != nil {
		return err
	}
	return tx.InsertDelivery(ctx, d, keepDeliveries)
}

// personOf is a user as builds remember their author; nobody for a user who is gone.
func personOf(ctx context.Context, r store.Reader, userID string) (store.Person, error) {
	if userID == "" {
		return store.Person{}, nil
	}
	u, err := r.User(ctx, userID)
	if errors.Is(err, store.ErrNotFound) {
		return store.Person{}, nil
	}
	return store.Person{ID: u.ID, Name: u.Name, Email: u.Email}, err
}
