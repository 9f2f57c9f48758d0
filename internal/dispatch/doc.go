// Package dispatch pairs jobs that could run with agents that are free.
//
// Match takes a Snapshot and returns Assignments; it changes nothing and
// remembers nothing. Whether an assignment comes to be is the caller's
// business: two passes on stale snapshots may propose the same pair.
//
// Order. Queues do not touch each other: an agent serves one queue. In a queue,
// jobs of higher priority come first. Within a priority the pipeline that
// holds the fewest of the queue's agents is served first, counting what this
// pass gave it, so that a pipeline with thousands of jobs cannot starve one
// with three. Within a pipeline the order is the time a job was scheduled for,
// its step's position, its number within the step, its id. A job that no free
// agent matches holds up nothing behind it. (The public service orders by time
// across pipelines; a queue used by one pipeline behaves the same.)
//
// Choice of the agent. Not an agent to avoid, if there is any other; the
// highest agent priority, agents without one last; one
// that last ran the same pipeline, whose caches are warm; one that last ran the
// same repository; the one whose last job succeeded most recently; its id.
//
// Invariants, for any snapshot whose ids are unique:
//  1. No agent and no job is assigned twice.
//  2. An assigned agent is free, serves the job's queue and has all tags the
//     job asks for; the queue is not paused.
//  3. A job without a Clearance is never assigned.
//  4. No cleared job of an unpaused queue is left over while an agent that
//     matches it is left free.
//  5. Among jobs of one pipeline, queue and priority with the same rules, an
//     earlier one is never left over while a later one is assigned.
//  6. If a pipeline has a job left over, no other pipeline was given an agent
//     for a job of that queue, priority and rules beyond one more than what the
//     first holds in the queue.
//  7. Equal snapshots give equal assignments, whatever the order of their jobs
//     and agents.
//  8. A job is given an agent that it is to avoid only if no other agent that
//     matches was free at its turn, and the reason says so.
//
// Cost is O(j log j + a log a) for j jobs and a agents, plus one walk over the
// matching agents for every distinct set of rules.
package dispatch
