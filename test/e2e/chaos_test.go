package e2e

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/dbtest"
)

var (
	chaosTime = flag.Duration("chaos", 20*time.Second, "how long TestNothingIsLostUnderKills kills")
	chaosSeed = flag.Uint64("chaos-seed", 0, "what it draws its kills from; 0 is a new one")
)

// chaosPipeline tells by mail of its end, has steps side by side, one after them, and a rule for lost jobs.
const chaosPipeline = `
notify:
  - email: ada@example.test
    if: build.state == "passed" || build.state == "failed" || build.state == "canceled"
steps:
  - key: side
    parallelism: 3
    command: sh job.sh
    artifact_paths: "out-*.txt"
    retry: {automatic: [{exit_status: -1, limit: 10}]}
  - wait
  - key: after
    command: sh job.sh
    artifact_paths: "out-*.txt"
    retry: {automatic: [{exit_status: -1, limit: 10}]}
`

// chaosJob leaves a trace of each run, prints numbered lines and keeps a file.
const chaosJob = `echo run >> "$WORK/runs/$BUILDKITE_JOB_ID"
i=0
while [ $i -lt 200 ]; do
	i=$((i+1))
	echo "line $i of $BUILDKITE_JOB_ID."
	[ $((i % 50)) != 0 ] || sleep 0.1
done
yes "$BUILDKITE_JOB_ID" | head -n 2000 > "out-$BUILDKITE_JOB_ID.txt"
`

const chaosLines = 200

// TestNothingIsLostUnderKills kills the server and the agents at random instants
// while builds run, and then holds what is left against what clients were told: every build ended once, and
// was told of once; every end of a job, byte of a log and artifact that an agent had acknowledged is there.
// With -chaos=10m it is `make chaos`.
func TestNothingIsLostUnderKills(t *testing.T) {
	t.Parallel()
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-chaos-seed=%d", seed)
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		startChaos(t, "", rand.NewPCG(seed, 1)).run()
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		startChaos(t, dbtest.Postgres(t), rand.NewPCG(seed, 2)).run()
	})
}

// chaos is a world under kills. Only the goroutine of kill touches the world;
// the others know the tokens, which outlive the server.
type chaos struct {
	*world
	testing *testing.T
	random  *rand.Rand
	client  tokens
	witness *witness
	kills   map[string]int

	mu    sync.Mutex
	made  []int             // builds whose creation was acknowledged
	ended map[int]string    // how each build had ended when it was first seen so
	seen  map[string]string // the longest log seen, by job
}

var chaosAgents = []string{"a1", "a2", "a3"}

// run makes work and kills side by side, lets what is left end, and checks it.
func (c *chaos) run() {
	t := c.testing
	under, cancel := context.WithTimeout(t.Context(), *chaosTime)
	defer cancel()
	until, stop := context.WithCancel(t.Context())
	var beside sync.WaitGroup
	beside.Go(func() { c.load(under) })
	beside.Go(func() { c.watch(until) })
	err := c.kill(under)
	if err == nil {
		err = c.settle()
	}
	stop()
	beside.Wait()
	if err != nil {
		t.Fatal(err)
	}
	c.check()
}

func startChaos(t *testing.T, database string, source rand.Source) *chaos {
	t.Helper()
	dir := t.TempDir()
	vars := append(os.Environ(), "HOME="+dir, "WORK="+dir, "PATH="+bin+":"+os.Getenv("PATH"), "TERM=dumb",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.test", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.test")
	seen := startWitness(t) // closed after those who speak to it
	w := &world{t: t, dir: dir, database: database, vars: vars, listen: anywhere, agents: map[string]*process{}}
	t.Cleanup(w.close)
	c := &chaos{
		world: w, testing: t, random: rand.New(source), witness: seen, kills: map[string]int{},
		ended: map[int]string{}, seen: map[string]string{},
	}
	w.flags = []string{"--smtp", "smtp://" + c.witness.smtp, "--mail-from", "ci@example.test"}
	repo := filepath.Join(dir, "repo")
	err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "runs"), 0o755),
		os.MkdirAll(repo, 0o755),
		os.WriteFile(filepath.Join(repo, "job.sh"), []byte(chaosJob), 0o644),
		w.makeRepo(repo),
		w.startServer(),
		c.beSeen(),
	)
	for _, name := range chaosAgents {
		err = errors.Join(err, w.startAgent(name, nil))
	}
	err = errors.Join(err, w.rest("POST", "pipelines", map[string]string{
		"name": "p", "repository": repo, "configuration": chaosPipeline,
	}, nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// freeAddress is one for a server that comes back under it. Its port is below those that connections get (on Linux 32768 and up), so
// that no connection has it while the server is away.
func freeAddress() (string, error) {
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000)))
		if err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", errors.New("no free port between 20000 and 32000")
}

