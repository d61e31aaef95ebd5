#!/bin/sh
# Installs the programs that tests, the demonstration and the browser tests need, as far as they are missing:
# Redis with Sentinel, PostgreSQL, PgBouncer, Prometheus with promtool, Chromium with its driver, Node.js with npm.
#
#	scripts/setup.sh            install what is missing
#	scripts/setup.sh --check    only say what is missing; status 1 if anything is
#
# It needs apt-get with root (or sudo without a password), or Homebrew. On other systems it prints what to type and ends
# with status 1. It starts no service: devservices runs private servers of its own.
set -eu

say() { printf 'setup: %s\n' "$*"; }

# have reports whether one of the named programs can be run, also where distributions keep servers out of PATH.
have() {
	for program in "$@"; do
		command -v "$program" >/dev/null 2>&1 && return 0
		for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* /usr/sbin /usr/local/sbin \
			/opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin /opt/homebrew/sbin \
			/Applications/Postgres.app/Contents/Versions/*/bin \
			"/Applications/Google Chrome.app/Contents/MacOS" /Applications/Chromium.app/Contents/MacOS; do
			[ -x "$dir/$program" ] && return 0
		done
	done
	return 1
}

# Each line: the programs that show that it is there, then the package for apt-get, dnf, apk and brew.
needs='
redis-server:redis-server:redis:redis:redis
redis-sentinel:redis-sentinel:redis:redis:redis
redis-cli:redis-tools:redis:redis:redis
initdb:postgresql:postgresql-server:postgresql:postgresql@17
pg_basebackup:postgresql:postgresql:postgresql:postgresql@17
pgbouncer:pgbouncer:pgbouncer:pgbouncer:pgbouncer
prometheus:prometheus:golang-github-prometheus:prometheus:prometheus
promtool:prometheus:golang-github-prometheus:prometheus:prometheus
chromium chromium-browser google-chrome:chromium:chromium:chromium:--cask,chromium
chromedriver:chromium-driver:chromedriver:chromium-chromedriver:--cask,chromedriver
node:nodejs:nodejs:nodejs:node
npm:npm:npm:npm:node
'

# missing prints the packages of the installer in column $1 whose programs are not there, each once.
missing() {
	printf '%s\n' "$needs" | while IFS=: read -r programs apt dnf apk brew; do
		[ -n "$programs" ] || continue
		# shellcheck disable=SC2086 # several programs
		have $programs && continue
		case $1 in
		apt) echo "$apt" ;;
		dnf) echo "$dnf" ;;
		apk) echo "$apk" ;;
		brew) echo "$brew" ;;
		esac
	done | sort -u
}

# one_line joins lines with blanks.
one_line() { tr '\n' ' ' | sed 's/ *$//'; }

installer=none
for candidate in apt-get:apt brew:brew dnf:dnf apk:apk; do
	if command -v "${candidate%%:*}" >/dev/null 2>&1; then
		installer=${candidate##*:}
		break
	fi
done
[ "$(uname -s)" = Darwin ] && installer=brew

if [ "$installer" = none ]; then packages=$(missing apt | one_line); else packages=$(missing "$installer" | one_line); fi
if [ -z "$packages" ]; then
	say "everything is there"
	exit 0
fi
say "missing: $packages"
[ "${1:-}" = --check ] && exit 1

as_root=
if [ "$(id -u)" -ne 0 ]; then
	if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root="sudo -n"; else as_root=no; fi
fi

# by_hand ends with what the user has to type.
by_hand() {
	say "cannot install by itself: $1"
	say "type:  $2"
	exit 1
}

apt_install() {
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

install_apt() {
	line="apt-get update && apt-get install -y --no-install-recommends $packages"
	[ "$as_root" = no ] && by_hand "not root, and sudo wants a password" "sudo sh -c '$line'"
	# Debian starts a service as soon as it is installed, unless this file forbids it. Somebody else's file is left alone.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
		$as_root chmod 755 "$policy"
		trap '$as_root rm -f "$policy"' EXIT
		trap 'exit 130' HUP INT PIPE TERM
	fi
	say "apt-get update"
	# A source that fails need not be the one that is needed: the installation decides.
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q || say "apt-get update failed; trying with the lists that are there"
	# Ubuntu calls two of them otherwise.
	if ! apt-cache show chromium >/dev/null 2>&1; then
		packages=$(echo " $packages " | sed 's/ chromium / chromium-browser /; s/ chromium-driver / chromium-chromedriver /; s/^ *//; s/ *$//')
	fi
	say "apt-get install $packages"
	# One that cannot be had must not keep back the others.
	# shellcheck disable=SC2086 # several packages
	apt_install $packages || for package in $packages; do
		say "apt-get install $package"
		apt_install "$package" || say "$package cannot be installed"
	done
	# Nor shall they start at the next boot, on ports that somebody may want.
	if command -v systemctl >/dev/null 2>&1 && [ -d /run/systemd/system ]; then
		for service in redis-server redis-sentinel postgresql pgbouncer prometheus; do
			case " $packages " in *" $service "*) $as_root systemctl disable --now "$service" >/dev/null 2>&1 || true ;; esac
		done
	fi
}

install_brew() {
	command -v brew >/dev/null 2>&1 || by_hand "no Homebrew" "see https://brew.sh, then: brew install $(echo "$packages" | sed 's/--cask,//g')"
	for package in $packages; do
		say "brew install $package"
		case $package in
		--cask,*) brew install --cask "${package#--cask,}" ;;
		*) brew install "$package" ;;
		esac
	done
}

case $installer in
apt) install_apt ;;
brew) install_brew ;;
dnf) by_hand "only apt-get and Homebrew are tried" "sudo dnf install $packages" ;;
apk) by_hand "only apt-get and Homebrew are tried" "sudo apk add $packages" ;;
*) by_hand "no package manager that it knows" "install these (Debian's names): $packages" ;;
esac

left=$(missing "$installer" | one_line)
if [ -n "$left" ]; then
	say "still missing: $left"
	exit 1
fi
say "everything is there"
