package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEventsAreCountedByLeafTests(t *testing.T) {
	t.Parallel()
	events := strings.Join([]string{
		`{"Action":"run","Package":"p","Test":"TestA"}`,
		`{"Action":"run","Package":"p","Test":"TestA/one"}`,
		`{"Action":"run","Package":"p","Test":"TestA/two"}`,
		`{"Action":"attr","Package":"p","Test":"TestA/one","Key":"agent","Value":"3.138.1"}`,
		`{"Action":"output","Package":"p","Test":"TestA/two","Output":"got 1, want 2\n"}`,
		`{"Action":"pass","Package":"p","Test":"TestA/one"}`,
		`{"Action":"fail","Package":"p","Test":"TestA/two"}`,
		`{"Action":"fail","Package":"p","Test":"TestA"}`,
		`{"Action":"fail","Package":"p","Elapsed":2.4}`,
		`{"ImportPath":"q [q.test]","Action":"build-output","Output":"q.go:1: undefined\n"}`,
		`{"ImportPath":"q [q.test]","Action":"build-fail"}`,
		`{"Action":"output","Package":"q","Output":"FAIL q\n"}`,
		`{"Action":"fail","Package":"q","FailedBuild":"q [q.test]"}`,
		`{"Action":"skip","Package":"r","Test":"TestB"}`,
		`{"Action":"pass","Package":"r"}`,
	}, "\n")
	got, err := readEvents(strings.NewReader(events))
	if err != nil {
		t.Fatal(err)
	}
	want := result{
		passed:  1,
		notes:   []string{"agent 3.138.1"},
		slowest: []string{"p 2 s"},
		failures: []failure{
			{"r TestB", "skipped: a test runs or fails\n"},
			{"p TestA/two", "got 1, want 2\n"},
			{"q", "q.go:1: undefined\nFAIL q\n"},
		},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{}, failure{})); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

func TestStagesThatWaitRunBesideAnother(t *testing.T) {
	t.Parallel()
	// Each makes a file and waits for that of the other.
	meet := func(mine, other string) []string {
		return []string{"sh", "-c", "touch $0; for i in $(seq 30000); do test -e $1 && exit 0; sleep 0.01; done; exit 1", mine, other}
	}
	dir := t.TempDir()
	stages := []stage{
		{name: "a", dir: dir, command: meet("a", "b"), judge: succeeds},
		{name: "b", dir: dir, command: meet("b", "a"), judge: succeeds},
		{name: "c", dir: dir, command: []string{"false"}, judge: succeeds},
	}
	var out strings.Builder
	results := together(t.Context(), nil, stages, &out)
	for i, want := range []int{1, 1, 0} {
		if r := results[i]; r.stage != stages[i].name || r.passed != want {
			t.Errorf("stage %s passed %d, want %d of %s\n%s", r.stage, r.passed, want, stages[i].name, &out)
		}
	}
	if !strings.Contains(out.String(), "failed: false") {
		t.Errorf("the failure is not told:\n%s", &out)
	}
}

func TestUnknownStageNamesTheStages(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	code, err := run(t.Context(), []string{"lint"}, &out)
	if code != 2 || err == nil || !strings.Contains(err.Error(), "staticcheck") {
		t.Errorf("run(lint) = %d, %v; want 2 and the list of stages", code, err)
	}
}
