package trust

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const (
	sha1 = "1111111111111111111111111111111111111111"
	sha2 = "2222222222222222222222222222222222222222"
)

func user(id string, m Membership) Account {
	return Account{ID: id, Name: "@" + id, Kind: AccountUser, Membership: m}
}

// forkBuild is a webhook's build of a commit that the fork's owner pushed.
func forkBuild(owner Account) Facts {
	return Facts{Source: SourceWebhook, Code: CodeFork, Commit: sha1, ForkOwner: owner, Pusher: owner}
}

type row struct {
	name   string
	facts  Facts
	policy Policy
	want   Verdict // without the reason
	reason string  // a part of it
}

func allowed(r Rule) Verdict { return Verdict{Decision: Allow, Rule: r, Profile: ProfileMember} }
func held(r Rule) Verdict    { return Verdict{Decision: Hold, Rule: r} }
func unknown(r Rule) Verdict { return Verdict{Decision: Hold, Rule: r, Retry: true} }

func run(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			got := Decide(r.facts, r.policy)
			if !strings.Contains(got.Reason, r.reason) || !strings.HasSuffix(got.Reason, ".") {
				t.Errorf("reason %q, want a sentence with %q", got.Reason, r.reason)
			}
			got.Reason, r.want.Commit = "", r.facts.Commit
			if diff := cmp.Diff(r.want, got); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

// The nine rows, in their order.
func TestTable(t *testing.T) {
	t.Parallel()
	member, stranger := user("ann", Member), user("eve", NotMember)
	organization := Account{ID: "o1", Name: "acme", Kind: AccountOrganization, Membership: Member}
	lost := user("bob", MembershipUnknown)
	lost.LookupFail = "the forge did not answer in 5 s"
	root := Decide(forkBuild(stranger), Policy{})
	retry := forkBuild(stranger)
	retry.Retry = true
	schedules := Policy{Schedules: SchedulesDefaultBranch}

	run(t, []row{
		{"1 web interface", Facts{Source: SourceUI, Code: CodeOrigin, Commit: "HEAD"}, Policy{}, allowed(RulePerson), "web interface"},
		{"1 API", Facts{Source: SourceAPI, Code: CodeOrigin, Commit: sha1}, Policy{}, allowed(RulePerson), "API"},
		{"1 command line", Facts{Source: SourceCLI, Code: CodeOrigin}, Policy{}, allowed(RulePerson), "command line"},
		{"2", Facts{Source: SourceWebhook, Code: CodeOrigin, Commit: sha1}, Policy{}, allowed(RuleOriginBranch), "own repository"},
		{"3", forkBuild(member), Policy{}, allowed(RuleTrustedFork), "@ann"},
		{"4", forkBuild(stranger), Policy{}, held(RuleUntrustedFork), "@eve, who is not trusted"},
		{"5", Facts{Source: SourceSchedule, Code: CodeOrigin, DefaultBranch: true}, schedules, allowed(RuleSchedule), "default branch"},
		{"5 not stated", Facts{Source: SourceSchedule, Code: CodeOrigin, DefaultBranch: true}, Policy{}, held(RuleSchedule), "does not say"},
		{"6", Facts{Source: SourceTrigger, Code: CodeOrigin, Root: &root}, Policy{}, held(RuleRootBuild), "@eve"},
		{"7", retry, Policy{}, held(RuleRetry), "Retrying a job does not change that"},
		{"8", forkBuild(organization), Policy{}, held(RuleOrganizationFork), "acme, which is not listed"},
		{"8 listed", forkBuild(organization), Policy{TrustedOrganizations: []string{"o1"}}, allowed(RuleOrganizationFork), "acme"},
		{"9", forkBuild(lost), Policy{}, unknown(RuleLookupFailed), "did not answer in 5 s"},
	})
}

func TestBeyondTheTable(t *testing.T) {
	t.Parallel()
	member, stranger := user("ann", Member), user("eve", NotMember)
	with := func(f Facts, change func(*Facts)) Facts { change(&f); return f }
	allow, deny := Decide(forkBuild(member), Policy{}), Verdict{Decision: Deny, Rule: RuleUntrustedFork, Reason: "No."}
	lookup := Decide(forkBuild(user("bob", MembershipUnknown)), Policy{})
	schedule := Facts{Source: SourceSchedule, Code: CodeOrigin}

	run(t, []row{
		{"a stranger pushes to a member's fork", with(forkBuild(member), func(f *Facts) { f.Pusher = stranger }), Policy{}, held(RuleUntrustedFork), "by @eve"},
		{"a member pushes to a member's fork", with(forkBuild(member), func(f *Facts) { f.Pusher = user("bob", Member) }), Policy{}, allowed(RuleTrustedFork), "both are trusted"},
		{"nobody knows who pushed", with(forkBuild(member), func(f *Facts) { f.Pusher = Account{} }), Policy{}, unknown(RuleLookupFailed), "who pushed"},
		{"nobody knows what the pusher is", with(forkBuild(member), func(f *Facts) { f.Pusher = Account{ID: "bob", Membership: Member} }), Policy{}, unknown(RuleLookupFailed), "who pushed"},
		{"the pusher's look-up failed", with(forkBuild(member), func(f *Facts) { f.Pusher = user("bob", MembershipUnknown) }), Policy{}, unknown(RuleLookupFailed), "@bob"},
		{"a member pushes to a stranger's fork", with(forkBuild(stranger), func(f *Facts) { f.Pusher = member }), Policy{}, held(RuleUntrustedFork), "@eve"},
		{"a listed user outside the team", forkBuild(stranger), Policy{TrustedUsers: []string{"eve"}}, allowed(RuleTrustedFork), "@eve"},
		{"a listed name is not a listed id", forkBuild(stranger), Policy{TrustedUsers: []string{"@eve", ""}}, held(RuleUntrustedFork), ""},
		{"an organization in the list of users", forkBuild(Account{ID: "o1", Kind: AccountOrganization}), Policy{TrustedUsers: []string{"o1"}}, held(RuleOrganizationFork), "account o1"},
		{"the owner has no id", forkBuild(Account{Name: "@ann", Kind: AccountUser, Membership: Member}), Policy{TrustedUsers: []string{""}}, unknown(RuleLookupFailed), "owns the fork"},
		{"the owner has no kind", forkBuild(Account{ID: "ann", Membership: Member}), Policy{}, unknown(RuleLookupFailed), "owns the fork"},
		{"a fork's branch name", with(forkBuild(member), func(f *Facts) { f.Commit = "main" }), Policy{}, unknown(RuleNone), "full commit hash"},
		{"a fork's default branch", with(forkBuild(stranger), func(f *Facts) { f.DefaultBranch = true }), Policy{}, held(RuleUntrustedFork), ""},
		{"origin or fork unknown", Facts{Source: SourceWebhook, Commit: sha1}, Policy{}, unknown(RuleNone), "comes from a fork"},
		{"a source without a rule", Facts{Source: "post", Code: CodeOrigin}, Policy{}, unknown(RuleNone), "post"},
		{"a trigger address", Facts{Source: SourceAddress, Code: CodeOrigin, Commit: "HEAD"}, Policy{}, allowed(RuleTriggerAddress), "A member set"},
		{"a trigger address of who knows what", Facts{Source: SourceAddress, Commit: "HEAD"}, Policy{}, unknown(RuleTriggerAddress), "which repository"},
		{"a trigger address of a fork", Facts{Source: SourceAddress, Code: CodeFork, Commit: sha1, ForkOwner: member}, Policy{}, held(RuleTriggerAddress), "a fork of @ann"},
		{"a stranger's first change", forkBuild(Account{ID: "eve", Name: "@eve", Kind: AccountUser, Membership: NotMember, Association: "FIRST_TIME_CONTRIBUTOR"}), Policy{}, held(RuleUntrustedFork), "has not contributed to this repository before"},
		{"an association alone", forkBuild(Account{ID: "eve", Kind: AccountUser, Association: "OWNER"}), Policy{}, unknown(RuleLookupFailed), ""},
		{"no facts", Facts{}, Policy{}, unknown(RuleNone), "Could not decide"},
		{"schedule of another branch", schedule, Policy{Schedules: SchedulesDefaultBranch}, held(RuleSchedule), "default branch only"},
		{"schedule of another branch, allowed", schedule, Policy{Schedules: SchedulesOrigin}, allowed(RuleSchedule), "own repository"},
		{"schedule of a fork", Facts{Source: SourceSchedule, Code: CodeFork, DefaultBranch: true}, Policy{Schedules: SchedulesOrigin}, held(RuleSchedule), "own repository"},
		{"schedule of who knows what", Facts{Source: SourceSchedule, DefaultBranch: true}, Policy{Schedules: SchedulesOrigin}, unknown(RuleSchedule), ""},
		{"trigger below an allowed root", Facts{Source: SourceTrigger, Code: CodeOrigin, Root: &allow}, Policy{}, allowed(RuleRootBuild), "@ann"},
		{"trigger below a denied root", Facts{Source: SourceTrigger, Root: &deny}, Policy{}, Verdict{Decision: Deny, Rule: RuleRootBuild}, "denied: No."},
		{"trigger below an undecided root", Facts{Source: SourceTrigger, Root: &lookup}, Policy{}, unknown(RuleRootBuild), "held: Could not"},
		{"trigger without a root", Facts{Source: SourceTrigger, Code: CodeOrigin}, Policy{}, unknown(RuleRootBuild), "not known"},
		{"trigger below a root without a verdict", Facts{Source: SourceTrigger, Root: &Verdict{}}, Policy{}, unknown(RuleRootBuild), "no verdict"},
		{"trigger below a forged root", Facts{Source: SourceTrigger, Root: &Verdict{Decision: Allow}}, Policy{}, unknown(RuleRootBuild), "no verdict"},
	})
}

// What a member starts by hand is no more theirs than it was before.
func TestByHand(t *testing.T) {
	t.Parallel()
	member, stranger := user("ann", Member), user("eve", NotMember)
	hand := func(source Source, owner Account) Facts {
		f := forkBuild(owner)
		f.Source = source
		return f
	}
	with := func(f Facts, change func(*Facts)) Facts { change(&f); return f }
	named := func(f *Facts) { f.Commit = "refs/pull/7/head" }
	approvedBy := func(commit string, refused bool) func(*Facts) {
		return func(f *Facts) { f.Review = &Review{Commit: commit, By: "@ann", Refused: refused} }
	}
	approved := func(r Rule) Verdict { return Verdict{Decision: Allow, Rule: r, Profile: ProfileApproved} }
	doubt := Facts{Source: SourceAPI, Commit: sha1, Doubt: "nothing was heard of pull request 7"}
	trusted, read := Decide(forkBuild(member), Policy{}), Decide(with(forkBuild(stranger), approvedBy(sha1, false)), Policy{})
	below := func(root Verdict, f Facts) Facts { f.Source, f.Root = SourceTrigger, &root; return f }
	rebuilt := func(o Verdict, f Facts) Facts { f.Original = &o; return f }

	run(t, []row{
		{"a stranger's commit, web interface", hand(SourceUI, stranger), Policy{}, held(RuleUntrustedFork), "Starting it by hand does not change that"},
		{"a stranger's commit, API", hand(SourceAPI, stranger), Policy{}, held(RuleUntrustedFork), "@eve, who is not trusted"},
		{"a stranger's commit, command line", hand(SourceCLI, stranger), Policy{}, held(RuleUntrustedFork), ""},
		{"a member's fork", hand(SourceUI, member), Policy{}, allowed(RuleTrustedFork), "@ann"},
		{"a stranger pushed to it", with(hand(SourceUI, member), func(f *Facts) { f.Pusher = stranger }), Policy{}, held(RuleUntrustedFork), "by @eve"},
		{"a fork of who knows whom", hand(SourceUI, Account{}), Policy{}, unknown(RuleLookupFailed), "who owns the fork"},
		{"a pull request's ref", with(hand(SourceUI, stranger), named), Policy{}, unknown(RuleNone), `"refs/pull/7/head" is none`},
		{"a pull request that nothing is known of", doubt, Policy{}, unknown(RuleNone), "nothing was heard of pull request 7"},
		{"code of who knows where", Facts{Source: SourceUI, Commit: sha1}, Policy{}, unknown(RuleNone), "comes from a fork"},
		{"approved", with(hand(SourceUI, stranger), approvedBy(sha1, false)), Policy{}, approved(RuleUntrustedFork), "@ann approved"},
		{"refused", with(hand(SourceUI, stranger), approvedBy(sha1, true)), Policy{}, Verdict{Decision: Deny, Rule: RuleUntrustedFork}, "@ann refused"},
		{"another commit approved", with(hand(SourceUI, stranger), approvedBy(sha2, false)), Policy{}, held(RuleUntrustedFork), "of another commit"},
		{"a doubt approved", with(doubt, approvedBy(sha1, false)), Policy{}, approved(RuleReview), "@ann approved"},
		{"own code refused", with(Facts{Source: SourceUI, Code: CodeOrigin, Commit: sha1}, approvedBy(sha1, true)), Policy{}, allowed(RulePerson), ""},
		{"a schedule approved", with(hand(SourceSchedule, stranger), approvedBy(sha1, false)), Policy{}, approved(RuleSchedule), ""},
		{"an address approved", with(hand(SourceAddress, stranger), approvedBy(sha1, false)), Policy{}, approved(RuleTriggerAddress), ""},
		{"rebuild of what a member started and is a stranger's", rebuilt(Verdict{Decision: Allow, Rule: RulePerson, Commit: sha1, Profile: ProfileMember}, hand(SourceUI, stranger)), Policy{}, held(RuleUntrustedFork), ""},
		{"rebuild of a trusted fork's build", rebuilt(trusted, hand(SourceUI, member)), Policy{}, allowed(RuleTrustedFork), ""},
		{"rebuild of what was refused and is approved now", with(rebuilt(Verdict{Decision: Deny, Rule: RuleUntrustedFork, Commit: sha1}, hand(SourceUI, stranger)), approvedBy(sha1, false)), Policy{}, approved(RuleUntrustedFork), ""},
		{"trigger of the root's own commit", below(read, hand(SourceUI, stranger)), Policy{}, approved(RuleRootBuild), ""},
		{"trigger of a stranger's other commit", with(below(read, hand(SourceUI, stranger)), func(f *Facts) { f.Commit = sha2 }), Policy{}, held(RuleUntrustedFork), "@eve"},
		{"trigger of a stranger's commit by a member's build", below(Decide(Facts{Source: SourceUI, Code: CodeOrigin, Commit: "HEAD"}, Policy{}), hand(SourceUI, stranger)), Policy{}, held(RuleUntrustedFork), "@eve"},
		{"trigger of a member's fork by a stranger's build", with(below(read, hand(SourceUI, member)), func(f *Facts) { f.Commit = sha2 }), Policy{}, approved(RuleTrustedFork), ""},
		{"trigger of own code by a stranger's build", below(read, Facts{Code: CodeOrigin, Commit: "HEAD"}), Policy{}, approved(RuleRootBuild), ""},
	})
}

func TestReview(t *testing.T) {
	t.Parallel()
	reviewed := func(r Review) Facts {
		f := forkBuild(user("eve", NotMember))
		f.Review = &r
		return f
	}
	retry := reviewed(Review{Commit: sha1, By: "@ann"})
	retry.Retry = true
	named := reviewed(Review{Commit: "main", By: "@ann"})
	named.Commit = "main"
	approved := func(r Rule) Verdict { return Verdict{Decision: Allow, Rule: r, Profile: ProfileApproved} }

	first := Decide(reviewed(Review{Commit: sha1, By: "@ann"}), Policy{})
	unread, trusted := Decide(forkBuild(user("eve", NotMember)), Policy{}), Decide(forkBuild(user("ann", Member)), Policy{})
	rebuild := func(o Verdict, commit string) Facts {
		return Facts{Source: SourceUI, Code: CodeOrigin, Commit: commit, Original: &o}
	}

	run(t, []row{
		{"rebuild of an approved commit", rebuild(first, sha1), Policy{}, approved(RuleUntrustedFork), "@ann approved"},
		{"rebuild of a held build", rebuild(unread, sha1), Policy{}, held(RuleUntrustedFork), "not allowed"},
		{"rebuild of a member's build", rebuild(trusted, sha1), Policy{}, allowed(RulePerson), "A member started it"},
		{"rebuild of another commit", rebuild(first, sha2), Policy{}, unknown(RuleNone), "no verdict"},
		{"rebuild without a verdict", rebuild(Verdict{}, sha1), Policy{}, unknown(RuleNone), "no verdict"},
		{"approved", reviewed(Review{Commit: sha1, By: "@ann"}), Policy{}, approved(RuleUntrustedFork), "@ann approved commit 111111111111."},
		{"retry of the approved commit", retry, Policy{}, approved(RuleRetry), "@ann approved"},
		{"another commit approved", reviewed(Review{Commit: sha2, By: "@ann"}), Policy{}, held(RuleUntrustedFork), "of another commit, 222222222222."},
		{"refused", reviewed(Review{Commit: sha1, By: "@ann", Refused: true}), Policy{}, Verdict{Decision: Deny, Rule: RuleUntrustedFork}, "@ann refused"},
		{"another commit refused", reviewed(Review{Commit: sha2, By: "@ann", Refused: true}), Policy{}, held(RuleUntrustedFork), ""},
		{"approved by nobody", reviewed(Review{Commit: sha1}), Policy{}, held(RuleUntrustedFork), ""},
		{"a name approved", named, Policy{}, unknown(RuleNone), "full commit hash"},
	})
}

var anyAccount = rapid.Custom(func(t *rapid.T) Account {
	return Account{
		ID:         rapid.SampledFrom([]string{"", "ann", "eve", "o1"}).Draw(t, "id"),
		Kind:       AccountKind(rapid.IntRange(0, 2).Draw(t, "kind")),
		Membership: Membership(rapid.IntRange(0, 3).Draw(t, "membership")),
	}
})

var anyCommit = rapid.SampledFrom([]string{"", "HEAD", sha1, sha2})

func anyFacts(t *rapid.T) Facts {
	f := Facts{
		Source:        rapid.SampledFrom([]Source{"", SourceUI, SourceWebhook, SourceSchedule, SourceTrigger, SourceAddress, "other"}).Draw(t, "source"),
		Retry:         rapid.Bool().Draw(t, "retry"),
		Commit:        anyCommit.Draw(t, "commit"),
		Code:          Code(rapid.IntRange(0, 3).Draw(t, "code")),
		DefaultBranch: rapid.Bool().Draw(t, "default branch"),
		ForkOwner:     anyAccount.Draw(t, "owner"),
		Pusher:        anyAccount.Draw(t, "pusher"),
	}
	if rapid.Bool().Draw(t, "has root") {
		f.Root = &Verdict{
			Decision: rapid.SampledFrom([]Decision{"", Allow, Hold, Deny, "yes"}).Draw(t, "root"),
			Rule:     rapid.SampledFrom([]Rule{"", RulePerson, RuleNone}).Draw(t, "root rule"),
		}
	}
	if rapid.Bool().Draw(t, "has review") {
		f.Review = &Review{
			Commit:  anyCommit.Draw(t, "reviewed commit"),
			By:      rapid.SampledFrom([]string{"", "@ann"}).Draw(t, "reviewer"),
			Refused: rapid.Bool().Draw(t, "refused"),
		}
	}
	return f
}

func anyPolicy(t *rapid.T) Policy {
	ids := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"", "ann", "eve", "o1"}), rapid.ID)
	return Policy{ids.Draw(t, "users"), ids.Draw(t, "organizations"), Schedules(rapid.IntRange(0, 3).Draw(t, "schedules"))}
}

