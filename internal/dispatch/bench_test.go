package dispatch

import (
	"fmt"
	"testing"
)

// fleet has n idle agents and n jobs of 50 pipelines on 4 queues. Jobs ask for
// one of kinds sets of rules.
func fleet(b *testing.B, n, kinds int) Snapshot {
	grant := cleared(b)
	s := Snapshot{Held: map[Share]int{}}
	for i := range n {
		kind := i / 4 % kinds
		s.Agents = append(s.Agents, Agent{
			ID: fmt.Sprintf("agent-%05d", i), Queue: fmt.Sprintf("queue-%d", i%4), Idle: true,
			Tags:         []string{"os=linux", fmt.Sprintf("kind=%d", kind), fmt.Sprintf("hostname=h%d", i), "docker=true", "arch=amd64"},
			LastPipeline: fmt.Sprintf("pipeline-%d", i%50), LastRepository: fmt.Sprintf("repo-%d", i%10), LastSuccessAt: int64(i * 7919 % n),
		})
		s.Jobs = append(s.Jobs, Job{
			ID: fmt.Sprintf("job-%05d", i*7919%n), Queue: fmt.Sprintf("queue-%d", i%4), Pipeline: fmt.Sprintf("pipeline-%d", i*31%50),
			Repository: fmt.Sprintf("repo-%d", i%10), Rules: []string{"os=linux", fmt.Sprintf("kind=%d", kind)},
			Priority: i % 3, ScheduledAt: int64(i * 7907 % n), Position: fmt.Sprintf("a%d", i%40), Clearance: grant,
		})
	}
	return s
}

func BenchmarkMatch(b *testing.B) {
	for _, c := range []struct{ n, kinds int }{{100, 1}, {1000, 1}, {10000, 1}, {10000, 50}, {10000, 2500}} {
		s := fleet(b, c.n, c.kinds)
		b.Run(fmt.Sprintf("jobs=agents=%d/rulesets=%d", c.n, c.kinds), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := len(Match(s)); got != c.n {
					b.Fatalf("%d of %d jobs assigned", got, c.n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.n), "ns/job")
		})
	}
}

// BenchmarkMatchBusy is the common pass: one agent has come free while 10,000
// jobs wait.
func BenchmarkMatchBusy(b *testing.B) {
	s := fleet(b, 10000, 50)
	for i := range s.Agents {
		s.Agents[i].Idle = i == 7
	}
	b.ReportAllocs()
	for b.Loop() {
		if got := len(Match(s)); got != 1 {
			b.Fatalf("%d jobs assigned", got)
		}
	}
}
