#!/usr/bin/perl
# Reading kept runs over HTTP: pages that neither repeat nor hide a row while
# others arrive, every filter, one run whole, and nobody else's.
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
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'server.workers' => 2,
	'evidence.sample_rate' => '1.0',
	'evidence.batch_ms' => 20,
});
my $V = '/api/v1';

sub client_of {
	my ($rc, $key, $err) = $d->gamectl('apikey', 'create', '--client', @_);
	BAIL_OUT("apikey: $err") if $rc;
	chomp $key;
	return Gamed::Client->new(port => $d->port, key => $key);
}
my ($owner, $stranger, $admin) = (client_of('owner'), client_of('stranger'),
	client_of('admin', '--admin'));
my $nobody = Gamed::Client->new(port => $d->port);

sub must {
	my ($r, $what) = @_;

	$r->{status} =~ /^2/ or BAIL_OUT("$what: $r->{status} $r->{body}");
	return $r->{json};
}

# Pays data.n, fails where that is no number; Big from 5 on.
my $n = { type => 'field', path => 'data.n' };
my $strategy = must($owner->post("$V/strategies/custom", { name => 'kept',
	astJson => { type => 'program', rules => [ { type => 'rule', id => 'big',
		when => { type => 'compare', op => '>=', left => $n,
			right => { type => 'literal', value => 5 } },
		then => [ { type => 'assign_points', value => $n,
			case_name => 'Big' } ] } ],
		default => { type => 'assign_points', value => $n,
			case_name => 'Small' } } }), 'strategy')->{id};
must($admin->post("$V/strategies/custom/$strategy/publish"), 'publish');
my $other = must($owner->post("$V/strategies/custom", { name => 'never ran' }),
	'a strategy without a program')->{id};
my $game = must($owner->post("$V/games",
	{ externalGameId => 'kept-runs', platform => 'web' }), 'game')->{gameId};
must($owner->post("$V/games/$game/tasks",
	{ externalTaskId => 'measure', strategyId => "custom:$strategy" }), 'task');

sub award {
	my ($user, $value, %h) = @_;

	return $owner->post("$V/games/$game/tasks/measure/points",
		{ externalUserId => $user, data => { n => $value } }, %h);
}

sub stored { return $pg->psql('select count(*) from strategyexecutionlog') }

sub await_rows {
	my ($want) = @_;

	Gamed::Daemon::eventually(sub { stored() == $want })
		or BAIL_OUT(stored() . " of $want rows");
	return;
}

my $runs = "$V/strategies/custom/$strategy/executions";

