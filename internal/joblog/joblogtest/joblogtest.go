// Package joblogtest holds the promises of a log store, as one suite for every implementation.
package joblogtest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/joblog/lines"
)

// Log is what the suite needs of a store.
type Log interface {
	Append(ctx context.Context, jobID string, c joblog.Chunk) (joblog.Progress, error)
	Finish(ctx context.Context, jobID string) error
	Delete(ctx context.Context, jobID string) error
	Size(ctx context.Context, jobID string) (joblog.Size, error)
	Reader(ctx context.Context, jobID string, offset int64) (io.ReadCloser, error)
	Window(ctx context.Context, jobID string, from int64, count int) (joblog.Lines, error)
	Tail(ctx context.Context, jobID string, count int) (joblog.Lines, error)
	Outline(ctx context.Context, jobID string) (joblog.Outline, error)
	LineAt(ctx context.Context, jobID string, ms int64) (int64, error)
	Search(ctx context.Context, jobID string, q lines.Query, from int64, limit int, term time.Duration) (lines.Found, error)
	Watch(jobID string) (<-chan struct{}, func())
}

// Open returns an empty store with the options, closed by t.Cleanup.
type Open func(t *testing.T, o joblog.Options) Log

// Run tests the stores that open returns.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, Open){
		"chunks in order read back":                     inOrder,
		"any order and repetition give one log":         anyOrder,
		"text ends at the first missing byte":           missing,
		"finish fills gaps with a line":                 gaps,
		"malformed chunks are refused":                  malformed,
		"contradicting chunks are refused":              contradictions,
		"the size limit is said in the log":             limited,
		"a job may have a limit of its own":             ownLimit,
		"too many chunks are refused":                   tooMany,
		"a gap that does not fill is given up":          givenUp,
		"a finished log takes duplicates only":          finished,
		"a job without a chunk has no log":              noLog,
		"a deleted log is gone and can be begun again":  deleted,
		"watchers are woken":                            watched,
		"unusable job ids are refused":                  badIDs,
		"windows, tail, outline, time and search agree": outline,
		"readers and writers do not disturb each other": concurrent,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open)
		})
	}
}

// Compress returns the gzip of text as an agent sends it.
func Compress(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text) // a bytes.Buffer never fails
	_ = w.Close()
	return b.Bytes()
}

// Split cuts text into chunks of at most size bytes.
func Split(text string, size int) []joblog.Chunk {
	var chunks []joblog.Chunk
	for at := 0; at < len(text); at += size {
		part := text[at:min(at+size, len(text))]
		chunks = append(chunks, joblog.Chunk{
			Sequence: int64(len(chunks) + 1), Offset: int64(at), Size: int64(len(part)), Gzip: Compress(part),
		})
	}
	return chunks
}

