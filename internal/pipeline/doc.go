// Package pipeline turns a pipeline document (YAML or JSON) into the plan of a build or an upload.
//
// A document takes one of two ways in. Parse reads what a person wrote: the text goes through
// github.com/buildkite/go-pipeline v0.18.1, the library that agents use, so that the server plans
// exactly what an agent would have uploaded, and through a second parser that keeps the line and
// column of every node, for messages. ParseJSON reads what an agent sent and changes nothing in it.
// Both end in the same Document, and Plan treats them alike: normal forms and raw forms (aliases,
// legacy plugin maps, nested bodies) give equal plans.
//
// Invariants:
//   - The package reads no clock, no randomness and does no I/O; equal inputs give equal plans.
//   - A plan is complete or absent: on any problem Plan returns no plan but an *Error that lists the
//     problems, in document order, the first hundred of them if there are more.
//   - Steps are in pipeline order, a group before its members, members together.
//   - Step.Definition is byte for byte what was received (uploads) or the library's normal form
//     (YAML). What an agent verifies signatures over is never rewritten.
//   - No input makes the package panic, and work is bounded by the limits: an expansion is counted
//     before it is made.
//
// The language is documented at https://buildkite.com/docs/pipelines/configure.
package pipeline
