package joblog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/internal/live"
)

// Store keeps the logs of one server. Its methods may be called from several goroutines.
type Store struct {
	keeper  keeper
	shared  *shared // the keeper, where several servers write the same logs
	options Options
	log     *slog.Logger

	inflaters inflaters
	buffers   buffers
	hub       *live.Hub
	searching chan struct{} // holds as many as search at a time
	taking    chan struct{} // holds as many chunks as have their text in memory

	mu     sync.Mutex
	logs   map[string]*jobLog
	calls  uint64
	closed bool

	dirtyMu sync.Mutex
	dirty   []*jobLog // each holds a reference
	wake    chan struct{}
	stop    chan struct{}
	syncing sync.WaitGroup
}

// Open takes ownership of dir, which is created if missing. The log tells what went wrong in the background and cost nothing: an
// index that could not be stored and will be made again. The caller closes the store.
func Open(dir string, options Options, log *slog.Logger) (*Store, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("log directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("log directory: %w", err)
	}
	return start(files{root}, options, log), nil
}

func start(k keeper, options Options, log *slog.Logger) *Store {
	s := &Store{
		keeper: k, hub: options.Hub, options: options, log: log, logs: map[string]*jobLog{},
		wake: make(chan struct{}, 1), stop: make(chan struct{}), searching: make(chan struct{}, max(2, runtime.GOMAXPROCS(0)/2)),
		taking: make(chan struct{}, maxTaken),
	}
	s.syncing.Go(s.syncLoop)
	return s
}

// Close syncs and closes all logs. No other call may be under way or follow; readers that are still open fail.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.closed = true
	s.mu.Unlock()
	close(s.stop)
	s.syncing.Wait()
	errs := []error{s.syncDirty()}
	for _, l := range s.logs {
		l.mu.Lock()
		errs = append(errs, l.sync(), s.shut(l))
		l.mu.Unlock()
	}
	return errors.Join(append(errs, s.keeper.close())...)
}

// shut stores the index and closes the files of a log that has been synced.
func (s *Store) shut(l *jobLog) error {
	if l.sealed == nil && l.stored != l.end && !l.deleted && s.shared == nil {
		if err := l.storeIndex(false); err != nil {
			s.log.Warn("log index not stored; it will be made again", "job", l.id, "err", err)
		}
	}
	return l.closeFiles()
}

// syncLoop syncs what was written, in groups.
func (s *Store) syncLoop() {
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
		}
		timer := time.NewTimer(s.options.SyncEvery)
		select {
		case <-s.stop:
			timer.Stop()
			return
		case <-timer.C:
		}
		_ = s.syncDirty() // each log keeps its error and returns it to its next writer
	}
}

func (s *Store) syncDirty() error {
	s.dirtyMu.Lock()
	logs := s.dirty
	s.dirty = nil
	s.dirtyMu.Unlock()
	if len(logs) > 1 {
		for _, l := range logs {
			l.file.startSync()
		}
	}
	var errs []error
	for _, l := range logs {
		errs = append(errs, l.syncUnlocked())
		s.release(l)
	}
	return errors.Join(errs...)
}

// syncUnlocked lets chunks be appended while the disk works.
func (l *jobLog) syncUnlocked() error {
	l.mu.Lock()
	dirty := l.dirty
	l.dirty, l.queued = false, false
	l.mu.Unlock()
	if !dirty {
		return nil
	}
	err := l.file.sync()
	if err == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail(err)
	return l.broken
}

// queue has l synced soon. The caller holds l.mu and a reference.
func (s *Store) queue(l *jobLog) {
	if !l.dirty || l.queued {
		return
	}
	l.queued = true
	s.mu.Lock()
	l.refs++
	s.mu.Unlock()
	s.dirtyMu.Lock()
	s.dirty = append(s.dirty, l)
	s.dirtyMu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// acquire returns the log of a job, loaded, and holds it open until release.
func (s *Store) acquire(ctx context.Context, id string, how opening) (*jobLog, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !validID(id) {
		return nil, ErrJobID
	}
	for {
		l, first, err := s.entry(id)
		if err != nil {
			return nil, err
		}
		if first {
			l.failed = l.load(how)
			close(l.ready)
		}
		<-l.ready
		if l.failed == nil {
			return l, nil
		}
		s.forget(l)
		if first || how == exists || !errors.Is(l.failed, ErrNotFound) {
			return nil, l.failed
		}
		// Another caller looked for the log without creating it.
	}
}

func validID(id string) bool {
	if len(id) == 0 || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

func (s *Store) entry(id string) (l *jobLog, first bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, ErrClosed
	}
	l, ok := s.logs[id]
	if !ok {
		s.evict()
		l = newJobLog(s, id)
		s.logs[id] = l
	}
	s.calls++
	l.used = s.calls
	l.refs++
	return l, !ok, nil
}

func (s *Store) isOpen(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.logs[id]
	return ok
}

// forget drops an entry whose loading failed.
func (s *Store) forget(l *jobLog) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.refs--
	if s.logs[l.id] == l {
		delete(s.logs, l.id)
	}
}

func (s *Store) release(l *jobLog) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.refs--
	if l.refs == 0 && l.deleted {
		s.report(l, l.closeFiles())
	}
}

// evict closes the idle logs that were not asked for the longest, down to three quarters of the limit so that it is not needed for each
// call. A log without references has been synced, so this writes no more than its index.
func (s *Store) evict() {
	if len(s.logs) < s.options.MaxOpen {
		return
	}
	var idle []*jobLog
	for _, l := range s.logs {
		if l.refs == 0 {
			idle = append(idle, l)
		}
	}
	slices.SortFunc(idle, func(a, b *jobLog) int { return cmp.Compare(a.used, b.used) })
	surplus := len(s.logs) - s.options.MaxOpen*3/4
	for _, l := range idle[:min(surplus, len(idle))] {
		delete(s.logs, l.id)
		s.report(l, s.shut(l))
	}
}

func (s *Store) report(l *jobLog, err error) {
	if err != nil {
		s.log.Warn("closing a synced log", "job", l.id, "err", err)
	}
}
