package engine

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

const (
	eager   = "eager"
	maxRoom = 10_000 // jobs of a group that are let go by one look at it
)

// lines is what a transaction does to the lines of concurrency groups.
type lines struct {
	due     map[string]int // groups to be locked, with how much changed that may let other jobs go
	limited []store.Job    // became limited
	review  bool           // whether waiting jobs stand behind a block may be answered otherwise than before
}

// holdsSlot says whether a job in a state takes a slot of its group.
func holdsSlot(s ci.JobState) bool {
	return s == ci.JobScheduled || s == ci.JobReserved || s.Held()
}

// lineMoved follows a change of a job's state in the line of its group.
func (p *progress) lineMoved(was ci.JobState, j *store.Job) {
	if j.Kind == ci.JobManual && j.State.Terminal() {
		p.lines.review = true
	}
	if j.GroupID == "" {
		return
	}
	if p.lines.due == nil {
		p.lines.due = map[string]int{}
	}
	switch {
	case j.State == ci.JobLimited:
		j.Queued = true
		p.lines.limited = append(p.lines.limited, *j)
		p.lines.due[j.GroupID] += 0 // locked, so that it may be let go at once
	case j.State == ci.JobWaiting:
		j.Queued, p.lines.review = false, true
	default:
		left := (j.Queued || holdsSlot(was)) && !holdsSlot(j.State)
		j.Queued = false
		if left {
			p.lines.due[j.GroupID]++
		}
	}
}

// lineUp gives the waiting jobs of the build a place in their group's line, so that the closing step of
// a gate keeps later builds out before it may run itself. A job behind an unanswered block has none:
// a person may take days, and the others would wait for them
// (https://buildkite.com/docs/pipelines/configure/workflows/controlling-concurrency).
func (p *progress) lineUp() error {
	if !p.lines.review {
		return nil
	}
	jobs, err := p.tx.UnqueuedJobs(p.ctx, p.build.ID)
	if err != nil {
		return err
	}
	for _, id := range p.order {
		for _, j := range p.fresh[id].jobs {
			if j.GroupID != "" && j.State == ci.JobWaiting {
				jobs = append(jobs, j)
			}
		}
	}
	if len(jobs) == 0 {
		return nil
	}
	behind, err := p.behindBlocks()
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if behind[j.StepID] {
			continue
		}
		j.Queued = true
		if err := p.save(j); err != nil {
			return err
		}
	}
	return nil
}

// behindBlocks are the steps that wait, directly or not, for a person. It reads the whole build, and is
// asked for only when a job of a group begins to wait or a block is answered.
func (p *progress) behindBlocks() (map[string]bool, error) {
	open, err := p.openBlocks()
	if err != nil || len(open) == 0 {
		return nil, err
	}
	w, err := p.waits()
	if err != nil {
		return nil, err
	}
	return w.behind(open...), nil
}

func (p *progress) openBlocks() ([]string, error) {
	steps, err := p.tx.ManualSteps(p.ctx, p.build.ID)
	if err != nil {
		return nil, err
	}
	var open []string
	for _, s := range steps {
		if now, ok := p.steps[s.ID]; ok {
			s = *now
		}
		if s.End() == ci.NotEnded && !s.Gone {
			open = append(open, s.ID)
		}
	}
	for _, id := range p.order {
		if s := p.fresh[id].step; (s.Kind == ci.StepBlock || s.Kind == ci.StepInput) && s.End() == ci.NotEnded {
			open = append(open, id)
		}
	}
	return open, nil
}

// admitHere locks the groups in which the transaction changed something, and lets those of its own jobs go
// that need not wait. Whoever else may go now is left to AdmitGroup: their builds are not locked.
func (p *progress) admitHere() error {
	for _, id := range slices.Sorted(maps.Keys(p.lines.due)) { // one order for all
		due := p.lines.due[id]
		if due > 0 {
			p.hint(live.Admit)
		}
		if err := p.tx.TouchGroup(p.ctx, id, due); err != nil {
			return err
		}
	}
	clear(p.fresh) // they are saved
	refused := map[[2]string]int{}
	slices.SortStableFunc(p.lines.limited, compareInLine)
	for _, j := range p.lines.limited {
		// Whoever has no wider limit than one before it that must wait has to wait too.
		line := [2]string{j.GroupID, j.ConcurrencyMethod}
		if j.Concurrency <= refused[line] {
			continue
		}
		ok, err := p.admit(j.ID)
		if err != nil {
			return err
		}
		if !ok {
			refused[line] = j.Concurrency
		}
	}
	return nil
}

