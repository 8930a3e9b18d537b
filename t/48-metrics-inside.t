#!/usr/bin/perl
# What a scrape says of the inside of the server: queues and the most they
# held, the lag of a loop, the caches, the jobs of the database
# (observability.md 1.6).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

my $pg = Gamed::Postgres->new;
# one worker, so that its queues are those of the server
my $d = Gamed::Daemon->start(pg => $pg, conf => { 'server.workers' => 1,
	'evidence.sample_rate' => 1, 'audit.enabled' => 'false' });

sub eventually { return Gamed::Daemon::eventually(@_) }

# What the admin socket says is no scrape and takes nothing away.
sub look {
	return { map { /^(\S+(?:\{.*\})?) (\S+)$/ ? ($1 => $2) : () }
		$d->admin('metrics') };
}

sub key {
	my ($rc, $out, $err) = $d->gamectl('apikey', 'create', '--client', @_);
	die "apikey create: $err" if $rc;
	chomp $out;
	return $out;
}
my $key = key('inside');
my $c = Gamed::Client->new(port => $d->port, key => $key);
my $V = '/api/v1';
my $r = $c->post("$V/strategies/custom", { name => 'inside', astJson => {
	type => 'program', id => 'p', rules => [], default => {
		type => 'assign_points', id => 'give', case_name => 'Five',
		value => { type => 'literal', value => 5 } } } });
is($r->{status}, 201, 'a strategy') or diag $r->{body};
my $id = $r->{json}{id};
is(Gamed::Client->new(port => $d->port, key => key('admin', '--admin'))
	->post("$V/strategies/custom/$id/publish")->{status}, 200, 'published');
$r = $c->post("$V/games", { externalGameId => 'inside-game',
	platform => 'web' });
my $game = $r->{json}{gameId};
$r = $c->post("$V/games/$game/tasks",
	{ externalTaskId => 'inside-task', strategyId => "custom:$id" });
is($r->{status}, 200, 'a task') or die $r->{body};

sub award {
	my ($user, $client) = @_;
	$r = ($client // $c)->post("$V/games/$game/tasks/inside-task/points",
		{ externalUserId => $user, data => {} });
	diag $r->{body} if $r->{status} != 200;
	return $r->{status};
}
is(award('first'), 200, 'an award');

my $queue = 'gamed_queue_length{queue="award"}';
my $most = 'gamed_queue_length_max{queue="award"}';

subtest 'a queue and the most it held since the last scrape' => sub {
	$d->metrics;
	is(look()->{$most}, 0, 'nobody waited');
	my $lock = $pg->background(<<'SQL');
begin;
select w.id from wallet w join users u on u.id = w."userId"
where u."externalUserId" = 'first' for update of w;
select pg_sleep(1000);
SQL
	ok(eventually(sub {
		$pg->psql(q(select count(*) from pg_stat_activity where
			query like '%pg_sleep(1000)%' and wait_event = 'PgSleep')) > 0;
	}), 'the wallet is locked');
	# each over a connection of its own; nobody reads the answers yet
	my @waiting = map { Gamed::Client->new(port => $d->port, key => $key) }
		1 .. 6;
	my $body = JSON::PP::encode_json({ externalUserId => 'first', data => {} });
	for my $w (@waiting) {
		my $s = $w->_socket;
		print {$s} "POST $V/games/$game/tasks/inside-task/points HTTP/1.1\r\n"
			. "Host: x\r\nX-API-Key: $key\r\n"
			. "Content-Type: application/json\r\nContent-Length: "
			. length($body) . "\r\n\r\n$body";
	}
	ok(eventually(sub { look()->{$most} >= 1 }), 'some wait');
	undef $lock;
	is($_->_answer('POST')->{status} =~ /^(?:200|503)$/, 1, 'answered')
		for @waiting;
	ok(eventually(sub { look()->{$queue} == 0 }), 'nobody waits');
	cmp_ok(look()->{$most}, '>=', 1, 'what is no scrape takes nothing');
	my $s = $d->metrics;
	is($s->{$queue}, 0, 'a scrape: nobody waits');
	cmp_ok($s->{$most}, '>=', 1, 'but somebody did');
	is($d->metrics->{$most}, 0, 'not since the last scrape');
};

subtest 'the queue of the logger' => sub {
	my $rows = 'gamed_queue_length_max{queue="logger"}';
	ok(eventually(sub { $d->metrics; look()->{$rows} == 0 }), 'at rest');
	is(award('second'), 200, 'an award that leaves a row');
	ok(eventually(sub { look()->{$rows} >= 1 }), 'it went through the logger');
	ok(eventually(sub { $d->metrics->{'gamed_queue_length{queue="logger"}'} == 0 }),
		'and left');
};

