package agentapi

import (
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
	glob, scope := strings.TrimPrefix(q.Get("query"), "./"), q.Get("scope")
	if costly(glob) {
		return nil, httperr.New(http.StatusUnprocessableEntity, "The glob is longer than %d bytes or has more than %d braces or %d commas.",
			maxPath, maxBraces, maxCommas)
	}
	query := store.ArtifactQuery{BuildID: buildID, State: q.Get("state"), Scope: scope, Retried: q.Get("include_retried_jobs") == "true"}
	if !strings.ContainsAny(glob, globbing) {
		query.Path = strings.ReplaceAll(glob, `\`, "/")
	}
	found, err := a.Store.FindArtifacts(r.Context(), query)
	if err != nil {
		return nil, err
	}
	found, exact := meant(glob, found)
	if q.Get("include_duplicates") != "true" {
		if scope == "" && exact && severalJobs(found) {
			return nil, httperr.New(http.StatusBadRequest, "Multiple artifacts were found for query: `%s`. Try scoping by the job ID or name.", glob)
		}
		found = latest(found, scope != "")
	}
	if len(found) > maxFound {
		return nil, httperr.New(http.StatusUnprocessableEntity, "%d artifacts match; the limit is %d. Name them more closely, or scope the search by a step or job.", len(found), maxFound)
	}
	ids := make([]string, len(found))
	for i, m := range found {
		ids[i] = m.ID
	}
	return a.Store.ArtifactsInOrder(r.Context(), ids)
}

const (
	// globbing are the characters that may make a query more than the name of a file.
	globbing = "*?[{"
	maxFound = 20_000 // artifacts in an answer
)

// severalJobs says whether artifacts are of more than one job, attempts of which count as one. A query that
// names a file is ambiguous then (https://buildkite.com/docs/pipelines/configure/artifacts, troubleshooting).
func severalJobs(found []store.ArtifactMatch) bool {
	return slices.ContainsFunc(found, func(m store.ArtifactMatch) bool { return m.StepID != found[0].StepID || m.Number != found[0].Number })
}

// latest keeps the newest of each path of artifacts sorted oldest first. In a search by step, each of its
// parallel jobs has its own.
func latest(found []store.ArtifactMatch, ofEachJob bool) []store.ArtifactMatch {
	of := func(m store.ArtifactMatch) store.ArtifactMatch {
		m.ID = ""
		if !ofEachJob {
			m.StepID, m.Number = "", 0
		}
		return m
	}
	newest := make(map[store.ArtifactMatch]string, len(found))
	for _, m := range found {
		newest[of(m)] = m.ID
	}
	return slices.DeleteFunc(found, func(m store.ArtifactMatch) bool { return newest[of(m)] != m.ID })
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

// meant are those artifacts that a query means, and whether it names one file. Only "*" stands for something in a query, for any
// text with slashes too (https://buildkite.com/docs/agent/cli/reference/artifact#downloading-artifacts-artifact-download-pattern-syntax).
// What means nothing so, or has folders of any depth, is read as a glob of uploads as well.
func meant(query string, found []store.ArtifactMatch) (matching []store.ArtifactMatch, named bool) {
	for _, m := range found {
		if starMatches(slashed(query), slashed(m.Path)) {
			matching = append(matching, m)
		}
	}
	if len(matching) > 0 && !strings.Contains(query, "**/") {
		return matching, !strings.Contains(query, "*")
	}
	return slices.DeleteFunc(found, func(m store.ArtifactMatch) bool {
		return !starMatches(slashed(query), slashed(m.Path)) && !globMatches(query, slashed(m.Path))
	}), false
}

// slashed is a path as it is compared: Windows separates folders otherwise, and some agents keep the folder in which they are.
func slashed(path string) string { return strings.TrimPrefix(strings.ReplaceAll(path, `\`, "/"), "./") }

// starMatches says whether a path is a pattern's texts in their order, with anything where it has stars.
func starMatches(pattern, path string) bool {
	texts := strings.Split(pattern, "*")
	first, last := texts[0], texts[len(texts)-1]
	if len(texts) == 1 {
		return pattern == path
	}
	if len(path) < len(first)+len(last) || !strings.HasPrefix(path, first) || !strings.HasSuffix(path, last) {
		return false
	}
	path = path[len(first) : len(path)-len(last)]
	for _, text := range texts[1 : len(texts)-1] {
		_, rest, ok := strings.Cut(path, text)
		if !ok {
			return false
		}
		path = rest
	}
	return true
}

// globMatches says whether a path is one that a glob means: "*" and "?" stand for slashes too, and "**/" for any
// number of folders. A glob that cannot be read means nothing.
func globMatches(glob, slashed string) bool {
	if !strings.ContainsAny(glob, globbing+`\`) {
		return false
	}
	if ok, err := doublestar.Match(glob, slashed); ok || err != nil {
		return ok
	}
	// Without slashes "*" has nothing to stop at.
	ok, err := doublestar.Match(strings.ReplaceAll(glob, "/", "\x00"), strings.ReplaceAll(slashed, "/", "\x00"))
	return ok && err == nil
}
