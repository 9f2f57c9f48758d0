package cli

import (
	"fmt"
	"os"

	"github.com/slipway-ci/slipway/internal/pipeline"
)

type pipeCommand struct {
	Check checkCommand `cmd:"" help:"Say what is wrong with a pipeline file, or which steps it has."`
}

type checkCommand struct {
	File string `arg:"" optional:"" help:"Pipeline file, or the name of a pipeline of this checkout."`
}

// Run reads the file as it is in the working directory. Conditions are checked, not decided: what
// they depend on is known only to a build.
func (k checkCommand) Run(c *console) error {
	path := k.File
	if _, err := os.Stat(path); path == "" || err != nil {
		repo, err := findCheckout(c.ctx, ".")
		if err != nil {
			return err
		}
		doc, err := repo.choose(k.File)
		if err != nil {
			return err
		}
		path = repo.root + "/" + doc.path
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return usage{err}
	}
	doc, err := pipeline.Parse(text, path)
	if err != nil {
		return usage{err}
	}
	plan, err := doc.Plan(pipeline.Facts{Branch: "main"}, pipeline.Limits{})
	if err != nil {
		return usage{err}
	}
	for _, w := range plan.Warnings {
		fmt.Fprintf(c.err, "warning: %s\n", w)
	}
	for _, s := range plan.Steps {
		indent := ""
		if s.Group >= 0 {
			indent = "  "
		}
		fmt.Fprintf(c.out, "%s%-8s %s\n", indent, s.Kind, stepName(s))
	}
	fmt.Fprintf(c.out, "%d steps, %d jobs\n", len(plan.Steps), plan.JobCount())
	return nil
}

func stepName(s pipeline.Step) string {
	switch {
	case s.Label != "":
		return s.Label
	case s.Key != "":
		return s.Key
	case len(s.Jobs) > 0:
		return firstLineOf(s.Jobs[0].Command)
	}
	return ""
}
