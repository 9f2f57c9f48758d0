package engine_test

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
)

// steps is a document with one step a line.
func steps(lines ...string) string { return "steps:\n- " + strings.Join(lines, "\n- ") + "\n" }

func TestP063_WithoutWaitsAllRunAtOnce(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: b, key: b}", "{command: c, key: c}"))
	w.wantStates(t, b, "a=scheduled b=scheduled c=scheduled")
}

func TestP064_AWaitHoldsBackUntilAllBeforePassed(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: b, key: b}", "wait", "{command: c, key: c}"))
	w.end(t, b, "a", 0)
	w.wantStates(t, b, "b=scheduled c=waiting")
	w.end(t, b, "b", 0)
	w.wantStates(t, b, "c=scheduled")
}

func TestP065_ABlockHoldsBackUntilUnblocked(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{block: go, key: gate}", "{command: c, key: c}"))
	w.wantStates(t, b, "gate=waiting c=waiting")
	w.end(t, b, "a", 0)
	w.wantStates(t, b, "gate=blocked c=waiting")
	must(w.UnblockJob(t.Context(), engine.UnblockJob{JobID: w.job(t, b, "gate").ID}))(t)
	w.wantStates(t, b, "c=scheduled")
}

func TestP066_NamedDependenciesTakeThePlaceOfWaitsAndBlocks(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: slow, key: slow}", "wait", "{block: go, key: gate}",
		"{command: c, key: c, depends_on: a}", "wait", "{command: d, key: d, depends_on: [a]}", "{command: e, key: e}"))
	w.wantStates(t, b, "c=waiting d=waiting")
	w.end(t, b, "a", 0)
	w.wantStates(t, b, "slow=scheduled gate=waiting c=scheduled d=scheduled e=waiting")
}

func TestP067_NoDependenciesIsNotTheSameAsNoneNamed(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "wait", "{command: b, key: b}", "{command: c, key: c, depends_on: ~}",
		"{command: d, key: d, depends_on: null}", "{command: e, key: e, depends_on: []}"))
	w.wantStates(t, b, "b=waiting c=scheduled d=scheduled e=scheduled")
}

func TestP069_AFailedDependencyGivesUpTheDependant(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: b, key: b, depends_on: a}", "{command: c, key: c, depends_on: b}"))
	w.end(t, b, "a", 1)
	w.wantStates(t, b, "a=finished b=waiting_failed c=waiting_failed")
	w.wantBuild(t, b, ci.BuildFailed)
}

func TestP070_AllowDependencyFailureLetsTheDependantRun(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: b, key: b, depends_on: a, allow_dependency_failure: true}"))
	w.end(t, b, "a", 1)
	w.wantStates(t, b, "b=scheduled")
	w.end(t, b, "b", 0)
	w.wantBuild(t, b, ci.BuildFailed)
}

func TestP071_AllowFailureIsForOneDependency(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: b, key: b}",
		"{command: c, key: c, depends_on: [{step: a, allow_failure: true}, b]}",
		"{command: d, key: d, depends_on: [{step: a, allow_failure: true}, b]}",
		"{command: e, key: e, allow_dependency_failure: true, depends_on: [{step: b, allow_failure: false}]}"))
	w.end(t, b, "a", 1)
	w.wantStates(t, b, "c=waiting")
	w.end(t, b, "b", 1)
	w.wantStates(t, b, "c=waiting_failed d=waiting_failed e=waiting_failed")

	good := w.build(t, steps("{command: a, key: a}", "{command: b, key: b}",
		"{command: c, key: c, depends_on: [{step: a, allow_failure: true}, b]}"))
	w.end(t, good, "a", 1)
	w.end(t, good, "b", 0)
	w.wantStates(t, good, "c=scheduled")
}

func TestP072_WhatWasGivenUpCountsAsAFailure(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: b, key: b, depends_on: a}",
		"{command: c, key: c, depends_on: [{step: b, allow_failure: true}]}"))
	w.end(t, b, "a", 1)
	w.wantStates(t, b, "b=waiting_failed c=scheduled")
}

func TestP073_ACanceledDependencyIsNeverAllowed(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: b, key: b, depends_on: a, allow_dependency_failure: true}",
		"{command: c, key: c, depends_on: [{step: a, allow_failure: true}]}"))
	must(w.CancelJob(t.Context(), w.job(t, b, "a").ID, "ana"))(t)
	w.wantStates(t, b, "a=canceled b=waiting_failed c=waiting_failed")
}

