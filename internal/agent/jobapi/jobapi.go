// Package jobapi is what a running job asks of its own agent: HTTP over a Unix socket that only this
// machine's user can open, and with a token that only the job has. A job reads and changes the
// environment and the directory of what runs after the present process, hides values in the rest of
// its log, and declares that it will fail.
//
// Changes wait until the process that asked for them has ended; then [Server.Take] hands them over,
// once. A redaction is in force when its request is answered. A request that is refused changes
// nothing.
//
// The paths, bodies and statuses are those of jobapi of buildkite-agent v3.138.1.
package jobapi

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/shell"
)

// Job is what the requests are about.
type Job struct {
	// Redact hides values in the log from now on.
	Redact func(values ...string)
	// Protected says which variables nothing in a job can change.
	Protected func(name string) bool
	// PromiseFailure tells the server that the job will end with a status, and returns the status that
	// the server answered with, 0 if it did not.
	PromiseFailure func(ctx context.Context, exitStatus int, reason string) (answer int, err error)
}

// Server serves one job.
type Server struct {
	Socket string
	Token  string

	job    Job
	dir    string
	http   *http.Server
	served sync.WaitGroup

	mu      sync.Mutex
	env     shell.Env // as the next process will see it
	pending shell.Diff
	workdir string
}

// Listen makes the socket, in a directory of its own below temp, and answers there until Close.
func Listen(temp string, job Job) (*Server, error) {
	dir, err := os.MkdirTemp(temp, "slipway-job-api-") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("job API: %w", err)
	}
	s := &Server{Socket: filepath.Join(dir, "job.sock"), Token: rand.Text(), job: job, dir: dir, env: shell.Env{}}
	s.pending = shell.Diff{Set: shell.Env{}}
	l, err := net.Listen("unix", s.Socket)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("job API: %w", err), os.RemoveAll(dir))
	}
	s.http = &http.Server{Handler: s.authorized(s.routes()), ReadTimeout: 10 * time.Second}
	s.served.Go(func() { _ = s.http.Serve(l) }) // ends with ErrServerClosed
	return s, nil
}

// Close stops answering and removes the socket. Requests under way are cut off.
func (s *Server) Close() error {
	err := s.http.Close()
	s.served.Wait()
	return errors.Join(err, os.RemoveAll(s.dir))
}

// Show says what the environment of the process is that runs now.
func (s *Server) Show(env shell.Env) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.env = env.Clone()
	s.env.Apply(s.pending)
}

// Take returns what was asked for since the last Take: changes of the environment, and the directory
// to go to, "" to stay.
func (s *Server) Take() (shell.Diff, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes, dir := s.pending, s.workdir
	s.pending, s.workdir = shell.Diff{Set: shell.Env{}}, ""
	return changes, dir
}

func (s *Server) authorized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || subtle.ConstantTimeCompare([]byte(token), []byte(s.Token)) == 0 {
			refuse(w, http.StatusUnauthorized, "this needs the token of the job: Authorization: Bearer $BUILDKITE_AGENT_JOB_API_TOKEN")
			return
		}
		next.ServeHTTP(w, r)
	})
}
