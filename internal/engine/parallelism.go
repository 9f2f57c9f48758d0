package engine

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// setParallelism adds jobs to a parallel step that has not ended. Those that exist keep the number of
// jobs that they were told; labels that show the current number are written anew
// (https://buildkite.com/docs/pipelines/best-practices/parallel-builds).
func (p *progress) setParallelism(s *store.Step, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > pipeline.MaxJobs {
		return refuse(Invalid, "Parallelism must be a number between 1 and %d.", pipeline.MaxJobs)
	}
	if s.End() != ci.NotEnded {
		return refuse(Invalid, "The step has ended; its parallelism can't be changed.")
	}
	jobs, err := p.tx.JobsOfStep(p.ctx, s.ID)
	if err != nil || n == len(jobs) {
		return err
	}
	first, err := parallelSpec(jobs)
	if err != nil {
		return err
	}
	if n < len(jobs) {
		return refuse(Invalid, "The step has %d jobs; its parallelism can only be raised.", len(jobs))
	}
	if err := p.checkSize(n - len(jobs)); err != nil {
		return err
	}
	anew := func(j pipeline.Job) string {
		return pipeline.ParallelLabel(s.Label, j.ParallelIndex, j.ParallelTotal, n)
	}
	if err := p.relabel(jobs, anew); err != nil {
		return err
	}
	for i := len(jobs); i < n; i++ {
		first.ParallelIndex, first.ParallelTotal = i, n
		first.Label = pipeline.ParallelLabel(s.Label, i, n, n)
		if err := p.addParallel(s, jobs[0], first); err != nil {
			return err
		}
	}
	return nil
}

// parallelSpec is what the jobs of a parallel step were planned as.
func parallelSpec(jobs []store.Job) (pipeline.Job, error) {
	if len(jobs) == 0 || jobs[0].Kind != ci.JobScript {
		return pipeline.Job{}, refuse(Invalid, "Only command steps have a parallelism.")
	}
	spec, err := jobs[0].Spec()
	if err == nil && spec.ParallelTotal == 0 {
		err = refuse(Invalid, "The step was not made with a parallelism; only that of a parallel step can be raised.")
	}
	return spec, err
}

// addParallel makes one more job of a step, like another but for what it was planned as, and lets it go
// if the step's jobs may.
func (p *progress) addParallel(s *store.Step, like store.Job, spec pipeline.Job) error {
	raw, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("storing job %d of step %q: %w", spec.ParallelIndex, s.Label, err)
	}
	j := store.Job{
		Job:     ci.Job{ID: p.e.NewID(), Kind: like.Kind, State: ci.JobPending, CreatedAt: p.now, ScheduledAt: like.ScheduledAt},
		BuildID: like.BuildID, StepID: s.ID, PipelineID: like.PipelineID, Number: spec.ParallelIndex, Position: like.Position,
		QueueID: like.QueueID, Rules: like.Rules, Priority: like.Priority, ConcurrencyGroup: like.ConcurrencyGroup,
		Concurrency: like.Concurrency, ConcurrencyMethod: like.ConcurrencyMethod, GroupID: like.GroupID,
		TimeoutMinutes: like.TimeoutMinutes, RetryRule: -1, SpecJSON: raw,
	}
	if err := p.tx.InsertJob(p.ctx, j); err != nil {
		return err
	}
	var more ci.Tally
	more[j.Class()]++
	if err := p.add(s.ID, more); err != nil {
		return err
	}
	for _, ev := range released(s.Deps.Readiness(), j) {
		if j, err = p.apply(j, ev); err != nil {
			return err
		}
	}
	return nil
}
