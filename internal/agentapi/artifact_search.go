package agentapi

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// searchArtifacts lists a build's artifacts. Agents repeat a search that fails ten times over
// (internal/artifact/searcher.go of v3.138.1), so where there is nothing the answer is an empty list.
func (a *Server) searchArtifacts(w http.ResponseWriter, r *http.Request, c caller) error {
	buildID, err := a.readableBuild(r, c)
	if err != nil {
		if httperr.Of(err).Status == http.StatusNotFound {
			return httperr.JSON(w, http.StatusOK, []fileJSON{})
		}
		return err
	}
	found, err := a.search(r, buildID, r.URL.Query())
	if err != nil {
		return err
	}
	out := make([]fileJSON, 0, len(found))
	for _, f := range found {
		out = append(out, a.described(r, f))
	}
	return httperr.JSON(w, http.StatusOK, out)
}

func (a *Server) described(r *http.Request, f store.Artifact) fileJSON {
	out := fileJSON{
		ID: f.ID, JobID: f.JobID, Path: f.Path, AbsolutePath: f.AbsolutePath, GlobPath: f.GlobPath, FileSize: f.Size,
		SHA1: f.SHA1, SHA256: f.SHA256, CreatedAt: f.CreatedAt.UTC(), URL: f.URL,
		UploadDestination: f.UploadDestination, ContentType: f.ContentType,
	}
	if f.UploadDestination == "" {
		out.URL = a.Artifacts.DownloadURL(a.base(r), f)
	}
	return out
}

// search applies a search's parameters (api/artifacts.go of v3.138.1).
func (a *Server) search(r *http.Request, buildID string, q url.Values) ([]store.Artifact, error) {
	state, glob := q.Get("state"), strings.TrimPrefix(q.Get("query"), "./")
	if costly(glob) {
		return nil, httperr.New(http.StatusUnprocessableEntity, "The glob is longer than %d bytes or has more than %d braces or %d commas.",
			maxPath, maxBraces, maxCommas)
	}
	all, err := a.Store.Artifacts(r.Context(), buildID)
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(all, func(f store.Artifact) bool {
		return f.State != cmp.Or(state, f.State) || state == "" && f.State == "deleted" || !matches(glob, f.Path)
	})
	if found, err = a.ofWantedJobs(r, buildID, found, q); err != nil {
		return nil, err
	}
	if q.Get("include_duplicates") != "true" {
		found = latestOfEachPath(found)
	}
	return found, nil
}

// Matching takes as long as the alternatives of a glob's braces multiply to, 20 pairs of two 0.1 s a
// path. These limits keep the product below 1,000.
const (
	maxBraces = 4
	maxCommas = 16
)

func costly(glob string) bool {
	return len(glob) > maxPath || strings.Count(glob, "{") > maxBraces ||
		strings.Contains(glob, "{") && strings.Count(glob, ",") > maxCommas
}

// matches says whether a path is one that a glob means. A glob that cannot be read means the file of
// that very name.
func matches(glob, path string) bool {
	if glob == path || strings.ReplaceAll(path, `\`, "/") == glob {
		return true
	}
	ok, err := doublestar.Match(glob, strings.TrimPrefix(strings.ReplaceAll(path, `\`, "/"), "./"))
	return err == nil && ok
}

// latestOfEachPath keeps the newest of artifacts sorted oldest first.
func latestOfEachPath(found []store.Artifact) []store.Artifact {
	newest := make(map[string]string, len(found))
	for _, f := range found {
		newest[f.Path] = f.ID
	}
	return slices.DeleteFunc(found, func(f store.Artifact) bool { return newest[f.Path] != f.ID })
}

// ofWantedJobs drops the artifacts of jobs outside the search's scope and, unless it asks for them,
// of jobs that were retried.
func (a *Server) ofWantedJobs(r *http.Request, buildID string, found []store.Artifact, q url.Values) ([]store.Artifact, error) {
	scope, retried := q.Get("scope"), q.Get("include_retried_jobs") == "true"
	if len(found) == 0 || scope == "" && retried {
		return found, nil
	}
	jobs, err := a.jobsOf(r, buildID, found)
	if err != nil {
		return nil, err
	}
	steps, err := a.stepsInScope(r, buildID, scope, jobs)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(f store.Artifact) bool {
		j := jobs[f.JobID]
		inScope := scope == "" || j.ID == scope || steps[j.StepID]
		return !inScope || !retried && j.RetriedIn != ""
	}), nil
}

// fewJobs is up to how many jobs are read one by one rather than with all of their build.
const fewJobs = 5

func (a *Server) jobsOf(r *http.Request, buildID string, found []store.Artifact) (map[string]store.Job, error) {
	jobs := map[string]store.Job{}
	for _, f := range found {
		jobs[f.JobID] = store.Job{}
	}
	if len(jobs) > fewJobs {
		all, err := a.Store.Jobs(r.Context(), buildID)
		for _, j := range all {
			jobs[j.ID] = j
		}
		return jobs, err
	}
	for id := range jobs {
		j, err := a.Store.Job(r.Context(), id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		jobs[id] = j
	}
	return jobs, nil
}

// stepsInScope are the steps whose key or label is the scope. A job's id needs none.
func (a *Server) stepsInScope(r *http.Request, buildID, scope string, jobs map[string]store.Job) (map[string]bool, error) {
	if _, isJob := jobs[scope]; isJob || scope == "" {
		return nil, nil
	}
	steps, err := a.Store.Steps(r.Context(), buildID)
	if err != nil {
		return nil, err
	}
	in := map[string]bool{}
	for _, s := range steps {
		in[s.ID] = s.Key == scope || s.Label == scope || s.ID == scope
	}
	return in, nil
}
