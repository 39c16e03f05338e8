#!/bin/sh
# Packs a binary with its documentation, licences, deployment files, shell completions and man page. With GNU tar, the archive is
# reproducible: the same binary and commit produce the same bytes.
#
#     deploy/release/pack.sh target/dist/kiln x86_64-unknown-linux-gnu out
set -eu
binary=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
target=$2
mkdir -p "$3"
out=$(cd "$3" && pwd)
cd "$(dirname "$0")/../.."
version=$("$binary" --version | sed 's/^kiln //')
name=kiln-$version-$target
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folder=$work/$name
mkdir -p "$folder/completions"
install -m 755 "$binary" "$folder/kiln"
cp -r README.md docs deploy grafana CHANGELOG.md LICENSE-APACHE LICENSE-MIT "$folder"
# The figures and texts of other folders that these pages link.
for file in benches/compare/README.md benches/compare/*.svg benches/zoo/*.svg Dockerfile.gpu; do
    mkdir -p "$folder/$(dirname "$file")"
    cp "$file" "$folder/$file"
done
for pair in bash:kiln.bash zsh:_kiln fish:kiln.fish; do
    "$binary" completions "${pair%%:*}" > "$folder/completions/${pair#*:}"
done
"$binary" man --out "$folder/man/man1"
# Every file gets the time of the commit and the owner 0, in a fixed order.
date=$(git log -1 --format=%ct 2>/dev/null || echo 0)
if tar --version 2>/dev/null | grep -q GNU; then
    tar -C "$work" --sort=name --mtime="@$date" --owner=0 --group=0 --numeric-owner -cf - "$name" | gzip -n -9 > "$out/$name.tar.gz"
else
    tar -C "$work" -czf "$out/$name.tar.gz" "$name"
fi
echo "$out/$name.tar.gz"
