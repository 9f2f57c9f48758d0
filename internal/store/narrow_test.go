package store

import (
	"errors"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/ci"
)

// change writes a row in whole and by what changed in it, and wants to read the same.
type change[T any] struct {
	was    T
	whole  func(*Tx, T) error
	narrow func(tx *Tx, was, is T) error
	read   func(*Tx) (T, error)
}

var errUndone = errors.New("undone")

func (c change[T]) same(t *testing.T, s *Store, field string, is T) {
	t.Helper()
	want := c.after(t, s, func(tx *Tx) error { return c.whole(tx, is) })
	got := c.after(t, s, func(tx *Tx) error { return c.narrow(tx, c.was, is) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%T with another %s (-whole +narrow):\n%s", is, field, diff)
	}
}

func (c change[T]) after(t *testing.T, s *Store, write func(*Tx) error) (got T) {
	t.Helper()
	err := s.Update(t.Context(), func(tx *Tx) (err error) {
		if err = write(tx); err == nil {
			got, err = c.read(tx)
		}
		return errors.Join(err, errUndone)
	})
	if !errors.Is(err, errUndone) || err.Error() != errUndone.Error() {
		t.Error(err)
	}
	return got
}

// eachField changes each field in turn.
func (c change[T]) eachField(t *testing.T, s *Store, from T) {
	t.Helper()
	c.same(t, s, "nothing", from)
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		is := from
		changeField(reflect.ValueOf(&is).Elem().FieldByIndex(f.Index), f.Name)
		c.same(t, s, f.Name, is)
	}
}

func known[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestWhatChangesIsWritten: rows that are known are written in the columns that changed, which must be as good as writing all of them.
func TestWhatChangesIsWritten(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		seed(t, s)
		ctx := t.Context()
		update(t, s, func(tx *Tx) error { return tx.InsertJob(ctx, job("j")) })
		jobs := change[Job]{
			was: known(s.Job(ctx, "j"))(t), whole: func(tx *Tx, j Job) error { return tx.UpdateJob(ctx, j) },
			narrow: func(tx *Tx, was, j Job) error { return tx.ChangeJob(ctx, was, j) },
			read:   func(tx *Tx) (Job, error) { return tx.Job(ctx, "j") },
		}
		for _, state := range []ci.JobState{ci.JobScheduled, ci.JobAssigned, ci.JobAccepted, ci.JobRunning, ci.JobCanceling, ci.JobFinished} {
			j := jobs.was
			j.State = state
			jobs.eachField(t, s, j)
			j.Lease, j.AgentID = ci.Lease{State: ci.LeaseHeld, Agent: "a1", Deadline: at(9)}, "a1"
			jobs.eachField(t, s, j)
		}
		agents := change[Agent]{
			was: known(s.Agent(ctx, "a1"))(t), whole: func(tx *Tx, a Agent) error { return tx.UpdateAgent(ctx, a) },
			narrow: func(tx *Tx, was, a Agent) error { return tx.ChangeAgent(ctx, was, a) },
			read:   func(tx *Tx) (Agent, error) { return tx.Agent(ctx, "a1") },
		}
		agents.eachField(t, s, agents.was)
		steps := change[Step]{
			was: known(s.Step(ctx, "s"))(t), whole: func(tx *Tx, v Step) error { return tx.UpdateStep(ctx, v) },
			narrow: func(tx *Tx, was, v Step) error { return tx.ChangeStep(ctx, was, v) },
			read:   func(tx *Tx) (Step, error) { return tx.Step(ctx, "s") },
		}
		v := steps.was
		v.Jobs[ci.ClassPassed], v.Deps.Failed = 3, 2
		steps.eachField(t, s, v)
		builds := change[Build]{
			was: known(s.Build(ctx, "b"))(t), whole: func(tx *Tx, b Build) error { return tx.UpdateBuild(ctx, b) },
			narrow: func(tx *Tx, was, b Build) error { return tx.ChangeBuild(ctx, was, b) },
			read:   func(tx *Tx) (Build, error) { return tx.Build(ctx, "b") },
		}
		builds.eachField(t, s, builds.was)
		b := builds.was
		b.Jobs[ci.ClassPassed], b.Detail.Warnings = 3, []string{"w"}
		builds.eachField(t, s, b)
		b.Detail, b.State = builds.was.Detail, ci.BuildPassed
		builds.eachField(t, s, b)
	})
}
