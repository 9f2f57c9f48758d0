package engine

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// UnblockJob answers a block or input step.
type UnblockJob struct {
	JobID  string
	By     store.Person
	Actor  string              // user id whose permission counts; "": By's
	Fields map[string][]string // by key; a multiple select has several values
}

// UnblockJob lets a build past a block or input step. The answers are meta-data before any step
// behind it can start.
func (e *Engine) UnblockJob(ctx context.Context, op UnblockJob) (store.Job, error) {
	var job store.Job
	err := e.onJob(ctx, op.JobID, func(p *progress, j store.Job) error {
		var err error
		job, err = p.unblock(j, op)
		return err
	})
	return job, err
}

func (p *progress) unblock(j store.Job, op UnblockJob) (store.Job, error) {
	switch {
	case j.Kind != ci.JobManual:
		return j, refuse(Invalid, "This job type cannot be unblocked")
	case p.build.State == ci.BuildCanceled || p.build.State == ci.BuildCanceling:
		return j, refuse(Invalid, "Jobs from canceled builds cannot be unblocked")
	case j.State != ci.JobBlocked:
		return j, refuse(Conflict, "The job is %s and cannot be unblocked", j.State)
	}
	if err := requireAllow(p.build); err != nil {
		return j, err
	}
	s, err := p.step(j.StepID)
	if err != nil {
		return j, err
	}
	if err := p.mayUnblock(s, firstNonEmpty(op.Actor, op.By.ID)); err != nil {
		return j, err
	}
	if p.build.Detail.UnblockerTeams, err = p.tx.TeamSlugs(p.ctx, p.build.OrganizationID, op.By.ID); err != nil {
		return j, err
	}
	values, err := answers(s.Spec.Manual.Fields, op.Fields)
	if err != nil {
		return j, err
	}
	if err := setMetaData(p.ctx, p.tx, p.build.ID, values); err != nil {
		return j, err
	}
	j.UnblockedBy = op.By.Name
	p.build.Detail.Unblocker = &op.By
	return p.apply(j, ci.JobUnblock{})
}

// answers checks a form's answers and returns the meta-data that they become. A field that is left
// empty and need not be answered is an empty string.
func answers(fields []pipeline.Field, given map[string][]string) (map[string]string, error) {
	values, wrong := map[string]string{}, map[string]string{}
	for _, f := range fields {
		v, ok := given[f.Key]
		if !ok {
			v = f.Default
		}
		v = slices.DeleteFunc(slices.Clone(v), func(s string) bool { return s == "" })
		if why := wrongAnswer(f, v); why != "" {
			wrong[f.Key] = why
		}
		values[f.Key] = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.Join(v, "\n"))
	}
	if len(wrong) > 0 {
		var names []string
		for _, k := range slices.Sorted(maps.Keys(wrong)) {
			names = append(names, k+" "+wrong[k])
		}
		return nil, &Refused{Why: Invalid, Message: "Validation Failed: " + strings.Join(names, "; "), Fields: wrong}
	}
	return values, nil
}

func wrongAnswer(f pipeline.Field, v []string) string {
	switch {
	case len(v) == 0 && f.Required:
		return "is required"
	case len(v) == 0:
		return ""
	case len(v) > 1 && !f.Multiple:
		return "takes one value"
	case f.Select != "" && !allOptions(f, v):
		return "must be one of its options"
	case f.Format != "" && !matchesWhole(f.Format, v[0]):
		return "must match " + f.Format
	}
	return ""
}

func allOptions(f pipeline.Field, v []string) bool {
	for _, s := range v {
		if !slices.ContainsFunc(f.Options, func(o pipeline.FieldOption) bool { return o.Value == s }) {
			return false
		}
	}
	return true
}

// matchesWhole anchors the pattern at both ends, as HTML does. A pattern that cannot be read here
// does not keep anybody out: planning has warned of it.
func matchesWhole(format, s string) bool {
	re, err := regexp.Compile("^(?:" + format + ")$")
	return err != nil || re.MatchString(s)
}
