#!/usr/bin/perl
# Postgres stopped, crashed, short of connections, its backends killed, a row
# locked by somebody else: under constant load (DESIGN 1.3; hardening L1, L2,
# L5, P2 to P4).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(time sleep);

use Gamed::Client;
use Gamed::Daemon;
use Gamed::Judge;
use Gamed::Load;
use Gamed::Postgres;

my $LONG = $ENV{GAMED_LONG} ? 1 : 0;
my $ROUNDS = $LONG ? 5 : 1;
my $pg = Gamed::Postgres->new(max_wal_senders => 0, wal_level => 'minimal',
	max_connections => 40);
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'http.access_log' => 'false',
	'evidence.sample_rate' => 1,
	'evidence.queue_max' => 100000,
});
my $place = Gamed::Load->campaign($d);
my $judge = Gamed::Judge->new($d);
my $prefix = 'a';

sub load_starts {
	my $load = Gamed::Load->start($d, $place, prefix => $prefix++,
		seed => 23, @_);

	ok($load->await_calls(100), 'load is on');
	return $load;
}

# Each worker tries by itself, at the longest after 5 s and 20 %: one may serve
# while the other's clients still wait.
sub all_back {
	return ok(Gamed::Daemon::eventually(sub {
		$pg->psql(q(select count(*) from pg_stat_activity
			where application_name like 'game-worker%')) == 12;
	}), 'all connections are back');
}

# Down for a while; then it must be as before.
sub outage {
	my ($stop, $seconds) = @_;

	$pg->$stop;
	ok(Gamed::Daemon::eventually(sub {
		$d->http(GET => '/readyz')->{status} == 503;
	}), '/readyz turns 503');
	is($d->http(GET => '/livez')->{status}, 200, '/livez stays 200');
	$judge->watch($seconds);
	$pg->start;
	return all_back();
}

for my $stop (qw(stop stop_immediate)) {
	my $name = $stop eq 'stop' ? 'Postgres is stopped fast'
		: 'Postgres crashes';
	subtest $name => sub {
		my $load = load_starts();

		for (1 .. $ROUNDS) {
			outage($stop, $LONG ? 15 : 2);
			ok($load->await_calls(100), 'awards go on');
			ok(Gamed::Daemon::eventually(sub {
				$d->http(GET => '/readyz')->{status} == 200;
			}, 10), '/readyz is 200 again');
		}
		$judge->judge($name, $load->stop);
		unlike($d->log, qr/died/, 'no process died of it');
	};
}

subtest 'P3: one backend is killed each second' => sub {
	my $load = load_starts();
	my $killed = 0;
	my $times = $LONG ? 120 : 6;

	for (1 .. $times) {
		$killed += $pg->psql(<<'SQL') || 0;
select count(pg_terminate_backend(pid)) from (select pid from pg_stat_activity
where application_name like 'game-%' order by random() limit 1) x
SQL
		$judge->watch(1);
	}
	is($killed, $times, "$times backends are killed");
	ok($load->await_calls(100), 'awards go on');
	my $record = $load->stop;
	is(scalar(grep { $_->{status} == 0 } @$record), 0,
		'no client sees a broken connection');
	$judge->judge('backends killed', $record);
};

subtest 'all backends are killed at once' => sub {
	my $load = load_starts();

	for (1 .. ($LONG ? 30 : 3)) {
		cmp_ok($pg->psql(<<'SQL'), '>', 3, 'all of them');
select count(pg_terminate_backend(pid)) from pg_stat_activity
where application_name like 'game-%'
SQL
		ok($load->await_calls(50), 'awards go on');
		$judge->scrape;
	}
	$judge->judge('all backends killed', $load->stop);
};

subtest 'P2: fewer connections are allowed' => sub {
	my $load = load_starts();

	# two workers, logger and stats would have fourteen
	$pg->stop;
	$pg->set(max_connections => 6, superuser_reserved_connections => 0);
	$pg->start;
	ok($load->await_calls(200), 'awards go on with fewer');
	$judge->watch($LONG ? 20 : 3);
	$pg->stop;
	$pg->set(max_connections => 40, superuser_reserved_connections => 3);
	$pg->start;
	ok($load->await_calls(100), 'awards go on as before');
	all_back();
	$judge->judge('fewer connections', $load->stop);
};

