// Package agent registers with a server, takes jobs from it and runs them.
//
// [Run] runs any number of independent workers in this process; each has a
// registration, a session and at most one job. The package keeps no state
// outside its values: it changes neither the process's environment nor its
// directory, handles no signals and never exits, so several agents and a server
// can share a process.
//
// # Stopping
//
// When Run's context ends, workers take no further job, tell the server so,
// finish the job they have, disconnect and return. Closing [Config.Kill] also
// ends the jobs: they are reported as stopped by the agent, after the usual
// grace. Run returns only when every goroutine and process it started has ended.
//
// # Failures
//
// A server that is away is asked again for as long as a job needs it; jobs keep
// running meanwhile and their output waits. A refusal (a 4xx that is not 429) of
// a ping or heartbeat ends the worker. A job is started only after the server
// acknowledged its start, and its end is reported after its whole log. If this
// process is killed its jobs die with it, and the server learns of it by the
// missing heartbeats.
//
// The protocol is that of buildkite-agent v3.138 (agent/, core/, api/).
package agent
