package store

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestLinesOfQueuesAndGroupsComeFromAnIndexInOrder(t *testing.T) {
	t.Parallel()
	s := reopen(t, Options{Path: filepath.Join(t.TempDir(), "slipway.db")})
	for q, index := range map[string]string{
		sqlQueueHead: "jobs_scheduled", sqlGroupUsers: "jobs_holders", sqlJobLines: "jobs_build",
		sqlStepLines: "steps_order", sqlCrews: "agents_live",
	} {
		args := make([]any, strings.Count(q, "$"))
		for i := range args {
			args[i] = 1
		}
		scan := func(sc scanner) (v string, err error) { var a, b, c int; return v, sc.Scan(&a, &b, &c, &v) }
		plan, err := list(t.Context(), s.q, scan, "EXPLAIN QUERY PLAN "+q, args...)
		text := strings.Join(plan, "; ")
		if err != nil || !strings.Contains(text, index) {
			t.Errorf("%s\n  err %v, plan: %s; want it to use %s", firstWords(q), err, text, index)
		}
		if q == sqlQueueHead && strings.Contains(text, "TEMP B-TREE") {
			t.Errorf("the head of a queue sorts: %s", text)
		}
	}
}
