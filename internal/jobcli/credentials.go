package jobcli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// gitCredentials is a credential helper of git (https://git-scm.com/docs/git-credential#IOFMT). What it
// prints where there is no token is the official one's: credentials that the remote refuses, for git goes on
// whatever becomes of its helper (clicommand/git_credentials_helper.go of v3.138.1).
func gitCredentials(f *flags) action {
	server := f.server()
	job := f.text("job-id", "BUILDKITE_JOB_ID", "", "the job that makes the request")
	return func(ctx context.Context, p *program, args []string) error {
		if len(args) == 0 || args[0] != "get" {
			return nil // there is nothing to store or to erase
		}
		token, err := p.repositoryToken(ctx, server, *job)
		if err != nil {
			_, printing := fmt.Fprint(p.stdio.Out, "username=fail\npassword=fail\n\n")
			return errors.Join(fmt.Errorf("no credentials for the repository: %w", err), printing)
		}
		if j, err := p.jobAPI(); err == nil {
			if err := j.hide(ctx, token); err != nil {
				p.warn("the repository's token is not hidden in the log: %v", err)
			}
		}
		_, err = fmt.Fprintf(p.stdio.Out, "username=token\npassword=%s\n\n", token)
		return err
	}
}

func (p *program) repositoryToken(ctx context.Context, server serverFlags, job string) (string, error) {
	repository, err := p.askedRepository()
	if err != nil {
		return "", err
	}
	if err := server.f.require("job-id", job); err != nil {
		return "", err
	}
	c, err := server.connect(p)
	if err != nil {
		return "", err
	}
	var token string
	err = p.retry(ctx, wire.CallRepositoryToken, func(ctx context.Context, _ int) (err error) {
		token, err = c.RepositoryAccessToken(ctx, job, repository)
		return err
	})
	if err == nil && token == "" {
		err = errors.New("the server's answer has no token in it")
	}
	return token, err
}

// askedRepository reads from git which repository it wants to reach.
func (p *program) askedRepository() (string, error) {
	asked := map[string]string{}
	if p.stdio.In != nil {
		lines := bufio.NewScanner(p.stdio.In)
		for lines.Scan() && lines.Text() != "" {
			name, value, _ := strings.Cut(lines.Text(), "=")
			asked[name] = value
		}
		if err := lines.Err(); err != nil {
			return "", fmt.Errorf("reading what git asks for: %w", err)
		}
	}
	for _, name := range []string{"protocol", "host", "path"} {
		if asked[name] == "" {
			return "", fmt.Errorf("git does not say the %s of the repository; this command is for git to call, with credential.useHttpPath set", name)
		}
	}
	if asked["protocol"] != "https" {
		return "", fmt.Errorf("the repository is reached over %s; credentials are sent over https alone", asked["protocol"])
	}
	u := url.URL{Scheme: asked["protocol"], Host: asked["host"], Path: "/" + strings.TrimPrefix(asked["path"], "/")}
	return u.String(), nil
}
