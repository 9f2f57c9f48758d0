package engine_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/dispatch"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

func TestP187_AParallelStepIsSeveralJobs(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, parallelism: 3}", "{command: b, key: b}"))
	var got []string
	for _, j := range must(w.Store.JobsOfStep(t.Context(), w.step(t, b, "a").ID))(t) {
		env := w.env(t, j)
		got = append(got, env["BUILDKITE_PARALLEL_JOB"]+"/"+env["BUILDKITE_PARALLEL_JOB_COUNT"])
	}
	if !slices.Equal(got, []string{"0/3", "1/3", "2/3"}) {
		t.Errorf("the jobs are %v", got)
	}
	wantEnv(t, w.env(t, w.job(t, b, "b")), map[string]string{"BUILDKITE_PARALLEL_JOB": "-", "BUILDKITE_PARALLEL_JOB_COUNT": "-"})
}

func TestP188_LabelsNumberParallelJobs(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, parallelism: 2, label: '%n/%t then %N'}"))
	j := must(w.Store.JobsOfStep(t.Context(), w.step(t, b, "a").ID))(t)[1]
	wantEnv(t, w.env(t, j), map[string]string{"BUILDKITE_LABEL": "1/2 then 2"})
}

func TestP189_TheParallelismOfARunningStepMayBeRaised(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, parallelism: 2, label: '%n of %t, now %T'}", "wait", "{command: z, key: z}", "{command: m, key: m, depends_on: null}"))
	raise := func(step, value, uuid string) error {
		return w.UpdateStep(t.Context(), engine.UpdateStep{BuildID: b.ID, Step: step, Attribute: "parallelism", Value: value, UUID: uuid})
	}
	w.end(t, b, "a", 0)
	must(0, raise("a", "5", "one"))(t)
	must(0, raise("a", "9", "one"))(t) // the same call again
	w.wantStates(t, b, "a=finished+scheduled+scheduled+scheduled+scheduled z=waiting")
	var labels []string
	jobs := must(w.Store.JobsOfStep(t.Context(), w.step(t, b, "a").ID))(t)
	for _, j := range jobs {
		labels = append(labels, must(j.Spec())(t).Label)
	}
	if got, want := strings.Join(labels, "; "), "0 of 2, now 5; 1 of 2, now 5; 2 of 5, now 5; 3 of 5, now 5; 4 of 5, now 5"; got != want {
		t.Errorf("the labels are %s, want %s", got, want)
	}
	wantEnv(t, w.env(t, jobs[1]), map[string]string{"BUILDKITE_PARALLEL_JOB": "1", "BUILDKITE_PARALLEL_JOB_COUNT": "2"})
	wantEnv(t, w.env(t, jobs[4]), map[string]string{"BUILDKITE_PARALLEL_JOB": "4", "BUILDKITE_PARALLEL_JOB_COUNT": "5"})
	wantRefusal(t, raise("a", "4", ""), "The step has 5 jobs; its parallelism can only be raised.")
	wantRefusal(t, raise("a", "many", ""), "Parallelism must be a number between 1 and 100000.")
	wantRefusal(t, raise("m", "2", ""), "The step was not made with a parallelism; only that of a parallel step can be raised.")
	w.decide(t, `{"max_jobs_per_build": 10}`)
	wantRefusal(t, raise("a", "8", ""), "The build would have 11 jobs; your organization's limit is 10.")
	w.check(t, b)
}

func TestP190_AMatrixFillsInEveryJob(t *testing.T) {
	w := stated(t)
	b := w.build(t, `steps:
- command: run {{matrix}}
  key: a
  label: on {{ matrix }}
  env: {OS: "{{matrix}}"}
  agents: {os: "{{matrix}}"}
  plugins: [{docker#v1: {image: "{{matrix}}"}}]
  matrix: [linux, mac]
`)
	jobs := must(w.Store.JobsOfStep(t.Context(), w.step(t, b, "a").ID))(t)
	if len(jobs) != 2 {
		t.Fatalf("%d jobs", len(jobs))
	}
	for i, os := range []string{"linux", "mac"} {
		if !slices.Equal(jobs[i].Rules, []string{"os=" + os}) {
			t.Errorf("the rules are %v", jobs[i].Rules)
		}
		env := w.env(t, jobs[i], "os="+os)
		wantEnv(t, env, map[string]string{"BUILDKITE_COMMAND": "run " + os, "BUILDKITE_LABEL": "on " + os, "OS": os})
		if !strings.Contains(env["BUILDKITE_PLUGINS"], `{"image":"`+os+`"}`) {
			t.Errorf("the plugins are %s", env["BUILDKITE_PLUGINS"])
		}
	}
}

