#!/usr/bin/env bash
# The way of somebody who has never seen this repository, in a directory outside of it: go get (of what is committed here,
# through a file proxy, so that nothing needs to be published), the README's program, and a first answer from it on real
# servers. It fails if that takes more than 10 s of waiting once the dependencies are on the machine, or if a consumer's
# module graph is too large.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
module=github.com/pedro-go/pedro
version=v0.0.0-20200101000000-000000000000
work=$(mktemp -d)
app=
cleanup() {
	[ -z "$app" ] || { kill "$app" 2>/dev/null && wait "$app" || true; }
	chmod -R u+w "$work" && rm -rf "$work"
}
trap cleanup EXIT

# The proxy: a module's zip has its files below module@version, without those of nested modules.
proxy=$work/proxy/$module/@v
mkdir -p "$proxy"
excludes=()
while read -r mod; do excludes+=(":(exclude)$(dirname "$mod")"); done < <(git -C "$root" ls-files '*/go.mod')
git -C "$root" archive --format=zip --prefix="$module@$version/" -o "$proxy/$version.zip" HEAD -- . "${excludes[@]}"
git -C "$root" show HEAD:go.mod >"$proxy/$version.mod"
echo "{\"Version\":\"$version\",\"Time\":\"2020-01-01T00:00:00Z\"}" >"$proxy/$version.info"
echo "$version" >"$proxy/list"
export GOPROXY="file://$work/proxy,$(go env GOPROXY)" GONOSUMDB="$module,$(go env GONOSUMDB)" GOFLAGS=-mod=mod

# modules NAME BUDGET PACKAGE...: what a program that imports only these has in its graph beside itself and
# this module.
modules() {
	local dir=$work/count-$1 budget=$2 n
	mkdir "$dir"
	cd "$dir"
	go mod init example.org/count >/dev/null 2>&1
	{ echo "package main"; for p in "${@:3}"; do echo "import _ \"$module/$p\""; done; echo "func main() {}"; } >main.go
	go get "$module@$version" >/dev/null 2>&1
	go mod tidy >/dev/null 2>&1
	n=$(($(go list -m all | wc -l) - 2))
	echo "modules of others in a program with $1: $n (budget $budget)"
	[ "$n" -le "$budget" ] || { go list -m all | tail -n +2 | sed 's/^/  /'; over=true; }
}
over=false
modules pgpool 25 pgpool
modules everything 36 pgpool rediscache session health lifecycle

mkdir "$work/app"
cd "$work/app"
go mod init example.org/app >/dev/null 2>&1
go get "$module@$version" >/dev/null 2>&1
{
	cat <<'GO'
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/session"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

GO
	sed -n '/^<!-- program/,/^<!-- \/program/p' "$root/README.md" | sed '/^<!--/d; /^```/d'
} >main.go
go mod tidy >/dev/null 2>&1 # downloads, which are the network's
go build ./... 2>/dev/null # and the dependencies, which every program compiles once
began=$SECONDS
go get "$module@$version" 2>/dev/null
go build -o app .
go build -o devservices "$module/cmd/devservices"
built=$((SECONDS - began))
export ADDR=127.0.0.1:$((20000 + RANDOM % 10000))
./devservices postgres redis -- ./app >log 2>&1 &
app=$!
until answer=$(curl -fsS -c jar -b jar "http://$ADDR/" 2>/dev/null); do
	kill -0 "$app" 2>/dev/null || { cat log; exit 1; }
	[ $((SECONDS - began)) -lt 120 ] || { echo "no answer within 120 s"; cat log; exit 1; }
	sleep 0.1
done
waited=$((SECONDS - began))
again=$(curl -fsS -c jar -b jar "http://$ADDR/")
health=$(curl -fsS "http://$ADDR/api/health/")
echo "from go get to the first answer: $waited s, of which get and build $built s: $answer $again"
case "$again" in *"1 times"*) ;; *) echo "the session is not kept: $again"; exit 1 ;; esac
case "$health" in *'"status":"pass"'*) ;; *) echo "not healthy: $health"; exit 1 ;; esac
[ "$waited" -le 10 ] || { echo "more than 10 s"; exit 1; }
[ "$over" = false ] || { echo "a module graph is over its budget"; exit 1; }
