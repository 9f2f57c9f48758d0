package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

//go:embed assets
var assetFiles embed.FS

// sheets are the parts of the one style sheet, in cascade order.
var sheets = []string{"tokens.css", "base.css", "parts.css", "views.css", "pages.css", "narrow.css"}

// modules are the scripts in the order they may import one another: a module
// imports only earlier ones, since an import names the hash of what it loads.
var modules = []string{"dom.js", "live.js", "log.js", "keys.js", "ui.js", "editor.js"}

// asset is one file as it is served.
type asset struct {
	name   string // with its hash, such as app.1f0c2ab34d5e6f70.css
	mime   string
	plain  []byte
	packed []byte // gzip
}

// assetSet holds every asset by its served name, and the served name of each
// by its own.
type assetSet struct {
	served map[string]asset
	names  map[string]string
}

func loadAssets() (*assetSet, error) {
	set := &assetSet{served: map[string]asset{}, names: map[string]string{}}
	var css bytes.Buffer
	for _, name := range sheets {
		b, err := fs.ReadFile(assetFiles, path.Join("assets", name))
		if err != nil {
			return nil, fmt.Errorf("style sheet %s: %w", name, err)
		}
		css.Write(b)
	}
	css.Write(ansiSheet())
	if err := set.add("app.css", css.Bytes()); err != nil {
		return nil, err
	}
	for _, name := range slices.Concat([]string{"icons.svg", "favicon.svg", "annotations.css", "settings.css", "pictures.css"}, modules) {
		b, err := fs.ReadFile(assetFiles, path.Join("assets", name))
		if err != nil {
			return nil, fmt.Errorf("asset %s: %w", name, err)
		}
		if err := set.add(name, set.link(b)); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// link replaces the module names in import statements by their served names.
func (s *assetSet) link(src []byte) []byte {
	for own, served := range s.names {
		if strings.HasSuffix(own, ".js") {
			src = bytes.ReplaceAll(src, []byte("'./"+own+"'"), []byte("'./"+served+"'"))
		}
	}
	return src
}

func (s *assetSet) add(name string, body []byte) error {
	sum := sha256.Sum256(body)
	ext := path.Ext(name)
	served := strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:8]) + ext
	packed, err := compress(body)
	if err != nil {
		return fmt.Errorf("compress %s: %w", name, err)
	}
	s.served[served] = asset{name: served, mime: mimeTypes[ext], plain: body, packed: packed}
	s.names[name] = served
	return nil
}

var mimeTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

func compress(body []byte) ([]byte, error) {
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(body); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// url is where an asset is served. The hash in the name lets browsers keep it
// for good.
func (s *assetSet) url(name string) string { return "/assets/" + s.names[name] }

// ServeHTTP serves the assets by the last segment of the path.
func (s *assetSet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, ok := s.served[path.Base(r.URL.Path)]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.mime)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept-Encoding")
	body := a.plain
	if acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body = a.packed
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead {
		return
	}
	// The reader may have gone; there is nobody left to tell.
	_, _ = w.Write(body)
}

// acceptsGzip reads Accept-Encoding as RFC 9110 §12.5.3 defines it, without
// its wildcard, which no browser sends.
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		coding, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			return strings.ReplaceAll(params, " ", "") != "q=0"
		}
	}
	return false
}
