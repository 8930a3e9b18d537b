#!/bin/bash
# bench_all.sh - every bench once, against private Postgres clusters of its
# own; the figures of README.md in this folder come from it.
#
#   bench/bench_all.sh [BUILDDIR]
set -euo pipefail
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"

make -s -C "$build" bench
start_postgres
gamectl -o "database.uri=$conninfo" migrate >/dev/null

say '== evaluator'
bench_dsl
say '== evidence and metrics'
bench_evidence
bench_metrics
say '== award statement (fsync off)'
bench_award_stmt "$conninfo"
say '== logger into Postgres'
bench_logger "$conninfo" | tail -n 1
t/lib/pg-private clean "$dir/pg" >/dev/null
say '== HTTP without the database'
bench/bench_http.sh "$build"
say '== what must not grow'
bench/bench_spine.sh "$build"
say '== tracing and audit (fsync off)'
bench/bench_trace.sh "$build"
say '== durable award (fsync on)'
bench/bench_award.sh "$build"
