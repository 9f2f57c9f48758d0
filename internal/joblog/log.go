package joblog

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/slipway-ci/slipway/internal/joblog/lines"
)

// Bounds of what a log keeps in memory of chunks that came early, and of how much text must be indexed again after a crash.
const (
	maxEarlyText  = 2 * ChunkBytes
	snapshotEvery = 64 << 20
	// keptIndex is how long, in bytes of text, a finished log is at most whose index is kept in memory alone. Reading so much again
	// takes about a millisecond; a file more for each job that prints little takes longer.
	keptIndex = 256 << 10
)

// early is a chunk that came before one that precedes it.
type early struct {
	extent
	text []byte // nil if too much of it waits
}

// jobLog is an open log.
type jobLog struct {
	store *Store
	id    string

	// Guarded by store.mu.
	refs    int
	used    uint64 // when it was last asked for, in calls
	deleted bool

	ready  chan struct{} // closed once loaded
	failed error         // of loading; set before ready is closed

	mu          sync.Mutex
	file        records
	indexes     indexes
	remote      *sharedLog // file, where several servers write to it
	idx         *indexFile // of a finished log
	end         int64      // of the file's last whole record
	next        int64      // in the agent's count: all before it is here
	text        int64
	extents     []extent // up to next, in order; only ever appended to
	early       []early  // after next, in order
	earlyText   int
	grown       time.Time  // when text was last added, or what came early began to wait
	limitAt     int64      // the lowest offset of a refused chunk, or MaxInt64
	limit       LimitError // why it was refused
	limited     bool       // the text says so
	index       *lines.Index
	snapshot    int64 // text bytes in the stored index
	stored      int64 // end when the index was stored
	dirty       bool  // written since the last sync
	queued      bool  // in store.dirty
	gone        bool  // deleted
	broken      error // of a sync
	sealed      *view // of a finished log
	sealedIndex sealedIndex
	outline     Outline // of a finished log without idx
}

func newJobLog(s *Store, id string) *jobLog {
	return &jobLog{store: s, id: id, ready: make(chan struct{}), limitAt: math.MaxInt64, index: lines.NewIndex(lines.Settled{})}
}

// check says what to do with a chunk: nothing (duplicate), refuse it (err) or add it.
func (l *jobLog) check(c Chunk) (duplicate bool, err error) {
	switch {
	case l.gone:
		return false, ErrNotFound
	case l.broken != nil:
		return false, l.broken
	}
	duplicate, err = l.neighbours(c)
	switch {
	case duplicate || err != nil:
		return duplicate, err
	case l.sealed != nil:
		return false, ErrFinished
	case c.Offset < l.next:
		return false, &ChunkError{c.Sequence, "came too late: the log goes on without it"}
	}
	return false, l.overLimit(c)
}

func (l *jobLog) overLimit(c Chunk) error {
	most := l.store.options.MaxBytes
	if c.Most > 0 {
		most = c.Most
	}
	end := c.Offset + c.Size
	switch {
	case c.Offset >= l.limitAt:
		return &LimitError{end, l.limit.Chunks, l.limit.Limit}
	case end > most:
		return &LimitError{End: end, Limit: most}
	case len(l.extents)+len(l.early) >= l.store.options.MaxChunks:
		return &LimitError{end, true, int64(l.store.options.MaxChunks)}
	}
	return nil
}

// neighbours compares c with the chunks just before and after its offset.
func (l *jobLog) neighbours(c Chunk) (bool, error) {
	known := l.known()
	i, err := known.before(func(e extent) bool { return e.Offset > c.Offset })
	if err != nil {
		return false, err
	}
	around := []int{i, i + 1}
	if n := known.len(); i+1 >= n {
		around = around[:1]
	}
	for _, i := range around {
		if i < 0 {
			continue
		}
		e, err := known.at(i)
		if err != nil {
			return false, err
		}
		if duplicate, err := compare(c, e); duplicate || err != nil {
			return duplicate, err
		}
	}
	j, _ := slices.BinarySearchFunc(l.early, c.Offset, earlyAt)
	for _, e := range l.early[max(j-1, 0):min(j+1, len(l.early))] {
		if duplicate, err := compare(c, e.extent); duplicate || err != nil {
			return duplicate, err
		}
	}
	return false, nil
}

