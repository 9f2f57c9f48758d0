package joblog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

type recordKind uint8

const (
	chunkRecord   recordKind = iota + 1
	gapRecord                // text that stands for bytes that never came
	limitRecord              // text that says that the rest was refused
	endRecord                // the log is finished
	refusedRecord            // no text: from its offset on nothing is kept, because of a limit
)

// record is the head of a record. Little endian: magic, kind, 3 zero bytes, then the fields in order as 8, 8, 8, 4, 4, 4
// bytes, then the CRC-32C of all before.
type record struct {
	kind     recordKind
	sequence int64
	offset   int64  // in the agent's count
	size     int64  // in the agent's count
	text     uint32 // bytes of text
	gzip     uint32 // bytes that follow the head
	sum      uint32 // CRC-32C of those
}

const (
	headSize = 48
	magic    = "SLG1"
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errTorn    = errors.New("not a log record")
)

func (r record) appendTo(b []byte) []byte {
	start := len(b)
	le := binary.LittleEndian
	b = append(b, magic...)
	b = append(b, byte(r.kind), 0, 0, 0)
	b = le.AppendUint64(b, uint64(r.sequence))
	b = le.AppendUint64(b, uint64(r.offset))
	b = le.AppendUint64(b, uint64(r.size))
	b = le.AppendUint32(b, r.text)
	b = le.AppendUint32(b, r.gzip)
	b = le.AppendUint32(b, r.sum)
	return le.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// parseRecord reads a head of headSize bytes.
func parseRecord(b []byte) (record, error) {
	le := binary.LittleEndian
	if len(b) < headSize || string(b[:4]) != magic || le.Uint32(b[44:]) != crc32.Checksum(b[:44], castagnoli) {
		return record{}, errTorn
	}
	r := record{
		kind: recordKind(b[4]), sequence: int64(le.Uint64(b[8:])), offset: int64(le.Uint64(b[16:])), size: int64(le.Uint64(b[24:])),
		text: le.Uint32(b[32:]), gzip: le.Uint32(b[36:]), sum: le.Uint32(b[40:]),
	}
	if r.kind < chunkRecord || r.kind > refusedRecord || r.offset < 0 || r.size < 0 {
		return record{}, errTorn
	}
	return r, nil
}

// extent says where a chunk's bytes are: in the agent's count, in the text, in the file.
type extent struct {
	Sequence int64
	Offset   int64 // in the agent's count
	Size     int64 // in the agent's count
	Text     int64 // offset in the text; not set while bytes before are missing
	Pos      int64 // of the gzip bytes in the file
	Bytes    uint32
	Gzip     uint32
}

func (r record) extent(pos int64) extent {
	return extent{Sequence: r.sequence, Offset: r.offset, Size: r.size, Pos: pos, Bytes: r.text, Gzip: r.gzip}
}

const extentSize = 48

func (e extent) appendTo(b []byte) []byte {
	le := binary.LittleEndian
	for _, v := range [...]int64{e.Sequence, e.Offset, e.Size, e.Text, e.Pos} {
		b = le.AppendUint64(b, uint64(v))
	}
	return le.AppendUint32(le.AppendUint32(b, e.Bytes), e.Gzip)
}

func parseExtent(b []byte) extent {
	le := binary.LittleEndian
	at := func(i int) int64 { return int64(le.Uint64(b[i:])) }
	return extent{at(0), at(8), at(16), at(24), at(32), le.Uint32(b[40:]), le.Uint32(b[44:])}
}
