#!/usr/bin/perl
# What each arm of a strategy's program did, exactly: over workers, over the
# death of one, per version, and never for a simulation; and by the hour in the
# database, where neither the death of stats nor a new start loses any.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

my $pg = Gamed::Postgres->new;
# traces are off: the counts do not come of them
my $d = Gamed::Daemon->start(pg => $pg, conf => { 'server.workers' => 2,
	'evidence.enabled' => 'false', 'kpi.flush_s' => 1 });

sub new_key {
	my ($rc, $out, $err) = $d->gamectl('apikey', 'create', '--client', @_);
	die "apikey create: $err" if $rc;
	chomp $out;
	return $out;
}
my @key = (new_key('owner'), new_key('stranger'), new_key('admin', '--admin'));
my ($owner, $stranger, $admin) =
	map { Gamed::Client->new(port => $d->port, key => $_) } @key;
my $V = '/api/v1';

sub field { return { type => 'field', path => "data.$_[0]" } }

sub give {
	my ($case, $value) = @_;
	return { type => 'assign_points', case_name => $case,
		value => $value // { type => 'literal', value => 5 } };
}

my %program = (type => 'program', id => 'p', rules => [
	{ type => 'rule', id => 'first', when => field('a'), then => [give('A')],
		else_if => [{ id => 'second', when => field('b'),
			then => [give('B', { type => 'arith', op => '/',
				left => { type => 'literal', value => 6 },
				right => field('by') })] }] },
	{ type => 'rule', id => 'dead', when => { type => 'compare', op => '>',
			left => { type => 'literal', value => 0 },
			right => { type => 'literal', value => 1 } },
		then => [give('Dead')],
		else_if => [{ id => 'late', when => field('c'),
			then => [give('C')] }] }],
	default => { %{ give('None') }, id => 'last' });

my $r = $owner->post("$V/strategies/custom",
	{ name => 'covered', astJson => \%program });
is($r->{status}, 201, 'a strategy') or diag $r->{body};
my $id = $r->{json}{id};
is($admin->post("$V/strategies/custom/$id/publish")->{status}, 200, 'published');
$r = $owner->post("$V/games", { externalGameId => 'covered-game',
	platform => 'web' });
is($r->{status}, 200, 'a game') or diag $r->{body};
my $game = $r->{json}{gameId};
$r = $owner->post("$V/games/$game/tasks",
	{ externalTaskId => 'covered-task', strategyId => "custom:$id" });
is($r->{status}, 200, 'a task') or diag $r->{body};
my $coverage = "$V/strategies/custom/$id/coverage";

# A connection of its own, so that both workers get some.
sub award {
	my %data = @_;
	return Gamed::Client->new(port => $d->port, key => $key[0])->post(
		"$V/games/$game/tasks/covered-task/points",
		{ externalUserId => 'user-1', data => \%data })->{status};
}

my ($yes, $no) = (JSON::PP::true, JSON::PP::false);

sub arms {
	my ($answer) = @_;
	return { map {
		$_->{id} => [@$_{qw(evaluated taken decided failed)}]
	} @{ $answer->{arms} } };
}

subtest 'before the first run' => sub {
	my $a = $owner->get($coverage);

	is($a->{status}, 200, 'answered') or diag $a->{body};
	is($a->{json}{runs}, 0, 'no run');
	is_deeply($a->{json}{neverReached}, [qw(first second dead late last)],
		'nothing was reached');
	is_deeply($a->{json}{neverTrue}, [], 'nor false');
	is_deeply([map { "$_->{section} $_->{rule} $_->{kind} $_->{branch}" }
			@{ $a->{json}{arms} }],
		['rules 0 then 0', 'rules 0 else_if 1', 'rules 1 then 0',
			'rules 1 else_if 1', 'default 0 default 0'], 'the arms');
};

my %want = (first => [36, 20, 20, 0], second => [16, 10, 6, 4],
	dead => [6, 0, 0, 0], late => [6, 0, 0, 0], last => [6, 6, 6, 0]);

subtest 'counts are exact' => sub {
	is(award(a => $yes, b => $yes), 200, 'first') for 1 .. 20;
	is(award(a => $no, b => $yes, by => 2), 200, 'second') for 1 .. 6;
	is(award(a => $no, b => $yes, by => 0), 400, 'fails') for 1 .. 4;
	is(award(a => $no, b => $no, c => $no), 200, 'default') for 1 .. 6;
	my $a = $owner->get($coverage)->{json};
	is_deeply(arms($a), \%want, 'arms') or diag explain $a;
	is($a->{runs}, 36, 'runs');
	is_deeply($a->{runsByStatus},
		{ ok => 32, error => 4, timeout => 0, limit => 0 }, 'by status');
	is_deeply({ map { ($_->{caseName} // $_->{code}) => $_->{runs} }
			@{ $a->{outcomes} } },
		{ A => 20, B => 6, None => 6, DSL_ARITH_DIV_BY_ZERO => 4 },
		'by case and code');
	is_deeply($a->{neverReached}, [], 'all were reached');
	is_deeply($a->{neverTrue}, [qw(dead late)], 'two were never true');
	is($a->{astJson}{rules}[1]{id}, 'dead', 'the program is beside them');
};

subtest 'simulations do not count' => sub {
	my $s = $owner->post("$V/strategies/custom/$id/simulate",
		{ externalUserId => 'user-1', externalGameId => 'covered-game',
			externalTaskId => 'covered-task', data => { a => $yes } });

	is($s->{status}, 200, 'simulated') or diag $s->{body};
	is_deeply(arms($owner->get($coverage)->{json}), \%want, 'as before');
};

subtest 'a worker that dies loses none' => sub {
	my ($victim) = $d->pids('worker');

	$d->kill(KILL => $victim);
	for (1 .. 10) {
		my $status = award(a => $yes);
		redo if $status != 200; # its connection died with the worker
		$want{first}[$_]++ for 0 .. 2;
	}
	$_->close for $owner, $stranger, $admin; # some were the victim's
	is_deeply(arms($owner->get($coverage)->{json}), \%want, 'all are there');
};

subtest 'who may see it' => sub {
	is($stranger->get($coverage)->{status},
		$stranger->get("$V/strategies/custom/$id")->{status},
		'a stranger: as the strategy itself');
	is($admin->get($coverage)->{status}, 200, 'an administrator');
	is(Gamed::Client->new(port => $d->port)->get($coverage)->{status}, 403,
		'nobody without a key');
	is($owner->get("$V/strategies/custom/$_/coverage")->{status}, 404, $_)
		for 'x', '99999999-1c7a-4a7e-8f7c-5d3a1f6e2b90';
	# another version has counts of its own
	my $e = $owner->request(PUT => "$V/strategies/custom/$id",
		{ name => 'covered', description => 'next' });
	is($e->{status}, 200, 'a next version') or diag $e->{body};
	my $next = $owner->get("$V/strategies/custom/$e->{json}{id}/coverage");
	is($next->{json}{runs}, 0, 'that did not run') or diag $next->{body};
};

# ---- by the hour --------------------------------------------------------------

my %place = (first => 'rules|0|0', second => 'rules|0|1', dead => 'rules|1|0',
	late => 'rules|1|1', last => 'default|0|0');

# What %want says, as the hours of all starts add up.
sub hours_say {
	my ($name) = @_;
	my $want = join "\n", sort map {
		join '|', $place{$_}, @{ $want{$_} }
	} keys %place;
	my $got;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	Gamed::Daemon::eventually(sub {
		$got = $pg->psql("SELECT section, rule, branch, sum(evaluated),
			sum(taken), sum(decided), sum(failed)
			FROM gamed.strategy_rule_hour WHERE strategy_id = '$id'
			AND version = 1 GROUP BY 1, 2, 3");
		$got = join "\n", sort split /\n/, $got;
		return $got eq $want;
	});
	return is($got, $want, $name);
}

subtest 'by the hour' => sub {
	hours_say('each arm');
	is($pg->psql("SELECT sum(runs), sum(points_sum),
		sum((SELECT sum(b) FROM unnest(buckets) b))
		FROM gamed.strategy_hour WHERE strategy_id = '$id'"),
		'46|198|46', 'runs, points and the histogram of times');
	my ($stats) = $d->pids('stats');
	$d->kill(KILL => $stats);
	ok(Gamed::Daemon::eventually(sub {
		my ($now) = $d->pids('stats');
		return $now && $now != $stats;
	}), 'stats dies and comes back');
	is(award(a => $yes), 200, 'first');
	$want{first}[$_]++ for 0 .. 2;
	hours_say('nothing twice, nothing lost');
	is(award(a => $no, b => $no, c => $no), 200, 'default');
	$want{$_}[0]++ for qw(first second dead late);
	$want{last}[$_]++ for 0 .. 2;
	$d->stop;
	hours_say('a stop writes what is left');
	$d = Gamed::Daemon->start(from => $d);
	is(award(a => $yes), 200, 'first');
	$want{first}[$_]++ for 0 .. 2;
	hours_say('a new start goes on');
	is($pg->psql("SELECT count(DISTINCT boot), sum(runs)
		FROM gamed.strategy_hour WHERE strategy_id = '$id'"), '2|49',
		'with rows of its own');
};

# The statement alone, over hours that this test does not have.
subtest 'what is new belongs to the hour of its write' => sub {
	my $flush = sub {
		my ($boot, $hour, $runs, $max, @arm) = @_;
		my $buckets = join ',', $runs - 1, 1, (0) x 14;

		$pg->psql(qq{SELECT gamed.flush_strategies('s', $boot,
			'2026-03-29T0$hour:59:59Z', '[{"id":"x","version":1,"sha":"a",
			"status":"ok","case_name":"","runs":$runs,"ms":$runs,
			"ms_max":$max,"nodes":$runs,"nodes_max":2,"points":$runs,
			"buckets":[$buckets]},{"id":"x","version":1,"sha":"b",
			"status":"ok","case_name":"","runs":5,"ms":1,"ms_max":1,
			"nodes":5,"nodes_max":1,"points":0,"buckets":[5]}]',
			'[{"id":"x","version":1,"sha":"a","section":"rules","rule":0,
			"branch":0,"evaluated":$arm[0],"taken":$arm[1],
			"decided":$arm[2],"failed":$arm[3]}]')});
	};

	$flush->(1, 0, 10, 7, 10, 5, 4, 1);
	$flush->(1, 0, 10, 7, 10, 5, 4, 1); # the answer was lost
	$flush->(1, 1, 13, 7, 13, 5, 4, 3);
	$flush->(1, 1, 14, 9, 14, 6, 5, 3);
	$flush->(2, 1, 2, 3, 2, 2, 2, 0);
	is($pg->psql("SELECT boot, extract(hour FROM hour AT TIME ZONE 'UTC'),
		runs, duration_ms_sum, duration_ms_max, nodes_sum, points_sum,
		buckets[1:3] FROM gamed.strategy_hour WHERE server = 's'
		ORDER BY 1, 2"), "1|0|15|11|7|15|10|{14,1,0}\n"
		. "1|1|4|4|9|4|4|{4,0,0}\n2|1|7|3|3|7|2|{6,1,0}", 'runs');
	is($pg->psql("SELECT boot, extract(hour FROM hour AT TIME ZONE 'UTC'),
		evaluated, taken, decided, failed FROM gamed.strategy_rule_hour
		WHERE server = 's' ORDER BY 1, 2"),
		"1|0|10|5|4|1\n1|1|4|1|1|2\n2|1|2|2|2|0", 'arms');
	is($pg->psql("SELECT DISTINCT boot FROM gamed.strategy_base b
		WHERE server = 's' UNION SELECT boot FROM gamed.strategy_rule_base
		WHERE server = 's'"), 2, 'a start that is over is forgotten');
};

$d->stop;
done_testing;
