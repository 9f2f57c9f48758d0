package engine

import (
	"reflect"
	"slices"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// releasedTogether bounds the steps whose jobs are in memory at once.
const releasedTogether = 500

// release moves the jobs of steps that wait to where their dependencies want them. Those of a build that is being canceled are left
// to CancelRest, however many they are. Thousands may wait for one job: they are read, and what happens to many alike is written, at once.
func (p *progress) release(steps []*store.Step) error {
	if p.build.State == ci.BuildCanceling {
		return nil
	}
	for some := range slices.Chunk(steps, releasedTogether) {
		jobs, err := p.jobsOf(some)
		if err != nil {
			return err
		}
		alike := map[store.LetGo][]string{}
		for _, s := range some {
			if err := p.releaseJobs(s.Deps.Readiness(), jobs[s.ID], alike); err != nil {
				return err
			}
		}
		for to, ids := range alike {
			if err := p.tx.LetGoJobs(p.ctx, to, ids); err != nil {
				return err
			}
		}
	}
	return nil
}

// releaseJobs saves what happens to the jobs of a step, or adds it to what is written at once.
func (p *progress) releaseJobs(r ci.Readiness, jobs []store.Job, alike map[store.LetGo][]string) error {
	for _, j := range jobs {
		next := j
		for _, ev := range released(r, j) {
			was := next
			var err error
			if next, err = p.moved(was, ev); err != nil {
				return err
			}
			if err := p.follow(was, next); err != nil {
				return err
			}
		}
		if err := p.saveReleased(j, next, alike); err != nil {
			return err
		}
	}
	return nil
}

func (p *progress) saveReleased(was, j store.Job, alike map[store.LetGo][]string) error {
	to := store.LetGo{State: j.State, ScheduledAt: j.ScheduledAt, RunnableAt: j.RunnableAt, FinishedAt: j.FinishedAt}
	if to == (store.LetGo{State: was.State, ScheduledAt: was.ScheduledAt, RunnableAt: was.RunnableAt, FinishedAt: was.FinishedAt}) {
		return nil
	}
	was.State, was.ScheduledAt, was.RunnableAt, was.FinishedAt = to.State, to.ScheduledAt, to.RunnableAt, to.FinishedAt
	_, known := p.jobs[j.ID]
	if known || p.fresh[j.StepID] != nil || !reflect.DeepEqual(was, j) {
		return p.save(j)
	}
	alike[to] = append(alike[to], j.ID)
	return nil
}

// jobsOf returns the jobs of steps by the id of the step, of a fresh one those that save changes.
func (p *progress) jobsOf(steps []*store.Step) (map[string][]store.Job, error) {
	var ids []string
	for _, s := range steps {
		if p.fresh[s.ID] == nil && s.Kind != ci.StepGroup {
			ids = append(ids, s.ID)
		}
	}
	jobs, err := p.tx.JobsOfSteps(p.ctx, ids)
	for _, s := range steps {
		if f := p.fresh[s.ID]; f != nil {
			jobs[s.ID] = f.jobs
		}
	}
	return jobs, err
}

// released lists what happens to a job when the readiness of its step is known. Jobs that have
// begun, ended or been let go are left alone.
func released(r ci.Readiness, j store.Job) []ci.JobEvent {
	waits := j.State == ci.JobPending || j.State == ci.JobWaiting
	switch {
	case r == ci.DepsMet && j.State.NotRun():
		return []ci.JobEvent{ci.JobDepsOpen{}, ci.JobDepsMet{Limited: j.ConcurrencyGroup != ""}}
	case r == ci.DepsMet && waits:
		return []ci.JobEvent{ci.JobDepsMet{Limited: j.ConcurrencyGroup != ""}}
	case r == ci.DepsFailed && (waits || j.State == ci.JobBlocked):
		return []ci.JobEvent{ci.JobDepsFailed{}}
	case r == ci.DepsOpen && (j.State == ci.JobPending || j.State == ci.JobBlocked || j.State.NotRun()):
		return []ci.JobEvent{ci.JobDepsOpen{}}
	}
	return nil
}
