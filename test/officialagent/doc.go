// Package officialagent holds Slipway against the Buildkite agent, version
// 3.138.1: its binary, which runs the end-to-end scripts in place of ours, and
// its api package, whose every method is called against a real server. With
// -tags fleet the programs that look after fleets are run too, which must be on
// the PATH.
//
// It is a module of its own so that the agent's modules stay out of ours. One of
// them is served by the module proxy only under its older path, hence the
// replace directive. Building the agent takes some four minutes of processor
// time at first and seconds afterwards.
package officialagent
