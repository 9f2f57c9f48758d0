//go:build !race

// The race detector makes sync.Pool forget at random, so bytes are counted without it; see the stage
// "memory" of test/run.

package joblog_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/joblog/joblogtest"
	"github.com/slipway-ci/slipway/internal/joblog/lines"
)

const (
	chunkSize     = joblog.ChunkBytes
	chunksOf10MB  = 10 << 20 / chunkSize
	chunksOf100MB = 100 << 20 / chunkSize
)

// tile is chunkSize bytes of log that can follow themselves. Varied, its lines are as test runners print them; otherwise they repeat and
// are long, which makes a gigabyte of them quick.
func tile(varied bool) string {
	var b strings.Builder
	for i := 0; b.Len() < chunkSize; i++ {
		n, detail := i%16, strings.Repeat(" and then some", 30)
		if varied {
			n, detail = i*2654435761%0xffffff, ""
		}
		fmt.Fprintf(&b, "\x1b_bk;t=%d\a\x1b[32mPASS\x1b[0m [ %d.%03ds] parse::test_%x retains some/path/to/file_%d.go:%d%s\r\n",
			1_700_000_000_000+i*17, n%9, n*7919%1000, n, n%91, n*31%977, detail)
	}
	return b.String()[:chunkSize-1] + "\n"
}