func TestP074_ASoftFailureSatisfies(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, soft_fail: true}", "{command: b, key: b, depends_on: a, allow_dependency_failure: false}",
		"wait", "{command: c, key: c}"))
	w.end(t, b, "a", 1)
	w.wantStates(t, b, "b=scheduled c=waiting")
	w.end(t, b, "b", 0)
	w.end(t, b, "c", 0)
	w.wantBuild(t, b, ci.BuildPassed)
}

func TestP075_AStepWhoseConditionIsFalseSatisfies(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, if: 'build.branch == \"other\"'}", "{command: b, key: b, depends_on: a}"))
	w.wantStates(t, b, "a=broken b=scheduled")
}

func TestP076_ASkippedStepSatisfies(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, skip: true}", "{command: b, key: b, depends_on: a}"))
	w.wantStates(t, b, "a=skipped b=scheduled")
}

func TestP077_AStepOfAnotherBranchSatisfies(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, branches: other}", "{command: b, key: b, depends_on: a}"))
	w.wantStates(t, b, "a=broken b=scheduled")
	if got := w.job(t, b, "a").Reason; got != "branch_mismatch" {
		t.Errorf("the reason is %q", got)
	}
}

func TestP078_WhatASkippedStepWaitsForIsNotWaitedFor(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: z, key: z}", "{command: a, key: a, skip: true, depends_on: z}", "{command: b, key: b, depends_on: a}",
		"{command: c, key: c, if: 'false', depends_on: z}", "{command: d, key: d, depends_on: c}"))
	w.wantStates(t, b, "z=scheduled b=scheduled d=scheduled")
}

func TestP080_DependingOnAGroupIsDependingOnAllOfIt(t *testing.T) {
	w := stated(t)
	b := w.build(t, "steps:\n- {group: g, key: g, steps: [{command: a, key: a}, {command: b, key: b}]}\n- {command: c, key: c, depends_on: g}\n")
	w.end(t, b, "a", 0)
	w.wantStates(t, b, "b=scheduled c=waiting")
	w.end(t, b, "b", 0)
	w.wantStates(t, b, "c=scheduled")
}

func TestP081_DependingOnAParallelStepIsDependingOnAllItsJobs(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, parallelism: 2}", "{command: b, key: b, depends_on: a}"))
	jobs := must(w.Store.JobsOfStep(t.Context(), w.step(t, b, "a").ID))(t)
	w.run(t, jobs[1], 0)
	w.wantStates(t, b, "a=scheduled+finished b=waiting")
	w.run(t, jobs[0], 0)
	w.wantStates(t, b, "b=scheduled")
}

func TestP082_TheLatestAttemptDecides(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: b, key: b, depends_on: a}", "wait", "{command: c, key: c}"))
	first := w.job(t, b, "a")
	w.run(t, first, 1)
	w.wantStates(t, b, "b=waiting_failed c=waiting_failed")
	must(w.RetryJob(t.Context(), first.ID, "ana"))(t)
	w.wantStates(t, b, "a=scheduled b=waiting c=waiting")
	w.end(t, b, "a", 0)
	w.wantStates(t, b, "b=scheduled c=waiting")
	w.end(t, b, "b", 0)
	w.wantStates(t, b, "c=scheduled")
}

func TestP083_AWaitMayNameWhatItWaitsFor(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: slow, key: slow}", "{wait: ~, depends_on: a}", "{command: c, key: c}"))
	w.end(t, b, "a", 0)
	w.wantStates(t, b, "slow=scheduled c=scheduled")
}

func TestP084_ContinueOnFailureGoesOnAndTheBuildFails(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{wait: ~, continue_on_failure: true}", "{command: b, key: b}"))
	w.end(t, b, "a", 1)
	w.wantStates(t, b, "b=scheduled")
	w.wantBuild(t, b, ci.BuildFailing)
	w.end(t, b, "b", 0)
	w.wantBuild(t, b, ci.BuildFailed)
}

func TestP085_APlainWaitInBetweenStopsEverything(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "wait", "{command: b, key: b}", "{wait: ~, continue_on_failure: true}", "{command: c, key: c}"))
	w.end(t, b, "a", 1)
	w.wantStates(t, b, "b=waiting_failed c=waiting_failed")

	after := w.build(t, steps("{command: a, key: a}", "{wait: ~, continue_on_failure: true}", "{command: b, key: b}", "wait", "{command: c, key: c}"))
	w.end(t, after, "a", 1)
	w.end(t, after, "b", 0)
	w.wantStates(t, after, "c=waiting_failed")
	w.wantBuild(t, after, ci.BuildFailed)
}

