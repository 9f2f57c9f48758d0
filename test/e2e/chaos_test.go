package e2e

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
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

// chaosPipeline has steps side by side, one after them, and a rule for lost jobs.
const chaosPipeline = `
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
// while builds run, and then holds what is left against what a client was told.
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
	kills   int

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
	w := &world{t: t, dir: dir, database: database, vars: vars, listen: "127.0.0.1:0", agents: map[string]*process{}}
	t.Cleanup(w.close)
	c := &chaos{
		world: w, testing: t, random: rand.New(source),
		ended: map[int]string{}, seen: map[string]string{},
	}
	repo := filepath.Join(dir, "repo")
	err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "runs"), 0o755),
		os.MkdirAll(repo, 0o755),
		os.WriteFile(filepath.Join(repo, "job.sh"), []byte(chaosJob), 0o644),
		w.makeRepo(repo),
		w.startServer(),
	)
	for _, name := range chaosAgents {
		err = errors.Join(err, w.startAgent(name, nil))
	}
	c.client = w.tokens
	err = errors.Join(err, w.rest("POST", "pipelines", map[string]string{
		"name": "p", "repository": repo, "configuration": chaosPipeline,
	}, nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// kill kills and starts again until ctx ends.
func (c *chaos) kill(ctx context.Context) error {
	for pause(ctx, time.Duration(300+c.random.IntN(1500))*time.Millisecond) {
		c.kills++
		victim := c.random.IntN(len(chaosAgents) + 2)
		if victim >= len(chaosAgents) {
			if err := errors.Join(c.server.kill9(), c.startServer()); err != nil {
				return err
			}
			continue
		}
		name := chaosAgents[victim]
		if err := errors.Join(c.agents[name].kill9(), c.startAgent(name, nil)); err != nil {
			return err
		}
	}
	return nil
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
	return c.eventually("every build has ended", func() (bool, error) {
		left, err := c.builds("state=creating&state=scheduled&state=running&state=failing&state=canceling&per_page=1")
		return len(left) == 0, err
	})
}

// chaosBuild is a build with the instant of its end.
type chaosBuild struct {
	buildView
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
	var log struct{ Content string }
	world := &world{tokens: c.client}
	err := world.rest("GET", fmt.Sprintf("pipelines/p/builds/%d/jobs/%s/log", b.Number, j.ID), nil, &log)
	if status(err) == http.StatusNotFound {
		return "", nil
	}
	return log.Content, err
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
	c.testing.Logf("%d kills, %d builds, %d attempts at jobs, %d logs read while they grew", c.kills, len(builds), attempts, len(c.seen))
	if c.kills == 0 || len(c.made) == 0 {
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
	lines := regexp.MustCompile(`line (\d+) of `+j.ID+`\.`).FindAllStringSubmatch(log, -1)
	for i, m := range lines {
		if m[1] != strconv.Itoa(i+1) {
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
	c.checkFile(b, j)
}

// checkFile compares the file that a passed job kept.
func (c *chaos) checkFile(b chaosBuild, j jobView) {
	path := fmt.Sprintf("pipelines/p/builds/%d/jobs/%s/artifacts", b.Number, j.ID)
	var files []struct{ ID, Path string }
	if err := (&world{tokens: c.client}).rest("GET", path, nil, &files); err != nil {
		c.testing.Fatal(err)
	}
	for _, f := range files {
		if f.Path != "out-"+j.ID+".txt" {
			continue
		}
		text, err := c.client.call("GET", path+"/"+f.ID+"/download", nil)
		if err != nil || string(text) != strings.Repeat(j.ID+"\n", 2000) {
			c.testing.Errorf("job %s: its file is other than it kept: %d bytes, %v", j.ID, len(text), err)
		}
		return
	}
	c.testing.Errorf("job %s passed, and its file is not among its %d", j.ID, len(files))
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
