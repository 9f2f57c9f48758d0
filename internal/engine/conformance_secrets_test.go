package engine_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// secret keeps a secret in the default cluster.
func (w *world) secret(t testing.TB, key, value, policy string) store.Secret {
	t.Helper()
	return must(w.CreateSecret(t.Context(), engine.CreateSecret{ClusterID: w.cluster.ID, Key: key, Value: value, Policy: policy}))(t)
}

// TestP289_AStepsSecretsAreThoseOfItsDocumentToo: that agents export them is in the script
// secrets.txtar, with both agents.
func TestP289_AStepsSecretsAreThoseOfItsDocumentToo(t *testing.T) {
	w := stated(t)
	b := w.build(t, `
secrets: {A: TOP_A, B: TOP_B}
steps:
- {command: a, key: own, secrets: {B: OWN_B, C: OWN_C}}
- {command: b, key: none}
- {command: c, key: signed, secrets: [D], signature: {algorithm: EdDSA, signed_fields: [command], value: v}}
`)
	type entry struct {
		Key string `json:"key"`
		Env string `json:"environment_variable"`
	}
	for key, want := range map[string][]entry{
		"own":  {{"OWN_B", "B"}, {"OWN_C", "C"}, {"TOP_A", "A"}},
		"none": {{"TOP_A", "A"}, {"TOP_B", "B"}},
	} {
		var step struct {
			Command string  `json:"command"`
			Secrets []entry `json:"secrets"`
		}
		raw := must(engine.AgentStep(w.accept(t, w.job(t, b, key))))(t)
		must(0, json.Unmarshal(raw, &step))(t)
		if diff := cmp.Diff(want, step.Secrets); diff != "" || step.Command == "" {
			t.Errorf("step %s: %s (-want +got):\n%s", key, raw, diff)
		}
	}
	// The signature is about the list as it was: another is refused by the agent.
	raw := string(must(engine.AgentStep(w.accept(t, w.job(t, b, "signed"))))(t))
	if !strings.Contains(raw, `"secrets":[{"environment_variable":"D","key":"D"}]`) || !strings.Contains(raw, `"value":"v"`) {
		t.Errorf("the signed step is %s", raw)
	}
}

func TestP290_KeysAndValuesOfSecretsAreBounded(t *testing.T) {
	w := stated(t)
	create := func(key, value string) error {
		_, err := w.CreateSecret(t.Context(), engine.CreateSecret{ClusterID: w.cluster.ID, Key: key, Value: value})
		return err
	}
	for _, key := range []string{"A", "0", "_", "my_Key_1", strings.Repeat("k", 255), "my_buildkite"} {
		if err := create(key, "v"); err != nil {
			t.Errorf("key %.20s: %v", key, err)
		}
	}
	for _, key := range []string{"", "a-b", "a b", "ä", "a.b", strings.Repeat("k", 256), "buildkite_x", "BK_TOKEN", "bk", "Buildkite"} {
		wantField(t, create(key, "v"), "key")
	}
	wantField(t, create("MY_KEY_1", "v"), "key") // the case of letters does not matter
	for _, value := range []string{strings.Repeat("v", engine.MaxSecretBytes), "ä\n\t", " "} {
		if err := create(fmt.Sprintf("K%d", len(value)), value); err != nil {
			t.Errorf("a value of %d bytes: %v", len(value), err)
		}
	}
	for _, value := range []string{"", strings.Repeat("v", engine.MaxSecretBytes+1), "\xff", "a\x00b"} {
		wantField(t, create("OTHER", value), "value")
	}
	wantField(t, w.SetSecretValue(t.Context(), w.secret(t, "SET", "v", "").ID, "", ""), "value")
}

// wantField holds an error against the refusal of one field.
func wantField(t testing.TB, err error, field string) {
	t.Helper()
	r := refused(t, err)
	if r.Why != engine.Invalid || len(r.Fields) != 1 || r.Fields[field] == "" {
		t.Errorf("got %v %v, want a refusal of %s", err, r.Fields, field)
	}
}

func TestP292_APolicySaysWhichJobsGetASecret(t *testing.T) {
	w := stated(t)
	w.secret(t, "OPEN", "for all", "")
	w.secret(t, "MAIN", "for main", "- build_branch: main\n  cluster_queue_key: default\n- build_branch: \"release/*\"\n")
	read := func(branch, key string) (string, error) {
		b := w.ask(t, engine.CreateBuild{Branch: branch}, steps("{command: a, key: a}"), "")
		_, value, err := w.ReadSecret(t.Context(), w.begin(t, b, "a").ID, key)
		return value, err
	}
	for _, c := range []struct{ branch, key, want string }{
		{"main", "OPEN", "for all"},
		{"main", "open", "for all"},
		{"topic", "OPEN", "for all"},
		{"main", "MAIN", "for main"},
		{"release/1", "main", "for main"},
	} {
		if got := must(read(c.branch, c.key))(t); got != c.want {
			t.Errorf("%s on %s: %q, want %q", c.key, c.branch, got, c.want)
		}
	}
	_, err := read("topic", "MAIN")
	if r := refused(t, err); r.Why != engine.Forbidden || r.Message != "The access policy of secret MAIN does not allow this job to read it: rule 1 wants build_branch main; rule 2 wants build_branch release/*." {
		t.Errorf("on another branch: %v", err)
	}
	_, err = read("main", "NONE")
	if r := refused(t, err); r.Why != engine.Missing {
		t.Errorf("a secret that does not exist: %v", err)
	}
}

