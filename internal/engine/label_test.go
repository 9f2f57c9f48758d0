package engine_test

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
)

func TestALabelGivenLaterIsThatOfTheJobs(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps(
		"{command: a, key: one}",
		"{command: a, key: parallel, parallelism: 2, label: old}",
		"{command: a, key: matrix, matrix: [x, y], label: 'on {{matrix}}'}",
	))
	update := func(step, value string, add bool) {
		t.Helper()
		must(0, w.UpdateStep(t.Context(), engine.UpdateStep{BuildID: b.ID, Step: step, Attribute: "label", Value: value, Append: add}))(t)
	}
	labels := func(step string) string {
		var all []string
		for _, j := range must(w.Store.JobsOfStep(t.Context(), w.step(t, b, step).ID))(t) {
			all = append(all, must(j.Spec())(t).Label)
		}
		return strings.Join(all, "; ")
	}
	update("one", "new %n", false)
	update("parallel", "shard %N of %T", false)
	update("matrix", ", again", true)
	for step, want := range map[string]string{
		"one": "new %n", "parallel": "shard 1 of 2; shard 2 of 2", "matrix": "on x, again; on y, again",
	} {
		if got := labels(step); got != want {
			t.Errorf("the jobs of %s are labeled %q, want %q", step, got, want)
		}
	}
	update("matrix", "plain", false)
	if got := w.step(t, b, "matrix").Label + "; " + labels("matrix"); got != "plain; plain; plain" {
		t.Errorf("the labels are %q", got)
	}
}
