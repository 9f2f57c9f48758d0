package cli

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/slipway-ci/slipway/internal/agent"
	"github.com/slipway-ci/slipway/internal/app"
	"github.com/slipway-ci/slipway/internal/blob/s3"
)

type serverCommand struct {
	Listen      string            `name:"listen" env:"SLIPWAY_LISTEN" default:"127.0.0.1:8080" help:"Address to listen on."`
	Data        string            `name:"data" env:"SLIPWAY_DATA" help:"Directory for the database, logs and artifacts." placeholder:"DIR"`
	Database    string            `name:"database" env:"SLIPWAY_DATABASE" help:"postgres:// URL; SQLite in the data directory by default." placeholder:"URL"`
	URL         string            `name:"url" env:"SLIPWAY_URL" help:"Public base URL; the listen address by default."`
	Org         string            `name:"org" env:"SLIPWAY_ORG" default:"main" help:"Slug of the first organization."`
	SealKey     string            `name:"sealing-key-file" env:"SLIPWAY_SEALING_KEY_FILE" help:"File with the keys that seal secrets in the database, the one that seals first; sealing.key in the data directory by default. Servers of one database need the same. SLIPWAY_SEALING_KEY may hold the keys themselves." placeholder:"FILE"`
	S3Bucket    string            `name:"s3-bucket" env:"SLIPWAY_S3_BUCKET" help:"Keep artifacts in this bucket of an S3-compatible store, to which agents send them directly. Credentials are found as the AWS SDK finds them."`
	S3Prefix    string            `name:"s3-prefix" env:"SLIPWAY_S3_PREFIX" help:"What the names of objects begin with." placeholder:"FOLDER/"`
	S3Endpoint  string            `name:"s3-endpoint" env:"SLIPWAY_S3_ENDPOINT" help:"URL of the store, as agents reach it too; that of AWS by default." placeholder:"URL"`
	S3Region    string            `name:"s3-region" env:"SLIPWAY_S3_REGION" help:"Region of the bucket."`
	S3PathStyle bool              `name:"s3-path-style" env:"SLIPWAY_S3_PATH_STYLE" help:"Name the bucket in the path of addresses, not in the host."`
	SMTP        string            `name:"smtp" env:"SLIPWAY_SMTP" help:"Mail server for notifications, smtp://user@host:587 or smtps://user@host:465; SLIPWAY_SMTP_PASSWORD holds the password." placeholder:"URL"`
	MailFrom    string            `name:"mail-from" env:"SLIPWAY_MAIL_FROM" help:"Sender of mail, as in Slipway <ci@example.com>." placeholder:"ADDRESS"`
	Drain       durationFlag      `name:"drain" env:"SLIPWAY_DRAIN" help:"How long to go on serving after SIGTERM while /readyz answers 503, so that a load balancer notices; 0s by default." placeholder:"10s"`
	Slow        durationFlag      `name:"slow-timers" hidden:"" help:"Make every timer this long."`
	Deaf        bool              `name:"drop-wakeups" hidden:"" help:"Drop every wake-up."`
	Loss        durationFlag      `name:"loss-term" hidden:"" help:"How long agents may be silent before they are lost."`
	Endpoint    string            `name:"agent-endpoint" env:"SLIPWAY_AGENT_ENDPOINT" help:"Where agents are sent, ending in /v3, such as a new address of this server; they stay where they registered by default." placeholder:"URL"`
	Headers     map[string]string `name:"agent-request-header" env:"SLIPWAY_AGENT_REQUEST_HEADER" help:"Header that agents send with each request, for a proxy to route by; its name begins with Buildkite-." placeholder:"NAME=VALUE"`
}

