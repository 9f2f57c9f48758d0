package jobcli

import (
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// environ is a set of environment variables. It is also the environment that
// pipelines are interpolated with.
type environ map[string]string

// Get implements the environment of package interpolate.
func (e environ) Get(name string) (string, bool) {
	v, ok := e[name]
	return v, ok
}

// Set implements the environment that go-pipeline adds a pipeline's own
// variables to.
func (e environ) Set(name, value string) { e[name] = value }

// parseEnviron reads NAME=value pairs; the last of a name wins. Windows keeps
// variables such as "=C:", whose names start with the sign.
func parseEnviron(pairs []string) environ {
	env := make(environ, len(pairs))
	for _, pair := range pairs {
		if pair == "" {
			continue
		}
		if i := strings.IndexByte(pair[1:], '='); i >= 0 {
			env[pair[:i+1]] = pair[i+2:]
		}
	}
	return env
}

// flags are the options of one command. Each may also be given by an
// environment variable, which the command line overrides.
type flags struct {
	set  *flag.FlagSet
	env  environ
	from map[string]string // flag → variable, for help and messages
	err  error             // of the first variable that could not be read

	debug    *bool
	logLevel *string
}

func newFlags(env environ) *flags {
	f := &flags{set: flag.NewFlagSet("", flag.ContinueOnError), env: env, from: map[string]string{}}
	f.set.SetOutput(io.Discard)
	f.set.Usage = func() {}
	f.debug = f.yes("debug", "BUILDKITE_AGENT_DEBUG", "say what is being done")
	f.logLevel = f.text("log-level", "BUILDKITE_AGENT_LOG_LEVEL", "notice", "debug, info, notice, warn, error or fatal")
	// Job environments and scripts carry these; they change nothing here.
	f.yes("no-color", "BUILDKITE_AGENT_NO_COLOR", "accepted; output has no colors")
	f.list("experiment", "BUILDKITE_AGENT_EXPERIMENT", nil, "accepted; there are no experiments")
	f.text("profile", "BUILDKITE_AGENT_PROFILE", "", "accepted; there are no profiles")
	return f
}

func (f *flags) wantsProgress() bool {
	return *f.debug || *f.logLevel == "debug" || *f.logLevel == "info"
}

// variable returns the value of the first of several comma-separated variables
// that is set.
func (f *flags) variable(flagName, names string) (string, bool) {
	f.from[flagName] = names
	for name := range strings.SplitSeq(names, ",") {
		if v, ok := f.env[name]; ok {
			return v, true
		}
	}
	return "", false
}

func (f *flags) text(name, variable, value, usage string) *string {
	if v, ok := f.variable(name, variable); ok {
		value = v
	}
	return f.set.String(name, value, usage)
}

func (f *flags) yes(name, variable, usage string) *bool { return f.bool(name, variable, false, usage) }

func (f *flags) bool(name, variable string, value bool, usage string) *bool {
	if v, ok := f.variable(name, variable); ok && v != "" {
		var err error
		value, err = strconv.ParseBool(v)
		f.note(variable, v, "true or false", err)
	}
	return f.set.Bool(name, value, usage)
}

func (f *flags) number(name, variable string, value int, usage string) *int {
	if v, ok := f.variable(name, variable); ok && v != "" {
		n, err := strconv.Atoi(v)
		f.note(variable, v, "a whole number", err)
		value = n
	}
	return f.set.Int(name, value, usage)
}

// list is a flag that may be repeated, or hold several values with commas.
func (f *flags) list(name, variable string, value []string, usage string) *[]string {
	l := &listValue{values: value}
	if v, ok := f.variable(name, variable); ok {
		l.values = splitList(v)
	}
	f.set.Var(l, name, usage)
	return &l.values
}

func (f *flags) note(variable, value, want string, err error) {
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("environment variable %s is %q, want %s", variable, value, want)
	}
}

// given reports whether the flag was on the command line.
func (f *flags) given(name string) bool {
	found := false
	f.set.Visit(func(g *flag.Flag) { found = found || g.Name == name })
	return found
}

// parse reads flags wherever they stand, as buildkite-agent does, and returns
// the other arguments. "--" ends the flags.
func (f *flags) parse(args []string) ([]string, error) {
	var positional []string
	for {
		if err := f.set.Parse(args); err != nil {
			return nil, err
		}
		rest := f.set.Args()
		parsed := len(args) - len(rest)
		if parsed > 0 && args[parsed-1] == "--" {
			positional = append(positional, rest...)
			return positional, f.err
		}
		if len(rest) == 0 {
			return positional, f.err
		}
		positional = append(positional, rest[0])
		args = rest[1:]
	}
}

// require refuses an empty value of a flag that a job's environment normally
// provides.
func (f *flags) require(name, value string) error {
	if value != "" {
		return nil
	}
	return fmt.Errorf("no --%s: the agent sets it for commands inside a job by the environment variable %s; outside a job give the flag", name, f.from[name])
}

func (f *flags) describe() string {
	var b strings.Builder
	f.set.VisitAll(func(g *flag.Flag) {
		fmt.Fprintf(&b, "  --%-28s %s", g.Name, g.Usage)
		if v := f.from[g.Name]; v != "" {
			fmt.Fprintf(&b, " [$%s]", strings.ReplaceAll(v, ",", ", $"))
		}
		b.WriteByte('\n')
	})
	return b.String()
}

// listValue replaces its defaults at the first use on the command line.
type listValue struct {
	values []string
	used   bool
}

func (l *listValue) String() string { return strings.Join(l.values, ",") }

func (l *listValue) Set(s string) error {
	if !l.used {
		l.values, l.used = nil, true
	}
	l.values = append(l.values, splitList(s)...)
	return nil
}

func splitList(s string) []string {
	var out []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}
