#!/usr/bin/perl
# A row of apirequests for each request (observability.md 5.2): what it says,
# whom it names, which requests have none, the sampler, the queue, and that no
# row is lost uncounted or doubled when the logger is killed, Postgres is away
# or a user is gone.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use Gamed::Api qw(new_key);
use Gamed::Campaign;
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Load;
use Gamed::Postgres;

my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'server.workers' => 1,
	'evidence.batch_ms' => 20,
	'metrics.on_api' => 'true',
	'kpi.flush_s' => 1,
});
my $made = Gamed::Campaign->make($d, 'requests');
my ($prefix) = $made->{key} =~ /^([^.]+)/;
my $c = $made->client($d);
my $anybody = Gamed::Client->new(port => $d->port);
my $sql = sub { return $pg->psql($_[0]) };
my $until = \&Gamed::Daemon::eventually;

# The class in one scrape: produced, stored, dropped, queued, spooled.
sub ledger {
	my ($class) = @_;
	my $m = $d->metrics;
	my %sum = map { $_ => 0 } qw(produced stored dropped queued spooled);

	for (keys %$m) {
		/^gamed_evidence_(\w+?)_(?:total|rows)\{class="$class"/
			and $sum{$1} += $m->{$_};
	}
	return \%sum;
}

# Waits until all rows have found their place, and judges the books.
sub settles {
	my ($name, $dropped) = @_;
	my $l;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$until->(sub { $l = ledger('request');
		return $l->{queued} + $l->{spooled} == 0 });
	is("$l->{produced} $l->{dropped}",
		($l->{stored} + $l->{dropped}) . ' ' . ($dropped // 0),
		"$name: produced = stored + dropped");
	is($sql->('SELECT count(*), count(DISTINCT id) FROM apirequests'),
		"$l->{stored}|$l->{stored}", "$name: the table has what was stored");
	my ($rc, $out) = $d->gamectl('ledger');
	is($rc, 0, "$name: gamectl ledger agrees") or diag $out;
	return $l;
}

# ---- what is written ----------------------------------------------------------

my $G = '/api/v1/games';
my $T = "$G/$made->{game}/tasks/measure";
my $USERS = '/api/v1/games/{gameId}/users/{externalUserId}/points';
my $TASK = '/api/v1/games/{gameId}/tasks/{externalTaskId}';
my $n = 0;
my @expected;

# Sends it; the row is judged later, none when no endpoint is given.
sub step {
	my ($who, $method, $path, $body, $status, $endpoint, $user) = @_;
	my $id = 'req-' . ++$n;
	my $r = $who->request($method, $path, $body, 'X-Correlation-ID' => $id);

	is($r->{status}, $status, "$method $path") or diag $r->{body};
	push @expected, join '|', $id, $endpoint, $method, $status,
		$who == $c ? $prefix : '', $user // '' if $endpoint;
	return;
}

my $start = $sql->('SELECT now()');
settles('what made the campaign');
step($c, POST => "$T/points", { externalUserId => 'user_new', data => { n => 3 } },
	200, "$TASK/points", 'user_new');
step($c, POST => "$T/points", { externalUserId => 'user_new', data => { n => 4 } },
	200, "$TASK/points", 'user_new');
step($c, POST => "$T/points", { externalUserId => 'user_new', data => { n => 6 },
	isSimulated => JSON::PP::true }, 200, "$TASK/points");
step($c, POST => "$T/points", { externalUserId => 'user_bad', data => { n => 0 } },
	400, "$TASK/points");
step($c, POST => "$T/points", {}, 422, "$TASK/points");
step($c, GET => "$G/$made->{game}/users/user_new/points", undef, 200, $USERS,
	'user_new');
step($c, GET => "$G/$made->{game}/users/nobody/points", undef, 404, $USERS);
step($c, GET => "$T/users/user_new/points", undef, 200,
	"$TASK/users/{externalUserId}/points", 'user_new');
step($c, GET => "$G?page=1", undef, 200, $G);
step($anybody, GET => $G, undef, 401, $G);
step($anybody, GET => '/api/v1/strategies', undef, 200, '/api/v1/strategies');
# probes, and what no route took
step($anybody, GET => $_, undef, 200) for '/livez', '/readyz', '/metrics',
	'/api/v1/kpi/health_check';
step($anybody, GET => '/nowhere', undef, 404);
step($anybody, PATCH => $G, undef, 405);
step($anybody, HEAD => $G, undef, 405);
# a last one, behind which nothing of the others can come
step($c, GET => "$G?page=2", undef, 200, $G);

subtest 'rows' => sub {
	settles('the requests');
	is($sql->(q{SELECT correlation_id, endpoint, "requestType", "statusCode",
		coalesce(r."apiKey_used", ''), coalesce("externalUserId", '')
		FROM apirequests r LEFT JOIN users u ON u.id = r."userId"
		WHERE correlation_id LIKE 'req-%'
		ORDER BY substr(correlation_id, 5)::int}),
		join("\n", @expected), 'one each, and whom it is about');
	is($sql->("SELECT count(*) FROM apirequests WHERE created_at < '$start'
		OR created_at > now() OR updated_at <> created_at
		OR weight <> 1 OR oauth_user_id IS NOT NULL
		OR duration_ms <= 0 OR \"responseTimeMS\" <> floor(duration_ms + 0.5)"),
		$sql->("SELECT count(*) FROM apirequests
			WHERE created_at < '$start'"), 'times and weights');
	is($sql->("SELECT count(*) FROM apirequests r WHERE r::text LIKE
		'%$made->{game}%' OR r::text LIKE '%127.0.0.1%'
		OR r::text LIKE '%user_new%'"), 0,
		'no path, no address, no external id');
	ok($until->(sub { $sql->('SELECT coalesce(sum(n), 0) FROM gamed.request_minute
		WHERE handler NOT IN ($$$$, $$/api/v1/kpi/health_check$$)')
		== $sql->('SELECT count(*) FROM apirequests') }),
		'as many as the exact counters have');
};

# ---- faults -------------------------------------------------------------------

subtest 'a user who is gone' => sub {
	my $user = $sql->(q{SELECT id FROM users WHERE "externalUserId" = 'user_new'});

	my ($logger) = $d->pids('logger');
	$d->kill(STOP => $logger);
	step($c, GET => "$G/$made->{game}/users/user_new/points", undef, 200,
		$USERS);
	# behind the back of the triggers
	$sql->("SET session_replication_role = replica;
		DELETE FROM users WHERE id = '$user';
		UPDATE apirequests SET \"userId\" = NULL WHERE \"userId\" = '$user'");
	$d->kill(CONT => $logger);
	settles('the row without the user');
	is($sql->("SELECT \"statusCode\", \"userId\" IS NULL FROM apirequests
		WHERE correlation_id = 'req-$n'"), '200|t', 'is there');
};

subtest 'Postgres is away' => sub {
	my $before = ledger('request')->{produced};

	$pg->stop_immediate;
	is($anybody->get('/api/v1/strategies')->{status}, 200, 'an answer')
		for 1 .. 30;
	is($c->get("$T/points")->{status}, 503, 'one that needs it') for 1 .. 2;
	is(ledger('request')->{produced}, $before + 32, 'rows are made');
	$pg->start;
	ok($until->(sub { $c->get("$T/points")->{status} == 200 }), 'it is back');
	settles('afterwards');
	is($sql->('SELECT count(*) FROM apirequests WHERE "statusCode" = 503')
		>= 2, 1, 'also those that it could not answer');
};

subtest 'kill -9 of the logger and of workers under load' => sub {
	my $place = Gamed::Load->campaign($d);
	my $load = Gamed::Load->start($d, $place, pause => 0.001);

	for my $role (('logger') x 4, 'worker', 'logger', 'worker') {
		ok($load->await_calls(150), 'awards go on');
		my ($pid) = $d->pids($role);
		$d->kill(KILL => $pid);
		ok($until->(sub { my ($now) = $d->pids($role);
			$now && $now != $pid }), "a new $role");
	}
	my $calls = $load->stop;
	my $l;
	$until->(sub { $l = ledger('request');
		return $l->{queued} + $l->{spooled} == 0 });
	settles('after the kills', $l->{dropped});
	my $answered = grep { $_->{status} } @$calls;
	my $rows = $sql->('SELECT count(*) FROM apirequests
		WHERE "apiKey_used" = $$' . ($place->{key} =~ /^([^.]+)/)[0] . '$$');
	cmp_ok($rows, '>=', $answered - $l->{dropped}, 'answers have their rows');
	my ($rc, $out) = $d->gamectl('ledger');
	is($rc, 0, 'all classes balance') or diag $out;
};

subtest 'a logger that does not read' => sub {
	$d->write_conf('requests.queue_max' => 500);
	$d->reload;
	$_->close for $c, $anybody;
	my ($logger) = $d->pids('logger');
	my $before = ledger('request');
	my $audit = ledger('audit')->{dropped};

	$d->kill(STOP => $logger);
	$anybody->get('/api/v1/strategies') for 1 .. 900;
	my $l = ledger('request');
	is($l->{produced} - $before->{produced}, 900, 'rows are made');
	is($l->{dropped} - $before->{dropped}, 400, 'no more than the setting wait');
	is(ledger('audit')->{dropped}, $audit, 'audit rows take no harm');
	$d->kill(CONT => $logger);
	settles('when it reads again', $l->{dropped});
};

# ---- settings -----------------------------------------------------------------

sub configured {
	$d->write_conf(@_);
	$d->reload;
	$_->close for $c, $anybody;
	return;
}

subtest 'a sample' => sub {
	configured('requests.queue_max' => 100000, 'requests.sample_rate' => 0.25);
	my $from = $sql->('SELECT count(*) FROM apirequests');
	$anybody->get('/api/v1/strategies') for 1 .. 2000;
	settles('sampled', ledger('request')->{dropped});
	my $kept = $sql->('SELECT count(*) FROM apirequests') - $from;
	# 500, six standard deviations of 19.4 each way
	cmp_ok(abs($kept - 500), '<', 117, "$kept of 2000 rows at a rate of 0.25");
	is($sql->('SELECT count(*) FROM apirequests WHERE weight = 4'), $kept,
		'each stands for four');
	configured('requests.sample_rate' => 0);
	$pg->stop_immediate;
	is($c->get("$T/points")->{status}, 503, 'a failure') for 1 .. 3;
	$pg->start;
	ok($until->(sub { $c->get("$T/points")->{status} == 200 }), 'no failure');
	settles('failures', ledger('request')->{dropped});
	is($sql->("SELECT \"statusCode\" || ' ' || weight, count(*) >= 3
		FROM apirequests WHERE created_at > (SELECT max(created_at)
		FROM apirequests WHERE weight = 4) GROUP BY 1"), '503 1|t',
		'failures are kept whatever the rate');
};

subtest 'switched off' => sub {
	configured('requests.enabled' => 'false');
	my $before = ledger('request')->{produced};
	is($c->get($G)->{status}, 200, 'a request');
	is(ledger('request')->{produced}, $before, 'leaves no row');
};

subtest 'retention' => sub {
	$sql->(<<'SQL');
CREATE TABLE apirequests_202401 PARTITION OF apirequests
	FOR VALUES FROM ('2024-01-01+00') TO ('2024-02-01+00');
INSERT INTO apirequests (id, created_at) VALUES
	(gen_random_uuid(), '2024-01-15+00'),
	(gen_random_uuid(), now() - interval '9 days'),
	(gen_random_uuid(), now() - interval '11 days');
INSERT INTO logs (id, created_at) VALUES
	(gen_random_uuid(), now() - interval '11 days');
SQL
	$d->stop;
	$d = Gamed::Daemon->start(from => $d,
		conf => { 'retention.api_requests_days' => 10 });
	ok($until->(sub { $sql->("SELECT to_regclass('apirequests_202401') IS NULL")
		eq 't' }), 'a month that is over is dropped');
	ok($until->(sub { $sql->("SELECT count(*) FROM apirequests
		WHERE endpoint IS NULL") == 1 }), 'days of the others too');
	is($sql->("SELECT count(*) FROM logs WHERE message IS NULL"), 1,
		'other tables have their own time');
	my $ahead = $sql->("SELECT count(*) FROM pg_inherits
		WHERE inhparent = 'apirequests'::regclass
		AND inhrelid::regclass::text >= to_char(now() AT TIME ZONE 'UTC',
			'\"apirequests_\"YYYYMM')
		AND inhrelid::regclass::text <> 'apirequests_default'");
	cmp_ok($ahead, '>=', 4, 'this month and three ahead are there');
};

$d->show_log unless Test::More->builder->is_passing;
$d->stop;
done_testing;
