package store

import (
	"errors"
	"testing"
)

// TestARecordIsAddedToTheLogThatWasSeen, or nothing of it is, whatever another server did to the log meanwhile.
func TestARecordIsAddedToTheLogThatWasSeen(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		ctx := t.Context()
		l := Log{JobID: "j", Generation: "g"}
		add := func(at Log, record string, end bool, want error) {
			t.Helper()
			before, _ := s.LogRecords(ctx, at.Generation, 0, 1000)
			if err := s.AppendLog(ctx, at, []byte(record), end); !errors.Is(err, want) {
				t.Errorf("adding %q at %d: %v, want %v", record, at.Length, err, want)
			}
			after, err := s.LogRecords(ctx, at.Generation, 0, 1000)
			if grew := len(after) - len(before); err != nil || (grew == 1) != (want == nil) {
				t.Errorf("adding %q at %d made %d records, %v", record, at.Length, grew, err)
			}
		}
		at := func(length int64) Log { return Log{JobID: l.JobID, Generation: l.Generation, Length: length} }
		add(at(0), "one", false, nil)
		add(at(0), "one", false, ErrConflict) // begun already
		add(at(3), "two", false, nil)
		add(at(3), "six", false, ErrConflict) // as long as what another wrote there
		add(at(3), "longer", false, ErrConflict)
		add(at(9), "ahead", false, ErrConflict)
		add(Log{JobID: "j", Generation: "other", Length: 6}, "x", false, ErrConflict)
		add(Log{JobID: "none", Generation: "none", Length: 6}, "x", false, ErrConflict)
		update(t, s, func(tx *Tx) error { return tx.KeepLog(ctx, at(6), 6) })
		add(at(3), "six", false, ErrConflict) // there is no record any more where another wrote one
		add(at(6), "end", true, nil)
		add(at(9), "late", false, ErrConflict)
		update(t, s, func(tx *Tx) error { return tx.DeleteLog(ctx, "j", "g") })
		add(at(9), "gone", false, ErrConflict)
		if got, err := s.Log(ctx, "j"); !errors.Is(err, ErrNotFound) {
			t.Errorf("the deleted log is %+v, %v", got, err)
		}
	})
}