// repeat appends n chunks of text, compressed once.
func repeat(t testing.TB, s *joblog.Store, job, text string, n int) joblog.Progress {
	t.Helper()
	c := joblog.Chunk{Size: int64(len(text)), Gzip: joblogtest.Compress(text)}
	var p joblog.Progress
	for i := range n {
		c.Sequence, c.Offset = int64(i+1), int64(i)*c.Size
		var err error
		if p, err = s.Append(t.Context(), job, c); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapSys
}

// TestAWindowOfAGigabyteIsCheap is not parallel: it counts what the whole process allocates.
func TestAWindowOfAGigabyteIsCheap(t *testing.T) {
	dir, before := t.TempDir(), heap()
	s := open(t, dir, joblog.Options{MaxBytes: 2 << 30})
	text := tile(false)
	chunks := 1<<30/chunkSize + 1
	p := repeat(t, s, "j", text, chunks)
	perChunk := int64(strings.Count(text, "\n"))
	if p.Lines != perChunk*int64(chunks) {
		t.Errorf("%d lines, want %d", p.Lines, perChunk*int64(chunks))
	}
	windows(t, s, p.Lines, perChunk)
	if err := s.Finish(t.Context(), "j"); err != nil {
		t.Fatal(err)
	}
	windows(t, s, p.Lines, perChunk)
	closeStore(t, s)
	s = open(t, dir, joblog.Options{})
	defer closeStore(t, s)
	windows(t, s, p.Lines, perChunk)
	if grown := int64(heap() - before); grown > 60<<20 {
		t.Errorf("the heap has grown by %d MB", grown>>20)
	}
}

func windows(t *testing.T, s *joblog.Store, total, perChunk int64) {
	t.Helper()
	for _, from := range []int64{0, 1999, total / 3, total/2 + 777, total - 200} {
		before := allocated()
		w, err := s.Window(t.Context(), "j", from, 200)
		bytes := allocated() - before
		if err != nil || len(w.Lines) != 200 {
			t.Fatalf("window at %d: %d lines, %v", from, len(w.Lines), err)
		}
		if bytes >= 1<<20 {
			t.Errorf("window at %d allocates %d bytes", from, bytes)
		}
		if from%perChunk == 0 {
			continue
		}
		first, err := s.Window(t.Context(), "j", from%perChunk, 1)
		if err != nil || first.Lines[0].HTML != w.Lines[0].HTML {
			t.Errorf("line %d is %q, want %q (%v)", from, w.Lines[0].HTML, first.Lines[0].HTML, err)
		}
	}
}

func cpu(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e6
}

// BenchmarkIngest replays compressed chunks; the bar is 4 ms of processor time per MB. The ratio is to decompressing the same bytes and
// writing them to a file, in the same run.
func BenchmarkIngest(b *testing.B) {
	text := tile(true)
	s := open(b, b.TempDir(), joblog.Options{MaxBytes: 1 << 40})
	defer closeStore(b, s)
	ingest(b, text, func(job string) { repeat(b, s, job, text, chunksOf10MB) })
}

// BenchmarkIngestShared is BenchmarkIngest where several servers keep logs; the processor time of PostgreSQL is not counted.
func BenchmarkIngestShared(b *testing.B) {
	text := tile(true)
	s := openServers(b, joblog.Options{MaxBytes: 1 << 40})
	ingest(b, text, func(job string) { repeat(b, s.a, job, text, chunksOf10MB) })
}

func ingest(b *testing.B, text string, take func(job string)) {
	gz := joblogtest.Compress(text)
	f, err := os.Create(filepath.Join(b.TempDir(), "plain"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.SetBytes(chunkSize * chunksOf10MB)
	b.ReportAllocs()
	var ours, plain float64
	jobs := 0
	for b.Loop() {
		jobs++
		before := cpu(b)
		take(fmt.Sprint(jobs))
		between := cpu(b)
		for range chunksOf10MB {
			if _, err := f.WriteAt(gunzip(b, gz), 0); err != nil {
				b.Fatal(err)
			}
		}
		ours, plain = ours+between-before, plain+cpu(b)-between
	}
	b.ReportMetric(ours/(float64(jobs)*chunkSize*chunksOf10MB/1e6), "cpu-ms/MB")
	b.ReportMetric(ours/plain, "x-plain")
}

// BenchmarkWindow reads 200 lines in the middle of 1 GB; the bar is 100 ms.
func BenchmarkWindow(b *testing.B) {
	s := open(b, b.TempDir(), joblog.Options{MaxBytes: 2 << 30})
	defer closeStore(b, s)
	p := repeat(b, s, "j", tile(false), 1<<30/chunkSize)
	if err := s.Finish(b.Context(), "j"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Window(b.Context(), "j", p.Lines/2+999, 200); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWindowShared reads 200 lines in the middle of 200 MB, from blobs, on a server that has not seen the log; the bar is 100 ms.
func BenchmarkWindowShared(b *testing.B) {
	s := openServers(b, joblog.Options{})
	p := repeat(b, s.a, "j", tile(false), 200<<20/chunkSize)
	if err := s.a.Finish(b.Context(), "j"); err != nil {
		b.Fatal(err)
	}
	for more := true; more; {
		var err error
		if more, err = s.a.Compact(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		fresh, err := joblog.Share(s.a)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := fresh.Window(b.Context(), "j", p.Lines/2+999, 200); err != nil {
			b.Fatal(err)
		}
		closeStore(b, fresh)
	}
}

// BenchmarkSearch looks for what is not there, in 100 MB. The ratio is to decompressing the same bytes and looking for the same in them,
// in the same run.
func BenchmarkSearch(b *testing.B) {
	s := open(b, b.TempDir(), joblog.Options{})
	defer closeStore(b, s)
	text := tile(true)
	repeat(b, s, "j", text, chunksOf100MB)
	gz := joblogtest.Compress(text)
	for _, asked := range []string{"not there", "Not There", "/not [a-z]here/"} {
		b.Run(asked, func(b *testing.B) {
			q, err := lines.ParseQuery(asked)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(chunkSize * chunksOf100MB)
			var ours, plain float64
			for b.Loop() {
				before := cpu(b)
				found, err := s.Search(b.Context(), "j", q, 0, 10, time.Minute)
				if err != nil || len(found.Lines) > 0 || found.Next >= 0 {
					b.Fatal(found, err)
				}
				between := cpu(b)
				for range chunksOf100MB {
					if bytes.Contains(gunzip(b, gz), []byte("not there")) {
						b.Fatal("it is there")
					}
				}
				ours, plain = ours+between-before, plain+cpu(b)-between
			}
			b.ReportMetric(ours/float64(b.N)/(chunkSize*chunksOf100MB/1e6), "cpu-ms/MB")
			b.ReportMetric(ours/plain, "x-plain")
		})
	}
}

func gunzip(b *testing.B, gz []byte) []byte {
	b.Helper()
	r, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		b.Fatal(err)
	}
	out := make([]byte, chunkSize)
	if _, err := io.ReadFull(r, out); err != nil {
		b.Fatal(err)
	}
	return out
}
