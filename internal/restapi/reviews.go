package restapi

import (
	"net/http"
	"strings"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// verdictJSON is whether the build may run, and why: with what was known of its commit's origin and what a
// member said of the commit. A field of ours.
type verdictJSON struct {
	Decision string      `json:"decision"`
	Rule     string      `json:"rule"`
	Reason   string      `json:"reason"`
	Commit   string      `json:"commit"`
	Profile  maybe       `json:"profile"` // member or approved; nil unless it is allowed
	Origin   *originJSON `json:"origin"`
	Review   *reviewJSON `json:"review"`
}

type originJSON struct {
	Code        string `json:"code"`
	Known       string `json:"known"`
	PullRequest string `json:"pull_request"`
	Repository  string `json:"repository"`
	Owner       string `json:"owner"`
	Branch      string `json:"branch"`
}

type reviewJSON struct {
	Commit     string `json:"commit"`
	Approved   bool   `json:"approved"`
	By         string `json:"by"`
	Note       string `json:"note"`
	ReviewedAt stamp  `json:"reviewed_at"`
}

func toVerdict(b store.Build) verdictJSON {
	v := verdictJSON{
		Decision: b.Verdict.Decision, Rule: b.Verdict.Rule, Reason: b.Verdict.Reason, Commit: b.Verdict.Commit,
		Profile: maybe(b.Verdict.Profile),
	}
	if o := b.Detail.Origin; o != nil {
		v.Origin = &originJSON{o.Code, o.Known, o.PullRequest, o.Repository, o.Owner.Name, o.Branch}
	}
	if r := b.Detail.Review; r != nil {
		v.Review = &reviewJSON{r.Commit, !r.Refused, r.By.Name, r.Note, stamp(r.At)}
	}
	return v
}

func approveBuild(q *request) error { return q.review(false) }

func rejectBuild(q *request) error { return q.review(true) }

// review takes a member's word about the commit that they name, so that nobody approves what arrived while
// they read.
func (q *request) review(refused bool) error {
	b, err := q.build()
	if err != nil {
		return err
	}
	var body struct {
		Commit string `json:"commit"`
		Note   string `json:"note"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	if strings.TrimSpace(body.Commit) == "" {
		return &httperr.Error{Status: http.StatusUnprocessableEntity, Message: "Validation Failed", Fields: map[string]string{
			"commit": "can't be blank: name the full hash of the commit that was reviewed",
		}}
	}
	b, err = q.Engine.ReviewBuild(q.ctx, engine.ReviewBuild{
		BuildID: b.ID, Commit: strings.TrimSpace(body.Commit), Refused: refused, By: q.by(), Note: body.Note,
	})
	if err != nil {
		return err
	}
	return q.replyBuild(http.StatusOK, b, whole)
}
