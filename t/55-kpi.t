#!/usr/bin/perl
# Key figures: counters of requests by the minute, samples and gaps of uptime,
# daily figures against brute-force queries over the raw rows, once however
# many servers share the database, and what retention takes away.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use Gamed::Api;
use Gamed::Campaign;
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

my $pg = Gamed::Postgres->new;
my %conf = ('server.workers' => 2, 'http.access_log' => 'false',
	'kpi.flush_s' => 1, 'kpi.uptime' => 'true', 'kpi.uptime_sample_s' => 5);
my $d = Gamed::Daemon->start(pg => $pg, conf => \%conf);
my $key = new_key($d, 'tester');
my $sql = sub { return $pg->psql($_[0]) };
my $until = \&Gamed::Daemon::eventually;

# What the database says, as soon as it says so.
sub comes {
	my ($query, $want, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $got;

	$until->(sub { $got = $sql->($query); $got eq $want });
	return is($got, $want, $name);
}

my $COUNTED = "handler NOT IN ('', '/api/v1/kpi/health_check')";

subtest 'requests are counted by the minute' => sub {
	my $c = Gamed::Client->new(port => $d->port, key => $key);
	my $anon = Gamed::Client->new(port => $d->port);

	$c->get('/api/v1/games') for 1 .. 20;
	$anon->get('/api/v1/games') for 1 .. 5;
	$c->get('/api/v1/games/99999999-1c7a-4a7e-8f7c-5d3a1f6e2b90') for 1 .. 3;
	comes("SELECT handler, method, status, sum(n) FROM gamed.request_minute
		WHERE $COUNTED GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
		"/api/v1/games|GET|200|20\n/api/v1/games|GET|400|5\n"
		. '/api/v1/games/{gameId}|GET|400|3', 'each once');
	my $fine = "SELECT sum(x) FROM gamed.request_minute, unnest(buckets) x
		WHERE handler = ''";
	cmp_ok($sql->($fine), '>=', 28, 'and in the fine histogram');
	cmp_ok($sql->("SELECT sum(latency_ms_sum) FROM gamed.request_minute
		WHERE $COUNTED"), '>', 0, 'with their time');
	my ($stats) = $d->pids('stats');
	$d->kill(KILL => $stats);
	ok($until->(sub { my ($now) = $d->pids('stats');
		$now && $now != $stats }), 'stats dies and comes back');
	$c->get('/api/v1/games') for 1 .. 7;
	comes("SELECT sum(n) FROM gamed.request_minute WHERE $COUNTED
		AND status = 200", 27, 'nothing twice, nothing lost');
	is($sql->('SELECT count(*) FROM gamed.uptime_gap'), 0,
		'which is no gap of the server');
};

subtest 'samples of uptime' => sub {
	ok($until->(sub { $sql->("SELECT count(*) FROM uptimelogs
		WHERE status = 'healthy'") > 0 }), 'the server asked itself');
	is($sql->("SELECT count(*) FROM uptimelogs WHERE status <> 'healthy'"), 0,
		'and was well');
};

subtest 'a stop that was wanted' => sub {
	my $c = Gamed::Client->new(port => $d->port, key => $key);
	my $before = $sql->("SELECT sum(n) FROM gamed.request_minute
		WHERE $COUNTED AND status = 200");

	$c->get('/api/v1/games') for 1 .. 4;
	$d->stop;
	is($sql->("SELECT sum(n) FROM gamed.request_minute
		WHERE $COUNTED AND status = 200"), $before + 4,
		'writes the last requests');
	$d = Gamed::Daemon->start(from => $d);
	comes('SELECT cause FROM gamed.uptime_gap', 'stopped',
		'leaves a gap with that cause');
	is($sql->('SELECT count(*) FROM gamed.uptime_gap
		WHERE from_at < to_at AND to_at <= now()'), 1, 'of some length');
};

subtest 'kill -9 of everything' => sub {
	$until->(sub { $sql->("SELECT count(*) FROM gamed.job_state
		WHERE NOT (cursor ->> 'stopped')::boolean") == 1 });
	my @pids = ($d->pid, $d->pids);
	$d->expect_exit('KILL');
	$d->kill(KILL => @pids);
	$d->await_exit;
	$d = Gamed::Daemon->start(from => $d);
	comes('SELECT cause FROM gamed.uptime_gap ORDER BY from_at',
		"stopped\ncrashed", 'leaves a gap with that cause');
};

subtest 'runs of strategies are counted by the hour' => sub {
	my $admin = Gamed::Client->new(port => $d->port,
		key => new_key($d, 'admin', '--admin'));
	my $C = '/api/v1/strategies/custom';
	my $id = $admin->post($C, { name => 'counted', astJson => {
		type => 'program', id => 'p', rules => [], default => {
		type => 'assign_points', id => 'g', value => { type => 'literal',
		value => 3 }, case_name => 'Three' } } })->{json}{id};
	is($admin->post("$C/$id/publish", {})->{status}, 200, 'published');
	my $r = $admin->post('/api/v1/games', { externalGameId => 'counted-game',
		platform => 'web', strategyId => "custom:$id" });
	my $game = $r->{json}{gameId} // die "game: $r->{body}";
	$admin->post("/api/v1/games/$game/tasks", { externalTaskId => 'task-one',
		strategyId => "custom:$id" });
	$admin->post("/api/v1/games/$game/tasks/task-one/points",
		{ externalUserId => "player-$_", data => {} }) for 1 .. 9;
	my $rows = "SELECT status, case_name, sum(runs), sum(points_sum)
		FROM gamed.strategy_hour WHERE strategy_id = '$id' GROUP BY 1, 2";
	comes($rows, 'ok|Three|9|27', 'all of them, whatever is sampled');
	my $m = $admin->get("$C/$id/metrics")->{json};
	is($m->{statusBreakdown}{ok}, 9, 'and the figures know');
	$admin->post("/api/v1/games/$game/tasks/task-one/points",
		{ externalUserId => "player-$_", data => {} }) for 1 .. 2;
	comes($rows, 'ok|Three|11|33', 'none twice');
};

# ---- a day of real requests -------------------------------------------------

# Every request has its row in apirequests: what the roll-up takes from the
# counters is worked out from the rows. Days are one, or two at midnight.
subtest 'the figures of requests are those of their rows' => sub {
	my $c = Gamed::Client->new(port => $d->port, key => $key);
	my $anon = Gamed::Client->new(port => $d->port);

	for my $i (1 .. 150) {
		$c->get('/api/v1/games?page_size=' . $i % 50);
		$anon->get('/api/v1/strategies') if $i % 3 == 0;
		$anon->get('/api/v1/games') if $i % 5 == 0;
		$c->get('/api/v1/games/99999999-1c7a-4a7e-8f7c-5d3a1f6e2b90')
			if $i % 7 == 0;
		# asked for by machines
		$anon->get($_) for '/livez', '/readyz', '/api/v1/kpi/health_check';
	}
	my $rows = "FROM apirequests WHERE endpoint IS NOT NULL";
	ok($until->(sub { my $m = $d->metrics;
		return $m->{'gamed_evidence_stored_total{class="request"}'}
			== $m->{'gamed_evidence_produced_total{class="request"}'} }),
		'all rows are written');
	comes("SELECT sum(n) = (SELECT count(*) $rows) FROM gamed.request_minute
		WHERE $COUNTED", 't', 'all counters are written');
	comes("SELECT sum(n) = (SELECT count(*) $rows) FROM gamed.request_minute
		WHERE handler = ''", 't', 'also those of the histogram');
	for my $day (split /\n/, $sql->("SET timezone = 'UTC';
		SELECT DISTINCT created_at::date $rows"))
	{
		my ($rc, $out, $err) = $d->gamectl('kpi', 'rollup', '--day', $day);
		is("$rc $out", "0 $day\n", 'rolled up') or diag $err;
		my $counts = $sql->("SELECT requests, n_2xx, n_3xx, n_4xx, n_5xx,
			success_pct, error_pct, server_error_pct
			FROM gamed.kpi_daily WHERE day = '$day'");
		is($counts, $sql->("SET timezone = 'UTC'; SELECT n, n2, n3, n4, n5,
			round(100.0 * (n2 + n3) / n, 4),
			100 - round(100.0 * (n2 + n3) / n, 4),
			round(100.0 * n5 / n, 4) FROM (SELECT count(*) AS n,
			count(*) FILTER (WHERE \"statusCode\" BETWEEN 200 AND 299) AS n2,
			count(*) FILTER (WHERE \"statusCode\" BETWEEN 300 AND 399) AS n3,
			count(*) FILTER (WHERE \"statusCode\" BETWEEN 400 AND 499) AS n4,
			count(*) FILTER (WHERE \"statusCode\" >= 500) AS n5
			$rows AND created_at::date = '$day') q"),
			'requests by status, success and errors');
		is($sql->("SET timezone = 'UTC';
			SELECT abs(latency_avg_ms - avg) <= 0.001,
				abs(latency_p50_ms - p[1]) <= p[1] / 16 + 0.002,
				abs(latency_p95_ms - p[2]) <= p[2] / 16 + 0.002,
				abs(latency_p99_ms - p[3]) <= p[3] / 16 + 0.002
			FROM gamed.kpi_daily, (SELECT avg(duration_ms),
				percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN
				GROUP (ORDER BY duration_ms) AS p
				$rows AND created_at::date = '$day') r
			WHERE day = '$day'"), 't|t|t|t',
			'mean and percentiles, true to a sixteenth')
			or diag $sql->("SELECT latency_avg_ms, latency_p50_ms,
				latency_p95_ms, latency_p99_ms FROM gamed.kpi_daily
				WHERE day = '$day'"), ' ', $sql->("SELECT
				avg(duration_ms), percentile_disc(ARRAY[0.5, 0.95, 0.99])
				WITHIN GROUP (ORDER BY duration_ms) $rows");
		# what follows begins without it
		$sql->("DELETE FROM gamed.kpi_daily WHERE day = '$day';
			DELETE FROM kpimetrics WHERE day = '$day'");
	}
};

# ---- daily figures ----------------------------------------------------------

# Forty days of users who come and go, across every midnight.
$sql->(<<'SQL');
INSERT INTO users (id, created_at, "externalUserId")
SELECT md5('u' || i)::uuid, date_trunc('day', now() - interval '5 minutes', 'UTC')
	- (i % 40) * interval '1 day' + (i % 3 - 1) * interval '1 microsecond',
	'u' || i FROM generate_series(1, 60) i;
INSERT INTO userpoints (id, created_at, points, "userId")
SELECT gen_random_uuid(), date_trunc('day', now() - interval '5 minutes', 'UTC')
	- d * interval '1 day' + (i * d % 1440) * interval '1 minute'
	- (i % 2) * interval '1 microsecond',
	CASE WHEN i % 7 = 0 THEN NULL ELSE i END, md5('u' || i)::uuid
FROM generate_series(1, 60) i, generate_series(1, 40) d
WHERE (i * d + d) % 5 < 2 AND d <> 9;
INSERT INTO useractions (id, created_at, "userId")
SELECT gen_random_uuid(), date_trunc('day', now() - interval '5 minutes', 'UTC')
	- d * interval '1 day' + interval '23:59:59.999999', md5('u' || i)::uuid
FROM generate_series(1, 60) i, generate_series(1, 40) d
WHERE (i + d) % 11 = 0 AND d <> 9;
INSERT INTO gamed.request_minute (minute, server, boot, handler, method, status,
	n, latency_ms_sum, buckets)
SELECT date_trunc('day', now() - interval '5 minutes', 'UTC') - d * interval '1 day'
	+ m * interval '1 minute', 's' || s, 1, h, 'GET', st, 1 + (d * m + s) % 13,
	3.25 * (1 + d), '{}'
FROM generate_series(1, 35) d, unnest(ARRAY[0, 700, 1439]) m,
	generate_series(1, 2) s, unnest(ARRAY['/a', '/b',
	'/api/v1/kpi/health_check']) h, unnest(ARRAY[200, 300, 400, 500]) st;
INSERT INTO gamed.request_minute (minute, server, boot, handler, method, status,
	n, latency_ms_sum, buckets)
SELECT date_trunc('day', now() - interval '5 minutes', 'UTC') - d * interval '1 day', 's' || s, 1, '', '',
	0, 50, 0, (SELECT array_agg(CASE i WHEN 147 THEN 25 WHEN 232 THEN 20 + s
		WHEN 357 THEN 4 - s ELSE 0 END ORDER BY i)
		FROM generate_series(0, 367) i)
FROM generate_series(1, 35) d, generate_series(1, 2) s;
-- of an earlier release
INSERT INTO gamed.request_minute (minute, server, boot, handler, method, status,
	n, latency_ms_sum, buckets)
SELECT date_trunc('day', now() - interval '5 minutes', 'UTC') - d * interval '1 day', 's0', 1, '', '',
	0, 100, 0, ARRAY[50, 30, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 5]
FROM generate_series(1, 35) d;
INSERT INTO uptimelogs (id, created_at, status)
SELECT gen_random_uuid(), date_trunc('day', now() - interval '5 minutes', 'UTC')
	- d * interval '1 day' + i * interval '1 hour',
	CASE WHEN i < d % 4 THEN 'unhealthy' ELSE 'healthy' END
FROM generate_series(1, 35) d, generate_series(0, 11) i;
INSERT INTO gamed.uptime_gap SELECT date_trunc('day', now() - interval '5 minutes', 'UTC')
	- interval '1 day' + interval '12 hours', date_trunc('day', now() - interval '5 minutes', 'UTC')
	- interval '1 day' + interval '18 hours', 'crashed', 'x';
SQL

# A row a day, worked out from the raw rows alone.
my $BRUTE = <<'SQL';
SET timezone = 'UTC';
WITH act AS (
	SELECT created_at::date AS day, "userId" AS u FROM userpoints
	UNION ALL SELECT created_at::date, "userId" FROM useractions
), days AS (SELECT (now() - interval '5 minutes')::date - i AS day FROM generate_series(1, 31) i),
req AS (SELECT minute::date AS day, * FROM gamed.request_minute
	WHERE handler <> '' AND handler <> '/api/v1/kpi/health_check')
SELECT day,
	(SELECT sum(n) FROM req WHERE req.day = days.day),
	(SELECT sum(n) FROM req WHERE req.day = days.day AND status = 300),
	(SELECT sum(n) FROM req WHERE req.day = days.day AND status = 500),
	round((SELECT 100.0 * sum(CASE WHEN status < 400 THEN n END) / sum(n)
		FROM req WHERE req.day = days.day), 4),
	round((SELECT sum(latency_ms_sum) / sum(n) FROM req
		WHERE req.day = days.day)::numeric, 3),
	(SELECT count(DISTINCT u) FROM act WHERE act.day = days.day),
	(SELECT count(*) FROM act WHERE act.day = days.day),
	(SELECT coalesce(sum(points), 0) FROM userpoints
		WHERE created_at::date = day),
	(SELECT count(*) FROM users WHERE created_at::date = day),
	round((SELECT 100.0 * count(DISTINCT b.u) / nullif(count(DISTINCT a.u), 0)
		FROM act a LEFT JOIN act b ON b.u = a.u AND b.day = days.day
		WHERE a.day = days.day - 1), 4),
	round((SELECT 100.0 * count(DISTINCT b.u) / nullif(count(DISTINCT a.u), 0)
		FROM act a LEFT JOIN act b ON b.u = a.u AND b.day = days.day
		WHERE a.day = days.day - 7), 4),
	round((SELECT 100.0 * count(DISTINCT b.u) / nullif(count(DISTINCT a.u), 0)
		FROM act a LEFT JOIN act b ON b.u = a.u AND b.day = days.day
		WHERE a.day = days.day - 30), 4)
FROM days ORDER BY day
SQL
my $ROLLED = <<'SQL';
SELECT day, requests, n_3xx, n_5xx, success_pct, latency_avg_ms, active_users,
	interactions, points_awarded, new_users, retention_d1_pct,
	retention_d7_pct, retention_d30_pct
FROM gamed.kpi_daily WHERE day < ((now() - interval '5 minutes') AT TIME ZONE 'UTC')::date ORDER BY day
SQL

my $other;
subtest 'days that were missed are made up for, by one of two servers' => sub {
	$other = Gamed::Daemon->start(pg => $pg, conf => \%conf, migrate => 0);
	my ($rc, $out, $err) = $d->gamectl('kpi', 'rollup');
	is($rc, 0, 'gamectl helps') or diag $err;
	comes('SELECT count(*) FROM gamed.kpi_daily
		WHERE day < ((now() - interval \'5 minutes\') AT TIME ZONE \'UTC\')::date', 31, 'days');
	is($sql->($ROLLED), $sql->($BRUTE), 'as the raw rows say');
	is($sql->("SELECT count(*), count(DISTINCT day) FROM kpimetrics"),
		'31|31', 'one row a day');
	my @made = map { split ' ', $_ } $out =~ s/(\S+)/$1/gr;
	push @made, $_->log =~ /daily figures made day=(\S+)/g for $d, $other;
	is(scalar @made, 31, 'each was made once');
	my %once = map { $_ => 1 } @made;
	is(scalar keys %once, 31, 'by somebody');
	is($sql->("SELECT \"totalRequests\" - requests,
			\"successRate\" + \"errorRate\", \"successRate\" - round(success_pct),
			\"avgLatencyMS\" - round(latency_avg_ms),
			\"activeUsers\" - active_users,
			coalesce(\"retentionRate\" - round(retention_d1_pct), 0),
			\"avgInteractionsPerUser\" - round(interactions_per_user)
		FROM kpimetrics m JOIN gamed.kpi_daily k ON k.day::text = m.day
		GROUP BY 1, 2, 3, 4, 5, 6, 7"), '0|100|0|0|0|0|0', 'rounded there');
	is($sql->('SELECT DISTINCT latency_p50_ms, latency_p95_ms, latency_p99_ms
		FROM gamed.kpi_daily WHERE requests > 0'),
		'5.115|44082.135|45726.302', 'percentiles of the histogram');
	is($sql->("SELECT day, uptime_pct FROM gamed.kpi_daily
		WHERE day >= ((now() - interval '5 minutes') AT TIME ZONE 'UTC')::date - 3 ORDER BY day DESC"),
		$sql->("SET timezone = 'UTC'; SELECT (now() - interval '5 minutes')::date - d,
			round(100.0 * (12 - d % 4) / 12
			* CASE WHEN d = 1 THEN 0.75 ELSE 1 END, 4)
			FROM generate_series(1, 3) d"), 'uptime, less the gap');
};

subtest 'late rows' => sub {
	my $day = $sql->("SELECT ((now() - interval '5 minutes') AT TIME ZONE 'UTC')::date - 2");
	my $old = $sql->("SELECT ((now() - interval '5 minutes') AT TIME ZONE 'UTC')::date - 12");

	$sql->("INSERT INTO userpoints (id, created_at, points, \"userId\")
		SELECT gen_random_uuid(), d::date + interval '5 hours', 1000,
			md5('u1')::uuid FROM unnest(ARRAY['$day', '$old']) d");
	my ($rc, $out, $err) = $d->gamectl('kpi', 'rollup', '--day', $day);
	is("$rc $out", "0 $day\n", 'one day again') or diag $err;
	my ($brute) = grep { /^$day/ } split /\n/, $sql->($BRUTE);
	my ($rolled) = grep { /^$day/ } split /\n/, $sql->($ROLLED);
	is($rolled, $brute, 'as the raw rows say');
	is($sql->("SELECT count(*) FROM kpimetrics WHERE day = '$day'"), 1,
		'in its row');
	# as if it had been made yesterday: due once more today
	$sql->("UPDATE gamed.kpi_daily SET computed_at = computed_at
		- interval '1 day', points_awarded = -1
		WHERE day IN ('$day', '$old')");
	$d->gamectl('kpi', 'rollup');
	is($sql->("SELECT points_awarded >= 0 FROM gamed.kpi_daily
		WHERE day = '$day'"), 't', 'a young day is made again');
	is($sql->("SELECT points_awarded FROM gamed.kpi_daily
		WHERE day = '$old'"), -1, 'an old one stays as it is');
	($rc, $out, $err) = $d->gamectl('kpi', 'rollup', '--day', 'someday');
	is($rc, 1, 'a day that is none');
	like($err, qr/someday/, 'is named');
	is(($d->gamectl('kpi'))[0], 2, 'usage');
};
$other->stop;

# ---- retention --------------------------------------------------------------

subtest 'retention' => sub {
	# months long gone, one in the default partition, one just inside
	$sql->(<<'SQL');
CREATE TABLE logs_202401 PARTITION OF logs
	FOR VALUES FROM ('2024-01-01+00') TO ('2024-02-01+00');
CREATE TABLE gamed.request_minute_202401 PARTITION OF gamed.request_minute
	FOR VALUES FROM ('2024-01-01+00') TO ('2024-02-01+00');
INSERT INTO logs (id, created_at) VALUES
	(gen_random_uuid(), '2024-01-15+00'), (gen_random_uuid(), '2024-03-15+00'),
	(gen_random_uuid(), now() - interval '29 days'),
	(gen_random_uuid(), now() - interval '31 days');
INSERT INTO apirequests (id, created_at)
SELECT gen_random_uuid(), '2024-03-15+00' FROM generate_series(1, 12000);
INSERT INTO uptimelogs (id, created_at) VALUES (gen_random_uuid(), '2020-01-01');
SQL
	$d->stop;
	$d = Gamed::Daemon->start(from => $d, conf => {
		'retention.logs_days' => 30, 'retention.uptime_days' => 0 });
	comes('SELECT count(*) FROM apirequests WHERE endpoint IS NULL', 0,
		'batch after batch');
	comes("SELECT count(*) FILTER (WHERE created_at < now() - interval '30 days'),
		count(*) FROM logs WHERE message IS NULL", '0|1', 'rows of logs');
	comes("SELECT to_regclass('logs_202401') IS NULL
		AND to_regclass('gamed.request_minute_202401') IS NULL", 't',
		'partitions are dropped');
	is($sql->("SELECT count(*) FROM uptimelogs
		WHERE created_at < '2021-01-01'"), 1, '0 keeps for ever');
	isnt($sql->("SELECT count(*) FROM pg_inherits
		WHERE inhparent = 'logs'::regclass"), 0, 'the young ones stay');
};

subtest 'runs that were counted and never written' => sub {
	my $made = Gamed::Campaign->make($d, 'lost-runs');
	my $fail = sub { $made->client($d)->post($made->awards,
		{ externalUserId => 'player-1', data => { n => 0 } })
		for 1 .. $_[0] };
	my $figures = sub { $made->client($d)->get('/api/v1/strategies/custom/'
		. "$made->{strategy}/metrics")->{json} };
	my $counted = "SELECT sum(runs) FROM gamed.strategy_hour
		WHERE strategy_id = '$made->{strategy}'";

	$fail->(3);
	comes($counted, 3, 'these are');
	is($figures->()->{figures}{statusBreakdown}{source}, 'exact', 'exactly');
	$sql->('DELETE FROM gamed.strategy_gap');
	my $lock = $pg->background('BEGIN; LOCK TABLE gamed.strategy_hour
		IN EXCLUSIVE MODE; SELECT pg_sleep(600)');
	ok($until->(sub { $sql->("SELECT count(*) FROM pg_locks WHERE granted
		AND mode = 'ExclusiveLock'
		AND relation = 'gamed.strategy_hour'::regclass") == 1 }), 'a lock');
	$fail->(5);
	comes("SELECT count(*) FROM strategyexecutionlog
		WHERE \"strategyId\" = '$made->{strategy}'", 8, 'all have rows');
	my @pids = ($d->pid, $d->pids);
	$d->expect_exit('KILL');
	$d->kill(KILL => @pids);
	$d->await_exit;
	$sql->("SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE wait_event_type = 'Lock'");
	undef $lock;
	$d = Gamed::Daemon->start(from => $d);
	comes('SELECT count(*) FROM gamed.strategy_gap', 1, 'the gap is noted');
	my $f = $figures->();
	is($f->{statusBreakdown}{error}, 8, 'rows stand for what was lost');
	is($f->{figures}{statusBreakdown}{source}, 'mixed', 'which is said');
	$d->stop;
	$d = Gamed::Daemon->start(from => $d);
	comes("SELECT bool_and(last_done > 'epoch'::timestamptz
		+ (cursor ->> 'boot')::bigint * interval '1 microsecond')
		FROM gamed.job_state WHERE job LIKE 'strategy_hour:%'", 't',
		'the next start wrote');
	is($sql->('SELECT count(*) FROM gamed.strategy_gap'), 1,
		'and found no gap after a stop');
};

$d->show_log unless Test::More->builder->is_passing;
$d->stop;
done_testing;
