package loop

import (
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// maxFailed is how many rows are remembered. Beyond it all are forgotten: then hardly anything works, and no order helps.
const maxFailed = 10_000

// Rows goes through the rows that a pass finds to do, some at a time. Those at which it failed come after all others in the
// passes that follow, so that however many cannot be done, they keep none waiting that can. What it remembers is a memory
// only: without it they are first in line again. It serves one list, of which passes may overlap.
type Rows[T any] struct {
	Batch    int // of one pass
	Parallel int // at once; 0: 1
	ID       func(T) string

	mu     sync.Mutex
	turn   int
	failed map[string]int // in which turn, by id
}

// Each lets do happen to a batch of what list returns, and tries the others although one fails. List returns up to limit rows in
// an order of its own. More says that there may be rows that were not tried.
func (r *Rows[T]) Each(list func(limit int) ([]T, error), do func(T) error) (more bool, err error) {
	limit := r.limit()
	found, err := list(limit)
	if err != nil {
		return false, err
	}
	r.sort(found)
	return len(found) == limit, r.some(found[:min(len(found), r.Batch)], do)
}

// limit makes room for those that failed, which may be the first of the list.
func (r *Rows[T]) limit() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.failed) > maxFailed {
		r.failed = nil
	}
	return r.Batch + len(r.failed)
}

// sort begins a turn: those that failed go last, in the order in which they did.
func (r *Rows[T]) sort(found []T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortStableFunc(found, func(a, b T) int { return r.failed[r.ID(a)] - r.failed[r.ID(b)] })
	r.turn++
}

func (r *Rows[T]) some(rows []T, do func(T) error) error {
	var all errgroup.Group // without a context: one failure ends no other
	all.SetLimit(max(1, r.Parallel))
	errs := make([]error, len(rows))
	for i, v := range rows {
		all.Go(func() error {
			errs[i] = do(v)
			r.remember(v, errs[i])
			return errs[i]
		})
	}
	_ = all.Wait() // the first of those joined
	return errors.Join(errs...)
}

func (r *Rows[T]) remember(v T, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.failed, r.ID(v))
		return
	}
	if r.failed == nil {
		r.failed = map[string]int{}
	}
	r.failed[r.ID(v)] = r.turn
}
