package engine

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// What stacks may say (https://buildkite.com/docs/apis/agent-api/stacks).
const (
	maxStacks       = 30   // connected, of an organization
	maxStackJobs    = 1000 // in one call
	maxReservation  = time.Hour
	maxStackDetail  = 4 << 10 // characters, of a job's end
	maxStackNote    = 256     // characters
	maxStackNotes   = 100     // of a job
	lateStackNote   = 5 * time.Minute
	stackClock      = time.Minute // that a stack's clock may differ from ours
	maxMetadata     = 100         // keys
	maxMetadataKey  = 64          // characters
	maxMetadataText = 256         // characters
)

// StackTerm is how long a stack may be silent and still counts as connected.
const StackTerm = 5 * time.Minute

var (
	stackKey   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)
	stackTypes = []string{"kubernetes", "elastic", "custom"}
)

// RegisterStack says that a stack is there. The same key again changes the stack; created tells the two
// apart.
func (e *Engine) RegisterStack(ctx context.Context, organizationID string, k store.Stack) (out store.Stack, created bool, err error) {
	if err := checkStack(k); err != nil {
		return k, false, err
	}
	now := e.Now()
	err = e.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.LockOrganization(ctx, organizationID); err != nil {
			return err
		}
		known, err := tx.Stack(ctx, k.ClusterID, k.Key)
		created = errors.Is(err, store.ErrNotFound)
		if err != nil && !created {
			return err
		}
		if created || !StackConnected(known, now) {
			n, err := tx.CountStacks(ctx, organizationID, now.Add(-StackTerm))
			if err != nil {
				return err
			}
			if n >= maxStacks {
				return refuse(Forbidden, "The organization has %d stacks already, as many as it may have.", n)
			}
		}
		k.ID, k.CreatedAt, k.SeenAt = e.NewID(), now, now
		if err := tx.PutStack(ctx, k); err != nil {
			return err
		}
		out, err = tx.Stack(ctx, k.ClusterID, k.Key)
		return err
	})
	return out, created, err
}

func checkStack(k store.Stack) error {
	switch {
	case !stackKey.MatchString(k.Key):
		return refuse(Invalid, "The stack's key %q is not 1 to 80 letters, digits, underscores and dashes.", k.Key)
	case !slices.Contains(stackTypes, k.Type):
		return refuse(Invalid, "The stack's type %q is not kubernetes, elastic or custom.", k.Type)
	case len(k.Metadata) > maxMetadata:
		return refuse(Invalid, "The stack has %d keys of metadata; the limit is %d.", len(k.Metadata), maxMetadata)
	}
	for key, value := range k.Metadata {
		if utf8.RuneCountInString(key) > maxMetadataKey || utf8.RuneCountInString(value) > maxMetadataText {
			return refuse(Invalid, "The stack's metadata has a key over %d characters or a value over %d.", maxMetadataKey, maxMetadataText)
		}
	}
	return nil
}

// StackConnected says whether a stack is there: it has not left and was heard of lately.
func StackConnected(k store.Stack, now time.Time) bool {
	return k.DeregisteredAt.IsZero() && now.Sub(k.SeenAt) < StackTerm
}

// DeregisterStack says that a stack leaves. What it reserved stays reserved until the reservation ends: a
// stack that is restarted goes on.
func (e *Engine) DeregisterStack(ctx context.Context, k store.Stack) error {
	k.DeregisteredAt = e.Now()
	return e.Store.Update(ctx, func(tx *store.Tx) error { return tx.PutStack(ctx, k) })
}

// StackSeen records that a stack was heard of, once a minute at most.
func (e *Engine) StackSeen(ctx context.Context, k store.Stack) error {
	if e.Now().Sub(k.SeenAt) < time.Minute {
		return nil
	}
	return e.Store.Update(ctx, func(tx *store.Tx) error { return tx.StackSeen(ctx, k.ID, e.Now()) })
}

