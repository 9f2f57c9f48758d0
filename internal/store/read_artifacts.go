package store

import (
	"context"
	"fmt"
	"strings"
)

// ArtifactQuery says which of a build's artifacts are looked for.
type ArtifactQuery struct {
	BuildID string
	State   string // "": any but deleted and expired
	Scope   string // a job's id, or a step's id, key or label; "": the whole build
	Path    string // with slashes, which stand for the separators of Windows too; "": any
	Retried bool   // also those of jobs that were retried
}

// ArtifactMatch is what a search needs to know of an artifact before it is chosen.
type ArtifactMatch struct {
	ID     string
	Path   string
	StepID string
	Number int // of the job in its step; attempts of a job share it
}

const (
	findArtifacts = `SELECT a.id, a.path, j.step_id, j.number FROM artifacts a JOIN jobs j ON j.id = a.job_id
		JOIN steps s ON s.id = j.step_id
		WHERE a.build_id = $1 AND (a.state = $2 OR $2 = '' AND a.state NOT IN ('deleted', 'expired'))
		AND ($3 OR j.retried_in = '') AND ($4 = '' OR j.id = $4 OR s.id = $4 OR s.key = $4 OR s.label = $4)`
	sqlFindArtifacts = findArtifacts + ` ORDER BY a.created_at, a.id`
	sqlFindNamed     = findArtifacts + ` AND a.path IN ($5, $6) ORDER BY a.created_at, a.id`
	sqlArtifactsByID = `SELECT ` + artifactColumns + ` FROM artifacts WHERE id IN ($1)`
)

func scanArtifactMatch(s scanner) (m ArtifactMatch, err error) {
	return m, s.Scan(&m.ID, &m.Path, &m.StepID, &m.Number)
}

// FindArtifacts returns what a query asks for, oldest first.
func (r Reader) FindArtifacts(ctx context.Context, q ArtifactQuery) ([]ArtifactMatch, error) {
	if q.Path == "" {
		return list(ctx, r.q, scanArtifactMatch, sqlFindArtifacts, q.BuildID, q.State, q.Retried, q.Scope)
	}
	return list(ctx, r.q, scanArtifactMatch, sqlFindNamed, q.BuildID, q.State, q.Retried, q.Scope, q.Path,
		strings.ReplaceAll(q.Path, "/", `\`))
}

// ArtifactsInOrder returns the artifacts with the given ids, in their order; those that do not exist are left
// out.
func (r Reader) ArtifactsInOrder(ctx context.Context, ids []string) ([]Artifact, error) {
	rows, err := many(ctx, r.q, scanArtifact, sqlArtifactsByID, ids)
	found, err := byID(rows, err, func(a Artifact) string { return a.ID })
	if err != nil {
		return nil, fmt.Errorf("reading %d artifacts: %w", len(ids), err)
	}
	out := make([]Artifact, 0, len(ids))
	for _, id := range ids {
		if a, ok := found[id]; ok {
			out = append(out, a)
		}
	}
	return out, nil
}