// Read returns the text of a log from an offset.
func Read(t testing.TB, l Log, job string, offset int64) string {
	t.Helper()
	r, err := l.Reader(t.Context(), job, offset)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func appendAll(t testing.TB, l Log, job string, chunks ...joblog.Chunk) joblog.Progress {
	t.Helper()
	var p joblog.Progress
	for _, c := range chunks {
		var err error
		if p, err = l.Append(t.Context(), job, c); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func finish(t testing.TB, l Log, job string) {
	t.Helper()
	if err := l.Finish(t.Context(), job); err != nil {
		t.Fatal(err)
	}
}

func texts(t testing.TB, l Log, job string, from int64, count int) []string {
	t.Helper()
	w, err := l.Window(t.Context(), job, from, count)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for i, line := range w.Lines {
		if line.Number != from+int64(i) {
			t.Errorf("line %d has number %d", from+int64(i), line.Number)
		}
		got = append(got, line.Text)
	}
	return got
}

func inOrder(t *testing.T, open Open) {
	l := open(t, joblog.Options{})
	text := "one\r\ntwo\nthree"
	p := appendAll(t, l, "j", Split(text, 4)...)
	if want := (joblog.Progress{Size: int64(len(text)), Lines: 3}); p != want {
		t.Errorf("progress %+v, want %+v", p, want)
	}
	for _, done := range []bool{false, true} {
		if got := Read(t, l, "j", 0); got != text {
			t.Errorf("text %q", got)
		}
		if got := Read(t, l, "j", 6); got != text[6:] {
			t.Errorf("text from 6: %q", got)
		}
		if got := Read(t, l, "j", int64(len(text))); got != "" {
			t.Errorf("text from the end: %q", got)
		}
		if _, err := l.Reader(t.Context(), "j", int64(len(text))+1); err == nil {
			t.Error("reading from beyond the end is no error")
		}
		if diff := cmp.Diff([]string{"one", "two", "three"}, texts(t, l, "j", 0, 10)); diff != "" {
			t.Error(diff)
		}
		size, err := l.Size(t.Context(), "j")
		if err != nil || size.Finished != done || size.Text != int64(len(text)) || size.Lines != 3 {
			t.Errorf("size %+v, %v", size, err)
		}
		finish(t, l, "j")
	}
}

func sample(seed uint64, count int) string {
	r := rand.New(rand.NewPCG(seed, 1))
	var b strings.Builder
	for i := range count {
		fmt.Fprintf(&b, "\x1b_bk;t=%d\a", 1_700_000_000_000+i*10)
		switch r.IntN(12) {
		case 0:
			fmt.Fprintf(&b, "--- group %d\r\n", i)
		case 1:
			fmt.Fprintf(&b, "\x1b[31merror\x1b[0m: line %d\r\n", i)
		case 2:
			fmt.Fprintf(&b, "10%%\r50%%\r100%% of %d\r\n", i)
		case 3:
			fmt.Fprintf(&b, "old\nolder\n\x1b[2A\x1b[2Knew %d\n\x1b[2Knewer\n", i)
		case 4:
			fmt.Fprintf(&b, "\x1b[1;3%dmbold ünïcode 世界 %d\n", r.IntN(8), i)
		default:
			fmt.Fprintf(&b, "plain line %d %s\n", i, strings.Repeat("x", r.IntN(60)))
		}
	}
	return b.String()
}

func anyOrder(t *testing.T, open Open) {
	text := sample(7, 60)
	reference := open(t, joblog.Options{})
	appendAll(t, reference, "j", Split(text, 300)...)
	want, err := reference.Window(t.Context(), "j", 0, joblog.MaxWindow)
	if err != nil {
		t.Fatal(err)
	}
	job := 0
	l := open(t, joblog.Options{})
	rapid.Check(t, func(rt *rapid.T) {
		job++
		id := fmt.Sprintf("job-%d", job)
		chunks := Split(text, rapid.IntRange(200, 3000).Draw(rt, "size"))
		chunks = append(chunks, chunks[:rapid.IntRange(0, len(chunks)).Draw(rt, "twice")]...)
		chunks = rapid.Permutation(chunks).Draw(rt, "order")
		appendAll(t, l, id, chunks...)
		if rapid.Bool().Draw(rt, "finish") {
			finish(t, l, id)
		}
		if got := Read(t, l, id, 0); got != text {
			rt.Fatalf("text differs: %d bytes, want %d", len(got), len(text))
		}
		got, err := l.Window(t.Context(), id, 0, joblog.MaxWindow)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(want.Lines, got.Lines); diff != "" {
			rt.Fatal(diff)
		}
	})
}

func missing(t *testing.T, open Open) {
	l := open(t, joblog.Options{})
	c := Split("aaaa\nbbbb\ncccc\ndddd\n", 5)
	appendAll(t, l, "j", c[0], c[3], c[2])
	if got := Read(t, l, "j", 0); got != "aaaa\n" {
		t.Errorf("text %q before the second chunk", got)
	}
	if p := appendAll(t, l, "j", c[1]); p.Size != 20 || p.Lines != 4 {
		t.Errorf("progress %+v", p)
	}
	if got := Read(t, l, "j", 0); got != "aaaa\nbbbb\ncccc\ndddd\n" {
		t.Errorf("text %q", got)
	}
}

func gaps(t *testing.T, open Open) {
	l := open(t, joblog.Options{})
	c := Split("aaaa\nbbbb\ncccc\ndddd\neeee\n", 5)
	appendAll(t, l, "j", c[4], c[2])
	finish(t, l, "j")
	want := []string{"", "[slipway: 10 bytes of the log are missing here; they never arrived]", "cccc", "", "[slipway: 5 bytes of the log are missing here; they never arrived]", "eeee"}
	if diff := cmp.Diff(want, texts(t, l, "j", 0, 10)); diff != "" {
		t.Error(diff)
	}
	if _, err := l.Append(t.Context(), "j", c[1]); !errors.Is(err, joblog.ErrFinished) {
		t.Errorf("late chunk: %v", err)
	}
}

func malformed(t *testing.T, open Open) {
	l := open(t, joblog.Options{MaxChunk: 1000})
	good := Compress("0123456789")
	bomb := Compress(strings.Repeat("0", 50_000_000))
	for name, c := range map[string]joblog.Chunk{
		"sequence 0":       {Sequence: 0, Offset: 0, Size: 10, Gzip: good},
		"negative offset":  {Sequence: 1, Offset: -1, Size: 10, Gzip: good},
		"huge offset":      {Sequence: 1, Offset: 1 << 61, Size: 10, Gzip: good},
		"no size":          {Sequence: 1, Offset: 0, Size: 0, Gzip: Compress("")},
		"size over limit":  {Sequence: 1, Offset: 0, Size: 1001, Gzip: Compress(strings.Repeat("0", 1001))},
		"size too small":   {Sequence: 1, Offset: 0, Size: 9, Gzip: good},
		"size too large":   {Sequence: 1, Offset: 0, Size: 11, Gzip: good},
		"not gzip":         {Sequence: 1, Offset: 0, Size: 10, Gzip: []byte("0123456789")},
		"nothing":          {Sequence: 1, Offset: 0, Size: 10, Gzip: nil},
		"cut short":        {Sequence: 1, Offset: 0, Size: 10, Gzip: good[:len(good)-1]},
		"wrong checksum":   {Sequence: 1, Offset: 0, Size: 10, Gzip: append(bytes.Clone(good[:len(good)-8]), 1, 2, 3, 4, 10, 0, 0, 0)},
		"trailing garbage": {Sequence: 1, Offset: 0, Size: 10, Gzip: append(bytes.Clone(good), "garbage"...)},
		"bomb":             {Sequence: 1, Offset: 0, Size: 1000, Gzip: bomb},
		"much gzip":        {Sequence: 1, Offset: 0, Size: 10, Gzip: make([]byte, 1<<20)},
	} {
		_, err := l.Append(t.Context(), "j", c)
		if _, ok := errors.AsType[*joblog.ChunkError](err); !ok {
			t.Errorf("%s: %v, want a *ChunkError", name, err)
		}
	}
	if _, err := l.Size(t.Context(), "j"); !errors.Is(err, joblog.ErrNotFound) {
		t.Errorf("refused chunks left a log: %v", err)
	}
}

func contradictions(t *testing.T, open Open) {
	l := open(t, joblog.Options{})
	chunk := func(sequence, offset int64, text string) joblog.Chunk {
		return joblog.Chunk{Sequence: sequence, Offset: offset, Size: int64(len(text)), Gzip: Compress(text)}
	}
	appendAll(t, l, "j", chunk(2, 10, "0123456789"), chunk(5, 40, "0123456789"))
	for name, c := range map[string]joblog.Chunk{
		"same offset, other size":      chunk(2, 10, "01234"),
		"same extent, other sequence":  chunk(3, 10, "0123456789"),
		"overlaps from before":         chunk(1, 5, "012345"),
		"overlaps the end":             chunk(3, 19, "01"),
		"within":                       chunk(3, 12, "01"),
		"covers":                       chunk(3, 5, strings.Repeat("0", 50)),
		"sequence too low for offset":  chunk(1, 20, "0123456789"),
		"sequence too high for offset": chunk(7, 20, "0123456789"),
	} {
		_, err := l.Append(t.Context(), "j", c)
		if _, ok := errors.AsType[*joblog.ConflictError](err); !ok {
			t.Errorf("%s: %v, want a *ConflictError", name, err)
		}
	}
	if p := appendAll(t, l, "j", chunk(2, 10, "0123456789")); !p.Duplicate {
		t.Errorf("repetition: %+v", p)
	}
	if p := appendAll(t, l, "j", chunk(1, 0, "abcdefghij")); p.Duplicate || p.Size != 20 {
		t.Errorf("fitting chunk: %+v", p)
	}
}

func limited(t *testing.T, open Open) {
	l := open(t, joblog.Options{MaxBytes: 12})
	c := Split("aaaa\nbbbb\ncccc\ndddd\n", 5)
	appendAll(t, l, "j", c[1])
	for _, over := range []joblog.Chunk{c[3], c[2]} {
		_, err := l.Append(t.Context(), "j", over)
		if _, ok := errors.AsType[*joblog.LimitError](err); !ok {
			t.Errorf("chunk over the limit: %v", err)
		}
	}
	appendAll(t, l, "j", c[0])
	want := []string{"aaaa", "bbbb", "", "[slipway: the log has reached its limit of 12 bytes; what follows was not kept]"}
	for range 2 {
		if diff := cmp.Diff(want, texts(t, l, "j", 0, 10)); diff != "" {
			t.Error(diff)
		}
		finish(t, l, "j")
	}
}

func ownLimit(t *testing.T, open Open) {
	l := open(t, joblog.Options{MaxBytes: 1000})
	c := Split("aaaa\nbbbb\ncccc\n", 5)
	for i := range c {
		c[i].Most = 10
	}
	appendAll(t, l, "j", c[0], c[1])
	_, err := l.Append(t.Context(), "j", c[2])
	if over, ok := errors.AsType[*joblog.LimitError](err); !ok || over.Limit != 10 {
		t.Errorf("chunk over the job's limit: %v", err)
	}
	want := []string{"aaaa", "bbbb", "", "[slipway: the log has reached its limit of 10 bytes; what follows was not kept]"}
	if diff := cmp.Diff(want, texts(t, l, "j", 0, 10)); diff != "" {
		t.Error(diff)
	}
}

func tooMany(t *testing.T, open Open) {
	l := open(t, joblog.Options{MaxChunks: 3})
	c := Split("aaaabbbbccccdddd", 4)
	appendAll(t, l, "j", c[0], c[2], c[1])
	for range 2 {
		_, err := l.Append(t.Context(), "j", c[3])
		if over, ok := errors.AsType[*joblog.LimitError](err); !ok || !over.Chunks {
			t.Errorf("fourth chunk: %v", err)
		}
	}
	if p := appendAll(t, l, "j", c[1]); !p.Duplicate {
		t.Errorf("repetition of the second: %+v", p)
	}
	finish(t, l, "j")
	want := []string{"aaaabbbbcccc", "[slipway: the log has reached its limit of 3 pieces; what follows was not kept]"}
	if diff := cmp.Diff(want, texts(t, l, "j", 0, 10)); diff != "" {
		t.Error(diff)
	}
}

func givenUp(t *testing.T, open Open) {
	l := open(t, joblog.Options{GapAfter: 1})
	c := Split("aaaa\nbbbb\ncccc\ndddd\n", 5)
	appendAll(t, l, "j", c[0], c[2], c[3])
	want := []string{"aaaa", "", "[slipway: 5 bytes of the log are missing here; they never arrived]", "cccc", "dddd"}
	for range 2 {
		if diff := cmp.Diff(want, texts(t, l, "j", 0, 10)); diff != "" {
			t.Error(diff)
		}
		_, err := l.Append(t.Context(), "j", c[1])
		if _, ok := errors.AsType[*joblog.ChunkError](err); !ok && !errors.Is(err, joblog.ErrFinished) {
			t.Errorf("late chunk: %v", err)
		}
		if p := appendAll(t, l, "j", c[2]); !p.Duplicate {
			t.Errorf("repetition: %+v", p)
		}
		finish(t, l, "j")
	}
}

func finished(t *testing.T, open Open) {
	l := open(t, joblog.Options{})
	c := Split("aaaa\nbbbb\n", 5)
	appendAll(t, l, "j", c[0])
	finish(t, l, "j")
	finish(t, l, "j")
	if p := appendAll(t, l, "j", c[0]); !p.Duplicate || p.Size != 5 {
		t.Errorf("repetition: %+v", p)
	}
	if _, err := l.Append(t.Context(), "j", c[1]); !errors.Is(err, joblog.ErrFinished) {
		t.Errorf("new chunk: %v", err)
	}
	finish(t, l, "silent")
	if size, err := l.Size(t.Context(), "silent"); err != nil || size != (joblog.Size{Finished: true}) {
		t.Errorf("log of a silent job: %+v, %v", size, err)
	}
	if got := texts(t, l, "silent", 0, 10); len(got) != 0 {
		t.Errorf("lines of a silent job: %q", got)
	}
}

func noLog(t *testing.T, open Open) {
	l := open(t, joblog.Options{})
	_, sizeErr := l.Size(t.Context(), "j")
	_, readErr := l.Reader(t.Context(), "j", 0)
	_, windowErr := l.Window(t.Context(), "j", 0, 1)
	_, outlineErr := l.Outline(t.Context(), "j")
	for _, err := range []error{sizeErr, readErr, windowErr, outlineErr} {
		if !errors.Is(err, joblog.ErrNotFound) {
			t.Errorf("%v, want ErrNotFound", err)
		}
	}
	if err := l.Delete(t.Context(), "j"); err != nil {
		t.Errorf("deleting nothing: %v", err)
	}
}

func deleted(t *testing.T, open Open) {
	l := open(t, joblog.Options{})
	appendAll(t, l, "j", Split("first", 5)...)
	r, err := l.Reader(t.Context(), "j", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Delete(t.Context(), "j"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Size(t.Context(), "j"); !errors.Is(err, joblog.ErrNotFound) {
		t.Errorf("size after delete: %v", err)
	}
	appendAll(t, l, "j", Split("second", 6)...)
	if got := Read(t, l, "j", 0); got != "second" {
		t.Errorf("new log holds %q", got)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || string(got) != "first" {
		t.Errorf("open reader: %q, %v", got, err)
	}
}

func watched(t *testing.T, open Open) {
	l := open(t, joblog.Options{})
	wake, cancel := l.Watch("j")
	c := Split("aaaabbbbcccc", 4)
	appendAll(t, l, "j", c[0], c[1])
	<-wake
	select {
	case <-wake:
		t.Error("two chunks woke twice without a reader between")
	default:
	}
	finish(t, l, "j")
	<-wake
	cancel()
	finish(t, l, "other")
	select {
	case <-wake:
		t.Error("woken after cancel")
	default:
	}
}

func badIDs(t *testing.T, open Open) {
	l := open(t, joblog.Options{})
	for _, id := range []string{"", ".", "..", "../x", "a/b", "a.b", "a b", "ä", strings.Repeat("j", 65)} {
		_, err := l.Append(t.Context(), id, Split("x", 1)[0])
		if !errors.Is(err, joblog.ErrJobID) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func outline(t *testing.T, open Open) {
	l := open(t, joblog.Options{})
	var b strings.Builder
	for i, line := range []string{
		"~~~ Preparing", "checkout", "--- :hammer: Build", "compiling", "\x1b[31merror\x1b[0m: no", "--- Test", "ok", "^^^ +++", "--- ", "Needle here", "needle",
	} {
		fmt.Fprintf(&b, "\x1b_bk;t=%d\a%s\r\r\n", 1000+i*10, line)
	}
	appendAll(t, l, "j", Split(b.String(), 37)...)
	for range 2 {
		o, err := l.Outline(t.Context(), "j")
		want := joblog.Outline{Groups: []lines.Group{
			{Line: 0, Name: "Preparing", Kind: lines.Muted, Time: 1000},
			{Line: 2, Name: ":hammer: Build", Kind: lines.Collapsed, Time: 1020, Errors: 1},
			{Line: 5, Name: "Test", Kind: lines.Collapsed, Open: true, Time: 1050},
		}, Errors: []int64{4}}
		if diff := cmp.Diff(want, o); err != nil || diff != "" {
			t.Errorf("outline: %v\n%s", err, diff)
		}
		tail, err := l.Tail(t.Context(), "j", 3)
		if err != nil || len(tail.Lines) != 3 || tail.Lines[0].Text != "--- " || tail.Lines[2].Number != 9 {
			t.Errorf("tail %+v, %v", tail, err)
		}
		for ms, want := range map[int64]int64{0: 0, 1000: 0, 1001: 1, 1050: 5, 1101: 10} {
			if got, err := l.LineAt(t.Context(), "j", ms); err != nil || got != want {
				t.Errorf("line at %d: %d, %v, want %d", ms, got, err, want)
			}
		}
		search(t, l, "needle", 0, 10, 8, 9)
		search(t, l, "Needle", 0, 10, 8)
		search(t, l, "needle", 9, 10, 9)
		search(t, l, "needle", 0, 1, 8)
		search(t, l, "^^^ +++", 0, 10)
		search(t, l, "error: no", 0, 10, 4)
		search(t, l, "bk;t", 0, 10)
		search(t, l, "/^n.*e$/", 0, 10, 8, 9)
		search(t, l, `/\S+ting$/`, 0, 10)
		search(t, l, "/NO|Needle/", 0, 10, 8)
		finish(t, l, "j")
	}
}

func search(t *testing.T, l Log, query string, from int64, limit int, want ...int64) {
	t.Helper()
	q, err := lines.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	found, err := l.Search(t.Context(), "j", q, from, limit, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, found.Lines, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("search for %q from %d: %s", query, from, diff)
	}
}

func concurrent(t *testing.T, open Open) {
	l := open(t, joblog.Options{MaxOpen: 3})
	text := sample(3, 300)
	var wg sync.WaitGroup
	for job := range 6 {
		id := fmt.Sprintf("j%d", job)
		chunks := Split(text, 500)
		half := len(chunks) / 2
		for _, part := range [][]joblog.Chunk{chunks[:half], chunks[half:]} {
			wg.Go(func() {
				for _, c := range part {
					if _, err := l.Append(t.Context(), id, c); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Go(func() { readAlong(t, l, id, text) })
	}
	wg.Wait()
	for job := range 6 {
		id := fmt.Sprintf("j%d", job)
		finish(t, l, id)
		if got := Read(t, l, id, 0); got != text {
			t.Errorf("%s: %d bytes, want %d", id, len(got), len(text))
		}
	}
}

func readAlong(t *testing.T, l Log, id, text string) {
	wake, cancel := l.Watch(id)
	defer cancel()
	for {
		size, err := l.Size(t.Context(), id)
		if err == nil {
			if got := Read(t, l, id, 0); !strings.HasPrefix(text, got) {
				t.Errorf("%s: not a prefix of the log", id)
			}
			if _, err := l.Tail(t.Context(), id, 20); err != nil {
				t.Error(err)
			}
			if size.Text == int64(len(text)) {
				return
			}
		} else if !errors.Is(err, joblog.ErrNotFound) {
			t.Error(err)
			return
		}
		<-wake
	}
}
