package engine_test

import (
	"encoding/pem"
	"errors"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
)

func TestAgentsAreToldWhenToAskForGitsCredentials(t *testing.T) {
	w := stated(t)
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(secret.NewSigningKey())(t)}))
	must(w.SetForgeApp(t.Context(), engine.SetForgeApp{OrganizationID: w.org.ID, AppID: "7", PrivateKey: key}))(t)
	if _, err := w.Store.ForgeToken(t.Context(), "", w.org.ID); !errors.Is(err, store.ErrNotFound) {
		t.Fatal("there is a token too")
	}
	const name = "BUILDKITE_USE_REPOSITORY_PROVIDER_GIT_CREDENTIALS"
	for _, c := range []struct{ repository, given, profile, want string }{
		{"https://github.com/acme/app.git", "", "member", "true"},
		{"https://github.com/acme/app.git", "false", "member", "false"},
		{"https://github.com/acme/app.git", "", "approved", "-"},
		{"git@github.com:acme/app.git", "", "member", "-"}, // its agents have keys
		{"git@github.com:acme/app.git", "true", "member", "true"},
		{"https://gitlab.com/acme/app.git", "", "member", "-"},
		{"https://github.com/acme/deep/app.git", "", "member", "-"},
	} {
		pl := must(w.CreatePipeline(t.Context(), engine.CreatePipeline{
			OrganizationID: w.org.ID, Name: "p" + w.NewID(), Repository: c.repository, Configuration: steps("{command: x, key: a}"),
		}))(t)
		op := engine.CreateBuild{PipelineID: pl.ID, Source: "api"}
		if c.given != "" {
			op.Env = map[string]string{name: c.given}
		}
		a := w.accept(t, w.job(t, must(w.CreateBuild(t.Context(), op))(t), "a"))
		a.Build.Verdict.Profile = c.profile
		if got, ok := must(engine.JobEnv(a, ""))(t)[name]; got != c.want && (ok || c.want != "-") {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
