package worker

import (
	"context"
	"errors"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/loop"
	"github.com/slipway-ci/slipway/internal/procid"
	"github.com/slipway-ci/slipway/internal/store"
)

// batch is how many rows a pass takes at once. A pass that found as many runs again at once.
const batch = 200

func jobs() *loop.Rows[store.Job] {
	return &loop.Rows[store.Job]{Batch: batch, ID: func(j store.Job) string { return j.ID }}
}

func agents() *loop.Rows[store.Agent] {
	return &loop.Rows[store.Agent]{Batch: batch, ID: func(a store.Agent) string { return a.ID }}
}

// ExpireOffers returns jobs to the queue that nobody accepted in time.
func ExpireOffers(e *engine.Engine) func(context.Context) (bool, error) {
	rows := jobs()
	return func(ctx context.Context) (bool, error) {
		return rows.Each(func(n int) ([]store.Job, error) { return e.ExpiredOffers(ctx, n) },
			func(j store.Job) error { return e.ExpireOffer(ctx, j.ID) })
	}
}

// TimeOut asks agents to stop jobs that have run too long.
func TimeOut(e *engine.Engine) func(context.Context) (bool, error) {
	rows := jobs()
	return func(ctx context.Context) (bool, error) {
		return rows.Each(func(n int) ([]store.Job, error) { return e.Store.TimedOutJobs(ctx, e.Now(), n) },
			func(j store.Job) error { return e.TimeOutJob(ctx, j.ID) })
	}
}

// LoseDead ends the sessions of agents whose process, on this machine, has ended.
func LoseDead(e *engine.Engine) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		processes, err := e.Store.AgentProcesses(ctx)
		for id, process := range processes {
			if procid.Gone(process) {
				err = errors.Join(err, lose(ctx, e, id, "The agent's process ended."))
			}
		}
		return false, err
	}
}

// lose ends an agent's session; one that was given a job meanwhile is left to the next pass.
func lose(ctx context.Context, e *engine.Engine, id, reason string) error {
	err := e.LoseAgent(ctx, id, reason)
	if r, ok := errors.AsType[*engine.Refused](err); ok && r.Why == engine.Conflict {
		return nil
	}
	return err
}

// ResumeAgents ends the pauses whose time has come.
func ResumeAgents(e *engine.Engine) func(context.Context) (bool, error) {
	rows := agents()
	return func(ctx context.Context) (bool, error) {
		return rows.Each(func(n int) ([]store.Agent, error) { return e.Store.RestedAgents(ctx, e.Now(), n) },
			func(a store.Agent) error { return e.ResumeAgent(ctx, a.ID) })
	}
}

// ExpireJobs ends jobs that no agent took for longer than their organization lets them wait.
func ExpireJobs(e *engine.Engine) func(context.Context) (bool, error) {
	rows := jobs()
	return func(ctx context.Context) (bool, error) {
		return ofEach(ctx, e, func(o store.Organization) (bool, error) {
			decided, err := engine.SettingsOf(o)
			if err != nil {
				return false, err
			}
			before := e.Now().Add(-decided.JobTerm())
			return rows.Each(func(n int) ([]store.Job, error) { return e.Store.OldJobs(ctx, o.ID, before, n) },
				func(j store.Job) error { return e.ExpireJob(ctx, j.ID, before) })
		})
	}
}

// ofEach lets pass happen to every organization; more says that one of them has more to do. One failure does
// not keep the rest waiting.
func ofEach(ctx context.Context, e *engine.Engine, pass func(store.Organization) (bool, error)) (more bool, failed error) {
	for o, err := range e.Store.Organizations(ctx) {
		if err != nil {
			return more, errors.Join(failed, err)
		}
		again, err := pass(o)
		more, failed = more || again, errors.Join(failed, err)
	}
	return more, failed
}

// Triggers makes the builds of trigger jobs, cancels those of canceled jobs, and ends the jobs whose build has ended.
func Triggers(e *engine.Engine) func(context.Context) (bool, error) {
	ready, canceled, ended := jobs(), jobs(), jobs()
	return func(ctx context.Context) (bool, error) {
		more, err := ready.Each(func(n int) ([]store.Job, error) { return e.Store.ReadyTriggers(ctx, n) },
			func(j store.Job) error { return e.TriggerBuild(ctx, j.ID) })
		rest, cancelErr := canceled.Each(func(n int) ([]store.Job, error) { return e.Store.CanceledTriggers(ctx, n) },
			func(j store.Job) error { return e.CancelTriggered(ctx, j) })
		again, endErr := ended.Each(func(n int) ([]store.Job, error) { return e.Store.EndedTriggers(ctx, n) },
			func(j store.Job) error { return e.SettleTrigger(ctx, j.ID) })
		return more || rest || again, errors.Join(err, cancelErr, endErr)
	}
}

// Supersede ends the older builds of a branch that newer ones make unnecessary.
func Supersede(e *engine.Engine) func(context.Context) (bool, error) {
	rows := &loop.Rows[store.Superseder]{Batch: batch, ID: func(s store.Superseder) string { return s.BuildID }}
	return func(ctx context.Context) (bool, error) {
		return rows.Each(func(n int) ([]store.Superseder, error) { return e.Store.Superseders(ctx, n) },
			func(s store.Superseder) error { return e.SupersedeOlder(ctx, s) })
	}
}

// CancelRest ends the jobs that canceled builds have left, and those that are not worth running in failing ones.
func CancelRest(e *engine.Engine) func(context.Context) (bool, error) {
	rows := &loop.Rows[string]{Batch: batch, Parallel: 4, ID: func(build string) string { return build }}
	return func(ctx context.Context) (bool, error) {
		return rows.Each(func(n int) ([]string, error) { return e.Store.BuildsToEnd(ctx, n) },
			func(build string) error { return e.CancelRest(ctx, build) })
	}
}

// Uploads applies the pipeline uploads that are too large to be applied while their agents wait for the answer.
func Uploads(e *engine.Engine) func(context.Context) (bool, error) {
	rows := &loop.Rows[store.Upload]{Batch: batch, Parallel: 2, ID: func(u store.Upload) string { return u.JobID + "/" + u.UUID }}
	return func(ctx context.Context) (bool, error) {
		return rows.Each(func(n int) ([]store.Upload, error) { return e.Store.PendingUploads(ctx, n) },
			func(u store.Upload) error { return e.ApplyUpload(ctx, u.JobID, u.UUID) })
	}
}

// Admit lets jobs go that their concurrency group has room for, in the groups in which something changed.
func Admit(e *engine.Engine) func(context.Context) (bool, error) {
	rows := &loop.Rows[store.GroupDue]{Batch: batch, ID: func(g store.GroupDue) string { return g.ID }}
	return func(ctx context.Context) (bool, error) {
		return rows.Each(func(n int) ([]store.GroupDue, error) { return e.Store.DueGroups(ctx, n) },
			func(g store.GroupDue) error { return e.AdmitGroup(ctx, g) })
	}
}
