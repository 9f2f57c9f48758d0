package app

import (
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The file holds a link that works, also when that of the start was used.
func TestAUsedSignInLinkIsReplaced(t *testing.T) {
	t.Parallel()
	a, err := Start(t.Context(), Config{
		Listen: "127.0.0.1:0", Data: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Deaf: true, Slow: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	// The passes end, of which one looks at the link as well, at its start: who writes the file is the test alone.
	if err := a.server.Close(); err != nil {
		t.Fatal(err)
	}
	a.stop()
	a.loops.Wait()
	first := a.link(t)
	if first != a.Bootstrap.SignInURL || a.link(t) != first {
		t.Errorf("a link that nobody used was replaced")
	}
	for range 2 {
		link, err := url.Parse(a.link(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Engine.UseSignInLink(t.Context(), link.Query().Get("code")); err != nil {
			t.Errorf("%s does not sign in: %v", link, err)
		}
	}
	file := filepath.Join(a.Data, "bootstrap.json")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := a.renewLink(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a file that was removed, which has tokens, was made again")
	}
}

// link is the one in the file once the pass has looked at it.
func (a *App) link(t *testing.T) string {
	t.Helper()
	if _, err := a.renewLink(t.Context()); err != nil {
		t.Fatal(err)
	}
	f, ok, err := Running(a.Data)
	if err != nil || !ok {
		t.Fatalf("the server is not known to run: %v", err)
	}
	return f.SignInURL
}
