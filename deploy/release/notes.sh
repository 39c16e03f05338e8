#!/bin/sh
# Prints the section of CHANGELOG.md for a version. Fails if the tag is not the version in Cargo.toml, or if the changelog has
# no such section.
#
#     deploy/release/notes.sh v0.1.0
set -eu
cd "$(dirname "$0")/../.."
version=${1#v}
built=$(deploy/release/version.sh)
if [ "$version" != "$built" ]; then
    echo "the tag is $version, but the version in Cargo.toml is $built" >&2
    exit 1
fi
# The lines from the heading of the version to the next heading.
notes=$(awk -v heading="## [$version]" 'index($0, heading) == 1 { inside = 1; next } /^## |^\[[^]]*\]: / { inside = 0 } inside' CHANGELOG.md)
if [ -z "$(printf %s "$notes" | tr -d '[:space:]')" ]; then
    echo "CHANGELOG.md has nothing under '## [$version]'" >&2
    exit 1
fi
printf '%s\n' "$notes" | sed '/./,$!d'