func TestP194_AnAdjustmentIsForItsJobAlone(t *testing.T) {
	w := stated(t)
	const document = `steps: [{command: "{{matrix}}", key: a, matrix: {setup: [x, y], adjustments: [{with: y, soft_fail: true}]}}]`
	for i, want := range []ci.BuildState{ci.BuildFailed, ci.BuildPassed} {
		b := w.build(t, document)
		jobs := must(w.Store.JobsOfStep(t.Context(), w.step(t, b, "a").ID))(t)
		w.run(t, jobs[i], 1)
		w.run(t, jobs[1-i], 0)
		w.wantBuild(t, b, want)
	}
}

func TestP197_KeysAndConcurrencyGroupsAreNotFilledIn(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps(`{command: "{{matrix}}", key: a, matrix: [x, y], concurrency: 1, concurrency_group: "g-{{matrix}}"}`))
	for _, j := range must(w.Store.JobsOfStep(t.Context(), w.step(t, b, "a").ID))(t) {
		if j.ConcurrencyGroup != "g-{{matrix}}" {
			t.Errorf("the group is %q", j.ConcurrencyGroup)
		}
	}
}

func TestP198_AnAgentGetsTheStepAsWrittenAndItsCombination(t *testing.T) {
	w := stated(t)
	b := w.build(t, `{"steps":[{"command":"run {{matrix.os}}","key":"a","matrix":{"setup":{"os":["linux","mac"]}}}]}`)
	a := w.accept(t, w.job(t, b, "a"))
	if want := `{"command":"run {{matrix.os}}","key":"a","matrix":{"setup":{"os":["linux","mac"]}}}`; string(a.Step.Definition) != want {
		t.Errorf("the step is %s", a.Step.Definition)
	}
	if diff := cmp.Diff(map[string]string{"os": "linux"}, must(a.Job.Spec())(t).Matrix); diff != "" {
		t.Error(diff)
	}
}

const limited = "steps:\n- {command: a, key: a, concurrency: 1, concurrency_group: deploy}\n"

// inOrder makes builds a second apart.
func (w *world) inOrder(t testing.TB, documents ...string) []store.Build {
	t.Helper()
	var list []store.Build
	for _, d := range documents {
		list = append(list, w.build(t, d))
		w.advance(time.Second)
	}
	return list
}

// lined are the states of the jobs named a of several builds.
func (w *world) lined(t testing.TB, builds []store.Build) string {
	t.Helper()
	var list []string
	for _, b := range builds {
		list = append(list, string(w.job(t, b, "a").State))
	}
	return strings.Join(list, " ")
}

func TestP199_OneBuildAtATimeIsInAGroupOfOne(t *testing.T) {
	w := stated(t)
	builds := w.inOrder(t, limited, limited)
	w.admit(t)
	if got := w.lined(t, builds); got != "scheduled limited" {
		t.Fatalf("the jobs are %s", got)
	}
	a := w.begin(t, builds[0], "a")
	w.admit(t)
	if got := w.lined(t, builds); got != "running limited" {
		t.Errorf("the jobs are %s", got)
	}
	w.finish(t, a, 1)
	w.admit(t)
	if got := w.lined(t, builds); got != "finished scheduled" {
		t.Errorf("the jobs are %s", got)
	}
}

func TestP200_AnOrderedGroupTakesTheOldestBuildFirst(t *testing.T) {
	w := stated(t)
	builds := w.inOrder(t, limited, limited, limited)
	for n, want := range []string{"scheduled limited limited", "finished scheduled limited", "finished finished scheduled"} {
		w.admit(t)
		if got := w.lined(t, builds); got != want {
			t.Fatalf("round %d: the jobs are %s, want %s", n, got, want)
		}
		w.end(t, builds[n], "a", 0)
	}
}

func TestP203_EachJobIsHeldAgainstItsOwnLimit(t *testing.T) {
	w := stated(t)
	wide := strings.Replace(limited, "concurrency: 1", "concurrency: 3", 1)
	builds := w.inOrder(t, limited, limited, wide, wide)
	w.admit(t)
	// One holds a slot and one is ahead: the third job is the third of three, the fourth is not.
	if got := w.lined(t, builds); got != "scheduled limited scheduled limited" {
		t.Errorf("the jobs are %s", got)
	}
}

