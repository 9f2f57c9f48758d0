package trust

import (
	"cmp"
	"fmt"
	"slices"
)

// Decide applies the rules of the package comment, the first that fits.
func Decide(f Facts, p Policy) Verdict {
	v := decide(f, p)
	v.Commit = f.Commit
	if v.Decision != Allow {
		v.Profile = ""
	}
	return v
}

func decide(f Facts, p Policy) Verdict {
	switch f.Source {
	case SourceUI, SourceAPI, SourceCLI:
		return reviewed(f, person(f, p))
	case SourceWebhook:
		return webhook(f, p)
	case SourceSchedule:
		return reviewed(f, schedule(f, p))
	case SourceTrigger:
		return reviewed(f, inherit(f, p))
	case SourceAddress:
		return reviewed(f, address(f))
	case "":
		return undecided(RuleNone, "it is not known how the build came to be")
	default:
		return undecided(RuleNone, "there is no rule for builds from %q", string(f.Source))
	}
}

// person trusts a member who starts a build with the code of the pipeline's own repository. Code that is
// known to come from elsewhere is judged as it would be without the member, who need not have read it.
func person(f Facts, p Policy) Verdict {
	o := f.Original
	switch {
	case o != nil && !o.Allows(f.Commit):
		return notRebuilt(*o)
	case o != nil && o.Profile != ProfileMember:
		v := allow(o.Rule, "The build that is rebuilt is allowed: %s", o.Reason)
		v.Profile = ProfileApproved
		return v
	case f.Code == CodeOrigin, f.Code == CodeUnknown && o != nil:
		return allow(RulePerson, "A member started it through the %s.", doorName(f.Source))
	}
	return byHand(f, p)
}

// notRebuilt never trusts a rebuild further than its original: a member who asks for the same commit
// again has not thereby become its author.
func notRebuilt(o Verdict) Verdict {
	if o.Decision == Hold || o.Decision == Deny {
		return Verdict{Decision: o.Decision, Rule: o.Rule, Retry: o.Retry, Reason: "The build that is rebuilt was not allowed: " + o.Reason}
	}
	return undecided(RuleNone, "the build that is rebuilt has no verdict about this commit")
}

// byHand decides about code that a member names and that is not known to be of the pipeline's own repository.
func byHand(f Facts, p Policy) Verdict {
	if f.Code != CodeFork {
		return undecided(RuleNone, "%s", cmp.Or(f.Doubt, "it is not known whether the commit comes from a fork"))
	}
	v := fork(f, p)
	if v.Decision == Hold {
		v.Reason += " Starting it by hand does not change that."
	}
	return v
}

func doorName(s Source) string {
	return map[Source]string{SourceUI: "web interface", SourceAPI: "API", SourceCLI: "command line"}[s]
}

func allow(rule Rule, reason string, args ...any) Verdict {
	return Verdict{Decision: Allow, Rule: rule, Reason: fmt.Sprintf(reason, args...), Profile: ProfileMember}
}

func hold(rule Rule, reason string, args ...any) Verdict {
	return Verdict{Decision: Hold, Rule: rule, Reason: fmt.Sprintf(reason, args...)}
}

func undecided(rule Rule, reason string, args ...any) Verdict {
	v := hold(rule, "Could not decide: "+reason+".", args...)
	v.Retry = true
	return v
}

func webhook(f Facts, p Policy) Verdict {
	switch f.Code {
	case CodeOrigin:
		return allow(RuleOriginBranch, "The commit is on a branch of the pipeline's own repository, where only members can push.")
	case CodeFork:
		return reviewed(f, fork(f, p))
	default:
		return undecided(RuleNone, "the webhook does not say whether the commit comes from a fork")
	}
}

// fork decides about a stranger's or a member's fork before any review.
func fork(f Facts, p Policy) Verdict {
	switch {
	case !fullHash(f.Commit):
		return undecided(RuleNone, "code of a fork is decided about by its full commit hash, and %.100q is none", f.Commit)
	case f.ForkOwner.ID == "" || f.ForkOwner.Kind == AccountUnknown:
		return undecided(RuleLookupFailed, "it is not known who owns the fork")
	case f.ForkOwner.Kind == AccountOrganization:
		return organizationFork(f, p)
	}
	switch standing(f.ForkOwner, p) {
	case Member:
		return pushed(f, p)
	case NotMember:
		return stranger(f, "The commit comes from a fork owned by %s, who is not trusted%s; a member must approve it.", f.ForkOwner, known(f.ForkOwner))
	default:
		return undecided(RuleLookupFailed, "whether %s, who owns the fork, is trusted is not known%s", f.ForkOwner, cause(f.ForkOwner))
	}
}

func organizationFork(f Facts, p Policy) Verdict {
	if listed(f.ForkOwner, p.TrustedOrganizations) {
		return allow(RuleOrganizationFork, "The commit comes from a fork owned by the organization %s, which is listed as trusted.", f.ForkOwner)
	}
	return hold(RuleOrganizationFork, "The commit comes from a fork owned by the organization %s, which is not listed as trusted; a member must approve it.", f.ForkOwner)
}

