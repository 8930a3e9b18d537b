# setup.sh - what ./quickstart and ./runtests share: packages and the build.
# Sourced by bash with the repository's root as the working directory.
# shellcheck shell=bash

# shellcheck disable=SC2034 # used by the scripts that source this one
BUILD_PACKAGES=(
	build-essential autoconf automake pkg-config
	libevent-dev libpq-dev libjson-c-dev libyaml-dev libssl-dev
	libsystemd-dev libncurses-dev libcurl4-openssl-dev
	postgresql-15 postgresql-client-15
	perl curl ca-certificates procps
)
# shellcheck disable=SC2034
TEST_PACKAGES=(
	libcriterion-dev jq xz-utils mandoc shellcheck clang-format systemd
	prometheus
)

PG_BIN=/usr/lib/postgresql/15/bin

say() {
	printf '%s\n' "$*" >&2
}

die() {
	say "$0: $*"
	exit 1
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "installing packages needs root or sudo: $*"
	fi
}

# Debian's postgresql-15 makes and starts a cluster for the whole system when
# it is installed; ours are private, so that is switched off meanwhile.
without_main_cluster() {
	local conf=/etc/postgresql-common/createcluster.conf
	local saved='' rc=0

	if [ -e "$conf" ]; then
		saved=$(mktemp)
		cp "$conf" "$saved"
	fi
	as_root mkdir -p "${conf%/*}"
	printf 'create_main_cluster = false\n' | as_root tee "$conf" >/dev/null
	"$@" || rc=$?
	if [ -n "$saved" ]; then
		as_root cp "$saved" "$conf"
		rm -f "$saved"
	elif [ -e "$conf.ucf-dist" ]; then
		as_root mv -f "$conf.ucf-dist" "$conf"
	else
		as_root rm -f "$conf"
	fi
	return "$rc"
}

# Debian's prometheus starts its service when it is installed, and at each boot
# from then on; the tests run one of their own.
install_prometheus() {
	local policy=/usr/sbin/policy-rc.d
	local made=false rc=0

	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
		as_root chmod 755 "$policy"
		made=true
	fi
	apt_install prometheus && as_root update-rc.d prometheus disable || rc=$?
	! $made || as_root rm -f "$policy"
	return "$rc"
}

apt_install() {
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -o DPkg::Lock::Timeout=300 install -y -q \
		-o Dpkg::Options::=--force-confold --no-install-recommends "$@"
}

# need_packages NAME...: installs the ones that are missing.
need_packages() {
	local missing=() p

	for p in "$@"; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null |
			grep -q 'install ok installed' || missing+=("$p")
	done
	[ ${#missing[@]} -eq 0 ] && return 0
	say "installing ${#missing[@]} packages: ${missing[*]}"
	as_root apt-get -o DPkg::Lock::Timeout=300 update -q >&2
	case " ${missing[*]} " in
	*' prometheus '*) install_prometheus >&2 ;;
	esac
	case " ${missing[*]} " in
	*' postgresql-15 '*) without_main_cluster apt_install "${missing[@]}" >&2 ;;
	*) apt_install "${missing[@]}" >&2 ;;
	esac
}

# build_in DIR [configure option...]: an out-of-tree build, quick when nothing
# has changed.
build_in() {
	local dir=$1
	shift

	if [ ! -x configure ] || [ configure.ac -nt configure ]; then
		./bootstrap >/dev/null 2>&1 || ./bootstrap
	fi
	mkdir -p "$dir"
	if [ ! -e "$dir/Makefile" ] ||
		[ "$(cat "$dir/.options" 2>/dev/null)" != "$*" ]; then
		(cd "$dir" && ../configure -q "$@")
		printf '%s' "$*" >"$dir/.options"
	fi
	make -s -C "$dir" -j"$(nproc)" all
}
