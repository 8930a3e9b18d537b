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
cd "$(dirname "$0")/.."
# shellcheck source=t/lib/setup.sh
. t/lib/setup.sh

build=$(realpath "${1-build}")
clients=${CLIENTS-1 8 32 128}
rounds=${ROUNDS-3}
seconds=${SECONDS_EACH-5}
workers=${WORKERS-2}
users=${USERS-10000}
command -v wrk >/dev/null || die 'wrk is not installed'

dir=$(mktemp -d /tmp/gamed-bench.XXXXXX)
chmod 755 "$dir"
export PATH=$build:$build/bench:$PG_BIN:$PATH
export GAMED_SQLDIR=$PWD/sql
pids=()

pg_owner() {
	if [ "$(id -u)" = 0 ]; then
		runuser -u postgres -- "$@"
	else
		"$@"
	fi
}

# shellcheck disable=SC2317 # called by the trap
cleanup() {
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	pg_owner pg_ctl -D "$dir/pg/data" -m immediate stop >/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT

mkdir "$dir/pg"
[ "$(id -u)" != 0 ] || chown postgres "$dir/pg"
(cd "$dir/pg" && pg_owner initdb -D data -U game -A trust -E UTF8 \
	--locale=C.UTF-8 >/dev/null)
cat >>"$dir/pg/data/postgresql.conf" <<-EOC
	listen_addresses = ''
	unix_socket_directories = '$dir/pg'
	max_connections = 50
	shared_buffers = 256MB
	max_wal_size = 4GB
	fsync = ${FSYNC-on}
EOC
pg_owner pg_ctl -D "$dir/pg/data" -l "$dir/pg/log" -w -s start
createdb -h "$dir/pg" -U game game
psql=(psql -h "$dir/pg" -U game -d game -XAtq -v ON_ERROR_STOP=1)

free_port() {
	perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1,
		LocalAddr => "127.0.0.1")->sockport'
}

# start_gamed NAME [option...]: sets port_NAME.
start_gamed() {
	local name=$1 port i
	shift

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
		  name: game
		  user: game
	EOC
	[ "$name" != batch ] || gamectl -c "$dir/batch.yaml" migrate >/dev/null
	gamed -c "$dir/$name.yaml" "$@" >"$dir/$name.log" 2>&1 &
	pids+=($!)
	for ((i = 0; ; i++)); do
		curl -fsS -o /dev/null "http://127.0.0.1:$port/readyz" \
			2>/dev/null && break
		if [ "$i" -ge 200 ]; then
			cat "$dir/$name.log" >&2
			die "$name did not become ready"
		fi
		sleep 0.05
	done
	printf -v "port_$name" %s "$port"
}

start_gamed batch
start_gamed single -o award.batch_max=1
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
port_ceiling=$(free_port)
bench_award_ceiling "$port_ceiling" "$workers" \
	"host=$dir/pg user=game dbname=game" "$task" "$prefix" &
pids+=($!)
for ((i = 0; ; i++)); do
	(exec 3<>"/dev/tcp/127.0.0.1/$port_ceiling") 2>/dev/null && break
	[ "$i" -lt 200 ] || die 'the ceiling did not become ready'
	sleep 0.05
done

export AWARD_PATH=/api/v1/games/$game/tasks/bench-task/points
export AWARD_KEY=$key AWARD_USERS=$users

# load NAME CLIENTS SECONDS: "rate p50us p99us errors"
load() {
	local port_name=port_$1

	wrk -t1 -c"$2" -d"$3" -s bench/bench_award.lua \
		"http://127.0.0.1:${!port_name}" | sed -n 's/^RESULT //p'
}
median() {
	sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
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
