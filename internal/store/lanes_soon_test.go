package store

import (
	"testing"

	"github.com/slipway-ci/slipway/internal/dbtest"
)

// TestAnOfferWaitsForNoFlushOfPostgreSQL, and what is acted on does, as it does where both share a transaction.
func TestAnOfferWaitsForNoFlushOfPostgreSQL(t *testing.T) {
	t.Parallel()
	s := reopen(t, Options{Postgres: dbtest.Template(t, "store", migrated) + "&synchronous_commit=on"})
	ctx := t.Context()
	flushed := func(got *string) func(*Tx) error {
		return func(tx *Tx) (err error) {
			*got, err = one(ctx, tx.q, scanString, "SHOW synchronous_commit")
			return err
		}
	}
	var soon, later, before, after string
	if err := s.UpdateBuildSoon(ctx, "b", flushed(&soon)); err != nil || soon != "off" {
		t.Errorf("an offer's commit is flushed: %s, %v", soon, err)
	}
	if err := s.UpdateBuild(ctx, "b", flushed(&later)); err != nil || later != "on" {
		t.Errorf("the next commit is flushed: %s, %v", later, err)
	}
	group := []*request{{ctx: ctx, fn: flushed(&before), soon: true}, {ctx: ctx, fn: flushed(&after)}}
	if err := s.lanes.together(group); err != nil || before != "on" || after != "on" {
		t.Errorf("the commit of an offer and another update is flushed: %s, %s, %v", before, after, err)
	}
}
