package store

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
)

// stocked is a store with an organization of builds on two branches, one a second.
func stocked(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	at := time.Unix(1000, 0)
	err = s.Update(t.Context(), func(tx *Tx) error {
		for _, insert := range []error{
			tx.InsertOrganization(t.Context(), Organization{ID: "o", Slug: "o", Settings: json.RawMessage("{}"), CreatedAt: at}),
			tx.InsertCluster(t.Context(), Cluster{ID: "c", OrganizationID: "o", CreatedAt: at}),
			tx.InsertPipeline(t.Context(), Pipeline{ID: "p", OrganizationID: "o", ClusterID: "c", Slug: "100-pure", Name: "100% Pure_x", Settings: json.RawMessage("{}"), CreatedAt: at}),
		} {
			if insert != nil {
				return insert
			}
		}
		return insertBuilds(t.Context(), tx, at)
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func insertBuilds(ctx context.Context, tx *Tx, at time.Time) error {
	for n := range 6 {
		b := Build{
			Build: ci.Build{State: []ci.BuildState{ci.BuildRunning, ci.BuildPassed}[n%2], CreatedAt: at.Add(time.Duration(n) * time.Second)},
			ID:    fmt.Sprint("b", n), OrganizationID: "o", PipelineID: "p", Number: int64(n + 1), Commit: fmt.Sprint("commit", n%3),
			Branch: []string{"main", "Release/1%"}[n%2], Source: "api", Verdict: Verdict{Decision: "allow"},
		}
		b.Jobs[ci.ClassWaiting] = 2
		if err := tx.InsertBuild(ctx, b); err != nil {
			return err
		}
		if err := tx.SetMetaData(ctx, b.ID, "n", fmt.Sprint(n)); err != nil {
			return err
		}
	}
	return nil
}

func TestFindBuilds(t *testing.T) {
	t.Parallel()
	for name, o := range engines(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := stocked(t, o)
			for _, c := range []struct {
				filter BuildFilter
				want   string
			}{
				{BuildFilter{}, "[6 5 4 3 2 1]"},
				{BuildFilter{PipelineID: "p"}, "[6 5 4 3 2 1]"},
				{BuildFilter{PipelineID: "other"}, "[]"},
				{BuildFilter{OrganizationID: "other"}, "[]"},
				{BuildFilter{States: []ci.BuildState{"running", "failed", "odd"}}, "[5 3 1]"},
				{BuildFilter{Branches: []string{"main"}}, "[5 3 1]"},
				{BuildFilter{Branches: []string{"release/*%"}}, "[6 4 2]"},
				{BuildFilter{Branches: []string{"release/_*"}}, "[]"},
				{BuildFilter{Branches: []string{"*x*", "main"}}, "[5 3 1]"},
				{BuildFilter{Commits: []string{"commit0", "commit1"}}, "[5 4 2 1]"},
				{BuildFilter{CreatedFrom: time.Unix(1002, 0), CreatedTo: time.Unix(1004, 0)}, "[4 3]"},
				{BuildFilter{FinishedFrom: time.Unix(1, 0)}, "[]"},
				{BuildFilter{MetaData: map[string]string{"n": "2"}, States: []ci.BuildState{"running"}}, "[3]"},
				{BuildFilter{CreatorID: "nobody"}, "[]"},
			} {
				if c.filter.OrganizationID == "" {
					c.filter.OrganizationID = "o"
				}
				checkFound(t, s, c.filter, c.want)
			}
		})
	}
}

// checkFound finds builds page by page, and counts them.
func checkFound(t *testing.T, s *Store, f BuildFilter, want string) {
	t.Helper()
	numbers := []int64{}
	for offset := 0; ; offset += 2 {
		page, err := s.FindBuilds(t.Context(), f, Page{Offset: offset, Limit: 2})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page {
			numbers = append(numbers, b.Number)
		}
		if len(page) == 0 {
			break
		}
	}
	if fmt.Sprint(numbers) != want {
		t.Errorf("%+v: found %v, want %s", f, numbers, want)
	}
	for _, most := range []int{4, 100} {
		if n, err := s.CountFoundBuilds(t.Context(), f, most); err != nil || n != min(len(numbers), most) {
			t.Errorf("%+v: counted %d up to %d, want %d: %v", f, n, most, len(numbers), err)
		}
	}
}

func TestReadsOfManyIDs(t *testing.T) {
	t.Parallel()
	for name, o := range engines(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := stocked(t, o)
			ids := []string{"b0", "b0", "", "b1", "b2"}
			for n := range 3 * maxValues {
				ids = append(ids, fmt.Sprint("none", n))
			}
			builds, err := s.BuildsByID(t.Context(), ids)
			if err != nil || len(builds) != 3 {
				t.Errorf("%d builds, %v; want 3", len(builds), err)
			}
			refs, err := s.BuildRefs(t.Context(), ids)
			if err != nil || refs["b1"] != (BuildRef{ID: "b1", Number: 2, Pipeline: "100-pure"}) {
				t.Errorf("%v, %v", refs, err)
			}
			data, err := s.MetaDataOfBuilds(t.Context(), []string{"b1", "b2"})
			if err != nil || len(data) != 2 || data["b2"]["n"] != "2" {
				t.Errorf("%v, %v", data, err)
			}
			if none, err := s.JobsOfBuilds(t.Context(), nil); err != nil || len(none) != 0 {
				t.Errorf("%v, %v", none, err)
			}
			loads, err := s.Loads(t.Context(), "o")
			if err != nil || loads["p"].Builds[ci.BuildRunning] != 3 || loads["p"].Jobs[ci.ClassWaiting] != 6 {
				t.Errorf("%v, %v", loads, err)
			}
		})
	}
}

func TestFindPipelinesTakesTextsAsTheyAre(t *testing.T) {
	t.Parallel()
	for name, o := range engines(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := stocked(t, o)
			for text, want := range map[string]int{"": 1, "pure": 1, "0% p": 1, "%x": 0, "e_x": 1, "_": 1, `\`: 0} {
				found, total, err := s.FindPipelines(t.Context(), "o", text, "", Page{Limit: 10})
				if err != nil || len(found) != want || total != want {
					t.Errorf("%q: found %d of %d, want %d: %v", text, len(found), total, want, err)
				}
			}
		})
	}
}
