package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/app"
	"github.com/slipway-ci/slipway/internal/secret"
)

func config(t *testing.T, dir string) app.Config {
	return app.Config{Listen: "127.0.0.1:0", Data: dir, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// Not parallel: the count of goroutines is the whole process's.
func TestStartingAndStoppingLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	before := 0
	for n := range 20 {
		a, err := app.Start(t.Context(), config(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		if status, body := get(t, a.URL+"/readyz"); status != http.StatusOK {
			t.Fatalf("readyz answers %d %s", status, body)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		if n == 2 {
			before = runtime.NumGoroutine()
		}
	}
	for begin := time.Now(); runtime.NumGoroutine() > before && time.Since(begin) < time.Minute; { // ends of connections may lag behind
		<-time.After(10 * time.Millisecond)
	}
	if after := runtime.NumGoroutine(); after > before {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines after the third stop, %d after the twentieth\n%s", before, after, buf[:runtime.Stack(buf, true)])
	}
}

func TestBootstrapFileTellsHowToReachTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := config(t, dir)
	c.APIToken, c.AgentToken = "api", "agent"
	read := func() (f app.BootstrapFile) {
		t.Helper()
		a, err := app.Start(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}()
		path := filepath.Join(dir, "bootstrap.json")
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("bootstrap.json: %v, %v", info, err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &f); err != nil {
			t.Fatal(err)
		}
		return f
	}
	first := read()
	if first.APIToken != "api" || first.AgentToken != "agent" || !strings.Contains(first.SignInURL, "/sign-in?code=") {
		t.Errorf("first start: %+v", first)
	}
	c.APIToken = "other"
	if second := read(); second.APIToken != "api" || second.SignInURL == first.SignInURL {
		t.Errorf("second start: %+v, want the first tokens and a new link", second)
	}
}

func TestStartSaysWhatToDoAboutWhatIsInItsWay(t *testing.T) {
	t.Parallel()
	a, err := app.Start(t.Context(), config(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	taken := config(t, t.TempDir())
	taken.Listen = strings.TrimPrefix(a.URL, "http://")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	nowhere := config(t, t.TempDir())
	nowhere.Database = "postgres://nobody@127.0.0.1:1/none"
	tests := []struct {
		config app.Config
		want   string
	}{
		{taken, "is in use: stop what listens there, or choose another with --listen"},
		{config(t, file), "choose another with --data"},
		{nowhere, "PostgreSQL at 127.0.0.1:1/none does not answer"},
	}
	for _, tt := range tests {
		if _, err := app.Start(context.Background(), tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}

func TestMetricsCountAgentsAndJobs(t *testing.T) {
	t.Parallel()
	a, err := app.Start(t.Context(), config(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	status, body := get(t, a.URL+"/metrics")
	if status != http.StatusOK || !strings.Contains(body, "slipway_agents 0") || !strings.Contains(body, "slipway_jobs_scheduled 0") {
		t.Errorf("%d %s", status, body)
	}
}

func TestAStartThatBreaksOffLosesNoToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inTheWay := filepath.Join(dir, "bootstrap.json.new")
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	c := config(t, dir)
	if a, err := app.Start(t.Context(), c); err == nil {
		t.Fatal(errors.Join(errors.New("the server started without its bootstrap file"), a.Close()))
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	a, err := app.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.Store.APIToken(t.Context(), secret.HashToken(a.Bootstrap.APIToken)); err != nil {
		t.Errorf("API token: %v", err)
	}
	if _, err := a.Store.AgentToken(t.Context(), secret.HashToken(a.Bootstrap.AgentToken)); err != nil {
		t.Errorf("agent token: %v", err)
	}
}

// wantGoodTokens checks that the tokens that a server's file has, if any, are good.
func wantGoodTokens(t *testing.T, a *app.App) (api, agent bool) {
	t.Helper()
	if token := a.Bootstrap.APIToken; token != "" {
		if _, err := a.Store.APIToken(t.Context(), secret.HashToken(token)); err != nil {
			t.Errorf("API token: %v", err)
		}
	}
	if token := a.Bootstrap.AgentToken; token != "" {
		if _, err := a.Store.AgentToken(t.Context(), secret.HashToken(token)); err != nil {
			t.Errorf("agent token: %v", err)
		}
	}
	return a.Bootstrap.APIToken != "", a.Bootstrap.AgentToken != ""
}

// TestTheFileHoldsNoTokenThatIsNotGood: a server that was not the first to start on its database was killed when it
// had written what it would have begun with.
func TestTheFileHoldsNoTokenThatIsNotGood(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := func() (api, agent bool) {
		t.Helper()
		a, err := app.Start(t.Context(), config(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		return wantGoodTokens(t, a)
	}
	if api, agent := start(); !api || !agent {
		t.Fatal("the first start made no tokens")
	}
	path := filepath.Join(dir, "bootstrap.json")
	if err := os.WriteFile(path, []byte(`{"api_token":"never stored","agent_token":"nor this"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	start()
	if b, err := os.ReadFile(path); err != nil || strings.Contains(string(b), "never stored") || strings.Contains(string(b), "nor this") {
		t.Errorf("the file says %s, %v", b, err)
	}
}

func TestADatabaseIsNotServedWithAnotherSealingKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := filepath.Join(dir, "sealing.key")
	start := func(change func(*app.Config)) error {
		c := config(t, dir)
		change(&c)
		a, err := app.Start(t.Context(), c)
		if err == nil {
			err = a.Close()
		}
		return err
	}
	if err := start(func(*app.Config) {}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(key)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("sealing.key: %v, %v", info, err)
	}
	first, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other.key")
	if err := os.WriteFile(other, []byte(secret.NewKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*app.Config)
		want   string
	}{
		"missing file": {func(*app.Config) {}, key + " is missing; restore it, or give the first server's sealing.key"},
		"other file":   {func(c *app.Config) { c.SealingKeyFile = other }, other + " does not hold it"},
		"other text":   {func(c *app.Config) { c.SealingKeys = secret.NewKey() }, "SLIPWAY_SEALING_KEY does not hold it"},
		"no file":      {func(c *app.Config) { c.SealingKeyFile = other + "x" }, "cannot be read"},
		"no key":       {func(c *app.Config) { c.SealingKeys = "x" }, "SLIPWAY_SEALING_KEY: sealing key 1 is not 32 bytes in base64"},
	} {
		if err := start(tt.change); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
	if _, err := os.Stat(key); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a start that was refused left a key: %v", err)
	}
	if err := start(func(c *app.Config) { c.SealingKeys = secret.NewKey() + string(first) }); err != nil {
		t.Fatalf("with a new key before the first: %v", err)
	}
	if err := start(func(c *app.Config) { c.SealingKeys = string(first) }); err == nil {
		t.Error("the first key opens what the second sealed")
	}
}

// TestAServerThatStopsSaysSoFirst has a load balancer that looks at /readyz, and a client that comes while it has not looked yet.
func TestAServerThatStopsSaysSoFirst(t *testing.T) {
	t.Parallel()
	c := config(t, t.TempDir())
	c.Drain = 10 * time.Second
	a, err := app.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := get(t, a.URL+"/readyz"); status != http.StatusOK {
		t.Fatalf("readyz answers %d", status)
	}
	closed := make(chan error)
	go func() { closed <- a.Close() }()
	for {
		status, body := get(t, a.URL+"/readyz")
		if status == http.StatusServiceUnavailable && strings.Contains(body, "stopping") {
			break
		}
	}
	if status, _ := get(t, a.URL+"/healthz"); status != http.StatusOK {
		t.Errorf("a request that comes meanwhile is answered %d", status)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
