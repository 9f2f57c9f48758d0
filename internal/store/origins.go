package store

import (
	"context"
	"time"
)

// Origin is what the server knew of where a build's commit comes from when its verdict was made.
type Origin struct {
	Code        string        `json:"code"`                   // own, fork, unknown
	Known       string        `json:"known"`                  // how: a sentence for people
	PullRequest string        `json:"pull_request,omitempty"` // that it belongs to
	Repository  string        `json:"repository,omitempty"`   // that it comes from
	Owner       OriginAccount `json:"owner,omitzero"`         // of the fork
	Pusher      OriginAccount `json:"pusher,omitzero"`
	Doubt       string        `json:"doubt,omitempty"`        // why code is unknown
	Branch      string        `json:"branch,omitempty"`       // of the own repository that has the commit, found by looking
	Looked      bool          `json:"looked,omitempty"`       // the repository was asked for such a branch
	Tries       int           `json:"tries,omitempty"`        // to ask it that failed
	LookFail    string        `json:"look_fail,omitempty"`    // why the last one did
	Changes     *Changes      `json:"changes,omitempty"`      // what the commit changes; nil: it was not found out
	ChangesFail string        `json:"changes_fail,omitempty"` // why not
}

// Whose code a commit is.
const (
	OriginOwn     = "own"
	OriginFork    = "fork"
	OriginUnknown = "unknown"
)

// OriginAccount is an account of a forge as package trust sees it.
type OriginAccount struct {
	ID          string `json:"id,omitempty"`
	Name        string `json:"name,omitempty"`
	Kind        uint8  `json:"kind,omitempty"`
	Membership  uint8  `json:"membership,omitempty"`
	LookupFail  string `json:"lookup_fail,omitempty"`
	Association string `json:"association,omitempty"`
}

// PullCommit is a commit that a pull request had.
type PullCommit struct {
	OrganizationID string
	Repository     string // host and path
	Number         string
	Commit         string // full hash
	PipelineID     string // whose webhook told of it
	Own            bool   // from a branch of the repository itself
	Facts          PullCommitFacts
	HeardAt        time.Time
}

// PullCommitFacts are where a pull request's commit came from.
type PullCommitFacts struct {
	Place      string        `json:"place"` // of the repository that it was to be merged into, with its port
	Repository string        `json:"repository,omitempty"`
	Owner      OriginAccount `json:"owner,omitzero"`
	Pusher     OriginAccount `json:"pusher,omitzero"` // zero: the event did not say
}

// Review is what a member said of a commit.
type Review struct {
	ID         string    `json:"id"`
	PipelineID string    `json:"pipeline_id"`
	BuildID    string    `json:"build_id"`
	Commit     string    `json:"commit"` // full hash
	Refused    bool      `json:"refused,omitempty"`
	By         Person    `json:"by"`
	Note       string    `json:"note,omitempty"`
	At         time.Time `json:"at"`
}

