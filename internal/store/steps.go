package store

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/pipeline"
)

// Step is one step of a build.
type Step struct {
	ci.Step
	BuildID    string
	Position   string // digits; sorts the build's steps in pipeline order
	Key        string // "" if none
	Label      string
	UploaderID string // the step whose job uploaded it, or ""
	Implicit   bool   // has the implicit dependencies of its kind
	Gone       bool   // removed by an upload that replaces
	Definition json.RawMessage
	Spec       StepSpec
}

// StepSpec is what the jobs of a step share.
type StepSpec struct {
	Command                *pipeline.CommandStep `json:",omitempty"`
	Wait                   *pipeline.WaitStep    `json:",omitempty"`
	Manual                 *pipeline.ManualStep  `json:",omitempty"`
	Trigger                *pipeline.TriggerStep `json:",omitempty"`
	Notify                 []json.RawMessage     `json:",omitempty"`
	DependsOn              []pipeline.Dependency `json:",omitempty"`
	AllowDependencyFailure bool                  `json:",omitempty"`
}

const (
	sqlInsertStepUpdate = `INSERT INTO step_updates (step_id, uuid) VALUES ($1, $2) ON CONFLICT (step_id, uuid) DO NOTHING`
	stepColumns         = `id, build_id, position, kind, key, label, group_id, uploader_id, implicit, continues, gone, jobs,
		deps_open, deps_failed, deps_tainted, definition, spec`
	sqlStep         = `SELECT ` + stepColumns + ` FROM steps WHERE id = $1`
	sqlStepOfItsJob = `SELECT ` + stepColumns + ` FROM steps WHERE id = (SELECT step_id FROM jobs WHERE jobs.id = $1)`
	sqlStepByKey    = `SELECT ` + stepColumns + ` FROM steps WHERE build_id = $1 AND key = $2`
	sqlSteps        = `SELECT ` + stepColumns + ` FROM steps WHERE build_id = $1 AND NOT gone ORDER BY position`
	sqlInsertStep   = `INSERT INTO steps (` + stepColumns + `, state, outcome) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9,
		$10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`
	sqlUpdateStep = `UPDATE steps SET key = $2, label = $3, gone = $4, jobs = $5, deps_open = $6, deps_failed = $7,
		deps_tainted = $8, state = $9, outcome = $10 WHERE id = $1`

	sqlUpdateStepSpec = `UPDATE steps SET spec = $2 WHERE id = $1`

	edgeColumns  = `from_step, to_step, allow_failure, gate, implicit`
	sqlEdgesFrom = `SELECT ` + edgeColumns + ` FROM edges WHERE from_step = $1`
	// Qualified where both tables have the column.
	sqlEdgesFromOthers = `SELECT from_step, to_step, allow_failure, gate, edges.implicit FROM edges JOIN steps ON steps.id = to_step
		WHERE from_step = $1 AND NOT gate AND NOT gone AND (NOT edges.implicit OR uploader_id <> $1)`
	sqlUploadedGates = `SELECT ` + stepColumns + ` FROM steps
		WHERE uploader_id = $1 AND uploader_id <> '' AND (kind = 'wait' OR kind = 'block') AND NOT gone`
	sqlEdgesTo    = `SELECT ` + edgeColumns + ` FROM edges WHERE to_step = $1`
	sqlEdges      = `SELECT ` + edgeColumns + ` FROM edges WHERE build_id = $1`
	sqlInsertEdge = `INSERT INTO edges (build_id, ` + edgeColumns + `) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`
	sqlDeleteEdge = `DELETE FROM edges WHERE from_step = $1 AND to_step = $2`
)

// Edge is a dependency between two steps.
type Edge struct {
	ci.Edge
	Implicit bool
}

func scanStep(s scanner) (v Step, err error) {
	var key sql.NullString
	err = s.Scan(&v.ID, &v.BuildID, &v.Position, &v.Kind, &key, &v.Label, &v.GroupID, &v.UploaderID, &v.Implicit,
		&v.ContinueOnFailure, &v.Gone, document{&v.Jobs}, &v.Deps.Open, &v.Deps.Failed, &v.Deps.Tainted,
		rawDocument{&v.Definition}, document{&v.Spec})
	v.Key = key.String
	return v, err
}

func scanEdge(s scanner) (e Edge, err error) {
	return e, s.Scan(&e.From, &e.To, &e.AllowFailure, &e.Gate, &e.Implicit)
}

