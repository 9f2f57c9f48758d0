package e2e

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/dbtest"
	"github.com/slipway-ci/slipway/internal/store"
)

// pair is two servers on one PostgreSQL behind a balancer of connections.
type pair struct {
	*chaos
	t       *testing.T
	balance *balancer
	servers [2]*process
	listen  [2]string
}

func startPair(t *testing.T, configuration string) *pair {
	t.Helper()
	dir, key := t.TempDir(), make([]byte, 32)
	rand.Read(key) // never fails (crypto/rand)
	vars := append(os.Environ(), "HOME="+dir, "WORK="+dir, "PATH="+bin+":"+os.Getenv("PATH"), "TERM=dumb",
		"SLIPWAY_BOOTSTRAP_API_TOKEN=api", "SLIPWAY_BOOTSTRAP_AGENT_TOKEN=agent", "SLIPWAY_SEALING_KEY="+base64.StdEncoding.EncodeToString(key),
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.test", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.test")
	seen := startWitness(t) // closed after those who speak to it
	p := &pair{t: t, balance: newBalancer(t)}
	p.chaos = &chaos{testing: t, witness: seen, kills: map[string]int{}, ended: map[int]string{}, seen: map[string]string{}, world: &world{
		flags: []string{"--smtp", "smtp://" + seen.smtp, "--mail-from", "ci@example.test"},
		t:     t, dir: dir, database: dbtest.Postgres(t), vars: vars, agents: map[string]*process{},
		tokens: tokens{URL: "http://" + p.balance.address, APIToken: "api", AgentToken: "agent"},
	}}
	t.Cleanup(p.close)
	t.Cleanup(func() {
		for _, s := range p.servers {
			if s != nil {
				s.kill()
			}
		}
	})
	repo := filepath.Join(dir, "repo")
	err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "runs"), 0o755),
		os.MkdirAll(repo, 0o755),
		os.WriteFile(filepath.Join(repo, "job.sh"), []byte(chaosJob), 0o644),
		p.makeRepo(repo),
		os.MkdirAll(filepath.Join(dir, ".files"), 0o755),
		p.serve(0), p.serve(1), p.beSeen(),
		p.startAgent("a1", nil), p.startAgent("a2", nil), p.startAgent("a3", nil),
		p.rest("POST", "pipelines", map[string]string{"name": "p", "repository": repo, "configuration": configuration}, nil),
	)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// serve starts a server, at the same address if it ran before, with a data directory of its own but for the files.
func (p *pair) serve(i int) (err error) {
	data := filepath.Join(p.dir, fmt.Sprint(".data-", i))
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join(p.dir, ".files"), filepath.Join(data, "artifacts")); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if p.listen[i] == anywhere {
		if p.listen[i], err = freeAddress(); err != nil {
			return err
		}
	}
	args := append([]string{
		filepath.Join(bin, "slipway"), "server", "--listen", p.listen[i], "--data", data, "--database", p.database, "--url", p.tokens.URL,
	}, p.flags...)
	if p.servers[i], err = p.start(fmt.Sprint("server-", i), args...); err != nil {
		return err
	}
	err = p.eventually("the server is ready", func() (bool, error) {
		select {
		case <-p.servers[i].done:
			return false, fmt.Errorf("slipway server ended: %w", p.servers[i].err)
		default:
		}
		resp, err := http.Get("http://" + p.listen[i] + "/readyz")
		if err != nil {
			return false, nil
		}
		return resp.StatusCode == http.StatusOK, resp.Body.Close()
	})
	p.balance.set(i, p.listen[i])
	return err
}

// balancer passes each connection to the next server that takes it.
type balancer struct {
	address string
	next    atomic.Int64
	mu      sync.Mutex
	servers [2]string
}

func newBalancer(t *testing.T) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{address: l.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { b.pass(c) })
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
	})
	return b
}

func (b *balancer) set(i int, address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.servers[i] = address
}

func (b *balancer) pass(c net.Conn) {
	defer c.Close()
	b.mu.Lock()
	servers := b.servers
	b.mu.Unlock()
	first := b.next.Add(1)
	for i := range int64(len(servers)) {
		s, err := net.Dial("tcp", servers[(first+i)%int64(len(servers))])
		if err != nil {
			continue
		}
		var back sync.WaitGroup
		back.Go(func() {
			_, _ = io.Copy(c, s) // either side may break off
			c.Close()
		})
		_, _ = io.Copy(s, c)
		s.Close()
		back.Wait()
		return
	}
}

