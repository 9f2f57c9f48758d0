// Package forge says what an event of a forge asks of a pipeline. Each forge's own package turns what
// arrives into an Event, facts in one vocabulary; Decide looks at those and at the pipeline's settings and
// answers with a build to make, builds to cancel, or the reason why nothing happens.
//
// Promises:
//
//   - Nothing here does I/O: what a decision depends on is handed in, and the same facts always decide the
//     same.
//   - A Decision always has a reason, a sentence for whoever asks why there is no build.
//   - Whose code an event is about follows from the ids of repositories and accounts that the forge wrote,
//     never from the names of branches or people. What the forge did not say is unknown, and trusted by
//     nobody.
//
// The rules are those of https://buildkite.com/docs/pipelines/source-control/github and of the settings in
// https://buildkite.com/docs/apis/rest-api/pipelines#provider-settings-properties.
package forge
