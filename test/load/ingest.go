package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// ingest is the server's processor time for logs that arrive as chunks compressed beforehand: in the size that it tells agents to send,
// and in the size that agents are told elsewhere. Beside it is that of inflating the same bytes and writing them to a file.
func ingest(ctx context.Context, b *bench) ([]row, error) {
	s, _, err := b.startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	f, err := s.connect(ctx, 1, 0)
	if err != nil {
		return nil, err
	}
	if _, err := s.builds(f.ctx, "told", "  - command: \"true\"\n", 1, soon); err != nil {
		return nil, errors.Join(err, f.stop())
	}
	told := int(f.told.Load())
	each, plain, err := s.take(f, b, told)
	if err != nil {
		return nil, errors.Join(err, f.stop())
	}
	rows := []row{
		{fmt.Sprintf("server's processor time a MB of log, in chunks of %d KB", told>>10), each, 4, "ms"},
		{"  inflating and writing the same in this process", plain, 0, "ms"},
		{"  the server's in parts of that", each / plain, 0, ""},
	}
	if told != elsewhere {
		each, _, err = s.take(f, b, elsewhere)
		rows = append(rows, row{fmt.Sprintf("  the server's for chunks of %d KB", elsewhere>>10), each, 0, "ms"})
	}
	return rows, errors.Join(err, f.stop())
}

// elsewhere is how many bytes of text Buildkite lets agents send in a chunk.
const elsewhere = 100 << 10

// take has a job print in chunks of a size. It returns the server's processor time and the yardstick's, in milliseconds a MB.
func (s *server) take(f *fleet, b *bench, size int) (each, plain float64, err error) {
	const megabytes = 256
	if f.chunks, err = compressed(megabytes<<20/size, size); err != nil {
		return 0, 0, err
	}
	least, err := yardstick(filepath.Join(b.dir, "yardstick"), f.chunks)
	if err != nil {
		return 0, 0, err
	}
	before, err := processor(s.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	if _, err := s.builds(f.ctx, fmt.Sprintf("ingest-%d", size), "  - command: \"true\"\n", 1, 50*time.Millisecond); err != nil {
		return 0, 0, err
	}
	after, err := processor(s.cmd.Process.Pid)
	return ms(after-before) / megabytes, ms(least) / megabytes, err
}

// compressed makes the chunks of a log that looks like a compiler's.
func compressed(n, size int) ([]wire.Chunk, error) {
	words := []string{"Compiling", "src/", "core.rs", "warning:", "unused", "variable", "at line", "linking", "0x7ffe", "done in"}
	random := rand.New(rand.NewPCG(1, 2))
	var out []wire.Chunk
	for i := range n {
		var text bytes.Buffer
		for text.Len() < size {
			fmt.Fprintf(&text, "\x1b[32m%s\x1b[0m %s %d %s\r\n", words[random.IntN(len(words))], words[random.IntN(len(words))],
				random.IntN(1_000_000), words[random.IntN(len(words))])
		}
		text.Truncate(size)
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, err := z.Write(text.Bytes())
		if err := errors.Join(err, z.Close()); err != nil {
			return nil, err
		}
		out = append(out, wire.Chunk{Sequence: i + 1, Offset: int64(i * size), Size: size, Gzip: packed.Bytes()})
	}
	return out, nil
}

// yardstick is the processor time to inflate chunks and write them to a file.
func yardstick(path string, chunks []wire.Chunk) (time.Duration, error) {
	begin, err := processor(os.Getpid())
	if err != nil {
		return 0, err
	}
	file, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	for _, c := range chunks {
		z, err := gzip.NewReader(bytes.NewReader(c.Gzip))
		if err == nil {
			_, err = io.Copy(file, z)
		}
		if err != nil {
			return 0, errors.Join(err, file.Close())
		}
	}
	if err := file.Close(); err != nil {
		return 0, err
	}
	end, err := processor(os.Getpid())
	return end - begin, err
}