subtest 'the lag of a loop that was held up' => sub {
	my ($worker) = $d->pids('worker');
	my $slot;

	$d->metrics;
	$d->kill(STOP => $worker);
	ok(eventually(sub {
		my ($p) = grep { $_->{kind} eq 'process' && $_->{pid} == $worker }
			map { JSON::PP::decode_json($_) } $d->admin('status');
		$slot = $p->{slot};
		return $p->{heartbeat_age_ms} > 2500;
	}), 'it stands still for a while');
	$d->kill(CONT => $worker);
	my $max = "gamed_loop_lag_max_seconds{slot=\"$slot\"}";
	ok(eventually(sub { look()->{$max} >= 1 }), 'the scrape knows for how long');
	my $s = $d->metrics;
	cmp_ok($s->{$max}, '<', 30, 'in seconds');
	cmp_ok($s->{gamed_loop_lag_seconds_count}
			- $s->{'gamed_loop_lag_seconds_bucket{le="1.0"}'}, '>=', 1,
		'the histogram too');
	cmp_ok($d->metrics->{$max}, '<', $s->{$max}, 'the next has forgotten');
};

subtest 'caches' => sub {
	my $hits = 'gamed_cache_lookups_total{cache="program",result="hit"}';
	my $misses = 'gamed_cache_lookups_total{cache="program",result="miss"}';
	my $before = $d->metrics;

	is(award('third'), 200, 'an award') for 1 .. 5;
	my $s = $d->metrics;
	is($s->{$hits} + $s->{$misses} - $before->{$hits} - $before->{$misses}, 5,
		'each looks once for its program');
	cmp_ok($s->{$hits}, '>', $before->{$hits}, 'some find it');
	is($s->{'gamed_cache_entries{cache="program"}'}, 1, 'there is one');
	is($s->{'gamed_cache_entries{cache="task"}'}, 1, 'and one task');
	my $bytes = $s->{'gamed_cache_bytes{cache="program"}'};
	cmp_ok($bytes, '>', 100, 'a program has bytes');
	cmp_ok($bytes, '<', 10000, 'not many');
	cmp_ok($s->{gamed_program_compiles_total}, '>=', 1, 'compiled');
	$pg->psql("update strategydefinition set updated_at = now() where id = '$id'");
	ok(eventually(sub {
		award('third');
		$d->metrics->{$misses} > $s->{$misses};
	}), 'a change in the database makes it miss');
	ok(eventually(sub { $d->metrics->{gamed_program_compiles_total}
			> $s->{gamed_program_compiles_total} }), 'and compile');
};

subtest 'jobs of the database' => sub {
	my $ok = 'gamed_db_jobs_total{lane="write",outcome="ok"}';
	my $before = $d->metrics;

	is(award('fourth'), 200, 'an award');
	my $s = $d->metrics;
	cmp_ok($s->{$ok}, '>', $before->{$ok}, 'one more is done');
	for my $lane (qw(read write long)) {
		my $jobs = 0;
		$jobs += $s->{"gamed_db_jobs_total{lane=\"$lane\",outcome=\"$_\"}"}
			for qw(ok sql_error timeout lost unavailable);
		is($s->{"gamed_db_job_seconds_count{lane=\"$lane\"}"}, $jobs,
			"$lane: as many times as jobs");
		cmp_ok($s->{"gamed_db_wait_seconds_count{lane=\"$lane\"}"}, '<=',
			$jobs, "$lane: and not more waits");
	}
	cmp_ok($s->{'gamed_db_job_seconds_sum{lane="write"}'}, '>', 0, 'it took time');
	$pg->stop;
	ok(eventually(sub {
		my $now = $d->metrics;
		$now->{gamed_db_connections_lost_total} >= 6
			&& $now->{'gamed_db_connects_total{result="failed"}'} >= 1;
	}), 'without Postgres: lost, and tried again');
	$r = $c->get("$V/games");
	is($r->{status}, 503, 'a request without it');
	my $failed = 0;
	my $now = $d->metrics;
	$failed += $now->{"gamed_db_jobs_total{lane=\"read\",outcome=\"$_\"}"}
		for qw(lost unavailable timeout);
	cmp_ok($failed, '>=', 1, 'is counted');
	my $up = 'gamed_db_connects_total{result="up"}';
	$pg->start;
	ok(eventually(sub { $d->metrics->{$up} > $s->{$up} }), 'back');
};

subtest 'when processes started' => sub {
	my $start = sub {
		my ($role) = @_;
		my $s = $d->metrics;
		my ($name) = grep { /^gamed_process_start_time_seconds\{role="$role"/ }
			keys %$s;
		return $s->{ $name // '' } // 0;
	};
	my $first = $start->('worker');

	cmp_ok(abs(time - $first), '<', 600, 'a moment ago');
	is($start->('worker'), $first, 'two scrapes agree to the bit');
	$d->kill(KILL => $d->pids('worker'));
	ok(eventually(sub { $start->('worker') > $first }), 'a successor later');
	is($start->('master') <= $first, 1, 'the master before');
};

$d->stop;
done_testing;
