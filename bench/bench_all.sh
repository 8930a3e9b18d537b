#!/bin/bash
# bench_all.sh - every bench once, against private Postgres clusters of its
# own; the figures of README.md in this folder come from it.
#
#   bench/bench_all.sh [BUILDDIR]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=t/lib/setup.sh
. t/lib/setup.sh

build=$(realpath "${1-build}")
make -s -C "$build" bench
export PATH=$build:$build/bench:$PG_BIN:$PATH
export GAMED_SQLDIR=$PWD/sql
dir=$(mktemp -d /tmp/gamed-bench.XXXXXX)
chmod 755 "$dir"
trap 't/lib/pg-private clean "$dir/pg" >/dev/null 2>&1; rm -rf "$dir"' EXIT
t/lib/pg-private start "$dir/pg" >/dev/null
db="host=$dir/pg user=postgres dbname=postgres"
gamectl -o "database.uri=$db" migrate >/dev/null

say '== evaluator'
bench_dsl
say '== award statement (fsync off)'
bench_award_stmt "$db"
say '== logger into Postgres'
bench_logger "$db" | tail -n 1
t/lib/pg-private clean "$dir/pg" >/dev/null
say '== HTTP without the database'
bench/bench_http.sh "$build"
say '== what must not grow'
bench/bench_spine.sh "$build"
say '== durable award (fsync on)'
bench/bench_award.sh "$build"
