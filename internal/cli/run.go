package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/slipway-ci/slipway/internal/app"
	"github.com/slipway-ci/slipway/internal/pipeline"
)

type runCommand struct {
	Pipeline string `arg:"" optional:"" help:"Name of a pipeline (its folder under ci) or a pipeline file."`
	Dirty    bool   `name:"dirty" help:"Build the working directory as it is, uncommitted changes included."`
	Agents   int    `name:"agents" help:"Jobs side by side; as many as there are processors by default." placeholder:"N"`
	Listen   string `name:"listen" default:"127.0.0.1:0" help:"Address of the server while the build runs."`
}

func (r runCommand) Run(c *console) (err error) {
	repo, err := findCheckout(c.ctx, ".")
	if err != nil {
		return err
	}
	doc, err := repo.choose(r.Pipeline)
	if err != nil {
		return err
	}
	dir, remove, err := tempDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	if repo, err = r.source(c, repo, dir); err != nil {
		return err
	}
	if err := checkDocument(c.ctx, repo, doc.path); err != nil {
		return err
	}
	return r.build(c, repo, doc, filepath.Join(dir, "data"))
}

// source warns of what is not built, or builds it.
func (r runCommand) source(c *console, repo checkout, dir string) (checkout, error) {
	if len(repo.changes) == 0 {
		return repo, nil
	}
	if r.Dirty {
		return repo.snapshot(c.ctx, dir)
	}
	fmt.Fprintf(c.err, "slipway: warning: not built, because not committed (--dirty builds them): %s\n", someOf(repo.changes, 5))
	return repo, nil
}

func someOf(list []string, n int) string {
	if len(list) <= n {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:n], ", "), len(list)-n)
}

// checkDocument refuses what cannot be read before anything is started.
func checkDocument(ctx context.Context, repo checkout, path string) error {
	text, err := repo.source(ctx, path)
	if err != nil {
		return err
	}
	_, err = pipeline.Parse(text, path)
	if err != nil {
		return usage{err}
	}
	return nil
}

func (r runCommand) build(c *console, repo checkout, doc document, data string) (err error) {
	l, err := startLocal(c, app.Config{Listen: r.Listen, Data: data}, defaultAgents(r.Agents))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	b, err := l.Offer(c.ctx, app.Offer{
		Slug: doc.slug, Repository: repo.root, Path: doc.path, Branch: repo.branch, Commit: repo.commit, Message: repo.subject,
	})
	if err != nil {
		return err
	}
	d := newDisplay(c, doc.slug, l.Bootstrap.SignInURL)
	d.begin(b, doc.path, defaultAgents(r.Agents))
	return r.watch(c, l, b.ID, d)
}

// watch shows the build to its end. The first interrupt cancels it, a second ends everything.
func (r runCommand) watch(c *console, l *local, id string, d *display) error {
	ctx, stop := context.WithCancel(context.WithoutCancel(c.ctx))
	defer stop()
	l.agents.Go(func() {
		select {
		case <-c.ctx.Done():
			d.say("canceling the build; interrupt again to end at once")
			if _, err := l.Engine.CancelBuild(ctx, id, "interrupt"); err != nil && ctx.Err() == nil {
				d.say("canceling: " + err.Error())
			}
		case <-ctx.Done():
		}
	})
	l.agents.Go(func() {
		select {
		case <-c.kill:
			stop()
		case <-ctx.Done():
		}
	})
	b, err := l.Watch(ctx, id, d)
	d.end()
	switch {
	case errors.Is(err, context.Canceled):
		return silent(1)
	case err != nil:
		return err
	}
	return d.summary(b)
}
