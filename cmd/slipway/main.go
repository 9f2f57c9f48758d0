// Command slipway is the whole of Slipway: server, web interface, build agent and command line.
//
// Called as buildkite-agent it is the command that jobs know by that name.
package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/slipway-ci/slipway/internal/cli"
	"github.com/slipway-ci/slipway/internal/jobcli"
)

func main() {
	if name := filepath.Base(os.Args[0]); name == "buildkite-agent" {
		stdio := jobcli.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
		os.Exit(jobcli.Main(context.Background(), name, os.Args[1:], os.Environ(), stdio))
	}
	os.Exit(cli.Main(os.Args[1:]))
}
