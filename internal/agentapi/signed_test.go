package agentapi_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/buildkite/go-pipeline"

	"github.com/slipway-ci/slipway/internal/agent/signing"
	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/ci"
)

const toSign = `
env: {TOP: "1", BOTH: top}
steps:
- {command: "echo  'a'\nb\t", key: plain}
- {command: "test {{matrix.os}}", key: matrix, env: {OS: "{{matrix.os}}", BOTH: own}, matrix: {setup: {os: [linux, mac]}}, plugins: [{"docker#v1.0.0": {image: "{{matrix.os}}", list: [1, 2.5, true, null, "x"]}}, "./local"]}
- {command: "x", key: secret, secrets: {TOKEN: API_KEY}, soft_fail: true, agents: {queue: default}}
- {group: "G", steps: [{command: "in a group", key: grouped}]}
`

// TestP287_ASignedStepVerifiesAsItWasSigned: the script signed.txtar does the same with both agents.
func TestP287_ASignedStepVerifiesAsItWasSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	private, public, err := signing.NewPair("EdDSA", "key")
	if err != nil {
		t.Fatal(err)
	}
	h := w.running()
	doc := must(pipeline.Parse(bytes.NewReader([]byte(toSign))))(t)
	must(0, os.WriteFile(file, private, 0o600))(t)
	must(0, signing.Sign(t.Context(), doc, file, "", "https://example.test/p.git"))(t)
	up := wire.PipelineUpload{UUID: w.NewID(), Pipeline: must(json.Marshal(doc))(t)}
	must(h.UploadPipeline(t.Context(), h.job.ID, up, 0))(t)
	must(0, os.WriteFile(file, public, 0o600))(t)
	keys := must(signing.Load(file))(t)
	finish(t, h)
	n := 0
	for _, j := range must(w.Store.Jobs(t.Context(), h.build.ID))(t) {
		if j.Kind != ci.JobScript || j.ID == h.job.ID {
			continue
		}
		a := w.agent()
		w.assign(j, a)
		accepted := must(a.Accept(t.Context(), j.ID))(t)
		if err := keys.Verify(t.Context(), accepted); err != nil {
			t.Errorf("%s (%v): %v", accepted.Env["BUILDKITE_STEP_KEY"], accepted.MatrixPermutation, err)
		}
		accepted.Env["BUILDKITE_COMMAND"] += " "
		if keys.Verify(t.Context(), accepted) == nil {
			t.Errorf("%s is verified with another command", accepted.Env["BUILDKITE_STEP_KEY"])
		}
		n++
	}
	if n != 5 {
		t.Errorf("%d jobs were verified, want 5", n)
	}
}
