package trust

import "fmt"

// Decision is what happens to a build.
type Decision string

// A build under any other Decision, the empty one too, does not run.
const (
	Allow Decision = "allow"
	Hold  Decision = "hold" // until a person, or a better answer, lets it go
	Deny  Decision = "deny" // for good
)

// Rule names the row of the table in the package comment that decided.
type Rule string

// The rules, in the order of the table. RuleNone is for facts that lead to no
// row.
const (
	RulePerson           Rule = "person"
	RuleOriginBranch     Rule = "origin-branch"
	RuleTrustedFork      Rule = "trusted-fork"
	RuleUntrustedFork    Rule = "untrusted-fork"
	RuleSchedule         Rule = "schedule"
	RuleRootBuild        Rule = "root-build"
	RuleRetry            Rule = "retry"
	RuleOrganizationFork Rule = "organization-fork"
	RuleLookupFailed     Rule = "lookup-failed"
	RuleTriggerAddress   Rule = "trigger-address"
	RuleReview           Rule = "review" // a member approved what no other row is about
	RuleNone             Rule = "none"
)

// Profile is how far an allowed build may reach.
type Profile string

// A verdict that does not allow has no profile.
const (
	// ProfileMember is for code that somebody trusted put forward.
	ProfileMember Profile = "member"
	// ProfileApproved is for a stranger's code that somebody trusted has read:
	// it gets no secrets that can write and no caches that others read.
	ProfileApproved Profile = "approved"
)

// Verdict is the answer of Decide, kept with the build as it is.
type Verdict struct {
	Decision Decision
	Rule     Rule
	Reason   string // a sentence for people
	Retry    bool   // held for want of a fact: ask again by itself
	Commit   string // what the verdict is about
	Profile  Profile
}

// Allows reports whether a job that would run the commit may run. A verdict
// about another commit allows nothing.
func (v Verdict) Allows(commit string) bool {
	return v.Decision == Allow && v.Rule != "" && v.Rule != RuleNone && v.Commit == commit
}

// Resolved moves the verdict from a name, such as HEAD, to the commit that the
// name turned out to mean. A verdict about a full hash never moves.
func (v Verdict) Resolved(commit string) (Verdict, error) {
	if v.Commit == commit {
		return v, nil
	}
	if fullHash(v.Commit) || !fullHash(commit) {
		return Verdict{}, fmt.Errorf("the verdict about commit %q cannot move to %q", v.Commit, commit)
	}
	v.Commit = commit
	return v, nil
}

// fullHash reports whether s is a SHA-1 or SHA-256 object name.
func fullHash(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || '9' < c) && (c < 'a' || 'f' < c) {
			return false
		}
	}
	return true
}
