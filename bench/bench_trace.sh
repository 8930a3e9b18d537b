#!/bin/bash
# bench_trace.sh - what evidence costs awards end to end: tracing off beside
# keeping 0, 5 and 100 % of the runs, and an audit row for each award, each a
# server of its own on one Postgres, in alternating rounds.
#
#   bench/bench_trace.sh [BUILDDIR]
#
# Environment: CLIENTS (32), ROUNDS (5), SECONDS_EACH (4), WORKERS (2).
# The logger's processor time and Postgres' for the rows are in the figures:
# all share the cores.
set -euo pipefail
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"

clients=${CLIENTS-32}
rounds=${ROUNDS-5}
seconds=${SECONDS_EACH-4}
workers=${WORKERS-2}
need wrk

pg_settings=('max_connections = 200')
start_postgres
names=(off none some all audit)
start_gamed off "$workers" -o audit.enabled=false -o evidence.enabled=false
start_gamed none "$workers" -o audit.enabled=false -o evidence.sample_rate=0
start_gamed some "$workers" -o audit.enabled=false -o evidence.sample_rate=0.05
start_gamed all "$workers" -o audit.enabled=false -o evidence.sample_rate=1
start_gamed audit "$workers" -o evidence.enabled=false
# shellcheck disable=SC2154 # set by start_gamed
url=$url_off
key=$(gamectl -c "$dir/off.yaml" --json apikey create --admin --client bench |
	member key)
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
export AWARD_PATH=/api/v1/games/$game/tasks/task/points AWARD_KEY=$key

# settled NAME: none of its rows is on its way any more.
settled() {
	gamectl -c "$dir/$1.yaml" --json ledger | perl -MJSON::PP -ne '
		$left += $_->{queued} + $_->{spooled} for decode_json($_);
		END { exit $left > 0 }'
}

# load NAME SECONDS: awards per second; then waits for the rows.
load() {
	local server=url_$1 out
	out=$(wrk -t1 -c"$clients" -d"$2" -s bench/bench_award.lua "${!server}" |
		sed -n 's/^RESULT //p')
	[ "${out##* }" = 0 ] || die "errors of $1: $out"
	eventually "the evidence of $1" settled "$1"
	echo "${out%% *}"
}

load off 3 >/dev/null
"${psql[@]}" -c analyze
for name in "${names[@]}"; do
	load "$name" 1 >/dev/null
done
for ((r = 0; r < rounds; r++)); do
	for ((i = 0; i < ${#names[@]}; i++)); do # each is the first in turn
		name=${names[(r + i) % ${#names[@]}]}
		load "$name" "$seconds" >>"$dir/$name.rates"
	done
done

# row NAME TITLE: the median rate, that of the ratios within a round, and what
# became of the rows.
row() {
	local ratio rows

	ratio=$(paste "$dir/$1.rates" "$dir/off.rates" |
		awk '{ print $1 / $2 }' | median)
	rows=$(gamectl -c "$dir/$1.yaml" --json ledger | perl -MJSON::PP -ne '
		$_ = decode_json($_);
		$made += $_->{produced}; $lost += $_->{dropped};
		END { printf "%d rows, %d dropped", $made, $lost }')
	printf '%-30s %6.0f/s  off %6.0f/s  ratio %.2f  %s\n' "$2" \
		"$(median <"$dir/$1.rates")" "$(median <"$dir/off.rates")" \
		"$ratio" "$rows"
}
row none 'awards, tracing, 0 % kept'
row some 'awards, tracing, 5 % kept'
row all 'awards, tracing, 100 % kept'
row audit 'awards, an audit row each'
