#!/bin/bash
# bench_spine.sh - what must not grow: awards to one hot user beside awards
# spread over many, awards on a task with a long history beside a short one,
# and the private memory of a worker, idle and after a load.
#
#   bench/bench_spine.sh [BUILDDIR]
#
# Environment: CLIENTS (32), ROUNDS (3), SECONDS_EACH (4), HISTORY ("1000
# 100000 1000000"), LOAD_SECONDS (60; the long form is 600).
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=t/lib/setup.sh
. t/lib/setup.sh

build=$(realpath "${1-build}")
clients=${CLIENTS-32}
rounds=${ROUNDS-3}
seconds=${SECONDS_EACH-4}
history=${HISTORY-1000 100000 1000000}
load_seconds=${LOAD_SECONDS-60}
command -v wrk >/dev/null || die 'wrk is not installed'

dir=$(mktemp -d /tmp/gamed-bench.XXXXXX)
chmod 755 "$dir"
export PATH=$build:$build/bench:$PG_BIN:$PATH
export GAMED_SQLDIR=$PWD/sql
pid=''

# shellcheck disable=SC2317 # called by the trap
cleanup() {
	[ -z "$pid" ] || { kill "$pid" && wait "$pid"; } 2>/dev/null || true
	t/lib/pg-private clean "$dir/pg" >/dev/null 2>&1 || true
	rm -rf "$dir"
}
trap cleanup EXIT

t/lib/pg-private start "$dir/pg" >/dev/null
psql=(psql -h "$dir/pg" -U postgres -d postgres -XAtq -v ON_ERROR_STOP=1)
port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1,
	LocalAddr => "127.0.0.1")->sockport')
cat >"$dir/gamed.yaml" <<-EOF
	server:
	  run_dir: $dir
	  state_dir: $dir
	  workers: 2
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
gamectl migrate >/dev/null
key=$(gamectl apikey create --client bench)
gamed -c "$dir/gamed.yaml" >"$dir/log" 2>&1 &
pid=$!
url=http://127.0.0.1:$port
until curl -fsS -o /dev/null "$url/readyz" 2>/dev/null; do
	kill -0 "$pid" || { cat "$dir/log" >&2; exit 1; }
	sleep 0.05
done

# Private kilobytes of each worker.
worker_memory() {
	local p
	for p in $(pgrep -P "$pid" -f 'gamed' || true); do
		grep -q '^gamed-worker' "/proc/$p/comm" || continue
		awk '/^Private/ { kb += $2 } END { print kb }' "/proc/$p/smaps_rollup"
	done | sort -n | tail -n 1
}
idle_kb=$(worker_memory)

api() {
	curl -fsS -X "$1" -H "X-API-Key: $key" -H 'Content-Type: application/json' \
		-d "$3" "$url/api/v1$2"
}
member() {
	MEMBER=$1 perl -MJSON::PP -0777 -ne 'print decode_json($_)->{$ENV{MEMBER}}'
}
game=$(api POST /games '{"externalGameId":"bench","platform":"bench"}' | member gameId)

# rate TASK USERS: awards per second.
rate() {
	local out
	out=$(AWARD_PATH=/api/v1/games/$game/tasks/$1/points AWARD_KEY=$key \
		AWARD_USERS=$2 wrk -t1 -c"$clients" -d"$seconds" \
		-s bench/bench_award.lua "$url" | sed -n 's/^RESULT //p')
	[ "${out##* }" = 0 ] || die "errors on $1: $out"
	echo "${out%% *}"
}
median() {
	sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
# compare NAME TASK USERS CEILING_TASK CEILING_USERS
compare() {
	local s c r
	: >"$dir/s"
	: >"$dir/c"
	for ((r = 0; r < rounds; r++)); do
		rate "$2" "$3" >>"$dir/s"
		rate "$4" "$5" >>"$dir/c"
	done
	s=$(median <"$dir/s")
	c=$(median <"$dir/c")
	awk -v n="$1" -v s="$s" -v c="$c" \
		'BEGIN { printf "%-34s server %7d/s  ceiling %7d/s  ratio %.2f\n", n, s, c, s / c }'
}

api POST "/games/$game/tasks" '{"externalTaskId":"spread"}' >/dev/null
rate spread 10000 >/dev/null
"${psql[@]}" -c analyze
compare 'one hot user, built-in default' spread 1 spread 10000

# The past of a task: awards of 1,000 users, one a second.
for n in $history; do
	task=$(api POST "/games/$game/tasks" "{\"externalTaskId\":\"past-$n\"}" | member taskId)
	"${psql[@]}" -v task="$task" -v n="$n" <<-'EOF'
		insert into users (id, created_at, updated_at, "externalUserId")
		select gen_random_uuid(), now(), now(), 'past-user-' || i
		from generate_series(1, 1000) i on conflict do nothing;
		insert into userpoints (id, created_at, updated_at, points, data,
			"userId", "taskId", "caseName", "idempotencyKey")
		select gen_random_uuid(), now() - i * interval '1 second', now(), 1,
			'{}', u.id, :'task', 'Past', 'past-' || i
		from generate_series(1, :n) i
		join users u on u."externalUserId" = 'past-user-' || (i % 1000 + 1);
		analyze userpoints;
	EOF
	[ "$n" = "${history%% *}" ] ||
		compare "history of $n awards" "past-$n" 10000 "past-${history%% *}" 10000
done

end=$((SECONDS + load_seconds))
first_kb=''
while [ "$SECONDS" -lt "$end" ]; do
	rate spread 10000 >/dev/null
	[ -n "$first_kb" ] || first_kb=$(worker_memory)
done
printf '%-34s idle %d KiB  after %d s of load %d KiB  at the end %d KiB\n' \
	'private memory of a worker' "$idle_kb" "$seconds" "$first_kb" "$(worker_memory)"
