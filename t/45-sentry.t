#!/usr/bin/perl
# Errors on their way to Sentry: envelopes that parse by their lengths, failed
# runs gathered by strategy, code and node, nothing of a user in them, crashes,
# transactions, rate limits and reports of what was dropped, an endpoint that
# freezes, DSNs that are none, and silence where no DSN is set.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

use Gamed::Campaign;
use Gamed::Daemon;
use Gamed::Postgres;
use Gamed::Sentry;

my $pg = Gamed::Postgres->new;
my ($d, $sentry, $made);

sub start {
	my (%conf) = @_;

	$sentry = Gamed::Sentry->start;
	return Gamed::Daemon->start(
		pg => $pg,
		conf => {
			'server.workers' => 1,
			'sentry.dsn' => $sentry->dsn,
			'sentry.environment' => 'test',
			'sentry.release' => 'game 1.2',
			'sentry.server_name' => 'here',
			'sentry.traces_sample_rate' => 0,
			%conf,
		});
}

sub client { return $made->client($d) }

# One award for each n; the last answer.
sub award {
	my (@n) = @_;
	my ($c, $r) = (client());

	$r = $c->post($made->awards,
		{ externalUserId => 'user_secret',
			data => { n => $_, note => 'private words' } },
		'X-Correlation-ID' => "corr-$_") for @n;
	return $r;
}

sub failed_rows {
	return $pg->psql(q{SELECT count(*) FROM strategyexecutionlog
		WHERE status = 'error'});
}

sub eventually { return Gamed::Daemon::eventually(@_) }

sub outcome {
	my ($which) = @_;

	return $d->metrics->{"gamed_sentry_envelopes_total{outcome=\"$which\"}"};
}

sub sentry_rows {
	my ($which) = @_;
	return $d->metrics->{"gamed_evidence_${which}{class=\"sentry\"}"};
}

# What the clients were told that was lost: {"category reason" => quantity}.
sub losses {
	my %sum;

	for my $report ($sentry->items('client_report')) {
		$sum{"$_->{category} $_->{reason}"} += $_->{quantity}
			for @{ $report->{discarded_events} };
	}
	return \%sum;
}

my $handler = '/api/v1/games/{gameId}/tasks/{externalTaskId}/points';

$d = start();
$made = Gamed::Campaign->make($d, 'sentry');

subtest 'the first failure is an event at once' => sub {
	is(award(0)->{status}, 400, 'a run fails');
	ok(eventually(sub { $sentry->items('event') }), 'an event comes');
	my ($env) = $sentry->envelopes;
	is($env->{line}, 'POST /base/api/42/envelope/ HTTP/1.1', 'the address');
	is($env->{headers}{'content-type'}, 'application/x-sentry-envelope',
		'the type');
	like($env->{headers}{'x-sentry-auth'},
		qr/^Sentry sentry_version=7, sentry_key=publickey, sentry_client=game-c\/[\d.]+, sentry_secret=secretkey$/,
		'who sends');
	like($env->{headers}{'user-agent'}, qr/^game-c\/[\d.]+$/, 'the agent');
	like($env->{header}{event_id}, qr/^[0-9a-f]{32}$/, 'an id');
	like($env->{header}{sent_at}, qr/^\d{4}-\d\d-\d\dT[\d:.]+Z$/, 'a time');
	is($env->{header}{sdk}{name}, 'game-c', 'the client');
	is(scalar @{ $env->{items} }, 1, 'one item');
	is($env->{items}[0]{header}{type}, 'event', 'an event');

	my $e = $env->{items}[0]{json};
	is($e->{event_id}, $env->{header}{event_id}, 'the same id');
	is_deeply([@{$e}{qw(level platform environment release server_name
		transaction)}],
		['error', 'c', 'test', 'game 1.2', 'here', $handler],
		'where it comes from');
	is_deeply($e->{fingerprint},
		['strategy', $made->{strategy}, 'DSL_ARITH_DIV_BY_ZERO', 'divide'],
		'strategy, code and node are its fingerprint');
	my $x = $e->{exception}{values}[0];
	is($x->{type}, 'DSL_ARITH_DIV_BY_ZERO', 'its type');
	is_deeply([map { $_->{function} } @{ $x->{stacktrace}{frames} }],
		["POST $handler", "$made->{strategy} version 1", 'divide'],
		'its stack: route, strategy, node');
	my $tags = $e->{tags};
	is_deeply([@{$tags}{qw(handler method role correlation_id strategy
		strategy_version strategy_type code node)}],
		[$handler, 'POST', 'worker', 'corr-0', $made->{strategy}, '1',
			'DSL_FULL', 'DSL_ARITH_DIV_BY_ZERO', 'divide'], 'its tags');
	is_deeply([grep { ref || /\n/ || length > 200 } values %$tags], [],
		'tags are short texts');
	is($e->{extra}{count}, 1, 'one of them');
	unlike($env->{raw}, qr/user_secret|private words|127\.0\.0\.1(?!:)|"user"/,
		'nothing of the user');
	unlike($env->{raw}, qr/\Q$made->{key}\E/, 'nor the key');
};

