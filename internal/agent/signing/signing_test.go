package signing_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/buildkite/go-pipeline"

	"github.com/slipway-ci/slipway/internal/agent/signing"
	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// pair writes a pair of keys and returns the files.
func pair(t *testing.T, algorithm string) (private, public string) {
	t.Helper()
	dir := t.TempDir()
	private, public = filepath.Join(dir, "private.json"), filepath.Join(dir, "public.json")
	a, b, err := signing.NewPair(algorithm, "key")
	if err == nil {
		err = errors.Join(os.WriteFile(private, a, 0o600), os.WriteFile(public, b, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	return private, public
}

// signed is the job of the first step of a pipeline that was signed.
func signed(t *testing.T, private, document string) wire.Job {
	t.Helper()
	doc, err := pipeline.Parse(bytes.NewReader([]byte(document)))
	if err != nil {
		t.Fatal(err)
	}
	if err := signing.Sign(t.Context(), doc, private, "", "https://git.example.test/a.git"); err != nil {
		t.Fatal(err)
	}
	step := doc.Steps[0].(*pipeline.CommandStep)
	raw, err := json.Marshal(step)
	if err != nil {
		t.Fatal(err)
	}
	plugins, err := json.Marshal(step.Plugins)
	if err != nil {
		t.Fatal(err)
	}
	j := wire.Job{Step: raw, Env: map[string]string{
		"BUILDKITE_REPO": "https://git.example.test/a.git", "BUILDKITE_COMMAND": step.Command, "BUILDKITE_PLUGINS": string(plugins), "OTHER": "x",
	}}
	maps.Copy(j.Env, doc.Env.ToMap())
	maps.Copy(j.Env, step.Env)
	return j
}

const document = `
env: {TOP: "1", BOTH: top}
steps:
- command: make test
  env: {BOTH: own, OWN: "2"}
  plugins: [docker#v1.0.0: {image: golang}]
  secrets: [API_KEY]
`

func TestOnlyWhatWasSignedIsVerified(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"EdDSA", "ES512", "PS512"} {
		private, public := pair(t, algorithm)
		keys, err := signing.Load(public)
		if err != nil {
			t.Fatal(err)
		}
		if err := keys.Verify(t.Context(), signed(t, private, document)); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
	private, public := pair(t, "EdDSA")
	keys, err := signing.Load(public)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, with string) func(*wire.Job) {
		return func(j *wire.Job) { j.Step = bytes.Replace(j.Step, []byte(old), []byte(with), 1) }
	}
	variable := func(name, value string) func(*wire.Job) { return func(j *wire.Job) { j.Env[name] = value } }
	for name, tt := range map[string]struct {
		change func(*wire.Job)
		want   string
	}{
		"another command":       {replace("make test", "make rest"), "does not fit"},
		"the job's own command": {variable("BUILDKITE_COMMAND", "curl evil"), "the job's command is not"},
		"a step's variable":     {variable("OWN", "3"), "variable OWN"},
		"a document's variable": {variable("TOP", "2"), "does not fit"},
		"one that is missing":   {func(j *wire.Job) { delete(j.Env, "OWN") }, "variable OWN"},
		"other plugins":         {variable("BUILDKITE_PLUGINS", `[{"evil#v1":null}]`), "plugins are not"},
		"no plugins":            {variable("BUILDKITE_PLUGINS", ""), "plugins are not"},
		"another repository":    {variable("BUILDKITE_REPO", "https://git.example.test/b.git"), "does not fit"},
		"other secrets":         {replace("API_KEY", "DEPLOY_KEY"), "does not fit"},
		"no signature":          {replace(`"signature"`, `"unsigned"`), "not signed"},
		"no step":               {func(j *wire.Job) { j.Step = nil }, "not signed"},
		"a matrix":              {func(j *wire.Job) { j.MatrixPermutation = map[string]string{"": "x"} }, "matrix is not"},
	} {
		j := signed(t, private, document)
		tt.change(&j)
		if err := keys.Verify(t.Context(), j); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
	_, other := pair(t, "EdDSA")
	stranger, err := signing.Load(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.Verify(t.Context(), signed(t, private, document)); err == nil {
		t.Error("a signature of another key is taken")
	}
}

func TestAnAgentWithoutKeysRunsOnlyWhatIsNotSigned(t *testing.T) {
	t.Parallel()
	private, _ := pair(t, "EdDSA")
	var none *signing.Keys
	if err := none.Verify(t.Context(), wire.Job{Step: []byte(`{"command":"x"}`)}); err != nil {
		t.Error(err)
	}
	if err := none.Verify(t.Context(), signed(t, private, document)); err == nil || !strings.Contains(err.Error(), "no keys") {
		t.Errorf("got %v", err)
	}
}

func TestKeysThatAreNotForPipelinesAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{}", `{"keys":[]}`, `{"keys":[{"kty":"oct","k":"AAAA","alg":"HS256","kid":"a"}]}`} {
		file := filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := signing.Load(file); err == nil {
			t.Errorf("%q is taken for keys", text)
		}
	}
	if _, _, err := signing.NewPair("HS256", "a"); err == nil {
		t.Error("a shared key is made")
	}
}
