package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// CachePart is a part of a cache's key. In a question, those that are not mandatory may differ
// (api/cache.go of buildkite-agent v3.138.1, as all of this file).
type CachePart struct {
	Value     string `json:"value"`
	Mandatory bool   `json:"mandatory"`
}

// CacheKey names a cache within its registry.
type CacheKey struct {
	TargetPaths []string    `json:"target_paths"`
	Key         []CachePart `json:"cache_key"`
}

// CacheBlob is the bytes of a cache.
type CacheBlob struct {
	Digest      CacheDigest `json:"digest"`
	Size        int64       `json:"file_size"`
	Compression string      `json:"compression"`
}

// CacheDigest is a sum over bytes.
type CacheDigest struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"value"`
}

// CacheFound is a cache that matches a key, in whole or, as a fallback, in its mandatory parts at least.
type CacheFound struct {
	Blobs    []CacheBlob `json:"blobs"`
	Fallback bool        `json:"fallback"`
	Download []string    `json:"download_instructions"` // the address of the bytes
}

// cacheStore asks for caches whose bytes the server keeps. Clients of the service know none of these.
var cacheStore = url.Values{"store": {"server"}}

func (c *Client) cache(ctx context.Context, method, registry, what string, in, out any) error {
	_, err := c.do(ctx, call{method: method, path: path("cache_registries", registry, what), query: cacheStore, body: in}, out)
	return err
}

// PeekCache says whether there is a cache with exactly a key.
func (c *Client) PeekCache(ctx context.Context, registry string, k CacheKey) (bool, error) {
	err := c.cache(ctx, http.MethodPost, registry, "peek", k, &CacheFound{})
	if cacheMissed(err) {
		return false, nil
	}
	return err == nil, err
}

// RetrieveCache returns the cache that fits a key best; ok is false if none does.
func (c *Client) RetrieveCache(ctx context.Context, registry string, k CacheKey) (found CacheFound, ok bool, err error) {
	err = c.cache(ctx, http.MethodPost, registry, "retrieve", k, &found)
	if cacheMissed(err) {
		return found, false, nil
	}
	return found, err == nil, err
}

// cacheMissed tells a cache that does not exist from a registry that does not.
func cacheMissed(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusNotFound && e.Message == "Cache entry not found"
}

// StoreCache begins a cache. Its bytes go to the address, and CommitCache lets it be found.
func (c *Client) StoreCache(ctx context.Context, registry string, k CacheKey, b CacheBlob, platform string) (upload, address string, err error) {
	in := struct {
		CacheKey
		Blobs    []CacheBlob `json:"blobs"`
		Platform string      `json:"platform"`
	}{k, []CacheBlob{b}, platform}
	var out struct {
		UploadID     string   `json:"upload_id"`
		Instructions []string `json:"upload_instructions"`
	}
	if err := c.cache(ctx, http.MethodPut, registry, "store", in, &out); err != nil {
		return "", "", err
	}
	if len(out.Instructions) != 1 {
		return "", "", fmt.Errorf("the server keeps no caches: it answered with %d addresses to send one to", len(out.Instructions))
	}
	return out.UploadID, out.Instructions[0], nil
}

// UploadCache sends the bytes of a cache, exactly size of them.
func (c *Client) UploadCache(ctx context.Context, address string, content io.Reader, size int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, address, io.LimitReader(content, size))
	if err != nil {
		return fmt.Errorf("upload request: %w", err)
	}
	req.ContentLength = size
	_, err = c.transfer(req)
	return err
}

// CommitCache lets a cache be found that was sent.
func (c *Client) CommitCache(ctx context.Context, registry, upload string) error {
	in := struct {
		UploadID string `json:"upload_id"`
	}{upload}
	return c.cache(ctx, http.MethodPut, registry, "commit", in, nil)
}
