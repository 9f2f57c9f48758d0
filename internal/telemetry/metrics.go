// Package telemetry says what the server does in numbers that Prometheus reads.
//
// Numbers come from the database when they are asked for, so they are right after a restart and the
// same on every server; a query that fails leaves its numbers out of that answer.
package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Source is where the numbers come from.
type Source interface {
	// CountAgents returns how many agents are connected and how many of them hold a job.
	CountAgents(ctx context.Context) (live, busy int, err error)
	// CountScheduledJobs returns how many jobs wait for an agent, of a queue or ("") of all.
	CountScheduledJobs(ctx context.Context, queueID string) (int, error)
}

// Handler serves /metrics.
func Handler(s Source, log *slog.Logger) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&fleet{source: s, log: log},
	)
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// fleet collects the numbers of agents and waiting jobs.
type fleet struct {
	source Source
	log    *slog.Logger
}

var (
	agentsDesc = prometheus.NewDesc("slipway_agents", "Connected agents.", nil, nil)
	busyDesc   = prometheus.NewDesc("slipway_agents_busy", "Connected agents that hold a job.", nil, nil)
	waitDesc   = prometheus.NewDesc("slipway_jobs_scheduled", "Jobs that wait for an agent.", nil, nil)
)

// collectTerm bounds the queries of one scrape.
const collectTerm = 5 * time.Second

// Describe implements prometheus.Collector.
func (f *fleet) Describe(c chan<- *prometheus.Desc) { c <- agentsDesc; c <- busyDesc; c <- waitDesc }

// Collect implements prometheus.Collector.
func (f *fleet) Collect(c chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTerm)
	defer cancel()
	if live, busy, err := f.source.CountAgents(ctx); err != nil {
		f.log.Error("counting agents", "err", err)
	} else {
		c <- prometheus.MustNewConstMetric(agentsDesc, prometheus.GaugeValue, float64(live))
		c <- prometheus.MustNewConstMetric(busyDesc, prometheus.GaugeValue, float64(busy))
	}
	if n, err := f.source.CountScheduledJobs(ctx, ""); err != nil {
		f.log.Error("counting scheduled jobs", "err", err)
	} else {
		c <- prometheus.MustNewConstMetric(waitDesc, prometheus.GaugeValue, float64(n))
	}
}
