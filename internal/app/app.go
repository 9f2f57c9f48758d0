// Package app builds the whole server out of its parts and runs it. It is the only package that
// knows all others.
//
// Order: resources are opened first, then what the database says is brought up to date, then doors
// are opened, then passes start. Stopping goes the other way: no new requests, streams end, passes
// return, resources close. After a stop, or a kill at any instant, the next start finds everything
// that was acknowledged.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	_ "time/tzdata" // schedules name zones, and not every machine has them

	"github.com/slipway-ci/slipway/internal/agentapi"
	"github.com/slipway-ci/slipway/internal/artifact"
	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/blob"
	blobfs "github.com/slipway-ci/slipway/internal/blob/fs"
	"github.com/slipway-ci/slipway/internal/blob/s3"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/forge/github"
	"github.com/slipway-ci/slipway/internal/gitrepo"
	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
	"github.com/slipway-ci/slipway/internal/worker"
)

// Config says what to run.
type Config struct {
	Listen       string    // host:port; port 0: any free one
	Data         string    // directory; made if absent
	Database     string    // postgres:// URL; "": SQLite in Data
	URL          string    // public base; "": the listen address
	Organization string    // slug of the first organization; "": main
	S3           s3.Config // where artifacts are kept; no bucket: in Data
	// AgentEndpoint is where agents are sent, ending in /v3; "": they stay where they registered.
	AgentEndpoint string
	// AgentHeaders are request headers that agents are told to send; their names begin with Buildkite-.
	AgentHeaders map[string]string
	// OpenQueues and LocalRepositories are for one machine and one person: agents make the queues
	// that they name, and the server reads repositories from its own disk.
	OpenQueues        bool
	LocalRepositories bool
	APIToken          string // first tokens of an empty database; "": made
	AgentToken        string
	SMTP              string // mail server as worker.ParseMailServer reads it; "": no mail is sent
	MailFrom          string // sender of mail
	SMTPPassword      string
	SealingKeys       string // keys that seal secrets, as secret.ParseKeys reads them; "": those of the file
	SealingKeyFile    string // "": sealing.key in Data, made for an empty database
	Version           string
	Log               *slog.Logger
	// Drain is how long Close goes on serving while /readyz says that the server stops, so that a load balancer takes
	// it out before it is gone.
	Drain time.Duration
	// Slow makes every timer this long, and Deaf drops all wake-ups: what is left must still be
	// correct. For tests.
	Slow time.Duration
	Deaf bool
	// SizeHeap lets a small heap grow further than Go's own rule before it is collected; it is a setting of the process.
	SizeHeap bool
	// LossTerm is how long an agent may be silent before it is lost; 0: as the engine has it.
	LossTerm time.Duration
}

// App is a running server.
type App struct {
	Config
	URL       string
	Store     *store.Store
	Engine    *engine.Engine
	Hub       *live.Hub
	Logs      *joblog.Store
	Bootstrap BootstrapFile

	agentAPI  *agentapi.Server // set before any door opens
	listener  net.Listener
	server    *http.Server
	blobs     blob.Store    // of artifacts, and of logs where several servers keep them
	files     *blobfs.Store // nil where artifacts are in an object store
	artifacts *artifact.Store
	apps      *github.Tokens
	draining  atomic.Bool
	stopping  chan struct{}
	started   time.Time
	loops     sync.WaitGroup
	relay     *worker.Relay
	stop      context.CancelFunc
	mail      worker.MailServer
}

// Start opens everything and begins to serve. The caller calls Close.
func Start(ctx context.Context, c Config) (*App, error) {
	a := &App{Config: c, Hub: &live.Hub{}, stopping: make(chan struct{}), started: time.Now()}
	a.apps = &github.Tokens{Client: worker.WebhookClient(c.LocalRepositories), Now: time.Now}
	a.Hub.Deaf.Store(c.Deaf)
	if a.Organization == "" {
		a.Organization = "main"
	}
	if err := a.open(ctx); err != nil {
		return nil, errors.Join(err, a.closeResources())
	}
	return a, nil
}

func (a *App) open(ctx context.Context) (err error) {
	if a.SMTP != "" {
		if a.mail, err = worker.ParseMailServer(a.SMTP, a.MailFrom, a.SMTPPassword); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(a.Data, 0o700); err != nil {
		return fmt.Errorf("the data directory cannot be made (choose another with --data): %w", err)
	}
	if err := a.listen(); err != nil {
		return err
	}
	if err := a.openResources(ctx); err != nil {
		return err
	}
	if err := a.bootstrap(ctx); err != nil {
		return err
	}
	return a.serve()
}

// listen takes the address first: a second server on the same data must not get as far as the
// database.
func (a *App) listen() error {
	l, err := net.Listen("tcp", a.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("the address %s is in use: stop what listens there, or choose another with --listen (127.0.0.1:0 takes any free port)", a.Listen)
	}
	if err != nil {
		return fmt.Errorf("the address %s cannot be listened on; give --listen as host:port: %w", a.Listen, err)
	}
	a.listener = l
	a.URL = strings.TrimRight(a.Config.URL, "/")
	if a.URL == "" {
		a.URL = "http://" + reachable(l.Addr().(*net.TCPAddr))
	}
	return nil
}

// reachable is an address that a browser on this machine can open.
func reachable(addr *net.TCPAddr) string {
	if addr.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", addr.Port)
	}
	return addr.String()
}

