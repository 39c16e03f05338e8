#!/usr/bin/env bash
# Builds the image of Dockerfile.gpu without a container registry, and tests it. debootstrap creates the base from Debian
# packages, and buildah creates the image. Requires Debian or Ubuntu, root, and a Debian mirror (DEBIAN_MIRROR, or
# debootstrap's default).
#
#     deploy/image/build-offline.sh --binary target/dist/kiln     # with an existing binary: minutes
#     deploy/image/build-offline.sh                               # compiles in the container: needs crates.io, and half an hour or more
#
# The test classifies an image with a read-only root file system, starts the server, and runs the health check. Afterwards the
# script prints the sizes. The image stays in buildah's store as localhost/kiln; --output FILE also writes it for 'docker
# load' or 'podman load'.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
suite=bookworm
work=${KILN_IMAGE_WORK:-/var/tmp/kiln-image}
binary=
output=
while [ $# -gt 0 ]; do
    case $1 in
        --binary) binary=$(realpath "$2"); shift 2 ;;
        --output) output=$2; shift 2 ;;
        *) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
done
log() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

packages=(buildah debootstrap ca-certificates)
if ! dpkg -s "${packages[@]}" >/dev/null 2>&1; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
mkdir -p "$work"
# These options also work inside a container: they need no overlay file system, no namespaces and no cgroups.
export BUILDAH_ISOLATION=chroot
buildah() { command buildah --storage-driver vfs --root "$work/store" --runroot "$work/run" "$@"; }
# Builds an image similar to debian:bookworm-slim, without manuals and package lists.
base() { # name, extra packages
    if buildah inspect --type image "localhost/$1" >/dev/null 2>&1; then
        return
    fi
    log "base: $1"
    rm -rf "$work/$1"
    debootstrap --variant=minbase ${2:+"--include=$2"} "$suite" "$work/$1" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$work/$1.log"
    (cd "$work/$1" && rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/* usr/share/{doc,man,info,locale}/*)
    # The same configuration as the official images.
    echo 'APT::Install-Recommends "false";' >"$work/$1/etc/apt/apt.conf.d/90minimal"
    printf 'path-exclude /usr/share/%s/*\n' doc man info locale >"$work/$1/etc/dpkg/dpkg.cfg.d/slim"
    local container
    container=$(buildah from scratch)
    buildah copy -q "$container" "$work/$1" / >/dev/null
    buildah config --cmd bash "$container"
    buildah commit -q --rm "$container" "localhost/$1" >/dev/null
    rm -rf "$work/$1"
}
base kiln-run-base
arguments=(--build-arg RUN_BASE=localhost/kiln-run-base)
context=$root
if [ -n "$binary" ]; then
    # The build needs only these two files of the context.
    context=$work/context
    rm -rf "$context"
    install -D "$binary" "$context/dist/kiln"
    install -D -m 644 "$root/deploy/image/nvidia_icd.json" "$context/deploy/image/nvidia_icd.json"
    arguments+=(--build-arg BINARY=prebuilt)
else
    # The build base contains the Rust toolchain of this machine.
    base kiln-build-base gcc,libc6-dev
    if ! buildah inspect --type image localhost/kiln-rust >/dev/null 2>&1; then
        log 'base: kiln-rust'
        container=$(buildah from localhost/kiln-build-base)
        buildah copy -q "$container" "$(rustc --print sysroot)" /usr/local >/dev/null
        buildah copy -q "$container" /etc/ssl/certs /etc/ssl/certs >/dev/null
        buildah commit -q --rm "$container" localhost/kiln-rust >/dev/null
    fi
    # BINARY=built is the default, but buildah 1.28 looks for the stage before it applies defaults.
    arguments+=(--build-arg BUILD_BASE=localhost/kiln-rust --build-arg BINARY=built)
fi

log 'image'
# --format docker, because the OCI format has no health check.
buildah build -q --format docker --layers --target run "${arguments[@]}" -f "$root/Dockerfile.gpu" -t localhost/kiln "$context"

log 'smoke test'
container=$(buildah from localhost/kiln)
trap 'buildah rm "$container" >/dev/null' EXIT
tree=$(buildah mount "$container")
"$root/deploy/image/smoke_test.sh" "$tree" "$root/tests/data/photos/cat_640x480.jpg"

log 'sizes'
megabytes() { du -sm --apparent-size "$1" | cut -f1; }
total=$(megabytes "$tree")
base_container=$(buildah from localhost/kiln-run-base)
base_tree=$(buildah mount "$base_container")
base_size=$(megabytes "$base_tree")
buildah rm "$base_container" >/dev/null
printf 'image %s MB, of which base %s MB, Kiln and its packages %s MB (the binary %s MB)\n' \
    "$total" "$base_size" "$((total - base_size))" "$(megabytes "$tree/usr/local/bin/kiln")"
if [ -n "$output" ]; then
    buildah push -q localhost/kiln "docker-archive:$output:kiln:latest"
    printf '%s: %s MB\n' "$output" "$(megabytes "$output")"
fi