func (s serverCommand) Run(c *console) error {
	dir, err := dataDir(s.Data, "server")
	if err != nil {
		return err
	}
	if s.Database != "" && !strings.HasPrefix(s.Database, "postgres://") && !strings.HasPrefix(s.Database, "postgresql://") {
		return usagef("--database %q is not a postgres:// URL", s.Database)
	}
	if err := s.checkAgentSettings(); err != nil {
		return err
	}
	a, err := app.Start(c.ctx, app.Config{
		AgentEndpoint: s.Endpoint, AgentHeaders: s.Headers,
		Listen: s.Listen, Data: dir, Database: s.Database, URL: s.URL, Organization: s.Org,
		APIToken: os.Getenv("SLIPWAY_BOOTSTRAP_API_TOKEN"), AgentToken: os.Getenv("SLIPWAY_BOOTSTRAP_AGENT_TOKEN"),
		SealingKeys: os.Getenv("SLIPWAY_SEALING_KEY"), SealingKeyFile: s.SealKey,
		S3:   s3.Config{Bucket: s.S3Bucket, Prefix: s.S3Prefix, Endpoint: s.S3Endpoint, Region: s.S3Region, PathStyle: s.S3PathStyle},
		SMTP: s.SMTP, MailFrom: s.MailFrom, SMTPPassword: os.Getenv("SLIPWAY_SMTP_PASSWORD"),
		Version: Version(), Log: c.log, Drain: s.Drain.Duration, Slow: s.Slow.Duration, Deaf: s.Deaf,
		LossTerm: s.Loss.Duration, SizeHeap: os.Getenv("GOGC") == "",
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "Slipway %s listens on %s\n", Version(), a.URL)
	fmt.Fprintf(c.out, "Sign in (works once):  %s\n", a.Bootstrap.SignInURL)
	tokens := filepath.Join(dir, "bootstrap.json")
	if a.Bootstrap.APIToken == "" || a.Bootstrap.AgentToken == "" {
		tokens = "in the bootstrap.json of the server that started first; sign in to make others"
	}
	fmt.Fprintf(c.out, "Tokens:                %s\n", tokens)
	<-c.ctx.Done()
	return a.Close()
}

// checkAgentSettings refuses what agents would drop without a word (agent v3.138.1, api/client.go).
func (s serverCommand) checkAgentSettings() error {
	u, err := url.Parse(s.Endpoint)
	if s.Endpoint != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "/v3") {
		return usagef("--agent-endpoint %q is not a URL like https://ci.example.com/v3", s.Endpoint)
	}
	for name := range s.Headers {
		if !strings.HasPrefix(name, "Buildkite-") {
			return usagef("--agent-request-header %q: the name must begin with Buildkite-", name)
		}
	}
	return nil
}

// dataDir is the directory that was asked for, or the user's own for a kind of server.
func dataDir(asked, kind string) (string, error) {
	if asked != "" {
		return filepath.Abs(asked)
	}
	base := os.Getenv("XDG_DATA_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("no place for data is known; give one with --data: %w", err)
		}
		base = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(base, "slipway", kind), nil
}

type signInCommand struct {
	Data string `name:"data" env:"SLIPWAY_DATA" help:"Directory of the server." placeholder:"DIR"`
}

// Run shows the link that the running server keeps good in its bootstrap file.
func (s signInCommand) Run(c *console) error {
	dir, err := dataDir(s.Data, "server")
	if err != nil {
		return err
	}
	f, running, err := app.Running(dir)
	if err != nil {
		return fmt.Errorf("reading bootstrap.json of %s: %w", dir, err)
	}
	if !running {
		return fmt.Errorf("no server runs on %s; start it, which prints a link, or name the directory of another with --data", dir)
	}
	_, err = fmt.Fprintf(c.out, "%s\n", f.SignInURL)
	return err
}

type agentStart struct {
	agent.Flags `embed:""`
}

func (s *agentStart) Run(c *console) error {
	config, err := s.AgentConfig(Version())
	if err != nil {
		return usage{err}
	}
	config.Kill = c.kill
	log, err := s.Logger(c.err)
	if err != nil {
		return usage{err}
	}
	err = agent.Run(c.ctx, config, log)
	if errors.Is(err, c.ctx.Err()) {
		return nil
	}
	return err
}