// ReserveJobs keeps jobs for a stack until the term is over and returns those that it has now, in the
// order given. A job that it has already is kept for the new term. What is not a job of the stack's
// cluster, not scheduled, or reserved by another stack is left out.
func (e *Engine) ReserveJobs(ctx context.Context, k store.Stack, ids []string, term time.Duration) ([]string, error) {
	if len(ids) > maxStackJobs {
		return nil, refuse(Invalid, "%d jobs cannot be reserved at once; %d can.", len(ids), maxStackJobs)
	}
	if term <= 0 || term > maxReservation {
		return nil, refuse(Invalid, "A reservation lasts 1 to %d seconds.", int(maxReservation.Seconds()))
	}
	jobs, err := e.stackJobs(ctx, k, ids)
	if err != nil {
		return nil, err
	}
	byBuild := map[string][]string{}
	for id, j := range jobs {
		byBuild[j.BuildID] = append(byBuild[j.BuildID], id)
	}
	reserved := map[string]bool{}
	for _, build := range slices.Sorted(maps.Keys(byBuild)) {
		var some []string
		err := e.onBuild(ctx, build, func(p *progress) (err error) {
			some, err = p.reserve(k, byBuild[build], p.now.Add(term))
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, id := range some {
			reserved[id] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !reserved[id] }), nil
}

// stackJobs are those jobs of a list that run on agents of the stack's cluster.
func (e *Engine) stackJobs(ctx context.Context, k store.Stack, ids []string) (map[string]store.Job, error) {
	jobs, err := e.Store.JobsByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	queues, err := e.Store.Queues(ctx, k.ClusterID)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(jobs, func(_ string, j store.Job) bool {
		return j.Kind != ci.JobScript || !slices.ContainsFunc(queues, func(q store.Queue) bool { return q.ID == j.QueueID })
	})
	return jobs, nil
}

func (p *progress) reserve(k store.Stack, ids []string, until time.Time) (reserved []string, err error) {
	if p.build.Verdict.Decision != "allow" || p.build.State == ci.BuildCanceling {
		return nil, nil
	}
	for _, id := range ids {
		j, err := p.job(id)
		if err != nil {
			return nil, err
		}
		if j.State != ci.JobScheduled && (j.State != ci.JobReserved || j.ReservedBy != k.ID) {
			continue
		}
		j.ReservedBy = k.ID
		if _, err := p.apply(j, ci.JobReserve{Until: until}); err != nil {
			return nil, err
		}
		reserved = append(reserved, id)
	}
	return reserved, nil
}

// checkDecline says what is wrong with how a stack ends a job. The limit of the detail is in characters: the
// library cuts at 4 KiB through the middle of one, whose bytes grow as they are sent (stacksapi v1.0.2,
// finish.go).
func checkDecline(exitStatus int, detail string) error {
	switch n := utf8.RuneCountInString(detail); {
	case exitStatus < -1 || exitStatus > 255:
		return refuse(Invalid, "The exit_status %d is not a number from -1 to 255.", exitStatus)
	case strings.TrimSpace(detail) == "":
		return refuse(Invalid, "The detail is missing; it says why the job ended.")
	case n > maxStackDetail:
		return refuse(Invalid, "The detail has %d characters; the limit is %d.", n, maxStackDetail)
	}
	return nil
}

// DeclineJob ends a job that a stack finds no agent for, or ran without one. The job may wait without a
// reservation: a stack need not make any, and one may have run out. Saying it twice changes nothing.
func (e *Engine) DeclineJob(ctx context.Context, k store.Stack, jobID string, exitStatus int, detail string) error {
	if err := checkDecline(exitStatus, detail); err != nil {
		return err
	}
	jobs, err := e.stackJobs(ctx, k, []string{jobID})
	if err != nil {
		return err
	}
	if _, ok := jobs[jobID]; !ok {
		return refuse(Missing, "No job found")
	}
	return e.onJob(ctx, jobID, func(p *progress, j store.Job) error {
		if j.State.Terminal() && j.ReservedBy == k.ID && j.SignalReason == "stack_error" {
			return nil
		}
		if err := declinable(j, k); err != nil {
			return err
		}
		spec, err := j.Spec()
		if err != nil {
			return err
		}
		j.ReservedBy = k.ID
		j, err = p.apply(j, ci.JobDecline{ExitStatus: exitStatus, Detail: detail, Soft: spec.SoftFail.Matches(exitStatus)})
		if err != nil {
			return transition(err)
		}
		return p.retryByRule(j)
	})
}

// declinable says why a stack may not end a job.
func declinable(j store.Job, k store.Stack) error {
	switch {
	case j.State == ci.JobReserved && j.ReservedBy != k.ID:
		return refuse(Conflict, "The job is reserved by another stack.")
	case j.State.Terminal():
		return refuse(Conflict, "The job has ended already; it is %s.", stateWords(j.State))
	case j.State != ci.JobReserved && j.State != ci.JobScheduled:
		return refuse(Conflict, "The job is %s; a stack ends only jobs that wait for an agent.", stateWords(j.State))
	}
	return nil
}

func stateWords(s ci.JobState) string { return strings.ReplaceAll(string(s), "_", " ") }

// StackSaid is a note as a stack sends it.
type StackSaid struct {
	JobID  string
	Detail string
	At     string // an ISO 8601 time by the stack's clock; "" for now
}

// StackNoteRefused says which notes were not taken and why.
type StackNoteRefused struct {
	Why     string
	Indexes []int
}

// AddStackNotes keeps what a stack says of jobs. Each note is taken or refused by itself.
func (e *Engine) AddStackNotes(ctx context.Context, k store.Stack, notes []StackSaid) ([]StackNoteRefused, error) {
	if len(notes) > maxStackJobs {
		return nil, refuse(Invalid, "%d notifications cannot be sent at once; %d can.", len(notes), maxStackJobs)
	}
	ids := make([]string, len(notes))
	for i, n := range notes {
		ids[i] = n.JobID
	}
	jobs, err := e.stackJobs(ctx, k, ids)
	if err != nil {
		return nil, err
	}
	var refused []StackNoteRefused
	err = e.Store.Update(ctx, func(tx *store.Tx) error {
		refused = nil
		counts, err := tx.CountStackNotes(ctx, ids)
		if err != nil {
			return err
		}
		for i, n := range notes {
			at, why := e.noteTime(jobs[n.JobID], n.At)
			why = cmp.Or(e.noteRefusal(jobs, counts, n), why)
			if why != "" {
				refused = addRefused(refused, why, i)
				continue
			}
			counts[n.JobID]++
			if err := tx.InsertStackNote(ctx, store.StackNote{ID: e.NewID(), JobID: n.JobID, Detail: n.Detail, At: at}); err != nil {
				return err
			}
		}
		return nil
	})
	return refused, err
}

func (e *Engine) noteRefusal(jobs map[string]store.Job, counts map[string]int, n StackSaid) string {
	j, ok := jobs[n.JobID]
	switch {
	case !ok:
		return "No job found"
	case n.Detail == "" || utf8.RuneCountInString(n.Detail) > maxStackNote:
		return "The detail must have 1 to 256 characters"
	case j.State.Terminal() && e.Now().Sub(j.FinishedAt) > lateStackNote:
		return "The job ended more than 5 minutes ago"
	case counts[n.JobID] >= maxStackNotes:
		return "The job has 100 notifications already"
	}
	return ""
}

// noteTime is when a note was made, or why that cannot be: it lies between the job's creation and now, as
// far as clocks that differ by stackClock can tell.
func (e *Engine) noteTime(j store.Job, text string) (at time.Time, why string) {
	now := e.Now()
	if text == "" {
		return now, ""
	}
	at, err := time.Parse(time.RFC3339, text)
	switch {
	case err != nil:
		return at, "The timestamp is not an ISO 8601 time such as 2026-01-31T12:00:00Z"
	case at.After(now.Add(stackClock)):
		return at, "The timestamp is in the future"
	case at.Before(j.CreatedAt.Add(-stackClock)):
		return at, "The timestamp is before the job's creation"
	}
	return notAfter(slices.MaxFunc([]time.Time{j.CreatedAt, at}, time.Time.Compare), now), ""
}

func addRefused(refused []StackNoteRefused, why string, i int) []StackNoteRefused {
	n := slices.IndexFunc(refused, func(r StackNoteRefused) bool { return r.Why == why })
	if n < 0 {
		return append(refused, StackNoteRefused{why, []int{i}})
	}
	refused[n].Indexes = append(refused[n].Indexes, i)
	return refused
}

// Foresee gathers what an agent would be given of a job that nobody holds yet. The agent is left empty.
func (e *Engine) Foresee(ctx context.Context, k store.Stack, jobID string) (out Accepted, err error) {
	jobs, err := e.stackJobs(ctx, k, []string{jobID})
	if err != nil {
		return out, err
	}
	j, ok := jobs[jobID]
	if !ok {
		return out, refuse(Missing, "No job found")
	}
	out.Job = j
	if out.Build, err = e.Store.Build(ctx, j.BuildID); err != nil {
		return out, err
	}
	if out.Step, err = e.Store.Step(ctx, j.StepID); err != nil {
		return out, err
	}
	if out.Step.GroupID != "" {
		group, err := e.Store.Step(ctx, out.Step.GroupID)
		if err != nil {
			return out, err
		}
		out.Group = &group
	}
	out.Agent.QueueID = j.QueueID
	return out, e.surround(ctx, &out)
}

// States returns the states of those jobs of a list that are the stack's to ask for.
func (e *Engine) States(ctx context.Context, k store.Stack, ids []string) (map[string]ci.JobState, error) {
	if len(ids) > maxStackJobs {
		return nil, refuse(Invalid, "%d jobs cannot be looked up at once; %d can.", len(ids), maxStackJobs)
	}
	jobs, err := e.stackJobs(ctx, k, ids)
	out := make(map[string]ci.JobState, len(jobs))
	for id, j := range jobs {
		out[id] = j.State
	}
	return out, err
}
