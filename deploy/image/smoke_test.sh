#!/usr/bin/env bash
# Tests an unpacked image as a container runtime would run it: with a read-only root file system, the image's user and
# variables, and a directory for /cache. 'buildah run' makes the root file system writable and needs a runtime; this script
# needs only unshare and root.
#
#     smoke_test.sh TREE IMAGE
set -euo pipefail
tree=$1
image=$(realpath "$2")
port=18473
cache=$(mktemp -d)
chown 65532:0 "$cache"
mkdir -p "$tree/dev" "$tree/proc" "$tree/tmp"
inside=(unshare --mount --pid --fork --kill-child --mount-proc bash -c '
        tree=$1 cache=$2 image=$3; shift 3
        mount --bind "$tree" "$tree"
        mount --rbind /dev "$tree/dev"
        mount -t proc proc "$tree/proc"
        mount --bind "$cache" "$tree/cache"
        mount -t tmpfs tmpfs "$tree/tmp"
        cp "$image" "$tree/tmp/image.jpg"
        mount -o remount,bind,ro "$tree"
        exec chroot --userspec=65532:0 "$tree" env -i PATH=/usr/local/bin:/usr/bin:/bin PORT="$PORT" KILN_API_KEY="$KILN_API_KEY" \
            KILN_CACHE_DIR=/cache KILN_LOG_FORMAT=json "$@"
    ' bash "$tree" "$cache" "$image")
export PORT=$port KILN_API_KEY=0123456789abcdef0123456789abcdef

"${inside[@]}" sh -c '! touch /usr/probe 2>/dev/null && touch /cache/probe' || { echo 'the root file system is writable, or /cache is not'; exit 1; }
"${inside[@]}" kiln devices
"${inside[@]}" kiln predict --device auto --top-k 1 /tmp/image.jpg | tee "$cache/prediction"
grep -q -i cat "$cache/prediction"

"${inside[@]}" kiln serve >"$cache/log" 2>&1 &
server=$!
trap 'kill -KILL "$server" 2>/dev/null || true; rm -rf "$cache"' EXIT
for _ in $(seq 100); do
    status=$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/health/ready" || true)
    [ "$status" = 200 ] && break
    sleep 0.1
done
curl -sS --fail-with-body -H "X-API-Key: $KILN_API_KEY" --data-binary @"$image" "http://127.0.0.1:$port/predict/raw?top_k=1"
echo
"${inside[@]}" kiln healthcheck
echo 'the health check succeeded'
# Kiln is the first process of its PID namespace, which does not receive signals without a handler.
kill -TERM "$(pgrep -P "$server")"
timeout 10 tail --pid="$server" -f /dev/null && wait "$server" && echo 'the server ended after SIGTERM'
