package app

import "testing"

func TestALargeHeapIsCollectedByTheUsualRule(t *testing.T) {
	t.Parallel()
	for alive, want := range map[uint64]int{0: 400, 4 << 20: 400, 16 << 20: 300, 48 << 20: 100, 1 << 40: 100} {
		if got := heapGrowth(alive); got != want {
			t.Errorf("a heap of %d bytes may grow by %d %%, want %d", alive, got, want)
		}
	}
}
