package engine_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
)

// TestGroupsKeepTheirLimitAndOrder lets random things happen to builds that share two groups, one
// of which is eager. After each of them no group has more holders than its limit, whoever may go has
// gone, nobody in the ordered group has overtaken another, and places in line are held by those who
// wait for no person. In the end every build ends.
func TestGroupsKeepTheirLimitAndOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	rapid.Check(t, func(rt *rapid.T) {
		c := &crowd{world: w, rt: rt, suffix: w.NewID(), limit: rapid.IntRange(1, 3).Draw(rt, "limit")}
		c.create(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"":        c.holds,
			"create":  c.create,
			"run":     c.runOne,
			"run 2":   c.runOne,
			"begin":   c.beginOne,
			"unblock": c.unblockOne,
			"cancel":  c.cancelOne,
			"retry":   c.retryOne,
			"end":     c.cancelBuild,
		})
		c.drive()
	})
}

// crowd is some builds that share groups.
type crowd struct {
	*world
	rt     *rapid.T
	suffix string
	limit  int
	builds []store.Build
}

func (c *crowd) create(rt *rapid.T) {
	if len(c.builds) == 4 {
		return
	}
	var all []string
	for n := range rapid.IntRange(1, 6).Draw(rt, "steps") {
		grouped := fmt.Sprintf("key: k%d, command: x, concurrency: %d, ", n, c.limit)
		switch rapid.IntRange(0, 7).Draw(rt, "kind") {
		case 0:
			all = append(all, "wait")
		case 1:
			all = append(all, fmt.Sprintf("{block: b, key: b%d}", n))
		case 2:
			all = append(all, fmt.Sprintf("{command: x, key: k%d}", n))
		case 3, 4:
			all = append(all, fmt.Sprintf("{%sconcurrency_group: e%s, concurrency_method: eager, priority: %d}", grouped, c.suffix, rapid.IntRange(0, 2).Draw(rt, "priority")))
		case 5:
			all = append(all, fmt.Sprintf("{%sconcurrency_group: o%s, parallelism: 2}", grouped, c.suffix))
		default:
			all = append(all, fmt.Sprintf("{%sconcurrency_group: o%s}", grouped, c.suffix))
		}
	}
	c.advance(time.Second)
	c.builds = append(c.builds, c.build(rt, steps(all...)))
}

func (c *crowd) all(rt *rapid.T) []store.Job {
	var all []store.Job
	for _, b := range c.builds {
		all = append(all, must(c.Store.Jobs(context.Background(), b.ID))(rt)...)
	}
	return slices.DeleteFunc(all, func(j store.Job) bool { return j.RetriedIn != "" })
}

func (c *crowd) pick(rt *rapid.T, want func(store.Job) bool) (store.Job, bool) {
	jobs := slices.DeleteFunc(c.all(rt), func(j store.Job) bool { return !want(j) })
	if len(jobs) == 0 {
		return store.Job{}, false
	}
	return jobs[rapid.IntRange(0, len(jobs)-1).Draw(rt, "job")], true
}

func scheduled(j store.Job) bool { return j.State == ci.JobScheduled && j.Kind == ci.JobScript }

func (c *crowd) runOne(rt *rapid.T) {
	if j, ok := c.pick(rt, func(j store.Job) bool { return scheduled(j) || j.State == ci.JobRunning }); ok {
		if scheduled(j) {
			c.world.start(rt, j)
		}
		must(c.FinishJob(context.Background(), engine.FinishJob{JobID: j.ID, ExitStatus: rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(rt, "exit")}))(rt)
	}
}

func (c *crowd) beginOne(rt *rapid.T) {
	if j, ok := c.pick(rt, scheduled); ok {
		c.world.start(rt, j)
	}
}

func (c *crowd) unblockOne(rt *rapid.T) {
	if j, ok := c.pick(rt, func(j store.Job) bool { return j.State == ci.JobBlocked }); ok {
		must(c.UnblockJob(context.Background(), engine.UnblockJob{JobID: j.ID}))(rt)
	}
}

func (c *crowd) cancelOne(rt *rapid.T) {
	if j, ok := c.pick(rt, func(j store.Job) bool { return !j.State.Terminal() }); ok && rapid.IntRange(0, 3).Draw(rt, "really") == 0 {
		_, err := c.CancelJob(context.Background(), j.ID, "ana")
		said(rt, err)
	}
}

