#!/usr/bin/perl
# The dashboard: counts of the whole installation by day, week of the month and
# month (observability.md 6.2, 6.3), against queries over the same rows.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use Gamed::Api;
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'server.workers' => 1,
	'http.access_log' => 'false',
	'retention.logs_days' => 0,
	'audit.enabled' => 'false', # else asking for the rows adds rows
});
my $c = Gamed::Client->new(port => $d->port, key => new_key($d, 'tester'));
my $anon = Gamed::Client->new(port => $d->port);

# Edges of days, weeks and months, a leap day, two years, no date at all.
my @at = map { "'$_+00'" } ('2024-02-29 12:00', '2025-11-01 00:00',
	'2025-11-07 23:59:59.999999', '2025-11-08 00:00', '2025-11-14 10:00',
	'2025-11-21 10:00', '2025-11-28 23:00', '2025-11-29 00:00',
	'2026-02-10 18:30:00.000001', '2026-02-10 23:30', '2026-11-30 01:00',
	'2026-12-01 00:00');
push @at, 'NULL';
my $n = 0;
for my $at (@at) {
	$n++;
	$pg->psql(join ';', map { s/\bAT\b/$at/gr } (
		"INSERT INTO users (id, created_at, \"externalUserId\")
			VALUES (gen_random_uuid(), AT, 'u$n')",
		"INSERT INTO games (id, created_at, \"externalGameId\", platform)
			SELECT gen_random_uuid(), AT, 'g$n-' || i, 'web'
			FROM generate_series(1, $n % 3) i",
		"INSERT INTO userpoints (id, created_at, points)
			VALUES (gen_random_uuid(), AT, 10 * $n),
				(gen_random_uuid(), AT, NULL)",
		"INSERT INTO useractions (id, created_at)
			SELECT gen_random_uuid(), AT FROM generate_series(1, $n)",
		($at eq 'NULL' ? () : "INSERT INTO logs (id, created_at, log_level)
			SELECT gen_random_uuid(), AT,
				(ARRAY['INFO','SUCCESS','ERROR','info'])[1 + i % 4]
			FROM generate_series(1, $n % 5) i"),
	));
}

# The label of the reference, written another way than the server's.
my %label = (
	day => sub { "coalesce(date_trunc('day', created_at)::text, 'None')" },
	month => sub { "coalesce(to_char(created_at, 'MM'), 'None')" },
	week => sub { "coalesce(concat('week_', CASE
		WHEN date_part('day', created_at) <= 7 THEN 1
		WHEN date_part('day', created_at) <= 14 THEN 2
		WHEN date_part('day', created_at) <= 21 THEN 3
		WHEN date_part('day', created_at) <= 28 THEN 4
		WHEN date_part('day', created_at) > 28 THEN 5 END, '_',
		date_part('month', created_at)), '')" },
);

