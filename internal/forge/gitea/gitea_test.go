package gitea

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/slipway-ci/slipway/internal/forge"
)

const sha = "0123456789abcdef0123456789abcdef01234567"

// Shapes of a Gitea 1.22: no type of accounts, "synchronized" for new commits.
const pull = `{"action": "synchronized", "number": 2, "pull_request": {"number": 2, "state": "open", "title": "T", "user": {"id": 3, "login": "eve"},
	"head": {"ref": "topic", "sha": "` + sha + `", "repo": {"id": 9, "clone_url": "https://git.test/eve/app.git", "owner": {"id": 3, "login": "eve"}}},
	"base": {"ref": "main", "repo": {"id": 1}}}, "repository": {"id": 1, "clone_url": "https://git.test/acme/app.git"}, "sender": {"id": 3, "login": "eve"}}`

func TestGiteasWords(t *testing.T) {
	t.Parallel()
	push := `{"ref": "refs/heads/main", "after": "` + sha + `", "repository": {"clone_url": "https://git.test/acme/app.git"}, "head_commit": {"id": "` + sha + `", "message": "Fix"}}`
	ev, err := Decode("push", []byte(push))
	if err != nil || ev.Kind != forge.Push || ev.Commit != sha || ev.Message != "Fix" || ev.Repositories[0] != "https://git.test/acme/app.git" {
		t.Errorf("%+v, %v", ev, err)
	}
	for _, name := range []string{"pull_request", "pull_request_sync"} {
		ev, err := Decode(name, []byte(pull))
		if err != nil || ev.Change != forge.Synchronized || ev.Name != name || ev.Pull.Origin != forge.Fork {
			t.Fatalf("%s: %+v, %v", name, ev, err)
		}
		s := forge.Settings{DefaultBranch: "main", Provider: forge.DefaultProvider()}
		s.Forks = true
		if b := forge.Decide(ev, s, forge.Known{}).Build; b == nil || b.ForkOwner.Kind != 0 || b.Branch != "eve:topic" {
			t.Errorf("%s: %+v", name, b)
		}
	}
	if ev, err := Decode("wiki", []byte("{}")); err != nil || ev.Kind != forge.Other {
		t.Errorf("%+v, %v", ev, err)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	mac := hmac.New(sha256.New, []byte("k"))
	mac.Write([]byte("body"))
	good := hex.EncodeToString(mac.Sum(nil))
	if !Verify([]byte("k"), []byte("body"), good) || Verify([]byte("k"), []byte("bodY"), good) || Verify(nil, []byte("body"), good) || Verify([]byte("k"), []byte("body"), "zz") {
		t.Error("signatures are told wrong")
	}
}