// beSeen puts the witness between the agents and the server, once that has an address.
func (c *chaos) beSeen() (err error) {
	c.client = c.tokens
	if c.witness.server, err = url.Parse(c.tokens.URL); err != nil {
		return err
	}
	c.agentURL = c.witness.url
	return nil
}

// kill kills and starts again until ctx ends.
func (c *chaos) kill(ctx context.Context) error {
	for pause(ctx, time.Duration(300+c.random.IntN(1500))*time.Millisecond) {
		victim := c.random.IntN(len(chaosAgents) + 2)
		if victim >= len(chaosAgents) {
			if err := c.killServer(); err != nil {
				return err
			}
			continue
		}
		c.kills["agents"]++
		name := chaosAgents[victim]
		if err := errors.Join(c.agents[name].kill9(), c.startAgent(name, nil)); err != nil {
			return err
		}
	}
	return nil
}

// killServer kills the server, sometimes again while it starts.
func (c *chaos) killServer() error {
	c.kills["server"]++
	if err := c.server.kill9(); err != nil {
		return err
	}
	for c.random.IntN(3) == 0 {
		c.kills["starting server"]++
		if err := c.beginServer(); err != nil {
			return err
		}
		pause(c.testing.Context(), time.Duration(c.random.IntN(300))*time.Millisecond)
		if err := c.server.kill9(); err != nil {
			return err
		}
	}
	return c.startServer()
}

// load keeps a few builds unfinished until ctx ends. A request that the server
// did not answer promises nothing.
func (c *chaos) load(ctx context.Context) {
	for pause(ctx, 50*time.Millisecond) {
		running, err := c.builds("state=running&state=scheduled&per_page=10")
		if err != nil || len(running) > 2 {
			continue
		}
		var b buildView
		world := &world{tokens: c.client}
		if world.rest("POST", "pipelines/p/builds", map[string]string{"commit": "HEAD", "branch": "main"}, &b) == nil {
			c.mu.Lock()
			c.made = append(c.made, b.Number)
			c.mu.Unlock()
		}
	}
}

// watch remembers what a reader was shown: ends of builds, and logs.
func (c *chaos) watch(ctx context.Context) {
	for pause(ctx, 100*time.Millisecond) {
		builds, err := c.builds("per_page=10&include_retried_jobs=true")
		if err != nil {
			continue
		}
		for _, b := range builds {
			if slices.Contains(ends, b.State) {
				c.mu.Lock()
				c.ended[b.Number] = cmp.Or(c.ended[b.Number], b.end())
				c.mu.Unlock()
				continue
			}
			for _, j := range b.Jobs {
				if j.State == "running" {
					c.look(b, j)
				}
			}
		}
	}
}

func (c *chaos) look(b chaosBuild, j jobView) {
	text, err := c.log(b, j)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && len(text) > len(c.seen[j.ID]) {
		c.seen[j.ID] = text
	}
}

// settle waits until every build has ended.
func (c *chaos) settle() error {
	start := time.Now()
	err := c.eventually("every build has ended", func() (bool, error) {
		left, err := c.builds("state=creating&state=scheduled&state=running&state=failing&state=canceling&per_page=1")
		return len(left) == 0, err
	})
	if err != nil {
		return err
	}
	c.testing.Logf("the last build ended %s after the last kill", time.Since(start).Round(time.Second))
	last, err := c.builds("per_page=1")
	if err != nil {
		return err
	}
	return c.eventually("the server has told of the end of each build", func() (bool, error) {
		return c.witness.ends() >= last[0].Number, nil
	})
}

// chaosBuild is a build with the instant of its end.
type chaosBuild struct {
	buildView
	Message    string
	FinishedAt string `json:"finished_at"`
}

func (b chaosBuild) end() string { return b.State + " at " + b.FinishedAt }

func (c *chaos) builds(query string) ([]chaosBuild, error) {
	var builds []chaosBuild
	world := &world{tokens: c.client}
	return builds, world.rest("GET", "pipelines/p/builds?"+query, nil, &builds)
}

// log returns a job's log, "" for a job that was lost before it printed.
func (c *chaos) log(b chaosBuild, j jobView) (string, error) {
	text, err := c.client.call("GET", fmt.Sprintf("pipelines/p/builds/%d/jobs/%s/log.txt", b.Number, j.ID), nil)
	if status(err) == http.StatusNotFound {
		return "", nil
	}
	return string(text), err
}

