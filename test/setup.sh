#!/bin/sh
# Installs what the tests need on Debian and Ubuntu, beyond Go, git and make.
# Nothing is done, within a few milliseconds, where all of it is there.
set -eu

postgres() { command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb; }

missing=
need() { # need PACKAGE COMMAND…: the package, unless the command succeeds
	package=$1
	shift
	"$@" >/dev/null 2>&1 || missing="$missing $package"
}
need postgresql postgres
need docker.io command -v dockerd
need chromium command -v chromium
need gcc command -v gcc # for the race detector
need libc6-dev test -e /usr/include/stdlib.h
need bash command -v bash
need git command -v git
need procps command -v ps
need util-linux command -v setpriv
need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null || {
	echo "The tests need:$missing. This script can install them only with apt-get." >&2
	exit 1
}
sudo=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || {
		echo "The tests need:$missing. Run this as root: apt-get install -y$missing" >&2
		exit 1
	}
	sudo=sudo
fi
echo "Installing$missing" >&2
# The lock may be held by another installation on the same machine.
apt="$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300"
$apt update >&2
# The packaged cluster is not wanted: each run of the tests makes its own.
$apt install -y --no-install-recommends $missing >&2
