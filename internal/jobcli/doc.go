// Package jobcli holds the commands that run inside a job: what a step, a hook
// or a plugin calls as "buildkite-agent". Sub-commands, flags, environment
// variables, outputs and exit statuses are those of buildkite-agent v3.138.1
// (folder clicommand of its source), because existing scripts depend on them.
//
// # Invariants
//
//   - [Main] has no state: everything it reads comes in through its arguments,
//     the working directory excepted, and it ends no process.
//   - Start-up does nothing but look up a command. Plugins call this dozens of
//     times in a job, so arguments are parsed with package flag, whose cost is
//     that of the flags of one command, and nothing is initialised at load.
//   - Standard output carries only the result of a command, so that scripts can
//     capture it. Everything else goes to standard error.
//   - Values taken from the environment that look like secrets (the patterns of
//     --redacted-vars) are not sent to the server: meta-data, annotations and
//     attributes are redacted, pipelines are warned about or refused.
//
// # Failures
//
// Each request is repeated as [wire.Call] says, with a warning per repetition.
// Exit status 1 means that the command did not do what it was asked; status 100
// of "meta-data exists" means that there is no such key. An upload that fails
// half-way leaves the artifacts that arrived, and reports the others as failed
// to the server. A download is moved into place only when complete and, where
// the server knows its checksum, verified.
//
// Uploads to and downloads from gs://, rt:// and Azure, stores of caches other than
// the server, and signing with keys of AWS and GCP are not implemented, and are
// refused rather than ignored.
package jobcli
