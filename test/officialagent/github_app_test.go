package officialagent

import (
	"bufio"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// forge is a GitHub with one app and one private repository, acme/app.
type forge struct {
	api, repository string // addresses
	privateKey      string
}

const appToken = "ghs_official"

func newForge(t *testing.T) forge {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	api := http.NewServeMux()
	api.HandleFunc("GET /repos/acme/app/installation", func(w http.ResponseWriter, r *http.Request) {
		if err := asserted(r, &key.PublicKey); err != nil {
			t.Errorf("an assertion: %v", err)
		}
		fmt.Fprint(w, `{"id": 5}`)
	})
	api.HandleFunc("POST /app/installations/5/access_tokens", func(w http.ResponseWriter, r *http.Request) {
		if err := asserted(r, &key.PublicKey); err != nil {
			t.Errorf("an assertion: %v", err)
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token": %q, "expires_at": %q}`, appToken, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	})
	api.Handle("/acme/app.git/", private(t))
	server := httptest.NewUnstartedServer(api)
	server.Listener = either{server.Listener, certificate()}
	server.Start()
	t.Cleanup(server.Close)
	return forge{
		api: server.URL, repository: "https" + strings.TrimPrefix(server.URL, "http") + "/acme/app.git",
		privateKey: string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	}
}

// asserted says what is wrong with an app's assertion (RFC 7519).
func asserted(r *http.Request, key *rsa.PublicKey) error {
	signed, signature, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), ".")
	payload, signature, _ := strings.Cut(signature, ".")
	sum := sha256.Sum256([]byte(signed + "." + payload))
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		return err
	}
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], raw); err != nil {
		return err
	}
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return err
	}
	var claims struct {
		Issuer string `json:"iss"`
		End    int64  `json:"exp"`
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		return err
	}
	if left := time.Until(time.Unix(claims.End, 0)); claims.Issuer != "99" || left <= 0 || left > 10*time.Minute {
		return fmt.Errorf("claims %s", text)
	}
	return nil
}

// either is a port that is spoken to with TLS and without it: a forge has its API, which is asked by a server that does not know the
// certificate, where its repositories are.
type either struct {
	net.Listener
	config *tls.Config
}

func (l either) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &eitherConn{Conn: c, config: l.config}, err
}

type eitherConn struct {
	net.Conn // as it is
	config   *tls.Config
	begin    sync.Once
	spoken   net.Conn // with TLS or without
}

func (c *eitherConn) Read(b []byte) (int, error) {
	c.begin.Do(func() {
		r := bufio.NewReader(c.Conn)
		first, _ := r.Peek(1) // the next read has the error
		c.spoken = peeked{c.Conn, r}
		if len(first) > 0 && first[0] == 22 { // a handshake (RFC 8446 §5.1)
			c.spoken = tls.Server(c.spoken, c.config)
		}
	})
	return c.spoken.Read(b)
}

func (c *eitherConn) Write(b []byte) (int, error) { return c.spoken.Write(b) }

type peeked struct {
	net.Conn
	r *bufio.Reader
}

func (c peeked) Read(b []byte) (int, error) { return c.r.Read(b) }

func certificate() *tls.Config {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return s.TLS.Clone()
}

// private serves a repository to who has the app's token.
func private(t *testing.T) http.Handler {
	t.Helper()
	dir := t.TempDir()
	const script = `cd "$1" && git init -q -b main . && echo hello >README && git add . &&
		git -c user.name=n -c user.email=e@example.test commit -qm one && git update-server-info`
	if output, err := exec.CommandContext(t.Context(), "bash", "-ec", script, "-", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	files := http.StripPrefix("/acme/app.git", http.FileServer(http.Dir(filepath.Join(dir, ".git"))))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "token" || password != appToken {
			w.Header().Set("WWW-Authenticate", `Basic realm="forge"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(w, r)
	})
}

// TestAgentsCheckOutAPrivateRepositoryWithAnApp lets one job run on the official agent and one on ours, and
// asks with the official client.
func TestAgentsCheckOutAPrivateRepositoryWithAnApp(t *testing.T) {
	t.Parallel()
	s, f := start(t, "up"), newForge(t)
	s.rest(t, "PUT", "/forge-app", map[string]any{"app_id": 99, "private_key": f.privateKey, "api_url": f.api}, nil)
	s.rest(t, "POST", "/pipelines", map[string]string{
		"name": "private", "repository": f.repository, "configuration": `env: {GIT_SSL_NO_VERIFY: "true"}
steps:
  - {key: official, command: grep hello README, agents: {role: official}}
  - {key: asks, command: grep hello README, agents: {role: asks}}
  - {key: ours, command: grep hello README}
`,
	}, nil)
	var b buildView
	s.rest(t, "POST", "/pipelines/private/builds", map[string]string{"commit": "HEAD", "branch": "main", "message": "m"}, &b)
	jobs := map[string]string{}
	for _, j := range b.Jobs {
		jobs[j.StepKey] = j.ID
	}
	if got := s.acquire(t, jobs["official"]); got != 0 {
		t.Errorf("the job on the official agent ends with %d", got)
	}

	a := s.register(t, "asks", "role=asks")
	job, client := s.running(t, a)
	token, _, err := client.GenerateGithubCodeAccessToken(t.Context(), f.repository, job.ID)
	if err != nil || token != appToken {
		t.Errorf("the client gets %q, %v", token, err)
	}
	_, resp, err := client.GenerateRepositoryAccessToken(t.Context(), strings.Replace(f.repository, "app", "other", 1), job.ID)
	if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("for another repository: %v, %v", resp, err)
	}
	finish(t, client, job, "0")

	eventually(t, "the build has passed on our agent too", func() bool {
		s.rest(t, "GET", fmt.Sprintf("/pipelines/private/builds/%d", b.Number), nil, &b)
		if b.State == "failed" || b.State == "failing" {
			for _, j := range b.Jobs {
				var log struct{ Content string }
				s.rest(t, "GET", "/jobs/"+j.ID+"/log", nil, &log)
				t.Logf("%s %s: %s", j.StepKey, j.State, log.Content)
			}
			t.Fatalf("the build is %s", b.State)
		}
		return b.State == "passed"
	})
}
