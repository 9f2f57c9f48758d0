package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

// line runs n updates of one build, all of which wait for another of it.
func line(t *testing.T, s *Store, n int, fn func(i int) func(*Tx) error) []error {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	err := s.UpdateBuild(t.Context(), "b", func(*Tx) error {
		for i := range n {
			wg.Go(func() {
				defer func() {
					if v := recover(); v != nil {
						errs[i] = fmt.Errorf("panic: %v", v)
					}
				}()
				errs[i] = s.UpdateBuild(context.Background(), "b", fn(i))
			})
		}
		for waiting(s) < n {
			runtime.Gosched()
		}
		return nil
	})
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return errs
}

func waiting(s *Store) int {
	if w, ok := s.update.(*writer); ok {
		return len(w.queue)
	}
	s.lanes.mu.Lock()
	defer s.lanes.mu.Unlock()
	return len(s.lanes.waiting["b"])
}

func TestUpdatesOfABuildThatWaitShareATransaction(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		const n = 2 * maxShared
		var shared [n]bool
		errs := line(t, s, n, func(i int) func(*Tx) error {
			return func(tx *Tx) error {
				shared[i] = tx.shared
				return insert(t.Context(), fmt.Sprint("row", i))(tx)
			}
		})
		for i, err := range errs {
			if err != nil || !has(t, s, fmt.Sprint("row", i)) || shared[i] != isPostgres(s) {
				t.Errorf("update %d: %v, its row is there: %v, it shared: %v", i, err, has(t, s, fmt.Sprint("row", i)), shared[i])
			}
		}
		if s.lanes != nil && len(s.lanes.waiting) > 0 {
			t.Errorf("lanes are left: %v", s.lanes.waiting)
		}
	})
}

func TestWhatEndsAnUpdateOfABuildIsItsOwn(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		refused := errors.New("refused")
		errs := line(t, s, 12, func(i int) func(*Tx) error {
			return func(tx *Tx) error {
				err := insert(t.Context(), fmt.Sprint("row", i))(tx)
				switch i % 4 {
				case 1:
					err = refused
				case 2:
					panic("boom")
				case 3:
					err = insert(t.Context(), fmt.Sprint("row", i))(tx)
				}
				return err
			}
		})
		for i, err := range errs {
			as := []bool{err == nil, errors.Is(err, refused), err != nil && err.Error() == "panic: boom", errors.Is(err, ErrConflict)}
			if !as[i%4] || has(t, s, fmt.Sprint("row", i)) != (i%4 == 0) {
				t.Errorf("update %d: %v, its row is there: %v", i, err, has(t, s, fmt.Sprint("row", i)))
			}
		}
	})
}

// Whether a commit was carried out whose answer got lost nobody knows; who asked is told, as for an update that shares nothing.
func TestAnUpdateThatMayBeCommittedIsNotRunAgain(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		if !isPostgres(s) {
			return // it answers where it is
		}
		var runs [2]int
		errs := line(t, s, 2, func(i int) func(*Tx) error {
			return func(tx *Tx) error {
				runs[i]++
				err := insert(t.Context(), fmt.Sprint("row", i))(tx)
				if err == nil && runs[0]+runs[1] == 2 {
					err = breakConnection(t.Context(), s, tx)
				}
				return err
			}
		})
		for i, err := range errs {
			if err == nil || runs[i] != 1 {
				t.Errorf("update %d ran %d times: %v", i, runs[i], err)
			}
		}
	})
}

func breakConnection(ctx context.Context, s *Store, tx *Tx) error {
	pid, err := one(ctx, tx.q, scanInt, `SELECT pg_backend_pid()`)
	if err != nil {
		return err
	}
	_, err = s.db.ExecContext(ctx, `SELECT pg_terminate_backend($1, 10000)`, pid)
	return err
}

// Updates that share a transaction lock rows in the order in which they came, and another may lock them in its own.
func TestAnUpdateThatCrossesSharedOnesEndsNone(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		if !isPostgres(s) {
			return // one writes at a time
		}
		for _, id := range []string{"x", "y"} {
			update(t, s, insert(t.Context(), id))
		}
		touch := func(tx *Tx, id string) error {
			return exec(context.Background(), tx.q, `UPDATE organizations SET name = 'touched' WHERE id = $1`, id)
		}
		first, second := make(chan struct{}), make(chan struct{})
		var there sync.Once
		runs := 0
		var other sync.WaitGroup
		other.Go(func() {
			err := s.Update(context.Background(), func(tx *Tx) error {
				err := touch(tx, "x")
				there.Do(func() { close(second) })
				<-first
				return errors.Join(err, touch(tx, "y"))
			})
			if err != nil {
				t.Error(err)
			}
		})
		errs := line(t, s, 2, func(int) func(*Tx) error {
			return func(tx *Tx) error {
				<-second
				if runs++; runs > 1 {
					return touch(tx, "x")
				}
				defer close(first)
				return touch(tx, "y")
			}
		})
		other.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
	})
}

// Two transactions that refer to a row before they lock it, each with a row of its own, wait for each other if a lock keeps references out.
func TestARowThatIsLockedMayBeReferredTo(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		if !isPostgres(s) {
			return // one writes at a time
		}
		ctx := t.Context()
		update(t, s, insert(ctx, "o"))
		update(t, s, func(tx *Tx) error {
			if _, err := tx.LockOrganization(ctx, "o"); err != nil {
				return err
			}
			other, stop := context.WithTimeout(ctx, 2*time.Minute)
			defer stop()
			_, err := s.db.ExecContext(other, sqlInsertCluster, "c", "o", "c", "", 0)
			return err
		})
	})
}

// A write of which it turns out with the commit that its row is gone cannot undo the rest.
func TestAnUpdateThatMissedARowIsToldAndNotRunAgain(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		if !isPostgres(s) {
			return // it is told at once
		}
		var runs [2]int
		errs := line(t, s, 2, func(i int) func(*Tx) error {
			return func(tx *Tx) error {
				runs[i]++
				err := insert(t.Context(), fmt.Sprint("row", i))(tx)
				if runs[0]+runs[1] == 2 {
					err = errors.Join(err, tx.UpdateAgent(t.Context(), agent("gone")))
				}
				return err
			}
		})
		for i, err := range errs {
			if !errors.Is(err, ErrNotFound) || runs[i] != 1 {
				t.Errorf("update %d ran %d times: %v", i, runs[i], err)
			}
		}
	})
}
