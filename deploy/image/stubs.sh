#!/bin/sh
# Copies a workspace without its code: manifests, the lock file, and an empty file for each that a manifest needs to
# find. Dockerfile.gpu builds the dependencies from it, in a layer that a change of code does not touch.
#
#     stubs.sh WORKSPACE DESTINATION
set -eu
from=$1
to=$2

for manifest in Cargo.toml Cargo.lock $(cd "$from" && ls crates/*/Cargo.toml model-import/Cargo.toml model-import/*/Cargo.toml \
    shaders/Cargo.toml 2>/dev/null); do
    mkdir -p "$to/$(dirname "$manifest")"
    cp "$from/$manifest" "$to/$manifest"
done

# Programs: a main that does nothing.
for source in src/main.rs $(cd "$from" && ls benches/*.rs ./*/build.rs) \
    $(sed -n 's/^path = "\(benches.*\)"/\1/p' "$from/Cargo.toml"); do
    mkdir -p "$to/$(dirname "$source")"
    echo 'fn main() {}' > "$to/$source"
done
# Libraries: nothing at all.
for source in $(cd "$from" && ls src/lib.rs ./*/src/lib.rs ./*/*/src/lib.rs 2>/dev/null); do
    mkdir -p "$to/$(dirname "$source")"
    : > "$to/$source"
done
# One date for all, so that a builder that looks at dates sees nothing new either.
find "$to" -exec touch -d @0 {} +
