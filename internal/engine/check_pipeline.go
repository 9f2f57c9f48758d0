package engine

import (
	"context"
	"errors"
	"strings"

	"github.com/slipway-ci/slipway/internal/dispatch"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// CheckPipeline asks what a document would do. It changes nothing.
type CheckPipeline struct {
	OrganizationID string
	ClusterID      string // "": the organization's first
	Source         []byte
	File           string // its name in messages
	Part           bool   // the document is one of several uploads of a build
	Editor         bool   // the document is kept with its pipeline, not in the repository
	// Pipeline is whose document it is, for its variables; its zero value is none.
	Pipeline store.Pipeline
}

// CheckPipeline holds a document against the limits, queues, agents and pipelines there are now.
func (e *Engine) CheckPipeline(ctx context.Context, op CheckPipeline) (pipeline.Report, error) {
	if op.ClusterID == "" {
		clusters, err := e.Store.Clusters(ctx, op.OrganizationID)
		if err != nil {
			return pipeline.Report{}, err
		}
		if len(clusters) == 0 {
			return pipeline.Report{}, refuse(Missing, "No cluster found")
		}
		op.ClusterID = clusters[0].ID
	}
	s := hall{e: e, ctx: ctx}
	if err := s.read(op); err != nil {
		return pipeline.Report{}, err
	}
	decided, err := SettingsOf(s.org)
	if err != nil {
		return pipeline.Report{}, err
	}
	facts := documentFacts(s.org, op.Pipeline, op.Editor)
	limits := decided.PlanLimits()
	if op.Part {
		limits = decided.UploadLimits()
	}
	facts.Limits, facts.Part, facts.Serve, facts.Pipelines = limits, op.Part, s.serve, s.pipeline
	r := pipeline.Check(op.Source, op.File, facts)
	return r, s.err
}

// hall answers a check's questions about one cluster.
type hall struct {
	e      *Engine
	ctx    context.Context
	org    store.Organization
	roster *Roster
	ids    map[string]string // of queues, by key
	other  string            // the queue of jobs that ask for none
	err    error             // why an answer is wrong
}

func (s *hall) read(op CheckPipeline) error {
	var err error
	if s.org, err = s.e.Store.OrganizationByID(s.ctx, op.OrganizationID); err != nil {
		return missing(err, "No organization found")
	}
	cluster, err := s.e.Store.Cluster(s.ctx, op.ClusterID)
	if err != nil {
		return missing(err, "No cluster found")
	}
	s.other = cluster.DefaultQueueID
	if s.roster, err = s.e.Roster(s.ctx, op.ClusterID); err != nil {
		return err
	}
	s.ids = map[string]string{}
	for id, q := range s.roster.Queues {
		s.ids[q.Key] = id
	}
	return nil
}

// documentFacts are what can be known of a pipeline's builds before there is one.
func documentFacts(org store.Organization, pl store.Pipeline, editor bool) pipeline.CheckFacts {
	branch := firstNonEmpty(pl.DefaultBranch, "main")
	vars := serverVariables(planInput{org: org, pipeline: pl, build: store.Build{
		Branch: branch, Commit: strings.Repeat("0", 40), Message: "message",
	}})
	return pipeline.CheckFacts{
		Facts: pipeline.Facts{Branch: branch}, Editor: editor,
		Lookup: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
	}
}

func (s *hall) serve(queue string, rules []string) pipeline.Serving {
	id, ok := s.ids[queue]
	if queue == "" {
		id, ok = s.other, true
	}
	if !ok {
		return pipeline.Serving{Why: dispatch.QueueHint(queue, s.roster.all)}
	}
	standing := s.roster.Standing(allowed, id, rules)
	out := pipeline.Serving{Known: true, Agents: standing.Matching, Found: s.roster.stackedQueue(id)}
	if standing.Matching == 0 && !out.Found {
		out.Why = s.roster.unserved(id, rules)
	}
	return out
}

// allowed is a build whose verdict lets its jobs go, so that agents alone decide.
var allowed = store.Build{Commit: "HEAD", Verdict: store.Verdict{Decision: string(trust.Allow), Commit: "HEAD"}}

func (s *hall) pipeline(slug string) bool {
	_, err := s.e.Store.Pipeline(s.ctx, s.org.ID, slug)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.err = err
	}
	return err == nil
}
