package client_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/slipway-ci/slipway/client"
)

// answering is a client of a server that answers everything alike.
func answering(t *testing.T, handler http.HandlerFunc) *client.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return &client.Client{URL: server.URL, Token: "secret", Organization: "o/x"}
}

func TestRequestsCarryTheTokenAndEscapedNames(t *testing.T) {
	t.Parallel()
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer secret" {
			t.Errorf("Authorization: %s", got)
		}
		if got := r.URL.EscapedPath(); got != "/v2/organizations/o%2Fx/pipelines/a%3Fb" {
			t.Errorf("path %s", got)
		}
		io.WriteString(w, `{"slug":"a"}`)
	})
	if p, err := c.Pipeline(t.Context(), "a?b"); err != nil || p.Slug != "a" {
		t.Errorf("%+v, %v", p, err)
	}
}

// What stands between the client and the server may answer with anything.
func TestErrorsThatAreNotTheServers(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "<html>", `{"error":"x"}`, `[]`} {
		c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			io.WriteString(w, body)
		})
		_, err := c.AccessToken(t.Context())
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != http.StatusBadGateway || e.Message != "502 Bad Gateway" {
			t.Errorf("%q: %v", body, err)
		}
	}
	c := answering(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") })
	if _, err := c.AccessToken(t.Context()); err == nil {
		t.Error("HTML was taken for an access token")
	}
}

// A file that lies on another host is fetched from there without the token.
func TestDownloadFollowsTheRedirectWithoutTheToken(t *testing.T) {
	t.Parallel()
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the token was sent to the storage")
		}
		io.WriteString(w, "bytes of "+r.URL.Path)
	}))
	t.Cleanup(storage.Close)
	storageHost := "http://localhost" + storage.URL[len("http://127.0.0.1"):]
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, storageHost+"/file", http.StatusFound)
	})
	file, err := c.DownloadArtifact(t.Context(), client.Artifact{ID: "a", JobID: "j"})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if got, err := io.ReadAll(file); err != nil || string(got) != "bytes of /file" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNextPageIsReadFromTheLink(t *testing.T) {
	t.Parallel()
	for link, want := range map[string]int{
		"": 0, `<http://x/?page=1>; rel="prev"`: 0, `<http://x/?page=1>; rel="prev", <http://x/?state=a&page=3>; rel="next"`: 3,
		`<http://x/>; rel="next"`: 0, `<%zz>; rel="next"`: 0,
	} {
		c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", link)
			io.WriteString(w, "[]")
		})
		if got, err := c.Pipelines(t.Context(), client.ListOptions{}); err != nil || got.Next != want {
			t.Errorf("%s: page %d, %v; want %d", link, got.Next, err, want)
		}
	}
}
