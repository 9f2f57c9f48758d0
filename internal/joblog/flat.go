package joblog

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// flat decompresses a whole chunk into a whole buffer (RFC 1951, RFC 1952). A decompressor of streams copies everything through a
// window and cannot look far ahead: it takes half as long again. flat takes what agents send, one member without a name, and reports
// false for all else, damaged or merely unusual, for which a general decompressor has the answer. What it accepts has the right checksum.
type flat struct {
	in    []byte
	at    int    // of the next byte; beyond in, zeros are read
	hold  uint64 // bits not used yet
	count uint   // of them

	out  []byte
	size int // of out, what is filled

	lengths  [maxLiterals + maxDistances]uint8
	literals codeTable
	distance codeTable
}

const (
	maxLiterals  = 288
	maxDistances = 32
	maxBits      = 15
	tableBits    = 10
	tableMask    = 1<<tableBits - 1
	longBits     = maxBits - tableBits
)

// codeTable decodes a Huffman code: by the next ten bits and, if these begin longer codes, by the five after them in a part of the table
// that the first entry tells. An entry is 0 where there is no code.
type codeTable [1<<tableBits + maxLiterals<<longBits]uint32

// The parts of an entry: bits used (5), bits that follow and count (5), kind, and in the upper half a value.
const (
	literal  = 1 << 10 // the value is a byte
	copying  = 1 << 11 // the value is the least length or distance
	blockEnd = 1 << 12
	longer   = 1 << 13 // the value is where the part of the table begins
)

// gunzip decompresses gz into text, which it must fill.
func (f *flat) gunzip(gz, text []byte) bool {
	const head, tail = 10, 8
	if len(gz) < head+tail || gz[0] != 0x1f || gz[1] != 0x8b || gz[2] != 8 || gz[3] != 0 {
		return false
	}
	f.in, f.at, f.hold, f.count, f.out, f.size = gz[head:len(gz)-tail], 0, 0, 0, text, 0
	sound := f.inflate()
	f.in, f.out = nil, nil
	sum := gz[len(gz)-tail:]
	le := binary.LittleEndian
	return sound && le.Uint32(sum[4:]) == uint32(len(text)) && le.Uint32(sum) == crc32.ChecksumIEEE(text)
}

// inflate decompresses blocks and reports whether they are just as long as they must be.
func (f *flat) inflate() bool {
	for last := false; !last; {
		last = f.take(1) == 1
		sound := false
		switch f.take(2) {
		case 0:
			sound = f.stored()
		case 1:
			sound = f.fixed() && f.block()
		case 2:
			sound = f.dynamic() && f.block()
		}
		if !sound {
			return false
		}
	}
	return f.size == len(f.out) && f.at-int(f.count/8) == len(f.in)
}

// take returns the next n bits, at most 16.
func (f *flat) take(n uint) uint {
	f.fill(n)
	v := uint(f.hold & (1<<n - 1))
	f.hold >>= n
	f.count -= n
	return v
}

// fill has at least n bits held.
func (f *flat) fill(n uint) {
	for ; f.count < n; f.count += 8 {
		if f.at < len(f.in) {
			f.hold |= uint64(f.in[f.at]) << f.count
		}
		f.at++
	}
}

// stored copies a block that was not compressed.
func (f *flat) stored() bool {
	f.take(f.count % 8)
	n := int(f.take(16))
	if n^0xffff != int(f.take(16)) {
		return false
	}
	f.at -= int(f.count / 8)
	f.hold, f.count = 0, 0
	if f.at+n > len(f.in) || f.size+n > len(f.out) {
		return false
	}
	copy(f.out[f.size:], f.in[f.at:f.at+n])
	f.at += n
	f.size += n
	return true
}

// fixed sets the code of RFC 1951 §3.2.6.
func (f *flat) fixed() bool {
	l := &f.lengths
	for i := range l {
		switch {
		case i < 144:
			l[i] = 8
		case i < 256:
			l[i] = 9
		case i < 280:
			l[i] = 7
		case i < maxLiterals:
			l[i] = 8
		default:
			l[i] = 5
		}
	}
	return f.literals.set(l[:maxLiterals], literalEntry) && f.distance.set(l[maxLiterals:], distanceEntry)
}

