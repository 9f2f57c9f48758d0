package joblog

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/slipway-ci/slipway/internal/joblog/lines"
)

// load opens the log's files. A torn last record counts for nothing.
func (l *jobLog) load(how opening) error {
	m, err := l.store.keeper.open(l.id, how)
	if err != nil {
		return err
	}
	l.file, l.indexes = m.records, m.indexes
	l.remote, _ = m.records.(*sharedLog)
	if err := l.scan(m.length); err != nil {
		return errors.Join(fmt.Errorf("opening log %s: %w", l.id, err), l.closeFiles())
	}
	return nil
}

func (l *jobLog) closeFiles() error {
	err := l.file.Close()
	if l.idx != nil {
		err = errors.Join(err, l.idx.close())
	}
	return err
}

func (l *jobLog) scan(size int64) error {
	l.end = size
	if size == 0 {
		return nil
	}
	if size >= headSize && l.endsAt(size) && l.openSealed() == nil {
		return nil
	}
	if err := l.resume(); err != nil {
		return err
	}
	return l.readTo(size)
}

// readTo takes the records up to size.
func (l *jobLog) readTo(size int64) error {
	ended, err := l.scanRecords(size)
	if err != nil {
		return err
	}
	if ended {
		return l.settleIndex()
	}
	return nil
}

// catchUp takes what other servers wrote. It returns errReplaced if one of them deleted the log.
func (l *jobLog) catchUp() error {
	if l.remote == nil {
		return nil
	}
	size, err := l.remote.current()
	if errors.Is(err, errReplaced) {
		l.gone = true
		l.store.mu.Lock()
		l.store.drop(l)
		l.store.mu.Unlock()
	}
	if err != nil || l.sealed != nil || size == l.end {
		return err
	}
	return l.readTo(size)
}

// endsAt reports whether the file's last record is an end.
func (l *jobLog) endsAt(size int64) bool {
	var b [headSize]byte
	if _, err := l.file.ReadAt(b[:], size-headSize); err != nil {
		return false
	}
	r, err := parseRecord(b[:])
	return err == nil && r.kind == endRecord
}

// resume takes up the stored index, if any, and reads again the text that had not settled in it.
func (l *jobLog) resume() error {
	if err := l.loadIndex(); err != nil {
		l.end = 0
		return nil // the index is made again from the log
	}
	from := l.index.Settled().Resume.Offset
	v := view{file: l.file, extents: table[extent]{mem: l.extents}, size: Size{Text: l.text}, inflaters: &l.store.inflaters}
	r, err := v.reader(from)
	if err == nil {
		_, err = io.Copy(l.index, r)
		err = errors.Join(err, r.Close())
	}
	if err != nil {
		l.reset()
	}
	return nil
}

// reset forgets what a stored index said.
func (l *jobLog) reset() {
	l.end, l.text, l.next, l.snapshot, l.stored, l.limitAt, l.limited = 0, 0, 0, 0, 0, math.MaxInt64, false
	l.extents, l.early, l.earlyText = nil, nil, 0
	l.index = lines.NewIndex(lines.Settled{})
}

// scanRecords reads the records from end to size. What is not a whole one at the end counts for nothing.
func (l *jobLog) scanRecords(size int64) (ended bool, err error) {
	for l.end < size {
		r, whole, err := l.readRecord(size)
		if err != nil {
			return false, err
		}
		if !whole && l.remote != nil {
			return false, fmt.Errorf("record at %d of log %s: %w", l.end, l.id, errTorn)
		}
		if !whole {
			return false, nil // the next record takes its place
		}
		e := r.extent(l.end + headSize)
		l.end = e.Pos + int64(r.gzip)
		if r.kind == endRecord {
			return true, nil
		}
		if err := l.replay(r, e); err != nil {
			return false, err
		}
	}
	return false, nil
}

// readRecord reads the record at end. The bytes of a last one may be missing or, after a loss of power, wrong.
func (l *jobLog) readRecord(size int64) (r record, whole bool, err error) {
	var head [headSize]byte
	if size-l.end < headSize {
		return record{}, false, nil
	}
	if _, err := l.file.ReadAt(head[:], l.end); err != nil {
		return record{}, false, err
	}
	r, err = parseRecord(head[:])
	after := l.end + headSize + int64(r.gzip)
	if err != nil || after > size {
		return record{}, false, nil // it is cut off
	}
	if after < size {
		return r, true, nil
	}
	whole, err = l.sound(r, r.extent(l.end+headSize))
	return r, whole, err
}

// replay repeats what writing r did. A damaged chunk leaves a gap.
func (l *jobLog) replay(r record, e extent) error {
	if sound, err := l.sound(r, e); err != nil || !sound {
		return err
	}
	switch r.kind {
	case refusedRecord:
		l.limitAt, l.limit = r.offset, LimitError{Chunks: r.sequence == 1, Limit: r.size}
		return nil
	case limitRecord:
		l.limited = true
	}
	if e.Offset != l.next {
		l.keepEarly(e, nil)
		return nil
	}
	if err := l.takeStored(early{extent: e}); err != nil {
		return err
	}
	return l.takeEarly()
}

func (l *jobLog) sound(r record, e extent) (bool, error) {
	gz := l.store.buffers.get(int(r.gzip))
	defer l.store.buffers.put(gz)
	if _, err := l.file.ReadAt(*gz, e.Pos); err != nil {
		return false, err
	}
	return crc32.Checksum(*gz, castagnoli) == r.sum, nil
}
