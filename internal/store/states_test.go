package store

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/ci"
)

func sorted[S ~string](states []S) []string {
	out := make([]string, len(states))
	for i, s := range states {
		out[i] = string(s)
	}
	slices.Sort(out)
	return out
}

// machineStates are the values that each column may have.
func machineStates() map[string][]string {
	return map[string][]string{
		"builds.state": sorted(ci.BuildStates), "jobs.state": sorted(ci.JobStates), "jobs.kind": sorted(ci.JobKinds),
		"jobs.lease_state": sorted(ci.LeaseStates), "steps.state": sorted(ci.StepStates), "steps.outcome": sorted(ci.Outcomes),
		"steps.kind": {"block", "command", "group", "input", "trigger", "wait"}, "agents.state": sorted(ci.AgentStates),
		"queues.retry_agent_affinity": sorted(ci.RetryAffinities),
	}
}

// TestTheDatabaseKnowsTheStatesOfTheMachines holds the CHECK constraints of the schema, as each
// database gives them back, against the states of package ci.
func TestTheDatabaseKnowsTheStatesOfTheMachines(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		read := sqliteChecks
		if isPostgres(s) {
			read = postgresChecks
		}
		checks := read(t, s)
		for column, states := range machineStates() {
			if isPostgres(s) && !strings.HasPrefix(column, "queues.") {
				states = nil // of what is written with every job it has no constraints
			}
			if diff := cmp.Diff(states, checks[column]); diff != "" {
				t.Errorf("%s (-machine +database):\n%s", column, diff)
			}
		}
	})
}

var (
	check  = regexp.MustCompile(`CHECK \((\w+) (?:IN \(|=)([^)]*)\)`)
	quoted = regexp.MustCompile(`'([\w-]*)'`)
)

func literals(s string) []string {
	var out []string
	for _, m := range quoted.FindAllStringSubmatch(s, -1) {
		out = append(out, m[1])
	}
	slices.Sort(out)
	return out
}

func scanPair(s scanner) (v [2]string, err error) { return v, s.Scan(&v[0], &v[1]) }

func sqliteChecks(t *testing.T, s *Store) map[string][]string {
	t.Helper()
	tables, err := list(t.Context(), s.q, scanPair, `SELECT name, sql FROM sqlite_master WHERE type = 'table'`)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, table := range tables {
		for _, m := range check.FindAllStringSubmatch(table[1], -1) {
			out[table[0]+"."+m[1]] = literals(m[2])
		}
	}
	return out
}

func postgresChecks(t *testing.T, s *Store) map[string][]string {
	t.Helper()
	const q = `SELECT conrelid::regclass || '.' || a.attname, pg_get_constraintdef(c.oid) FROM pg_constraint c
		JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] WHERE contype = 'c'`
	columns, err := list(t.Context(), s.q, scanPair, q)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, c := range columns {
		out[c[0]] = literals(c[1])
	}
	return out
}
