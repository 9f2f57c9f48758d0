// Package e2e runs the real slipway binary by scripts that a person could type.
//
// Each script in scripts runs on SQLite and on PostgreSQL, with our agent or,
// when SLIPWAY_E2E_AGENT names its binary, with the official one. Each script in
// run is about `slipway run` and the messages of the command line.
//
// The scripts run again with every timer of the server at an hour, and with all
// wake-ups dropped; a script that is about time ends itself with [slow-timers]. [official] holds with the
// official agent.
//
// Beside testscript's own commands a script has these; builds and jobs are those
// of the last `build create` unless said otherwise.
//
//	server start [FLAG…]            a server on a free port and an empty database
//	server stop                     SIGTERM, and exit status 0
//	server kill9                    SIGKILL
//	server restart [FLAG…]          the same server again, at the same address
//	server age-keys DAYS            make the keys of identity tokens older, while the server is stopped
//	agent start NAME [FLAG…]        an agent of the server; --name among the flags: agents, none of which is waited for
//	agent wait NAME                 wait for its end by itself, with exit status 0
//	agent stop NAME                 SIGTERM, and wait for its end
//	agent kill9 NAME                SIGKILL to the agent, not to its jobs
//	git-repo DIR                    make DIR a repository with one commit on main
//	pipeline create NAME DIR [FILE] a pipeline of the repository DIR; FILE is its configuration
//	build create PIPELINE [FIELD=VALUE…]
//	wait-build STATE                until the build is in STATE; another end fails
//	wait-job KEY STATE              until the job of the step KEY is in STATE
//	job retry|unblock KEY [JSON]
//	log KEY                         the log of the job of the step KEY, to stdout
//	rest METHOD PATH [@FILE] [STATUS] [ASSERTION…]
//	wait-rest PATH ASSERTION…       until the assertions hold
//	identity-token FILE [ASSERTION…] verify the token in FILE by what its issuer publishes; its claims to stdout
//	push-event PIPELINE DIR SECRET ID  GitHub's signed event of a push of DIR's newest commit
//	pull-event PIPELINE DIR SECRET ID  of a pull request of a stranger's fork with it; sets COMMIT
//	exits STATUS COMMAND [ARG…]     run a program and check its exit status
//
// PATH is below the organization, below the build if it begins with "build", below the first
// cluster if it begins with "cluster/", or below the agent NAME if it begins with "agent/NAME".
// An assertion is a path into the answer with = and a value or ~ and a regular
// expression: state=passed, jobs.len=2, jobs[step_key=test].exit_status=0.
//
// TestNothingIsLostUnderKills is no script: it kills the server and agents at
// random while builds run.
//
// The programs wait-for FILE and hold FILE are on the PATH of scripts and jobs.
// The first waits until FILE exists, the second makes FILE and waits until it is
// gone; both end when the script's folder does.
package e2e
