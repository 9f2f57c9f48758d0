package store

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// flusher makes durable what was committed to SQLite, while the next updates run. SQLite's log is one file for as long as a connection is
// open, and what lies in it counts up to the first commit that is not whole: a flush makes all commits before it durable. SQLite itself
// flushes the log before it copies from it into the database (https://www.sqlite.org/pragma.html#pragma_synchronous, NORMAL).
//
// A flush that failed is not tried again: the kernel may have dropped the pages, so that it would only seem to help. Nothing is written
// then until the server is started anew.
type flusher struct {
	log  *os.File
	sync func(*os.File) error
	ran  chan []*request // in the order of their commits, and with them those that changed nothing: they may have seen the commits before
	done sync.WaitGroup
	err  atomic.Pointer[error]
}

// maxUnflushed is how many commits may wait for a flush.
const maxUnflushed = 64

// startFlusher takes the path of a log that is there.
func startFlusher(path string) (*flusher, error) {
	log, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f := &flusher{log: log, sync: syncData, ran: make(chan []*request, maxUnflushed)}
	f.done.Go(f.run)
	return f, nil
}

func (f *flusher) run() {
	for group := range f.ran {
		group = f.gather(group)
		if slices.ContainsFunc(group, (*request).succeeded) {
			tell(group, f.flush())
		} else {
			tell(group, nil)
		}
	}
}

func (r *request) succeeded() bool { return r.err == nil && r.panics == nil }

// gather returns first and whatever else ran.
func (f *flusher) gather(first []*request) []*request {
	for {
		select {
		case next := <-f.ran: // nil once it is closed
			if next == nil {
				return first
			}
			first = append(first, next...)
		default:
			return first
		}
	}
}

func (f *flusher) flush() error {
	if err := f.failed(); err != nil {
		return err
	}
	err := f.sync(f.log)
	if err != nil {
		err = fmt.Errorf("flushing the database's log (nothing is written until the server is started again): %w", err)
		f.err.Store(&err)
	}
	return err
}

// failed returns why nothing is written any more, nil where that is not so.
func (f *flusher) failed() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

// close waits for the last flush. Nothing is committed any more.
func (f *flusher) close() error {
	close(f.ran)
	f.done.Wait()
	return f.log.Close()
}