func earlyAt(e early, offset int64) int { return cmp.Compare(e.Offset, offset) }

func (l *jobLog) known() table[extent] {
	if l.sealed != nil {
		return l.sealed.extents
	}
	return table[extent]{mem: l.extents}
}

func compare(c Chunk, e extent) (duplicate bool, err error) {
	if e.Sequence == 0 {
		return false, nil // a line of the server's own
	}
	if e.Sequence == c.Sequence && e.Offset == c.Offset && e.Size == c.Size {
		return true, nil
	}
	apart := c.Offset+c.Size <= e.Offset && c.Sequence < e.Sequence ||
		e.Offset+e.Size <= c.Offset && c.Sequence > e.Sequence
	if apart {
		return false, nil
	}
	return false, &ConflictError{c.Sequence, c.Offset, c.Size, e.Sequence, e.Offset, e.Size}
}

// add stores a chunk that check has passed.
func (l *jobLog) add(c Chunk, text []byte) error {
	e, err := l.write(record{kind: chunkRecord, sequence: c.Sequence, offset: c.Offset, size: c.Size, text: uint32(c.Size)}, c.Gzip)
	if err != nil {
		return err
	}
	if e.Offset != l.next {
		l.keepEarly(e, text)
		return nil
	}
	l.take(e, text)
	return l.advance()
}

// write appends a record. What a failed write left behind is overwritten by the next.
func (l *jobLog) write(r record, gz []byte) (extent, error) {
	r.gzip, r.sum = uint32(len(gz)), crc32.Checksum(gz, castagnoli)
	buf := l.store.buffers.get(headSize + len(gz))
	defer l.store.buffers.put(buf)
	b := append(r.appendTo((*buf)[:0]), gz...)
	if err := l.file.append(l.end, b, r.kind == endRecord); err != nil {
		return extent{}, fmt.Errorf("writing log %s: %w", l.id, err)
	}
	e := r.extent(l.end + headSize)
	l.end += int64(len(b))
	l.dirty = true
	return e, nil
}

func (l *jobLog) keepEarly(e extent, text []byte) {
	kept := early{extent: e}
	if l.earlyText+len(text) <= maxEarlyText {
		kept.text = bytes.Clone(text)
		l.earlyText += len(text)
	}
	if len(l.early) == 0 {
		l.grown = time.Now()
	}
	i, _ := slices.BinarySearchFunc(l.early, e.Offset, earlyAt)
	l.early = slices.Insert(l.early, i, kept)
}

// take makes e, which starts at next, the last of the readable chunks.
func (l *jobLog) take(e extent, text []byte) {
	e.Text = l.text
	l.extents = append(l.extents, e)
	l.next = e.Offset + e.Size
	l.text += int64(e.Bytes)
	l.grown = time.Now()
	_, _ = l.index.Write(text) // never fails
}

// advance takes the early chunks whose turn has come, and says that the log is full where it is.
func (l *jobLog) advance() error {
	if err := l.takeEarly(); err != nil {
		return err
	}
	if l.next == l.limitAt && !l.limited {
		return l.sayLimit()
	}
	return nil
}

func (l *jobLog) takeEarly() error {
	for len(l.early) > 0 && l.early[0].Offset == l.next {
		e := l.early[0]
		l.early = slices.Delete(l.early, 0, 1)
		l.earlyText -= len(e.text)
		if err := l.takeStored(e); err != nil {
			return err
		}
	}
	return nil
}

func (l *jobLog) takeStored(e early) error {
	if e.text != nil {
		l.take(e.extent, e.text)
		return nil
	}
	return l.readChunk(e.extent, func(text []byte) { l.take(e.extent, text) })
}

// readChunk passes the text of a stored chunk to use.
func (l *jobLog) readChunk(e extent, use func(text []byte)) error {
	gz, text := l.store.buffers.get(int(e.Gzip)), l.store.buffers.get(int(e.Bytes))
	defer l.store.buffers.put(gz)
	defer l.store.buffers.put(text)
	if _, err := l.file.ReadAt(*gz, e.Pos); err != nil {
		return fmt.Errorf("reading log %s at %d: %w", l.id, e.Pos, err)
	}
	z := l.store.inflaters.get()
	defer l.store.inflaters.put(z)
	if err := z.chunk(*gz, *text); err != nil {
		return fmt.Errorf("reading log %s at %d: %w", l.id, e.Pos, err)
	}
	use(*text)
	return nil
}

