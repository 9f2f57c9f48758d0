package github

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/slipway-ci/slipway/internal/forge"
	"github.com/slipway-ci/slipway/internal/trust"
)

// payload is what of all events is looked at. Pointers are nil where an event has no such member.
type payload struct {
	Action string `json:"action"`
	Ref    string `json:"ref"`
	// RefType is of create and delete: branch or tag.
	RefType    string      `json:"ref_type"`
	After      string      `json:"after"`
	Deleted    bool        `json:"deleted"`
	Repository *repository `json:"repository"`
	Sender     *user       `json:"sender"`
	HeadCommit *commit     `json:"head_commit"`
	Pull       *pull       `json:"pull_request"`
	Label      *label      `json:"label"`
	Changes    struct {
		Base *json.RawMessage `json:"base"`
	} `json:"changes"`
	MergeGroup *struct {
		HeadSHA    string  `json:"head_sha"`
		HeadRef    string  `json:"head_ref"`
		BaseSHA    string  `json:"base_sha"`
		BaseRef    string  `json:"base_ref"`
		HeadCommit *commit `json:"head_commit"`
	} `json:"merge_group"`
	Issue *struct {
		Number int64            `json:"number"`
		State  string           `json:"state"`
		Pull   *json.RawMessage `json:"pull_request"`
	} `json:"issue"`
	Comment *struct {
		ID          int64  `json:"id"`
		Body        string `json:"body"`
		Association string `json:"author_association"`
	} `json:"comment"`
	Review *struct {
		ID    int64  `json:"id"`
		State string `json:"state"`
	} `json:"review"`
	Release *struct {
		TagName    string `json:"tag_name"`
		Name       string `json:"name"`
		Draft      bool   `json:"draft"`
		Prerelease bool   `json:"prerelease"`
	} `json:"release"`
	CheckRun *struct {
		Name       string `json:"name"`
		Conclusion string `json:"conclusion"`
		HeadSHA    string `json:"head_sha"`
		Suite      struct {
			HeadBranch string `json:"head_branch"`
		} `json:"check_suite"`
	} `json:"check_run"`
	Deployment *struct {
		ID          int64           `json:"id"`
		SHA         string          `json:"sha"`
		Ref         string          `json:"ref"`
		Task        string          `json:"task"`
		Environment string          `json:"environment"`
		Description string          `json:"description"`
		Payload     json.RawMessage `json:"payload"`
	} `json:"deployment"`
	DeploymentStatus *struct {
		State       string `json:"state"`
		Environment string `json:"environment"`
	} `json:"deployment_status"`
}

type repository struct {
	ID       int64  `json:"id"`
	CloneURL string `json:"clone_url"`
	SSHURL   string `json:"ssh_url"`
	GitURL   string `json:"git_url"`
	HTMLURL  string `json:"html_url"`
	Owner    *user  `json:"owner"`
}

func (r *repository) addresses() []string {
	var out []string
	for _, address := range []string{r.CloneURL, r.SSHURL, r.GitURL, r.HTMLURL} {
		if address != "" {
			out = append(out, address)
		}
	}
	return out
}

type user struct {
	ID    int64  `json:"id"`
	Login string `json:"login"`
	Type  string `json:"type"` // User, Organization, Bot, …
}

func (u *user) owner() forge.Owner {
	if u == nil || u.ID == 0 {
		return forge.Owner{}
	}
	return forge.Owner{ID: strconv.FormatInt(u.ID, 10), Name: u.Login, Person: u.Type == "User", Organization: u.Type == "Organization"}
}

func (u *user) account() trust.Account {
	o := u.owner()
	a := trust.Account{ID: o.ID, Name: o.Name}
	switch {
	case o.Person:
		a.Kind = trust.AccountUser
	case o.Organization:
		a.Kind = trust.AccountOrganization
	}
	return a
}

type commit struct {
	ID      string `json:"id"`
	Message string `json:"message"`
	Author  struct {
		Name  string `json:"name"`
		Email string `json:"email"`
	} `json:"author"`
}

func (c *commit) describe(ev *forge.Event) {
	if c != nil {
		ev.Message, ev.Author = c.Message, forge.Person{Name: c.Author.Name, Email: c.Author.Email}
	}
}

type label struct {
	Name string `json:"name"`
}

type pull struct {
	Number      int64     `json:"number"`
	State       string    `json:"state"`
	Title       string    `json:"title"`
	Draft       bool      `json:"draft"`
	UpdatedAt   time.Time `json:"updated_at"`
	Association string    `json:"author_association"`
	User        *user     `json:"user"`
	Labels      []label   `json:"labels"`
	Head        side      `json:"head"`
	Base        side      `json:"base"`
}

type side struct {
	Ref  string      `json:"ref"`
	SHA  string      `json:"sha"`
	Repo *repository `json:"repo"`
}

// facts are the pull request in the common words. Whether it comes from a fork follows from the ids of the
// two repositories.
func (p *pull) facts() *forge.Pull {
	out := &forge.Pull{
		Number: strconv.FormatInt(p.Number, 10), Title: p.Title, Branch: p.Head.Ref, Commit: p.Head.SHA, BaseBranch: p.Base.Ref,
		Draft: p.Draft, Closed: p.State == "closed", UpdatedAt: p.UpdatedAt, Author: p.User.owner(),
	}
	out.Author.Association = p.Association
	for _, l := range p.Labels {
		out.Labels = append(out.Labels, l.Name)
	}
	if p.Head.Repo == nil || p.Base.Repo == nil || p.Head.Repo.ID == 0 || p.Base.Repo.ID == 0 {
		return out
	}
	out.Repository, out.Owner = p.Head.Repo.CloneURL, p.Head.Repo.Owner.owner()
	out.Origin = forge.Fork
	if p.Head.Repo.ID == p.Base.Repo.ID {
		out.Origin = forge.Own
	}
	return out
}
