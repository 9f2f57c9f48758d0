// Command run runs every test of the repository, or the stages that its
// arguments name, and ends with one summary.
//
// It starts the services that tests share, a PostgreSQL server and a Docker
// engine where none answers, and stops them before it returns. Stages run one
// after another, but for those that mostly wait, which run beside another; a stage that fails does not keep the later ones from running.
// The output of failed tests is held back and shown once, above the summary;
// their names are shown when their stage ends.
//
// It exits 0 if everything passed, 1 if anything failed, 2 for an unknown
// stage or a service that does not start.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// run runs the named stages, or all of them, and returns the exit status.
func run(ctx context.Context, names []string, out io.Writer) (int, error) {
	chosen, err := choose(names)
	if err != nil {
		return 2, err
	}
	var env []string
	if slices.ContainsFunc(chosen, func(s stage) bool { return s.services }) {
		started, err := startServices()
		defer started.stop()
		if err != nil {
			return 2, err
		}
		env = started.env()
	}
	begin := time.Now()
	var results []result
	for len(chosen) > 0 && ctx.Err() == nil {
		n := 1
		for n < len(chosen) && chosen[n].beside {
			n++
		}
		results = append(results, together(ctx, env, chosen[:n], out)...)
		chosen = chosen[n:]
	}
	return summarize(out, results, time.Since(begin)), ctx.Err()
}

// together runs stages at the same time and tells of each when it ends.
func together(ctx context.Context, env []string, stages []stage, out io.Writer) []result {
	results := make([]result, len(stages))
	ended := make(chan result)
	var all sync.WaitGroup
	for i, s := range stages {
		fmt.Fprintf(out, "── %s\n", s.name)
		all.Go(func() {
			results[i] = s.run(ctx, env)
			ended <- results[i]
		})
	}
	for range stages {
		tell(out, <-ended)
	}
	all.Wait()
	return results
}

// tell prints how a stage ended, without the output of what failed.
func tell(out io.Writer, r result) {
	fmt.Fprintf(out, "   %s\n", r.line())
	for _, f := range r.failures {
		fmt.Fprintf(out, "   failed: %s\n", f.name)
	}
	if len(r.slowest) > 0 {
		fmt.Fprintf(out, "   slowest: %s\n", strings.Join(r.slowest, ", "))
	}
}

// choose returns the stages with the given names in their usual order.
func choose(names []string) ([]stage, error) {
	if len(names) == 0 {
		return stages, nil
	}
	var chosen []stage
	for _, s := range stages {
		if slices.Contains(names, s.name) {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) != len(names) {
		var known []string
		for _, s := range stages {
			known = append(known, s.name)
		}
		return nil, errors.New("stages are: " + strings.Join(known, " "))
	}
	return chosen, nil
}

// summarize prints what failed, a line for each stage and the totals.
func summarize(out io.Writer, results []result, took time.Duration) int {
	for _, r := range results {
		for _, f := range r.failures {
			fmt.Fprintf(out, "\n══ %s: %s\n%s\n", r.stage, f.name, strings.TrimRight(f.output, "\n"))
		}
	}
	passed, failed := 0, 0
	fmt.Fprintln(out)
	for _, r := range results {
		fmt.Fprintln(out, r.line())
		passed += r.passed
		failed += len(r.failures)
	}
	fmt.Fprintf(out, "\n%d passed, %d failed in %s\n", passed, failed, took.Round(time.Second))
	if failed > 0 {
		return 1
	}
	return 0
}