sub brute {
	my ($table, $what, $group, $where) = @_;
	my $rows = $pg->psql("SET timezone = 'UTC';
		SELECT " . $label{$group}->() . ", $what FROM $table
		WHERE " . ($where || 'true') . ' GROUP BY 1');

	$rows =~ s/^week__\|/unknown_week|/m;
	$rows =~ s/\+00\|/+00:00|/g;
	return { map { split /\|/ } split /\n/, $rows };
}

sub as_hash { return { map { $_->{label} => $_->{count} } @{ $_[0] } } }

my %series = (
	new_users => [ 'users', 'count(*)' ],
	games_opened => [ 'games', 'count(*)' ],
	points_earned => [ 'userpoints', 'coalesce(sum(points), 0)' ],
	actions_performed => [ 'useractions', 'count(*)' ],
);
my %window = (
	'' => '',
	'start_date=2025-11-08' => "created_at >= '2025-11-08+00'",
	'end_date=2025-11-29' => "created_at <= '2025-11-29+00'",
	'start_date=2026-02-10T18:30:00.000001Z&end_date=2026-02-11T01:30:00%2B02:00'
		=> "created_at >= '2026-02-10 18:30:00.000001+00'
		AND created_at <= '2026-02-10 23:30+00'",
	'start_date=2026-02-10T18:30:00.000002Z'
		=> "created_at >= '2026-02-10 18:30:00.000002+00'",
	'start_date=&end_date=' => '',
	'start_date=2030-01-01' => 'false',
);

for my $group (qw(day week month)) {
	for my $w (sort keys %window) {
		my $r = $c->get("/api/v1/dashboard/summary?group_by=$group&$w");
		is($r->{status}, 200, "summary $group $w") or diag $r->{body};
		is(order_of($r->{body}),
			'new_users games_opened points_earned actions_performed',
			'its members');
		for my $s (sort keys %series) {
			is_deeply(as_hash($r->{json}{$s}),
				brute(@{ $series{$s} }, $group, $window{$w}),
				"$s $group $w");
		}
		my $l = $c->get("/api/v1/dashboard/summary/logs?group_by=$group&$w");
		is($l->{status}, 200, "logs $group $w") or diag $l->{body};
		is(order_of($l->{body}), 'info success error', 'its members');
		for my $level (qw(INFO SUCCESS ERROR)) {
			is_deeply(as_hash($l->{json}{ lc $level }),
				brute('logs', "count(*) FILTER (WHERE log_level = '$level')",
					$group, $window{$w}), "$level $group $w");
		}
	}
}

subtest 'buckets come in the order of time' => sub {
	my $r = $c->get('/api/v1/dashboard/summary?group_by=day');
	my @days = map { $_->{label} } @{ $r->{json}{new_users} };
	is_deeply(\@days, [ sort @days ], 'days');
	is($days[0], '2024-02-29 00:00:00+00:00', 'a day as a text');
	is($days[-1], 'None', 'no date comes last');
	$r = $c->get('/api/v1/dashboard/summary?group_by=week');
	is(join(' ', map { $_->{label} } @{ $r->{json}{new_users} }),
		'week_2_2 week_5_2 week_1_11 week_2_11 week_3_11 week_4_11 '
		. 'week_5_11 week_1_12 unknown_week', 'weeks, years merged');
};

subtest 'refusals' => sub {
	for my $path ('/api/v1/dashboard/summary', '/api/v1/dashboard/summary/logs') {
		my $bad = "Invalid group_by value. Choose 'day', 'week', or 'month'.";
		is(refused("none $path", $c->get($path), 400), $bad, 'no group_by');
		is(refused("year $path",
			$c->get("$path?group_by=year&start_date=never"), 400),
			$bad, 'an unknown one, before the dates');
		for my $date ('never', '2025-13-01', '2025-02-29', '2025-11-08T25:00',
			'2025-11-08T10:00%2B99:00', '1762560000', '2025-11-08T10:00Zx') {
			my $text = $date =~ s/%2B/+/r;
			is(refused("$date $path",
				$c->get("$path?group_by=day&end_date=$date"), 400),
				"Invalid date '$text'. Expected ISO 8601, e.g. 2026-05-09.",
				'a bad date is named');
		}
		refused("anonymous $path", $anon->get("$path?group_by=day"), 401);
	}
};

subtest 'the health check tells the truth' => sub {
	my $r = $anon->get('/api/v1/kpi/health_check');
	is($r->{status}, 200, 'well');
	is_members('health', $r->{json}, { status => 'str', timestamp => 'ts_iso' });
	is($r->{json}{status}, 'KPI service is running', 'and running');
	$pg->stop;
	ok(Gamed::Daemon::eventually(sub {
		$r = $anon->get('/api/v1/kpi/health_check');
		$r->{status} == 503;
	}), '503 without the database');
	is($r->{json}{status}, 'KPI service has no database', 'and why');
};

$d->stop;
done_testing;