subtest 'a storm is not one event each' => sub {
	award((0) x 200);
	my $before = () = $sentry->items('event');
	is($before, 1, 'the rest waits');
	ok(eventually(sub {
		my $m = $d->metrics;
		return $m->{'gamed_evidence_produced_total{class="sentry"}'} == 201
			&& $m->{'gamed_evidence_stored_total{class="sentry"}'} == 1
			&& $m->{'gamed_evidence_queued_rows{class="sentry"}'} == 200;
	}), 'each was produced, one is stored, the others wait');
	my ($r) = client()->post($made->awards,
		{ externalUserId => 'user_other', data => { n => 'text' } });
	is($r->{status}, 400, 'another code of the same strategy');
	ok(eventually(sub { 2 == (() = $sentry->items('event')) }),
		'... is an event of its own');
	isnt(($sentry->items('event'))[1]{fingerprint}[2],
		'DSL_ARITH_DIV_BY_ZERO', '... with another fingerprint');
};

subtest 'a crash is told by the logger' => sub {
	my ($pid) = $d->pids('worker');
	$d->kill(ABRT => $pid);
	ok(eventually(sub {
		grep { $_->{level} eq 'fatal' } $sentry->items('event')
	}), 'an event of level fatal');
	my ($e) = grep { $_->{level} eq 'fatal' } $sentry->items('event');
	is_deeply($e->{fingerprint}, ['crash', 'worker', 'signal', 'ABRT'],
		'who and how');
	is($e->{tags}{role}, 'worker', 'its role');
	like($e->{tags}{slot}, qr/^[1-9]\d*$/, 'its slot');
	is($e->{tags}{signal}, 'ABRT', 'the signal');
	is_deeply($e->{exception}{values}[0]{mechanism}{meta},
		{ signal => { number => POSIX::SIGABRT(), name => 'ABRT' } },
		'... and its number');
	is($e->{exception}{values}[0]{value}, 'a process of role worker died: '
		. "signal ABRT 6, slot $e->{tags}{slot}", 'in words');
	is($e->{exception}{values}[0]{mechanism}{handled}, JSON::PP::false,
		'not handled');
	ok(eventually(sub { $d->pids('worker') }), 'a successor');

	my ($logger) = $d->pids('logger');
	$d->kill(KILL => $logger);
	ok(eventually(sub {
		grep { "@{ $_->{fingerprint} }" eq 'crash logger signal KILL' }
			$sentry->items('event')
	}), 'the death of a logger is told by its successor');
};

subtest 'what was held back is sent at the end' => sub {
	ok(eventually(sub { award(0)->{status} == 400 }), 'it serves again');
	my $n = () = $sentry->items('event');
	award((0) x 7);
	is($d->stop, 0, 'the server leaves');
	my @mine = grep { $_->{fingerprint}[0] eq 'strategy'
		&& $_->{fingerprint}[3] eq 'divide' } $sentry->items('event');
	is($mine[-1]{extra}{count}, 7, 'a summary with its count');
	my ($p, $s, $x) = $d->log
		=~ /.*logger leaves produced=(\d+) stored=(\d+) dropped=(\d+)/s;
	is($p, $s + $x, '... and the rows in it are counted');
	like($mine[-1]{exception}{values}[0]{value}, qr/\(7 times\)/, '... in words');
};