func (c *crowd) retryOne(rt *rapid.T) {
	if j, ok := c.pick(rt, func(j store.Job) bool { return j.State.Terminal() && j.Kind == ci.JobScript }); ok {
		_, err := c.RetryJob(context.Background(), j.ID, "ana")
		said(rt, err)
	}
}

func (c *crowd) cancelBuild(rt *rapid.T) {
	if rapid.IntRange(0, 9).Draw(rt, "really") == 0 {
		_, err := c.CancelBuild(context.Background(), rapid.SampledFrom(c.builds).Draw(rt, "build").ID, "ana")
		said(rt, err)
	}
}

// holds lets go whoever may go, and looks at everything.
func (c *crowd) holds(rt *rapid.T) {
	c.admit(rt)
	if left := must(c.Store.DueGroups(context.Background(), 100))(rt); len(left) > 0 {
		rt.Errorf("groups that were looked at are to be looked at again: %v", left)
	}
	jobs := c.all(rt)
	for _, name := range []string{"o", "e"} {
		c.holdsGroup(rt, slices.DeleteFunc(slices.Clone(jobs), func(j store.Job) bool { return j.ConcurrencyGroup != name+c.suffix }))
	}
	for _, b := range c.builds {
		c.check(rt, b)
		c.holdsPlaces(rt, b)
	}
}

func taken(j store.Job) bool {
	return j.State == ci.JobScheduled || j.State == ci.JobReserved || j.State.Held()
}

// before is the order of a line.
func before(a, b store.Job) bool {
	return cmp.Or(a.ScheduledAt.Compare(b.ScheduledAt), cmp.Compare(a.BuildID, b.BuildID), cmp.Compare(a.Position, b.Position), a.Number-b.Number) < 0
}

func (c *crowd) holdsGroup(rt *rapid.T, jobs []store.Job) {
	held := 0
	for _, j := range jobs {
		if taken(j) {
			held++
		}
	}
	if held > c.limit {
		rt.Errorf("%d jobs hold slots of a group of %d", held, c.limit)
	}
	for _, j := range jobs {
		if j.State == ci.JobLimited {
			c.holdsLimited(rt, j, jobs, held)
		}
	}
}

// holdsLimited says why a job is not let go, by what the rules say of everything there is.
func (c *crowd) holdsLimited(rt *rapid.T, j store.Job, jobs []store.Job, held int) {
	ahead := 0
	for _, o := range jobs {
		switch {
		case j.ConcurrencyMethod == "eager":
			if o.State == ci.JobLimited && (o.Priority > j.Priority || o.Priority == j.Priority && before(o, j)) {
				ahead++
			}
		case before(o, j) && (o.State == ci.JobLimited || o.State == ci.JobWaiting && o.Queued && o.BuildID != j.BuildID):
			ahead++
		case before(j, o) && taken(o) && o.RunnableAt.After(j.LimitedAt) && o.Retries == 0 && j.Retries == 0:
			rt.Errorf("a later job was let go at %v, after this one stood in line at %v", o.RunnableAt, j.LimitedAt)
		}
	}
	if held+ahead < c.limit {
		rt.Errorf("a job waits although only %d hold and %d are ahead in a group of %d", held, ahead, c.limit)
	}
}

// holdsPlaces holds who has a place in line against the build's graph.
func (c *crowd) holdsPlaces(rt *rapid.T, b store.Build) {
	ctx := context.Background()
	open, from := map[string]store.Step{}, map[string][]string{}
	for _, s := range must(c.Store.Steps(ctx, b.ID))(rt) {
		if s.End() == ci.NotEnded {
			open[s.ID] = s
		}
	}
	for _, e := range must(c.Store.Edges(ctx, b.ID))(rt) {
		from[e.To] = append(from[e.To], e.From)
	}
	var behind func(id string) bool
	behind = func(id string) bool {
		return slices.ContainsFunc(from[id], func(f string) bool {
			s, ok := open[f]
			return ok && (s.Kind == ci.StepBlock || behind(f))
		})
	}
	for _, j := range must(c.Store.Jobs(ctx, b.ID))(rt) {
		want := j.State == ci.JobLimited || j.State == ci.JobWaiting && j.GroupID != "" && !behind(j.StepID)
		if j.Queued != want {
			rt.Errorf("job %s is %s: in line is %v, want %v", j.ID, j.State, j.Queued, want)
		}
	}
}