// say adds a line of the server's own, which stands for size bytes of the agent's.
func (l *jobLog) say(kind recordKind, size int64, format string, args ...any) error {
	text := fmt.Appendf(nil, "\r\n[slipway: "+format+"]\r\n", args...)
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, err := w.Write(text)
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	e, err := l.write(record{kind: kind, offset: l.next, size: size, text: uint32(len(text))}, gz.Bytes())
	if err != nil {
		return err
	}
	l.take(e, text)
	return nil
}

func (l *jobLog) sayLimit() error {
	err := l.say(limitRecord, 0, "%s", l.limit.line())
	l.limited = err == nil
	return err
}

// refuse remembers where the limit was met.
func (l *jobLog) refuse(offset int64, why LimitError) error {
	offset = max(offset, l.next)
	if l.limited || offset >= l.limitAt {
		return nil
	}
	r := record{kind: refusedRecord, offset: offset, size: why.Limit}
	if why.Chunks {
		r.sequence = 1
	}
	if _, err := l.write(r, nil); err != nil {
		return err
	}
	l.limitAt, l.limit = offset, why
	return l.advance()
}

// giveUp lets a line of the server's own stand for the first missing range.
func (l *jobLog) giveUp() error {
	missing := l.early[0].Offset - l.next
	if err := l.say(gapRecord, missing, "%d bytes of the log are missing here; they never arrived", missing); err != nil {
		return err
	}
	return l.advance()
}

// seal closes the log: gaps are filled and an end is written.
func (l *jobLog) seal() error {
	for len(l.early) > 0 {
		if err := l.giveUp(); err != nil {
			return err
		}
	}
	if l.limitAt != math.MaxInt64 && !l.limited {
		if err := l.sayLimit(); err != nil {
			return err
		}
	}
	if _, err := l.write(record{kind: endRecord, offset: l.next}, nil); err != nil {
		return err
	}
	return l.settleIndex()
}

// settleIndex makes a finished log readable without what growing needs.
func (l *jobLog) settleIndex() error {
	if l.text <= keptIndex {
		l.keepSealed()
		return nil
	}
	if l.remote != nil && l.openSealed() == nil {
		return nil // another server stored it
	}
	if err := l.sync(); err != nil {
		return err
	}
	return l.storeSealed()
}

// keepSealed makes a finished log readable from memory.
func (l *jobLog) keepSealed() {
	total, _ := l.index.Lines()
	l.outline.Groups, l.outline.Errors = l.index.View()
	l.sealed = &view{
		file: l.file, extents: table[extent]{mem: l.extents}, checkpoints: table[lines.Checkpoint]{mem: l.index.Checkpoints()},
		size: Size{Text: l.text, Lines: total, Settled: total, Finished: true}, inflaters: &l.store.inflaters,
	}
	l.extents, l.early, l.index = nil, nil, nil
}

func (l *jobLog) sync() error {
	if l.dirty {
		l.dirty = false
		if err := l.file.sync(); err != nil {
			l.fail(err)
		}
	}
	return l.broken
}

// fail remembers a failed sync: the kernel may have dropped the pages, so that trying again would only seem to help.
func (l *jobLog) fail(err error) {
	if l.broken == nil {
		l.broken = fmt.Errorf("syncing log %s: %w", l.id, err)
	}
}

func (l *jobLog) view() view {
	if l.sealed != nil {
		return *l.sealed
	}
	return view{
		file: l.file, extents: table[extent]{mem: l.extents}, checkpoints: table[lines.Checkpoint]{mem: l.index.Checkpoints()},
		size: l.size(), inflaters: &l.store.inflaters,
	}
}

func (l *jobLog) size() Size {
	if l.sealed != nil {
		return l.sealed.size
	}
	total, settled := l.index.Lines()
	return Size{Text: l.text, Lines: total, Settled: settled}
}

func (l *jobLog) progress(duplicate bool) Progress {
	s := l.size()
	return Progress{Duplicate: duplicate, Size: s.Text, Lines: s.Lines}
}