subtest 'transactions' => sub {
	$d = start('sentry.traces_sample_rate' => 1);
	my $trace = 'a' x 32;
	must(client()->get("/api/v1/games/$made->{game}", 'sentry-trace' =>
		"$trace-" . ('b' x 16) . '-1'), 'game');
	client()->get('/api/v1/games/none');
	client()->get('/api/v1/kpi/health_check');
	must(client()->get("/api/v1/games/$made->{game}", 'sentry-trace' =>
		"$trace-" . ('b' x 16) . '-0'), 'game');
	ok(eventually(sub { 2 == (() = $sentry->items('transaction')) }),
		'one for each request but probes and those that said no');
	my ($env) = $sentry->envelopes;
	my ($t, $other) = $sentry->items('transaction');
	is($t->{transaction}, '/api/v1/games/{gameId}', 'the route');
	is_deeply($t->{transaction_info}, { source => 'route' }, '... it is');
	is_deeply([@{ $t->{contexts}{trace} }{qw(trace_id parent_span_id op
		status origin)}], [$trace, 'b' x 16, 'http.server', 'ok',
		'auto.http.game'], 'the trace is the caller\'s');
	cmp_ok($t->{timestamp}, '>=', $t->{start_timestamp}, 'its times');
	is_deeply([@{ $env->{header}{trace} }{qw(trace_id public_key sample_rate
		sampled environment)}], [$trace, 'publickey', '1', 'true', 'test'],
		'the trace header');
	like($other->{contexts}{trace}{status}, qr/^(not_found|invalid_argument)$/,
		'the status of a failed one');
	like($other->{contexts}{trace}{trace_id}, qr/^[0-9a-f]{32}$/,
		'a trace of its own');
	is_deeply([map { $_->{op} } @{ $t->{spans} }], ['auth'],
		'its one step is a span');

	is(award(1)->{status}, 200, 'an award');
	ok(eventually(sub { 3 == (() = $sentry->items('transaction')) }),
		'its transaction');
	$t = ($sentry->items('transaction'))[-1];
	is_deeply([map { "$_->{op}: $_->{description}" } @{ $t->{spans} }],
		['auth: authenticate the caller',
			'function: evaluate the strategy', 'db: write the award'],
		'its steps are spans, but the reading: it needed nothing');
	my $at = $t->{start_timestamp};
	my @late = grep {
		my $is_wrong = $_->{start_timestamp} < $at
			|| $_->{timestamp} < $_->{start_timestamp}
			|| $_->{timestamp} > $t->{timestamp} + 1e-5;
		$at = $_->{timestamp} - 1e-5;
		$is_wrong;
	} @{ $t->{spans} };
	is_deeply(\@late, [], '... one after the other, inside of it');
	is_deeply([grep { $_->{trace_id} ne $t->{contexts}{trace}{trace_id}
		|| $_->{parent_span_id} ne $t->{contexts}{trace}{span_id} }
		@{ $t->{spans} }], [], '... of the same trace, under its root');
	my %ids = map { $_->{span_id} => 1 } @{ $t->{spans} };
	is(scalar keys %ids, 3, '... each with an id of its own');
	is($d->stop, 0, 'the server leaves');
	is(losses()->{'transaction sample_rate'}, 1,
		'the one that was not drawn is in the report');
	is(losses()->{'span sample_rate'}, 1, '... with its span');
};