// drive does everything that agents and people can do until nothing is left.
func (c *crowd) drive() {
	for range 400 {
		c.admit(c.rt)
		jobs := slices.DeleteFunc(c.all(c.rt), func(j store.Job) bool {
			return j.State.Terminal() || j.Class() == ci.ClassWaiting || j.State == ci.JobLimited
		})
		if len(jobs) == 0 {
			break
		}
		ctx, j, err := context.Background(), jobs[0], error(nil)
		switch {
		case j.State == ci.JobBlocked:
			_, err = c.UnblockJob(ctx, engine.UnblockJob{JobID: j.ID})
		case j.State == ci.JobScheduled:
			c.world.start(c.rt, j)
		default:
			_, err = c.FinishJob(ctx, engine.FinishJob{JobID: j.ID})
		}
		must(0, err)(c.rt)
	}
	for _, j := range c.all(c.rt) {
		if !j.State.Terminal() {
			c.rt.Errorf("job %s of %s is %s and nobody can do anything about it", j.ID, j.ConcurrencyGroup, j.State)
		}
	}
}

// TestTwoServersKeepAGroupsLimit has two servers on one database let jobs of a group go, run and end them at
// the same time.
func TestTwoServersKeepAGroupsLimit(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		const builds, limit = 8, 2
		doc := steps(fmt.Sprintf("{command: a, key: a, parallelism: 3, concurrency: %d, concurrency_group: deploy}", limit))
		var all []store.Build
		for range builds {
			all = append(all, w.build(t, doc))
		}
		var wg sync.WaitGroup
		var done atomic.Int64
		for server := range 2 {
			wg.Go(func() {
				agent := w.agent(t)
				for done.Load() < 3*builds && !t.Failed() {
					for n, b := range all {
						if n%2 == server {
							done.Add(int64(w.turn(t, b, agent)))
						}
					}
					w.admit(t)
					if held := must(w.Store.Holders(t.Context(), store.GroupID(w.org.ID, "deploy")))(t); held > limit {
						t.Errorf("%d jobs hold slots of a group of %d", held, limit)
						return
					}
				}
			})
		}
		wg.Wait()
		for _, b := range all {
			w.wantBuild(t, b, ci.BuildPassed)
			w.check(t, b)
		}
	})
}

// turn runs what a build has that may run, and says how many jobs it ended.
func (w *world) turn(t *testing.T, b store.Build, a store.Agent) int {
	ctx, n := t.Context(), 0
	for _, j := range must(w.Store.OpenJobs(ctx, b.ID))(t) {
		if j.State != ci.JobScheduled || !must(w.AssignJob(ctx, j.ID, a.ID))(t) {
			continue
		}
		must(w.AcceptJob(ctx, j.ID, a.ID))(t)
		must(0, w.StartJob(ctx, j.ID, w.Now()))(t)
		must(w.FinishJob(ctx, engine.FinishJob{JobID: j.ID}))(t)
		n++
	}
	return n
}

// TestAdmissionCostsTheSameInAGroupOfAnySize counts statements, and rows by their absence: no statement
// reads more of the line than the group has room for.
func TestAdmissionCostsTheSameInAGroupOfAnySize(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	w := newWorld(t, counted(t, &n))
	cost := map[string]int64{}
	for group, jobs := range map[string]int{"small": 3, "large": 3000} {
		b := w.build(t, document(map[string]any{"command": "x", "parallelism": jobs, "key": "x", "concurrency": 1, "concurrency_group": group}))
		w.start(t, w.job(t, b, "x"))
		before := n.Load()
		must(w.FinishJob(t.Context(), engine.FinishJob{JobID: w.job(t, b, "x").ID}))(t)
		w.admit(t)
		cost[group] = n.Load() - before
		all := must(w.Store.JobsOfStep(t.Context(), w.step(t, b, "x").ID))(t)
		if all[1].State != ci.JobScheduled || all[2].State != ci.JobLimited {
			t.Errorf("in %s the next jobs are %s and %s", group, all[1].State, all[2].State)
		}
	}
	if cost["small"] != cost["large"] {
		t.Errorf("statements: %v", cost)
	}
}