// TestAServerStopsUnderLoadAndNoJobNotices stops one server after the other with SIGTERM while builds run.
func TestAServerStopsUnderLoadAndNoJobNotices(t *testing.T) {
	t.Parallel()
	p := startPair(t, chaosPipeline)
	under, cancel := context.WithCancel(t.Context())
	until, stop := context.WithCancel(t.Context())
	defer stop()
	var beside sync.WaitGroup
	beside.Go(func() { p.load(under) })
	beside.Go(func() { p.watch(until) })
	var err error
	for i := 0; i < 6 && err == nil && pause(t.Context(), 1500*time.Millisecond); i++ {
		p.kills["stops"]++
		err = errors.Join(p.servers[i%2].stop(), p.serve(i%2))
	}
	cancel()
	if err == nil {
		err = p.settle()
	}
	stop()
	beside.Wait()
	if err != nil {
		t.Fatal(err)
	}
	p.check()
	builds, err := p.builds("include_retried_jobs=true&per_page=100")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range builds {
		if len(b.Jobs) != 5 {
			t.Errorf("build %d has %d jobs, want 5: one was retried\n%s", b.Number, len(b.Jobs), (&world{tokens: p.client, pipeline: "p", build: b.Number}).logs(b.buildView))
		}
	}
}

// TestEverythingHappensOnceWhereAServerIsKilled has schedules that come due at two servers at once, of which one is killed as soon as
// the first has made its build. Each makes one build, and each build's mail is sent: again at most by a server that died behind it, with the
// same Message-ID, which the witness counts once.
func TestEverythingHappensOnceWhereAServerIsKilled(t *testing.T) {
	t.Parallel()
	const schedules = 30
	p := startPair(t, "steps: [{command: \"true\"}]\nnotify: [{email: ana@example.test}]\n")
	for i := range schedules {
		body := map[string]any{"label": fmt.Sprint("s", i), "cronline": "0 0 1 1 *", "message": fmt.Sprint("by schedule ", i, "."), "branch": "main"}
		if err := p.rest("POST", "pipelines/p/schedules", body, nil); err != nil {
			t.Fatal(err)
		}
	}
	p.allDue()
	err := p.eventually("a schedule has made its build", func() (bool, error) {
		builds, err := p.builds("per_page=1")
		return len(builds) > 0, err
	})
	if err = errors.Join(err, p.servers[0].kill9()); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	err = p.eventually("every schedule's build was told of", func() (bool, error) { return p.witness.ends() == schedules, nil })
	if err = errors.Join(err, p.settle()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(killed); took > soon {
		t.Errorf("what the killed server had begun was done after %s, want %s at most", took, soon)
	}
	builds, err := p.builds("per_page=100")
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]int{}
	for _, b := range builds {
		made[b.Message]++
		if n := len(p.witness.told[b.Number]); n != 1 {
			t.Errorf("of build %d the servers told %d times", b.Number, n)
		}
	}
	if len(builds) != schedules || len(made) != schedules {
		t.Errorf("%d builds of %d schedules, want one of each of %d", len(builds), len(made), schedules)
	}
}

// soon is how long what a killed server had begun may take to be done by the other: a delivery that was claimed is made again
// after 30 s.
const soon = 2 * time.Minute

// allDue makes all schedules due.
func (p *pair) allDue() {
	p.t.Helper()
	ctx := p.t.Context()
	s, err := store.Open(ctx, store.Options{Postgres: p.database})
	if err != nil {
		p.t.Fatal(err)
	}
	err = s.Update(ctx, func(tx *store.Tx) error {
		all, err := tx.DueSchedules(ctx, time.Now().AddDate(2, 0, 0), 200)
		for _, one := range all {
			one.NextAt = time.Now()
			err = errors.Join(err, tx.UpdateSchedule(ctx, one))
		}
		return err
	})
	if err = errors.Join(err, s.Close()); err != nil {
		p.t.Fatal(err)
	}
}
