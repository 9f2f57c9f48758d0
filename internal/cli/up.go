package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/slipway-ci/slipway/internal/app"
	"github.com/slipway-ci/slipway/internal/store"
)

type upCommand struct {
	Listen string `name:"listen" env:"SLIPWAY_LISTEN" default:"127.0.0.1:8080" help:"Address to listen on."`
	Data   string `name:"data" env:"SLIPWAY_DATA" help:"Directory that everything is kept in." placeholder:"DIR"`
	Agents int    `name:"agents" help:"Jobs side by side; as many as there are processors by default." placeholder:"N"`
}

func (u upCommand) Run(c *console) (err error) {
	dir, err := dataDir(u.Data, "up")
	if err != nil {
		return err
	}
	repo, docs, err := u.pipelines(c, dir)
	if err != nil {
		return err
	}
	l, err := startLocal(c, app.Config{Listen: u.Listen, Data: dir}, defaultAgents(u.Agents))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	fmt.Fprintf(c.out, "Slipway %s listens on %s with %d agents; its data is in %s\n", Version(), l.URL, defaultAgents(u.Agents), dir)
	fmt.Fprintf(c.out, "Sign in (works once): %s\n", l.Bootstrap.SignInURL)
	if err := u.offer(c, l, repo, docs); err != nil {
		return err
	}
	<-c.ctx.Done()
	fmt.Fprintln(c.out, "\nStopping.")
	return nil
}

// pipelines finds what to offer: those of the checkout around the working directory, or of a
// sample repository that is made.
func (u upCommand) pipelines(c *console, dir string) (checkout, []document, error) {
	repo, err := findCheckout(c.ctx, ".")
	if err == nil {
		docs, err := repo.documents()
		if err != nil || len(docs) > 0 {
			return repo, docs, err
		}
	}
	if _, bad := errors.AsType[usage](err); err != nil && !bad {
		return repo, nil, err
	}
	if repo, err = sampleRepository(c.ctx, filepath.Join(dir, "sample")); err != nil {
		return repo, nil, err
	}
	docs, err := repo.documents()
	return repo, docs, err
}

// offer makes the pipelines that the server does not have yet, and builds and shows each of them
// once.
func (u upCommand) offer(c *console, l *local, repo checkout, docs []document) error {
	var watching sync.WaitGroup
	defer watching.Wait()
	for _, doc := range docs {
		pl, b, err := l.OfferOnce(c.ctx, app.Offer{
			Slug: doc.slug, Repository: repo.root, Path: doc.path, Branch: repo.branch, Commit: repo.commit, Message: repo.subject,
		})
		if err != nil {
			return fmt.Errorf("pipeline %s: %w", doc.path, err)
		}
		fmt.Fprintf(c.out, "Pipeline %s (%s): %s/%s/%s\n", pl.Slug, doc.path, l.URL, l.Organization, pl.Slug)
		if b.ID != "" {
			watching.Go(func() { show(c, l, pl, b, defaultAgents(u.Agents)) })
		}
	}
	return nil
}

// show prints what happens in a build until it ends or the command does.
func show(c *console, l *local, pl store.Pipeline, b store.Build, agents int) {
	d := newDisplay(c, pl.Slug, fmt.Sprintf("%s/%s/%s/builds/%d", l.URL, l.Organization, pl.Slug, b.Number))
	d.terminal, d.canWait = nil, true
	d.begin(b, pl.Path, agents)
	b, err := l.Watch(c.ctx, b.ID, d)
	d.end()
	if c.ctx.Err() != nil {
		return
	}
	if err == nil {
		err = d.summary(b)
	}
	if _, told := errors.AsType[silent](err); err != nil && !told {
		fmt.Fprintf(c.err, "slipway: build %d of %s: %v\n", b.Number, pl.Slug, err)
	}
}

// sampleDocument is the pipeline of the repository that is made where there is none.
const sampleDocument = `# A sample. Put a file like this at .buildkite/pipeline.yml of your own repository.
steps:
  - label: ":wave: Greet"
    command: |
      echo "--- Hello"
      echo "This ran on $$(hostname), commit $$BUILDKITE_COMMIT"

  - label: "Part %N of %t"
    command: "echo I am part $$BUILDKITE_PARALLEL_JOB; sleep 0.5"
    parallelism: 3

  - wait

  - label: "Keep a file"
    command: "date > when.txt"
    artifact_paths: "when.txt"
`

// sampleRepository makes a repository with one pipeline, unless it was made before.
func sampleRepository(ctx context.Context, dir string) (checkout, error) {
	if r, err := findCheckout(ctx, dir); err == nil && r.root == dir {
		return r, nil
	}
	file := filepath.Join(dir, ".buildkite", "pipeline.yml")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return checkout{}, err
	}
	if err := os.WriteFile(file, []byte(sampleDocument), 0o644); err != nil {
		return checkout{}, err
	}
	person := []string{"-c", "user.name=Slipway", "-c", "user.email=slipway@localhost"}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"},
		{"add", "."},
		append(person, "commit", "--quiet", "-m", "A sample pipeline"),
	} {
		if _, err := git(ctx, dir, args...); err != nil {
			return checkout{}, err
		}
	}
	return findCheckout(ctx, dir)
}
