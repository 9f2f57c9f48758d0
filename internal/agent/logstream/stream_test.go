package logstream

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// received reassembles a log from chunks that arrive in any order.
type received struct {
	mu     sync.Mutex
	bytes  []byte
	seen   map[int]bool
	last   time.Time
	refuse func(Chunk) error
}

func (r *received) upload(_ context.Context, c Chunk) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		if err := r.refuse(c); err != nil {
			return err
		}
	}
	z, err := gzip.NewReader(bytes.NewReader(c.Gzip))
	if err != nil {
		return err
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		return err
	}
	if len(plain) != c.Size || r.seen[c.Sequence] {
		return fmt.Errorf("chunk %d: %d bytes, said %d, seen %t", c.Sequence, len(plain), c.Size, r.seen[c.Sequence])
	}
	if r.seen == nil {
		r.seen = map[int]bool{}
	}
	r.seen[c.Sequence] = true
	if end := int(c.Offset) + c.Size; end > len(r.bytes) {
		r.bytes = append(r.bytes, make([]byte, end-len(r.bytes))...)
	}
	copy(r.bytes[c.Offset:], plain)
	r.last = time.Now()
	return nil
}

func TestChunksReassembleToWhatWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var want []byte
		r := &received{}
		s, err := New(t.Context(), Config{MaxSize: rapid.IntRange(1, 50).Draw(rt, "max"), Upload: r.upload})
		if err != nil {
			rt.Fatal(err)
		}
		for _, p := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 80), 0, 12).Draw(rt, "writes") {
			want = append(want, p...)
			if _, err := s.Write(p); err != nil {
				rt.Fatal(err)
			}
		}
		if failed := s.Close(); failed != 0 {
			rt.Fatalf("%d chunks failed", failed)
		}
		if !bytes.Equal(r.bytes, want) {
			rt.Fatalf("got %q, want %q", r.bytes, want)
		}
		for seq := 1; seq <= len(r.seen); seq++ {
			if !r.seen[seq] {
				rt.Fatalf("sequence %d is missing", seq)
			}
		}
	})
}

func TestFirstBytesLeaveAtOnceAndLaterOnesGather(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &received{}
		s, err := New(t.Context(), Config{MaxSize: 1000, Interval: time.Second, Upload: r.upload})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		write(t, s, "first")
		synctest.Wait()
		if string(r.bytes) != "first" || !r.last.Equal(begin) {
			t.Fatalf("%q arrived after %s", r.bytes, r.last.Sub(begin))
		}
		for range 600 {
			time.Sleep(10 * time.Millisecond)
			write(t, s, ".")
		}
		s.Close()
		if n := len(r.seen); n < 6 || n > 14 {
			t.Errorf("6 s of output took %d chunks", n)
		}
	})
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func TestOutputWaitsForAServerThatIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(5 * time.Minute)
		r := &received{refuse: func(Chunk) error {
			if time.Now().Before(back) {
				return errors.New("connection refused")
			}
			return nil
		}}
		s, err := New(t.Context(), Config{MaxSize: 100, Upload: r.upload})
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Repeat("0123456789", 1000)
		for rest := text; rest != ""; rest = rest[10:] {
			write(t, s, rest[:10])
		}
		if time.Now().Before(back) {
			t.Error("10,000 bytes were taken while the server was away: memory is not bounded")
		}
		if failed := s.Close(); failed != 0 || string(r.bytes) != text {
			t.Errorf("%d chunks failed, %d bytes arrived", failed, len(r.bytes))
		}
	})
}

func TestRefusedChunksAreCountedAndNotRepeated(t *testing.T) {
	t.Parallel()
	calls := 0
	r := &received{refuse: func(c Chunk) error {
		calls++
		return fmt.Errorf("chunk %d: %w", c.Sequence, ErrRefused)
	}}
	s, err := New(t.Context(), Config{MaxSize: 4, Upload: r.upload})
	if err != nil {
		t.Fatal(err)
	}
	write(t, s, "12345678")
	if failed := s.Close(); failed != calls || failed < 2 {
		t.Errorf("%d chunks failed in %d calls", failed, calls)
	}
}

func TestTheContextEndsAStreamThatCannotSend(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := New(ctx, Config{MaxSize: 1, Upload: func(context.Context, Chunk) error {
		cancel()
		return errors.New("unreachable")
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(make([]byte, 100)); !errors.Is(err, context.Canceled) {
		t.Errorf("write ended with %v", err)
	}
	if failed := s.Close(); failed == 0 {
		t.Error("no chunk was counted as failed")
	}
}

func TestEveryLineIsStamped(t *testing.T) {
	t.Parallel()
	const stamp = "\x1b_bk;t=1700000000000\a"
	for _, tc := range []struct {
		name   string
		writes []string
		want   string
	}{
		{"lines", []string{"a\nb\n"}, stamp + "a\n" + stamp + "b\n"},
		{"a line in pieces", []string{"a", "b\nc"}, stamp + "ab\n" + stamp + "c"},
		{"colour", []string{"\x1b[31mred\x1b[0m\n"}, stamp + "\x1b[31mred\x1b[0m\n"},
		{"erase in line", []string{"1%\x1b[K2%"}, stamp + "1%\x1b[K" + stamp + "2%"},
		{"split sequence", []string{"x\n", "\x1b", "[2", "Ky"}, stamp + "x\n" + stamp + "\x1b[2K" + stamp + "y"},
		{"link", []string{"\x1b]8;;u\nv\x1b\\t\n"}, stamp + "\x1b]8;;u\nv\x1b\\t\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			ts := NewTimestamper(&out, func() time.Time { return time.UnixMilli(1700000000000) })
			for _, p := range tc.writes {
				write(t, ts, p)
			}
			if diff := cmp.Diff(tc.want, out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzTimestamper(f *testing.F) {
	f.Add("a\n\x1b[K", "b\x1b]0;t\a")
	f.Fuzz(func(t *testing.T, a, b string) {
		stamp := []byte("\x1b_bk;t=1\a")
		var out bytes.Buffer
		ts := NewTimestamper(&out, func() time.Time { return time.UnixMilli(1) })
		write(t, ts, a)
		write(t, ts, b)
		got := bytes.ReplaceAll(out.Bytes(), stamp, nil)
		if want := bytes.ReplaceAll([]byte(a+b), stamp, nil); !bytes.Equal(got, want) {
			t.Errorf("without stamps %q, want %q", got, want)
		}
	})
}

func BenchmarkStream(b *testing.B) {
	line := []byte(strings.Repeat("[ 42%] Building CXX object src/foo.cpp.o\r\n", 100))
	s, err := New(b.Context(), Config{MaxSize: 102400, Upload: func(context.Context, Chunk) error { return nil }})
	if err != nil {
		b.Fatal(err)
	}
	ts := NewTimestamper(s, time.Now)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, err := ts.Write(line); err != nil {
			b.Fatal(err)
		}
	}
	s.Close()
}