// trusted is the plain statement of who may have a fork built unseen.
func trusted(f Facts, p Policy) bool {
	in := func(ids []string, id string) bool {
		return id != "" && strings.Contains(" "+strings.Join(ids, " ")+" ", " "+id+" ")
	}
	person := func(a Account) bool {
		return a.Kind == AccountUser && a.ID != "" && (in(p.TrustedUsers, a.ID) || a.Membership == Member)
	}
	switch f.ForkOwner.Kind {
	case AccountOrganization:
		return in(p.TrustedOrganizations, f.ForkOwner.ID)
	case AccountUser:
		return person(f.ForkOwner) && (f.Pusher.ID == f.ForkOwner.ID || person(f.Pusher))
	}
	return false
}

// Whatever starts it: only a build that stands on another one's verdict about the same commit is that one's.
func TestNoUntrustedForkRunsUnapproved(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		f, p := anyFacts(rt), anyPolicy(rt)
		f.Code = CodeFork
		v := Decide(f, p)
		if r := f.Root; f.Source == SourceTrigger && r != nil && r.Allows(f.Commit) {
			return
		}
		approved := f.Review != nil && !f.Review.Refused && f.Review.By != "" && f.Review.Commit == f.Commit && fullHash(f.Commit)
		if v.Decision == Allow && !trusted(f, p) && !approved {
			rt.Fatalf("allowed: %+v under %+v: %+v", f, p, v)
		}
		if v.Decision == Allow && !fullHash(f.Commit) {
			rt.Fatalf("allowed a fork's code under the name %q", f.Commit)
		}
	})
}

