package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
)

// BenchmarkRelease ends a job that 2,000 others wait for: while they are let go, everybody else waits.
func BenchmarkRelease(b *testing.B) {
	const size = 2_000
	for name, rest := range map[string]string{
		"one step":   fmt.Sprintf("- {command: b, parallelism: %d}\n", size),
		"many steps": strings.Repeat("- {command: b}\n", size),
	} {
		for exit, what := range []string{"passes", "fails"} {
			b.Run(fmt.Sprintf("%s, %s", name, what), func(b *testing.B) {
				w := benchWorld(b)
				a := w.agent(b)
				for b.Loop() {
					b.StopTimer()
					j := w.job(b, w.build(b, "steps:\n- {command: a, key: first}\n- wait\n"+rest), "first")
					w.startOn(b, j, a)
					b.StartTimer()
					must(w.FinishJob(b.Context(), engine.FinishJob{JobID: j.ID, ExitStatus: exit}))(b)
				}
			})
		}
	}
}
