package officialagent

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/buildkite/agent/v3/api"
)

func TestARegistrationTokenSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	got, _, err := s.client(s.AgentToken).GetTokenIdentity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.UUID == "" || got.OrganizationSlug != "main" || got.OrganizationUUID == "" || got.ClusterUUID == "" || got.ClusterName == "" {
		t.Errorf("the token is %+v", got)
	}
	if _, _, err := s.client("wrong").GetTokenIdentity(t.Context()); status(err) != http.StatusUnauthorized {
		t.Errorf("of a wrong token: %v, want 401", err)
	}
}

func TestSecretsAreReadByTheirJobs(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var clusters []struct{ ID string }
	s.rest(t, "GET", "/clusters", nil, &clusters)
	at := "/clusters/" + clusters[0].ID + "/secrets"
	s.rest(t, "POST", at, map[string]string{"key": "API_KEY", "value": "correct-horse-117"}, nil)
	s.rest(t, "POST", at, map[string]string{"key": "OTHERS", "value": "battery", "policy": "- pipeline_slug: other"}, nil)
	s.newBuild(t, "secrets", oneStep)
	job, client := s.running(t, s.register(t, "secrets"))
	got, _, err := client.GetSecret(t.Context(), &api.GetSecretRequest{Key: "api_key", JobID: job.ID})
	if err != nil || got.Value != "correct-horse-117" || got.UUID == "" {
		t.Errorf("API_KEY = %+v, %v", got, err)
	}
	if _, _, err := client.GetSecret(t.Context(), &api.GetSecretRequest{Key: "NONE", JobID: job.ID}); status(err) != http.StatusNotFound {
		t.Errorf("an unknown secret: %v, want 404", err)
	}
	_, _, err = client.GetSecret(t.Context(), &api.GetSecretRequest{Key: "OTHERS", JobID: job.ID})
	if got := status(err); got < 400 || got >= 500 || got == http.StatusTooManyRequests || !strings.Contains(err.Error(), "OTHERS") {
		t.Errorf("a secret of others: %v, want a final refusal that names it", err)
	}
}

func TestIdentityTokensVerify(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.newBuild(t, "identity", oneStep)
	job, client := s.running(t, s.register(t, "identity"))
	got, _, err := client.OIDCToken(t.Context(), &api.OIDCTokenRequest{
		Job: job.ID, Audience: "sts.amazonaws.com", Lifetime: 60, Claims: []string{"build_id"}, AWSSessionTags: []string{"pipeline_slug"},
	})
	if err != nil {
		t.Fatal(err)
	}
	claims := s.verified(t, got.Token)
	if claims["aud"] != "sts.amazonaws.com" || claims["iss"] != s.URL || claims["job_id"] != job.ID || claims["build_id"] != job.Env["BUILDKITE_BUILD_ID"] {
		t.Errorf("the claims are %v", claims)
	}
	if _, _, err := client.OIDCToken(t.Context(), &api.OIDCTokenRequest{Job: job.ID, Claims: []string{"colour"}}); status(err) != http.StatusUnprocessableEntity {
		t.Errorf("an unknown claim: %v, want 422", err)
	}
}

