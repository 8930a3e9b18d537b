#!/usr/bin/perl
# Between server and Postgres: connections that are cut just after COMMIT was
# sent or just before, that go silent, slow, or are refused (hardening L4, P1
# to P3, DESIGN 11 on the 503s).
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
use Gamed::Proxy;

my $LONG = $ENV{GAMED_LONG} ? 1 : 0;
my $pg = Gamed::Postgres->new;
my $proxy = Gamed::Proxy->start($pg);
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'database.host' => $proxy->dir,
	'http.access_log' => 'false',
	'evidence.sample_rate' => 1,
	'evidence.queue_max' => 100000,
});
my $place = Gamed::Load->campaign($d);
my $judge = Gamed::Judge->new($d);
my $client = Gamed::Client->new(port => $d->port, key => $place->{key});
my $prefix = 'a';

sub load_starts {
	my $load = Gamed::Load->start($d, $place, prefix => $prefix++,
		seed => 11, @_);

	ok($load->await_calls(100), 'load is on');
	return $load;
}

sub award {
	my ($user, $key, $points) = @_;

	return $client->post(
		"/api/v1/games/$place->{game}/tasks/load-1/points",
		{ externalUserId => $user,
			data => { eventId => $key, n => $points } });
}

sub rows_of { return $pg->psql(
	qq(select count(*) from userpoints where "idempotencyKey" = '$_[0]')) }

for my $how (qw(cut drop)) {
	my $name = $how eq 'cut' ? 'L4: cut just after COMMIT was sent'
		: 'L4: cut just before COMMIT';

	subtest $name => sub {
		is(award("$how-user", "$how-0", 1)->{status}, 200, 'before');
		for my $i (1 .. ($LONG ? 100 : 10)) {
			my $before = $proxy->count($how);
			# every other time the user is new with the award
			my $user = $i % 2 ? "$how-user" : "$how-user-$i";
			$proxy->set($how => 1);
			my $from = time;
			my $r = award($user, "$how-$i", $i);
			my $took = time - $from;
			$proxy->set($how => 0);
			is($proxy->count($how) - $before, 1,
				'a connection was cut');
			is($r->{status}, 200, '... the award is answered')
				or diag $r->{body};
			is($r->{json}{points}, $i, '... with its points');
			cmp_ok($took, '<', 3, '... within the deadline');
			is(rows_of("$how-$i"), 1, '... and is single');
			my $again = award($user, "$how-$i", 50);
			is($again->{json}{points}, $i, '... also when repeated');
		}
	};

	subtest "$name, under load" => sub {
		my $load = load_starts();
		my $before = $proxy->count($how);
		my $cuts = $LONG ? 300 : 20;
		my $end = time + $cuts;

		for my $i (1 .. $cuts) {
			$proxy->set($how => 1);
			Gamed::Daemon::eventually(sub {
				$proxy->count($how) - $before >= $i;
			}, 10);
			$judge->scrape if $i % 5 == 0;
		}
		$proxy->set($how => 0);
		is($proxy->count($how) - $before, $cuts, "$cuts connections are cut");
		ok($load->await_calls(100), 'awards go on');
		my $record = $load->stop;
		is(scalar(grep { $_->{status} == 0 } @$record), 0,
			'no client sees a broken connection');
		$judge->judge($name, $record);
	};
}

subtest 'P1: Postgres is slow' => sub {
	my $load = load_starts();

	$proxy->set(delay => 0.1);
	$judge->watch($LONG ? 20 : 2);
	$proxy->set('pass');
	ok($load->await_calls(100), 'awards go on');
	my $record = $load->stop;
	is(scalar(grep { $_->{status} != 200 } @$record), 0, 'no call failed')
		or diag $judge->outcomes($record);
	$judge->judge('delay', $record);
};

subtest 'P1: Postgres goes silent' => sub {
	my $load = load_starts();

	for (1 .. ($LONG ? 5 : 1)) {
		$proxy->set('stall');
		$judge->watch(5);
		is($d->http(GET => '/livez')->{status}, 200, '/livez stays 200');
		$proxy->set('pass');
		my $from = time;
		ok($load->await_calls(100), 'awards go on');
		cmp_ok(time - $from, '<', 10, '... soon');
	}
	my $record = $load->stop;
	my @slow = grep { $_->{took} > 6 } @$record;
	is(scalar @slow, 0, 'no call waits longer than its deadline')
		or diag join ' ', map { $_->{took} } @slow;
	is(scalar(grep { $_->{status} == 0 } @$record), 0,
		'no client sees a broken connection');
	cmp_ok(scalar(grep { $_->{status} =~ /^50[34]$/ } @$record), '>', 0,
		'calls are answered while it is silent');
	$judge->judge('silence', $record);
};

subtest 'P2, P3: Postgres refuses connections' => sub {
	my $load = load_starts();

	$proxy->set('refuse');
	ok(Gamed::Daemon::eventually(sub {
		$d->http(GET => '/readyz')->{status} == 503;
	}), '/readyz turns 503');
	my $from = time;
	$client->close; # idle for long, the server may have closed it
	my $r = award('refused', 'refused-1', 1);
	is($r->{status}, 503, 'an award: 503');
	ok($r->{headers}{'retry-after'}, '... with Retry-After');
	# of each kind of connection none is up: nobody waits for its deadline
	my $game = "/api/v1/games/$place->{game}";
	my %kinds = (
		reads => sub { $client->get("$game/tasks") },
		writes => sub { award('refused', 'refused-2', 1) },
		listings => sub { $client->get("$game/points/details") },
	);
	for my $kind (sort keys %kinds) {
		my (@took, @bad);
		for (1 .. 15) {
			my $sent = time;
			my $answer = $kinds{$kind}->();
			push @took, time - $sent;
			push @bad, $answer->{status} unless
				$answer->{status} == 503
				&& $answer->{headers}{'retry-after'};
		}
		is("@bad", '', "$kind: 503 with Retry-After");
		cmp_ok((sort { $a <=> $b } @took)[7], '<', 0.1,
			'... within 100 ms');
	}
	$judge->watch($LONG ? 20 : 3);
	is($d->http(GET => '/livez')->{status}, 200, '/livez stays 200');
	my $until = time;
	my $refused = $proxy->count('refused');
	$proxy->set('pass');
	ok($load->await_calls(100), 'awards go on');
	cmp_ok(time - $until, '<', 8, '... within the longest back-off');
	cmp_ok($refused, '<', 120, 'and it was not hammered meanwhile');
	ok(Gamed::Daemon::eventually(sub {
		$d->http(GET => '/readyz')->{status} == 200;
	}), '/readyz is 200 again');
	my $record = $load->stop;
	my @took = sort { $a <=> $b } map { $_->{took} }
		grep { $_->{status} == 503 && $_->{at} > $from
			&& $_->{at} < $until } @$record;
	cmp_ok(scalar @took, '>', 20, 'many were answered with 503');
	cmp_ok($took[ @took / 2 ], '<', 0.1, '... within 100 ms');
	$judge->judge('refusal', $record);
};

is($d->stop, 0, 'exit 0');
done_testing;
