package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// display shows a build: lines that stay, and on a terminal a few at the bottom that are redrawn.
type display struct {
	out      io.Writer
	url      string
	pipeline string
	terminal *os.File // nil: plain lines
	canWait  bool     // somebody is there to unblock a build

	mu      sync.Mutex
	build   store.Build
	jobs    []store.Job
	labels  map[string]string   // by job
	shown   map[string]string   // what was told last of each job
	tails   map[string][]string // last lines of each job
	broken  error               // of the first write that did not succeed: nobody reads any more
	drawn   int                 // lines at the bottom that are to be redrawn
	ticking chan struct{}
	done    sync.WaitGroup
}

const (
	tailLines = 30
	liveJobs  = 8
)

func newDisplay(c *console, name, url string) *display {
	d := &display{
		out: c.out, url: url, pipeline: name, labels: map[string]string{}, shown: map[string]string{},
		tails: map[string][]string{}, ticking: make(chan struct{}),
	}
	if f, ok := isTerminal(c.out); ok {
		d.terminal = f
	}
	d.canWait = d.terminal != nil && term.IsTerminal(int(c.in.Fd()))
	return d
}

func (d *display) begin(b store.Build, path string, agents int) {
	fmt.Fprintf(d.out, "%s (%s) at %.8s on %d agents: %s\n", d.pipeline, path, b.Commit, agents, b.Message)
	fmt.Fprintf(d.out, "watch in a browser: %s\n", d.url)
	if d.terminal == nil {
		return
	}
	d.done.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-d.ticking:
				return
			case <-tick.C:
				d.lines()
			}
		}
	})
}

// end stops redrawing.
func (d *display) end() {
	close(d.ticking)
	d.done.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.erase()
}

func (d *display) say(text string) { d.lines("slipway: " + text) }

// lines prints lines that stay, above those that are redrawn.
func (d *display) lines(text ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.print(text...)
}

func (d *display) print(text ...string) {
	d.erase()
	for _, s := range text {
		if _, err := fmt.Fprintln(d.out, s); err != nil && d.broken == nil {
			d.broken = fmt.Errorf("showing the build: %w", err)
		}
	}
	d.draw()
}

func (d *display) erase() {
	if d.drawn > 0 {
		fmt.Fprintf(d.out, "\x1b[%dA\r\x1b[J", d.drawn)
		d.drawn = 0
	}
}

// draw writes the running jobs and the counts.
func (d *display) draw() {
	if d.terminal == nil || d.build.ID == "" {
		return
	}
	width, _, err := term.GetSize(int(d.terminal.Fd()))
	if err != nil || width < 20 {
		width = 80
	}
	for _, s := range d.status() {
		fmt.Fprintln(d.out, cut(s, width-1))
		d.drawn++
	}
}

func cut(s string, width int) string {
	r := []rune(s)
	if len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}

func (d *display) status() []string {
	var out []string
	running := 0
	for _, j := range d.jobs {
		if j.State != ci.JobRunning && j.State != ci.JobCanceling && j.State != ci.JobTimingOut {
			continue
		}
		if running++; running <= liveJobs {
			out = append(out, fmt.Sprintf("  %s  %s  %s", word(j), d.label(j), seconds(time.Since(j.StartedAt))))
		}
	}
	if running > liveJobs {
		out = append(out, fmt.Sprintf("  and %d more", running-liveJobs))
	}
	t := d.build.Jobs
	return append(out, fmt.Sprintf("%s: %d passed, %d failed, %d running, %d waiting",
		d.build.State, t[ci.ClassPassed]+t[ci.ClassSoftFailed], t.Failed(), t.Running(), t[ci.ClassReady]+t[ci.ClassWaiting]+t[ci.ClassBlocked]))
}

// label is what people call a job.
func (d *display) label(j store.Job) string {
	if l, ok := d.labels[j.ID]; ok {
		return l
	}
	spec, err := j.Spec()
	if err != nil {
		spec = pipeline.Job{Label: j.ID}
	}
	l := spec.Label
	if l == "" {
		l = strings.TrimSpace(strings.SplitN(spec.Command, "\n", 2)[0])
	}
	l = strings.TrimSpace(shortcode.ReplaceAllString(l, ""))
	if l == "" {
		l = string(j.Kind)
	}
	if spec.ParallelTotal > 1 && !strings.Contains(l, strconv.Itoa(spec.ParallelIndex+1)) {
		l += fmt.Sprintf(" %d/%d", spec.ParallelIndex+1, spec.ParallelTotal)
	}
	if j.Retries > 0 {
		l += fmt.Sprintf(" (attempt %d)", j.Retries+1)
	}
	d.labels[j.ID] = l
	return l
}

var shortcode = regexp.MustCompile(`:[a-z0-9_+-]+:`)

