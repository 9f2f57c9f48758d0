// Package condition is the boolean language of `if:`, of notification filters
// and of pipeline filters, and the pattern language of `branches:`.
//
// An expression goes through three stages. Parse reads text and reports
// syntax. Check holds the tree against a Scope, which says what variables the
// place offers, and reports unknown variables, wrong types and values that an
// enumeration does not have, in every arm, taken or not. Eval computes the
// answer from an Env.
//
// Invariants:
//   - Parse, Check and Eval are pure: the same input gives the same answer, and
//     an Expr may be used from any number of goroutines.
//   - Every refusal is an *Error with the place in the source where it arose.
//   - An expression that Check accepted fails in Eval only where its text asks
//     for it: `${NAME?message}`, or a substring offset that is no integer.
//   - No input makes the package panic or run for more than time linear in
//     the product of the lengths of the expression and of its values: regular
//     expressions run on RE2, nesting and length are bounded.
//
// The language is described at
// https://buildkite.com/docs/pipelines/configure/conditionals and in the
// evaluator github.com/buildkite/conditional, whose stated aim is parity with
// the service. Where the two are silent, this package chooses:
//   - null counts as false as an operand of `&&`, `||` and `?:`, so that
//     `build.pull_request.draft && …` works on a build without a pull request;
//   - look-ahead and back-references, which RE2 does not have, are refused by
//     name, like the constructs that the service refuses.
package condition
