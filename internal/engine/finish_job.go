package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// FinishJob says how a job ended on its agent.
type FinishJob struct {
	JobID        string
	AgentID      string // who runs it, if the caller knows
	ExitStatus   int
	Signal       string
	SignalReason string
	FinishedAt   time.Time // by the agent's clock; zero: now
	ChunksFailed int
	LogSize      int64
	// IgnoreAgent says that the agent takes no more jobs (disconnect-after-job).
	IgnoreAgent bool
}

// FinishJob ends a job and moves its build on. A job that has ended already is a Conflict: the
// agent that reports late is told so and its result changes nothing. The same report twice is not
// told apart from a late one; the agent treats both as final.
func (e *Engine) FinishJob(ctx context.Context, op FinishJob) (store.Job, error) {
	var job store.Job
	err := e.onJobWith(ctx, op.JobID, store.AgentToo{ID: op.AgentID, Lock: true}, func(p *progress, j store.Job) error {
		var err error
		job, err = p.finishJob(j, op)
		return err
	})
	return job, err
}

func (p *progress) finishJob(j store.Job, op FinishJob) (store.Job, error) {
	if err := requireScript(j); err != nil {
		return j, err
	}
	if j.State.Terminal() || !j.State.Held() {
		return j, refuse(Conflict, "The job has ended already.")
	}
	spec, err := j.Spec()
	if err != nil {
		return j, err
	}
	j.ChunksFailed, j.LogSize = op.ChunksFailed, op.LogSize
	if why, ok := refusals[op.SignalReason]; ok {
		j.Reason = why
	}
	j, err = p.apply(j, ci.JobFinish{
		ExitStatus: op.ExitStatus, Signal: op.Signal, SignalReason: op.SignalReason, At: notAfter(op.FinishedAt, p.now),
		Soft: spec.SoftFail.Matches(op.ExitStatus),
	})
	if err != nil {
		return j, transition(err)
	}
	if err := errors.Join(p.freeAgent(j, op.IgnoreAgent), p.endLog(j, LogClosed)); err != nil {
		return j, err
	}
	return j, p.retryByRule(j)
}

// refusals say what an agent means that did not run a job, by the reason that it gave.
var refusals = map[string]string{
	"signature_rejected": "refused by the agent: the signature of its step is missing, of a key that the agent does not have, or not of what would run; the log says which",
	"agent_refused":      "refused by the agent: its configuration does not allow this job; the log says why",
}

// notAfter trusts an agent's clock only as far as ours: a time in the future is now.
func notAfter(t, now time.Time) time.Time {
	if t.IsZero() || t.After(now) {
		return now
	}
	return t
}

// transition turns an event that the state does not allow into an answer.
func transition(err error) error {
	if t, ok := errors.AsType[*ci.TransitionError](err); ok {
		return refuse(Conflict, "The %s is %s; %s is not possible.", t.Machine, strings.ReplaceAll(t.State, "_", " "), eventWords(t))
	}
	return err
}

// eventWords is an event as people read it: JobTimeOut of a job is "time out".
func eventWords(t *ci.TransitionError) string {
	var b strings.Builder
	for i, r := range t.Event[min(len(t.Machine), len(t.Event)):] {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// freeAgent records that an agent no longer holds a job.
func (p *progress) freeAgent(j store.Job, ignore bool) error {
	if j.AgentID == "" {
		return nil
	}
	a, err := p.lockAgent(j.AgentID)
	if err != nil {
		return err
	}
	if a.JobID != j.ID {
		return nil
	}
	was := a
	a.JobID, a.LastJobAt = "", p.now
	a.IgnoreInDispatches = a.IgnoreInDispatches || ignore
	if j.Passed() {
		a.LastSuccessAt = p.now
	}
	a.ChangedAt = p.now
	p.hint(live.Assign, live.Agent(a.ID), live.Fleet)
	return p.tx.ChangeAgent(p.ctx, was, a)
}

// retryByRule makes the next attempt of a failed job if its step's rules say so. The first rule
// that matches decides, even when its limit is used up.
func (p *progress) retryByRule(j store.Job) error {
	if p.build.State == ci.BuildCanceling || p.build.State.Finished() || !retryable(j) {
		return nil
	}
	s, err := p.step(j.StepID)
	if err != nil || s.Spec.Command == nil {
		return err
	}
	rules := s.Spec.Command.Retry.Automatic
	n := slices.IndexFunc(rules, func(r pipeline.RetryRule) bool { return ruleMatches(r, j) })
	if n < 0 {
		return nil
	}
	used, err := p.tx.CountRetries(p.ctx, j.StepID, j.Number, n)
	if err != nil || used >= rules[n].Limit {
		return err
	}
	err = p.checkSize(1)
	if _, full := errors.AsType[*Refused](err); full {
		return nil // the failure stands
	}
	if err != nil {
		return err
	}
	_, err = p.retry(j, "automatic", "", n)
	return err
}

// retryable says whether a rule may retry the job: it failed or ran out of time, and nobody wanted
// it to end.
func retryable(j store.Job) bool {
	return j.ExitStatus != nil && *j.ExitStatus != 0 && (j.State == ci.JobFinished || j.State == ci.JobTimedOut)
}

func ruleMatches(r pipeline.RetryRule, j store.Job) bool {
	if len(r.ExitStatuses) > 0 && !slices.Contains(r.ExitStatuses, *j.ExitStatus) {
		return false
	}
	signal := strings.ToUpper(strings.TrimPrefix(strings.ToUpper(j.Signal), "SIG"))
	if len(r.Signals) > 0 && !slices.Contains(r.Signals, firstNonEmpty(signal, "NONE")) {
		return false
	}
	return len(r.SignalReasons) == 0 || slices.Contains(r.SignalReasons, firstNonEmpty(j.SignalReason, "none"))
}
