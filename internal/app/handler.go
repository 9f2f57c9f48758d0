package app

import (
	"net/http"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/agentapi"
	"github.com/slipway-ci/slipway/internal/artifact"
	"github.com/slipway-ci/slipway/internal/hookapi"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/restapi"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/telemetry"
	"github.com/slipway-ci/slipway/internal/web"
)

// handler mounts the doors. They share no path.
func (a *App) handler() (http.Handler, error) {
	a.agentAPI = agentapi.New(agentapi.Deps{
		Engine: a.Engine, Store: a.Store, Auth: a.auth(), Hub: a.Hub, Logs: a.Logs, Artifacts: a.artifacts, Apps: a.apps, Log: a.Log,
		Now: time.Now, BaseURL: a.URL, Hosts: a.hosts(), Reread: a.Slow,
		AgentEndpoint: a.AgentEndpoint, RequestHeaders: a.AgentHeaders,
	})
	pages, err := web.New(web.Deps{
		Store: a.Store, Engine: a.Engine, Auth: a.auth(), Logs: a.Logs, Hub: a.Hub, Log: a.Log, Now: time.Now,
		Zone: time.Local, SendArtifact: a.sendArtifact, Secure: strings.HasPrefix(a.URL, "https:"),
		Version: a.Version, Stopping: a.stopping, BaseURL: a.URL,
	})
	if err != nil {
		return nil, err
	}
	rest := restapi.New(a.restDeps())
	mux := http.NewServeMux()
	mux.Handle("/v2", rest)
	mux.Handle("/v2/", rest)
	for _, path := range []string{"/agentedge.v1.AgentEdgeService/", "/artifacts/", "/caches/", "/.well-known/"} {
		mux.Handle(path, a.agentAPI)
	}
	mux.Handle("/deliver/", hookapi.New(hookapi.Deps{Engine: a.Engine, Store: a.Store, Log: a.Log}))
	mux.HandleFunc("GET /healthz", a.healthz)
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.Handle("GET /metrics", telemetry.Handler(a.Store, a.Log))
	mux.Handle("/", pages)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v3/") {
			// Past the mux, which redirects a path with a slash too many.
			a.agentAPI.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}), nil
}

func (a *App) restDeps() restapi.Deps {
	return restapi.Deps{
		Engine: a.Engine, Store: a.Store, Auth: a.auth(), Logs: a.Logs, Log: a.Log, Now: time.Now,
		BaseURL: a.URL, SignDownload: a.artifacts.DownloadURL, Version: a.Version,
	}
}

// sendArtifact gives a file to a page's reader. Images come from the server itself, for pages load nothing
// from elsewhere.
func (a *App) sendArtifact(w http.ResponseWriter, r *http.Request, f store.Artifact) error {
	if artifact.IsImage(f) {
		return a.artifacts.Stream(w, r, f)
	}
	return a.artifacts.Send(w, r, f)
}

// healthz says that the process is alive.
func (a *App) healthz(w http.ResponseWriter, _ *http.Request) {
	a.reply(w, http.StatusOK, "ok")
}

// readyz says whether requests should be sent here: the database answers, and the server is not about to stop.
func (a *App) readyz(w http.ResponseWriter, r *http.Request) {
	if a.draining.Load() {
		a.reply(w, http.StatusServiceUnavailable, "the server is stopping")
		return
	}
	if err := a.Store.Ping(r.Context()); err != nil {
		a.Log.ErrorContext(r.Context(), "database", "err", err)
		a.reply(w, http.StatusServiceUnavailable, "the database does not answer")
		return
	}
	a.reply(w, http.StatusOK, "ok")
}

func (a *App) reply(w http.ResponseWriter, status int, text string) {
	if err := httperr.JSON(w, status, map[string]string{"status": text}); err != nil {
		a.Log.Debug("answering", "err", err)
	}
}
