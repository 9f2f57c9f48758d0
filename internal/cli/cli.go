// Package cli is the command line: it starts servers and agents, and runs pipelines on this
// machine. It has no state of its own; everything that it does, it does through app, agent or the
// REST API.
//
// Exit statuses: 0 success, 1 failure (a build that failed, a server that could not start), 2 usage
// or a pipeline that cannot be planned.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/slipway-ci/slipway/internal/agent"
	"github.com/slipway-ci/slipway/internal/jobcli"
)

// Version is the release; builds from a checkout have the commit.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "dev"
	}
	return info.Main.Version
}

// commands is the whole command tree.
type commands struct {
	Up      upCommand      `cmd:"" help:"Run a server and agents on this machine, with this checkout's pipelines."`
	Run     runCommand     `cmd:"" help:"Run one pipeline of this checkout here and show it; exits as the build did."`
	Server  serverCommand  `cmd:"" help:"Run the server."`
	Agent   agentCommand   `cmd:"" help:"Run agents."`
	SignIn  signInCommand  `cmd:"" name:"sign-in" help:"Print a sign-in link of the server that runs on this data directory. It works once; then there is another."`
	Pipe    pipeCommand    `cmd:"" name:"pipeline" help:"Check pipelines."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

type agentCommand struct {
	Start agentStart `cmd:"" help:"Register agents with a server and run its jobs."`
}

type versionCommand struct{}

func (versionCommand) Run(c *console) error {
	_, err := fmt.Fprintf(c.out, "slipway %s\n", Version())
	return err
}

// console is what a command works with.
type console struct {
	ctx  context.Context
	out  io.Writer
	err  io.Writer
	in   *os.File
	log  *slog.Logger
	kill <-chan struct{} // closed by a second interrupt
}

// usage is an error of the caller's: exit status 2.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return usage{fmt.Errorf(format, args...)} }

// silent is a failure that has been shown already: the error is an exit status and nothing else.
type silent int

func (s silent) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// Main runs a command line and returns its exit status.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// A reader that goes away (slipway run | head) is an error to clean up after, not a sudden death.
	// Ignoring the signal instead would be inherited by every command of every job.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	c := &console{ctx: ctx, out: os.Stdout, err: os.Stderr, in: os.Stdin, kill: secondInterrupt(ctx)}
	c.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: logLevel(os.Getenv("SLIPWAY_LOG"))}))
	if jobcli.Handles(args) && !ours(args) {
		return jobcli.Main(ctx, "slipway", args, os.Environ(), jobcli.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	}
	return report(c.err, run(c, args))
}

// ours says whether a command line that jobs know too means ours: "pipeline upload" is theirs, the
// rest of that group is not.
func ours(args []string) bool {
	return args[0] == "version" || args[0] == "pipeline" && (len(args) < 2 || args[1] != "upload")
}

func logLevel(s string) slog.Level {
	level := slog.LevelWarn
	if s != "" && level.UnmarshalText([]byte(s)) != nil {
		return slog.LevelWarn
	}
	return level
}

// secondInterrupt is closed when an interrupt comes after the one that ended ctx.
func secondInterrupt(ctx context.Context) <-chan struct{} {
	again := make(chan struct{})
	context.AfterFunc(ctx, func() {
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGINT, syscall.SIGTERM)
		<-c
		close(again)
	})
	return again
}

// parsed carries kong's own ending out of its call.
type parsed int

func run(c *console, args []string) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case parsed:
			err = silent(p)
		default:
			panic(p)
		}
	}()
	var tree commands
	parser, err := kong.New(&tree,
		kong.Name("slipway"),
		kong.Description("A CI system that you run yourself: server, agents and command line in one program.\n\n"+
			"What jobs call as buildkite-agent works here too: "+strings.Join(jobcli.Groups(), ", ")+". `slipway tool` makes keys and signs pipelines."),
		kong.Writers(c.out, c.err),
		kong.Exit(func(code int) { panic(parsed(code)) }),
		kong.Resolvers(agent.Resolver(args)),
		kong.WithHyphenPrefixedParameters(true), // --priority -1, as buildkite-agent takes it
		kong.Bind(c),
	)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if err != nil {
		return usage{err}
	}
	return k.Run(c)
}

// report says what went wrong and returns the exit status.
func report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	if s, ok := errors.AsType[silent](err); ok {
		return int(s)
	}
	fmt.Fprintf(w, "slipway: %v\n", err)
	if e, ok := errors.AsType[*agent.ExitError](err); ok {
		return e.Code
	}
	if _, ok := errors.AsType[usage](err); ok {
		return 2
	}
	return 1
}