func (a *App) openResources(ctx context.Context) error {
	o := store.Options{Postgres: a.Database}
	if a.Database == "" {
		o.Path = filepath.Join(a.Data, "slipway.db")
	}
	var err error
	if a.Store, err = store.Open(ctx, o); err != nil {
		return err
	}
	a.Engine = engine.New(engine.Config{
		Store: a.Store, Hub: a.Hub, Log: a.Log, Now: time.Now, OpenQueues: a.OpenQueues, Mail: a.SMTP != "", LossTerm: a.LossTerm,
		// Members alone make schedules, and members alone push to the repositories that they build.
		Policy: trust.Policy{Schedules: trust.SchedulesOrigin},
	})
	for _, open := range []func(context.Context) error{a.sealing, a.openArtifacts, a.checkStorage, a.openLogs} {
		if err := open(ctx); err != nil {
			return err
		}
	}
	return nil
}

// openArtifacts opens the storage of artifacts: a directory, or a bucket if one is named.
func (a *App) openArtifacts(ctx context.Context) error {
	key, err := a.Engine.AddressKey(ctx)
	if err != nil {
		return fmt.Errorf("the key that signs addresses of artifacts: %w", err)
	}
	c := artifact.Config{Engine: a.Engine, DB: a.Store, Log: a.Log, Now: time.Now, SigningKey: key}
	if a.S3.Bucket == "" {
		if a.files, err = blobfs.Open(filepath.Join(a.Data, "artifacts")); err != nil {
			return fmt.Errorf("opening artifacts: %w", err)
		}
		c.Blobs = a.files
	} else {
		if c.Direct, err = s3.Open(ctx, a.S3); err == nil {
			err = c.Direct.Check(ctx)
		}
		if err != nil {
			return fmt.Errorf("opening artifacts in S3 (see --s3-bucket, --s3-endpoint, --s3-region, and the AWS_* variables): %w", err)
		}
		c.Blobs = c.Direct
	}
	a.blobs, a.artifacts = c.Blobs, artifact.Open(c)
	return nil
}

// writeFile writes a file that only its owner may read, whole or not at all, also where the power
// fails.
func writeFile(path string, b []byte) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func (a *App) auth() *auth.Auth { return &auth.Auth{Store: a.Store, Now: time.Now} }

func (a *App) mirrors() *gitrepo.Mirrors {
	return gitrepo.New(filepath.Join(a.Data, "mirrors"), a.LocalRepositories)
}

// serve opens the doors and starts the passes.
func (a *App) serve() error {
	handler, err := a.handler()
	if err != nil {
		return err
	}
	a.server = &http.Server{
		Handler:           ours.handler(handler),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(a.Log.Handler(), slog.LevelDebug),
		Protocols:         protocols(),
	}
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	a.startLoops(ctx)
	a.loops.Go(func() {
		if err := a.server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
			a.Log.Error("serving", "err", err)
		}
	})
	return nil
}

// protocols are HTTP/1.1 and HTTP/2, both without TLS: streams come over either.
func protocols() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return &p
}

// closeTerm is how long requests under way may take to end.
const closeTerm = 5 * time.Second

// Close stops serving and closes everything. It returns when all that Start began has ended.
func (a *App) Close() error {
	a.draining.Store(true)
	<-time.After(a.Drain)
	close(a.stopping)
	a.agentAPI.EndStreams()
	ctx, cancel := context.WithTimeout(context.Background(), closeTerm)
	defer cancel()
	err := a.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = a.server.Close()
	}
	a.stop()
	a.loops.Wait()
	a.relay.Wait()
	if a.agentAPI != nil {
		err = errors.Join(err, a.agentAPI.FlushSeen(context.Background()))
	}
	return errors.Join(err, a.closeResources())
}

func (a *App) closeResources() error {
	var errs []error
	if a.server == nil && a.listener != nil {
		errs = append(errs, a.listener.Close())
	}
	if a.Logs != nil {
		errs = append(errs, a.Logs.Close())
	}
	if a.artifacts != nil {
		errs = append(errs, a.artifacts.Close())
	}
	if a.files != nil {
		errs = append(errs, a.files.Close())
	}
	if a.Store != nil {
		errs = append(errs, a.Store.Close())
	}
	return errors.Join(errs...)
}

// hosts are the hosts by which agents on this machine may address the server, beside that of its URL: the loopback names of its port.
func (a *App) hosts() []string {
	port := a.listener.Addr().(*net.TCPAddr).Port
	return []string{fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("localhost:%d", port)}
}
