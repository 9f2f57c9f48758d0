package joblog

import "github.com/slipway-ci/slipway/internal/blob"

// KeepRows sets how many bytes of a growing log may be in rows, and how many are in one blob.
func (s *Store) KeepRows(tail, part int64) { s.shared.tail, s.shared.part = tail, part }

// MoveSmall moves small logs to blobs like large ones.
func (s *Store) MoveSmall() { s.shared.small = 0 }

// Share returns another server's store of the logs of s.
func Share(s *Store) (*Store, error) { return ShareOver(s, s.shared.blobs) }

// ShareOver is Share with another way to the blobs.
func ShareOver(s *Store, blobs blob.Store) (*Store, error) {
	return OpenShared(s.shared.db, blobs, Options{Hub: s.hub}, s.log)
}
