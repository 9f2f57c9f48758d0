package restapi_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTeams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type team struct {
		ID, Name, Slug, Description, Privacy string
		Default                              bool
	}
	at := main + "/teams"
	made := decode[team](t, w.ask(t, "POST", at, `{"name": "Release Managers", "is_default_team": true}`, 201).text)
	if diff := cmp.Diff(team{made.ID, "Release Managers", "release-managers", "", "visible", true}, made); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	w.ask(t, "POST", at, `{"name": "release managers"}`, 422)
	w.ask(t, "POST", at, `{"name": "..."}`, 422)
	w.ask(t, "PATCH", at+"/"+made.ID, `{"privacy": "hidden"}`, 422)
	w.ask(t, "PATCH", at+"/"+made.ID, `{"privacy": "SECRET", "name": "Shippers"}`, 200)
	if got := decode[[]team](t, w.ask(t, "GET", at, "", 200).text); len(got) != 1 || got[0].Slug != "shippers" || got[0].Privacy != "secret" || !got[0].Default {
		t.Errorf("%+v", got)
	}
	owner := must(w.Store.FirstUser(t.Context()))(t)
	pl := w.pipeline(t, "hello", "steps: [{command: a}]")
	one := at + "/" + made.ID
	w.ask(t, "POST", one+"/members", `{"user_id": "nobody"}`, 404)
	if got := w.ask(t, "POST", one+"/members/", `{"user_id": "`+owner.ID+`", "role": "MAINTAINER"}`, 201).text; !strings.Contains(got, `"role":"maintainer"`) {
		t.Error(got)
	}
	if got := w.ask(t, "GET", at+"?user_id="+owner.ID, "", 200).text; !strings.Contains(got, "shippers") {
		t.Error(got)
	}
	if got := w.ask(t, "GET", at+"?user_id=nobody", "", 200).text; strings.TrimSpace(got) != "[]" {
		t.Error(got)
	}
	w.ask(t, "POST", one+"/pipelines", `{"pipeline_id": "`+pl.ID+`", "access_level": "everything"}`, 422)
	w.ask(t, "POST", one+"/pipelines", `{"pipeline_id": "`+pl.ID+`"}`, 201)
	got := w.ask(t, "PATCH", one+"/pipelines/"+pl.ID, `{"access_level": "build_and_read"}`, 200).text
	if !strings.Contains(got, `"access_level":"build_and_read"`) || !strings.Contains(got, main+`/pipelines/hello"`) {
		t.Error(got)
	}
	w.ask(t, "DELETE", one+"/pipelines/"+pl.ID, "", 204)
	w.ask(t, "DELETE", one+"/pipelines/"+pl.ID, "", 404)
	w.ask(t, "DELETE", one+"/members/"+owner.ID, "", 204)
	w.ask(t, "DELETE", one, "", 204)
	w.ask(t, "GET", one, "", 404)
}
