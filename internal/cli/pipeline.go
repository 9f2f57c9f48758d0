package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/client"
	"github.com/slipway-ci/slipway/internal/app"
	"github.com/slipway-ci/slipway/internal/pipeline"
)

type pipeCommand struct {
	Check checkCommand `cmd:"" help:"Say what is wrong with a pipeline file, and what it will run."`
}

type checkCommand struct {
	File     string `arg:"" optional:"" help:"Pipeline file, - for standard input, or the name of a pipeline of this checkout."`
	Part     bool   `name:"part" help:"The file is one upload of several: what it depends on may be in another."`
	Endpoint string `name:"endpoint" env:"SLIPWAY_ENDPOINT" help:"Server whose limits, queues, agents and pipelines are asked; without it one that runs on this machine." placeholder:"URL"`
	Token    string `name:"token" env:"SLIPWAY_API_TOKEN" help:"API token of that server." placeholder:"TOKEN"`
	Org      string `name:"org" env:"SLIPWAY_ORG" help:"Organization there; main by default, or the first of a server on this machine." placeholder:"SLUG"`
	Pipeline string `name:"pipeline" help:"Pipeline there that the file is for." placeholder:"SLUG"`

	Offline bool   `name:"offline" help:"Ask no server: check the file by itself."`
	Data    string `name:"data" env:"SLIPWAY_DATA" help:"Data directory of the server on this machine; that of slipway up or slipway server by default." placeholder:"DIR"`

	JSON bool `name:"json" xor:"form" help:"Print the report as JSON."`
	Dot  bool `name:"dot" xor:"form" help:"Print the graph in the language of Graphviz."`
}

// Help says what a check does and how it ends.
func (checkCommand) Help() string {
	return "The file is read as it is in the working directory. Variables that only a job knows, and if_changed, are accepted: " +
		"what depends on them is not judged, and neither are conditions decided.\n\n" +
		"Exit statuses: 0 the pipeline can be planned, also with warnings; 1 the check could not be made; " +
		"2 something is wrong with the pipeline, or with the command line."
}

func (k checkCommand) Run(c *console) error {
	text, file, err := k.read(c)
	if err != nil {
		return err
	}
	r, err := k.check(c, text, file)
	if err != nil {
		return err
	}
	return k.print(c, r)
}

// check has a server check the document, if one is named or runs here, and says which.
func (k checkCommand) check(c *console, text []byte, file string) (pipeline.Report, error) {
	server, err := k.server()
	if err != nil {
		return pipeline.Report{}, err
	}
	if server == nil {
		fmt.Fprintln(c.err, "slipway: checked without a server, so not against its limits, queues and agents")
		return pipeline.Check(text, file, pipeline.CheckFacts{Part: k.Part, Facts: pipeline.Facts{Branch: "main"}}), nil
	}
	r, err := k.ask(c, server, text, file)
	if err == nil {
		fmt.Fprintf(c.err, "slipway: checked with the organization %s of %s\n", server.Organization, server.URL)
	}
	return r, err
}

// server is the one to ask, nil if none is named and none runs on this machine.
func (k checkCommand) server() (*client.Client, error) {
	switch {
	case k.Offline:
		return nil, nil
	case k.Endpoint != "" && k.Token == "":
		return nil, usagef("--endpoint needs --token, an API token of that server with the scope read_pipelines")
	case k.Endpoint != "":
		return &client.Client{URL: strings.TrimRight(k.Endpoint, "/"), Token: k.Token, Organization: cmp.Or(k.Org, "main")}, nil
	}
	for _, kind := range []string{"up", "server"} {
		dir, err := dataDir(k.Data, kind)
		if err != nil {
			return nil, nil // without a home there is no server of ours
		}
		f, ok, err := app.Running(dir)
		if err != nil {
			return nil, fmt.Errorf("the server's bootstrap.json in %s cannot be read (--offline does without): %w", dir, err)
		}
		if ok {
			return &client.Client{URL: f.URL, Token: cmp.Or(k.Token, f.APIToken), Organization: cmp.Or(k.Org, f.Organization, "main")}, nil
		}
	}
	return nil, nil
}

// askTerm is how long a server may take to check a document.
const askTerm = time.Minute

// ask has a server check the document.
func (k checkCommand) ask(c *console, server *client.Client, text []byte, file string) (pipeline.Report, error) {
	ctx, stop := context.WithTimeout(c.ctx, askTerm)
	defer stop()
	answer, err := server.CheckPipeline(ctx, string(text), file, k.Pipeline, k.Part)
	if err != nil {
		return pipeline.Report{}, fmt.Errorf("checking with %s (--offline asks no server): %w", server.URL, err)
	}
	var r pipeline.Report
	if err := json.Unmarshal(answer, &r); err != nil {
		return r, fmt.Errorf("the answer of %s is no report: %w", server.URL, err)
	}
	return r, nil
}

// read returns the document and what to call it.
func (k checkCommand) read(c *console) ([]byte, string, error) {
	if k.File == "-" {
		text, err := io.ReadAll(io.LimitReader(c.in, pipeline.MaxSource+1))
		return text, "stdin", err
	}
	path := k.File
	if _, err := os.Stat(path); path == "" || err != nil {
		repo, err := findCheckout(c.ctx, ".")
		if err != nil {
			return nil, "", err
		}
		doc, err := repo.choose(k.File)
		if err != nil {
			return nil, "", err
		}
		path = repo.root + "/" + doc.path
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, "", usage{err}
	}
	return text, path, nil
}

// print shows a report. What is wrong goes where errors go, and ends the command with status 2.
func (k checkCommand) print(c *console, r pipeline.Report) error {
	if k.JSON {
		enc := json.NewEncoder(c.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if err := enc.Encode(r); err != nil {
			return err
		}
		if !r.OK() {
			return silent(2)
		}
		return nil
	}
	for _, p := range r.Problems {
		fmt.Fprintln(c.err, p)
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(c.err, "warning: %s\n", w)
	}
	switch {
	case !r.OK():
		return silent(2)
	case k.Dot:
		fmt.Fprint(c.out, r.Dot())
	case len(r.Steps) > 0:
		fmt.Fprint(c.out, r.Draw())
		writeNeeds(c.out, r)
	}
	return nil
}

// writeNeeds says how much there is to do, and for whom.
func writeNeeds(w io.Writer, r pipeline.Report) {
	fmt.Fprintf(w, "\n%d steps, %d jobs\n", len(r.Steps), r.Jobs)
	for _, n := range r.Needs {
		name := "queue=" + n.Queue
		if n.Queue == "" {
			name = "the default queue"
		}
		line := strings.Join(append([]string{name}, n.Rules...), " ") + fmt.Sprintf(": %d jobs", n.Jobs)
		switch {
		case n.Service == nil:
		case n.Service.Agents > 0:
			line += fmt.Sprintf(", %d agents", n.Service.Agents)
		case n.Service.Found:
			line += ", agents are found for them"
		default:
			line += ", " + n.Service.Why
		}
		fmt.Fprintln(w, line)
	}
}
