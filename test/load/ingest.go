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

// ingest is the server's processor time for logs that arrive as chunks compressed beforehand, and
// beside it that of inflating the same bytes and writing them to a file.
func ingest(ctx context.Context, b *bench) ([]row, error) {
	const megabytes, size = 256, 100 << 10 // the agent's chunks
	s, _, err := b.startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	chunks, err := compressed(megabytes<<20/size, size)
	if err != nil {
		return nil, err
	}
	plain, err := yardstick(filepath.Join(b.dir, "yardstick"), chunks)
	if err != nil {
		return nil, err
	}
	f, err := s.connect(ctx, 1, 0)
	if err != nil {
		return nil, err
	}
	f.chunks = chunks
	before, err := processor(s.cmd.Process.Pid)
	if err != nil {
		return nil, errors.Join(err, f.stop())
	}
	_, err = s.builds(f.ctx, "ingest", "  - command: \"true\"\n", 1, 50*time.Millisecond)
	if err := errors.Join(err, f.stop()); err != nil {
		return nil, err
	}
	after, err := processor(s.cmd.Process.Pid)
	each := ms(after-before) / megabytes
	return []row{
		{"server's processor time a MB of log, as compressed chunks", each, 4, "ms"},
		{"  inflating and writing the same in this process", ms(plain) / megabytes, 0, "ms"},
		{"  the server's in parts of that", each / (ms(plain) / megabytes), 0, ""},
	}, err
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

// yardstick is the time to inflate chunks and write them to a file.
func yardstick(path string, chunks []wire.Chunk) (time.Duration, error) {
	begin := time.Now()
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
	err = file.Close()
	return time.Since(begin), err
}
