package lines

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// plainPieces make lines that an Index passes over, or nearly.
var plainPieces = []string{
	"text ", "ünïcode 世界", "\t", "\x1b[32m", "\x1b[0m", "\x1b[m", "\x1b[39m", "\x1b[0;1;31m", "\x1b[38;5;200m", "\x1b[38;2;10;200;30;48;2;1;2;3m", "\x1b[;4m",
	"\x1b_bk;t=1700000000000\a", "\x1b_bk;t=1700000001234\a", "err", "or:", "error: ", "rror[", "panicked", " at", "FAI", "LED", "A", "ssertion", "---", "- ", "--- x", "+", "~~~", "^^^ ", "^^^ +++",
	strings.Repeat("long ", 900), "\xff", "\x7f", "\x00",
}

// drawRuns returns a log of long runs of lines that repeat, with what other logs are made of between them.
func drawRuns(t *rapid.T) string {
	var b strings.Builder
	for range rapid.IntRange(1, 4).Draw(t, "runs") {
		var unit strings.Builder
		for range rapid.IntRange(1, 5).Draw(t, "unit") {
			unit.WriteString(strings.Join(rapid.SliceOfN(rapid.SampledFrom(plainPieces), 0, 6).Draw(t, "line"), ""))
			unit.WriteString(rapid.SampledFrom([]string{"\n", "\r\n", "\r\r\n"}).Draw(t, "end"))
		}
		b.WriteString(strings.Repeat(unit.String(), rapid.IntRange(1, 6000/unit.Len()+200).Draw(t, "times")))
		b.WriteString(strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 4).Draw(t, "between"), ""))
	}
	return b.String()
}

// read is an index whose Tracker read every byte.
func read(s Settled, log string) *Index {
	x := NewIndex(s)
	_, _ = x.tracker.Write([]byte(log))
	return x
}

// differ returns how two indexes differ, in what they hold and in what they will make of the rest of the log.
func differ(want, got *Index) string {
	a, b := want.tracker, got.tracker
	wantRows, wantEnd := a.Rest()
	rows, end := b.Rest()
	same := cmp.Diff(want.Settled(), got.Settled()) + cmp.Diff(wantRows, rows, cmp.AllowUnexported(Row{})) + cmp.Diff(wantEnd, end)
	if a.style != b.style || a.clock != b.clock || a.col != b.col || a.y != b.y || a.pos != b.pos || a.limit != b.limit || a.saved != b.saved ||
		!bytes.Equal(a.carry, b.carry) || !bytes.Equal(a.line, b.line) || a.pending != b.pending || a.url != b.url {
		same += fmt.Sprintf("trackers: %+v, %+v", a, b)
	}
	return same
}

func TestAnIndexIsThatOfATrackerThatReadAll(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		log := drawRuns(t)
		want, got := read(Settled{}, log), NewIndex(Settled{})
		size := rapid.SampledFrom([]int{5000, 9000, 32 << 10, len(log) + 1}).Draw(t, "piece")
		for rest := log; rest != ""; rest = rest[min(size, len(rest)):] {
			_, _ = got.Write([]byte(rest[:min(size, len(rest))]))
		}
		if diff := differ(want, got); diff != "" {
			t.Fatalf("%d bytes in pieces of %d: %s", len(log), size, diff)
		}
	})
}

func TestAnIndexContinuesOverRuns(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		log := drawRuns(t)
		at := rapid.IntRange(0, len(log)).Draw(t, "at")
		first := NewIndex(Settled{})
		_, _ = first.Write([]byte(log[:at]))
		stored := first.Settled()
		second := NewIndex(stored)
		_, _ = second.Write([]byte(log[stored.Resume.Offset:]))
		if diff := cmp.Diff(read(Settled{}, log).Settled(), second.Settled()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzIndex(f *testing.F) {
	for i, p := range plainPieces {
		f.Add(p+"x\n", pieces[i], 200)
	}
	f.Fuzz(func(t *testing.T, unit, between string, times int) {
		if times < 0 || times > 10_000 || len(unit)*times > 1<<20 {
			return
		}
		log := strings.Repeat(unit, times) + between + strings.Repeat(unit+between, times%200)
		got := NewIndex(Settled{})
		_, _ = got.Write([]byte(log))
		if diff := differ(read(Settled{}, log), got); diff != "" {
			t.Error(diff)
		}
	})
}

// BenchmarkIndex compares an Index with a Tracker that reads all, on lines of words in colour without markers.
func BenchmarkIndex(b *testing.B) {
	words := []string{"Compiling", "src/", "core.rs", "warning:", "unused", "variable", "at line", "linking", "0x7ffe", "done in"}
	random := rand.New(rand.NewPCG(1, 2))
	var log bytes.Buffer
	for log.Len() < 1<<20 {
		fmt.Fprintf(&log, "\x1b[32m%s\x1b[0m %s %d %s\r\n", words[random.IntN(len(words))], words[random.IntN(len(words))],
			random.IntN(1_000_000), words[random.IntN(len(words))])
	}
	measure := func(name string, size int, write func(*Index, []byte)) {
		b.Run(name, func(b *testing.B) {
			x, before := NewIndex(Settled{}), processor(b)
			for b.Loop() {
				for rest := log.Bytes(); len(rest) > 0; rest = rest[min(size, len(rest)):] {
					write(x, rest[:min(size, len(rest))])
				}
			}
			b.ReportMetric((processor(b)-before)/float64(b.N)/(float64(log.Len())/1e6), "cpu-ms/MB")
		})
	}
	pass := func(x *Index, p []byte) { _, _ = x.Write(p) }
	measure("chunks of 100 KB", 100<<10, pass)
	measure("chunks of 1 MB", 1<<20, pass)
	measure("tracker", 1<<20, func(x *Index, p []byte) { _, _ = x.tracker.Write(p) })
}

// processor returns the processor time used so far, in milliseconds.
func processor(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e6
}

// TestErrorsAreFoundWhereverTheyStand puts each pattern at each place of a line, whole, with a colour in it, and with one after every few
// bytes. A collision of two triples would hide one.
func TestErrorsAreFoundWhereverTheyStand(t *testing.T) {
	t.Parallel()
	for _, p := range errorPatterns {
		for at := range 2 * stride {
			for cut := range p {
				torn := p[:cut] + "\x1b[0m" + p[cut:]
				var tattered strings.Builder
				for i := range p {
					if i%(cut+1) == cut {
						tattered.WriteString("\x1b[0m")
					}
					tattered.WriteByte(p[i])
				}
				for _, line := range []string{p, torn, tattered.String()} {
					log := strings.Repeat(strings.Repeat("-", at)+line+"\r\n", 300)
					x := NewIndex(Settled{})
					if _, _ = x.Write([]byte(log)); len(x.settled.Errors) < 200 {
						t.Errorf("%q at %d: %d errors", line, at, len(x.settled.Errors))
					}
				}
			}
		}
	}
}
