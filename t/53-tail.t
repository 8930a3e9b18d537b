#!/usr/bin/perl
# The live tail of kept runs: every filter, nothing paid when nobody listens,
# readers that stop reading, and processes that die under it.  Whatever readers
# do, the rows of evidence are those that were produced, by the numbers of the
# scrape and by the rows of the table.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use List::Util qw(sum0);
use Test::More;

use Gamed::Campaign;
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;
use Gamed::Tail;

my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'server.workers' => 1,
	'evidence.sample_rate' => '1.0',
	'evidence.batch_ms' => 20,
	'evidence.queue_max' => 20000,
	'http.access_log' => 'false',
});
my $made = Gamed::Campaign->make($d, 'tail');
my $client = $made->client($d);

# An award of 12 / n; n of 0 fails.
sub award {
	my ($n, $user, %headers) = @_;

	return $client->post($made->awards,
		{ externalUserId => $user // 'ann', data => { n => $n } },
		%headers)->{status};
}

sub count { return $d->metrics->{ $_[0] } }
sub shown { return count("gamed_tail_rows_total{result=\"$_[0]\"}") }
sub rows { return $pg->psql('select count(*) from strategyexecutionlog') }

# True: produced = stored + spooled + queued + dropped, now.
sub balances {
	my ($rc, $out) = $d->gamectl('ledger', '--json');

	diag $out if $rc;
	return $rc == 0;
}

# All rows are in the tables in the end, none was dropped, none is double.
sub settles {
	my ($name) = @_;
	my %sum;

	ok(balances(), "$name: the books balance");
	ok(Gamed::Daemon::eventually(sub {
		my $m = $d->metrics;
		%sum = ();
		/^gamed_evidence_(\w+)\{class="(?:error|sample)"/
			and $sum{$1} += $m->{$_} for keys %$m;
		return $sum{queued_rows} + $sum{spooled_rows} == 0;
	}), "$name: nothing is queued or spooled in the end");
	is($sum{dropped_total}, 0, "$name: nothing was dropped");
	is($sum{stored_total}, $sum{produced_total}, "$name: all is stored");
	is(rows(), $sum{stored_total}, "$name: the table holds what was stored");
	return;
}

subtest 'nobody listens' => sub {
	award($_ % 4) for 1 .. 20;
	settles('twenty runs');
	is(count('gamed_tail_serialised_total'), 0, 'no run was written out');
	is(count('gamed_tail_readers'), 0, 'there are no readers');
};

subtest 'runs as they arrive' => sub {
	my $all = Gamed::Tail->new($d);
	my $none = Gamed::Tail->new($d, externalUserId => 'nobody');

	is(count('gamed_tail_readers'), 2, 'two readers');
	is(award(3, 'bob', 'X-Correlation-ID' => 'c-1'), 200, 'an award');
	is(award(0, 'bob', 'X-Correlation-ID' => 'c-2'), 400, 'a failure');
	my ($paid, $failed) = $all->take(2);
	is("$paid->{status} $paid->{points} $paid->{caseName}", 'ok 4 Share',
		'what was paid') or diag explain $paid;
	is("$failed->{status} $failed->{errorCode}",
		'error DSL_ARITH_DIV_BY_ZERO', 'what failed');
	settles('two more');
	for my $run ($paid, $failed) {
		my $kept = $client->get("/api/v1/strategies/custom/"
			. "$made->{strategy}/executions"
			. "?correlationId=$run->{correlationId}")->{json}{items}[0];
		my %shown = %$run;
		like(delete $shown{realmId}, qr/./, 'its realm');
		is_deeply(\%shown, $kept, 'as it is listed later')
			or diag explain [ \%shown, $kept ];
	}
	is(count('gamed_tail_serialised_total'), 2, 'once for all readers');
	is(shown('sent'), 2, 'for those that asked for it');
	$none->pump;
	is_deeply($none->{lines}, [], 'nothing for the other');
};
ok(Gamed::Daemon::eventually(sub { count('gamed_tail_readers') == 0 }),
	'readers that leave are forgotten');

subtest 'filters' => sub {
	my %is = (
		strategyId => $made->{strategy},
		realmId => $pg->psql('select distinct "realmId" '
			. 'from strategydefinition'),
		externalGameId => 'tail',
		externalTaskId => 'measure',
		externalUserId => 'carl',
		status => 'ok',
		caseName => 'Share',
		correlationId => 'c-3',
	);
	my %takes = map { $_ => Gamed::Tail->new($d, $_ => $is{$_}) } keys %is;
	my %leaves = map { $_ => Gamed::Tail->new($d, %is, $_ => 'else') } keys %is;
	my $all = Gamed::Tail->new($d, %is);

	award(1, 'carl', 'X-Correlation-ID' => 'c-3');
	for my $key (sort keys %is) {
		my ($run) = $takes{$key}->take(1);
		is($run->{$key}, $is{$key}, "$key takes it");
	}
	is(scalar(my @run = $all->take(1)), 1, 'all together take it');
	$_->pump for values %leaves;
	is_deeply([ grep { @{ $leaves{$_}{lines} } } sort keys %leaves ], [],
		'each alone leaves it');
	award(0, 'dora', 'X-Correlation-ID' => 'c-4');
	my ($run) = Gamed::Tail::take($takes{externalGameId}, 1);
	is($run->{externalUserId}, 'dora', 'another run');
	$_->pump for @takes{qw(caseName status externalUserId correlationId)};
	is_deeply([ map { scalar @{ $_->{lines} } }
		@takes{qw(caseName status externalUserId correlationId)} ],
		[ 0, 0, 0, 0 ], 'whose case, status, user and correlation differ');
};

subtest 'what is no filter' => sub {
	for ([ 'x', 'json_invalid' ], [ '[]', 'filter_not_object' ],
		[ '{"user":"u"}', 'unknown_member' ],
		[ '{"status":1}', 'member_not_string' ],
		[ '{"status":"\u0000"}', 'json_invalid' ],
		[ 'x' x 9000, 'filter_too_long' ]) {
		my ($line, $code) = @$_;
		my $t = Gamed::Tail->connect($d)->say($line);
		my ($answer) = $t->take(1);
		is($answer->{error}{code}, $code, substr $line, 0, 20);
		like($answer->{error}{message}, qr/filter/, '... says what');
		is_deeply([ $t->take(1) ], [], '... and nothing else');
		ok($t->ended, '... the end');
	}
};

subtest 'no more readers than there may be' => sub {
	my @readers = map { Gamed::Tail->new($d) } 1 .. 32;
	my ($answer) = Gamed::Tail->connect($d)->say('{}')->take(1);

	is($answer->{error}{code}, 'too_many_readers', 'the 33rd');
	pop @readers;
	ok(Gamed::Daemon::eventually(sub { count('gamed_tail_readers') == 31 }),
		'one leaves');
	my $late = Gamed::Tail->new($d);
	award(0);
	is(scalar(grep { $_->take(1) } @readers, $late), 32, 'all see a run');
};

# Rows of about 1 kB; others read meanwhile.
sub flood {
	my ($n, @reading) = @_;

	for my $i (1 .. $n) {
		my $status = award(0, 'u' x 60, 'X-Correlation-ID' => 'c' x 255);
		$status == 400 or BAIL_OUT("run $i: $status");
		$_->pump for @reading;
	}
	return;
}

subtest 'a reader that stops reading' => sub {
	my $before = rows();
	my $stopped = Gamed::Tail->new($d);
	my $reading = Gamed::Tail->new($d);
	my $missed = shown('missed');
	my $n = 2000;

	flood($n, $reading);
	my @all = $reading->take($n);
	is(scalar @all, $n, 'the other sees every run');
	cmp_ok(shown('missed'), '>', $missed, 'runs are left out for it');
	settles('meanwhile');
	is(rows() - $before, $n, 'every run is kept once');

	my @seen = $stopped->take_until(sub { exists $_[0]{missed} });
	my $told = (pop @seen)->{missed};
	is(@seen + $told, $n, 'it is told how many it missed');
	is(shown('missed') - $missed, $told, '... as they were counted');
	is_deeply([ map { $_->{id} } @seen ],
		[ map { $_->{id} } @all[0 .. $#seen] ], 'it saw the first of them');
	award(3, 'after');
	my ($after) = $stopped->take(1);
	is($after->{externalUserId}, 'after', 'and goes on');
	$reading->take(1);

	# for good
	flood($n, $reading);
	my $cut = count('gamed_tail_cut_total');
	ok(Gamed::Daemon::eventually(sub { count('gamed_tail_cut_total') > $cut }),
		'one that stays behind is cut off');
	award(3, 'later');
	is(scalar(@all = $reading->take($n + 1)), $n + 1, 'the other sees every run');
	@seen = $stopped->take_until(sub { exists $_[0]{end} });
	is_deeply(pop @seen, { end => 'late' }, 'it is told why');
	$told = (pop @seen)->{missed};
	is(@seen + $told, $n, '... and how many it missed until then');
	$stopped->take(1);
	ok($stopped->ended, '... the end');
	settles('in the end');
};

subtest 'the logger is killed' => sub {
	my $t = Gamed::Tail->new($d);
	my ($pid) = $d->pids('logger');

	$d->kill(KILL => $pid);
	is_deeply([ $t->take(1) ], [], 'nothing more comes');
	ok($t->ended, 'the reader sees the end');
	$t = Gamed::Tail->new($d);
	award(0, 'eve');
	my ($run) = $t->take(1);
	is($run->{externalUserId}, 'eve', 'the next logger shows runs');
	settles('after kill -9');
};

subtest 'the server leaves' => sub {
	my $stopped = Gamed::Tail->new($d);
	flood(2000);
	my $t = Gamed::Tail->new($d);

	is($d->stop, 0, 'it does');
	is_deeply([ $t->take(1) ], [ { end => 'shutdown' } ],
		'a reader is told why');
	ok(!-e $d->dir . '/tail.sock', 'the socket is gone');
};

done_testing;
