package hookapi_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
)

func TestADeliveryThatIsRepeatedMakesNoSecondBuild(t *testing.T) {
	w := newWorld(t, "")
	body := push("refs/heads/main", sha1, "Fix")
	var group sync.WaitGroup
	answers := make([]answer, 8)
	for i := range answers {
		group.Go(func() {
			answers[i] = w.post(t, w.address(t), body, "X-GitHub-Event", "push", "X-GitHub-Delivery", "one")
		})
	}
	group.Wait()
	for _, a := range answers {
		if a.Outcome != "built" || a.ID != answers[0].ID || len(a.Builds) != 1 || a.Builds[0] != 1 {
			t.Errorf("%+v", a)
		}
	}
	// Without an id, equal content is the same delivery.
	for range 2 {
		if a := w.post(t, w.address(t), body, "X-GitHub-Event", "push"); a.Builds[0] != 2 {
			t.Errorf("%+v", a)
		}
	}
	if n := must(w.Store.CountBuilds(t.Context(), w.pipeline.ID))(t); n != 2 {
		t.Errorf("%d builds", n)
	}
}

func TestASignatureIsAskedForWhereASecretIsSet(t *testing.T) {
	w := newWorld(t, "")
	key, none := "It's a Secret to Everybody", ""
	must(w.SetWebhook(t.Context(), engine.SetWebhook{PipelineID: w.pipeline.ID, Secret: &key}))(t)
	body := push("refs/heads/main", sha1, "Fix")
	for name, signature := range map[string]string{
		"none": "", "of another key": sign("other", body), "of another body": sign(key, body+" "), "no digits": "sha256=zz", "another algorithm": "sha1=00",
	} {
		got := w.post(t, w.address(t), body, "X-GitHub-Event", "push", "X-GitHub-Delivery", name, "X-Hub-Signature-256", signature)
		if got.Status != http.StatusUnauthorized || !strings.Contains(got.Message, "signature is missing or wrong") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	got := w.post(t, w.address(t), body, "X-GitHub-Event", "push", "X-GitHub-Delivery", "good", "X-Hub-Signature-256", sign(key, body))
	if got.Outcome != "built" || got.Builds[0] != 1 {
		t.Errorf("%+v", got)
	}
	must(w.SetWebhook(t.Context(), engine.SetWebhook{PipelineID: w.pipeline.ID, Secret: &none}))(t)
	w.builds(t, "push", push("refs/heads/main", sha2, "Fix"))
}

func TestAnAddressIsGoodUntilItIsReplaced(t *testing.T) {
	w := newWorld(t, "")
	before := w.address(t)
	must(w.SetWebhook(t.Context(), engine.SetWebhook{PipelineID: w.pipeline.ID, Rotate: true}))(t)
	body := push("refs/heads/main", sha1, "Fix")
	for _, to := range []string{before, w.url + "/deliver/x", w.url + "/deliver/"} {
		if got := w.post(t, to, body, "X-GitHub-Event", "push"); got.Status != http.StatusNotFound || got.Message == "" {
			t.Errorf("%s: %+v", to, got)
		}
	}
	w.builds(t, "push", body)
	yes, no := true, false
	must(w.SetWebhook(t.Context(), engine.SetWebhook{PipelineID: w.pipeline.ID, Disabled: &yes, By: "Ann"}))(t)
	w.ignores(t, "push", push("refs/heads/main", sha2, "Fix"), "Deliveries are disabled since 2026-11-23T12:00:00Z, by Ann.")
	must(w.SetWebhook(t.Context(), engine.SetWebhook{PipelineID: w.pipeline.ID, Disabled: &no}))(t)
	w.builds(t, "push", push("refs/heads/main", sha2, "Fix"))
}

func TestWhatCannotBeReadIsRefused(t *testing.T) {
	w := newWorld(t, "")
	for _, c := range []struct{ event, body, want string }{
		{"", "{}", "no header X-GitHub-Event or X-Gitea-Event"},
		{"push", "", "not the JSON of a push event"},
		{"push", "[]", "not the JSON of a push event"},
		{"push", `{"ref": "refs/heads/main", "after": "HEAD"}`, "lacks a full commit hash"},
		{"push", push("refs/heads/--upload-pack=x", sha1, ""), "not the name of a branch"},
		{"push", push("refs/heads/a b", sha1, ""), "not the name of a branch"},
		{"pull_request", `{"action": "opened"}`, "lacks a pull_request"},
	} {
		got := w.post(t, w.address(t), c.body, "X-GitHub-Event", c.event)
		if got.Status != http.StatusBadRequest || !strings.Contains(got.Message, c.want) {
			t.Errorf("%s %.40s: %+v, want 400 with %q", c.event, c.body, got, c.want)
		}
	}
	got := w.post(t, w.address(t), strings.Repeat(" ", 25<<20+1), "X-GitHub-Event", "push")
	if got.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: %+v", got)
	}
	if n := must(w.Store.CountBuilds(t.Context(), w.pipeline.ID))(t); n != 0 {
		t.Errorf("%d builds", n)
	}
}