subtest 'what tells the caller, when it is wanted' => sub {
	$d = start('sentry.traces_sample_rate' => 1,
		'sentry.send_default_pii' => 'true', 'evidence.mask' => '[note]');
	my $c = client();
	is($c->post($made->awards . "?a=b%20c",
		{ externalUserId => 'user_secret',
			data => { n => 0, note => 'private words' } },
		Cookie => 'sweet', 'X-Forwarded-For' => '192.0.2.1',
		'X-Mine' => 'kept "so"')->{status}, 400, 'a run fails');
	ok(eventually(sub {
		$sentry->items('event') && $sentry->items('transaction');
	}), 'an event and a transaction');
	my ($e) = $sentry->items('event');
	is_deeply($e->{request}{data}{n}, 0, 'the event has the data');
	is($e->{request}{data}{note}, '***', '... but what is masked');
	my ($t) = $sentry->items('transaction');
	is_deeply($t->{request}{data}, { externalUserId => 'user_secret',
		data => { n => 0, note => '***' } }, 'the transaction has the body');
	is($t->{request}{query_string}, 'a=b%20c', 'the query');
	is($t->{request}{url}, $handler, 'the template still');
	is($t->{request}{headers}{'X-Mine'}, 'kept "so"', 'headers');
	is_deeply($t->{user}, { ip_address => '127.0.0.1' }, 'the address');
	unlike(join('', $sentry->requests),
		qr/\Q$made->{key}\E|sweet|192\.0\.2\.1|private words/, 'no secrets');

	# bodies and headers that are too long are left out, and the rest is sent
	$c->post($made->awards,
		{ externalUserId => 'user_secret', data => { n => 1,
			text => 'x' x 10_000 } },
		'X-Long' => 'y' x 9000, 'X-Short' => 'z');
	ok(eventually(sub { 2 == (() = $sentry->items('transaction')) }),
		'a large request');
	$t = ($sentry->items('transaction'))[-1];
	ok(!exists $t->{request}{data}, 'without its body');
	ok(!exists $t->{request}{headers}{'X-Long'}, 'nor the long header');
	is($t->{request}{headers}{'X-Short'}, 'z', 'with the others');

	$pg->stop_immediate;
	client()->get("/api/v1/games/$made->{game}?q=1", 'X-Mine' => '5xx');
	$pg->start;
	ok(eventually(sub {
		grep { $_->{fingerprint}[0] eq 'answer' } $sentry->items('event')
	}), 'an answer of 5xx');
	($e) = grep { $_->{fingerprint}[0] eq 'answer' } $sentry->items('event');
	is($e->{request}{query_string}, 'q=1', 'has the query');
	is($e->{request}{headers}{'X-Mine'}, '5xx', 'and the headers');
	is($d->stop, 0, 'the server leaves');
};

