#!/bin/bash
# bench_award.sh - the durable award end to end: gamed, the ceiling beside it
# (bench_award_ceiling: evhttp, libpq, the same statement, nothing else) and
# gamed with batches of one, in alternating rounds against one Postgres.
#
#   bench/bench_award.sh [BUILDDIR]
#
# Environment: CLIENTS (default "1 8 32 128"), ROUNDS (3), SECONDS_EACH (5),
# WORKERS (2), USERS (10000), FSYNC (on).  Prints awards per second, the median
# of the rounds, and server / ceiling.
set -euo pipefail
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"

clients=${CLIENTS-1 8 32 128}
rounds=${ROUNDS-3}
seconds=${SECONDS_EACH-5}
workers=${WORKERS-2}
users=${USERS-10000}
need wrk

# shellcheck disable=SC2034 # read by start_postgres
pg_settings=('max_connections = 50' 'shared_buffers = 256MB'
	'max_wal_size = 4GB' "fsync = ${FSYNC-on}")
start_postgres
start_gamed batch "$workers"
start_gamed single "$workers" -o award.batch_max=1
key=$(gamectl -c "$dir/batch.yaml" apikey create --client bench)
prefix=${key%%.*}

# A strategy that reads the event's data only: what remains is the write.
game=0b0e5bd1-1c7a-4a7e-8f7c-5d3a1f6e2b90
strategy=5d1a9c1e-7f0b-4a51-9f5e-3b8c0c4f2a11
task=$("${psql[@]}" <<-EOC
	insert into games (id, created_at, updated_at, "externalGameId",
		"strategyId", platform, "apiKey_used")
	values ('$game', now(), now(), 'bench', 'default', 'web', '$prefix');
	insert into strategydefinition (id, created_at, updated_at, "realmId",
		name, type, version, status, "astJson")
	values ('$strategy', now(), now(), 'bench', 'bench', 'DSL_FULL', 1,
		'PUBLISHED', '{"type":"program","id":"p","rules":[
		{"type":"rule","id":"r","when":{"type":"compare","op":"==",
		"left":{"type":"field","path":"data.priority_zone"},
		"right":{"type":"literal","value":true}},
		"then":[{"type":"assign_points","case_name":"Streak","value":
		{"type":"arith","op":"*","left":
		{"type":"field","path":"data.streak_days"},
		"right":{"type":"literal","value":2}}}]}]}');
	insert into tasks (id, created_at, updated_at, "externalTaskId",
		"gameId", "strategyId", status)
	values (gen_random_uuid(), now(), now(), 'bench-task', '$game',
		'custom:$strategy', 'open') returning id;
EOC
)
ceiling_port=$(free_port)
bench_award_ceiling "$ceiling_port" "$workers" "$conninfo" "$task" "$prefix" &
pids+=($!)
# shellcheck disable=SC2034 # read by load
url_ceiling=http://127.0.0.1:$ceiling_port
answers() {
	(exec 3<>"/dev/tcp/127.0.0.1/$1")
}
eventually 'the ceiling' answers "$ceiling_port"

export AWARD_PATH=/api/v1/games/$game/tasks/bench-task/points
export AWARD_KEY=$key AWARD_USERS=$users

# load NAME CLIENTS SECONDS: "rate p50us p99us errors"
load() {
	local url=url_$1

	wrk -t1 -c"$2" -d"$3" -s bench/bench_award.lua "${!url}" |
		sed -n 's/^RESULT //p'
}

# Makes the users.  Plans were made on empty tables; as autovacuum would after
# a minute, this has them made again.
load ceiling 32 3 >/dev/null
"${psql[@]}" -c analyze
load batch 32 2 >/dev/null
load single 32 1 >/dev/null
printf '%8s %10s %10s %10s %8s %10s %18s\n' clients gamed ceiling batch=1 \
	ratio 'x batch=1' 'gamed p50/p99 us'
for n in $clients; do
	: >"$dir/rates"
	for ((i = 0; i < rounds; i++)); do
		for who in batch ceiling single; do
			echo "$who $(load "$who" "$n" "$seconds")" >>"$dir/rates"
		done
	done
	b=$(sed -n 's/^batch //p' "$dir/rates" | median)
	c=$(sed -n 's/^ceiling //p' "$dir/rates" | median)
	s=$(sed -n 's/^single //p' "$dir/rates" | median)
	p50=$(awk '$1 == "batch" { print $3 }' "$dir/rates" | median)
	p99=$(awk '$1 == "batch" { print $4 }' "$dir/rates" | median)
	awk -v n="$n" -v b="$b" -v c="$c" -v s="$s" -v p="$p50/$p99" 'BEGIN {
		printf "%8d %10d %10d %10d %8.2f %10.2f %18s\n",
			n, b, c, s, b / c, b / s, p }'
	awk '$5 > 0 { print "errors:", $0; bad = 1 } END { exit bad }' \
		"$dir/rates"
done
gamectl -c "$dir/batch.yaml" verify-points
