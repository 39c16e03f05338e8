#!/usr/bin/env bash
# Builds the image of Dockerfile.gpu where no container registry can be reached, and tries it: Debian's own packages
# make the base (debootstrap) and the image (buildah). Needs Debian or Ubuntu, root, and a Debian mirror:
# debootstrap's own, or DEBIAN_MIRROR.
#
#     deploy/image/build-offline.sh --binary target/dist/kiln     # a binary that is there already: minutes
#     deploy/image/build-offline.sh                               # compiles in the container: needs crates.io, and half an hour or more
#
# It classifies a picture inside with the root file system read-only, serves with the health check, and prints the
# sizes. The image stays in buildah's store as localhost/kiln; --output FILE also writes it for 'docker load' or 'podman
# load'.
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
say() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

packages=(buildah debootstrap ca-certificates)
if ! dpkg -s "${packages[@]}" >/dev/null 2>&1; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
mkdir -p "$work"
# Works in a container too: no overlay on overlay, no namespaces of its own, no cgroups.
export BUILDAH_ISOLATION=chroot
buildah() { command buildah --storage-driver vfs --root "$work/store" --runroot "$work/run" "$@"; }
# What registries hold as debian:bookworm-slim, nearly: no manuals, no package lists.
base() { # name, extra packages
    if buildah inspect --type image "localhost/$1" >/dev/null 2>&1; then
        return
    fi
    say "base: $1"
    rm -rf "$work/$1"
    debootstrap --variant=minbase ${2:+"--include=$2"} "$suite" "$work/$1" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$work/$1.log"
    (cd "$work/$1" && rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/* usr/share/{doc,man,info,locale}/*)
    # As the official images have it.
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
    # A context of three files: nothing else of the project is needed.
    context=$work/context
    rm -rf "$context"
    install -D "$binary" "$context/dist/kiln"
    install -D -m 644 "$root/deploy/image/nvidia_icd.json" "$context/deploy/image/nvidia_icd.json"
    arguments+=(--build-arg BINARY=prebuilt)
else
    # The machine's own Rust goes into the base that compiles.
    base kiln-build-base gcc,libc6-dev
    if ! buildah inspect --type image localhost/kiln-rust >/dev/null 2>&1; then
        say 'base: kiln-rust'
        container=$(buildah from localhost/kiln-build-base)
        buildah copy -q "$container" "$(rustc --print sysroot)" /usr/local >/dev/null
        buildah copy -q "$container" /etc/ssl/certs /etc/ssl/certs >/dev/null
        buildah commit -q --rm "$container" localhost/kiln-rust >/dev/null
    fi
    # By name, though it is the default: buildah 1.28 looks for the stage before it knows of defaults.
    arguments+=(--build-arg BUILD_BASE=localhost/kiln-rust --build-arg BINARY=built)
fi

say 'image'
# --format docker: the health check is no part of OCI's.
buildah build -q --format docker --layers --target run "${arguments[@]}" -f "$root/Dockerfile.gpu" -t localhost/kiln "$context"

say 'a picture, inside'
container=$(buildah from localhost/kiln)
trap 'buildah rm "$container" >/dev/null' EXIT
tree=$(buildah mount "$container")
"$root/deploy/image/try.sh" "$tree" "$root/tests/data/photos/cat_640x480.jpg"

say 'sizes'
megabytes() { du -sm --apparent-size "$1" | cut -f1; }
whole=$(megabytes "$tree")
base_container=$(buildah from localhost/kiln-run-base)
base_tree=$(buildah mount "$base_container")
without=$(megabytes "$base_tree")
buildah rm "$base_container" >/dev/null
printf 'image %s MB, of which base %s MB, Kiln and its packages %s MB (the binary %s MB)\n' \
    "$whole" "$without" "$((whole - without))" "$(megabytes "$tree/usr/local/bin/kiln")"
if [ -n "$output" ]; then
    buildah push -q localhost/kiln "docker-archive:$output:kiln:latest"
    printf '%s: %s MB\n' "$output" "$(megabytes "$output")"
fi
