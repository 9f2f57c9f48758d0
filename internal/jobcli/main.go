package jobcli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// agentVersion is the release of buildkite-agent whose commands these are.
// Plugins read it from --version to learn what they may use.
const agentVersion = "3.138.1"

// Stdio is where a command reads and writes.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// program is one run of a command.
type program struct {
	name     string // as the user called it
	env      environ
	dir      string // working directory
	stdio    Stdio
	http     *http.Client
	progress bool // say also what goes well
}

// command is a sub-command such as "meta-data get".
type command struct {
	name  string
	args  string // for the usage line
	about string
	setup func(*flags) action
}

// action runs a command after its flags are parsed; args are the others.
type action func(ctx context.Context, p *program, args []string) error

// exitStatus ends the command with a status and without a message.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// commands lists all sub-commands in the order in which help shows them.
func commands() []command {
	return slices.Concat(
		pipelineCommands(), artifactCommands(), metaDataCommands(), annotationCommands(),
		envCommands(), stepCommands(), buildCommands(), secretCommands(),
		lockCommands(), cacheCommands(), agentCommands(), toolCommands(),
	)
}

// Handles reports whether args, without the program's name, begin with one of
// the commands of this package or are about one of its groups, as "tool" and
// "tool --help" are.
func Handles(args []string) bool {
	if _, _, ok := find(args); ok {
		return true
	}
	return len(args) > 0 && slices.Contains(Groups(), args[0])
}

// Groups lists the first words of the commands, in the order of help.
func Groups() []string {
	var groups []string
	for _, c := range commands() {
		if first, _, _ := strings.Cut(c.name, " "); !slices.Contains(groups, first) {
			groups = append(groups, first)
		}
	}
	return groups
}

// Main runs the command in args, which follow the program's name, and returns
// its exit status. env has the form of [os.Environ].
func Main(ctx context.Context, name string, args, env []string, stdio Stdio) int {
	dir, err := os.Getwd()
	if err != nil {
		fmt.Fprintf(stdio.Err, "%s: fatal: working directory: %v\n", name, err)
		return 1
	}
	p := &program{name: name, env: parseEnviron(env), dir: dir, stdio: stdio, http: wire.NewHTTPClient()}
	defer p.http.CloseIdleConnections()
	return p.main(ctx, args)
}

func (p *program) main(ctx context.Context, args []string) int {
	err := p.run(ctx, args)
	if err == nil {
		return 0
	}
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	fmt.Fprintf(p.stdio.Err, "%s: fatal: %s\n", p.name, explain(err))
	return 1
}

func (p *program) run(ctx context.Context, args []string) error {
	if len(args) > 0 && slices.Contains([]string{"--version", "-version", "-v", "version"}, args[0]) {
		_, err := fmt.Fprintf(p.stdio.Out, "buildkite-agent version %s\n", fullVersion())
		return err
	}
	c, rest, ok := find(args)
	if !ok {
		return p.overview(args)
	}
	f := newFlags(p.env)
	act := c.setup(f)
	positional, err := f.parse(rest)
	if errors.Is(err, flag.ErrHelp) {
		return p.help(c, f)
	}
	if err != nil {
		return fmt.Errorf("%s: %w (see %s %s --help)", c.name, err, p.name, c.name)
	}
	p.progress = f.wantsProgress()
	return act(ctx, p, positional)
}

// find returns the command that args name, and what follows its name.
func find(args []string) (command, []string, bool) {
	for _, c := range commands() {
		words := strings.Fields(c.name)
		if len(args) >= len(words) && slices.Equal(args[:len(words)], words) {
			return c, args[len(words):], true
		}
	}
	return command{}, nil, false
}

// overview lists the commands. Only where it was asked for is it a success.
func (p *program) overview(args []string) error {
	asked := len(args) == 0 || slices.Contains([]string{"help", "--help", "-help", "-h"}, args[len(args)-1])
	group := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") && args[0] != "help" {
		group = args[0]
	}
	var list strings.Builder
	for _, c := range commands() {
		if group == "" || strings.HasPrefix(c.name, group+" ") {
			fmt.Fprintf(&list, "  %-22s %s\n", c.name, c.about)
		}
	}
	known := list.Len() > 0
	if known && (asked || len(args) == 1) {
		_, err := fmt.Fprintf(p.stdio.Out, "Usage:\n\n  %s <command> [options...]\n\nCommands:\n\n%s", p.name, list.String())
		return err
	}
	if !known {
		return fmt.Errorf("unknown command %q; run %s --help for the commands there are", strings.Join(args, " "), p.name)
	}
	return fmt.Errorf("unknown command %q; there are:\n%s", strings.Join(args[:2], " "), list.String())
}

func (p *program) help(c command, f *flags) error {
	_, err := fmt.Fprintf(p.stdio.Out, "Usage:\n\n  %s %s [options...] %s\n\n%s\n\nOptions:\n\n%s", p.name, c.name, c.args, c.about, f.describe())
	return err
}

// warn tells the user of something that does not stop the command.
func (p *program) warn(format string, args ...any) {
	fmt.Fprintf(p.stdio.Err, p.name+": warning: "+format+"\n", args...)
}

// note tells of progress, where --debug or --log-level info asks for it.
func (p *program) note(format string, args ...any) {
	if p.progress {
		fmt.Fprintf(p.stdio.Err, p.name+": "+format+"\n", args...)
	}
}

// hasInput reports whether standard input is a pipe or a file, in other words
// not a terminal or another device (internal/stdin of buildkite-agent v3.138.1).
func (p *program) hasInput() bool {
	f, ok := p.stdio.In.(*os.File)
	if !ok {
		return p.stdio.In != nil
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice == 0
}

// textOrInput is the argument at i or, if it was left out, standard input.
func (p *program) textOrInput(args []string, i int) (string, error) {
	if len(args) > i {
		return args[i], nil
	}
	if p.stdio.In == nil {
		return "", nil
	}
	text, err := io.ReadAll(p.stdio.In)
	if err != nil {
		return "", fmt.Errorf("reading standard input: %w", err)
	}
	return string(text), nil
}

func fullVersion() string {
	v := "devel"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = strings.Trim(info.Main.Version, "()")
	}
	return agentVersion + "+slipway." + strings.ReplaceAll(v, "+", ".")
}
