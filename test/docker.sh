#!/bin/sh
# Runs a Docker engine until standard input ends. Standard output is one line:
# the value for DOCKER_HOST, or "error: " and what to do.
#
# An engine that answers already is named and left alone. Otherwise one is
# started on a socket and a directory of its own, which go when it stops.
set -eu

fail() {
	echo "error: $*"
	exit 1
}
answers() { DOCKER_HOST=$1 timeout 10 docker version >/dev/null 2>&1; }

running=${DOCKER_HOST:-unix:///var/run/docker.sock}
if answers "$running"; then
	echo "$running"
	cat >/dev/null
	exit 0
fi

command -v dockerd >/dev/null || fail "no Docker engine answers at $running, and none is installed; run: apt-get install docker.io"
sudo=
[ "$(id -u)" = 0 ] || sudo="sudo -n"
$sudo true 2>/dev/null || fail "no Docker engine answers at $running; start one, or run the tests as root"

dir=$(mktemp -d /tmp/slipway-docker.XXXXXX)
host=unix://$dir/docker.sock
engine=
stop() {
	if [ -n "$engine" ]; then
		$sudo kill "$(cat "$dir/pid" 2>/dev/null || echo "$engine")" 2>/dev/null || :
		wait "$engine" 2>/dev/null || :
	fi
	# The engine keeps its default network namespace mounted.
	$sudo umount "$dir/exec/netns/default" 2>/dev/null || :
	$sudo rm -rf "$dir"
}
trap stop EXIT
trap : INT TERM HUP

# start ARGS…: true once the engine answers, false if it ends.
start() {
	$sudo dockerd -H "$host" -G "$(id -gn)" --data-root "$dir/data" --exec-root "$dir/exec" -p "$dir/pid" "$@" >"$dir/log" 2>&1 </dev/null &
	engine=$!
	until answers "$host"; do
		kill -0 "$engine" 2>/dev/null || return 1
		sleep 0.1
	done
}
# Inside a container there may be no overlay file system and no right to change
# the packet filter; containers then run without a network of their own.
start || start --storage-driver=vfs || start --storage-driver=vfs --iptables=false --bridge=none ||
	fail "dockerd does not start: $(tail -n 3 "$dir/log" | tr '\n' ' ')"
echo "$host"
cat >/dev/null || :
