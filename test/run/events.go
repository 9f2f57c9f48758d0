package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is a line of `go test -json`, see `go doc test2json` and `go help
// buildjson`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of a package that does not build
	FailedBuild string
	Test        string
	Output      string
	Elapsed     float64 // seconds
	Key         string
	Value       string
}

// tally collects events. A test with subtests counts by its subtests, unless
// it fails while they all pass.
type tally struct {
	output  map[string]*strings.Builder // by package and test, or "build " and import path
	outcome map[string]string           // pass, fail or skip, by package and test
	parents map[string]bool
	failed  map[string]bool // packages
	builds  map[string]string
	notes   []string
	tests   map[string]float64 // seconds of each test without subtests
	pkgs    map[string]float64 // seconds of each package
}

// readEvents reads the events until in ends.
func readEvents(in io.Reader) (result, error) {
	t := tally{
		output:  map[string]*strings.Builder{},
		outcome: map[string]string{},
		parents: map[string]bool{},
		failed:  map[string]bool{},
		builds:  map[string]string{},
		tests:   map[string]float64{},
		pkgs:    map[string]float64{},
	}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if err := json.Unmarshal(line, &e); err != nil {
				return t.result(), fmt.Errorf("read an event of go test: %w: %s", err, line)
			}
			t.add(e)
		}
		if err == io.EOF {
			return t.result(), nil
		}
		if err != nil {
			return t.result(), err
		}
	}
}

func (t *tally) add(e event) {
	name := key(e.Package, e.Test)
	switch e.Action {
	case "output":
		t.print(name, e.Output)
	case "build-output":
		t.print("build "+e.ImportPath, e.Output)
	case "attr":
		t.notes = append(t.notes, strings.ReplaceAll(e.Key, "-", " ")+" "+e.Value)
	case "run":
		if i := strings.LastIndexByte(e.Test, '/'); i >= 0 {
			t.parents[key(e.Package, e.Test[:i])] = true
		}
	case "pass", "fail", "skip":
		t.end(name, e)
	}
}

// end takes the end of a test or of a package.
func (t *tally) end(name string, e event) {
	if e.Test != "" {
		t.outcome[name] = e.Action
		if !t.parents[name] {
			t.tests[e.Test] = e.Elapsed
		}
		return
	}
	t.pkgs[e.Package] = e.Elapsed
	if e.Action == "fail" {
		t.failed[e.Package] = true
		t.builds[e.Package] = e.FailedBuild
	}
}

func (t *tally) print(name, text string) {
	if t.output[name] == nil {
		t.output[name] = &strings.Builder{}
	}
	t.output[name].WriteString(text)
}

func (t *tally) result() result {
	r := result{notes: t.notes, slowest: t.slowest()}
	explained := map[string]bool{} // tests and packages with a failure below them
	names := slices.Sorted(maps.Keys(t.outcome))
	slices.Reverse(names) // subtests before their parents
	for _, name := range names {
		switch t.outcome[name] {
		case "pass":
			if !t.parents[name] {
				r.passed++
			}
		case "skip":
			r.failures = append(r.failures, failure{name, "skipped: a test runs or fails\n" + t.text(name)})
		case "fail":
			if !explained[name] {
				r.failures = append(r.failures, failure{name, t.text(name)})
			}
			explain(explained, name)
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(t.failed)) {
		if !explained[pkg] {
			r.failures = append(r.failures, failure{pkg, t.text("build "+t.builds[pkg]) + t.text(pkg)})
		}
	}
	return r
}

// slowest names the three packages that took longest, or of a single package the
// three tests, if they took seconds.
func (t *tally) slowest() []string {
	seconds := t.pkgs
	if len(seconds) == 1 {
		seconds = t.tests
	}
	names := slices.SortedFunc(maps.Keys(seconds), func(a, b string) int { return cmp.Compare(seconds[b], seconds[a]) })
	var list []string
	for _, name := range names[:min(3, len(names))] {
		if seconds[name] >= 1 {
			list = append(list, fmt.Sprintf("%s %.0f s", strings.TrimPrefix(name, module), seconds[name]))
		}
	}
	return list
}

// module is the beginning of most packages' paths.
const module = "github.com/slipway-ci/slipway/"

// explain marks the parents of a failed test, and its package, as explained.
func explain(explained map[string]bool, name string) {
	pkg, test, _ := strings.Cut(name, " ")
	explained[pkg] = true
	for {
		i := strings.LastIndexByte(test, '/')
		if i < 0 {
			return
		}
		test = test[:i]
		explained[key(pkg, test)] = true
	}
}

func (t *tally) text(name string) string {
	if b := t.output[name]; b != nil {
		return b.String()
	}
	return ""
}

func key(pkg, test string) string { return strings.TrimSpace(pkg + " " + test) }
