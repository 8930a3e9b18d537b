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
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"

clients=${CLIENTS-32}
rounds=${ROUNDS-3}
seconds=${SECONDS_EACH-5}
workers=${WORKERS-1}
need wrk

start_postgres
start_gamed server "$workers"
# shellcheck disable=SC2154 # set by start_gamed
url=$url_server
key=$(gamectl -c "$dir/server.yaml" --json apikey create --admin --client bench |
	member key)
bench_echo -p "$workers" >"$dir/echo.port" &
pids+=($!)
eventually 'the ceiling' test -s "$dir/echo.port"
ceiling=http://127.0.0.1:$(cat "$dir/echo.port")

strategy=$(api POST "$url/api/v1/strategies/custom" '{"name":"bench","astJson":{"type":"program","rules":[
	{"type":"rule","when":{"type":"compare","op":"==",
	  "left":{"type":"field","path":"data.priority_zone"},"right":{"type":"literal","value":true}},
	 "then":[{"type":"assign_points","case_name":"PriorityZone",
	  "value":{"type":"arith","op":"+","left":{"type":"literal","value":10},
	   "right":{"type":"field","path":"data.streak_days"}}}]}]}}' | member id)
api POST "$url/api/v1/strategies/custom/$strategy/publish" >/dev/null
game=$(api POST "$url/api/v1/games" '{"externalGameId":"bench","platform":"bench"}' |
	member gameId)
api POST "$url/api/v1/games/$game/tasks" \
	"{\"externalTaskId\":\"task\",\"strategyId\":\"custom:$strategy\"}" >/dev/null
cat >"$dir/post.lua" <<-EOF
	wrk.method = "POST"
	wrk.headers["X-API-Key"] = "$key"
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

compare 'small GET' "$rounds" "rate $url/livez" "rate $ceiling/livez"
compare 'scoring without a write' "$rounds" \
	"rate $url/api/v1/games/$game/tasks/task/points -s $dir/post.lua" \
	"rate $ceiling/points -s $dir/post.lua"
