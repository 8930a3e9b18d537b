# lib.sh - what the benches share: a directory and a Postgres of their own,
# gamed in it, and rates compared in alternating rounds.  Sourced by bash, from
# any directory; the build directory is its argument.
# shellcheck shell=bash
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
# shellcheck source=t/lib/setup.sh
. t/lib/setup.sh

build=$(realpath "${1:-build}")
dir=$(mktemp -d /tmp/gamed-bench.XXXXXX)
chmod 755 "$dir"
export PATH=$build:$build/bench:$PG_BIN:$PATH
export GAMED_SQLDIR=$PWD/sql
pids=()
pg_settings=()
# shellcheck disable=SC2034 # used by the benches
conninfo="host=$dir/pg user=postgres dbname=postgres"
# shellcheck disable=SC2034
psql=(psql -h "$dir/pg" -U postgres -d postgres -XAtq -v ON_ERROR_STOP=1)

# shellcheck disable=SC2317 # called by the trap
cleanup() {
	local p

	for p in "${pids[@]}"; do
		kill "$p" 2>/dev/null || true
		wait "$p" 2>/dev/null || true
	done
	t/lib/pg-private clean "$dir/pg" >/dev/null 2>&1 || true
	rm -rf "$dir"
}
trap cleanup EXIT

need() {
	command -v "$1" >/dev/null || die "$1 is not installed"
}

# With the lines of postgresql.conf in pg_settings beside those of pg-private,
# whose clusters do not sync.
start_postgres() {
	t/lib/pg-private start "$dir/pg" >/dev/null
	[ ${#pg_settings[@]} -gt 0 ] || return 0
	printf '%s\n' "${pg_settings[@]}" >>"$dir/pg/data/postgresql.conf"
	t/lib/pg-private stop "$dir/pg" fast
	t/lib/pg-private start "$dir/pg" >/dev/null
}

free_port() {
	perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1,
		LocalAddr => "127.0.0.1")->sockport'
}

# eventually WHAT COMMAND...: the command succeeds within ten seconds.
eventually() {
	local what=$1 i
	shift

	for ((i = 0; i < 200; i++)); do
		"$@" 2>/dev/null && return
		sleep 0.05
	done
	die "$what did not become ready"
}

# start_gamed NAME WORKERS [option...]: sets url_NAME and pid_NAME; the first
# one makes the schema.
start_gamed() {
	local name=$1 workers=$2 port
	shift 2

	port=$(free_port)
	mkdir "$dir/$name"
	cat >"$dir/$name.yaml" <<-EOC
		server:
		  run_dir: $dir/$name
		  state_dir: $dir/$name
		  workers: $workers
		http:
		  address: 127.0.0.1
		  port: $port
		  access_log: false
		metrics:
		  port: $(free_port)
		database:
		  host: $dir/pg
		  name: postgres
		  user: postgres
	EOC
	[ ${#pids[@]} -gt 0 ] ||
		gamectl -c "$dir/$name.yaml" migrate >/dev/null
	gamed -c "$dir/$name.yaml" "$@" >"$dir/$name.log" 2>&1 &
	pids+=($!)
	printf -v "pid_$name" %s "$!"
	printf -v "url_$name" %s "http://127.0.0.1:$port"
	if ! (eventually "$name" curl -fsS -o /dev/null \
		"http://127.0.0.1:$port/readyz"); then
		cat "$dir/$name.log" >&2
		exit 1
	fi
}

# member NAME: of the JSON object on standard input.
member() {
	MEMBER=$1 perl -MJSON::PP -0777 -ne 'print decode_json($_)->{$ENV{MEMBER}}'
}

# api METHOD URL [BODY]: with the API key in $key.
api() {
	# shellcheck disable=SC2154 # set by the benches
	curl -fsS -X "$1" -H "X-API-Key: $key" \
		-H 'Content-Type: application/json' ${3:+-d "$3"} "$2"
}

median() {
	sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

# result NAME SERVER CEILING UNIT
result() {
	awk -v n="$1" -v s="$2" -v c="$3" -v u="$4" 'BEGIN {
		printf "%-34s server %8.0f%s  ceiling %8.0f%s  ratio %.2f\n",
			n, s, u, c, u, s / c }'
}

# compare NAME ROUNDS 'SERVER COMMAND' 'CEILING COMMAND': rates, of which each
# command prints one.
compare() {
	local name=$1 rounds=$2 r
	local -a ours bare
	read -ra ours <<<"$3"
	read -ra bare <<<"$4"

	: >"$dir/server.rates"
	: >"$dir/ceiling.rates"
	for ((r = 0; r < rounds; r++)); do
		"${ours[@]}" >>"$dir/server.rates"
		"${bare[@]}" >>"$dir/ceiling.rates"
	done
	result "$name" "$(median <"$dir/server.rates")" \
		"$(median <"$dir/ceiling.rates")" /s
}