subtest 'rate limits' => sub {
	$d = start('sentry.group_interval_s' => 1,
		'sentry.traces_sample_rate' => 1);
	$sentry->answer(200, 'X-Sentry-Rate-Limits: '
		. '600:error;default:organization:quota, nonsense, x:error:key');
	award(0);
	ok(eventually(sub { $sentry->items('event') }), 'an event, limited by it');
	ok(eventually(sub { $sentry->items('transaction') }),
		'another category passes');
	$d->kill(ABRT => $d->pids('worker'));
	ok(eventually(sub { outcome('ratelimited') >= 1 }), 'the crash is held');
	is(scalar(() = $sentry->items('event')), 1, 'no event is sent');
	is($d->stop, 0, 'the server leaves');
	cmp_ok(losses()->{'error ratelimit_backoff'} // 0, '>=', 1,
		'the report tells');

	$d = start('sentry.traces_sample_rate' => 1);
	$sentry->answer(429, 'Retry-After: 600');
	must(client()->get("/api/v1/games/$made->{game}"), 'game');
	ok(eventually(sub { (outcome('ratelimited') // 0) == 1 }), 'the answer 429');
	must(client()->get("/api/v1/games/$made->{game}"), 'game') for 1 .. 3;
	ok(eventually(sub { outcome('ratelimited') == 4 }), 'all is held then');
	is($d->metrics->{'gamed_evidence_dropped_total{class="sentry",'
		. 'reason="rate_limited"}'}, 4, '... and dropped');
	is(scalar(() = $sentry->requests), 1, 'nothing more was sent');
	is($d->stop, 0, 'the server leaves');
};

subtest 'refusals are counted and told' => sub {
	$d = start('sentry.traces_sample_rate' => 1);
	$sentry->answer(413);
	must(client()->get("/api/v1/games/$made->{game}"), 'game');
	ok(eventually(sub { outcome('failed') == 1 }), 'the answer 413');
	$sentry->answer(500);
	must(client()->get("/api/v1/games/$made->{game}"), 'game');
	ok(eventually(sub { outcome('failed') == 2 }), 'the answer 500');
	is($d->metrics->{'gamed_evidence_dropped_total{class="sentry",'
		. 'reason="undelivered"}'}, 2, '... and their rows as dropped');
	$sentry->answer(200);
	is($d->stop, 0, 'the server leaves');
	# of a game that is read: the root and the authentication
	is_deeply(losses(), { 'transaction send_error' => 1,
		'span send_error' => 2, 'transaction network_error' => 1,
		'span network_error' => 2 }, 'the report tells both');
};

subtest 'a frozen endpoint' => sub {
	$d = start('sentry.traces_sample_rate' => 1);
	$sentry->answer('never');
	my $rows = failed_rows();
	for (1 .. 150) {
		must(client()->get("/api/v1/games/$made->{game}"), 'game');
	}
	is(award(1)->{status}, 200, 'awards go on');
	is(award(0)->{status}, 400, 'so do runs that fail');
	# 152 transactions and an event: one on its way, 100 wait
	ok(eventually(sub { outcome('queue_full') == 52 }),
		'the queue is bounded, exactly');
	is(outcome($_), 0, "none is $_") for qw(sent failed ratelimited);
	ok(eventually(sub {
		my $m = $d->metrics;
		my ($out) = grep { $m->{"gamed_evidence_produced_total{class=\"$_\"}"}
			!= $m->{"gamed_evidence_stored_total{class=\"$_\"}"} }
			qw(audit error sample request);
		return !$out;
	}), 'no row of any other class waits for it');
	is($d->metrics->{'gamed_evidence_produced_total{class="sentry"}'}, 153,
		'all that was made is accounted for');
	is(sentry_rows('stored_total'), 0, '... none of it as stored');
	is(sentry_rows('queued_rows'), 101, '... what waits as queued');
	is($d->metrics->{'gamed_evidence_dropped_total{class="sentry",'
		. 'reason="logger_queue_full"}'}, 52, '... the rest as dropped');
	$d->kill(KILL => $d->pids('logger'));
	ok(eventually(sub { sentry_rows('queued_rows') == 0 }),
		'a logger is killed: nothing waits any more');
	is($d->metrics->{'gamed_evidence_dropped_total{class="sentry",'
		. 'reason="logger_killed"}'}, 101, '... what waited is dropped');
	is(sentry_rows('missing_rows'), 0, '... and nothing is missing');
	is(award(0)->{status}, 400, 'one more run fails');
	ok(eventually(sub { sentry_rows('queued_rows') >= 1 }), '... and waits');
	is(failed_rows() - $rows, 1, 'the row of the failed run is in its table');
	my $from = time;
	is($d->stop, 0, 'the server leaves');
	cmp_ok(time - $from, '<', 9, '... before its deadline for the rows');
	like($d->log, qr/Sentry is too slow, envelopes are lost/, '... and says so');
};

subtest 'DSNs that are none' => sub {
	for my $dsn ('ftp://k@h/1', 'http://h/1', 'http://@h/1', 'http://k@/1',
		'http://k@h', 'http://k@h/', 'http://k@h/one', 'http://k@h:0/1',
		'http://k@h:99999/1', 'http://k@h:/1', 'http://k@h h/1',
		'http://k,x@h/1', 'http://k@h/1?q', 'k@h/1', 'http://k:@h/1',
		"http://k\@h/a\nb/1") {
		local $ENV{SENTRY_DSN} = $dsn;
		my ($rc, undef, $err) = Gamed::Daemon::run_program(
			"$Gamed::Daemon::BUILD/gamed", '-t', '-c', $d->conf_path);
		is($rc, 2, "refused: $dsn") or diag $err;
		like($err, qr/SENTRY_DSN/, '... by name');
	}
	for my $dsn ('', 'https://k@h.example/1', 'http://k:s@[::1]:9000/a/b/1') {
		local $ENV{SENTRY_DSN} = $dsn;
		my ($rc, undef, $err) = Gamed::Daemon::run_program(
			"$Gamed::Daemon::BUILD/gamed", '-t', '-c', $d->conf_path);
		is($rc, 0, "taken: '$dsn'") or diag $err;
	}
	for my $rate ('1.5', '-0.1', 'nan', 'lots', '') {
		local $ENV{SENTRY_TRACES_SAMPLE_RATE} = $rate;
		my ($rc) = Gamed::Daemon::run_program(
			"$Gamed::Daemon::BUILD/gamed", '-t', '-c', $d->conf_path);
		is($rc, 2, "no sample rate: '$rate'");
	}
};

subtest 'nothing is sent without a DSN' => sub {
	$d = start('sentry.dsn' => '', 'sentry.traces_sample_rate' => 1);
	is(award(0)->{status}, 400, 'a run fails');
	must(client()->get("/api/v1/games/$made->{game}"), 'game');
	my $m = $d->metrics;
	is($m->{'gamed_evidence_produced_total{class="sentry"}'}, 0,
		'workers make no rows');
	is($d->stop, 0, 'the server leaves');
	is(scalar(() = $sentry->requests), 0, 'and nothing came');
};

done_testing;
