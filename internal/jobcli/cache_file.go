package jobcli

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"gopkg.in/yaml.v3"
)

// cacheEntry is a cache of a cache file. The format is that of internal/cache/configuration of buildkite-agent v3.138.1.
type cacheEntry struct {
	Name        string      `yaml:"name"`
	Key         []cachePart `yaml:"cache_key"`
	TargetPaths []string    `yaml:"target_paths"` // sorted once it is read
}

// cachePart is a part of a key: a text, or where its value comes from.
type cachePart struct {
	source string   // "", agent, env or checksum
	args   []string // one but for checksum
	limit  bool     // the parts behind it may differ
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (p *cachePart) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		p.args = []string{n.Value}
		return nil
	}
	var m map[string]yaml.Node
	if err := n.Decode(&m); err != nil || n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: a part of a cache_key is a text, or one of agent, checksum and env", n.Line)
	}
	if limit, ok := m["fallback_limit"]; ok {
		if err := limit.Decode(&p.limit); err != nil {
			return fmt.Errorf("line %d: fallback_limit is true or false", limit.Line)
		}
		delete(m, "fallback_limit")
	}
	for source, value := range m {
		if len(m) != 1 || !slices.Contains([]string{"agent", "checksum", "env"}, source) {
			break
		}
		p.source = source
		if value.Decode(&p.args) != nil || source != "checksum" && value.Kind != yaml.ScalarNode {
			var one string
			if err := value.Decode(&one); err != nil {
				return fmt.Errorf("line %d: %s of a cache_key is a text", value.Line, source)
			}
			p.args = []string{one}
		}
	}
	if p.source == "" || len(p.args) == 0 || slices.Contains(p.args, "") {
		return fmt.Errorf("line %d: a part of a cache_key is a text, or one of agent, checksum and env with something to it", n.Line)
	}
	return nil
}

// readCaches reads those caches of a file that have names, or all.
func (p *program) readCaches(file string, names []string) ([]cacheEntry, error) {
	file, err := p.cacheFile(file)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var in struct {
		Caches []cacheEntry `yaml:"caches"`
	}
	if err := yaml.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	known := map[string]cacheEntry{}
	for _, e := range in.Caches {
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("%s: cache %q: %w", file, e.Name, err)
		}
		slices.Sort(e.TargetPaths)
		known[e.Name] = e
	}
	if len(known) != len(in.Caches) {
		return nil, fmt.Errorf("%s has two caches with one name", file)
	}
	if len(names) == 0 {
		return in.Caches, nil
	}
	var out []cacheEntry
	for _, name := range names {
		e, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("%s has no cache %q", file, name)
		}
		out = append(out, e)
	}
	return out, nil
}

// cacheFile is the file to read: the one that is named, or else the one of the two default places that is there.
func (p *program) cacheFile(named string) (string, error) {
	if named != "" {
		return p.inDir(named), nil
	}
	var there []string
	for _, name := range []string{".buildkite/cache.yml", ".buildkite/cache.yaml"} {
		if _, err := os.Stat(filepath.Join(p.dir, name)); err == nil {
			there = append(there, filepath.Join(p.dir, name))
		}
	}
	switch len(there) {
	case 0:
		return "", errors.New("there is no .buildkite/cache.yml; make one, or name another with --cache-config-file")
	case 1:
		return there[0], nil
	}
	return "", errors.New("there are both .buildkite/cache.yml and .buildkite/cache.yaml; keep one")
}

func (p *program) inDir(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(p.dir, path)
}

