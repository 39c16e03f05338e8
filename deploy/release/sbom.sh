#!/bin/sh
# Writes the crates of the binary with their versions, licences and checksums, as a CycloneDX file (SBOM). Requires cargo-cyclonedx.
#
#     deploy/release/sbom.sh x86_64-unknown-linux-gnu out
set -eu
target=$1
mkdir -p "$2"
out=$(cd "$2" && pwd)
cd "$(dirname "$0")/../.."
name=kiln-$(deploy/release/version.sh)-$target.cdx
# It writes one file beside the manifest of each package of the workspace.
cargo cyclonedx -q --format json --target "$target" --override-filename sbom.cdx
mv sbom.cdx.json "$out/$name.json"
find . -name sbom.cdx.json -not -path './target/*' -delete
echo "$out/$name.json"
