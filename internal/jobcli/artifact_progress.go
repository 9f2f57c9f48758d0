package jobcli

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// meterEvery is how often a transfer says how far it is.
const meterEvery = 10 * time.Second

// meter tells of the progress of a transfer that takes long.
type meter struct {
	moved atomic.Int64
	done  chan struct{}
	told  sync.WaitGroup
}

// startMeter tells every ten seconds how much of some artifacts was moved, until it is stopped.
func (p *program) startMeter(verb string, artifacts []wire.Artifact) *meter {
	m := &meter{done: make(chan struct{})}
	if !p.progress {
		return m
	}
	var total int64
	for _, a := range artifacts {
		total += a.FileSize
	}
	m.told.Go(func() {
		tick := time.NewTicker(meterEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.note("%s %d of %d MiB", verb, m.moved.Load()>>20, total>>20)
			case <-m.done:
				return
			}
		}
	})
	return m
}

func (m *meter) stop() {
	close(m.done)
	m.told.Wait()
}

// counted is r, each byte of which counts as moved.
func (m *meter) counted(r io.Reader) io.Reader { return countedReader{r, m} }

type countedReader struct {
	io.Reader
	meter *meter
}

func (c countedReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.meter.moved.Add(int64(n))
	return n, err
}