func (e cacheEntry) check() error {
	limits := 0
	for _, p := range e.Key {
		if p.limit {
			limits++
		}
	}
	switch {
	case e.Name == "" || strings.Trim(e.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "":
		return errors.New("a name has letters, digits and underscores")
	case len(e.Key) == 0:
		return errors.New("there is no cache_key")
	case limits > 1:
		return errors.New("fallback_limit is set more than once")
	case len(e.TargetPaths) == 0:
		return errors.New("there are no target_paths")
	}
	return nil
}

// valueOf is what a part of a key is now.
func (p *program) valueOf(part cachePart) (string, error) {
	arg := part.args[0]
	switch part.source {
	case "":
		return arg, nil
	case "env":
		return p.env[arg], nil
	case "checksum":
		return p.checksum(part.args)
	}
	switch arg {
	case "os":
		return runtime.GOOS, nil
	case "arch":
		return runtime.GOARCH, nil
	case "branch":
		return p.env["BUILDKITE_BRANCH"], nil
	case "pipeline":
		return p.env["BUILDKITE_PIPELINE_SLUG"], nil
	case "step":
		if key := p.env["BUILDKITE_STEP_KEY"]; key != "" {
			return key, nil
		}
		return p.env["BUILDKITE_STEP_ID"], nil
	}
	return "", fmt.Errorf("agent: %s is not one of os, arch, branch, pipeline and step", arg)
}

// checksum is the sum of one file, or of the names and sums of all files that match patterns.
func (p *program) checksum(patterns []string) (string, error) {
	if len(patterns) == 1 && !strings.ContainsAny(patterns[0], "*?[{") {
		return p.sumOf(patterns[0])
	}
	var files []string
	for _, pattern := range patterns {
		found, err := doublestar.Glob(os.DirFS(p.dir), filepath.ToSlash(filepath.Clean(pattern)), doublestar.WithFilesOnly(), doublestar.WithNoFollow())
		if err == nil && len(found) == 0 && !strings.ContainsAny(pattern, "*?[{") {
			err = fs.ErrNotExist
		}
		if err != nil {
			return "", fmt.Errorf("checksum of %q: %w", pattern, err)
		}
		files = append(files, found...)
	}
	if len(files) == 0 {
		return "", fmt.Errorf("checksum: no file matches %s", strings.Join(patterns, ", "))
	}
	slices.Sort(files)
	all := sha256.New()
	for _, name := range slices.Compact(files) {
		sum, err := p.sumOf(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(all, "%s\x00%s\n", name, sum) // never fails (hash.Hash)
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}

func (p *program) sumOf(file string) (string, error) {
	text, err := os.ReadFile(p.inDir(file))
	if err != nil {
		return "", fmt.Errorf("checksum: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// resolve says where the target paths of a cache are: ~ is the home directory, and others are below the working directory.
func (p *program) resolve(e cacheEntry) ([]string, error) {
	out := make([]string, len(e.TargetPaths))
	for i, path := range e.TargetPaths {
		if rest, home := strings.CutPrefix(path, "~"); home && (rest == "" || rest[0] == '/') {
			if p.env["HOME"] == "" {
				return nil, fmt.Errorf("the target path %q is below the home directory, and HOME is not set", path)
			}
			path = filepath.Join(p.env["HOME"], rest)
		}
		out[i] = p.inDir(path)
		if out[i] == filepath.Clean(p.env["HOME"]) || out[i] == filepath.Clean(p.dir) || filepath.Dir(out[i]) == out[i] {
			return nil, fmt.Errorf("the target path %q is all of a home, working or root directory; name a directory within it", e.TargetPaths[i])
		}
		for j := range i {
			if within(out[i], out[j]) || within(out[j], out[i]) {
				return nil, fmt.Errorf("the target paths %q and %q overlap", e.TargetPaths[j], e.TargetPaths[i])
			}
		}
	}
	return out, nil
}

func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+string(filepath.Separator))
}

// locate is resolve for paths that must be there.
func (p *program) locate(e cacheEntry) ([]string, error) {
	paths, err := p.resolve(e)
	for i := 0; err == nil && i < len(paths); i++ {
		if _, statErr := os.Lstat(paths[i]); statErr != nil {
			err = fmt.Errorf("target path: %w", statErr)
		}
	}
	return paths, err
}
