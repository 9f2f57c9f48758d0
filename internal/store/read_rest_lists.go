package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
)

const (
	sqlFindBuilds     = `SELECT ` + buildColumns + ` FROM builds WHERE organization_id = $1`
	sqlFindBuildsOf   = `SELECT ` + buildColumns + ` FROM builds WHERE pipeline_id = $1`
	sqlCountFound     = `SELECT COUNT(*) FROM (SELECT 1 AS found FROM builds WHERE organization_id = $1 LIMIT $2) AS builds_found`
	sqlCountFoundOf   = `SELECT COUNT(*) FROM (SELECT 1 AS found FROM builds WHERE pipeline_id = $1 LIMIT $2) AS builds_found`
	sqlFindPipelines  = `SELECT ` + pipelineColumns + ` FROM pipelines WHERE organization_id = $1 AND LOWER(name) LIKE $2 ESCAPE '\' AND LOWER(repository) LIKE $3 ESCAPE '\' ORDER BY slug LIMIT $4 OFFSET $5`
	sqlCountPipelines = `SELECT COUNT(*) FROM pipelines WHERE organization_id = $1 AND LOWER(name) LIKE $2 ESCAPE '\' AND LOWER(repository) LIKE $3 ESCAPE '\'`
)

// Page is a part of a list.
type Page struct{ Offset, Limit int }

// BuildFilter says which builds of an organization are wanted. Zero fields do not filter.
type BuildFilter struct {
	OrganizationID string // not looked at where there is a pipeline
	PipelineID     string
	States         []ci.BuildState
	Branches       []string // "*" stands for any characters; the case of such a pattern does not matter
	Commits        []string
	CreatorID      string
	CreatedFrom    time.Time // this instant included
	CreatedTo      time.Time // this instant left out
	FinishedFrom   time.Time
	MetaData       map[string]string // all of them
}

// conditions collects the rest of a WHERE clause and its arguments.
type conditions struct {
	text strings.Builder
	args []any
}

// add appends " AND (…)"; each %s in the text takes the place of an argument.
func (c *conditions) add(text string, args ...any) {
	marks := make([]any, len(args))
	for i, a := range args {
		c.args = append(c.args, a)
		marks[i] = fmt.Sprintf("$%d", len(c.args))
	}
	fmt.Fprintf(&c.text, " AND ("+text+")", marks...)
}

// among wants a column to be one of some values.
func (c *conditions) among(column string, values []string) {
	if len(values) == 0 {
		return
	}
	marks, args := in(len(c.args)+1, padded(values))
	c.args = append(c.args, args...)
	c.text.WriteString(" AND " + column + " IN " + marks)
}

func (c *conditions) instant(text string, t time.Time) {
	if !t.IsZero() {
		c.add(text, micros(t))
	}
}

func (f BuildFilter) conditions() *conditions {
	c := &conditions{args: []any{f.OrganizationID}}
	if f.PipelineID != "" {
		c.args[0] = f.PipelineID
	}
	states := make([]string, len(f.States))
	for i, s := range f.States {
		states[i] = string(s)
	}
	c.among("state", states)
	c.branches(f.Branches)
	c.among("commit_sha", f.Commits)
	if f.CreatorID != "" {
		c.add("creator_id = %s", f.CreatorID)
	}
	c.instant("created_at >= %s", f.CreatedFrom)
	c.instant("created_at < %s", f.CreatedTo)
	c.instant("finished_at >= %s", f.FinishedFrom)
	for _, key := range slices.Sorted(maps.Keys(f.MetaData)) {
		c.add("EXISTS (SELECT 1 FROM meta_data m WHERE m.build_id = builds.id AND m.key = %s AND m.value = %s)", key, f.MetaData[key])
	}
	return c
}

// branches wants one of some names and patterns.
func (c *conditions) branches(patterns []string) {
	if !slices.ContainsFunc(patterns, func(p string) bool { return strings.Contains(p, "*") }) {
		c.among("branch", patterns)
		return
	}
	var alternatives []string
	var args []any
	for _, p := range patterns {
		if !strings.Contains(p, "*") {
			alternatives, args = append(alternatives, "branch = %s"), append(args, p)
			continue
		}
		alternatives = append(alternatives, `LOWER(branch) LIKE %s ESCAPE '\'`)
		args = append(args, strings.ReplaceAll(likeLiteral(p), "*", "%"))
	}
	c.add(strings.Join(alternatives, " OR "), args...)
}

// likeLiteral is a text in lower case in which no character is special to LIKE with ESCAPE '\'.
func likeLiteral(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(s))
}

// FindBuilds returns a page of the builds that a filter lets through, newest first.
func (r Reader) FindBuilds(ctx context.Context, f BuildFilter, p Page) ([]Build, error) {
	c := f.conditions()
	query, order := sqlFindBuilds, " ORDER BY created_at DESC, id DESC"
	if f.PipelineID != "" {
		query, order = sqlFindBuildsOf, " ORDER BY number DESC"
	}
	tail := fmt.Sprintf("%s LIMIT $%d OFFSET $%d", order, len(c.args)+1, len(c.args)+2)
	return list(ctx, r.q, scanBuild, query+c.text.String()+tail, append(c.args, p.Limit, p.Offset)...)
}

// CountFoundBuilds returns how many builds a filter lets through, counting no further than most. Of a pipeline, or
// of an organization, without more filters it counts entries of an index and reads no builds.
func (r Reader) CountFoundBuilds(ctx context.Context, f BuildFilter, most int) (int, error) {
	c := f.conditions()
	query := sqlCountFound
	if f.PipelineID != "" {
		query = sqlCountFoundOf
	}
	query = strings.Replace(query, " LIMIT $2", fmt.Sprintf("%s LIMIT $%d", c.text.String(), len(c.args)+1), 1)
	n, err := one(ctx, r.q, scanInt, query, append(c.args, most)...)
	return int(n), err
}

// FindPipelines returns a page of an organization's pipelines by slug whose name and repository
// contain the given texts, in any case, and how many there are on all pages.
func (r Reader) FindPipelines(ctx context.Context, organizationID, name, repository string, p Page) ([]Pipeline, int, error) {
	name, repository = "%"+likeLiteral(name)+"%", "%"+likeLiteral(repository)+"%"
	total, err := one(ctx, r.q, scanInt, sqlCountPipelines, organizationID, name, repository)
	if err != nil {
		return nil, 0, err
	}
	found, err := list(ctx, r.q, scanPipeline, sqlFindPipelines, organizationID, name, repository, p.Limit, p.Offset)
	return found, int(total), err
}
