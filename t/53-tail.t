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
use Gamed::Stream;
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

# Postgres is up again, and nothing is served for being cached.
sub database_is_back {
	return Gamed::Daemon::eventually(sub {
		return award(3, 'back') == 200 && $client->get(
			"/api/v1/strategies/custom/$made->{strategy}/executions"
			)->{status} == 200;
	});
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

# Rows of about 1 kB, until the metric says that somebody is behind; others
# read meanwhile.  Their number.
sub flood_until {
	my ($metric, @reading) = @_;
	my $missed = count($metric);
	my $n = 0;

	while ($n < 30000) {
		my $status = award(0, 'u' x 60, 'X-Correlation-ID' => 'c' x 255);
		$status == 400 or BAIL_OUT("run $n: $status");
		$_->pump for @reading;
		last if ++$n % 20 == 0 && count($metric) > $missed;
	}
	return $n;
}

sub flood { return flood_until('gamed_tail_rows_total{result="missed"}', @_) }

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
	ok(database_is_back(), 'all is back');
	is(award(0, 'iris'), 400, 'a run');
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

my $runs = "/api/v1/strategies/custom/$made->{strategy}/executions";

sub stream {
	my ($query) = @_;

	return Gamed::Stream->new($d,
		"$runs/stream" . ($query ? "?$query" : ''), $made->{key});
}

sub no_streams {
	return Gamed::Daemon::eventually(sub {
		count('gamed_tail_streams') + count('gamed_tail_readers') == 0;
	});
}

subtest 'a stream of the API' => sub {
	my $s = stream();
	my $quiet = stream('externalUserId=nobody');
	my $t = Gamed::Tail->new($d);

	is($s->status, 200, 'is there');
	like($s->{head}, qr{^Content-Type: text/event-stream\r?$}m, 'of events');
	like($s->{head}, qr{^Cache-Control: no-store\r?$}m, 'not to be kept');
	is($s->{retry}, 1000, 'a client that loses it comes back soon');
	is(count('gamed_tail_streams'), 2, 'both are counted');
	award($_, 'mona') for 3, 0;
	my @runs = $t->take(2);
	is_deeply([ $s->take(2) ], [ map { { event => 'execution',
		id => $_->{id}, data => $_ } } @runs ], 'runs as they arrive');
	my $kept;
	Gamed::Daemon::eventually(sub {
		$kept = $client->get("$runs/$runs[1]{id}")->{json};
		return $kept->{id};
	});
	is($kept->{externalUserId}, 'mona', 'the id finds the run');
	ok(Gamed::Daemon::eventually(sub {
		$quiet->pump;
		return $quiet->{comments} > 1;
	}), 'a quiet one has a sign of life');
	is_deeply($quiet->{events}, [], '... and nothing else');
	$_->close for $s, $quiet;
	undef $t;
	ok(no_streams(), 'clients that leave are forgotten, here and there');
};

subtest 'filters of a stream' => sub {
	my %is = (status => 'error', externalUserId => 'nina',
		correlationId => 'c-8');
	my %s = map { $_ => stream("$_=$is{$_}") } keys %is;
	my $case = stream('caseName=Share');

	award(0, 'otto');
	award(3, 'otto', 'X-Correlation-ID' => 'c-8');
	award(3, 'nina');
	award(0, 'nina', 'X-Correlation-ID' => 'c-8');
	my $seen = sub {
		return join ' ', map { "$_->{data}{externalUserId}"
			. ($_->{data}{points} // 'x') } @_;
	};
	is($seen->($s{status}->take(2)), 'ottox ninax', 'status');
	is($seen->($s{externalUserId}->take(2)), 'nina4 ninax', 'user');
	is($seen->($s{correlationId}->take(2)), 'otto4 ninax', 'correlation');
	is($seen->($case->take(2)), 'otto4 nina4', 'case');
	is(stream('status=good')->status, 422, 'no status');
};
ok(no_streams(), 'none is left');

subtest 'who may have a stream' => sub {
	my ($rc, $key) = $d->gamectl('apikey', 'create', '--client', 'stranger');
	chomp $key;
	my $stranger = Gamed::Client->new(port => $d->port, key => $key);
	my $own = must($stranger->post('/api/v1/strategies/custom',
		{ name => 'own' }), 'a strategy')->{id};
	my $path = "/api/v1/strategies/custom/%s/executions/stream";
	my $theirs = Gamed::Stream->new($d, sprintf($path, $own), $key);
	my $all = Gamed::Stream->new($d, sprintf($path, $own), $made->{key});
	my $s = stream();

	is($theirs->status, 200, 'of a strategy of its own');
	is(Gamed::Stream->new($d, "$runs/stream", $key)->status, 404,
		'not of another realm');
	is(Gamed::Stream->new($d, "$runs/stream")->status, 403, 'nobody');
	is(Gamed::Stream->new($d, sprintf($path, $_), $made->{key})->status, 404,
		"no strategy: $_") for 'x', '00000000-0000-0000-0000-000000000000';
	is($all->status, 200, 'an admin');
	award(0, 'paul');
	is(($s->take(1))[0]{data}{externalUserId}, 'paul', 'a run');
	$_->pump for $theirs, $all;
	is_deeply([ map { @{ $_->{events} } } $theirs, $all ], [],
		'is not seen by who follows another strategy');
	my @more = map { stream() } 1 .. 5;
	my $late = stream();
	is($late->status, 503, 'no more of them than a worker may have');
	like($late->{head}, qr/^Retry-After: \d/m, '... try again');
	pop @more;
	ok(Gamed::Daemon::eventually(sub { stream()->status == 200 }),
		'... when one has left');
};
ok(no_streams(), 'none is left');

subtest 'a client of a stream that stops reading' => sub {
	my $before = rows();
	my ($stopped, $reading) = (stream(), stream());
	my $t = Gamed::Tail->new($d);
	my $metric = 'gamed_tail_stream_rows_total{result="missed"}';
	my $missed = count($metric);
	my $n = flood_until($metric, $reading, $t);

	cmp_ok(count($metric), '>', $missed, 'runs are left out for it');
	my @seen = $stopped->take_until('missed');
	my $told = (pop @seen)->{data}{missed};
	is(@seen + $told, $n, 'it is told how many it missed');
	is(count($metric) - $missed, $told, '... as they were counted');
	is(scalar(my @all = $reading->take($n)), $n, 'the other sees every run');
	is(scalar(my @tail = $t->take($n)), $n, 'so does gamectl');
	is_deeply([ map { $_->{id} } @seen ],
		[ map { $_->{id} } @all[0 .. $#seen] ], 'it saw the first of them');
	award(3, 'quinn');
	is(($stopped->take(1))[0]{data}{externalUserId}, 'quinn', 'and goes on');
	settles('so far');
	is(rows() - $before, $n + 1, 'every run is kept once');
	$reading->close;

	# for good
	my $cut = count('gamed_tail_streams_cut_total');
	$n = flood_until($metric, $t);
	ok(Gamed::Daemon::eventually(sub {
		count('gamed_tail_streams_cut_total') > $cut;
	}), 'one that stays behind is cut off');
	@seen = $stopped->take_until('end');
	is((pop @seen)->{data}{end}, 'late', 'it is told why');
	is((pop @seen)->{data}{missed} + @seen, $n,
		'... and how many it missed until then');
	$stopped->take(1);
	is($stopped->{ended}, 'whole', '... the end');
	settles('in the end');
};
ok(no_streams(), 'none is left');

subtest 'streams, the logger and a reload' => sub {
	my $s = stream();
	my ($pid) = $d->pids('logger');

	$d->kill(KILL => $pid);
	is_deeply([ $s->take(1) ], [ { event => 'end',
		data => { end => 'logger' } } ], 'the logger dies: it is told');
	$s->take(1);
	is($s->{ended}, 'whole', '... the end');
	ok(Gamed::Daemon::eventually(sub {
		$s = stream();
		return $s->status == 200;
	}), 'it may come back');
	award(0, 'rita');
	is(($s->take(1))[0]{data}{externalUserId}, 'rita', '... and sees runs');
	my ($worker) = $d->pids('worker');
	$d->reload;
	is_deeply([ $s->take(1) ], [ { event => 'end',
		data => { end => 'shutdown' } } ], 'a reload: it is told');
	ok(Gamed::Daemon::eventually(sub {
		return !Gamed::Daemon::process_runs($worker);
	}), 'the old worker leaves');
	$client->close;
	$s = stream();
	award(0, 'sven');
	is(($s->take(1))[0]{data}{externalUserId}, 'sven', 'the new one has one');
	$s = stream('externalUserId=toni');
	$pg->stop_immediate;
	is(stream()->status, 503, 'without Postgres there is no new one');
	$pg->start;
	ok(database_is_back(), 'it is back');
	award(0, 'toni');
	is(($s->take(1))[0]{data}{externalUserId}, 'toni',
		'a stream outlives Postgres');
};
ok(no_streams(), 'none is left');

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
	my $behind = stream();
	flood_until('gamed_tail_stream_rows_total{result="missed"}', $t);
	my $s = stream();
	$t = Gamed::Tail->new($d);

	is($d->stop, 0, 'it does');
	unlike($d->log, qr/drain deadline passed/, 'soon');
	is_deeply([ $s->take(1) ], [ { event => 'end',
		data => { end => 'shutdown' } } ], 'the client of a stream is told');
	$behind->take_until('end');
	is($behind->{ended}, 'cut', 'nobody waits for one that is behind');
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