func TestP204_ARetryKeepsItsLimit(t *testing.T) {
	w := stated(t)
	b := w.build(t, limited)
	w.admit(t)
	w.end(t, b, "a", 1)
	next := must(w.RetryJob(t.Context(), w.job(t, b, "a").ID, "ana"))(t)
	if next.Concurrency != 1 || next.ConcurrencyGroup != "deploy" || next.State != ci.JobLimited {
		t.Errorf("the retry is %s in %q of %d", next.State, next.ConcurrencyGroup, next.Concurrency)
	}
}

func TestP207_AJobBehindABlockStandsInNoLine(t *testing.T) {
	w := stated(t)
	blocked := "steps:\n- {block: go, key: gate}\n- {command: a, key: a, concurrency: 1, concurrency_group: deploy}\n"
	builds := w.inOrder(t, blocked, limited, limited)
	w.admit(t)
	if got := w.lined(t, builds); got != "waiting scheduled limited" {
		t.Fatalf("the jobs are %s", got)
	}
	must(w.UnblockJob(t.Context(), engine.UnblockJob{JobID: w.job(t, builds[0], "gate").ID}))(t)
	w.end(t, builds[1], "a", 0)
	w.admit(t)
	if got := w.lined(t, builds); got != "scheduled finished limited" {
		t.Errorf("the jobs are %s: the oldest build comes first as soon as it stands in line", got)
	}
}

// queued are the keys of the jobs that wait for an agent of the default queue, in their order.
func (w *world) queued(t testing.TB) string {
	t.Helper()
	var keys []string
	for _, id := range must(w.Store.QueueHead(t.Context(), w.cluster.DefaultQueueID, 100))(t) {
		keys = append(keys, must(w.Store.Step(t.Context(), must(w.Store.Job(t.Context(), id))(t).StepID))(t).Key)
	}
	return strings.Join(keys, " ")
}

func TestP209_JobsAreDispatchedByPriorityThenAge(t *testing.T) {
	w := stated(t)
	w.inOrder(t, steps("{command: x, key: old1}", "{command: x, key: low, priority: -1}", "{command: x, key: old2}"),
		steps("{command: x, key: new}", "{command: x, key: high, priority: 5}"))
	if got := w.queued(t); got != "high old1 old2 new low" {
		t.Errorf("the order is %s", got)
	}
}

func TestP210_ADocumentsPriorityIsADefault(t *testing.T) {
	w := stated(t)
	b := w.build(t, "priority: 3\n"+steps("{command: a, key: a}", "{command: b, key: b, priority: -2}", "{command: c, key: c, priority: 0}"))
	for key, want := range map[string]int{"a": 3, "b": -2, "c": 0} {
		if got := w.job(t, b, key).Priority; got != want {
			t.Errorf("the priority of %q is %d, want %d", key, got, want)
		}
	}
}

// matches asserts which agents satisfy rules.
func matches(t *testing.T, rules string, want map[string]bool) {
	t.Helper()
	for tags, w := range want {
		if got := dispatch.Matches(strings.Fields(rules), strings.Fields(tags)); got != w {
			t.Errorf("the rules %q and the tags %q match: %v, want %v", rules, tags, got, w)
		}
	}
}

func TestP211_AllRulesMustMatch(t *testing.T) {
	t.Parallel()
	matches(t, "os=linux arch=arm", map[string]bool{
		"os=linux arch=arm": true, "os=linux arch=arm gpu=yes": true, "os=linux": false, "os=linux arch=amd": false,
		"os=linux arch=amd arch=arm": true, "": false,
	})
	matches(t, "", map[string]bool{"": true, "os=linux": true})
}

func TestP212_AStarNeedsTheTag(t *testing.T) {
	t.Parallel()
	matches(t, "os=*", map[string]bool{"os=linux": true, "os=mac": true, "arch=arm": false, "": false})
}

func TestP213_ThereAreNoOtherWildcards(t *testing.T) {
	t.Parallel()
	matches(t, "ruby=1.9*", map[string]bool{"ruby=1.9.3": false, "ruby=1.9": false, "ruby=1.9*": true})
}

func TestP214_AJobWithoutAQueueIsForTheDefaultQueue(t *testing.T) {
	w := stated(t)
	mac := must(w.CreateQueue(t.Context(), engine.CreateQueue{ClusterID: w.cluster.ID, Key: "mac"}))(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: b, key: b, agents: {os: linux}}", "{command: c, key: c, agents: {queue: mac}}"))
	for key, want := range map[string]string{"a": w.cluster.DefaultQueueID, "b": w.cluster.DefaultQueueID, "c": mac.ID} {
		if got := w.job(t, b, key).QueueID; got != want {
			t.Errorf("%q is in queue %s, want %s", key, got, want)
		}
	}
	if got := w.agent(t).QueueID; got != w.cluster.DefaultQueueID {
		t.Errorf("an agent without a queue is in %s", got)
	}
}

