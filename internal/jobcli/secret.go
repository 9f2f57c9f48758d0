package jobcli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

func secretCommands() []command {
	return []command{
		{name: "secret get", args: "<key>...", about: "Print secrets", setup: secretGet},
		{name: "redactor add", args: "[file]", about: "Hide values in the rest of the log", setup: redactorAdd},
		{name: "git-credentials-helper", args: "get|store|erase", about: "Give git the server's credentials for the repository; git calls it", setup: gitCredentials},
		{name: "oidc request-token", about: "Print a signed token that states the identity of the job", setup: oidcToken},
	}
}

func secretGet(f *flags) action {
	const skipVariable = "BUILDKITE_AGENT_SECRET_GET_SKIP_SECRET_REDACTION"
	server, job := f.server(), f.job()
	format := f.text("format", "BUILDKITE_AGENT_SECRET_GET_FORMAT", "default", "json, env or default: the value alone of one key, JSON of several")
	skip := f.yes("skip-redaction", skipVariable, "do not hide the values in the log")
	return func(ctx context.Context, p *program, keys []string) error {
		if len(keys) == 0 {
			return errors.New("no secret key")
		}
		if !slices.Contains([]string{"default", "json", "env"}, *format) {
			return fmt.Errorf("--format %q: want default, json or env", *format)
		}
		c, err := connectJob(p, server, *job)
		if err != nil {
			return err
		}
		values, err := p.fetchSecrets(ctx, c, *job, keys)
		if err != nil {
			return err
		}
		if !*skip {
			hidden := slices.Collect(maps.Values(values))
			if err := p.hideBeforePrinting(ctx, "the secret", skipVariable, hidden...); err != nil {
				return err
			}
		}
		return printSecrets(p.stdio.Out, *format, keys, values)
	}
}

// fetchSecrets gets all secrets, up to ten at once, or says which failed.
func (p *program) fetchSecrets(ctx context.Context, c *wire.Client, job string, keys []string) (map[string]string, error) {
	var (
		running sync.WaitGroup
		slots   = make(chan struct{}, 10)
		values  = make([]string, len(keys))
		errs    = make([]error, len(keys))
	)
	for i, key := range keys {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			err := p.retry(ctx, wire.CallSecret, func(ctx context.Context, _ int) (err error) {
				values[i], err = c.Secret(ctx, job, key)
				return err
			})
			if err != nil {
				errs[i] = fmt.Errorf("secret %q: %w", key, err)
			}
		})
	}
	running.Wait()
	found := make(map[string]string, len(keys))
	for i, key := range keys {
		found[key] = values[i]
	}
	return found, errors.Join(errs...)
}

func printSecrets(w io.Writer, format string, keys []string, values map[string]string) error {
	if format == "env" {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			quoted := "'" + strings.ReplaceAll(values[key], "'", `'\''`) + "'"
			if _, err := fmt.Fprintf(w, "%s=%s\n", strings.ToUpper(key), quoted); err != nil {
				return err
			}
		}
		return nil
	}
	if format == "default" && len(keys) == 1 {
		_, err := fmt.Fprintln(w, values[keys[0]])
		return err
	}
	return printJSON(w, "json", values)
}

func redactorAdd(f *flags) action {
	format := f.text("format", "BUILDKITE_AGENT_REDACT_ADD_FORMAT", "none", "none: the whole input is one value; json: an object whose values are")
	filter := f.yes("apply-vars-filter", "BUILDKITE_AGENT_REDACT_VARS_FILTER", "of JSON, take only the values whose names match --redacted-vars")
	patterns := f.redactedVars()
	f.server() // accepted: scripts pass the token to every command
	return func(ctx context.Context, p *program, args []string) error {
		j, err := p.jobAPI()
		if err != nil {
			return fmt.Errorf("nothing can be added to the redaction of the log: %w; do not print the value, or keep it in a variable that --redacted-vars of the agent matches", err)
		}
		text, err := p.fileOrInput(args)
		if err != nil {
			return err
		}
		if !*filter {
			*patterns = []string{"*"}
		}
		values, err := parseSecrets(*format, text, *patterns, *filter)
		if err != nil {
			return err
		}
		return j.hide(ctx, values...)
	}
}