// compareInLine orders jobs of one build as they are let go.
func compareInLine(a, b store.Job) int {
	byPriority := 0
	if a.ConcurrencyMethod == eager && b.ConcurrencyMethod == eager {
		byPriority = cmp.Compare(b.Priority, a.Priority)
	}
	return cmp.Or(cmp.Compare(a.GroupID, b.GroupID), cmp.Compare(a.ConcurrencyMethod, b.ConcurrencyMethod), byPriority,
		a.ScheduledAt.Compare(b.ScheduledAt), cmp.Compare(a.Position, b.Position), cmp.Compare(a.Number, b.Number))
}

// admit lets a limited job go whose group, which is locked, has room for it.
func (p *progress) admit(jobID string) (bool, error) {
	j, err := p.job(jobID)
	if err != nil || j.State != ci.JobLimited {
		return false, err
	}
	held, err := p.tx.Holders(p.ctx, j.GroupID)
	if err != nil {
		return false, err
	}
	room := j.Concurrency - held
	if room <= 0 {
		return false, nil
	}
	var ahead int
	if j.ConcurrencyMethod == eager {
		ahead, err = p.tx.EagerAhead(p.ctx, j, held, room)
	} else {
		ahead, err = p.tx.Ahead(p.ctx, j, room)
	}
	if err != nil || ahead >= room {
		return false, err
	}
	_, err = p.apply(j, ci.JobAdmitted{})
	return err == nil, err
}

// AdmitJob lets a job go that waits for its concurrency group, if the group has room for it; false says
// that it has not.
func (e *Engine) AdmitJob(ctx context.Context, jobID string) (bool, error) {
	admitted := false
	err := e.onJob(ctx, jobID, func(p *progress, j store.Job) error {
		admitted = false
		if j.State != ci.JobLimited {
			return nil
		}
		if err := p.tx.TouchGroup(ctx, j.GroupID, 0); err != nil {
			return err
		}
		var err error
		admitted, err = p.admit(j.ID)
		return err
	})
	return admitted, err
}

// AdmitGroup lets those jobs of a group go that it has room for. It looks at no more of the group's line
// than that, and may be called again.
func (e *Engine) AdmitGroup(ctx context.Context, g store.GroupDue) error {
	jobs, err := e.next(ctx, g.ID)
	if err != nil {
		return err
	}
	for _, id := range jobs {
		_, admitErr := e.AdmitJob(ctx, id)
		err = errors.Join(err, admitErr)
	}
	if err != nil {
		return err
	}
	return e.Store.Update(ctx, func(tx *store.Tx) error { return tx.ClearGroup(ctx, g) })
}

// next are the limited jobs that stand so far ahead in a group's line that they may have room.
func (e *Engine) next(ctx context.Context, groupID string) ([]string, error) {
	held, err := e.Store.Holders(ctx, groupID)
	if err != nil {
		return nil, err
	}
	widest, err := e.Store.WidestLimit(ctx, groupID)
	if errors.Is(err, store.ErrNotFound) || err != nil {
		return nil, ignoreNotFound(err)
	}
	room := min(widest-held, maxRoom)
	if room <= 0 {
		return nil, nil
	}
	byLine, err := e.Store.Line(ctx, groupID, room)
	if err != nil {
		return nil, err
	}
	byPriority, err := e.Store.EagerLine(ctx, groupID, held, room)
	var out []string
	for _, j := range byLine {
		if j.State == ci.JobLimited && j.Method != eager {
			out = append(out, j.ID)
		}
	}
	for _, j := range byPriority {
		out = append(out, j.ID)
	}
	return out, err
}

func ignoreNotFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
