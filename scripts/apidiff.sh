#!/usr/bin/env bash
# Compares the exported surface with that of the last tag, and fails where code written against the tag would not compile.
# Before v1.0.0 a minor version may break it: then the differences are printed, and only a patch release fails.
set -euo pipefail
cd "$(dirname "$0")/.."
tag=$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || true)
if [ -z "$tag" ]; then
	echo "apidiff: no tag to compare with"
	exit 0
fi
work=$(mktemp -d)
trap 'git worktree remove --force "$work/old" 2>/dev/null || true; rm -rf "$work"' EXIT
go build -modfile=tools/go.mod -o "$work/apidiff" golang.org/x/exp/cmd/apidiff
git worktree add --quiet --detach "$work/old" "$tag"
module=$(go list -m)
(cd "$work/old" && "$work/apidiff" -m -w "$work/old.api" "$module")
broken=$("$work/apidiff" -m -incompatible "$work/old.api" "$module")
if [ -z "$broken" ]; then
	echo "apidiff: compatible with $tag"
	exit 0
fi
echo "apidiff: not compatible with $tag:"
echo "$broken"
case $tag in
v0.*) echo "apidiff: to be said in CHANGELOG.md, and the next version is a minor one" ;;
*) exit 1 ;;
esac