func TestP086_ConsecutiveContinuingWaitsAllLetThrough(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{wait: ~, continue_on_failure: true}", "{command: b, key: b}",
		"{wait: ~, continue_on_failure: true}", "{command: c, key: c}"))
	w.end(t, b, "a", 1)
	w.end(t, b, "b", 0)
	w.wantStates(t, b, "c=scheduled")

	side := w.build(t, steps("{command: a, key: a}", "{wait: ~, continue_on_failure: true}",
		"{wait: ~, continue_on_failure: true}", "{command: c, key: c}"))
	w.end(t, side, "a", 1)
	w.wantStates(t, side, "c=scheduled")
}

func TestP087_ContinueOnFailureDoesNotPassACancel(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{wait: ~, continue_on_failure: true}", "{command: b, key: b}"))
	must(w.CancelJob(t.Context(), w.job(t, b, "a").ID, "ana"))(t)
	w.wantStates(t, b, "a=canceled b=waiting_failed")
	w.wantBuild(t, b, ci.BuildFailed)
}

func TestP088_AWaitBesideABlockIsIgnored(t *testing.T) {
	w := stated(t)
	for _, document := range []string{
		steps("{command: a, key: a}", "wait", "{block: go, key: gate}", "{command: c, key: c}"),
		steps("{command: a, key: a}", "{block: go, key: gate}", "wait", "{command: c, key: c}"),
	} {
		b := w.build(t, document)
		w.end(t, b, "a", 0)
		w.wantStates(t, b, "gate=blocked c=waiting")
		w.wantBuild(t, b, ci.BuildBlocked)
		must(w.UnblockJob(t.Context(), engine.UnblockJob{JobID: w.job(t, b, "gate").ID}))(t)
		w.wantStates(t, b, "c=scheduled")
	}
	failed := w.build(t, steps("{command: a, key: a}", "{block: go, key: gate}", "{wait: ~, continue_on_failure: true}", "{command: c, key: c}"))
	w.end(t, failed, "a", 1)
	w.wantStates(t, failed, "gate=waiting_failed c=waiting_failed")
}

func TestP089_ABlockBehindAFailureNeverOpens(t *testing.T) {
	w := stated(t)
	for _, document := range []string{
		steps("{command: a, key: a}", "{wait: ~, continue_on_failure: true}", "{command: b, key: b}", "{block: go, key: gate}", "{command: c, key: c}"),
		steps("{command: a, key: a}", "{command: b, key: b}", "{wait: ~, continue_on_failure: true}", "{block: go, key: gate}", "{command: c, key: c}"),
	} {
		b := w.build(t, document)
		w.end(t, b, "a", 1)
		w.end(t, b, "b", 0)
		w.wantStates(t, b, "gate=waiting_failed c=waiting_failed")
		w.wantBuild(t, b, ci.BuildFailed)
		_, err := w.UnblockJob(t.Context(), engine.UnblockJob{JobID: w.job(t, b, "gate").ID})
		wantRefusal(t, err, "")
	}
}

func TestP090_AWaitWhoseConditionIsFalseGatesNothing(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{wait: ~, if: 'false'}", "{command: b, key: b}", "{wait: ~, branches: other}", "{command: c, key: c}"))
	w.wantStates(t, b, "b=scheduled c=scheduled")
}

func TestP091_AnInputHoldsNothingBackButTheEnd(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{input: name, key: in}", "wait", "{command: b, key: b}"))
	w.wantStates(t, b, "in=blocked")
	w.end(t, b, "a", 0)
	w.wantStates(t, b, "b=scheduled")
	w.end(t, b, "b", 0)
	if got := w.now(t, b); got.State.Finished() {
		t.Errorf("the build is %s", got.State)
	}
	must(w.UnblockJob(t.Context(), engine.UnblockJob{JobID: w.job(t, b, "in").ID}))(t)
	w.wantBuild(t, b, ci.BuildPassed)
}

func TestP092_WhatNamesAnInputWaitsForIt(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{input: name, key: in}", "{command: b, key: b, depends_on: in}", "{command: c, key: c}"))
	w.wantStates(t, b, "in=blocked b=waiting c=scheduled")
	must(w.UnblockJob(t.Context(), engine.UnblockJob{JobID: w.job(t, b, "in").ID}))(t)
	w.wantStates(t, b, "b=scheduled")
}

func TestP093_GroupsRunSideBySide(t *testing.T) {
	w := stated(t)
	b := w.build(t, "steps:\n- {group: g, steps: [{command: a, key: a}]}\n- {group: h, steps: [{command: b, key: b}]}\n")
	w.wantStates(t, b, "a=scheduled b=scheduled")
}

