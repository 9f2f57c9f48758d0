// Command load measures Slipway against its bars and prints what it took, the
// bar, and the ratio of the two: below 1 is within the bar.
//
// It builds the binary, starts real servers and agents on empty directories, and
// drives them by their public interfaces. Where hundreds of agents are wanted
// they are simulated in this process, with the protocol's real messages. Times
// drift with the machine; ratios between rows of one run are what to compare.
//
//	go run ./test/load [-slipway PATH] [-official PATH] [-agents N] [-fleet N] [-postgres] [MEASUREMENT…]
//
// It exits 1 if a measurement cannot be made, and 0 whatever the ratios are.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

// row is one measured number beside its bar.
type row struct {
	what string
	got  float64
	bar  float64 // 0: there is none, the row is for comparison
	unit string
}

// measurement is a function that makes rows, by name.
type measurement struct {
	name string
	run  func(context.Context, *bench) ([]row, error)
}

var measurements = []measurement{
	{"start", start},
	{"idle", idle},
	{"one-job", oneJob},
	{"many-jobs", manyJobs},
	{"throughput", throughput},
	{"dispatch", dispatch},
	{"busy-dispatch", busyDispatch},
	{"triggers", triggers},
	{"sizes", sizes},
	{"log", bigLog},
	{"ingest", ingest},
	{"fleet", idleFleet},
	{"storm", storm},
}

// bench is what the measurements share.
type bench struct {
	binary   string
	official string // the official agent's binary, or ""
	agents   int    // simulated ones for dispatch
	fleet    int    // idle ones
	postgres bool   // servers keep their state in PostgreSQL
	dir      string
}

func main() {
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt)
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 3 && args[0] == "-probe" { // startProbe's
		return ask(args[1], args[2])
	}
	var b bench
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.StringVar(&b.binary, "slipway", "", "binary to measure; by default one is built")
	flags.StringVar(&b.official, "official", "", "binary of the official agent, to measure beside ours")
	flags.IntVar(&b.agents, "agents", 1000, "simulated agents that are connected while dispatch is measured")
	flags.IntVar(&b.fleet, "fleet", 10_000, "simulated agents that idle, and that come back after a restart")
	flags.BoolVar(&b.postgres, "postgres", false, "servers use a PostgreSQL that is started for each of them, without flushes to disk")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "slipway-load")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b.dir = dir
	if b.binary == "" {
		b.binary = filepath.Join(dir, "slipway")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.binary, "./cmd/slipway")
		if output, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build slipway: %w\n%s", err, output)
		}
	}
	return b.measure(ctx, flags.Args())
}

// measure runs the named measurements, or all, and prints each row when it is
// known.
func (b *bench) measure(ctx context.Context, names []string) error {
	var failed []error
	fmt.Printf("%-58s %12s %12s %8s\n", "", "measured", "bar", "ratio")
	for _, m := range measurements {
		if len(names) > 0 && !slices.Contains(names, m.name) {
			continue
		}
		rows, err := m.run(ctx, b)
		for _, r := range rows {
			fmt.Println(r)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", m.name, err))
		}
	}
	return errors.Join(failed...)
}

func (r row) String() string {
	bar, ratio := "", ""
	if r.bar != 0 {
		bar, ratio = fmt.Sprintf("%.4g %s", r.bar, r.unit), fmt.Sprintf("%.2f", r.ratio())
	}
	return strings.TrimRight(fmt.Sprintf("%-58s %12s %12s %8s", r.what, fmt.Sprintf("%.4g %s", r.got, r.unit), bar, ratio), " ")
}

// ratio is the part of the bar that is used; for a rate, which is to be high, it
// is turned round.
func (r row) ratio() float64 {
	if strings.HasSuffix(r.unit, "/s") {
		return r.bar / r.got
	}
	return r.got / r.bar
}
