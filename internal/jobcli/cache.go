package jobcli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

func cacheCommands() []command {
	return []command{
		{name: "cache save", about: "Save directories for later jobs, as the cache file says", setup: func(f *flags) action { return cacheCommand(f, (*cacher).save) }},
		{name: "cache restore", about: "Restore what an earlier job saved, as the cache file says", setup: cacheRestore},
	}
}

// maxUnpackedMiB keeps the limit in bytes from wrapping round.
const maxUnpackedMiB = 1 << 40

func cacheRestore(f *flags) action {
	limit := f.number("max-unpacked-mib", "SLIPWAY_CACHE_MAX_UNPACKED_MIB", 0,
		"MiB that a cache may be on disk, 4 KiB for each file included; 0: nine tenths of what is free there")
	return cacheCommand(f, func(k *cacher, ctx context.Context, e cacheEntry) error {
		if *limit < 0 || *limit > maxUnpackedMiB {
			return fmt.Errorf("--max-unpacked-mib is %d; it is 0 to %d", *limit, maxUnpackedMiB)
		}
		return k.restore(ctx, e, int64(*limit)<<20)
	})
}

// cacheCommand does something with each cache of a file (clicommand/cache_shared.go of buildkite-agent v3.138.1).
func cacheCommand(f *flags, each func(*cacher, context.Context, cacheEntry) error) action {
	server, job := f.server(), f.job()
	names := f.list("name", "BUILDKITE_CACHE_NAMES", nil, "which caches of the file; default: all")
	registry := f.text("registry", "BUILDKITE_AGENT_CACHE_REGISTRY", "~", "the registry of caches; ~ is the cluster's default")
	store := f.text("cache-store-url", "BUILDKITE_AGENT_CACHE_STORE_URL", "", "not supported: the server keeps the bytes")
	file := f.text("cache-config-file", "BUILDKITE_CACHE_CONFIG_FILE", "", "the cache file; default: .buildkite/cache.yml or .buildkite/cache.yaml")
	f.number("concurrency", "BUILDKITE_CACHE_CONCURRENCY", 2, "accepted; one cache is handled at a time, with all processors")
	return func(ctx context.Context, p *program, _ []string) error {
		if *store != "" {
			return fmt.Errorf("--cache-store-url (BUILDKITE_AGENT_CACHE_STORE_URL) is %q, but this command keeps caches on the server alone; unset it, or use the official agent", *store)
		}
		c, err := connectJob(p, server, *job)
		if err != nil {
			return err
		}
		entries, err := p.readCaches(*file, *names)
		if err != nil {
			return err
		}
		k := &cacher{program: p, client: c, registry: *registry}
		for _, e := range entries {
			if err := each(k, ctx, e); err != nil {
				return fmt.Errorf("cache %s: %w", e.Name, err)
			}
		}
		return nil
	}
}

// cacher saves and restores the caches of a job.
type cacher struct {
	*program
	client   *wire.Client
	registry string
}

// cacheFormat is how archives of this program are packed, as it says in their entries.
const cacheFormat = "tar+zstd"

func (k *cacher) say(format string, args ...any) {
	fmt.Fprintf(k.stdio.Err, format+"\n", args...) //nolint:errcheck // progress
}