func TestASecretIsNotForCodeOfWhichOnlyTheCommitWasApproved(t *testing.T) {
	w := stated(t)
	w.secret(t, "OPEN", "v", "")
	w.secret(t, "READER", "v", "- build_trust: [member, approved]")
	b := w.build(t, steps("{command: a, key: a}"))
	job := w.begin(t, b, "a")
	change := func(f func(*store.Verdict)) {
		must(0, w.Store.Update(t.Context(), func(tx *store.Tx) error {
			b := must(tx.LockBuild(t.Context(), b.ID))(t)
			f(&b.Verdict)
			return tx.UpdateBuild(t.Context(), b)
		}))(t)
	}
	for _, profile := range []string{"approved", ""} {
		change(func(v *store.Verdict) { v.Profile = profile })
		_, _, err := w.ReadSecret(t.Context(), job.ID, "OPEN")
		if r := refused(t, err); r.Why != engine.Forbidden {
			t.Errorf("profile %q: %v", profile, err)
		}
		if _, _, err := w.ReadSecret(t.Context(), job.ID, "READER"); err != nil {
			t.Errorf("profile %q, a policy for approved code: %v", profile, err)
		}
	}
	for _, decision := range []string{"hold", "deny"} {
		change(func(v *store.Verdict) { v.Decision, v.Profile = decision, "member" })
		_, _, err := w.ReadSecret(t.Context(), job.ID, "READER")
		if r := refused(t, err); r.Why != engine.Forbidden {
			t.Errorf("verdict %s: %v", decision, err)
		}
	}
}

func TestAPolicyAsksForTheAccountThatAskedAndItsTeams(t *testing.T) {
	w := stated(t)
	owner := must(w.Store.FirstUser(t.Context()))(t)
	team := must(w.SaveTeam(t.Context(), store.Team{OrganizationID: w.org.ID, Name: "Team", Settings: json.RawMessage("{}")}))(t)
	must(0, w.SaveTeamMember(t.Context(), team, store.TeamMember{UserID: owner.ID, Role: "member"}))(t)
	w.secret(t, "TEAM", "v", "- build_creator_team: "+team.ID)
	w.secret(t, "OWNER", "v", "- build_creator: "+owner.Email)
	for creator, want := range map[string]bool{owner.ID: true, "": false} {
		author := store.Person{Name: owner.Name, Email: owner.Email}
		job := w.begin(t, w.ask(t, engine.CreateBuild{CreatorID: creator, Author: author}, steps("{command: a, key: a}"), ""), "a")
		for _, key := range []string{"TEAM", "OWNER"} {
			if _, _, err := w.ReadSecret(t.Context(), job.ID, key); (err == nil) != want {
				t.Errorf("%s for a build that %q asked for: %v", key, creator, err)
			}
		}
	}
}

func TestASecretChangesAndGoes(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		v := w.secret(t, "KEY", "one", "")
		job := w.begin(t, w.build(t, steps("{command: a, key: a}")), "a")
		read := func() (string, error) {
			_, value, err := w.ReadSecret(t.Context(), job.ID, "KEY")
			return value, err
		}
		if got := must(read())(t); got != "one" {
			t.Errorf("got %q", got)
		}
		first := must(w.Store.Secret(t.Context(), v.ID))(t).LastReadAt
		w.advance(time.Second)
		must(0, w.SetSecretValue(t.Context(), v.ID, "two", "me"))(t)
		if got := must(read())(t); got != "two" {
			t.Errorf("after the change: %q", got)
		}
		now := must(w.Store.Secret(t.Context(), v.ID))(t)
		if first.IsZero() || !now.LastReadAt.Equal(first) || now.UpdatedBy != "me" || !now.UpdatedAt.After(now.CreatedAt) {
			t.Errorf("read at %s, then %+v", first, now)
		}
		w.advance(time.Minute)
		must(read())(t)
		if again := must(w.Store.Secret(t.Context(), v.ID))(t).LastReadAt; !again.After(first) {
			t.Errorf("read at %s, a minute later at %s", first, again)
		}
		policy, description := "- build_branch: none", "d"
		must(w.UpdateSecret(t.Context(), engine.UpdateSecret{ID: v.ID, Policy: &policy}))(t)
		got := must(w.UpdateSecret(t.Context(), engine.UpdateSecret{ID: v.ID, Description: &description}))(t)
		if got.Policy != policy || got.Description != "d" {
			t.Errorf("after both changes: %+v", got)
		}
		bad := "- nonsense: x"
		_, err := w.UpdateSecret(t.Context(), engine.UpdateSecret{ID: v.ID, Policy: &bad})
		wantField(t, err, "policy")
		must(0, w.DeleteSecret(t.Context(), v.ID))(t)
		if _, err := w.Unseal(t.Context(), store.SecretPlace(v.ID)); err == nil {
			t.Error("the value of a deleted secret is still kept")
		}
		wantRefusal(t, w.DeleteSecret(t.Context(), v.ID), "No secret found")
		_, err = read()
		if r := refused(t, err); r.Why != engine.Missing {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestAClusterHasItsOwnSecrets(t *testing.T) {
	w := stated(t)
	other := store.Cluster{ID: w.NewID(), OrganizationID: w.org.ID, Name: "other", CreatedAt: w.Now()}
	must(0, w.Store.Update(t.Context(), func(tx *store.Tx) error { return tx.InsertCluster(t.Context(), other) }))(t)
	must(w.CreateSecret(t.Context(), engine.CreateSecret{ClusterID: other.ID, Key: "KEY", Value: "v"}))(t)
	job := w.begin(t, w.build(t, steps("{command: a, key: a}")), "a")
	_, _, err := w.ReadSecret(t.Context(), job.ID, "KEY")
	if r := refused(t, err); r.Why != engine.Missing {
		t.Errorf("a secret of another cluster: %v", err)
	}
}