// pushed decides about a trusted owner's fork, to which others may push too.
func pushed(f Facts, p Policy) Verdict {
	if f.Pusher.ID == f.ForkOwner.ID {
		return allow(RuleTrustedFork, "The commit was pushed by %s, who is trusted, to a fork of their own.", f.ForkOwner)
	}
	switch {
	case f.Pusher.ID == "" || f.Pusher.Kind == AccountUnknown:
		return undecided(RuleLookupFailed, "it is not known who pushed to the fork of %s", f.ForkOwner)
	case f.Pusher.Kind == AccountOrganization:
		return stranger(f, "The commit was pushed to the fork of %s by the organization %s; a member must approve it.", f.ForkOwner, f.Pusher)
	}
	switch standing(f.Pusher, p) {
	case Member:
		return allow(RuleTrustedFork, "The commit was pushed by %s to the fork of %s; both are trusted.", f.Pusher, f.ForkOwner)
	case NotMember:
		return stranger(f, "The commit was pushed to the fork of %s by %s, who is not trusted; a member must approve it.", f.ForkOwner, f.Pusher)
	default:
		return undecided(RuleLookupFailed, "whether %s, who pushed to the fork of %s, is trusted is not known%s", f.Pusher, f.ForkOwner, cause(f.Pusher))
	}
}

// stranger is RuleUntrustedFork, or RuleRetry for a retry: running again changes nothing about
// where the code came from.
func stranger(f Facts, reason string, args ...any) Verdict {
	v := hold(RuleUntrustedFork, reason, args...)
	if f.Retry {
		v.Rule = RuleRetry
		v.Reason += " Retrying a job does not change that."
	}
	return v
}

// standing is what the list and the team say about a user.
func standing(a Account, p Policy) Membership {
	if listed(a, p.TrustedUsers) {
		return Member
	}
	return a.Membership
}

func listed(a Account, ids []string) bool {
	return a.ID != "" && slices.Contains(ids, a.ID)
}

// known is what the forge says of a stranger.
func known(a Account) string {
	word := map[string]string{
		"FIRST_TIMER": "has never contributed to anything", "FIRST_TIME_CONTRIBUTOR": "has not contributed to this repository before",
		"CONTRIBUTOR": "has contributed to this repository before",
	}[a.Association]
	if word == "" {
		return ""
	}
	return " and " + word
}

func ownedBy(a Account) string {
	if a.ID == "" && a.Name == "" {
		return ""
	}
	return " of " + a.String()
}

func cause(a Account) string {
	if a.LookupFail == "" {
		return ""
	}
	return ": " + a.LookupFail
}

// reviewed lets a person's word about this very commit stand above a hold, and above what was once denied.
func reviewed(f Facts, v Verdict) Verdict {
	r := f.Review
	if v.Decision == Allow || r == nil || r.By == "" || !fullHash(f.Commit) {
		return v
	}
	switch {
	case r.Commit != f.Commit:
		v.Reason += fmt.Sprintf(" The review by %s was of another commit, %.12s.", r.By, r.Commit)
		return v
	case r.Refused:
		return Verdict{Decision: Deny, Rule: v.Rule, Reason: fmt.Sprintf("%s refused commit %.12s.", r.By, r.Commit)}
	}
	approved := allow(v.Rule, "%s approved commit %.12s.", r.By, r.Commit)
	if v.Rule == RuleNone {
		approved.Rule = RuleReview
	}
	approved.Profile = ProfileApproved
	return approved
}

func schedule(f Facts, p Policy) Verdict {
	switch {
	case f.Code == CodeUnknown:
		return undecided(RuleSchedule, "it is not known which repository the scheduled build takes its commit from")
	case f.Code != CodeOrigin:
		return hold(RuleSchedule, "Scheduled builds may only run code of the pipeline's own repository; this commit comes from a fork%s.", ownedBy(f.ForkOwner))
	case p.Schedules == SchedulesOrigin:
		return allow(RuleSchedule, "The policy allows scheduled builds of the pipeline's own repository.")
	case p.Schedules == SchedulesDefaultBranch && f.DefaultBranch:
		return allow(RuleSchedule, "The policy allows scheduled builds of the default branch.")
	case p.Schedules == SchedulesDefaultBranch:
		return hold(RuleSchedule, "The policy allows scheduled builds of the default branch only.")
	default:
		return hold(RuleSchedule, "The policy does not say that scheduled builds may run.")
	}
}

// address decides about a build of the branch and commit that a member gave a trigger address.
func address(f Facts) Verdict {
	switch f.Code {
	case CodeUnknown:
		return undecided(RuleTriggerAddress, "it is not known which repository the trigger address takes its commit from")
	case CodeFork:
		return hold(RuleTriggerAddress, "A trigger address may only build code of the pipeline's own repository; this commit comes from a fork%s.", ownedBy(f.ForkOwner))
	}
	return allow(RuleTriggerAddress, "A member set what the pipeline's trigger address builds, from the pipeline's own repository.")
}

// inherit looks at the build that began the chain, not at the trigger step's own, whose source would be
// trigger_job whatever began it. A step that names other code than its build's stands on that code too.
func inherit(f Facts, p Policy) Verdict {
	if f.Root == nil {
		return undecided(RuleRootBuild, "the verdict of the build that began the chain of triggers is not known")
	}
	v := root(*f.Root)
	if v.Decision != Allow || f.Code == CodeOrigin || fullHash(f.Commit) && f.Commit == f.Root.Commit {
		return v
	}
	own := byHand(f, p)
	if own.Decision == Allow {
		own.Profile = v.Profile
	}
	return own
}

func root(r Verdict) Verdict {
	v := Verdict{Decision: r.Decision, Rule: RuleRootBuild, Retry: r.Retry}
	v.Profile = cmp.Or(r.Profile, ProfileApproved) // not known: the narrower
	switch {
	case v.Decision == Allow && r.Allows(r.Commit):
		v.Reason = "The build that began the chain of triggers is allowed: " + r.Reason
	case v.Decision == Deny:
		v.Reason = "The build that began the chain of triggers is denied: " + r.Reason
	case v.Decision == Hold:
		v.Reason = "The build that began the chain of triggers is held: " + r.Reason
	default:
		return undecided(RuleRootBuild, "the build that began the chain of triggers has no verdict")
	}
	return v
}
