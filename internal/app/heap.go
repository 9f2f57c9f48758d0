package app

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// heapRoom is what the heap of a small server may grow by, in bytes, before it is collected. By Go's own rule it grows to twice what
	// is alive, and a server that holds 5 MB would collect a hundred times for every thousand jobs.
	heapRoom = 48 << 20
	// mostGrowth bounds it in hundredths of what is alive: an idle server holds too little to be given all of heapRoom.
	mostGrowth = 400
)

// sizeHeap is a pass that lets the heap grow as its size allows.
func sizeHeap(context.Context) (bool, error) {
	alive := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(alive)
	debug.SetGCPercent(heapGrowth(alive[0].Value.Uint64()))
	return false, nil
}

// heapGrowth is how much a heap of that many live bytes may grow, in hundredths of it. A large one has Go's own rule.
func heapGrowth(alive uint64) int {
	return int(max(100, min(mostGrowth, heapRoom*100/max(alive, 1))))
}