// Step returns the step with an id.
func (r Reader) Step(ctx context.Context, id string) (Step, error) {
	return one(ctx, r.q, scanStep, sqlStep, id)
}

// StepByKey returns a build's step by its key.
func (r Reader) StepByKey(ctx context.Context, buildID, key string) (Step, error) {
	return one(ctx, r.q, scanStep, sqlStepByKey, buildID, key)
}

// Steps returns the steps of a build in pipeline order, without those that were replaced.
func (r Reader) Steps(ctx context.Context, buildID string) ([]Step, error) {
	return list(ctx, r.q, scanStep, sqlSteps, buildID)
}

// EdgesFrom returns the dependencies on a step.
func (r Reader) EdgesFrom(ctx context.Context, stepID string) ([]Edge, error) {
	return list(ctx, r.q, scanEdge, sqlEdgesFrom, stepID)
}

// EdgesFromOthers returns the dependencies on a step that others have than those that it uploaded itself:
// of these only what their depends_on says. Gates are left out, and what was removed.
func (r Reader) EdgesFromOthers(ctx context.Context, stepID string) ([]Edge, error) {
	return list(ctx, r.q, scanEdge, sqlEdgesFromOthers, stepID)
}

// UploadedGates returns the waits and blocks that a step's jobs uploaded.
func (r Reader) UploadedGates(ctx context.Context, uploaderID string) ([]Step, error) {
	return list(ctx, r.q, scanStep, sqlUploadedGates, uploaderID)
}

// EdgesTo returns the dependencies of a step.
func (r Reader) EdgesTo(ctx context.Context, stepID string) ([]Edge, error) {
	return list(ctx, r.q, scanEdge, sqlEdgesTo, stepID)
}

// Edges returns all dependencies of a build.
func (r Reader) Edges(ctx context.Context, buildID string) ([]Edge, error) {
	return list(ctx, r.q, scanEdge, sqlEdges, buildID)
}

// InsertStep adds a step. A key that the build has already is ErrConflict.
func (tx *Tx) InsertStep(ctx context.Context, s Step) error {
	return tx.InsertSteps(ctx, []Step{s})
}

// InsertSteps adds steps, several in one statement. A key that the build has already is ErrConflict.
func (tx *Tx) InsertSteps(ctx context.Context, steps []Step) error {
	rows := make([][]any, len(steps))
	for i, s := range steps {
		rows[i] = []any{
			s.ID, s.BuildID, s.Position, s.Kind, nullable(s.Key), s.Label, s.GroupID, s.UploaderID, s.Implicit, s.ContinueOnFailure,
			s.Gone, text(s.Jobs), s.Deps.Open, s.Deps.Failed, s.Deps.Tainted, text(s.Definition), text(s.Spec), s.State(), s.Outcome(),
		}
	}
	return tx.insertRows(ctx, sqlInsertStep, rows)
}

// InsertStepUpdate records the idempotency key of a change of a step; false says that it is known.
func (tx *Tx) InsertStepUpdate(ctx context.Context, stepID, uuid string) (bool, error) {
	n, err := count(ctx, tx.q, sqlInsertStepUpdate, stepID, uuid)
	return n > 0, err
}

// UpdateStep saves what changes in a step's life; its state and outcome follow from its tallies.
func (tx *Tx) UpdateStep(ctx context.Context, s Step) error {
	return later(ctx, tx.q, sqlUpdateStep, s.ID, nullable(s.Key), s.Label, s.Gone, text(s.Jobs), s.Deps.Open,
		s.Deps.Failed, s.Deps.Tainted, s.State(), s.Outcome())
}

// UpdateStepSpec saves what a step's attributes are, which UpdateStep leaves as it is.
func (tx *Tx) UpdateStepSpec(ctx context.Context, s Step) error {
	return exec(ctx, tx.q, sqlUpdateStepSpec, s.ID, text(s.Spec))
}

// InsertEdges adds dependencies, several in one statement; those that exist are kept as they are.
func (tx *Tx) InsertEdges(ctx context.Context, buildID string, edges []Edge) error {
	rows := make([][]any, len(edges))
	for i, e := range edges {
		rows[i] = []any{buildID, e.From, e.To, e.AllowFailure, e.Gate, e.Implicit}
	}
	return tx.insertRows(ctx, sqlInsertEdge, rows)
}

// DeleteEdge removes a dependency.
func (tx *Tx) DeleteEdge(ctx context.Context, from, to string) error {
	return exec(ctx, tx.q, sqlDeleteEdge, from, to)
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}
