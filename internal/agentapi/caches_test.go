package agentapi_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// cache asks about a cache of the server's own storage and decodes the answer.
func (h held) cache(w *world, method, call, body string, want int) (out struct {
	UploadID string   `json:"upload_id"`
	Upload   []string `json:"upload_instructions"`
	Download []string `json:"download_instructions"`
	Store    string
	Message  string
},
) {
	w.t.Helper()
	got := w.do(h.Token, method, "/v3/cache_registries/~/"+call+"?store=server", body)
	if err := json.Unmarshal([]byte(got.body), &out); err != nil || got.status != want {
		w.t.Fatalf("%s: %d %s (%v), want %d", call, got.status, got.body, err, want)
	}
	return out
}

// fetch makes a request to an address as it was given.
func (w *world) fetch(method, address, body string, header ...string) answer {
	w.t.Helper()
	req := must(http.NewRequestWithContext(w.t.Context(), method, address, strings.NewReader(body)))(w.t)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return w.send(req)
}

func TestTheServerKeepsCaches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	const content = "an archive of node_modules"
	sum := sha256.Sum256([]byte(content))
	const about = `"target_paths": ["node_modules"], "cache_key": [{"value": "node", "mandatory": true}]`
	save := fmt.Sprintf(`{%s, "platform": "linux/amd64", "blobs": [{"digest": {"algorithm": "sha256", "value": %q}, "file_size": %d, "compression": "zstd"}]}`,
		about, hex.EncodeToString(sum[:]), len(content))
	if got := h.cache(w, "POST", "retrieve", "{"+about+"}", 404); got.Message != "Cache entry not found" {
		t.Errorf("a miss says %q", got.Message)
	}
	begun := h.cache(w, "PUT", "store", save, 200)
	commit := fmt.Sprintf(`{"upload_id": %q}`, begun.UploadID)
	h.cache(w, "PUT", "commit", commit, 422) // nothing has arrived
	for body, want := range map[string]int{content + "!": 422, content[1:]: 422, strings.ToUpper(content): 422} {
		if got := w.fetch("PUT", begun.Upload[0], body); got.status != want {
			t.Errorf("%q: %d %s, want %d", body, got.status, got.body, want)
		}
	}
	if got := w.fetch("GET", begun.Upload[0], ""); got.status != 403 {
		t.Errorf("an address to send to gives what was sent: %d", got.status)
	}
	for range 2 {
		if got := w.fetch("PUT", begun.Upload[0], content); got.status != 204 {
			t.Fatalf("%d %s", got.status, got.body)
		}
		h.cache(w, "PUT", "commit", commit, 200)
	}
	w.running().cache(w, "PUT", "commit", commit, 404) // another job's
	h.cache(w, "POST", "peek", "{"+about+"}", 200)
	found := w.running().cache(w, "POST", "retrieve", "{"+about+"}", 200)
	if got := w.fetch("GET", found.Download[0], ""); got.status != 200 || got.body != content || found.Store != "server" {
		t.Errorf("%s: %d %q", found.Store, got.status, got.body)
	}
	if got := w.fetch("GET", found.Download[0], "", "Range", "bytes=3-9"); got.status != 206 || got.body != content[3:10] {
		t.Errorf("a range: %d %q", got.status, got.body)
	}
	if got := w.fetch("PUT", found.Download[0], content); got.status != 403 {
		t.Errorf("an address to fetch from takes something: %d", got.status)
	}
	h.cache(w, "POST", "expire", "{"+about+"}", 200)
	h.cache(w, "POST", "retrieve", "{"+about+"}", 404)
	if got := w.fetch("GET", found.Download[0], ""); got.status != 403 {
		t.Errorf("after it was taken away: %d %q", got.status, got.body)
	}
}

// The official agent knows only stores that it reaches by itself, and must not be sent to another.
func TestCachesOfTheServersStorageAreForWhoAsksForThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	for path, want := range map[string]string{"~": "agent_managed", "~?store=server": "server", "mine": "agent_managed"} {
		var got struct{ UUID, Name, Store string }
		a := w.do(h.Token, "GET", "/v3/cache_registries/"+path, "")
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Store != want || len(got.UUID) != 36 || got.Name == "~" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if got := w.do(h.Token, "GET", "/v3/cache_registries/No%20such", ""); got.status != 404 || got.message(t) != "Cache registry not found" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := w.do(h.Token, "POST", "/v3/cache_registries/~/peek?store=tape", "{}"); got.status != 422 {
		t.Errorf("%d %s", got.status, got.body)
	}
}