// lengthOrder is the order in which the lengths of codes of lengths come (§3.2.7).
var lengthOrder = [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamic reads the code of a block (§3.2.7).
func (f *flat) dynamic() bool {
	literals, distances := int(f.take(5))+257, int(f.take(5))+1
	var lengths [len(lengthOrder)]uint8
	for i := range int(f.take(4)) + 4 {
		lengths[lengthOrder[i]] = uint8(f.take(3))
	}
	if literals > 286 || distances > 30 || !f.distance.set(lengths[:], plainEntry) {
		return false
	}
	all := f.lengths[:literals+distances]
	for i := 0; i < len(all); {
		n := f.runs(all, i)
		if n == 0 {
			return false
		}
		i += n
	}
	return f.literals.set(all[:literals], literalEntry) && f.distance.set(all[literals:], distanceEntry)
}

// runs reads the next length of a code, or the same several times, and returns how many there were, or 0 if that cannot be.
func (f *flat) runs(all []uint8, i int) int {
	if f.at > len(f.in)+8 {
		return 0
	}
	f.fill(maxBits)
	e := f.distance[f.hold&tableMask] // its codes have at most 7 bits
	if e == 0 {
		return 0
	}
	f.take(uint(e & 31))
	v, n := uint8(e>>16), 1
	switch {
	case v == 16 && i > 0:
		v, n = all[i-1], int(f.take(2))+3
	case v == 16:
		return 0
	case v == 17:
		v, n = 0, int(f.take(3))+3
	case v == 18:
		v, n = 0, int(f.take(7))+11
	}
	if i+n > len(all) {
		return 0
	}
	for k := range n {
		all[i+k] = v
	}
	return n
}

// set makes the table of the canonical code with these lengths (§3.2.2). It reports false if there are more codes than can be.
func (t *codeTable) set(lengths []uint8, entry func(symbol int) uint32) bool {
	var count, next [maxBits + 1]int
	for _, n := range lengths {
		count[n]++
	}
	count[0] = 0
	left := 1
	for n := 1; n <= maxBits; n++ {
		next[n] = (next[n-1] + count[n-1]) << 1
		if left = left<<1 - count[n]; left < 0 {
			return false
		}
	}
	clear(t[:1<<tableBits])
	free := 1 << tableBits
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		code := int(bits.Reverse16(uint16(next[n])) >> (16 - n))
		next[n]++
		e := entry(symbol)
		if n <= tableBits {
			for i := code; i < 1<<tableBits; i += 1 << n {
				t[i] = e | uint32(n)
			}
			continue
		}
		first := &t[code&tableMask]
		if *first == 0 {
			*first = uint32(free)<<16 | longer | tableBits
			clear(t[free : free+1<<longBits])
			free += 1 << longBits
		}
		part := t[*first>>16:][:1<<longBits]
		for i := code >> tableBits; i < 1<<longBits; i += 1 << (n - tableBits) {
			part[i] = e | uint32(n-tableBits)
		}
	}
	return true
}

func plainEntry(symbol int) uint32 { return uint32(symbol)<<16 | literal }

// literalEntry follows the table of §3.2.5.
func literalEntry(symbol int) uint32 {
	switch {
	case symbol < 256:
		return plainEntry(symbol)
	case symbol == 256:
		return blockEnd
	case symbol < 265:
		return uint32(symbol-254)<<16 | copying
	case symbol < 285:
		n := (symbol - 261) / 4
		return uint32(3+(4+(symbol-265)%4)<<n)<<16 | copying | uint32(n)<<5
	case symbol == 285:
		return 258<<16 | copying
	}
	return 0
}

func distanceEntry(symbol int) uint32 {
	switch {
	case symbol < 4:
		return uint32(symbol+1)<<16 | copying
	case symbol < 30:
		n := symbol/2 - 1
		return uint32(1+(2+symbol%2)<<n)<<16 | copying | uint32(n)<<5
	}
	return 0
}

// block decompresses up to the end of a block.
func (f *flat) block() bool {
	in, at, hold, count := f.in, f.at, f.hold, f.count
	out, size := f.out, f.size
	for {
		// A length and a distance with what follows them take at most 48 bits.
		if at+8 <= len(in) {
			hold |= binary.LittleEndian.Uint64(in[at:]) << (count & 63)
			at += int(63-count) >> 3
			count |= 56
		} else {
			for ; count <= 56; count += 8 {
				if at < len(in) {
					hold |= uint64(in[at]) << count
				}
				at++
			}
			if at > len(in)+8 {
				return false
			}
		}
		e := f.literals[hold&tableMask]
		if e&literal != 0 && size+2 < len(out) { // seldom does one come alone
			hold, count = hold>>(e&31), count-uint(e&31)
			out[size] = byte(e >> 16)
			size++
			e = f.literals[hold&tableMask]
			if e&literal != 0 {
				hold, count = hold>>(e&31), count-uint(e&31)
				out[size] = byte(e >> 16)
				size++
				continue
			}
			if count < 48 {
				continue
			}
		}
		if e&longer != 0 {
			hold, count = hold>>tableBits, count-tableBits
			e = f.literals[e>>16+uint32(hold&(1<<longBits-1))]
		}
		used := uint(e & 31)
		hold, count = hold>>used, count-used
		switch {
		case e&literal != 0:
			if size == len(out) {
				return false
			}
			out[size] = byte(e >> 16)
			size++
			continue
		case e&blockEnd != 0:
			f.at, f.hold, f.count, f.size = at, hold, count, size
			return true
		case e&copying == 0:
			return false
		}
		extra := uint(e>>5) & 31
		length := int(e>>16) + int(hold&(1<<extra-1))
		hold, count = hold>>extra, count-extra
		e = f.distance[hold&tableMask]
		if e&longer != 0 {
			hold, count = hold>>tableBits, count-tableBits
			e = f.distance[e>>16+uint32(hold&(1<<longBits-1))]
		}
		used, extra = uint(e&31), uint(e>>5)&31
		hold, count = hold>>used, count-used
		from := size - int(e>>16) - int(hold&(1<<extra-1))
		hold, count = hold>>extra, count-extra
		if e&copying == 0 || from < 0 || length > len(out)-size {
			return false
		}
		again(out, from, size, length)
		size += length
	}
}

// again copies length bytes from from to size, one after the other: those it copies may be its own.
func again(out []byte, from, size, length int) {
	if size-from >= 8 && size+length+8 <= len(out) {
		for end := size + length; size < end; size, from = size+8, from+8 {
			binary.LittleEndian.PutUint64(out[size:], binary.LittleEndian.Uint64(out[from:]))
		}
		return
	}
	for i := range length {
		out[size+i] = out[from+i]
	}
}