func TestP094_AWaitInAGroupOrdersTheGroup(t *testing.T) {
	w := stated(t)
	b := w.build(t, "steps:\n- {group: g, steps: [{command: a, key: a}, wait, {command: b, key: b}]}\n"+
		"- {group: h, steps: [{command: c, key: c}]}\n- {command: d, key: d}\n")
	w.wantStates(t, b, "a=scheduled b=waiting c=scheduled d=scheduled")
	w.end(t, b, "a", 0)
	w.wantStates(t, b, "b=scheduled")
}

func TestP099_AGroupsConditionIsForAllItsMembers(t *testing.T) {
	w := stated(t)
	b := w.build(t, "steps:\n- {group: g, key: g, if: 'false', steps: [{command: a, key: a}, {command: b, key: b, if: 'true'}]}\n- {command: c, key: c, depends_on: g}\n")
	w.wantStates(t, b, "a=broken b=broken c=scheduled")
	if got := w.order(t, b.ID); got != "g a b c" {
		t.Errorf("the steps are %s", got)
	}
}

func TestP100_AGroupsSkipIsForAllItsMembers(t *testing.T) {
	w := stated(t)
	b := w.build(t, "steps:\n- {group: g, skip: not now, steps: [{command: a, key: a}, {command: b, key: b, skip: own}]}\n")
	w.wantStates(t, b, "a=skipped b=skipped")
	if a, own := w.job(t, b, "a").Reason, w.job(t, b, "b").Reason; a != "not now" || own != "own" {
		t.Errorf("the reasons are %q and %q", a, own)
	}
}

func TestP101_AGroupsDependenciesAreForAllItsMembers(t *testing.T) {
	w := stated(t)
	b := w.build(t, "steps:\n- {command: a, key: a}\n"+
		"- {group: g, depends_on: a, steps: [{command: b, key: b}, {command: c, key: c, depends_on: b}, {command: d, key: d, depends_on: []}]}\n")
	w.wantStates(t, b, "b=waiting c=waiting d=waiting")
	w.end(t, b, "a", 0)
	w.wantStates(t, b, "b=scheduled c=waiting d=scheduled")
}

func TestP102_MembersOfAGroupKnowIt(t *testing.T) {
	w := stated(t)
	b := w.build(t, "steps:\n- {group: Tests, key: g, steps: [{command: a, key: a}]}\n- {command: b, key: b}\n")
	wantEnv(t, w.env(t, w.job(t, b, "a")), map[string]string{
		"BUILDKITE_GROUP_ID": w.step(t, b, "g").ID, "BUILDKITE_GROUP_KEY": "g", "BUILDKITE_GROUP_LABEL": "Tests",
	})
	wantEnv(t, w.env(t, w.job(t, b, "b")), map[string]string{
		"BUILDKITE_GROUP_ID": "-", "BUILDKITE_GROUP_KEY": "-", "BUILDKITE_GROUP_LABEL": "-",
	})
}

func TestP104_AGroupIsAsGoodAsItsWorstMember(t *testing.T) {
	w := stated(t)
	b := w.build(t, "steps:\n- {group: g, key: g, steps: [{command: a, key: a, skip: true}, {command: b, key: b}, "+
		"{command: c, key: c, soft_fail: true}, {command: d, key: d}, {command: e, key: e}]}\n"+
		"- {group: h, key: h, steps: [{command: f, key: f, skip: true}]}\n")
	w.wantOutcome(t, b, "h", ci.OutcomeNeutral)
	must(w.CancelJob(t.Context(), w.job(t, b, "e").ID, "ana"))(t)
	w.end(t, b, "b", 0)
	w.end(t, b, "c", 1)
	w.wantOutcome(t, b, "g", ci.OutcomeNeutral)
	w.end(t, b, "d", 1)
	w.wantOutcome(t, b, "g", ci.OutcomeErrored)

	for _, test := range []struct {
		soft, hard int
		want       ci.Outcome
	}{{0, 0, ci.OutcomePassed}, {1, 0, ci.OutcomeSoftFailed}, {1, 1, ci.OutcomeHardFailed}} {
		b := w.build(t, "steps:\n- {group: g, key: g, steps: [{command: a, key: a, soft_fail: true}, {command: b, key: b}, {command: c, skip: true}]}\n")
		w.end(t, b, "a", test.soft)
		w.end(t, b, "b", test.hard)
		w.wantOutcome(t, b, "g", test.want)
	}
}