const (
	pullCommitColumns = `organization_id, repository, number, commit_sha, pipeline_id, own, facts, heard_at`
	sqlPutPullCommit  = `INSERT INTO pull_commits (` + pullCommitColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (organization_id, repository, number, commit_sha, pipeline_id) DO UPDATE SET own = excluded.own, facts = excluded.facts,
		heard_at = excluded.heard_at`
	sqlAddPullCommit = `INSERT INTO pull_commits (` + pullCommitColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (organization_id, repository, number, commit_sha, pipeline_id) DO NOTHING`
	sqlPullCommits = `SELECT ` + pullCommitColumns + ` FROM pull_commits WHERE organization_id = $1 AND repository = $2
		AND commit_sha >= $3 AND commit_sha < $4 ORDER BY CASE WHEN pipeline_id = $5 THEN 0 ELSE 1 END, heard_at DESC, number LIMIT $6`
	sqlCommitsOfPull = `SELECT ` + pullCommitColumns + ` FROM pull_commits WHERE organization_id = $1 AND repository = $2
		AND number = $3 ORDER BY CASE WHEN pipeline_id = $4 THEN 0 ELSE 1 END, heard_at DESC, commit_sha LIMIT $5`

	reviewColumns   = `id, pipeline_id, build_id, commit_sha, refused, user_id, user_name, note, created_at`
	sqlInsertReview = `INSERT INTO reviews (` + reviewColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
	sqlReview       = `SELECT ` + reviewColumns + ` FROM reviews WHERE pipeline_id = $1 AND commit_sha = $2
		ORDER BY created_at DESC, id DESC LIMIT 1`

	sqlAskingBuilds = `SELECT ` + buildColumns + ` FROM builds WHERE ask_at > 0 AND ask_at <= $1 AND state = 'creating'
		ORDER BY ask_at LIMIT $2`
	sqlPushedBuild = `SELECT number FROM builds WHERE pipeline_id = $1 AND commit_sha = $2 AND source = 'webhook'
		AND verdict = 'allow' AND verdict_rule = 'origin-branch' ORDER BY number DESC LIMIT 1`
)

func scanPullCommit(s scanner) (c PullCommit, err error) {
	return c, s.Scan(&c.OrganizationID, &c.Repository, &c.Number, &c.Commit, &c.PipelineID, &c.Own, document{&c.Facts}, instant{&c.HeardAt})
}

func scanReview(s scanner) (v Review, err error) {
	return v, s.Scan(&v.ID, &v.PipelineID, &v.BuildID, &v.Commit, &v.Refused, &v.By.ID, &v.By.Name, &v.Note, instant{&v.At})
}

// PutPullCommit keeps a commit of a pull request. What is told without who pushed it does not take the
// place of what was told with that.
func (tx *Tx) PutPullCommit(ctx context.Context, c PullCommit) error {
	statement := sqlPutPullCommit
	if c.Facts.Pusher == (OriginAccount{}) {
		statement = sqlAddPullCommit
	}
	_, err := count(ctx, tx.q, statement, c.OrganizationID, c.Repository, c.Number, c.Commit, c.PipelineID, c.Own, text(c.Facts), micros(c.HeardAt))
	return err
}

// PullCommits returns up to limit commits of pull requests whose hash begins as given, in lower case: those that a pipeline's own webhook
// told of first, and of these the latest heard of.
func (r Reader) PullCommits(ctx context.Context, pl Pipeline, repository, hash string, limit int) ([]PullCommit, error) {
	return list(ctx, r.q, scanPullCommit, sqlPullCommits, pl.OrganizationID, repository, hash, hash+"g", pl.ID, limit) // g follows the digits
}

// CommitsOfPull returns up to limit commits of a pull request, in the order of PullCommits.
func (r Reader) CommitsOfPull(ctx context.Context, pl Pipeline, repository, number string, limit int) ([]PullCommit, error) {
	return list(ctx, r.q, scanPullCommit, sqlCommitsOfPull, pl.OrganizationID, repository, number, pl.ID, limit)
}

// InsertReview adds what a member said of a commit.
func (tx *Tx) InsertReview(ctx context.Context, v Review) error {
	return exec(ctx, tx.q, sqlInsertReview, v.ID, v.PipelineID, v.BuildID, v.Commit, v.Refused, v.By.ID, v.By.Name, v.Note, micros(v.At))
}

// Review returns the latest word about a commit in a pipeline.
func (r Reader) Review(ctx context.Context, pipelineID, commit string) (Review, error) {
	return one(ctx, r.q, scanReview, sqlReview, pipelineID, commit)
}

// AskingBuilds returns up to limit held builds whose repository is to be asked by a time, longest due first.
func (r Reader) AskingBuilds(ctx context.Context, now time.Time, limit int) ([]Build, error) {
	return list(ctx, r.q, scanBuild, sqlAskingBuilds, micros(now), limit)
}

// PushedBuild returns the number of the newest build that a push of a commit to the pipeline's own
// repository made.
func (r Reader) PushedBuild(ctx context.Context, pipelineID, commit string) (int64, error) {
	return one(ctx, r.q, scanInt, sqlPushedBuild, pipelineID, commit)
}
