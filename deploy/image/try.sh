#!/usr/bin/env bash
# Tries an unpacked image as a container would run it: read-only root file system, the image's user and variables, a
# folder for /cache. 'buildah run' would make the root writable and needs a runtime; this needs unshare and root alone.
#
#     try.sh TREE PICTURE
set -euo pipefail
tree=$1
picture=$(realpath "$2")
port=18473
cache=$(mktemp -d)
chown 65532:0 "$cache"
mkdir -p "$tree/dev" "$tree/proc" "$tree/tmp"
inside=(unshare --mount --pid --fork --kill-child --mount-proc bash -c '
        tree=$1 cache=$2 picture=$3; shift 3
        mount --bind "$tree" "$tree"
        mount --rbind /dev "$tree/dev"
        mount -t proc proc "$tree/proc"
        mount --bind "$cache" "$tree/cache"
        mount -t tmpfs tmpfs "$tree/tmp"
        cp "$picture" "$tree/tmp/picture.jpg"
        mount -o remount,bind,ro "$tree"
        exec chroot --userspec=65532:0 "$tree" env -i PATH=/usr/local/bin:/usr/bin:/bin PORT="$PORT" KILN_API_KEY="$KILN_API_KEY" \
            KILN_CACHE_DIR=/cache KILN_LOG_FORMAT=json "$@"
    ' bash "$tree" "$cache" "$picture")
export PORT=$port KILN_API_KEY=0123456789abcdef0123456789abcdef

"${inside[@]}" sh -c '! touch /usr/probe 2>/dev/null && touch /cache/probe' || { echo 'the root is writable, or the cache is not'; exit 1; }
"${inside[@]}" kiln devices
"${inside[@]}" kiln predict --device auto --top-k 1 /tmp/picture.jpg | tee "$cache/answer"
grep -q -i cat "$cache/answer"

"${inside[@]}" kiln serve >"$cache/log" 2>&1 &
server=$!
trap 'kill -KILL "$server" 2>/dev/null || true; rm -rf "$cache"' EXIT
for _ in $(seq 100); do
    status=$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/health/ready" || true)
    [ "$status" = 200 ] && break
    sleep 0.1
done
curl -sS --fail-with-body -H "X-API-Key: $KILN_API_KEY" --data-binary @"$picture" "http://127.0.0.1:$port/predict/raw?top_k=1"
echo
"${inside[@]}" kiln healthcheck
echo 'the health check says healthy'
# As a container's first process, to which signals without a handler do not come.
kill -TERM "$(pgrep -P "$server")"
timeout 10 tail --pid="$server" -f /dev/null && wait "$server" && echo 'SIGTERM ends it'
