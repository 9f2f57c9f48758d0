package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// pushEvent tells the server of a push as GitHub does: of the newest commit of DIR, signed with SECRET, under
// a delivery's ID. What the server answers goes to stdout; a build that was made is the one that the
// script's commands are about from then on.
func (w *world) pushEvent(ts *testscript.TestScript, args []string) error {
	if len(args) != 4 {
		return errors.New("usage: push-event PIPELINE DIR SECRET ID")
	}
	dir := ts.MkAbs(args[1])
	body, err := w.pushOf(dir)
	if err != nil {
		return err
	}
	return w.deliver(ts, "push", args, body)
}

// pullEvent tells the server, as pushEvent does, that eve opened pull request 7 from a fork, with the newest
// commit of DIR. The variable COMMIT of the script is that commit.
func (w *world) pullEvent(ts *testscript.TestScript, args []string) error {
	if len(args) != 4 {
		return errors.New("usage: pull-event PIPELINE DIR SECRET ID")
	}
	dir := ts.MkAbs(args[1])
	sha, subject, err := w.newest(dir)
	if err != nil {
		return err
	}
	ts.Setenv("COMMIT", sha)
	type object = map[string]any
	eve := object{"id": 66, "login": "eve", "type": "User"}
	own := object{"id": 1, "clone_url": dir}
	body, err := json.Marshal(object{
		"action": "opened", "repository": own, "sender": eve,
		"pull_request": object{
			"number": 7, "state": "open", "title": subject, "updated_at": "2026-11-23T12:00:00Z", "author_association": "FIRST_TIME_CONTRIBUTOR", "user": eve,
			"head": object{"ref": "theirs", "sha": sha, "repo": object{"id": 2, "clone_url": "https://example.test/eve/repo.git", "owner": eve}},
			"base": object{"ref": "main", "repo": own},
		},
	})
	if err != nil {
		return err
	}
	return w.deliver(ts, "pull_request", args, body)
}

// deliver posts an event to a pipeline's address.
func (w *world) deliver(ts *testscript.TestScript, event string, args []string, body []byte) error {
	var pl struct {
		Provider struct {
			WebhookURL string `json:"webhook_url"`
		}
	}
	if err := w.rest("GET", "pipelines/"+args[0], nil, &pl); err != nil {
		return err
	}
	mac := hmac.New(sha256.New, []byte(args[2]))
	mac.Write(body)
	req, err := http.NewRequest("POST", pl.Provider.WebhookURL, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Event", event)
	req.Header.Set("X-GitHub-Delivery", args[3])
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(ts.Stdout(), "%d %s", resp.StatusCode, text); err != nil {
		return err
	}
	var got struct{ Builds []int }
	if err := json.Unmarshal(text, &got); err != nil {
		return err
	}
	if len(got.Builds) == 1 {
		w.pipeline, w.build = args[0], got.Builds[0]
	}
	return nil
}

// pushOf is GitHub's event of a push of the newest commit of a repository, which it says is at dir.
func (w *world) pushOf(dir string) ([]byte, error) {
	sha, subject, err := w.newest(dir)
	if err != nil {
		return nil, err
	}
	author := map[string]string{"name": "Ada", "email": "ada@example.test"}
	return json.Marshal(map[string]any{
		"ref": "refs/heads/main", "after": sha, "repository": map[string]any{"id": 1, "clone_url": dir},
		"head_commit": map[string]any{"id": sha, "message": subject, "author": author},
		"sender":      map[string]any{"id": 5, "login": "ada", "type": "User"},
	})
}

// newest is the newest commit of a repository, with the first line of its message.
func (w *world) newest(dir string) (sha, subject string, err error) {
	cmd := exec.Command("git", "log", "-1", "--format=%H%n%s", "HEAD")
	cmd.Dir, cmd.Env = dir, w.vars
	output, err := cmd.Output()
	if err != nil {
		return "", "", fmt.Errorf("git log: %w", err)
	}
	sha, subject, _ = strings.Cut(strings.TrimSpace(string(output)), "\n")
	return sha, subject, nil
}
