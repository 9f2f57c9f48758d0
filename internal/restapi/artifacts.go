package restapi

import (
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// artifactJSON is an artifact (https://buildkite.com/docs/apis/rest-api/artifacts).
type artifactJSON struct {
	ID           string  `json:"id"`
	JobID        string  `json:"job_id"`
	URL          string  `json:"url"`
	DownloadURL  string  `json:"download_url"`
	State        string  `json:"state"`
	Path         string  `json:"path"`
	Dirname      string  `json:"dirname"`
	Filename     string  `json:"filename"`
	MIMEType     string  `json:"mime_type"`
	FileSize     int64   `json:"file_size"`
	GlobPath     *string `json:"glob_path"`
	OriginalPath *string `json:"original_path"`
	SHA1         string  `json:"sha1sum"`
	SHA256       string  `json:"sha256sum"`
}

func (q *request) toArtifact(a store.Artifact, buildURL string) artifactJSON {
	slashed := strings.ReplaceAll(a.Path, `\`, "/") // Windows agents send either
	at := buildURL + "/jobs/" + a.JobID + "/artifacts/" + a.ID
	return artifactJSON{
		ID: a.ID, JobID: a.JobID, URL: at, DownloadURL: at + "/download", State: a.State, Path: a.Path,
		Dirname: path.Dir(slashed), Filename: path.Base(slashed), MIMEType: a.ContentType, FileSize: a.Size,
		SHA1: a.SHA1, SHA256: a.SHA256,
	}
}

// buildURL is where the API has a build.
func (q *request) buildURL(b store.Build) (string, error) {
	pl, err := q.Store.PipelineByID(q.ctx, b.PipelineID)
	return q.addresses().build(pl.Slug, b.Number), err
}

func listArtifacts(q *request) error {
	b, err := q.build()
	if err != nil {
		return err
	}
	all, err := q.Store.Artifacts(q.ctx, b.ID)
	if err != nil {
		return err
	}
	return q.replyArtifacts(b, all)
}

func listJobArtifacts(q *request) error {
	j, b, err := q.job()
	if err != nil {
		return err
	}
	all, err := q.Store.ArtifactsOfJob(q.ctx, j.ID)
	if err != nil {
		return err
	}
	return q.replyArtifacts(b, all)
}

var artifactStates = []string{"new", "error", "finished", "deleted", "expired"}

// replyArtifacts answers with a page of those that the query wants.
func (q *request) replyArtifacts(b store.Build, all []store.Artifact) error {
	states, glob := q.values("state"), q.r.URL.Query().Get("path")
	for _, s := range states {
		if !slices.Contains(artifactStates, s) {
			return invalid("state", "is not one of "+strings.Join(artifactStates, ", "))
		}
	}
	all = slices.DeleteFunc(all, func(a store.Artifact) bool { return !oneOf(a.State, states) || !pathMatches(glob, a.Path) })
	buildURL, err := q.buildURL(b)
	if err != nil {
		return err
	}
	p, out := q.page(), []artifactJSON{}
	for _, a := range slice(all, p) {
		out = append(out, q.toArtifact(a, buildURL))
	}
	q.link(p, len(all))
	return q.reply(http.StatusOK, out)
}

// pathMatches says whether a path is the one asked for; "*" stands for any characters, slashes too.
func pathMatches(glob, name string) bool {
	if glob == "" || glob == name {
		return true
	}
	return strings.Contains(glob, "*") && doublestar.MatchUnvalidated(escapedGlob.Replace(glob), strings.ReplaceAll(name, "/", "\x00"))
}

// escapedGlob leaves "*" as the only special character, and lets it match slashes, which are
// replaced in both texts.
var escapedGlob = strings.NewReplacer("/", "\x00", `\`, `\\`, "?", `\?`, "[", `\[`, "]", `\]`, "{", `\{`, "}", `\}`)

// artifact is the one that the path names, with the API's address of its build.
func (q *request) artifact() (store.Artifact, string, error) {
	j, b, err := q.job()
	if err != nil {
		return store.Artifact{}, "", err
	}
	a, err := q.Store.Artifact(q.ctx, q.r.PathValue("artifact"))
	if err == nil && a.JobID != j.ID {
		err = store.ErrNotFound
	}
	if err != nil {
		return a, "", found(err, "artifact")
	}
	at, err := q.buildURL(b)
	return a, at, err
}

func getArtifact(q *request) error {
	a, at, err := q.artifact()
	if err != nil {
		return err
	}
	return q.reply(http.StatusOK, q.toArtifact(a, at))
}

// downloadArtifact sends the caller to where the file is.
func downloadArtifact(q *request) error {
	a, _, err := q.artifact()
	if err != nil {
		return err
	}
	if a.State != "finished" {
		return httperr.New(http.StatusNotFound, "No artifact found: its state is %s", a.State)
	}
	location := a.URL
	if a.UploadDestination == "" {
		location = q.SignDownload(q.BaseURL, a)
	}
	if location == "" {
		return httperr.New(http.StatusNotFound, "No artifact found: it was uploaded to %s", a.UploadDestination)
	}
	q.w.Header().Set("Location", location)
	return q.reply(http.StatusFound, map[string]string{"url": location})
}

// deleteArtifact takes a file away. What is in storage of the user's own stays there.
func deleteArtifact(q *request) error {
	a, _, err := q.artifact()
	if err != nil {
		return err
	}
	if err := q.Engine.DeleteArtifact(q.ctx, a.ID); err != nil {
		return err
	}
	return q.done()
}