// check compares what is left with what was promised.
func (c *chaos) check() {
	builds := map[int]chaosBuild{}
	for page := 1; ; page++ {
		list, err := c.builds(fmt.Sprintf("include_retried_jobs=true&per_page=100&page=%d", page))
		if err != nil {
			c.testing.Fatal(err)
		}
		for _, b := range list {
			builds[b.Number] = b
		}
		if len(list) < 100 {
			break
		}
	}
	for _, number := range c.made {
		if _, ok := builds[number]; !ok {
			c.testing.Errorf("build %d was acknowledged and is gone", number)
		}
	}
	attempts := 0
	for _, b := range builds {
		attempts += len(b.Jobs)
		c.checkBuild(b)
	}
	c.testing.Logf("kills %v; %d builds, %d attempts at jobs, %d logs read while they grew; acknowledged: %d ends of jobs, %d bytes of logs, %d artifacts",
		c.kills, len(builds), attempts, len(c.seen), len(c.witness.statuses), c.witness.bytes(), len(c.witness.kept))
	if len(c.kills) == 0 || len(c.made) == 0 || len(c.witness.kept) == 0 || c.witness.bytes() == 0 {
		c.testing.Error("nothing happened")
	}
}

func (c *chaos) checkBuild(b chaosBuild) {
	if b.State != "passed" {
		c.testing.Errorf("build %d is %s\n%s", b.Number, b.State, (&world{tokens: c.client, pipeline: "p", build: b.Number}).logs(b.buildView))
	}
	if first, ok := c.ended[b.Number]; ok && first != b.end() {
		c.testing.Errorf("build %d ended twice: %s, and %s", b.Number, first, b.end())
	}
	if n := len(c.witness.told[b.Number]); n != 1 {
		c.testing.Errorf("of the end of build %d the server told %d times", b.Number, n)
	}
	passed := map[string]int{}
	for _, j := range b.Jobs {
		if j.StepKey != "" {
			c.checkJob(b, j)
		}
		if j.State == "passed" {
			passed[j.StepKey]++
		}
	}
	if passed["side"] != 3 || passed["after"] != 1 {
		c.testing.Errorf("build %d: %d and %d jobs passed, want 3 and 1", b.Number, passed["side"], passed["after"])
	}
}

// checkJob holds a job's runs, log and file against its state.
func (c *chaos) checkJob(b chaosBuild, j jobView) {
	t := c.testing
	runs, err := os.ReadFile(filepath.Join(c.dir, "runs", j.ID))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if n := strings.Count(string(runs), "run"); n > 1 || n == 0 && j.State == "passed" {
		t.Errorf("job %s (%s) ran %d times", j.ID, j.State, n)
	}
	log, err := c.log(b, j)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(log, c.seen[j.ID]) {
		t.Errorf("job %s: its log was seen longer or other than it is, %d bytes and %d", j.ID, len(c.seen[j.ID]), len(log))
	}
	if err := c.witness.missing(j.ID, log); err != nil {
		t.Errorf("job %s (%s): %v", j.ID, j.State, err)
	}
	if status, ok := c.witness.statuses[j.ID]; ok && (status == "0") != (j.State == "passed") {
		t.Errorf("job %s is %s, and its end with status %s was acknowledged", j.ID, j.State, status)
	}
	c.checkKept(b, j)
	lines := regexp.MustCompile(`line (\d+) of `+j.ID+`\.`).FindAllStringSubmatch(log, -1)
	// What a killed agent did not get rid of is gone; the log says where.
	gaps := j.State != "passed" && strings.Contains(log, "bytes of the log are missing here")
	for i, m := range lines {
		if m[1] != strconv.Itoa(i+1) && !gaps {
			t.Errorf("job %s: line %s of its log follows line %d", j.ID, m[1], i)
			break
		}
	}
	if j.State != "passed" {
		return
	}
	if len(lines) != chaosLines {
		t.Errorf("job %s passed with %d lines of log, want %d", j.ID, len(lines), chaosLines)
	}
}

// checkKept fetches every file of a job that was acknowledged.
func (c *chaos) checkKept(b chaosBuild, j jobView) {
	files := 0
	for id, f := range c.witness.files {
		if f.job != j.ID || !c.witness.kept[id] {
			continue
		}
		files++
		text, err := c.client.call("GET", fmt.Sprintf("pipelines/p/builds/%d/jobs/%s/artifacts/%s/download", b.Number, j.ID, id), nil)
		if sum := fmt.Sprintf("%x", sha256.Sum256(text)); err != nil || sum != f.Sum || string(text) != strings.Repeat(j.ID+"\n", 2000) {
			c.testing.Errorf("job %s: its file is other than was acknowledged: %d bytes, %v", j.ID, len(text), err)
		}
	}
	if j.State == "passed" && files == 0 {
		c.testing.Errorf("job %s passed, and none of its files was acknowledged", j.ID)
	}
}

// pause waits, and says whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