// verified returns the claims of a token that was signed (RS256, RFC 7518) with a published key.
func (s *server) verified(t *testing.T, jwt string) map[string]any {
	t.Helper()
	resp, err := http.Get(s.URL + "/.well-known/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var set struct{ Keys []struct{ N, E string } }
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil || len(set.Keys) == 0 {
		t.Fatalf("keys %v, %v", set, err)
	}
	parts := strings.Split(jwt, ".")
	key := rsa.PublicKey{N: new(big.Int).SetBytes(decoded(t, set.Keys[0].N)), E: int(new(big.Int).SetBytes(decoded(t, set.Keys[0].E)).Int64())}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&key, crypto.SHA256, sum[:], decoded(t, parts[2])); err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(decoded(t, parts[1]), &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func decoded(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAPromisedFailureStays(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := s.newBuild(t, "promise", oneStep)
	job, client := s.running(t, s.register(t, "promise"))
	promise := &api.JobPromiseFailureRequest{ExitStatus: 4, Reason: "a test failed"}
	if _, err := client.PromiseFailure(t.Context(), job.ID, promise); err != nil {
		t.Fatal(err)
	}
	if code, err := client.PromiseFailureWithRetry(t.Context(), job.ID, promise, t.Logf); err != nil || code != http.StatusNoContent {
		t.Errorf("the same again: %d, %v", code, err)
	}
	if _, err := client.PromiseFailure(t.Context(), job.ID, &api.JobPromiseFailureRequest{ExitStatus: 5}); status(err) != http.StatusConflict {
		t.Errorf("another status: %v, want 409", err)
	}
	finish(t, client, job, "0")
	s.rest(t, "GET", "/pipelines/promise/builds/1", nil, &b)
	if got := b.Jobs[0].ExitStatus; b.State != "failed" || got == nil || *got != 4 {
		t.Errorf("the build is %s, its job has status %v", b.State, got)
	}
}

func TestAJobChangesItsTimeLimit(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.newBuild(t, "limit", oneStep)
	job, client := s.running(t, s.register(t, "limit"))
	got, _, err := client.UpdateJob(t.Context(), job.ID, map[string]string{"timeout_in_minutes": "90"})
	if err != nil || got.ID != job.ID {
		t.Errorf("update = %+v, %v", got, err)
	}
	if _, _, err := client.UpdateJob(t.Context(), job.ID, map[string]string{"colour": "blue"}); status(err) != http.StatusUnprocessableEntity {
		t.Errorf("an unknown attribute: %v, want 422", err)
	}
}

func TestTimesOfHeadersAreTaken(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.newBuild(t, "times", oneStep)
	job, client := s.running(t, s.register(t, "times"))
	if _, err := client.SaveHeaderTimes(t.Context(), job.ID, &api.HeaderTimes{Times: map[string]string{"0": now()}}); err != nil {
		t.Error(err)
	}
}

func TestAJobCancelsStepsAndBuilds(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := s.newBuild(t, "cancels", "steps:\n  - key: test\n    command: x\n  - key: later\n    command: x\n    agents: {os: plan9}\n  - key: last\n    command: x\n    agents: {os: plan9}\n")
	job, client := s.running(t, s.register(t, "cancels"))
	step, _, err := client.StepCancel(t.Context(), "later", &api.StepCancel{Build: b.ID, ForceGracePeriodSeconds: 10})
	if err != nil || step.UUID == "" {
		t.Errorf("StepCancel = %+v, %v", step, err)
	}
	if _, _, err := client.StepCancel(t.Context(), "nobody", &api.StepCancel{Build: b.ID}); status(err) != http.StatusNotFound {
		t.Errorf("canceling a step that is not there: %v, want 404", err)
	}
	s.rest(t, "GET", "/pipelines/cancels/builds/1", nil, &b)
	if got := states(b); !slices.Equal(got, []string{"test running", "later canceled", "last scheduled"}) {
		t.Errorf("after StepCancel the jobs are %v", got)
	}
	build, _, err := client.CancelBuild(t.Context(), b.ID)
	if err != nil || build.UUID != b.ID {
		t.Errorf("CancelBuild = %+v, %v", build, err)
	}
	finish(t, client, job, "-1")
	s.rest(t, "GET", "/pipelines/cancels/builds/1", nil, &b)
	if got := states(b); b.State != "canceled" || !slices.Equal(got, []string{"test canceled", "later canceled", "last canceled"}) {
		t.Errorf("the build is %s, its jobs %v", b.State, got)
	}
}

func states(b buildView) (out []string) {
	for _, j := range b.Jobs {
		out = append(out, j.StepKey+" "+j.State)
	}
	return out
}
