package trust

// Source is how a build came to be, in the words of the public API's
// build.source, with cli for our own client.
type Source string

// The sources that have a rule. Any other is held.
const (
	SourceUI       Source = "ui"
	SourceAPI      Source = "api"
	SourceCLI      Source = "cli"
	SourceWebhook  Source = "webhook"
	SourceSchedule Source = "schedule"
	SourceTrigger  Source = "trigger_job"
	SourceAddress  Source = "pipeline_trigger" // a trigger address of the pipeline, with a branch and commit of its own
)

// Code says whose repository a commit was taken from. For a webhook it follows
// from the repository ids in it, never from the name of a branch. For any other
// build it follows from what forges told before of the commit or of the pull
// request that is named; what names neither is of the pipeline's own repository.
type Code uint8

// The zero Code is the absence of knowledge where some is needed.
const (
	CodeUnknown Code = iota
	CodeOrigin
	CodeFork
)

// AccountKind tells people from organizations.
type AccountKind uint8

// The zero AccountKind is the absence of knowledge.
const (
	AccountUnknown AccountKind = iota
	AccountUser
	AccountOrganization
)

// Membership is the answer to whether a user is in the trusted team.
type Membership uint8

// The zero Membership is the absence of an answer.
const (
	MembershipUnknown Membership = iota
	Member
	NotMember
)

// Account is a user or organization of a forge.
type Account struct {
	ID         string // the forge's immutable id; empty: not known
	Name       string // for reasons only
	Kind       AccountKind
	Membership Membership
	LookupFail string // why Membership is unknown
	// Association is what the forge says that the user is to the repository, in its own word; "" if it
	// says nothing. It is shown to whoever reviews, and trusts nobody.
	Association string
}

func (a Account) String() string {
	switch {
	case a.Name != "":
		return a.Name
	case a.ID != "":
		return "account " + a.ID
	default:
		return "an unknown account"
	}
}

// Review is what a person with the right to approve said about one commit.
type Review struct {
	Commit  string // full hash
	By      string // who; an unsigned review counts for nothing
	Refused bool
}

// Facts are what is known about a build, or about a job to be retried, when
// the question is asked.
type Facts struct {
	Source Source
	// Retry is set when one job of an existing build is to run again. The
	// source stays that of the build.
	Retry bool
	// Commit is what would run: a full hash, or for a person's build possibly
	// a name such as HEAD that is not resolved yet.
	Commit        string
	Code          Code
	Doubt         string  // why Code is CodeUnknown, as a part of a sentence; "" for no particular reason
	DefaultBranch bool    // of the pipeline, in the origin repository
	ForkOwner     Account // if Code is CodeFork
	Pusher        Account // the sender of the signed webhook
	// Root is the verdict of the build at the start of a chain of trigger
	// steps, nil if it is not known.
	Root *Verdict
	// Original is the verdict of the build that a person has rebuilt, nil if it is not a rebuild.
	Original *Verdict
	Review   *Review // the latest, nil if there is none
}

// Schedules says which scheduled builds need nobody's consent.
type Schedules uint8

// The zero Schedules makes every scheduled build wait: a rule for them must be
// stated.
const (
	SchedulesHeld Schedules = iota
	SchedulesDefaultBranch
	SchedulesOrigin // any branch of the origin repository
)

// Policy is the organization's part of a decision. The zero Policy trusts the
// members of the team alone.
type Policy struct {
	// TrustedUsers are ids of users trusted without being in the team.
	TrustedUsers []string
	// TrustedOrganizations are ids of organizations whose forks are trusted
	// with everybody who may push to them.
	TrustedOrganizations []string
	Schedules            Schedules
}
