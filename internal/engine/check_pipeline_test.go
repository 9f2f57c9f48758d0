package engine_test

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/pipeline"
)

// checked holds a document against the world's cluster and returns what is said of it, a line each.
func (w *world) checked(t testing.TB, op engine.CheckPipeline) (pipeline.Report, string) {
	t.Helper()
	op.OrganizationID, op.File = w.org.ID, "p.yml"
	r := must(w.CheckPipeline(t.Context(), op))(t)
	var said []string
	for _, p := range append(r.Problems, r.Warnings...) {
		said = append(said, p.String())
	}
	return r, strings.Join(said, "\n")
}

func TestACheckAsksTheClusterWhoServesAStep(t *testing.T) {
	w := stated(t)
	must(w.CreateQueue(t.Context(), engine.CreateQueue{ClusterID: w.cluster.ID, Key: "mac"}))(t)
	w.agent(t, "queue=mac", "arch=arm")
	for document, want := range map[string]string{
		"steps: [{command: a, key: a, agents: {queue: mca}}]":              "p.yml:1:9: a wants queue=mca, which does not exist; did you mean mac? the queues are: default, mac",
		"steps: [{command: a, key: a, agents: {queue: mac}}]":              "",
		"steps: [{command: a, key: a, agents: {queue: mac, arch: amd}}]":   "p.yml:1:9: warning a waits until there is an agent for it: no agent in queue mac matches arch=amd; did you mean arch=arm?",
		"steps: [{command: a, key: a}]":                                    "p.yml:1:9: warning a waits until there is an agent for it: no agent matches queue=default",
		"steps: [{trigger: nowhere, key: a}]":                              `p.yml:1:9: warning the trigger step fails: there is no pipeline "nowhere"`,
		"steps: [{command: a, key: a, agents: {queue: '$Q'}}]":             "",
		"agents: {queue: mac}\nsteps: [{command: a}, {command: b, if: x}]": "p.yml:2:40: `if` is not valid: `x` is not a variable",
	} {
		r, got := w.checked(t, engine.CheckPipeline{Source: []byte(document)})
		if want := strings.Replace(want, "warning ", "", 1); got != want {
			t.Errorf("%s:\n got %q\nwant %q", document, got, want)
		}
		if refused := want != "" && !strings.Contains(want, "warning "); refused == r.OK() {
			t.Errorf("%s: refused is %v", document, !r.OK())
		}
	}
}

func TestACheckOfAnEditorsDocumentExpandsUnknownVariablesToNothing(t *testing.T) {
	w := stated(t)
	_, got := w.checked(t, engine.CheckPipeline{Editor: true, Source: []byte("steps:\n- command: a $HOME\n  agents: {queue: $BUILDKITE_BRANCH}\n")})
	if !strings.Contains(got, "p.yml:2:12: $HOME is not known before a job runs") || !strings.Contains(got, "wants queue=main, which does not exist") {
		t.Errorf("said:\n%s", got)
	}
}

// A pipeline's configuration is checked when it is new, and stays as it is while other things change.
func TestAConfigurationIsCheckedWhenItIsSaved(t *testing.T) {
	w := stated(t)
	bad := "steps:\n- command: a\n  if: build.brunch == 1\n- command: b\n  retyr: 2\n"
	_, err := w.CreatePipeline(t.Context(), engine.CreatePipeline{OrganizationID: w.org.ID, Name: "bad", Repository: "r", Configuration: bad})
	for _, want := range []string{"configuration:3:7: `if` is not valid: `build.brunch`", "configuration:5:3: `retyr`", "perhaps you meant `retry`"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}
