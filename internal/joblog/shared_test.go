package joblog_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	blobfs "github.com/slipway-ci/slipway/internal/blob/fs"
	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/joblog/joblogtest"
	"github.com/slipway-ci/slipway/internal/joblog/lines"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
)

// servers are two stores on one database and one place for blobs.
type servers struct {
	a, b  *joblog.Store
	blobs *blobfs.Store
	calls atomic.Int64
}

func openServers(t testing.TB, o joblog.Options) *servers {
	t.Helper()
	db, err := store.Open(t.Context(), storetest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blobfs.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o.Hub = &live.Hub{}
	s := &servers{blobs: blobs}
	for _, to := range []**joblog.Store{&s.a, &s.b} {
		if *to, err = joblog.OpenShared(db, blobs, o, discard()); err != nil {
			t.Fatal(err)
		}
		(*to).MoveSmall()
	}
	t.Cleanup(func() {
		if err := errors.Join(s.a.Close(), s.b.Close(), blobs.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// next is the server whose turn it is. Now and then one moves rows to blobs.
func (s *servers) next() *joblog.Store {
	n := s.calls.Add(1)
	if n%29 == 0 {
		if _, err := s.a.Compact(context.Background()); err != nil {
			panic(err) // it reaches the test, which has no part in this call
		}
	}
	if n%2 == 0 {
		return s.a
	}
	return s.b
}

func (s *servers) Append(ctx context.Context, id string, c joblog.Chunk) (joblog.Progress, error) {
	return s.next().Append(ctx, id, c)
}
func (s *servers) Finish(ctx context.Context, id string) error { return s.next().Finish(ctx, id) }
func (s *servers) Delete(ctx context.Context, id string) error { return s.next().Delete(ctx, id) }
func (s *servers) Size(ctx context.Context, id string) (joblog.Size, error) {
	return s.next().Size(ctx, id)
}

func (s *servers) Reader(ctx context.Context, id string, offset int64) (io.ReadCloser, error) {
	return s.next().Reader(ctx, id, offset)
}

func (s *servers) Window(ctx context.Context, id string, from int64, count int) (joblog.Lines, error) {
	return s.next().Window(ctx, id, from, count)
}

func (s *servers) Tail(ctx context.Context, id string, count int) (joblog.Lines, error) {
	return s.next().Tail(ctx, id, count)
}

func (s *servers) Outline(ctx context.Context, id string) (joblog.Outline, error) {
	return s.next().Outline(ctx, id)
}

func (s *servers) LineAt(ctx context.Context, id string, ms int64) (int64, error) {
	return s.next().LineAt(ctx, id, ms)
}

func (s *servers) Search(ctx context.Context, id string, q lines.Query, from int64, limit int, term time.Duration) (lines.Found, error) {
	return s.next().Search(ctx, id, q, from, limit, term)
}

func (s *servers) Watch(id string) (<-chan struct{}, func()) { return s.a.Watch(id) }

// TestServersKeepTheStorePromises gives each call to another of two servers.
func TestServersKeepTheStorePromises(t *testing.T) {
	t.Parallel()
	joblogtest.Run(t, func(t *testing.T, o joblog.Options) joblogtest.Log {
		s := openServers(t, o)
		s.a.KeepRows(1000, 4000)
		return s
	})
}

// TestALogInBlobsReadsTheSame moves all rows of a long log while it grows and after it ended, and lets a server read it that has not
// seen it yet.
func TestALogInBlobsReadsTheSame(t *testing.T) {
	t.Parallel()
	s := openServers(t, joblog.Options{})
	s.a.KeepRows(20_000, 50_000)
	window, outline := story(t, s.a, 12_000, false)
	compact(t, s.a)
	w, o := rendered(t, s.b)
	if diff := cmp.Diff(window, w) + cmp.Diff(outline, o); diff != "" {
		t.Errorf("while it grows: %s", diff)
	}
	if err := s.b.Finish(t.Context(), "j"); err != nil {
		t.Fatal(err)
	}
	compact(t, s.b)
	window, outline = rendered(t, s.b)
	again := openAgain(t, s)
	w, o = rendered(t, again)
	if diff := cmp.Diff(window, w) + cmp.Diff(outline, o); diff != "" {
		t.Errorf("after its end: %s", diff)
	}
	if n := count(t, s.blobs); n < 3 {
		t.Errorf("%d blobs, want several parts and an index", n)
	}
	if err := again.Delete(t.Context(), "j"); err != nil {
		t.Fatal(err)
	}
	compact(t, s.a)
	if n := count(t, s.blobs); n != 0 {
		t.Errorf("%d blobs are left of a deleted log", n)
	}
	if _, err := s.a.Size(t.Context(), "j"); !errors.Is(err, joblog.ErrNotFound) {
		t.Errorf("deleted elsewhere: %v", err)
	}
}

func openAgain(t *testing.T, s *servers) *joblog.Store {
	t.Helper()
	again, err := joblog.Share(s.a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, again) })
	return again
}

func compact(t *testing.T, s *joblog.Store) {
	t.Helper()
	for more := true; more; {
		var err error
		if more, err = s.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func count(t *testing.T, blobs *blobfs.Store) int {
	t.Helper()
	n := 0
	for _, err := range blobs.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// moving are blobs of which each that is read lets another one be made first.
type moving struct {
	*blobfs.Store
	move func()
}

func (m moving) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	m.move()
	return m.Store.Get(ctx, key, offset, length)
}

// TestReadingKeepsUpWithMovedRecords: however often records move to blobs between two questions, a reader finds them.
func TestReadingKeepsUpWithMovedRecords(t *testing.T) {
	t.Parallel()
	s := openServers(t, joblog.Options{})
	s.a.KeepRows(0, 1500)
	var random strings.Builder
	for range 2000 {
		random.WriteString(rand.Text() + "\n")
	}
	for _, c := range joblogtest.Split(random.String(), 1000) {
		if _, err := s.a.Append(t.Context(), "j", c); err != nil {
			t.Fatal(err)
		}
	}
	moved := 0
	move := func() {
		more, err := s.a.Compact(t.Context())
		if err != nil {
			t.Error(err)
		}
		if more {
			moved++
		}
	}
	move()
	reader, err := joblog.ShareOver(s.a, moving{s.blobs, move})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, reader) })
	if got := joblogtest.Read(t, reader, "j", 0); got != random.String() {
		t.Errorf("read %d bytes of %d", len(got), random.Len())
	}
	if moved < 20 {
		t.Errorf("records moved %d times only", moved)
	}
}

// TestSmallLogsStayInTheDatabase: a blob for each would cost more than all else that becomes of them.
func TestSmallLogsStayInTheDatabase(t *testing.T) {
	t.Parallel()
	s := openServers(t, joblog.Options{})
	server := openAgain(t, s)
	var random strings.Builder // so that compressing it gains little
	for range 3000 {
		random.WriteString(rand.Text() + "\n")
	}
	for id, text := range map[string]string{"small": "one line\n", "large": random.String()} {
		for _, c := range joblogtest.Split(text, 10_000) {
			if _, err := server.Append(t.Context(), id, c); err != nil {
				t.Fatal(err)
			}
		}
		if err := server.Finish(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if compact(t, server); count(t, s.blobs) != 1 {
		t.Errorf("%d blobs, want that of the large log alone", count(t, s.blobs))
	}
	if got := joblogtest.Read(t, openAgain(t, s), "small", 0); got != "one line\n" {
		t.Errorf("another server reads %q", got)
	}
	if err := server.Delete(t.Context(), "small"); err != nil {
		t.Fatal(err)
	}
	compact(t, server)
	if _, err := openAgain(t, s).Size(t.Context(), "small"); !errors.Is(err, joblog.ErrNotFound) {
		t.Errorf("of the deleted log is left: %v", err)
	}
}

// TestServersWriteOneLog has both take chunks, end it and move it to blobs at the same time.
func TestServersWriteOneLog(t *testing.T) {
	t.Parallel()
	s := openServers(t, joblog.Options{})
	s.a.KeepRows(100, 500)
	s.b.KeepRows(100, 700)
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	text := b.String()
	chunks := joblogtest.Split(text, 400)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for k := i % 3; k < len(chunks); k += 3 { // the fourth repeats what the first sends
				for _, to := range []*joblog.Store{s.a, s.b}[i%2 : i%2+1] {
					if _, err := to.Append(t.Context(), "j", chunks[k]); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for _, by := range []*joblog.Store{s.a, s.b} {
		wg.Go(func() {
			for range 50 {
				if _, err := by.Compact(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, by := range []*joblog.Store{s.a, s.b} {
		wg.Go(func() {
			if err := by.Finish(t.Context(), "j"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for name, by := range map[string]*joblog.Store{"a": s.a, "b": s.b, "another": openAgain(t, s)} {
		if got := joblogtest.Read(t, by, "j", 0); got != text {
			t.Errorf("%s reads %d bytes, want %d", name, len(got), len(text))
		}
	}
}