func TestVerdictsAreComplete(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		f, p := anyFacts(rt), anyPolicy(rt)
		v := Decide(f, p)
		undecided := strings.Contains(v.Reason, "Could not decide")
		switch {
		case v.Decision != Allow && v.Decision != Hold && v.Decision != Deny:
			rt.Fatalf("decision %q", v.Decision)
		case v.Rule == "" || v.Reason == "" || v.Commit != f.Commit:
			rt.Fatalf("incomplete: %+v", v)
		case undecided && (v.Decision != Hold || !v.Retry):
			rt.Fatalf("undecided but %+v", v)
		case v.Decision != Hold && v.Retry, v.Decision != Allow && v.Profile != "":
			rt.Fatalf("contradictory: %+v", v)
		case v.Decision == Allow && v.Rule == RuleNone:
			rt.Fatalf("allowed by no rule: %+v", v)
		}
	})
}

// A verdict is about one commit. One about a name may be moved to the commit
// that the name means, once.
func TestVerdictIsBoundToItsCommit(t *testing.T) {
	t.Parallel()
	v := Decide(Facts{Source: SourceUI, Code: CodeOrigin, Commit: "HEAD"}, Policy{})
	if !v.Allows("HEAD") || v.Allows(sha1) {
		t.Error("a verdict about HEAD allows HEAD alone")
	}
	v, err := v.Resolved(sha1)
	if err != nil || !v.Allows(sha1) || v.Allows("HEAD") {
		t.Errorf("resolved to %+v, %v", v, err)
	}
	if _, err := v.Resolved(sha2); err == nil {
		t.Error("a verdict about a commit moved to another")
	}
	if _, err := v.Resolved("main"); err == nil {
		t.Error("a verdict about a commit moved to a name")
	}
	if (Verdict{}).Allows("") || (Verdict{Decision: Allow}).Allows("") || (Verdict{Decision: Hold, Rule: RulePerson}).Allows("") {
		t.Error("a verdict that is empty, has no rule or holds allows something")
	}
}
