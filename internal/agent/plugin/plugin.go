// Package plugin reads the plugins of a job and checks them out.
//
// Naming, identifiers and the variables made from a configuration are those of
// buildkite-agent v3.138 (agent/plugin/plugin.go), because plugins read them.
// A plugin is cloned once per agent and version and then reused; a clone that
// did not complete is never seen, because it is moved into place at the end.
package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/agent/shell"
)

// Plugin is one entry of BUILDKITE_PLUGINS.
type Plugin struct {
	Location      string // host and path, or a path
	Version       string // "" means the default branch
	Scheme        string
	User          string // credentials in the source, if any
	Configuration map[string]any
}

var (
	notID       = regexp.MustCompile(`[^a-zA-Z0-9]+`)
	notName     = regexp.MustCompile(`[^a-z0-9]`)
	spaces      = regexp.MustCompile(`\s+`)
	hyphenSpace = regexp.MustCompile(`-|\s`)
	underscores = regexp.MustCompile(`_+`)
)

// Parse reads the JSON list of BUILDKITE_PLUGINS: strings, or objects of one
// source and its configuration. "" and "null" are no plugins.
func Parse(text string) ([]Plugin, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var entries []any
	if err := dec.Decode(&entries); err != nil {
		return nil, fmt.Errorf("BUILDKITE_PLUGINS is not a JSON list: %w", err)
	}
	var plugins []Plugin
	for _, entry := range entries {
		more, err := parseEntry(entry)
		if err != nil {
			return nil, err
		}
		plugins = append(plugins, more...)
	}
	return plugins, nil
}

func parseEntry(entry any) ([]Plugin, error) {
	switch entry := entry.(type) {
	case string:
		p, err := parseSource(entry, nil)
		return []Plugin{p}, err
	case map[string]any:
		var plugins []Plugin
		for _, source := range slices.Sorted(maps.Keys(entry)) {
			p, err := parseSource(source, entry[source])
			if err != nil {
				return nil, err
			}
			plugins = append(plugins, p)
		}
		return plugins, nil
	}
	return nil, fmt.Errorf("plugin %v: must be a string or an object", entry)
}

func parseSource(source string, configuration any) (Plugin, error) {
	u, err := url.Parse(source)
	if err != nil {
		return Plugin{}, fmt.Errorf("plugin %q: %w", source, err)
	}
	p := Plugin{Location: u.Host + u.Path, Version: u.Fragment, Scheme: u.Scheme}
	if strings.Contains(p.Version, "#") {
		return Plugin{}, fmt.Errorf("plugin %q: more than one #", source)
	}
	if u.User != nil {
		p.User = u.User.String()
	}
	switch c := configuration.(type) {
	case nil:
		p.Configuration = map[string]any{}
	case map[string]any:
		p.Configuration = c
	default:
		return Plugin{}, fmt.Errorf("plugin %q: its configuration must be an object", source)
	}
	return p, nil
}

// Vendored reports whether the plugin is part of the checkout.
func (p Plugin) Vendored() bool { return strings.HasPrefix(p.Location, ".") }

// Label is the source with its version.
func (p Plugin) Label() string {
	if p.Version == "" {
		return p.Location
	}
	return p.Location + "#" + p.Version
}

// ID is a name for the plugin's directory.
func (p Plugin) ID() string { return strings.Trim(notID.ReplaceAllString(p.Label(), "-"), "-") }

// Name is the last part of the location without its suffixes, such as
// "docker-compose".
func (p Plugin) Name() string {
	location := strings.TrimRight(strings.ReplaceAll(p.Location, `\`, "/"), "/")
	name := strings.TrimLeft(location[strings.LastIndexByte(location, '/')+1:], ".")
	name = spaces.ReplaceAllString(strings.ToLower(name), " ")
	name = notName.ReplaceAllString(name, "-")
	name = strings.ReplaceAll(name, "-buildkite-plugin-git", "")
	return strings.ReplaceAll(name, "-buildkite-plugin", "")
}

// Repository is the URL to clone, and the directory in it that holds the
// plugin ("." for all of it).
func (p Plugin) Repository() (repo, dir string, err error) {
	host, err := p.repositoryPath()
	if err != nil {
		return "", "", err
	}
	dir = strings.TrimSuffix(strings.Trim(strings.TrimPrefix(p.Location, host), "/"), ".git")
	if dir == "" {
		dir = "."
	}
	repo = host
	if p.User != "" {
		repo = p.User + "@" + repo
	}
	switch {
	case p.Scheme != "":
		repo = p.Scheme + "://" + repo
	case !strings.HasPrefix(repo, "/"):
		repo = "https://" + repo
	}
	return repo, dir, nil
}

func (p Plugin) repositoryPath() (string, error) {
	if strings.HasPrefix(p.Scheme, "zip+") {
		return "", fmt.Errorf("plugin %q: zip archives are not supported", p.Label())
	}
	parts := strings.Split(p.Location, "/")
	if len(parts) < 2 {
		return "", fmt.Errorf("plugin %q: incomplete path", p.Location)
	}
	switch parts[0] {
	case "github.com", "bitbucket.org", "gitlab.com":
		if len(parts) < 3 {
			return "", fmt.Errorf("plugin %q: incomplete path", p.Location)
		}
		if parts[0] != "gitlab.com" {
			return strings.Join(parts[:3], "/"), nil
		}
		return p.Location, nil
	}
	for i, part := range parts {
		if strings.HasSuffix(part, ".git") {
			return strings.Join(parts[:i+1], "/"), nil
		}
	}
	return p.Location, nil
}

// Env is the environment that the plugin's hooks see: its name, its whole
// configuration as JSON, and a variable per value.
func (p Plugin) Env() (shell.Env, error) {
	configuration, err := json.Marshal(p.Configuration)
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", p.Label(), err)
	}
	name := envKey(p.Name())
	env := shell.Env{"BUILDKITE_PLUGIN_NAME": name, "BUILDKITE_PLUGIN_CONFIGURATION": string(configuration)}
	values := shell.Env{}
	if err := flatten(values, "BUILDKITE_PLUGIN_"+name, p.Configuration); err != nil {
		return nil, fmt.Errorf("plugin %s: %w", p.Label(), err)
	}
	// Agents before v3.48 joined underscores, and plugins still read both.
	for key, value := range values {
		env[underscores.ReplaceAllString(key, "_")] = value
	}
	maps.Copy(env, values)
	return env, nil
}

func envKey(key string) string { return hyphenSpace.ReplaceAllString(strings.ToUpper(key), "_") }

func flatten(into shell.Env, key string, value any) error {
	switch value := value.(type) {
	case nil:
	case string, bool, json.Number, float64:
		into[key] = fmt.Sprint(value)
	case []any:
		for i, item := range value {
			if err := flatten(into, fmt.Sprintf("%s_%d", key, i), item); err != nil {
				return err
			}
		}
	case map[string]any:
		for k, item := range value {
			if err := flatten(into, key+"_"+envKey(k), item); err != nil {
				return err
			}
		}
	default:
		return errors.New("configuration holds a value that JSON does not have")
	}
	return nil
}
