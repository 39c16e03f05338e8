#!/bin/sh
# Prints what CHANGELOG.md says of a version, and refuses a tag that is not Cargo.toml's version or that the changelog
# does not know.
#
#     deploy/release/notes.sh v0.1.0
set -eu
cd "$(dirname "$0")/../.."
version=${1#v}
built=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
if [ "$version" != "$built" ]; then
    echo "the tag says $version, Cargo.toml $built" >&2
    exit 1
fi
# From the version's heading to the next one.
notes=$(awk -v heading="## [$version]" 'index($0, heading) == 1 { inside = 1; next } /^## |^\[[^]]*\]: / { inside = 0 } inside' CHANGELOG.md)
if [ -z "$(printf %s "$notes" | tr -d '[:space:]')" ]; then
    echo "CHANGELOG.md has nothing under '## [$version]'" >&2
    exit 1
fi
printf '%s\n' "$notes" | sed '/./,$!d'
