package store

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/slipway-ci/slipway/internal/dbtest"
)

func TestHintsReachTheOtherServersOnTheDatabase(t *testing.T) {
	t.Parallel()
	o := Options{Postgres: dbtest.Template(t, "store", migrated)}
	a, b := reopen(t, o), reopen(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	heard, listening := make(chan []string, 100), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = b.HearHints(ctx, func(topics []string) { heard <- topics })
	})
	wg.Go(func() { // until b listens, what is sent is lost
		defer close(listening)
		for len(heard) == 0 {
			if err := a.SendHints(ctx, []string{"first"}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	<-listening
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf("build:%08d-0000-0000-0000-000000000000", i))
	}
	if err := b.SendHints(ctx, []string{"own"}); err != nil {
		t.Error(err)
	}
	if err := a.SendHints(ctx, many); err != nil {
		t.Error(err)
	}
	var got []string
	for len(got) < len(many) {
		for _, topic := range <-heard {
			if topic != "first" {
				got = append(got, topic)
			}
		}
	}
	if !slices.Equal(got, many) {
		t.Errorf("heard %d topics, the first is %s", len(got), got[0])
	}
	cancel()
	wg.Wait()
}
