#!/bin/sh
# Copies a workspace without its code: the manifests, the lock file, and an empty file for each source file that a manifest
# names. Dockerfile.gpu builds the dependencies from this copy, in a layer that does not depend on the code.
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

# Programs get an empty main function.
for source in src/main.rs $(cd "$from" && ls benches/*.rs ./*/build.rs) \
    $(sed -n 's/^path = "\(benches.*\)"/\1/p' "$from/Cargo.toml"); do
    mkdir -p "$to/$(dirname "$source")"
    echo 'fn main() {}' > "$to/$source"
done
# Libraries get an empty file.
for source in $(cd "$from" && ls src/lib.rs ./*/src/lib.rs ./*/*/src/lib.rs 2>/dev/null); do
    mkdir -p "$to/$(dirname "$source")"
    : > "$to/$source"
done
# All files get the same time, so that builders that compare times do not see a change.
find "$to" -exec touch -d @0 {} +
