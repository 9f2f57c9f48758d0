package joblog

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/slipway-ci/slipway/internal/joblog/lines"
)

// An index file holds a head of indexHead bytes (magic, CRC-32C of the rest of the file, then the fields of sealedIndex),
// the extents, the checkpoints and the rest as JSON. It is replaced as a whole. One that cannot be read is made again from the log.
const (
	indexMagic = "SLX2"
	indexHead  = 64
)

// sealedIndex is the head of an index file.
type sealedIndex struct {
	sum         uint32
	pos         int64 // the log's file is covered up to here
	text        int64
	lines       int64
	extents     int64
	checkpoints int64
	rest        int64 // bytes of JSON
	finished    int64 // 0 or 1
}

// indexRest is what is small, or needed whole.
type indexRest struct {
	Settled lines.Settled
	Next    int64
	Early   []extent
	LimitAt int64
	Limit   LimitError
	Limited bool
}

func (h sealedIndex) appendTo(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(append(b, indexMagic...), h.sum)
	for _, v := range [...]int64{h.pos, h.text, h.lines, h.extents, h.checkpoints, h.rest, h.finished} {
		b = le.AppendUint64(b, uint64(v))
	}
	return b
}

var errIndex = errors.New("not an index of this log")

func parseIndexHead(b []byte) (sealedIndex, error) {
	le := binary.LittleEndian
	if len(b) < indexHead || string(b[:4]) != indexMagic {
		return sealedIndex{}, errIndex
	}
	at := func(i int) int64 { return int64(le.Uint64(b[8+8*i:])) }
	h := sealedIndex{le.Uint32(b[4:]), at(0), at(1), at(2), at(3), at(4), at(5), at(6)}
	for _, n := range [...]int64{h.extents, h.checkpoints, h.rest} {
		if n < 0 || n > math.MaxInt32 {
			return sealedIndex{}, errIndex
		}
	}
	return h, nil
}

func (h sealedIndex) checkpointBase() int64 { return indexHead + h.extents*extentSize }
func (h sealedIndex) restBase() int64       { return h.checkpointBase() + h.checkpoints*checkpointSize }

// encodeIndex returns the index file's content.
func (l *jobLog) encodeIndex(finished bool) ([]byte, error) {
	rest := indexRest{Settled: l.index.Settled(), Next: l.next, LimitAt: l.limitAt, Limit: l.limit, Limited: l.limited}
	checkpoints := rest.Settled.Checkpoints
	rest.Settled.Checkpoints = nil
	for _, e := range l.early {
		rest.Early = append(rest.Early, e.extent)
	}
	if finished {
		rest.Settled.Groups, rest.Settled.Errors = l.index.View()
	}
	encoded, err := json.Marshal(rest)
	if err != nil {
		return nil, err
	}
	total, _ := l.index.Lines()
	h := sealedIndex{
		pos: l.end, text: l.text, lines: total, extents: int64(len(l.extents)), checkpoints: int64(len(checkpoints)), rest: int64(len(encoded)),
	}
	if finished {
		h.finished = 1
	}
	b := h.appendTo(make([]byte, 0, h.restBase()+h.rest))
	for _, e := range l.extents {
		b = e.appendTo(b)
	}
	for _, c := range checkpoints {
		b = appendCheckpoint(b, c)
	}
	b = append(b, encoded...)
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	return b, nil
}

// storeIndex replaces the index file. The log must have been synced: an index never covers more than survives.
func (l *jobLog) storeIndex(finished bool) error {
	b, err := l.encodeIndex(finished)
	if err != nil {
		return err
	}
	if err := l.indexes.write(b, finished); err != nil {
		return err
	}
	l.snapshot, l.stored = l.text, l.end
	return nil
}

// storeSealed stores the index of a finished log and drops it from memory.
func (l *jobLog) storeSealed() error {
	if err := l.storeIndex(true); err != nil {
		return fmt.Errorf("storing the index of log %s: %w", l.id, err)
	}
	return l.openSealed()
}

// openSealed makes the log readable through its index file.
func (l *jobLog) openSealed() error {
	f, err := l.indexes.read(true)
	if err != nil {
		return err
	}
	h, err := readIndexHead(f)
	if err == nil && (h.finished != 1 || h.pos != l.end) {
		err = errIndex
	}
	if err != nil {
		return errors.Join(err, f.close())
	}
	l.idx, l.sealedIndex = f, h
	l.extents, l.early, l.index = nil, nil, nil
	l.sealed = &view{
		file:    l.file,
		extents: table[extent]{file: f, base: indexHead, n: int(h.extents), width: extentSize, parse: parseExtent},
		checkpoints: table[lines.Checkpoint]{
			file: f, base: h.checkpointBase(), n: int(h.checkpoints), width: checkpointSize, parse: parseCheckpoint,
		},
		size:      Size{Text: h.text, Lines: h.lines, Settled: h.lines, Finished: true},
		inflaters: &l.store.inflaters,
	}
	return nil
}

func readIndexHead(f *indexFile) (sealedIndex, error) {
	var b [indexHead]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return sealedIndex{}, errIndex
	}
	h, err := parseIndexHead(b[:])
	if err != nil {
		return h, err
	}
	if f.size != h.restBase()+h.rest {
		return h, errIndex
	}
	return h, nil
}

func readRest(f *indexFile, h sealedIndex) (indexRest, error) {
	var rest indexRest
	err := json.NewDecoder(io.NewSectionReader(f, h.restBase(), h.rest)).Decode(&rest)
	return rest, err
}

// readIndex returns the index of a growing log.
func (l *jobLog) readIndex() ([]byte, error) {
	f, err := l.indexes.read(false)
	if err != nil {
		return nil, err
	}
	b := make([]byte, f.size)
	_, err = f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b, errors.Join(err, f.close())
}

// loadIndex continues from a stored index. It reports errIndex, and has changed nothing, if there is none to trust.
func (l *jobLog) loadIndex() error {
	b, err := l.readIndex()
	if err != nil {
		return errIndex
	}
	h, err := parseIndexHead(b)
	if err != nil || int64(len(b)) != h.restBase()+h.rest || h.sum != crc32.Checksum(b[8:], castagnoli) || h.pos > l.end {
		return errIndex
	}
	var rest indexRest
	if err := json.Unmarshal(b[h.restBase():], &rest); err != nil || h.finished == 1 {
		return errIndex
	}
	for at := int64(indexHead); at < h.checkpointBase(); at += extentSize {
		l.extents = append(l.extents, parseExtent(b[at:]))
	}
	for at := h.checkpointBase(); at < h.restBase(); at += checkpointSize {
		rest.Settled.Checkpoints = append(rest.Settled.Checkpoints, parseCheckpoint(b[at:]))
	}
	for _, e := range rest.Early {
		l.early = append(l.early, early{extent: e})
	}
	l.end, l.text, l.next = h.pos, h.text, rest.Next
	l.limitAt, l.limit, l.limited = rest.LimitAt, rest.Limit, rest.Limited
	l.snapshot, l.stored = l.text, l.end
	l.index = lines.NewIndex(rest.Settled)
	return nil
}