// Changed tells of every job that came to another state that people care about.
func (d *display) Changed(b store.Build, jobs []store.Job) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.build, d.jobs = b, jobs
	for _, j := range jobs {
		if w := told(j); w != "" && d.shown[j.ID] != w {
			d.shown[j.ID] = w
			d.print(fmt.Sprintf("[%s] %s", d.label(j), w))
		}
	}
	d.print()
	if b.State == ci.BuildBlocked && !d.canWait {
		return errBlocked
	}
	return d.broken
}

// errBlocked ends the watching of a build that waits for a person where there is none.
var errBlocked = errors.New("the build waits for a person to unblock it, and nobody can here; run it on a terminal, or with `slipway up`")

// Ended tells how a job that ran ended.
func (d *display) Ended(j store.Job) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.print(fmt.Sprintf("[%s] %s%s", d.label(j), word(j), took(j)))
	return nil
}

// told is what is said of a job before it ends, or of one that ends without having run; "" for
// nothing.
func told(j store.Job) string {
	switch {
	case j.Kind == ci.JobWaiter:
		return ""
	case !j.StartedAt.IsZero():
		return "running"
	case j.State == ci.JobBlocked:
		return "waits for a person: unblock it in the browser"
	case j.State == ci.JobSkipped, j.State == ci.JobBroken:
		return "skipped: " + j.Reason
	case j.State.Terminal() && !j.State.NotRun():
		return word(j)
	}
	return ""
}

func took(j store.Job) string {
	if j.StartedAt.IsZero() {
		return ""
	}
	return " in " + seconds(j.FinishedAt.Sub(j.StartedAt))
}

// word is a job's state in one word or two.
func word(j store.Job) string {
	switch c := j.Class(); {
	case !j.State.Terminal():
		return strings.ReplaceAll(string(j.State), "_", " ")
	case c == ci.ClassPassed:
		return "passed"
	case c == ci.ClassSoftFailed:
		return "soft failed" + exit(j)
	case c == ci.ClassNotRun:
		return "not run"
	case j.State == ci.JobFinished:
		return "failed" + exit(j)
	}
	return strings.ReplaceAll(string(j.State), "_", " ")
}

func exit(j store.Job) string {
	if j.Reason != "" {
		return " (" + j.Reason + ")"
	}
	if j.ExitStatus == nil {
		return ""
	}
	return fmt.Sprintf(" (exit %d)", *j.ExitStatus)
}

func seconds(t time.Duration) string {
	switch {
	case t < 10*time.Second:
		return fmt.Sprintf("%.1fs", t.Seconds())
	case t < time.Minute:
		return fmt.Sprintf("%.0fs", t.Seconds())
	}
	return t.Round(time.Second).String()
}

var escape = regexp.MustCompile(`\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\-_])`)

// Line shows a line of a job's log.
func (d *display) Line(j store.Job, line string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.terminal == nil {
		line = escape.ReplaceAllString(line, "")
	}
	tail := append(d.tails[j.ID], line)
	d.tails[j.ID] = tail[max(0, len(tail)-tailLines):]
	d.print(fmt.Sprintf("[%s] | %s", d.label(j), line))
	return d.broken
}

// summary prints how everything went and returns the exit status.
func (d *display) summary(b store.Build) error {
	if b.PlanError != "" {
		return usage{errors.New(b.PlanError)}
	}
	fmt.Fprintln(d.out)
	for _, j := range d.jobs {
		if j.Kind == ci.JobWaiter {
			continue
		}
		fmt.Fprintf(d.out, "  %-12s %-40s %s\n", firstWord(word(j)), cut(d.label(j), 40), strings.TrimSpace(strings.TrimPrefix(word(j), firstWord(word(j)))+took(j)))
	}
	d.failures()
	end := b.FinishedAt.Sub(b.CreatedAt)
	fmt.Fprintf(d.out, "\n%s #%d %s in %s\n", d.pipeline, b.Number, b.State, seconds(end))
	if b.State != ci.BuildPassed {
		return silent(1)
	}
	return nil
}

func firstWord(s string) string {
	if strings.HasPrefix(s, "soft failed") {
		return "soft failed"
	}
	if strings.HasPrefix(s, "failed") {
		return "failed"
	}
	return s
}

// failures repeats the last lines of the jobs that failed.
func (d *display) failures() {
	for _, j := range d.jobs {
		c := j.Class()
		if j.RetriedIn != "" || c != ci.ClassHardFailed && c != ci.ClassErrored {
			continue
		}
		fmt.Fprintf(d.out, "\nlast lines of %s, %s:\n", d.label(j), word(j))
		for _, line := range d.tails[j.ID] {
			fmt.Fprintf(d.out, "    %s\n", line)
		}
	}
}
