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
use POSIX qw(WNOHANG);
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
my $last = time;
sub award {
	my ($n, $user, %headers) = @_;

	$client->close if time > $last + 10; # the server closes idle ones
	$last = time;
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

# Rows of about 1 kB, until somebody is behind; others read meanwhile.  Their
# number.
sub flood {
	my (@reading) = @_;
	my $missed = shown('missed');
	my $n = 0;

	while ($n < 10000) {
		my $status = award(0, 'u' x 60, 'X-Correlation-ID' => 'c' x 255);
		$status == 400 or BAIL_OUT("run $n: $status");
		$_->pump for @reading;
		last if ++$n % 20 == 0 && shown('missed') > $missed;
	}
	return $n;
}

subtest 'a reader that stops reading' => sub {
	my $before = rows();
	my $stopped = Gamed::Tail->new($d);
	my $reading = Gamed::Tail->new($d);
	my $missed = shown('missed');
	my $n = flood($reading);

	cmp_ok(shown('missed'), '>', $missed, 'runs are left out for it');
	my @seen = $stopped->take_until(sub { exists $_[0]{missed} });
	my $told = (pop @seen)->{missed};
	is(@seen + $told, $n, 'it is told how many it missed');
	my @all = $reading->take($n);
	is(scalar @all, $n, 'the other sees every run');
	is(shown('missed') - $missed, $told, '... as they were counted');
	is_deeply([ map { $_->{id} } @seen ],
		[ map { $_->{id} } @all[0 .. $#seen] ], 'it saw the first of them');
	award(3, 'after');
	my ($after) = $stopped->take(1);
	is($after->{externalUserId}, 'after', 'and goes on');
	$reading->take(1);
	settles('so far');
	is(rows() - $before, $n + 1, 'every run is kept once');

	# for good
	$n = flood($reading);
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

# gamectl tail, following.
sub follow {
	my (@args) = @_;
	my $readers = count('gamed_tail_readers');
	my %ctl = (err => $d->dir . '/tail.err');

	pipe my $out, my $in or die "pipe: $!";
	$ctl{pid} = fork // die "fork: $!";
	if ($ctl{pid} == 0) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>&', $in;
		open STDERR, '>', $ctl{err};
		exec "$Gamed::Daemon::BUILD/gamectl", '-c', $d->conf_path, 'tail',
			@args or POSIX::_exit(127);
	}
	$ctl{out} = $out;
	ok(Gamed::Daemon::eventually(sub {
		count('gamed_tail_readers') > $readers;
	}), "gamectl tail @args");
	return \%ctl;
}

sub ends {
	my ($ctl, $name) = @_;

	ok(Gamed::Daemon::eventually(sub { waitpid($ctl->{pid}, WNOHANG) }),
		"$name: ends");
	is($? & 127 ? "signal $?" : $? >> 8, 0, "$name: exit status");
	return Gamed::Daemon::_read($ctl->{err});
}

subtest 'gamectl tail' => sub {
	my $ctl = follow();

	award(3, 'fred', 'X-Correlation-ID' => 'c-5');
	like(readline $ctl->{out}, qr/^\S+Z  [0-9a-f-]{36}  4 points "Share"  game tail  task measure  user fred  strategy \Q$made->{strategy}\E v1  [\d.e-]+ ms  correlation c-5$/,
		'an award');
	award(0, 'fred');
	like(readline $ctl->{out}, qr/^\S+Z  [0-9a-f-]{36}  error DSL_ARITH_DIV_BY_ZERO  game tail .* ms  correlation \S+  \S/,
		'a failure, and why');
	award(7, 'fred');
	like(readline $ctl->{out}, qr/  1[.]\d+ points "Share" refused  /,
		'an award that was refused');
	award(3, 'fred', 'X-Correlation-ID' => 'c-6');
	is((readline $ctl->{out}) =~ tr/\n\x20-\x7e//c, 0, 'plain text');
	kill INT => $ctl->{pid};
	is(ends($ctl, 'interrupted'), '', 'it has nothing to say');
};

subtest 'gamectl tail with filters' => sub {
	my $ctl = follow('--json', '--strategy', "custom:$made->{strategy}",
		'--status', 'error', '--user', 'gina', '--correlation', 'c-7',
		'--game', 'tail', '--task', 'measure', '-n', 2);
	my $case = follow('--json', '--case', 'Share', '-n', 1);

	for (1 .. 2) {
		award(0, 'gina');
		award(0, 'hugo', 'X-Correlation-ID' => 'c-7');
		award(3, 'gina', 'X-Correlation-ID' => 'c-7');
		award(0, 'gina', 'X-Correlation-ID' => 'c-7');
	}
	my @runs = map { JSON::PP::decode_json($_) } readline $ctl->{out};
	is_deeply([ map { "$_->{status} $_->{externalUserId} $_->{correlationId}" }
		@runs ], [ ('error gina c-7') x 2 ], 'those that match');
	ends($ctl, 'with a count');
	my ($run) = map { JSON::PP::decode_json($_) } readline $case->{out};
	is($run->{caseName}, 'Share', 'by case');
	ends($case, 'with a count');
	for my $bad ([ '--strategy', 'x' ], [ '--status', 'good' ], [ '-n', 0 ],
		['x']) {
		my ($rc, $out) = $d->gamectl('tail', @$bad);
		is("$rc $out", '2 ', "wrong: @$bad");
	}
};

subtest 'gamectl tail without a reader' => sub {
	my $ctl = follow();

	close $ctl->{out};
	is(ends($ctl, 'nobody reads'), '', 'it has nothing to say');
};

subtest 'gamectl tail, stopped' => sub {
	my $before = rows();
	my $ctl = follow('--json');

	kill STOP => $ctl->{pid};
	my $n = flood();
	settles('meanwhile');
	is(rows() - $before, $n, 'every run is kept once');
	kill CONT => $ctl->{pid};
	my ($seen, $missed) = (0, undef);
	while (!defined $missed && defined(my $line = readline $ctl->{out})) {
		$missed = JSON::PP::decode_json($line)->{missed};
		$seen++ unless defined $missed;
	}
	is($seen + ($missed // 0), $n, "it saw $seen and was told of the rest");
	kill TERM => $ctl->{pid};
	ends($ctl, 'asked to leave');
};

subtest 'gamectl tail without HTTP and Postgres' => sub {
	my $ctl = follow('--json', '--user', 'iris');
	my ($worker) = $d->pids('worker');
	my $status = 0;

	# what a run needs is cached for some seconds
	for (1 .. 10) {
		Gamed::Daemon::eventually(sub { award(0) == 400 });
		$pg->stop_immediate;
		$status = award(0, 'iris');
		last if $status == 400;
		$pg->start;
	}
	is($status, 400, 'a run without Postgres');
	like(readline $ctl->{out}, qr/"externalUserId":"iris"/, 'is seen');
	$d->kill(STOP => $worker);
	my $other = follow('--json', '--user', 'iris');
	is(($d->gamectl('ledger'))[0], 0, 'the books balance');
	$d->kill(CONT => $worker);
	$pg->start;
	ok(Gamed::Daemon::eventually(sub { award(0, 'iris') == 400 }),
		'all is back');
	for ($ctl, $other) {
		like(readline $_->{out}, qr/"externalUserId":"iris"/,
			'and so is the tail');
		kill INT => $_->{pid};
		ends($_, 'interrupted');
	}
};

subtest 'gamectl tail outlives the logger' => sub {
	my $ctl = follow('--json', '-n', 1);
	my ($pid) = $d->pids('logger');

	$d->kill(KILL => $pid);
	ok(Gamed::Daemon::eventually(sub {
		my ($now) = $d->pids('logger');
		return $now && $now != $pid && count('gamed_tail_readers') == 1;
	}), 'it comes back');
	award(0, 'kate');
	like(readline $ctl->{out}, qr/"externalUserId":"kate"/, 'and sees runs');
	like(ends($ctl, 'with a count'),
		qr/^gamectl: the logger is gone; connecting again$/, 'it says so');
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
	my $ctl = follow('--json', '--user', 'lena', '-n', 1);
	my $stopped = Gamed::Tail->new($d);
	flood();
	my $t = Gamed::Tail->new($d);

	is($d->stop, 0, 'it does');
	is_deeply([ $t->take(1) ], [ { end => 'shutdown' } ],
		'a reader is told why');
	ok(!-e $d->dir . '/tail.sock', 'the socket is gone');
	my ($rc, $out, $err) = $d->gamectl('tail');
	is("$rc $out", '1 ', 'gamectl tail without a server');
	like($err, qr/^gamectl: gamed does not run/, 'says so');
	$d = Gamed::Daemon->start(from => $d);
	ok(Gamed::Daemon::eventually(sub { count('gamed_tail_readers') == 1 }),
		'one that was there waits for the next server');
	$client = $made->client($d);
	award(0, 'lena');
	like(readline $ctl->{out}, qr/"externalUserId":"lena"/, 'and sees runs');
	like(ends($ctl, 'with a count'),
		qr/^gamectl: the server leaves; connecting again$/, 'it says so');
	is($d->stop, 0, 'the next server leaves');
};

done_testing;