func TestAnotherOrganizationsGroupOfTheSameNameIsAnother(t *testing.T) {
	w := stated(t)
	other := store.Organization{ID: w.NewID(), Slug: "other", Name: "other", Settings: []byte("{}"), CreatedAt: w.Now()}
	cluster := store.Cluster{ID: w.NewID(), OrganizationID: other.ID, Name: "c", DefaultQueueID: w.cluster.DefaultQueueID, CreatedAt: w.Now()}
	must(0, w.Store.Update(t.Context(), func(tx *store.Tx) error {
		return cmp.Or(tx.InsertOrganization(t.Context(), other), tx.InsertCluster(t.Context(), cluster))
	}))(t)
	ours := w.build(t, limited)
	pl := must(w.CreatePipeline(t.Context(), engine.CreatePipeline{OrganizationID: other.ID, Name: "p", Repository: "r", Configuration: limited}))(t)
	theirs := must(w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: "api"}))(t)
	w.wantStates(t, ours, "a=scheduled")
	w.wantStates(t, theirs, "a=scheduled")
}

func TestAStepMayStandBeforeOneThatItWaitsFor(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: x, key: x, depends_on: y, concurrency: 1, concurrency_group: g}", "{command: y, key: y, concurrency: 1, concurrency_group: g}"))
	w.wantStates(t, b, "x=waiting y=scheduled")
	w.end(t, b, "y", 0)
	w.wantStates(t, b, "x=scheduled y=finished")
}

func TestP202_AJobThatWaitsForItsGroupIsLimited(t *testing.T) {
	w := stated(t)
	builds := w.inOrder(t, limited, limited)
	if got := w.lined(t, builds); got != "scheduled limited" {
		t.Errorf("the jobs are %s", got)
	}
	w.check(t, builds[1])
}

func TestP205_AnEagerGroupHeedsPriorityAndNotOrder(t *testing.T) {
	w := stated(t)
	one := func(attributes string) string {
		return steps("{command: a, key: a, concurrency: 1, concurrency_group: deploy, concurrency_method: eager" + attributes + "}")
	}
	builds := w.inOrder(t, one(""), one(""), one(", priority: 1"), one(", priority: 2"), one(", priority: 2"))
	want := []string{
		"scheduled limited limited limited limited", "finished limited limited scheduled limited",
		"finished limited limited finished scheduled", "finished limited scheduled finished finished", "finished scheduled finished finished finished",
	}
	for n, next := range []int{0, 3, 4, 2, 1} {
		if got := w.lined(t, builds); got != want[n] {
			t.Fatalf("round %d: the jobs are %s, want %s", n, got, want[n])
		}
		w.end(t, builds[next], "a", 0)
		w.admit(t)
	}
}

func TestP206_AGatesOpeningStepWaitsForTheClosingStepOfTheBuildBefore(t *testing.T) {
	w := stated(t)
	gate := steps("{command: o, key: a, concurrency: 1, concurrency_group: gate}", "wait", "{command: x, key: x, parallelism: 2}", "wait",
		"{command: z, key: z, concurrency: 1, concurrency_group: gate}")
	builds := w.inOrder(t, gate, gate)
	a, b := builds[0], builds[1]
	w.end(t, a, "a", 0)
	w.admit(t)
	w.wantStates(t, b, "a=limited x=waiting+waiting z=waiting")
	for _, j := range must(w.Store.JobsOfStep(t.Context(), w.step(t, a, "x").ID))(t) {
		w.run(t, j, 0)
	}
	w.admit(t)
	w.wantStates(t, a, "z=scheduled")
	w.wantStates(t, b, "a=limited")
	w.end(t, a, "z", 0)
	w.admit(t)
	w.wantStates(t, b, "a=scheduled")

	c := w.build(t, gate)
	w.end(t, b, "a", 1) // nothing closes a gate whose build failed inside
	w.wantStates(t, b, "z=waiting_failed")
	w.admit(t)
	w.wantStates(t, c, "a=scheduled")
}

func TestP208_AJobTellsHowLongItWaitedForItsGroup(t *testing.T) {
	w := stated(t)
	builds := w.inOrder(t, limited, limited)
	first, second := w.job(t, builds[0], "a"), w.job(t, builds[1], "a")
	if !first.LimitedAt.Equal(first.RunnableAt) || !second.RunnableAt.IsZero() {
		t.Errorf("in line at %v and %v, let go at %v and %v", first.LimitedAt, second.LimitedAt, first.RunnableAt, second.RunnableAt)
	}
	w.advance(500 * time.Millisecond)
	w.end(t, builds[0], "a", 0)
	w.admit(t)
	if second = w.job(t, builds[1], "a"); second.RunnableAt.Sub(second.LimitedAt) != 1500*time.Millisecond {
		t.Errorf("it waited %v", second.RunnableAt.Sub(second.LimitedAt))
	}
}
