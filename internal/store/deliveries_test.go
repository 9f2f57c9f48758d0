package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDeliveriesAreABoundedLog(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		seed(t, s)
		ctx := t.Context()
		for i := range 12 {
			update(t, s, func(tx *Tx) error {
				return tx.InsertDelivery(ctx, Delivery{
					ID: fmt.Sprint("d", i), PipelineID: "p", Key: fmt.Sprint("k", i), Source: "webhook", Outcome: "ignored", CreatedAt: at(i),
				}, 5)
			})
		}
		got, err := s.Deliveries(ctx, "p", 100)
		if err != nil || len(got) != 5 || got[0].Key != "k11" || got[4].Key != "k7" {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := s.Delivery(ctx, "p", "k11"); err != nil {
			t.Error(err)
		}
		if _, err := s.Delivery(ctx, "p", "k0"); !errors.Is(err, ErrNotFound) {
			t.Errorf("the oldest is still there: %v", err)
		}
		if n, err := s.CountDeliveries(ctx, "p", "webhook", at(8)); n != 3 || err != nil {
			t.Errorf("%d since, %v", n, err)
		}
		err = s.Update(ctx, func(tx *Tx) error {
			return tx.InsertDelivery(ctx, Delivery{ID: "x", PipelineID: "p", Key: "k11", Source: "webhook", Outcome: "built", CreatedAt: at(20)}, 5)
		})
		if !errors.Is(err, ErrConflict) {
			t.Errorf("one key twice: %v", err)
		}
	})
}

func TestPullRequestsKeepTheNewestFacts(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		seed(t, s)
		ctx := t.Context()
		put := func(facts string, updated time.Time) {
			update(t, s, func(tx *Tx) error {
				return tx.PutPullRequest(ctx, PullRequestFacts{PipelineID: "p", Number: "7", Branch: "topic", Own: true, Facts: []byte(facts), UpdatedAt: updated})
			})
		}
		put(`{"a":1}`, at(5))
		put(`{"a":2}`, at(6))
		put(`{"a":0}`, at(4)) // came late
		got, err := s.PullRequestOf(ctx, "p", "topic")
		want := PullRequestFacts{PipelineID: "p", Number: "7", Branch: "topic", Own: true, Facts: []byte(`{"a":2}`), UpdatedAt: at(6)}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s %v", diff, err)
		}
		update(t, s, func(tx *Tx) error { return tx.DropPullRequest(ctx, "p", "7") })
		if _, err := s.PullRequest(ctx, "p", "7"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
}

func TestBuildsOfACommitAndOfABranch(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		seed(t, s)
		ctx := t.Context()
		update(t, s, func(tx *Tx) error {
			b, err := tx.Build(ctx, "b")
			if err != nil {
				return err
			}
			b.Commit, b.Branch = "abc", "main"
			return tx.UpdateBuild(ctx, b)
		})
		for branch, want := range map[string]bool{"main": true, "": true, "other": false} {
			n, err := s.BuiltCommit(ctx, "p", "abc", branch)
			if (err == nil) != want || want && n != 1 {
				t.Errorf("branch %q: %d, %v", branch, n, err)
			}
		}
		if open, err := s.OpenBuildsOfBranch(ctx, "p", "main", 10); err != nil || len(open) != 1 {
			t.Errorf("%d, %v", len(open), err)
		}
	})
}