// save packs and sends a cache, unless there is one with its key.
func (k *cacher) save(ctx context.Context, e cacheEntry) error {
	key, err := k.keyOf(e)
	if err != nil {
		return err
	}
	if _, err := k.locate(e); err != nil {
		return err
	}
	var exists bool
	err = k.retry(ctx, wire.CallCache, func(ctx context.Context, _ int) (err error) {
		exists, err = k.client.PeekCache(ctx, k.registry, key)
		return err
	})
	if err != nil {
		return err
	}
	if exists {
		k.say("Cache %s is saved already", e.Name)
		return nil
	}
	archive, err := os.CreateTemp("", "slipway-cache-*")
	if err != nil {
		return err
	}
	defer os.Remove(archive.Name()) //nolint:errcheck // a temporary file
	defer archive.Close()           //nolint:errcheck // it was read
	blob, err := k.pack(ctx, archive, e)
	if err != nil {
		return err
	}
	if err := k.send(ctx, archive, key, blob); err != nil {
		return err
	}
	k.say("Cache %s saved, %s", e.Name, mebibytes(blob.Size))
	return nil
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// pack fills an archive.
func (k *cacher) pack(ctx context.Context, archive io.Writer, e cacheEntry) (b wire.CacheBlob, err error) {
	targets, err := k.locate(e)
	if err != nil {
		return b, err
	}
	sum := sha256.New()
	counted := &counter{w: io.MultiWriter(archive, sum)}
	if err := packTargets(ctx, counted, targets); err != nil {
		return b, err
	}
	digest := wire.CacheDigest{Algorithm: "sha256", Value: hex.EncodeToString(sum.Sum(nil))}
	return wire.CacheBlob{Digest: digest, Size: counted.n, Compression: cacheFormat}, nil
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (k *cacher) send(ctx context.Context, archive *os.File, key wire.CacheKey, blob wire.CacheBlob) error {
	var upload, address string
	err := k.retry(ctx, wire.CallCache, func(ctx context.Context, _ int) (err error) {
		upload, address, err = k.client.StoreCache(ctx, k.registry, key, blob, runtime.GOOS+"/"+runtime.GOARCH)
		return err
	})
	if err != nil {
		return err
	}
	err = k.retry(ctx, wire.CallUploadArtifact, func(ctx context.Context, _ int) error {
		return k.client.UploadCache(ctx, address, io.NewSectionReader(archive, 0, blob.Size), blob.Size)
	})
	if err != nil {
		return err
	}
	return k.retry(ctx, wire.CallCache, func(ctx context.Context, _ int) error {
		return k.client.CommitCache(ctx, k.registry, upload)
	})
}

// restore puts back what fits a cache's key best. None is no error, and neither is one that does not hold what it should: the
// job makes anew what it lacks.
func (k *cacher) restore(ctx context.Context, e cacheEntry, limit int64) error {
	key, err := k.keyOf(e)
	if err != nil {
		return err
	}
	targets, err := k.resolve(e)
	if err != nil {
		return err
	}
	var found wire.CacheFound
	var ok bool
	err = k.retry(ctx, wire.CallCache, func(ctx context.Context, _ int) (err error) {
		found, ok, err = k.client.RetrieveCache(ctx, k.registry, key)
		return err
	})
	if err != nil {
		return err
	}
	if !ok {
		k.say("Cache %s not found: %s", e.Name, keyText(key))
		return nil
	}
	if len(found.Blobs) != 1 || len(found.Download) != 1 || found.Blobs[0].Compression != cacheFormat {
		k.warn("cache %s was saved by another program and is not restored", e.Name)
		return nil
	}
	if err := k.fetchCache(ctx, found, targets, limit); errors.Is(err, errOtherBytes) {
		k.warn("cache %s is not restored: %v", e.Name, err)
		return nil
	} else if err != nil {
		return err
	}
	how := "restored"
	if found.Fallback {
		how = "restored from another that has the first parts of its key"
	}
	k.say("Cache %s %s, %s", e.Name, how, mebibytes(found.Blobs[0].Size))
	return nil
}

func keyText(key wire.CacheKey) string {
	var parts []string
	for _, p := range key.Key {
		parts = append(parts, p.Value)
	}
	return strings.Join(parts, " / ")
}

var errOtherBytes = errors.New("its bytes are not those that were saved")

// fetchCache downloads, verifies and only then unpacks.
func (k *cacher) fetchCache(ctx context.Context, found wire.CacheFound, targets []string, limit int64) error {
	archive, err := os.CreateTemp("", "slipway-cache-*")
	if err != nil {
		return err
	}
	defer os.Remove(archive.Name()) //nolint:errcheck // a temporary file
	defer archive.Close()           //nolint:errcheck // it was read
	sum := sha256.New()
	err = k.retry(ctx, wire.CallDownloadArtifact, func(ctx context.Context, _ int) error {
		if _, err := archive.Seek(0, io.SeekStart); err != nil {
			return err
		}
		sum.Reset()
		_, err := k.client.Download(ctx, found.Download[0], io.MultiWriter(archive, sum))
		return err
	})
	if err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != found.Blobs[0].Digest.Value {
		return errOtherBytes
	}
	if _, err := archive.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return unpackTargets(ctx, archive, targets, limit)
}

// keyOf is the key of a cache, whose paths are a set.
func (k *cacher) keyOf(e cacheEntry) (wire.CacheKey, error) {
	out := wire.CacheKey{TargetPaths: slices.Clone(e.TargetPaths)}
	mandatory := !slices.ContainsFunc(e.Key, func(p cachePart) bool { return p.limit })
	last := slices.IndexFunc(e.Key, func(p cachePart) bool { return p.limit })
	for i, p := range e.Key {
		value, err := k.valueOf(p)
		if err != nil {
			return out, err
		}
		out.Key = append(out.Key, wire.CachePart{Value: value, Mandatory: mandatory || i <= last})
	}
	return out, nil
}
