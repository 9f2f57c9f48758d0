package engine

import (
	"encoding/json"
	"fmt"

	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// setLabel gives a step another label, or a longer one, and with it all its jobs: lists of jobs show
// theirs. What is added to a matrix step follows what each of its jobs was expanded to.
func (p *progress) setLabel(s *store.Step, value string, add bool) error {
	jobs, err := p.tx.JobsOfStep(p.ctx, s.ID)
	if err != nil {
		return err
	}
	p.touch(s)
	s.Label = replaced(s.Label, value, add)
	return p.relabel(jobs, func(j pipeline.Job) string {
		if j.ParallelTotal == 0 {
			return replaced(j.Label, value, add)
		}
		return replaced(j.Label, pipeline.ParallelLabel(value, j.ParallelIndex, j.ParallelTotal, len(jobs)), add)
	})
}

func replaced(old, value string, add bool) string {
	if add {
		return old + value
	}
	return value
}

// relabel writes the labels of jobs anew where they differ.
func (p *progress) relabel(jobs []store.Job, label func(pipeline.Job) string) error {
	for _, j := range jobs {
		spec, err := j.Spec()
		if err != nil {
			return err
		}
		anew := label(spec)
		if anew == spec.Label {
			continue
		}
		spec.Label = anew
		raw, err := json.Marshal(spec)
		if err != nil {
			return fmt.Errorf("storing the label of job %s: %w", j.ID, err)
		}
		if err := p.tx.SetJobSpec(p.ctx, j.ID, raw); err != nil {
			return err
		}
	}
	return nil
}
