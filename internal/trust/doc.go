// Package trust decides whether a build may run on anybody's machine.
//
// A build's pipeline, images, hooks and tests are all written by whoever wrote
// the commit. The question is therefore never what a build does but whether
// somebody who is trusted put its code forward. Decide answers it from Facts,
// which others have gathered, and from a Policy, by eleven rules:
//
//	rule               source        code            fork's owner   verdict
//	person             ui, api, cli  own             -              allow
//	origin-branch      webhook       origin branch   -              allow
//	trusted-fork       webhook       fork            trusted user   allow
//	untrusted-fork     webhook       fork            other user     hold
//	schedule           schedule      default branch  -              allow if the policy says so
//	root-build         trigger_job   -               -              the root build's verdict
//	retry              retry of one job of an untrusted fork's build: hold, as before
//	organization-fork  webhook       fork            organization   hold unless listed
//	lookup-failed      webhook       fork            not known      hold, to be asked again
//	trigger-address    pipeline_trigger  origin      -              allow
//	review             what none of the others is about: allow if a member approved the commit
//
// Who starts a build by hand need not have read what they name: a commit that is known to come from a fork,
// and a pull request that is known to be one's, are judged by untrusted-fork and its neighbours whoever starts
// them, and what names a pull request that nothing is known of is held. A trigger step's build is judged so
// too where it names another commit than its root's.
//
// Whoever has a pipeline's trigger address can start what a member set, and name no other commit.
//
// A rebuild is trusted no further than the build that it repeats.
//
// A person's approval of exactly this commit turns a hold into allow, with the
// narrower profile, and a person's refusal turns it into deny.
//
// Invariants:
//   - Only what is known to be good is allowed. A fact that is missing or
//     unknown gives a hold whose reason says "Could not decide". The zero Facts
//     are held under the zero Policy and under every other.
//   - Accounts are compared by the forge's immutable id, never by name: a name
//     can be given up and taken by somebody else.
//   - A fork's code is trusted only at a full commit hash, and for both the
//     fork's owner and who pushed to it: a member's fork may have collaborators.
//   - Decide is a pure function: it asks nobody and remembers nothing.
package trust
