package loop_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/slipway-ci/slipway/internal/loop"
)

// upTo lists rows 0 to n-1 but those that are done.
func upTo(n int, done map[int]bool) func(limit int) ([]int, error) {
	return func(limit int) (out []int, err error) {
		for i := 0; i < n && len(out) < limit; i++ {
			if !done[i] {
				out = append(out, i)
			}
		}
		return out, nil
	}
}

func TestRowsThatFailKeepNoOtherWaiting(t *testing.T) {
	t.Parallel()
	rows, done := loop.Rows[int]{Batch: 10, ID: func(i int) string { return fmt.Sprint(i) }}, map[int]bool{}
	tries := map[int]int{}
	for range 6 {
		_, err := rows.Each(upTo(100, done), func(i int) error {
			if tries[i]++; i < 45 {
				return errors.New("broken")
			}
			done[i] = true
			return nil
		})
		if err == nil && len(done) == 0 {
			t.Fatal("the rows that fail are not told of")
		}
	}
	if !done[45] || len(done) != 6*10-45 {
		t.Errorf("%d rows that can be done were, want %d", len(done), 6*10-45)
	}
	for i, n := range tries {
		if n != 1 {
			t.Errorf("row %d was tried %d times while others were not", i, n)
		}
	}
}

func TestRowsThatFailedAreTriedAgainInTurn(t *testing.T) {
	t.Parallel()
	rows := loop.Rows[int]{Batch: 2, ID: func(i int) string { return fmt.Sprint(i) }}
	var tried []int
	for range 4 {
		_, err := rows.Each(upTo(4, nil), func(i int) error { tried = append(tried, i); return errors.New("broken") })
		if err == nil {
			t.Fatal("no error")
		}
	}
	if want := []int{0, 1, 2, 3, 0, 1, 2, 3}; !slices.Equal(tried, want) {
		t.Errorf("tried %v, want %v", tried, want)
	}
}

func TestNoMoreRowsAreDoneAtOnceThanIsSaid(t *testing.T) {
	t.Parallel()
	rows := loop.Rows[int]{Batch: 50, Parallel: 3, ID: func(i int) string { return fmt.Sprint(i) }}
	var now, most, all atomic.Int64
	more, err := rows.Each(upTo(60, nil), func(int) error {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		all.Add(1)
		now.Add(-1)
		return nil
	})
	if err != nil || !more || all.Load() != 50 || most.Load() > 3 {
		t.Errorf("%d rows were done, up to %d at once, more: %v, %v", all.Load(), most.Load(), more, err)
	}
}