func TestAFormIsReadToo(t *testing.T) {
	w := newWorld(t, "")
	body := url.Values{"payload": {push("refs/heads/main", sha1, "Fix")}}.Encode()
	got := w.post(t, w.address(t), body, "X-GitHub-Event", "push", "Content-Type", "application/x-www-form-urlencoded")
	if got.Outcome != "built" {
		t.Errorf("%+v", got)
	}
	got = w.post(t, w.address(t), "x=y", "X-GitHub-Event", "push", "Content-Type", "application/x-www-form-urlencoded")
	if got.Status != http.StatusBadRequest {
		t.Errorf("%+v", got)
	}
}

func TestEventsOfAnotherRepositoryBuildNothing(t *testing.T) {
	w := newWorld(t, "")
	other := strings.NewReplacer("acme/app.git", "eve/app.git").Replace(push("refs/heads/main", sha1, "Fix"))
	w.ignores(t, "push", other, "The event is about https://github.com/eve/app.git; the pipeline builds git@github.com:acme/app.git.")
	w.ignores(t, "ping", encode(object{"zen": "Keep it simple."}), "The address works")
	w.ignores(t, "watch", encode(object{"action": "started"}), "build nothing")
}

func TestADeletedBranchCancelsItsBuilds(t *testing.T) {
	w := newWorld(t, `{"cancel_deleted_branch_builds": true}`)
	b := w.builds(t, "push", push("refs/heads/topic", sha1, "Fix"))
	keep := w.builds(t, "push", push("refs/heads/other", sha1, "Fix"))
	gone := encode(object{"ref": "refs/heads/topic", "after": strings.Repeat("0", 40), "deleted": true, "head_commit": nil})
	if got := w.deliver(t, "push", gone); got.Outcome != "canceled" || len(got.Builds) != 1 || got.Builds[0] != b.Number {
		t.Errorf("%+v", got)
	}
	// GitHub tells it twice.
	if got := w.deliver(t, "delete", encode(object{"ref": "topic", "ref_type": "branch"})); got.Outcome != "canceled" || len(got.Builds) != 0 {
		t.Errorf("%+v", got)
	}
	if b = must(w.Store.Build(t.Context(), keep.ID))(t); b.State.Finished() {
		t.Errorf("a build of another branch is %s", b.State)
	}
}

func TestABuildThatCannotBeMadeIsRecorded(t *testing.T) {
	w := newWorld(t, "")
	must(w.UpdatePipeline(t.Context(), w.pipeline.ID, archived(w)))(t)
	got := w.deliver(t, "push", push("refs/heads/main", sha1, "Fix"))
	if got.Outcome != "refused" || !strings.Contains(got.Message, "is archived") {
		t.Errorf("%+v", got)
	}
}

func TestGiteaIsHeardToo(t *testing.T) {
	w := newWorld(t, "")
	key := "s3cret"
	must(w.SetWebhook(t.Context(), engine.SetWebhook{PipelineID: w.pipeline.ID, Secret: &key}))(t)
	body := push("refs/heads/main", sha1, "Fix")
	send := func(signature string) answer {
		return w.post(t, w.address(t), body, "X-Gitea-Event", "push", "X-GitHub-Event", "push", "X-Gitea-Delivery", "one", "X-Gitea-Signature", signature)
	}
	if got := send(strings.TrimPrefix(sign("other", body), "sha256=")); got.Status != http.StatusUnauthorized {
		t.Errorf("%+v", got)
	}
	if got := send(strings.TrimPrefix(sign(key, body), "sha256=")); got.Outcome != "built" {
		t.Errorf("%+v", got)
	}
}