func (p *program) fileOrInput(args []string) (string, error) {
	if len(args) == 0 {
		return p.textOrInput(nil, 0)
	}
	file, err := readPipeline(p, args[0])
	if err != nil {
		return "", err
	}
	return string(file.text), nil
}

// parseSecrets reads the values to hide. Its errors never quote the input.
func parseSecrets(format, text string, patterns []string, filter bool) ([]string, error) {
	switch format {
	case "none":
		return []string{strings.TrimSpace(text)}, nil
	case "json":
	default:
		return nil, fmt.Errorf("--format %q: want none or json", format)
	}
	named := map[string]string{}
	if err := json.Unmarshal([]byte(text), &named); err != nil {
		return nil, errors.New("the input is not a JSON object whose values are texts")
	}
	if !filter {
		return slices.Collect(maps.Values(named)), nil
	}
	found, err := secrets(patterns, named)
	var values []string
	for _, s := range found {
		values = append(values, s.value)
	}
	return values, err
}

func oidcToken(f *flags) action {
	const skipVariable = "BUILDKITE_AGENT_OIDC_REQUEST_TOKEN_SKIP_TOKEN_REDACTION"
	server, job := f.server(), f.job()
	audience := f.text("audience", "", "", "who will read the token; default: the server's choice")
	lifetime := f.number("lifetime", "", 0, "seconds; 0: the server's choice")
	subject := f.text("subject-claim", "BUILDKITE_OIDC_TOKEN_SUBJECT_CLAIM", "", "the claim to use as the subject")
	claims := f.list("claim", "BUILDKITE_OIDC_TOKEN_CLAIMS", nil, "more claims")
	tags := f.list("aws-session-tag", "BUILDKITE_OIDC_TOKEN_AWS_SESSION_TAGS", nil, "claims to add as AWS session tags")
	skip := f.yes("skip-redaction", skipVariable, "do not hide the token in the log")
	format := f.text("format", "", "jwt", "jwt, or gcp for workload identity federation")
	return func(ctx context.Context, p *program, _ []string) error {
		if *lifetime < 0 {
			return fmt.Errorf("--lifetime is %d, want 0 or more", *lifetime)
		}
		if *format != "jwt" && *format != "gcp" {
			return fmt.Errorf("--format %q: want jwt or gcp", *format)
		}
		c, err := connectJob(p, server, *job)
		if err != nil {
			return err
		}
		var token string
		err = p.retry(ctx, wire.CallOIDCToken, func(ctx context.Context, _ int) (err error) {
			token, err = c.OIDCToken(ctx, *job, wire.OIDCTokenRequest{
				Audience: *audience, Lifetime: *lifetime, Claims: *claims,
				AWSSessionTags: *tags, SubjectClaim: *subject,
			})
			return err
		})
		if err != nil {
			return oidcRefusal(err)
		}
		if !*skip {
			if err := p.hideBeforePrinting(ctx, "the token", skipVariable, token); err != nil {
				return err
			}
		}
		return printToken(p.stdio.Out, *format, token)
	}
}

func oidcRefusal(err error) error {
	if wire.Status(err) == http.StatusNotFound {
		return fmt.Errorf("identity token: %w; does this server issue them?", err)
	}
	return fmt.Errorf("identity token: %w", err)
}

// printToken prints the token or, for gcp, what an executable-sourced
// credential must answer (https://google.aip.dev/auth/4117).
func printToken(w io.Writer, format, token string) error {
	if format == "jwt" {
		_, err := fmt.Fprintln(w, token)
		return err
	}
	return printJSON(w, "json", struct {
		IDToken   string `json:"id_token"`
		TokenType string `json:"token_type"`
		Version   int    `json:"version"`
		Success   bool   `json:"success"`
	}{token, "urn:ietf:params:oauth:token-type:jwt", 1, true})
}