sub listed {
	my ($query, $who) = @_;
	my $r = ($who // $owner)->get($runs . ($query ? "?$query" : ''));

	is($r->{status}, 200, $query || 'all') or diag $r->{body};
	return $r->{json};
}

sub points_of { return join ' ', map { $_->{points} // 'none' } @_ }

subtest 'before any run' => sub {
	is_deeply(listed(''), { items => [], nextCursor => undef },
		'nothing is kept');
};

award("user-$_", $_) for 1 .. 7;
is(award('user-8', 'eight', 'X-Correlation-ID' => 'trouble-8')->{status}, 400,
	'a run that fails');
await_rows(8);

subtest 'the members of a run' => sub {
	my ($failed, $paid) = @{ listed('')->{items} };
	my $rows = $pg->psql(<<'SQL');
select id || ' ' || to_char(created_at at time zone 'UTC',
	'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || ' ' || "durationMs" || ' '
	|| "nodesExecuted"
from strategyexecutionlog where status = 'error'
SQL
	my ($id, $at, $ms, $nodes) = split / /, $rows;
	$at =~ s/\.000000Z/Z/;
	is_deeply($failed, { id => $id, createdAt => $at,
		strategyId => $strategy, strategyVersion => 1,
		strategyType => 'DSL_FULL', externalGameId => 'kept-runs',
		externalTaskId => 'measure', externalUserId => 'user-8',
		status => 'error', errorCode => 'DSL_COMPARE_TYPE_MISMATCH',
		points => undef, caseName => undef, durationMs => 0 + $ms,
		nodesExecuted => 0 + $nodes, reason => 'error', weight => 1,
		correlationId => 'trouble-8',
		notes => 'The operator >= does not take str and int' },
		'one that failed, newest first') or diag explain $failed;
	is("$paid->{points} $paid->{caseName} $paid->{status} $paid->{reason}",
		'7 Big ok sampled', 'one that paid');
};

subtest 'a number of Postgres that JSON does not have' => sub {
	for my $value ('NaN', 'Infinity', '-Infinity') {
		$pg->psql(qq{update strategyexecutionlog set points = '$value'
			where "externalUserId" = 'user-7'});
		my ($run) = grep { $_->{externalUserId} eq 'user-7' }
			@{ listed('')->{items} };
		ok($run && !defined $run->{points}, "$value: null");
	}
	$pg->psql(q{update strategyexecutionlog set points = 7
		where "externalUserId" = 'user-7'});
};

subtest 'pages' => sub {
	my ($next, @seen) = ('');
	my $pages = 0;

	while (defined $next && $pages++ < 9) {
		my $page = listed('limit=3' . ($next && "&cursor=$next"));
		push @seen, @{ $page->{items} };
		$next = $page->{nextCursor};
		# arrives while somebody pages, and is on none of the next
		if ($pages == 1) {
			award('late', 4);
			await_rows(9);
		}
	}
	is(points_of(@seen), 'none 7 6 5 4 3 2 1', 'no row twice, none left out');
	is(points_of(@{ listed('limit=1')->{items} }), '4', 'the late one is first');
	# rows of one instant keep an order
	$pg->psql('update strategyexecutionlog set created_at = now()');
	my $first = listed('limit=5');
	my $rest = listed("limit=5&cursor=$first->{nextCursor}");
	my %ids = map { $_->{id} => 1 } @{ $first->{items} }, @{ $rest->{items} };
	is(scalar keys %ids, 9, 'also of rows of one instant');
	is($rest->{nextCursor}, undef, 'the last page says so');
	is(listed('limit=9')->{nextCursor}, undef, 'also when it is full');
	ok(defined listed('limit=8')->{nextCursor}, 'unlike the one before');
};

subtest 'filters' => sub {
	$pg->psql(<<'SQL');
update strategyexecutionlog set created_at = '2026-03-01T10:00:00Z'::timestamptz
	+ coalesce(points, 10) * interval '1 hour'
SQL
	is(points_of(@{ listed($_->[0])->{items} }), $_->[1], $_->[0]) for
		[ 'status=error', 'none' ],
		[ 'status=timeout', '' ],
		[ 'caseName=Big', '7 6 5' ],
		[ 'externalUserId=user-3', '3' ],
		[ 'correlationId=trouble-8', 'none' ],
		[ 'correlationId=trouble', '' ],
		[ 'since=2026-03-01T15:00:00Z', 'none 7 6 5' ],
		[ 'until=2026-03-01T12:00:00Z', '2 1' ],
		[ 'since=2026-03-01T14:00:00%2B02:00&until=2026-03-01T13:00:00Z',
			'3 2' ],
		[ 'since=1772366400&until=2026-03-01T12:00:00Z', '2' ],
		[ 'caseName=Small&status=ok&externalUserId=late', '4' ];
	for ([ 'status=good', 'string_pattern_mismatch' ],
		[ 'since=tomorrow', 'datetime_from_date_parsing' ],
		[ 'until=', 'datetime_from_date_parsing' ],
		[ 'limit=0', 'greater_than_equal' ],
		[ 'limit=201', 'less_than_equal' ],
		[ 'limit=x', 'int_parsing' ],
		[ 'cursor=1', 'value_error' ],
		[ 'cursor=1.x', 'value_error' ],
		[ "cursor=253402300800000000.$strategy", 'value_error' ],
		[ 'since=9999999999999999', 'datetime_from_date_parsing' ]) {
		my ($query, $type) = @$_;
		my $r = $owner->get("$runs?$query");
		my $item = ref $r->{json}{detail} ? $r->{json}{detail}[0] : {};
		my ($name) = $query =~ /^(\w+)/;
		is("$r->{status} $item->{type} @{ $item->{loc} // [] }",
			"422 $type query $name", $query) or diag $r->{body};
	}
	is_deeply(listed("cursor=253402300799999999.$strategy")->{items},
		listed('')->{items}, 'a cursor at the end of time');
};

subtest 'one run, whole' => sub {
	my ($failed) = @{ listed('status=error')->{items} };
	my $r = $owner->get("$runs/$failed->{id}");

	is($r->{status}, 200, 'found') or diag $r->{body};
	my $run = $r->{json};
	is_deeply({ map { $_ => $run->{$_} } keys %$failed }, $failed,
		'as it was listed');
	is($run->{data}{n}, 'eight', 'what came in');
	is_deeply($run->{fields}, { 'data.n' => 'eight' }, 'what was read');
	is($run->{astSha256}, $pg->psql(<<"SQL"), 'the program');
select encode(sha256(convert_to(ast_text, 'UTF8')), 'hex')
from strategydefinition where id = '$strategy'
SQL
	is($run->{trace}[-1]{nodeId}, 'big.compare.0', 'up to the node that failed')
		or diag explain $run->{trace};
	is($owner->get("$runs/$_")->{status}, 404, "no run: $_")
		for $strategy, 'x', '00000000-0000-0000-0000-000000000000';
	is($owner->get("$V/strategies/custom/$other/executions/$failed->{id}")
		->{status}, 404, 'nor one of another strategy');
};

subtest 'who may read' => sub {
	my ($run) = @{ listed('limit=1')->{items} };

	is(scalar @{ listed('', $admin)->{items} }, 9, 'an admin');
	for my $path ($runs, "$runs/$run->{id}") {
		is($nobody->get($path)->{status}, 403, 'nobody without a key');
		is($stranger->get($path)->{status}, 404, 'nobody of another realm');
	}
	is($owner->get("$V/strategies/custom/$_/executions")->{status}, 404,
		"no strategy: $_") for $run->{id}, 'x';
	is_deeply($owner->get("$V/strategies/custom/$other/executions")->{json},
		{ items => [], nextCursor => undef }, 'one that never ran');
};

subtest 'without the database' => sub {
	$pg->stop;
	my $r = $owner->get($runs);
	is($r->{status}, 503, 'try again');
	ok($r->{headers}{'retry-after'}, '... later');
	$pg->start;
	ok(Gamed::Daemon::eventually(sub { $owner->get($runs)->{status} == 200 }),
		'and it is back');
};

is($d->stop, 0, 'the server leaves');
done_testing;
