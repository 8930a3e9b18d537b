#!/bin/bash
# bench_spine.sh - what must not grow: the latency of an award when idle beside
# two bare round trips, awards to one hot user beside awards spread over many,
# awards on a task with a long history beside a short one, and the private
# memory of a worker, idle and after a load.
#
#   bench/bench_spine.sh [BUILDDIR]
#
# Environment: CLIENTS (32), ROUNDS (3), SECONDS_EACH (4), IDLE_AWARDS (2000),
# HISTORY ("1000 100000 1000000"), LOAD_SECONDS (60; the long form is 600).
set -euo pipefail
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"

clients=${CLIENTS-32}
rounds=${ROUNDS-3}
seconds=${SECONDS_EACH-4}
idle_awards=${IDLE_AWARDS-2000}
history=${HISTORY-1000 100000 1000000}
load_seconds=${LOAD_SECONDS-60}
need wrk

start_postgres
start_gamed server 2
# shellcheck disable=SC2154 # set by start_gamed
url=$url_server server=$pid_server
key=$(gamectl -c "$dir/server.yaml" apikey create --client bench)

# Private kilobytes of the larger worker.
worker_memory() {
	local p
	for p in $(pgrep -P "$server" || true); do
		grep -q '^gamed-worker' "/proc/$p/comm" || continue
		awk '/^Private/ { kb += $2 } END { print kb }' "/proc/$p/smaps_rollup"
	done | sort -n | tail -n 1
}
idle_kb=$(worker_memory)

game=$(api POST "$url/api/v1/games" '{"externalGameId":"bench","platform":"bench"}' |
	member gameId)
# new_task NAME: its id.
new_task() {
	api POST "$url/api/v1/games/$game/tasks" "{\"externalTaskId\":\"$1\"}" |
		member taskId
}

# rate TASK USERS: awards per second.
rate() {
	local out
	out=$(AWARD_PATH=/api/v1/games/$game/tasks/$1/points AWARD_KEY=$key \
		AWARD_USERS=$2 wrk -t1 -c"$clients" -d"$seconds" \
		-s bench/bench_award.lua "$url" | sed -n 's/^RESULT //p')
	[ "${out##* }" = 0 ] || die "errors on $1: $out"
	echo "${out%% *}"
}

spread=$(new_task spread)
rate spread 10000 >/dev/null
"${psql[@]}" -c analyze
read -r server_us ceiling_us < <(bench_award_idle "$conninfo" "${url##*:}" \
	"/api/v1/games/$game/tasks/spread/points" "$key" "$spread" "$idle_awards")
result 'latency when idle, median' "$server_us" "$ceiling_us" ' us'
compare 'one hot user, built-in default' "$rounds" \
	'rate spread 1' 'rate spread 10000'

# The past of a task: awards of 1,000 users, one a second.
for n in $history; do
	task=$(new_task "past-$n")
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
		compare "history of $n awards" "$rounds" \
			"rate past-$n 10000" "rate past-${history%% *} 10000"
done

end=$((SECONDS + load_seconds))
first_kb=''
while [ "$SECONDS" -lt "$end" ]; do
	rate spread 10000 >/dev/null
	[ -n "$first_kb" ] || first_kb=$(worker_memory)
done
printf '%-34s idle %d KiB  after %d s of load %d KiB  after %d s %d KiB\n' \
	'private memory of a worker' "$idle_kb" "$seconds" "$first_kb" \
	"$load_seconds" "$(worker_memory)"
