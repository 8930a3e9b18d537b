#!/bin/bash
# bench_http.sh - HTTP without the database, each beside bench_echo (bare
# evhttp, same flags, same bytes) in alternating rounds: a small GET, and
# scoring without a write (isSimulated, a strategy on data.* only).
#
#   bench/bench_http.sh [BUILDDIR]
#
# Environment: CLIENTS (32), ROUNDS (3), SECONDS_EACH (5), WORKERS (1: two
# processes of the ceiling do not share connections evenly, which flatters us).
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=t/lib/setup.sh
. t/lib/setup.sh

build=$(realpath "${1-build}")
clients=${CLIENTS-32}
rounds=${ROUNDS-3}
seconds=${SECONDS_EACH-5}
workers=${WORKERS-1}
command -v wrk >/dev/null || die 'wrk is not installed'

dir=$(mktemp -d /tmp/gamed-bench.XXXXXX)
chmod 755 "$dir"
export PATH=$build:$build/bench:$PG_BIN:$PATH
export GAMED_SQLDIR=$PWD/sql
pids=()

# shellcheck disable=SC2317 # called by the trap
cleanup() {
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	t/lib/pg-private clean "$dir/pg" >/dev/null 2>&1 || true
	rm -rf "$dir"
}
trap cleanup EXIT

t/lib/pg-private start "$dir/pg" >/dev/null
port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1,
	LocalAddr => "127.0.0.1")->sockport')
cat >"$dir/gamed.yaml" <<-EOF
	server:
	  run_dir: $dir
	  state_dir: $dir
	  workers: $workers
	http:
	  address: 127.0.0.1
	  port: $port
	  access_log: false
	metrics:
	  port: 0
	database:
	  host: $dir/pg
	  name: postgres
	  user: postgres
EOF
gamectl() {
	command gamectl -c "$dir/gamed.yaml" "$@"
}
member() {
	MEMBER=$1 perl -MJSON::PP -0777 -ne 'print decode_json($_)->{$ENV{MEMBER}}'
}
gamectl migrate >/dev/null
admin=$(gamectl --json apikey create --admin --client bench | member key)
gamed -c "$dir/gamed.yaml" >"$dir/log" 2>&1 &
pids+=($!)
url=http://127.0.0.1:$port
for ((i = 0; i < 200; i++)); do
	curl -fsS -o /dev/null "$url/readyz" 2>/dev/null && break
	sleep 0.05
done
echo_port=$dir/echo.port
bench_echo -p "$workers" >"$echo_port" &
pids+=($!)
until [ -s "$echo_port" ]; do sleep 0.05; done
ceiling=http://127.0.0.1:$(cat "$echo_port")

api() {
	curl -fsS -X "$1" -H "X-API-Key: $admin" -H 'Content-Type: application/json' \
		${3:+-d "$3"} "$url/api/v1$2"
}
strategy=$(api POST /strategies/custom '{"name":"bench","astJson":{"type":"program","rules":[
	{"type":"rule","when":{"type":"compare","op":"==",
	  "left":{"type":"field","path":"data.priority_zone"},"right":{"type":"literal","value":true}},
	 "then":[{"type":"assign_points","case_name":"PriorityZone",
	  "value":{"type":"arith","op":"+","left":{"type":"literal","value":10},
	   "right":{"type":"field","path":"data.streak_days"}}}]}]}}' | member id)
api POST "/strategies/custom/$strategy/publish" >/dev/null
game=$(api POST /games '{"externalGameId":"bench","platform":"bench"}' | member gameId)
api POST "/games/$game/tasks" \
	"{\"externalTaskId\":\"task\",\"strategyId\":\"custom:$strategy\"}" >/dev/null
cat >"$dir/post.lua" <<-EOF
	wrk.method = "POST"
	wrk.headers["X-API-Key"] = "$admin"
	wrk.headers["Content-Type"] = "application/json"
	wrk.body = '{"externalUserId":"citizen-001","isSimulated":true,"data":{"zone":"harbour","priority_zone":true,"streak_days":4,"pm25":17.5}}'
EOF

# rate URL [wrk option...]: requests per second; fails on any error answer.
rate() {
	local out
	out=$(wrk -t 2 -c "$clients" -d "$seconds" "${@:2}" "$1")
	if grep -q 'Non-2xx' <<<"$out"; then
		die "errors from $1: $out"
	fi
	awk '/Requests\/sec/ { print $2 }' <<<"$out"
}
median() {
	sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

# compare NAME SERVER_URL CEILING_URL [wrk option...]
compare() {
	local name=$1 server=$2 bare=$3 s c
	shift 3
	: >"$dir/s"
	: >"$dir/c"
	for ((r = 0; r < rounds; r++)); do
		rate "$server" "$@" >>"$dir/s"
		rate "$bare" "$@" >>"$dir/c"
	done
	s=$(median <"$dir/s")
	c=$(median <"$dir/c")
	awk -v n="$name" -v s="$s" -v c="$c" \
		'BEGIN { printf "%-32s server %8.0f/s  ceiling %8.0f/s  ratio %.2f\n", n, s, c, s / c }'
}
compare 'small GET' "$url/livez" "$ceiling/livez"
compare 'scoring without a write' \
	"$url/api/v1/games/$game/tasks/task/points" "$ceiling/points" -s "$dir/post.lua"
