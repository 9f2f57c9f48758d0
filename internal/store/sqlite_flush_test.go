package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// flushedBy opens a store on SQLite whose log is flushed by a function.
func flushedBy(t *testing.T, flush func() error) *Store {
	t.Helper()
	s := reopen(t, Options{Path: filepath.Join(t.TempDir(), "slipway.db")})
	s.update.(*writer).flush.sync = func(*os.File) error { return flush() }
	return s
}

func TestUpdatesAreAnsweredAfterTheirFlush(t *testing.T) {
	t.Parallel()
	flushing, disk := make(chan struct{}), make(chan struct{})
	s := flushedBy(t, func() error {
		flushing <- struct{}{}
		<-disk
		return nil
	})
	answers := make(chan string, 2)
	add := func(id string) {
		if err := s.Update(t.Context(), insert(t.Context(), id)); err != nil {
			t.Error(err)
		}
		answers <- id
	}
	go add("first")
	<-flushing
	go add("second")
	for !has(t, s, "second") { // the disk keeps nobody from writing
	}
	select {
	case id := <-answers:
		t.Errorf("%s was answered before it was flushed", id)
	default:
	}
	disk <- struct{}{}
	if id := <-answers; id != "first" {
		t.Errorf("the flush of the first answered %s", id)
	}
	<-flushing
	disk <- struct{}{}
	if id := <-answers; id != "second" {
		t.Errorf("the flush of the second answered %s", id)
	}
}

func TestNothingIsWrittenAfterAFlushThatFailed(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is broken")
	flushes := 0
	s := flushedBy(t, func() error {
		flushes++
		return broken
	})
	for _, id := range []string{"first", "second"} {
		if err := s.Update(t.Context(), insert(t.Context(), id)); !errors.Is(err, broken) {
			t.Errorf("%s: err %v", id, err)
		}
	}
	if has(t, s, "second") || flushes != 1 {
		t.Errorf("written after %d flushes: %v", flushes, has(t, s, "second"))
	}
}

// TestARefusalWaitsForWhatItRestsOn: what was refused because of an earlier update would else be known before that is durable.
func TestARefusalWaitsForWhatItRestsOn(t *testing.T) {
	t.Parallel()
	disk := make(chan struct{})
	s := flushedBy(t, func() error {
		<-disk
		return nil
	})
	answers := make(chan string, 3)
	update := func(name string, fn func(*Tx) error) {
		go func() {
			_ = s.Update(t.Context(), fn) // only the order counts
			answers <- name
		}()
	}
	update("first", insert(t.Context(), "first"))
	for !has(t, s, "first") {
	}
	ran := make(chan struct{})
	update("refused", func(*Tx) error { close(ran); return errors.New("refused") })
	<-ran
	update("third", insert(t.Context(), "third"))
	for !has(t, s, "third") { // the writer has long been through with the second
	}
	early := len(answers)
	close(disk)
	for i := range 3 {
		if name := <-answers; i < early {
			t.Errorf("the update %q was answered before the first was flushed", name)
		}
	}
}

func TestWhatChangedNothingWaitsForNoFlush(t *testing.T) {
	t.Parallel()
	s := flushedBy(t, func() error { return errors.New("flushed") })
	refused := errors.New("refused")
	if err := s.Update(t.Context(), func(*Tx) error { return refused }); !errors.Is(err, refused) || err.Error() != refused.Error() {
		t.Errorf("err %v", err)
	}
}

func TestWhatMayBeDurableLaterWaitsForNoFlush(t *testing.T) {
	t.Parallel()
	flushes := 0
	s := flushedBy(t, func() error {
		flushes++
		return nil
	})
	if err := s.UpdateBuildSoon(t.Context(), "", insert(t.Context(), "soon")); err != nil || flushes != 0 || !has(t, s, "soon") {
		t.Errorf("err %v after %d flushes, there: %v", err, flushes, has(t, s, "soon"))
	}
	update(t, s, insert(t.Context(), "next"))
	if flushes != 1 {
		t.Errorf("%d flushes for the next update", flushes)
	}
}
