#!/usr/bin/env bash
# What must hold before a version is tagged. Prints each point, goes on after a failure, and says which tags to set.
#
#	scripts/release-check.sh v0.2.0
set -uo pipefail
cd "$(dirname "$0")/.."
version=${1:-}
# Modules that are published beside the main one, each with tags of its own; all others are for this repository only.
published=(telemetry)
failed=0
ok() { echo "ok    $*"; }
no() {
	echo "NO    $*"
	failed=1
}

if [[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]]; then
	if git rev-parse -q --verify "refs/tags/$version" >/dev/null; then no "$version is tagged already"; else ok "$version is free"; fi
	if grep -q "^## \[\?${version#v}\]\? - [0-9]\{4\}-[0-9][0-9]-[0-9][0-9]$" CHANGELOG.md; then
		ok "CHANGELOG.md has ${version#v} with its date"
	else
		no "CHANGELOG.md has no headline \"## ${version#v} - $(date +%F)\""
	fi
	if sed -n '/^## Unreleased/,/^## [^U]/p' CHANGELOG.md | grep -q '^- '; then no "CHANGELOG.md still has entries below Unreleased"; else ok "nothing is below Unreleased"; fi
	last=$(git tag --list 'v*' --sort=-v:refname | head -n1)
	if [[ $last == v0.* || -z $last ]] || [[ ${version%%.*} == "${last%%.*}" ]]; then ok "after ${last:-no tag}"; else no "$version follows $last: a new major version has a new module path"; fi
else
	no "a version such as v0.2.0 is needed: make release-check VERSION=v0.2.0"
fi

if [[ -z $(git status --porcelain) ]]; then ok "everything is committed"; else no "there are changes that are not committed"; fi
if grep -q '^replace' go.mod; then no "go.mod has replace lines, which users do not get"; else ok "go.mod has no replace line"; fi
while read -r mod; do
	dir=$(dirname "$mod")
	[[ $dir == tools || $dir == */docsite ]] && continue
	required=$(sed -n 's|.*github\.com/pedro-go/pedro \(v[^ ]*\).*|\1|p' "$mod" | head -n1)
	if [[ " ${published[*]} " == *" $dir "* ]]; then
		if [[ $required == "$version" ]]; then ok "$dir requires $version"; else no "$dir requires ${required:-nothing}: set it to $version, since users do not get its replace line"; fi
	elif grep -Eq '^(replace )?.*github\.com/pedro-go/pedro => \.\./?' "$mod" || [[ -z $required ]]; then
		ok "$dir follows the checkout"
	else
		no "$dir requires $required without a replace line: it would test an old version"
	fi
done < <(git ls-files '*/go.mod')

for target in apidiff tidy-check; do
	if grep -q "^$target:" Makefile; then
		if out=$(make --no-print-directory "$target" 2>&1); then ok "make $target: $(tail -n1 <<<"$out")"; else no "make $target"; sed 's/^/      /' <<<"$out"; fi
	fi
done
if out=$(go test -count=1 -run 'Readme|Docs|Links' . 2>&1); then ok "documents are those of the code"; else no "documents"; sed 's/^/      /' <<<"$out"; fi
if out=$(scripts/stranger.sh 2>&1); then ok "a stranger gets along: $(tail -n1 <<<"$out")"; else no "scripts/stranger.sh"; sed 's/^/      /' <<<"$out"; fi

if [[ $failed == 0 ]]; then
	echo
	echo "Set and push:"
	echo "  git tag -a $version -m $version"
	for dir in "${published[@]}"; do [[ -f $dir/go.mod ]] && echo "  git tag -a $dir/$version -m $dir/$version"; done
fi
exit $failed
