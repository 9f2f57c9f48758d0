package officialagent

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/buildkite/agent/v3/api"
)

func TestCachesOfTheOfficialClient(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.newBuild(t, "caches", "steps: [{command: a, key: a}]")
	_, client := s.running(t, s.register(t, "saves"))
	ctx := t.Context()

	registry, _, err := client.CacheRegistry(ctx, "~")
	if err != nil || registry.Store != "agent_managed" || registry.UUID == "" || registry.Name != "default" {
		t.Errorf("the default registry is %+v, %v", registry, err)
	}
	if _, _, err := client.CacheRegistry(ctx, "No Such"); err == nil {
		t.Error("a registry with an impossible name was found")
	}
	paths := []string{"node_modules"}
	key := func(values ...string) (out []api.CacheKeyPart) {
		for i, v := range values {
			out = append(out, api.CacheKeyPart{Value: v, Mandatory: i == 0})
		}
		return out
	}
	blobs := []api.CacheBlob{{Digest: api.CacheDigest{Algorithm: "sha256", Value: strings.Repeat("a", 64)}, FileSize: 7, Compression: "zip"}}
	if _, exists, _, err := client.CacheEntryPeekExists(ctx, "~", api.CacheEntryPeekReq{TargetPaths: paths, CacheKey: key("a", "b")}); exists || err != nil {
		t.Errorf("before it was saved: %v, %v", exists, err)
	}
	begun, _, err := client.CacheEntryCreate(ctx, "~", api.CacheEntryCreateReq{TargetPaths: paths, CacheKey: key("a", "b"), Blobs: blobs, Platform: "linux/amd64"})
	if err != nil || begun.UploadID == "" || begun.Multipart {
		t.Fatalf("%+v, %v", begun, err)
	}
	if _, exists, _, err := client.CacheEntryRetrieve(ctx, "~", api.CacheEntryRetrieveReq{TargetPaths: paths, CacheKey: key("a", "b")}); exists || err != nil {
		t.Errorf("before it was committed: %v, %v", exists, err)
	}
	for range 2 {
		if _, _, err := client.CacheEntryCommit(ctx, "~", api.CacheEntryCommitReq{UploadID: begun.UploadID}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		key      []api.CacheKeyPart
		fallback bool
	}{{key("a", "b"), false}, {key("a", "c"), true}} {
		got, exists, _, err := client.CacheEntryRetrieve(ctx, "~", api.CacheEntryRetrieveReq{TargetPaths: paths, CacheKey: c.key})
		if err != nil || !exists || got.Fallback != c.fallback || got.ExpiresAt.IsZero() || got.Store != "agent_managed" {
			t.Errorf("%v: %+v, %v, %v", c.key, got, exists, err)
		}
		if !slices.Equal(got.Blobs, blobs) || !slices.Equal(got.CacheKey, key("a", "b")) {
			t.Errorf("%v: found %v with %v", c.key, got.CacheKey, got.Blobs)
		}
	}
	if _, exists, _, err := client.CacheEntryPeekExists(ctx, "another", api.CacheEntryPeekReq{TargetPaths: paths, CacheKey: key("a", "b")}); exists || err != nil {
		t.Errorf("in another registry: %v, %v", exists, err)
	}
	if _, err := client.CacheEntryExpire(ctx, "~", api.CacheEntryExpireReq{TargetPaths: paths, CacheKey: key("a", "b")}); err != nil {
		t.Error(err)
	}
	if _, exists, _, err := client.CacheEntryPeekExists(ctx, "~", api.CacheEntryPeekReq{TargetPaths: paths, CacheKey: key("a", "b")}); exists || err != nil {
		t.Errorf("after it was taken away: %v, %v", exists, err)
	}
}

// TestTheBinarySavesAndRestoresCaches saves in one build and restores in another, by the whole key and by
// its first parts.
func TestTheBinarySavesAndRestoresCaches(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	const configuration = `env: {BUILDKITE_AGENT_CACHE_STORE_URL: "file://%s"}
steps:
  - key: one
    checkout: {skip: true}
    command: |
      mkdir -p .buildkite node_modules
      printf 'caches:\n- name: node\n  cache_key: [{agent: pipeline, fallback_limit: true}, {env: LOCK}]\n  target_paths: [node_modules]\n' >.buildkite/cache.yml
      %s
`
	dir := t.TempDir()
	for i, command := range []string{
		"export LOCK=1; echo kept >node_modules/file; buildkite-agent cache save; buildkite-agent cache save",
		"export LOCK=1; rm -rf node_modules; buildkite-agent cache restore; grep kept node_modules/file",
		"export LOCK=2; rm -rf node_modules; buildkite-agent cache restore; grep kept node_modules/file",
	} {
		text := fmt.Sprintf(configuration, dir, command)
		if i == 0 {
			s.rest(t, "POST", "/pipelines", map[string]string{"name": "cached", "repository": "https://git.example.test/repo.git", "configuration": text}, nil)
		} else {
			s.rest(t, "PATCH", "/pipelines/cached", map[string]string{"configuration": text}, nil)
		}
		var b buildView
		s.rest(t, "POST", "/pipelines/cached/builds", map[string]string{"commit": "HEAD", "branch": "main", "message": "m"}, &b)
		if got := s.acquire(t, b.Jobs[0].ID); got != 0 {
			var log struct{ Content string }
			s.rest(t, "GET", "/jobs/"+b.Jobs[0].ID+"/log", nil, &log)
			t.Fatalf("%s: the job ends with %d:\n%s", command, got, log.Content)
		}
	}
}
