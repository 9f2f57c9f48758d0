package joblog

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func zipped(t interface{ Fatal(...any) }, text []byte, level int) []byte {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = z.Write(text) // never fails
	_ = z.Close()
	return b.Bytes()
}

func TestFlatReturnsWhatWasCompressed(t *testing.T) {
	t.Parallel()
	var f flat
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		letters, far := rapid.IntRange(1, 256).Draw(t, "letters"), rapid.IntRange(1, 40_000).Draw(t, "far")
		text := make([]byte, rapid.IntRange(0, 200_000).Draw(t, "size"))
		for i := range text {
			text[i] = byte(random.IntN(letters))
			if back := 1 + random.IntN(far); i > back && random.IntN(4) > 0 {
				text[i] = text[i-back]
			}
		}
		for level := gzip.HuffmanOnly; level <= gzip.BestCompression; level++ {
			gz := zipped(t, text, level)
			got := make([]byte, len(text))
			if !f.gunzip(gz, got) || !bytes.Equal(got, text) {
				t.Fatalf("level %d: not the text", level)
			}
			if f.gunzip(gz, make([]byte, len(text)+1)) || len(text) > 0 && f.gunzip(gz, got[1:]) {
				t.Fatalf("level %d: another size was taken", level)
			}
			gz[10+random.IntN(len(gz)-10)] ^= 1 << random.IntN(8)
			if f.gunzip(gz, got) && !bytes.Equal(got, text) {
				t.Fatalf("level %d: a damaged chunk was taken", level)
			}
		}
	})
}

// TestFlatOrNotAChunkIsTheSame has chunks in forms that no agent of today sends.
func TestFlatOrNotAChunkIsTheSame(t *testing.T) {
	t.Parallel()
	var named bytes.Buffer
	z := gzip.NewWriter(&named)
	z.Name = "log"
	_, _ = z.Write([]byte("hello")) // never fails
	_ = z.Close()
	for name, gz := range map[string][]byte{
		"with a name":    named.Bytes(),
		"in two members": append(zipped(t, []byte("hel"), 6), zipped(t, []byte("lo"), 1)...),
		"as agents send": zipped(t, []byte("hello"), 1),
	} {
		got := make([]byte, 5)
		if err := new(inflaters).get().chunk(gz, got); err != nil || string(got) != "hello" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// FuzzFlat feeds blocks of any kind to flat and to the standard library. What flat takes must be the same; the rest is left to another.
func FuzzFlat(f *testing.F) {
	for _, text := range []string{"", "hello", strings.Repeat("abc", 1000)} {
		gz := zipped(f, []byte(text), 6)
		f.Add(gz[10:len(gz)-8], len(text))
	}
	f.Fuzz(func(t *testing.T, blocks []byte, size int) {
		if size < 0 || size > 1<<20 {
			return
		}
		z := flat{in: blocks, out: make([]byte, size)}
		if !z.inflate() {
			return
		}
		want, err := io.ReadAll(flate.NewReader(bytes.NewReader(blocks)))
		if err != nil || !bytes.Equal(want, z.out) {
			t.Errorf("flat took %d bytes; the library %d, %v", size, len(want), err)
		}
	})
}
