package jobcli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func envCommands() []command {
	return []command{
		{name: "env dump", about: "Print the environment of this process as JSON", setup: envDump},
		{name: "env get", args: "[name...]", about: "Print variables of the job", setup: envGet},
		{name: "env set", args: "<name=value|->...", about: "Set variables for the rest of the job", setup: envSet},
		{name: "env unset", args: "<name|->...", about: "Remove variables for the rest of the job", setup: envUnset},
		{name: "workdir set", args: "<directory>", about: "Set the working directory for the rest of the job", setup: workdirSet},
	}
}

func envDump(f *flags) action {
	format := f.text("format", "BUILDKITE_AGENT_ENV_DUMP_FORMAT", "json", "json or json-pretty")
	return func(_ context.Context, p *program, _ []string) error {
		return printJSON(p.stdio.Out, *format, p.env)
	}
}

// printJSON does not escape HTML, because that could hide a secret from the
// redaction of the log.
func printJSON(w io.Writer, format string, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	switch format {
	case "json":
	case "json-pretty":
		enc.SetIndent("", "  ")
	default:
		return fmt.Errorf("unknown format %q", format)
	}
	return enc.Encode(v)
}

func envGet(f *flags) action {
	format := f.text("format", "BUILDKITE_AGENT_ENV_GET_FORMAT", "plain", "plain, json or json-pretty")
	return func(ctx context.Context, p *program, names []string) error {
		env, err := p.jobEnv(ctx)
		if err != nil {
			return err
		}
		chosen, complete := env, true
		if len(names) > 0 {
			chosen, complete = p.choose(env, names)
		}
		if err := printEnv(p.stdio.Out, *format, chosen, len(names) == 1); err != nil {
			return err
		}
		if !complete {
			return exitStatus(1)
		}
		return nil
	}
}

// jobEnv is the environment of the job as the agent keeps it; without the job
// API it is what this process inherited.
func (p *program) jobEnv(ctx context.Context) (environ, error) {
	j, err := p.jobAPI()
	if errors.Is(err, errNoJobAPI) {
		p.note("%v; the variables of this process are shown", err)
		return p.env, nil
	}
	if err != nil {
		return nil, err
	}
	var out struct {
		Env map[string]string `json:"env"`
	}
	err = j.do(ctx, http.MethodGet, "env", nil, &out)
	return out.Env, err
}

func (p *program) choose(env environ, names []string) (environ, bool) {
	chosen, complete := environ{}, true
	for _, name := range names {
		value, ok := env[name]
		if !ok {
			p.warn("%q is not set", name)
			complete = false
			continue
		}
		chosen[name] = value
	}
	return chosen, complete
}

func printEnv(w io.Writer, format string, env environ, bare bool) error {
	if format != "plain" {
		return printJSON(w, format, env)
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		line := name + "=" + env[name]
		if bare {
			line = env[name]
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// editFlags are those of "env set" and "env unset".
type editFlags struct{ input, output *string }

func (f *flags) edit() editFlags {
	return editFlags{
		f.text("input-format", "BUILDKITE_AGENT_ENV_SET_INPUT_FORMAT", "plain", "plain or json"),
		f.text("output-format", "BUILDKITE_AGENT_ENV_SET_OUTPUT_FORMAT", "plain", "quiet, plain, json or json-pretty"),
	}
}

// each calls plain or json with every argument, where "-" stands for the lines
// of standard input.
func (e editFlags) each(p *program, args []string, plain func(string) error, into any) error {
	one := plain
	if *e.input == "json" {
		one = func(s string) error { return json.Unmarshal([]byte(s), into) }
	} else if *e.input != "plain" {
		return fmt.Errorf("--input-format %q: want plain or json", *e.input)
	}
	for _, arg := range args {
		var err error
		if arg == "-" {
			err = eachLine(p.stdio.In, one)
		} else if err = one(arg); err != nil {
			err = fmt.Errorf("%q: %w", arg, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func eachLine(r io.Reader, one func(string) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		if err := one(lines.Text()); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return lines.Err()
}

func envSet(f *flags) action {
	e := f.edit()
	return func(ctx context.Context, p *program, args []string) error {
		vars := map[string]string{}
		err := e.each(p, args, func(s string) error {
			name, value, ok := strings.Cut(s, "=")
			if !ok || name == "" {
				return errors.New("want name=value")
			}
			vars[name] = value
			return nil
		}, &vars)
		if err != nil {
			return err
		}
		in := struct {
			Env map[string]string `json:"env"`
		}{vars}
		var out struct {
			Added   []string `json:"added"`
			Updated []string `json:"updated"`
		}
		if err := p.changeJob(ctx, http.MethodPatch, "env", in, &out); err != nil {
			return err
		}
		slices.Sort(out.Added)
		slices.Sort(out.Updated)
		return report(p.stdio.Out, *e.output, out, "No variables added or updated.", group{"Added:", "+ ", out.Added}, group{"Updated:", "~ ", out.Updated})
	}
}

func envUnset(f *flags) action {
	e := f.edit()
	return func(ctx context.Context, p *program, args []string) error {
		var in struct {
			Keys []string `json:"keys"`
		}
		err := e.each(p, args, func(s string) error {
			in.Keys = append(in.Keys, s)
			return nil
		}, &in.Keys)
		if err != nil {
			return err
		}
		var out struct {
			Deleted []string `json:"deleted"`
		}
		if err := p.changeJob(ctx, http.MethodDelete, "env", in, &out); err != nil {
			return err
		}
		slices.Sort(out.Deleted)
		return report(p.stdio.Out, *e.output, out.Deleted, "No variables unset.", group{"Unset:", "- ", out.Deleted})
	}
}

func (p *program) changeJob(ctx context.Context, method, what string, in, out any) error {
	j, err := p.jobAPI()
	if err != nil {
		return err
	}
	return j.do(ctx, method, what, in, out)
}

// group is a heading with the names under it.
type group struct {
	heading, mark string
	names         []string
}

func report(w io.Writer, format string, v any, nothing string, groups ...group) error {
	switch format {
	case "quiet":
		return nil
	case "plain":
	default:
		return printJSON(w, format, v)
	}
	var b strings.Builder
	for _, g := range groups {
		if len(g.names) == 0 {
			continue
		}
		fmt.Fprintln(&b, g.heading)
		for _, name := range g.names {
			fmt.Fprintln(&b, g.mark+name)
		}
	}
	if b.Len() == 0 {
		fmt.Fprintln(&b, nothing)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func workdirSet(f *flags) action {
	output := f.text("output-format", "BUILDKITE_AGENT_WORKDIR_SET_OUTPUT_FORMAT", "plain", "quiet, plain or json")
	return func(ctx context.Context, p *program, args []string) error {
		dir, err := only(args, "directory")
		if err != nil {
			return err
		}
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(p.dir, dir)
		}
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("working directory: %w", err)
		}
		if !info.IsDir() {
			return fmt.Errorf("working directory %s is not a directory", dir)
		}
		var w struct {
			Workdir string `json:"workdir"`
		}
		w.Workdir = dir
		if err := p.changeJob(ctx, http.MethodPut, "workdir", w, &w); err != nil {
			return err
		}
		if *output == "plain" {
			_, err = fmt.Fprintln(p.stdio.Out, w.Workdir)
			return err
		}
		return report(p.stdio.Out, *output, w, "")
	}
}
