package jobcli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

func artifactDownload(f *flags) action {
	search := f.search()
	f.yes("no-s3-multipart-download", "BUILDKITE_NO_S3_MULTIPART_DOWNLOAD", "accepted; downloads resume instead")
	return func(ctx context.Context, p *program, args []string) error {
		if len(args) != 2 {
			return errors.New(`want a query and a directory, such as "pkg/*.tar.gz" . (quote the query so that the shell does not expand it)`)
		}
		query, dir := args[0], args[1]
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(p.dir, dir)
		}
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("directory to download to: %w", err)
		}
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory to download to", dir)
		}
		c, found, err := search.find(ctx, p, query, false)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fmt.Errorf("no artifact matches %q; did the job that makes it finish, and does this step depend on it?", query)
		}
		return p.download(ctx, c, found, dir)
	}
}

// target is where an artifact goes: a path below a directory.
type target struct{ dir, path string }

// download fetches the newest artifact of each path. A failure does not keep
// the others from being fetched.
func (p *program) download(ctx context.Context, c *wire.Client, found []wire.Artifact, dir string) error {
	newest := map[target]wire.Artifact{}
	for _, a := range found {
		t := targetOf(a.Path, dir)
		if old, ok := newest[t]; !ok || !a.CreatedAt.Before(old.CreatedAt) {
			newest[t] = a
		}
	}
	targets := slices.SortedFunc(maps.Keys(newest), func(a, b target) int { return cmp.Or(cmp.Compare(a.dir, b.dir), cmp.Compare(a.path, b.path)) })
	errs := make([]error, len(targets))
	m := p.startMeter("downloaded", slices.Collect(maps.Values(newest)))
	defer m.stop()
	stopped := parallel(ctx, 10*runtime.GOMAXPROCS(0), len(targets), func(i int) error {
		a := newest[targets[i]]
		if err := p.fetch(ctx, c, a, targets[i], m); err != nil {
			errs[i] = fmt.Errorf("%s: %w", a.Path, err)
		}
		return nil
	})
	return errors.Join(append(errs, stopped)...)
}

// targetOf says where an artifact goes. If the last element of dir equals the
// first of the artifact's path, they are one: pkg/a.txt into ./pkg becomes
// ./pkg/a.txt. Leading ".." are dropped, so that a path stays below dir
// (internal/artifact/download.go of buildkite-agent v3.138.1).
func targetOf(artifactPath, dir string) target {
	name := path.Clean(strings.ReplaceAll(artifactPath, `\`, "/"))
	if first, _, _ := strings.Cut(name, "/"); filepath.Base(dir) == first {
		dir = filepath.Dir(dir)
	}
	for {
		rest, found := strings.CutPrefix(name, "../")
		rest = strings.TrimLeft(rest, "/")
		if !found && rest == name {
			return target{dir, name}
		}
		name = rest
	}
}

func (p *program) fetch(ctx context.Context, c *wire.Client, a wire.Artifact, t target, m *meter) error {
	var err error
	if a.URL, err = p.located(ctx, a); err != nil {
		return err
	}
	if !filepath.IsLocal(t.path) {
		return errors.New("its path names no file")
	}
	root, err := os.OpenRoot(t.dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // read side
	if err := root.MkdirAll(path.Dir(t.path), 0o777); err != nil {
		return err
	}
	if err := p.fetchInto(ctx, c, a, root, t.path, m); err != nil {
		return err
	}
	p.note("downloaded %s", a.Path)
	return nil
}

// fetchInto downloads beside the target and moves the complete file there, so
// that no reader ever sees a part of it.
func (p *program) fetchInto(ctx context.Context, c *wire.Client, a wire.Artifact, root *os.Root, name string, m *meter) error {
	part := path.Join(path.Dir(name), "."+path.Base(name)+"."+newUUID())
	f, err := root.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	d := &download{file: f, sum: sha256.New(), meter: m}
	err = p.retry(ctx, wire.CallDownloadArtifact, func(ctx context.Context, _ int) error { return d.resume(ctx, c, a) })
	err = errors.Join(err, f.Close())
	if err == nil {
		err = root.Rename(part, name)
	}
	if err != nil {
		return errors.Join(err, root.Remove(part))
	}
	return nil
}

// download is a file that comes over several attempts: each goes on where the one before broke off.
type download struct {
	file  *os.File
	sum   hash.Hash
	have  int64
	etag  string // of what came so far; "": nothing to go on with
	meter *meter
}

func (d *download) resume(ctx context.Context, c *wire.Client, a wire.Artifact) error {
	resp, err := c.OpenFrom(ctx, a.URL, d.have, d.etag)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read side
	if resp.StatusCode != http.StatusPartialContent {
		if err := d.restart(); err != nil {
			return err
		}
	}
	d.etag = resp.Header.Get("ETag")
	n, err := io.Copy(io.MultiWriter(d.file, d.sum), d.meter.counted(resp.Body))
	d.have += n
	if err == nil && d.have < a.FileSize {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", d.have, a.FileSize, err)
	}
	got := fmt.Sprintf("%x", d.sum.Sum(nil))
	if a.SHA256 != "" && got != a.SHA256 {
		d.etag = ""
		return fmt.Errorf("the downloaded file has SHA-256 %s, want %s", got, a.SHA256)
	}
	return nil
}

// restart forgets what came.
func (d *download) restart() error {
	d.have = 0
	d.sum.Reset()
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return d.file.Truncate(0)
}
