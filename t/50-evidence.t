#!/usr/bin/perl
# Evidence from the worker to the tables: failed runs are all kept with their
# trace, successes at the configured rate, and after every fault the rows that
# were produced are stored, queued or dropped, by the numbers of the scrape and
# by the rows of the table.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use POSIX ();
use Test::More;

use Gamed::Campaign;
use Gamed::Daemon;
use Gamed::Postgres;

my $pg = Gamed::Postgres->new;
my ($d, $made);

sub start {
	my (%conf) = @_;

	return Gamed::Daemon->start(
		pg => $pg,
		conf => {
			'server.workers' => 1,
			'evidence.sample_rate' => '1.0',
			'evidence.batch_ms' => 20,
			%conf,
		});
}

# Sends awards, returns how often each status came.
sub award {
	my (@n) = @_;
	my $c = $made->client($d);
	my %seen;

	for my $n (@n) {
		my $r = $c->post($made->awards,
			{ externalUserId => 'user_' . $n % 7, data => { n => $n } });
		diag "n=$n: $r->{status} $r->{body}"
			unless $seen{ $r->{status} }++
			|| $r->{status} =~ /^(200|400|422|503)$/;
	}
	return \%seen;
}

sub sum_of {
	my ($m, $name) = @_;
	my $sum = 0;

	/^\Q$name\E(\{|\z)/ and $sum += $m->{$_} for keys %$m;
	return $sum;
}

# (produced, stored, dropped, queued, spooled) of one scrape.
sub ledger {
	my $m = $d->metrics;

	return map { sum_of($m, "gamed_evidence_$_") }
		qw(produced_total stored_total dropped_total queued_rows
			spooled_rows);
}

# Waits until nothing is queued; checks the identity and the rows.
sub settles {
	my ($name) = @_;
	my ($produced, $stored, $dropped, $queued, $spooled);

	ok(Gamed::Daemon::eventually(sub {
		($produced, $stored, $dropped, $queued, $spooled) = ledger();
		return $queued + $spooled == 0;
	}), "$name: nothing is queued or spooled in the end");
	is($produced, $stored + $dropped, "$name: produced = stored + dropped");
	is($pg->psql('SELECT (SELECT count(*) FROM strategyexecutionlog) '
		. '+ (SELECT count(*) FROM logs WHERE module <> $$api_key$$) '
		. '+ (SELECT count(*) FROM apirequests)'),
		$stored, "$name: the tables hold what was stored");
	return ($produced, $stored, $dropped);
}

# Of a server that is not the first on its database.
sub settles_alone {
	my ($name) = @_;

	ok(Gamed::Daemon::eventually(sub {
		my (undef, undef, undef, $queued, $spooled) = ledger();
		return $queued + $spooled == 0;
	}), "$name: nothing is queued or spooled in the end");
}

$d = start();
$made = Gamed::Campaign->make($d, 'evidence');

subtest 'every failed run is stored with its trace' => sub {
	my $seen = award((0) x 20, (1, 2, 3, 4, 6, 12) x 5, 7);

	is_deeply($seen, { 200 => 30, 400 => 20, 422 => 1 },
		'awards, failures, a refusal');
	settles('undisturbed');
	is($pg->psql(q{SELECT count(*) FROM strategyexecutionlog
		WHERE status = 'error' AND reason = 'error' AND weight = 1
		AND NOT sampled AND "errorCode" = 'DSL_ARITH_DIV_BY_ZERO'
		AND trace->-1->>'nodeId' = 'divide'
		AND trace->-1->>'branch' = 'failed'
		AND fields->>'data.n' = '0' AND data->>'n' = '0'}),
		20, 'failed runs: reason, inputs, trace to the failing node');
	is($pg->psql(q{SELECT count(*) FROM strategyexecutionlog
		WHERE status = 'ok' AND sampled AND reason = 'sampled'
		AND weight = 1 AND "caseName" = 'Share'
		AND points = 12 / (data->>'n')::numeric}),
		30, 'successes: reason, weight, points');
	is($pg->psql(q{SELECT count(*) FROM strategyexecutionlog
		WHERE status = 'ok' AND reason = 'refused'
		AND data->>'n' = '7'}), 1, 'a result that was refused');
};

subtest 'gamectl shows a kept run' => sub {
	my ($rc, $out, $err) = $d->gamectl('trace', '--last', '--failed');

	is($rc, 0, 'exit status') or diag $err;
	like($out, qr/status ok .* kept because refused/, 'the newest failure');
	my $id = $pg->psql(q{SELECT id FROM strategyexecutionlog
		WHERE status = 'error' LIMIT 1});
	($rc, $out, $err) = $d->gamectl('trace', $id);
	like($out, qr/^run [0-9a-f-]{36} strategy share v1 status error DSL_ARITH_DIV_BY_ZERO/m,
		'the head');
	like($out, qr/^  rule share = true  match\n    when compare >= = true/m, 'the rule');
	like($out, qr/arith \/ = .*failed$/m, 'the node that failed');
};

subtest 'gamectl shows the awards of a user' => sub {
	my ($rc, $out, $err) = $d->gamectl('awards', '-n', 2, 'user_5');

	is($rc, 0, 'exit status') or diag $err;
	my @lines = split /^/m, $out;
	is(scalar @lines, 2, 'no more than asked for');
	like($lines[0], qr/^[0-9a-f-]{36}  \S+Z  1 points "Share"  game \S+  task \S+  strategy share v1  run kept$/,
		'what decided');
	($rc, my $run) = $d->gamectl('trace', $lines[0] =~ /^(\S+)/);
	like($run, qr/^run \S+ strategy share v1 status ok 1 points "Share"/,
		'the run has the id of the award');
	($rc, $out) = $d->gamectl('awards', 'user_5');
	is(scalar(() = $out =~ /\n/g), 5, 'all of them');
	($rc, $out) = $d->gamectl('awards', 'user_5', '--until', 'yesterday');
	is("$rc $out", '0 ', 'none of those days');
	($rc, $out, $err) = $d->gamectl('awards', 'user_5', '--since', 'nonsense');
	is($rc, 1, 'no time');
	like($err, qr/nonsense/, 'says so');
	($rc, $out, $err) = $d->gamectl('awards', 'nobody');
	is($rc, 1, 'no such user');
	is($err, "gamectl: there is no user nobody\n", 'says so');
};

subtest 'Postgres stops and starts' => sub {
	$pg->stop_immediate;
	my $seen = award(0, 0, 0);
	is($seen->{200} // 0, 0, 'no award without a database');
	$pg->start;
	ok(Gamed::Daemon::eventually(sub { (award(0)->{400} // 0) == 1 }),
		'runs again');
	settles('after the outage');
	is((ledger())[2], 0, 'nothing was dropped');
};

subtest 'the logger is killed' => sub {
	my ($pid) = $d->pids('logger');

	# its batch waits for a lock, so it holds rows when it dies
	my $lock = "LOCK TABLE strategyexecutionlog; SELECT pg_sleep(4)";
	my $waiter = fork // die "fork: $!";
	if ($waiter == 0) {
		$pg->psql_try("BEGIN; $lock; COMMIT");
		POSIX::_exit(0);
	}
	Gamed::Daemon::eventually(sub {
		$pg->psql(q{SELECT count(*) FROM pg_locks WHERE granted
			AND mode = 'AccessExclusiveLock'
			AND relation = 'strategyexecutionlog'::regclass}) > 0;
	});
	award((0) x 10);
	ok(Gamed::Daemon::eventually(sub {
		$d->metrics->{gamed_evidence_logger_rows} > 0;
	}), 'the logger holds rows');
	ok($d->kill(KILL => $pid), 'kill -9');
	award((0) x 5);
	waitpid $waiter, 0;
	ok(Gamed::Daemon::eventually(sub {
		my ($now) = $d->pids('logger');
		return $now && $now != $pid;
	}), 'a new logger is there');
	settles('after kill -9');
	is((ledger())[2], 0, 'nothing was dropped');
};

subtest 'a row that Postgres refuses' => sub {
	$pg->psql(q{ALTER TABLE strategyexecutionlog ADD CONSTRAINT no_six
		CHECK (data->>'n' <> '6') NOT VALID});
	my (undef, $stored, $dropped) = settles('before');
	award(1, 2, 6, 3, 4);
	my (undef, $stored2, $dropped2) = settles('after');
	is($stored2 - $stored, 4 + 5 + 5, 'its neighbours are stored, and the '
		. 'audit rows and requests of all five');
	is($dropped2 - $dropped, 1, 'it is counted');
	is($d->metrics->{'gamed_evidence_dropped_total'
		. '{class="sample",reason="db_rejected"}'},
		1, 'by class and reason');
	open my $f, '<', $d->dir . '/quarantine.jsonl' or die "quarantine: $!";
	my @lines = <$f>;
	is(scalar @lines, 1, 'one line in the quarantine file');
	my $line = JSON::PP::decode_json($lines[0]);
	is($line->{sqlstate}, '23514', 'with the reason');
	is($line->{row}{caseName}, 'Share', 'and the row');
	$pg->psql('ALTER TABLE strategyexecutionlog DROP CONSTRAINT no_six');
};

subtest 'a worker is killed, the server leaves' => sub {
	award((0) x 10);
	my ($pid) = $d->pids('worker');
	$d->kill(KILL => $pid);
	ok(Gamed::Daemon::eventually(sub {
		my ($now) = $d->pids('worker');
		return $now && $now != $pid && (award(0)->{400} // 0) == 1;
	}), 'a new worker serves');
	settles('after kill -9');
	award((0) x 5);
	my $rows = $pg->psql('SELECT count(*) FROM strategyexecutionlog');
	is($d->stop, 0, 'leaves');
	like($d->log, qr/logger leaves produced=(\d+) stored=\d+ dropped=\d+ spooled=0 queued=0/,
		'the last line of the logger');
	my ($p, $s, $x) = $d->log =~ /logger leaves produced=(\d+) stored=(\d+) dropped=(\d+)/;
	is($p, $s + $x, 'and it balances');
	cmp_ok($pg->psql('SELECT count(*) FROM strategyexecutionlog'), '>=',
		$rows, 'rows of the last moment are written out');
};

subtest 'what is masked is in no part of a row' => sub {
	$d = start('evidence.mask' => 'n');
	is_deeply(award(0, 3), { 200 => 1, 400 => 1 }, 'runs');
	ok(Gamed::Daemon::eventually(sub {
		(ledger())[1] >= 4;
	}), 'stored with their audit rows');
	my %row = map { split /=/, $_, 2 } split /\n/, $pg->psql(q{
		SELECT status || '=' || jsonb_build_array(data->'n',
			fields->'data.n', (SELECT jsonb_agg(t->'value')
				FROM jsonb_array_elements(trace) t))
		FROM strategyexecutionlog ORDER BY created_at DESC LIMIT 2});
	is($row{error}, '["***", "***", ["***", 0, true, true, 12, "***", "***"]]',
		'a failure: field, operands');
	is($row{ok}, '["***", "***", ["***", 0, true, true, 12, "***", "***", 4.0]]',
		'a success: field, what is made of it; the points stand');
	is($d->stop, 0, 'leaves');
};

subtest 'a row that found no room has no id' => sub {
	$d = Gamed::Daemon->start(from => $d,
		conf => { 'evidence.queue_max' => 1 });
	my ($logger) = $d->pids('logger');
	my $c = $made->client($d);
	my @ids;

	$d->kill(STOP => $logger);
	for (1 .. 3) {
		my $r = $c->post($made->awards,
			{ externalUserId => 'user', data => { n => 0 } });
		is($r->{status}, 400, 'a run fails');
		push @ids, grep { defined } $r->{headers}{'x-trace-id'};
	}
	$d->kill(CONT => $logger);
	settles_alone('after it');
	is($d->metrics->{'gamed_evidence_dropped_total'
		. '{class="error",reason="queue_max"}'}, 2, 'two were dropped');
	is(scalar @ids, 1, 'one id was given');
	is($pg->psql("SELECT count(*) FROM strategyexecutionlog WHERE id = '$_'"),
		1, 'and can be looked up') for @ids;
};

done_testing;
