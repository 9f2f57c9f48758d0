// Package wire is the client side of the agent protocol: one method of
// [Client] per endpoint, the JSON shapes of requests and responses, and the
// retry policy of each call.
//
// The shapes, paths, headers and retry policies are those of buildkite-agent
// v3.138.1 (folders api, core, agent, clicommand, internal/artifact of its
// source), so that any server which serves that agent serves this client, and
// the reverse.
//
// # Invariants
//
//   - A method makes exactly one HTTP request. Repeating it is the caller's
//     decision, taken with [Retry] and the [Call] that names its policy.
//   - A [Client] is a value that is never changed after it is made; the With
//     methods return changed copies. It may be used by many goroutines at once.
//   - The token travels only to the endpoint of the agent API. Uploads to and
//     downloads from artifact storage carry no Authorization header, because
//     their URLs authorise themselves and may belong to another party.
//   - Path segments taken from users (annotation contexts, step keys) are
//     percent-encoded including their dots, so that none can change the path.
//
// # Failures
//
// An answer that is not 2xx, and a 2xx answer whose body cannot be decoded, is
// an [*Error]. Everything else is a network failure, wrapped as net/http
// returns it. [Retryable] says which of them are worth repeating. Every request
// to the API ends within a minute; uploads and downloads last as long as their
// context.
package wire
