package ci

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"math/rand"
	"net/http"
	"os"
	"time"

	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
	"pgregory.net/rapid"
)

type JobManager struct{ name string }

// wide asks for more than anyone calls.
type wide interface {
	A()
	B()
	C()
	D()
	E()
	F()
}

var state = 1

var table = map[string]int{"a": 1}

func init() {
	// TODO: start it elsewhere, previously it was in main
	go log.Print(os.Getenv("HOME"))
}

func Bad(ctx context.Context, s *store.Store) error {
	table["b"] = rand.Int()
	state++
	slog.Info("now", "at", time.Now(), "what", rapid.Int())
	if _, err := http.Get("http://example.test"); err != nil {
		panic(err)
	}
	s.Update(context.WithValue(ctx, state, trust.Decide()))
	return fmt.Errorf("failed to do it: %w", ctx.Err())
}

func (m JobManager) GetName() string { return m.name }

func ptr() {}
