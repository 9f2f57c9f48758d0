# Runs an S3-compatible server until standard input ends.
# $1 binary, $2 address, $3 directory of its own, $4 access key, $5 secret key, $6 region
mkdir "$3/buckets" "$3/meta"
ROOT_ACCESS_KEY=$4 ROOT_SECRET_KEY=$5 "$1" --quiet --port "$2" --region "$6" posix --sidecar "$3/meta" "$3/buckets" </dev/null &
cat >/dev/null
kill $!
rm -rf "$3"
