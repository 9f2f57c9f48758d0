#!/bin/sh
# Runs a throwaway PostgreSQL server until standard input ends, then removes it.
#
# Standard output is one line: the server's URL, or "error: " and what to do.
# Waiting for the end of input ties the server to whoever holds the other end
# of the pipe: however that process dies, the server and its files go too.
set -eu

fail() {
	echo "error: $*"
	exit 1
}

# Debian keeps the server's programs off the PATH, in a directory per version.
for bin in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -Vr); do
	PATH=$PATH:$bin
done
command -v initdb >/dev/null && command -v postgres >/dev/null ||
	fail "PostgreSQL is not installed; run: apt-get install postgresql"

# Not under TMPDIR: a socket's path may have no more than 107 bytes.
dir=$(mktemp -d /tmp/slipway-postgres.XXXXXX)
chmod 755 "$dir"
server=
stop() {
	[ -z "$server" ] || { kill -QUIT "$server" && wait "$server"; } 2>/dev/null || :
	rm -rf "$dir"
}
trap stop EXIT
trap : INT TERM HUP

# PostgreSQL refuses to run as root.
as=
if [ "$(id -u)" = 0 ]; then
	user=nobody
	if id postgres >/dev/null 2>&1; then user=postgres; fi
	chown "$user" "$dir"
	as="setpriv --reuid=$user --regid=$(id -g "$user") --clear-groups"
fi

cd "$dir"
$as initdb --pgdata="$dir/data" --username=slipway --auth=trust --encoding=UTF8 --locale=C --no-sync >log 2>&1 ||
	fail "initdb: $(tail -n 5 log | tr '\n' ' ')"

# exec, so that $! is the server itself and gets the signal.
(exec $as postgres -D "$dir/data" -k "$dir" -c listen_addresses= \
	-c fsync=off -c full_page_writes=off -c synchronous_commit=off \
	-c max_connections=400 -c shared_buffers=64MB -c jit=off >>log 2>&1 </dev/null) &
server=$!

# The server writes "ready" into the last line of its pid file.
until grep -q '^ready' data/postmaster.pid 2>/dev/null; do
	kill -0 "$server" 2>/dev/null || fail "postgres: $(tail -n 5 log | tr '\n' ' ')"
	sleep 0.02
done
echo "postgres://slipway@/postgres?host=$dir&sslmode=disable"
cat >/dev/null || :