for my $connections (2, 1) {
subtest "L2, L5: a row locked elsewhere slows only its own user, "
	. "$connections for writes" => sub {
	if ($connections != 2) {
		is($d->stop, 0, 'exit 0');
		$d = Gamed::Daemon->start(from => $d,
			conf => { 'database.write_connections' => $connections });
		$judge->follow($d);
	}
	my $load = load_starts(users => 20, aside => 1);
	my $user = ($load->calls)[0]->{user};
	my $lock = $pg->background(<<"SQL");
begin;
select * from wallet w join users u on u.id = w."userId"
where u."externalUserId" = '$user' for update of w;
select pg_sleep(60);
SQL
	ok(Gamed::Daemon::eventually(sub {
		$pg->psql(q(select count(*) from pg_stat_activity where
			query like '%pg_sleep(60)%' and wait_event = 'PgSleep'))
			> 0;
	}), 'the wallet of one user is locked');
	my $from = time;
	my %known = map { $_->{key} => 1 }
		grep { $_->{status} == 200 } $load->calls;
	$judge->watch($LONG ? 20 : 6);
	my $until = time;
	undef $lock;
	ok($load->await_calls(100), 'awards go on');
	my $record = $load->stop;
	my (@own, @others);
	for my $call (grep { $_->{at} > $from && $_->{at} + $_->{took} < $until } @$record) {
		next if $known{ $call->{key} }; # a replay touches no wallet
		push @{ $call->{user} eq $user ? \@own : \@others }, $call;
	}
	@others = sort { $a->{took} <=> $b->{took} } @others;
	note sprintf 'own %d (%s); others %d (%s), median %.3f s, p90 %.3f s, '
		. 'longest %.3f s', scalar @own, $judge->outcomes(\@own),
		scalar @others, $judge->outcomes(\@others),
		map { $others[ int($#others * $_) ]{took} } 0.5, 0.9, 1;
	cmp_ok(scalar @own, '>', 0, 'the user is asked for');
	is(scalar(grep { $_->{status} == 200 } @own), 0,
		'no award of the user is acknowledged while the row is locked');
	is(scalar(grep { $_->{status} != 200 } @others), 0,
		'all of the others are');
	cmp_ok(scalar @others, '>', 300, 'many of them');
	cmp_ok($others[ int($#others * 0.9) ]{took}, '<', 0.3,
		'and nine of ten are not slow');
	$judge->judge('row locked elsewhere', $record);
};
}

subtest 'L4: deadlocks and serialisation failures are retried' => sub {
	my $load = load_starts();
	# some statements fail, as in a deadlock; four times in a row none does
	$pg->psql(<<'SQL');
create sequence public.shaky;
create function public.shaky() returns trigger language plpgsql as $$
begin
	if nextval('public.shaky') % 20 = 0 then
		raise exception 'made up' using errcode =
			case when random() < 0.5 then '40001' else '40P01' end;
	end if;
	return null;
end $$;
create trigger shaky after insert on userpoints for each statement
execute function public.shaky();
SQL
	ok($load->await_calls(1000), 'awards go on');
	cmp_ok($pg->psql('select last_value from public.shaky'), '>', 200,
		'many statements were shaken');
	$pg->psql('drop trigger shaky on userpoints; '
		. 'drop function public.shaky; drop sequence public.shaky');
	my $record = $load->stop;
	is(scalar(grep { $_->{status} != 200 } @$record), 0, 'no call failed')
		or diag $judge->outcomes($record);
	$judge->judge('retries', $record);
};

subtest 'L1: verify-points finds every difference' => sub {
	my $bad = sub {
		my ($name, $re, $sql, $back) = @_;
		$pg->psql($sql);
		my ($rc, $out) = $d->gamectl('verify-points');
		is($rc, 1, "$name: exit 1");
		like($out, $re, "$name: it says what differs");
		$pg->psql($back);
		($rc, $out) = $d->gamectl('verify-points');
		is($rc, 0, "$name: mended") or diag $out;
	};
	my $one = q("userId" = (select id from users order by id limit 1));

	$bad->('a point in a wallet', qr/wallet/,
		qq(update wallet set "pointsBalance" = "pointsBalance" + 1
			where $one),
		qq(update wallet set "pointsBalance" = "pointsBalance" - 1
			where $one));
	$bad->('an aggregate', qr/^user_task user=.* expected .* found /m,
		'update gamed.agg_user_task set n = n + 1 where
			(task_id, user_id) = (select task_id, user_id from
			gamed.agg_user_task order by 1, 2 limit 1)',
		'update gamed.agg_user_task set n = n - 1 where
			(task_id, user_id) = (select task_id, user_id from
			gamed.agg_user_task order by 1, 2 limit 1)');
};

is($d->stop, 0, 'exit 0');
done_testing;