// dispatched says which agent gets the only job, "" for none.
func dispatched(t *testing.T, queue dispatch.Queue, agents ...dispatch.Agent) string {
	t.Helper()
	clear := must(dispatch.Clear("allow", commit, commit))(t)
	got := dispatch.Match(dispatch.Snapshot{
		Jobs: []dispatch.Job{{ID: "j", Queue: queue.ID, Clearance: clear}}, Agents: agents, Queues: []dispatch.Queue{queue},
	})
	if len(got) == 0 {
		return ""
	}
	return got[0].AgentID
}

func TestP215_APausedQueueDispatchesNothing(t *testing.T) {
	t.Parallel()
	a := dispatch.Agent{ID: "a", Queue: "q", Idle: true}
	if got := dispatched(t, dispatch.Queue{ID: "q", Paused: true}, a); got != "" {
		t.Errorf("agent %s got a job", got)
	}
	if got := dispatched(t, dispatch.Queue{ID: "q"}, a); got != "a" {
		t.Errorf("agent %q got the job", got)
	}
}

func TestP216_TheAgentOfHighestPriorityComesFirst(t *testing.T) {
	t.Parallel()
	one, nine, below := 1, 9, -5
	agents := []dispatch.Agent{
		{ID: "none", Queue: "q", Idle: true},
		{ID: "one", Queue: "q", Idle: true, Priority: &one},
		{ID: "nine", Queue: "q", Idle: true, Priority: &nine},
		{ID: "below", Queue: "q", Idle: true, Priority: &below},
	}
	var order []string
	for len(agents) > 0 {
		next := dispatched(t, dispatch.Queue{ID: "q"}, agents...)
		order = append(order, next)
		agents = slices.DeleteFunc(agents, func(a dispatch.Agent) bool { return a.ID == next })
	}
	if got := strings.Join(order, " "); got != "nine one below none" {
		t.Errorf("the order is %s", got)
	}
}

func TestP217_AnAcquiredJobAsksForNoTags(t *testing.T) {
	w := stated(t)
	must(w.CreateQueue(t.Context(), engine.CreateQueue{ClusterID: w.cluster.ID, Key: "mac"}))(t)
	b := w.build(t, steps("{command: a, key: a, agents: {queue: mac, os: mac}}"))
	got := must(w.AcquireJob(t.Context(), w.job(t, b, "a").ID, w.agent(t, "os=linux").ID))(t)
	if got.Job.State != ci.JobAccepted || got.Token == "" {
		t.Errorf("the job is %s", got.Job.State)
	}
}

func TestP218_APriorityMayChange(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: x, key: a}", "{command: x, key: b}"))
	must(w.SetJobPriority(t.Context(), w.job(t, b, "b").ID, 1))(t)
	if got := w.queued(t); got != "b a" {
		t.Errorf("the order is %s", got)
	}
	if err := w.UpdateStep(t.Context(), engine.UpdateStep{BuildID: b.ID, Step: "a", Attribute: "priority", Value: "2"}); err != nil {
		t.Fatal(err)
	}
	if got := w.queued(t); got != "a b" {
		t.Errorf("the order is %s", got)
	}
	wantRefusal(t, w.UpdateStep(t.Context(), engine.UpdateStep{BuildID: b.ID, Step: "a", Attribute: "priority", Value: "high"}), "Priority must be an integer")
}

func TestP232_AFalseConditionBreaksTheJobAndNothingElse(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, if: 'build.branch != \"main\"'}", "wait", "{command: b, key: b}", "{command: c, key: c, if: 'build.branch == \"main\"'}"))
	w.wantStates(t, b, "a=broken b=scheduled c=scheduled")
	if got := w.job(t, b, "a").Reason; got != "conditional_failed" {
		t.Errorf("the reason is %q", got)
	}
}

func TestP233_AConditionThatIsWrongIsRefused(t *testing.T) {
	w := stated(t)
	_, up := w.uploading(t)
	for expression, part := range map[string]string{
		"build.branch ==": "`if` is not valid", "build.brunch == \"main\"": "build.brunch", "build.number == \"1\"": "`if` is not valid",
		"step.outcome == \"passed\"": "step.outcome",
	} {
		w.wantRejected(t, up, document(map[string]any{"command": "x"}, map[string]any{"command": "y", "if": expression}), part)
	}
}
