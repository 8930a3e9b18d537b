#!/usr/bin/perl
# How a strategy has run, and two side by side (observability.md 6.4, 6.5):
# the reference's arithmetic worked out again here over the same rows, exact
# counts where the counters know, weighted ones with an interval elsewhere.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(sum0 max min);
use POSIX qw(floor);
use Gamed::Api;
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

my $C = '/api/v1/strategies/custom';
my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'server.workers' => 1,
	'http.access_log' => 'false',
	'evidence.sample_rate' => '0.1',
	'metrics.strategies' => 'rows',
	'retention.traces_days' => 0,
});
my $key = new_key($d, 'tester');
my $c = Gamed::Client->new(port => $d->port, key => $key);
my $other = Gamed::Client->new(port => $d->port, key => new_key($d, 'other'));
my $anon = Gamed::Client->new(port => $d->port);
my $nowhere = '99999999-1c7a-4a7e-8f7c-5d3a1f6e2b90';

sub strategy {
	my ($name) = @_;
	my $r = $c->post($C, { name => $name, astJson => { type => 'program',
		id => 'p', rules => [], default => { type => 'assign_points',
		id => 'g', value => { type => 'literal', value => 1 },
		case_name => 'C' } } });

	die "create: $r->{status} $r->{body}" unless $r->{status} == 201;
	$pg->psql("UPDATE strategydefinition SET created_at = '2025-01-01'
		WHERE id = '$r->{json}{id}'");
	return $r->{json}{id};
}

my ($one, $two, $idle) = map { strategy("s$_") } 1 .. 3;

# A row a minute from 2025-06-01 on, the same at every run of the test.
my $seed = 1;
sub rnd { $seed = ($seed * 1103515245 + 12345) % 2**31; return $seed / 2**31 }

my %rows;
sub rows {
	my ($id, $n, $weight) = @_;
	my @rows;

	for my $i (0 .. $n - 1) {
		my $ok = rnd() < 0.7;
		my $status = $ok ? 'ok' : (qw(error timeout limit odd))[ rnd() * 4 ];
		push @rows, { at => $i, status => $status,
			code => $ok ? undef : 'CODE_' . int(rnd() * 13),
			case => $ok ? (undef, map { "case $_" } 1 .. 12)[ rnd() * 13 ]
				: undef,
			ms => sprintf('%.3f', rnd() ** 6 * 9000),
			nodes => $ok ? int(rnd() * 100) : 0,
			points => $ok && rnd() < 0.9 ? int(rnd() * 50) : undef,
			weight => $ok ? $weight : 1 };
	}
	$pg->psql('INSERT INTO strategyexecutionlog (id, created_at, "strategyId",
		"strategyVersion", "strategyType", status, "errorCode", points,
		"caseName", "durationMs", "nodesExecuted", sampled, weight) VALUES '
		. join ', ', map {
			my $r = $_;
			"(gen_random_uuid(), '2025-06-01+00'::timestamptz + $r->{at}
			* interval '1 minute', '$id', 1, 'DSL_FULL', '$r->{status}', "
			. join(', ', map { defined ? "'$_'" : 'NULL' }
				@$r{qw(code points case ms nodes)})
			. ", true, $r->{weight})"
		} @rows);
	return $rows{$id} = \@rows;
}
rows($one, 1500, 10);
rows($two, 40, 10);

# ---- the reference's arithmetic ---------------------------------------------

sub percentile {
	my ($p, @v) = @_;
	return 0 unless @v;
	my $k = $#v * $p;
	my $f = floor($k);
	return $v[$f] + ($v[min($f + 1, $#v)] - $v[$f]) * ($k - $f);
}

sub top {
	my ($name, $key, @rows) = @_;
	my (%n, %null);
	for (@rows) {
		my ($k, $w) = @$_;
		$n{ $k // "\x{10ffff}" } += $w;
	}
	my @names = sort { $n{$b} <=> $n{$a} || $a cmp $b } keys %n;
	return [ map { { $name => $_ eq "\x{10ffff}" ? undef : $_,
		count => $n{$_} } } @names[ 0 .. min(9, $#names) ] ];
}

sub duration_bins {
	my @v = @_;
	my @edges = (5, 10, 25, 50, 100, 150, 200, 250, 500, 1000, 2500, 5000);
	my ($low, @bins) = (-1);
	for my $e (@edges) {
		push @bins, scalar grep { $_ > $low && $_ <= $e } @v;
		$low = $e;
	}
	return [ @bins, scalar grep { $_ > $low } @v ];
}

sub reference {
	my ($rows, $weighted) = @_;
	my $w = sub { $weighted ? $_[0]{weight} : 1 };
	my %n = map { $_ => 0 } qw(ok error timeout limit other);
	for my $r (@$rows) {
		my $s = exists $n{ $r->{status} } ? $r->{status} : 'other';
		$n{$s} += $w->($r);
	}
	$n{total} = sum0 values %n;
	my @new = (reverse @$rows)[ 0 .. min($#$rows, 999) ];
	my @ms = sort { $a <=> $b } map { $_->{ms} } @new;
	return {
		statusBreakdown => \%n,
		successRate => $n{ok} / $n{total},
		errorRate => ($n{error} + $n{timeout} + $n{limit}) / $n{total},
		avgMs => sum0(map { $w->($_) * $_->{ms} } @$rows) / $n{total},
		p50Ms => percentile(0.5, @ms), p95Ms => percentile(0.95, @ms),
		p99Ms => percentile(0.99, @ms),
		maxMs => max(map { $_->{ms} } @$rows),
		sampleSize => scalar @ms, bins => duration_bins(@ms),
		topErrors => top('code', 0, map { [ $_->{code}, $w->($_) ] }
			grep { defined $_->{code} } @$rows),
		topCases => top('caseName', 0,
			map { [ $_->{case}, $w->($_) ] } @$rows),
		pointsSum => sum0(map { $w->($_) * ($_->{points} // 0) } @$rows),
		nodesAvg => sum0(map { $w->($_) * $_->{nodes} } @$rows) / $n{total},
		nodesMax => max(map { $_->{nodes} } @$rows),
	};
}

sub near {
	my ($got, $want, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return ok(abs($got - $want) <= 1e-9 * (1 + abs $want), $name)
		|| diag "got $got, want $want";
}

sub is_reference {
	my ($name, $got, $want) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is_deeply($got->{statusBreakdown}, $want->{statusBreakdown},
		"$name: statusBreakdown");
	near($got->{$_}, $want->{$_}, "$name: $_")
		for qw(successRate errorRate pointsSum nodesAvg nodesMax);
	near($got->{duration}{$_}, $want->{$_}, "$name: $_")
		for qw(avgMs p50Ms p95Ms p99Ms maxMs sampleSize);
	is_deeply([ map { $_->{count} } @{ $got->{durationHistogram} } ],
		$want->{bins}, "$name: durationHistogram");
	is_deeply($got->{topErrors}, $want->{topErrors}, "$name: topErrors");
	is_deeply($got->{topCases}, $want->{topCases}, "$name: topCases");
	return;
}

sub metrics {
	my ($id, $query, $who) = @_;
	my $r = ($who // $c)->get("$C/$id/metrics" . ($query ? "?$query" : ''));

	is($r->{status}, 200, 'metrics ' . ($query // '')) or diag $r->{body};
	return $r;
}

my $members = 'strategyId name version status windowFrom windowUntil '
	. 'statusBreakdown successRate errorRate duration durationHistogram '
	. 'topErrors topCases pointsHistogram pointsSum nodesAvg nodesMax figures';

subtest 'rows as the reference counts them' => sub {
	my $r = metrics($one);

	is(order_of($r->{body}), $members, 'members in order');
	is_reference('all', $r->{json}, reference($rows{$one}));
	is($r->{json}{figures}{successRate}{source}, 'rows', 'and says so');
	is($r->{json}{windowFrom}, undef, 'no window');
	my $h = $r->{json}{durationHistogram};
	is_deeply([ map { $_->{label} } @$h[ 0, 1, -1 ] ],
		[ "\x{2264}5ms", "\x{2264}10ms", '>5000ms' ], 'labels');
	is($h->[-1]{upperBound}, undef, 'no last bound');
	is(scalar @{ $r->{json}{pointsHistogram} }, 10, 'bins of points');
	like($r->{json}{pointsHistogram}[0]{label}, qr/^0\x{2013}4\.9$/,
		'their labels');

	$r = metrics($one, 'since=2025-06-01T01:00:00Z&until=2025-06-01T02:00:00%2B00:00');
	is_reference('an hour', $r->{json},
		reference([ @{ $rows{$one} }[ 60 .. 120 ] ]));
	is($r->{json}{windowFrom}, '2025-06-01T01:00:00Z', 'the window echoed');
	$r = metrics($one, 'since=2025-06-01T03:00:00%2B02:00&until=2025-06-01T02:00:00.5');
	is($r->{json}{windowFrom}, '2025-06-01T03:00:00+02:00', 'in its own zone');
	is($r->{json}{windowUntil}, '2025-06-01T02:00:00.500000', 'or in none');
	is_reference('zones', $r->{json},
		reference([ @{ $rows{$one} }[ 60 .. 120 ] ]));
	$r = metrics($one, 'since=' . 1748739600);
	is($r->{json}{windowFrom}, '2025-06-01T01:00:00Z', 'Unix seconds');
	$r = metrics($idle);
	is($r->{json}{statusBreakdown}{total}, 0, 'none has run');
	is_deeply($r->{json}{pointsHistogram}, [ { label => '0', upperBound => 0,
		count => 0 } ], 'no points');
	is_deeply([ @{ $r->{json}{duration} }{qw(avgMs p95Ms maxMs sampleSize)} ],
		[ 0, 0, 0, 0 ], 'no durations');
};

subtest 'refusals' => sub {
	refused('anonymous', $anon->get("$C/$one/metrics"), 403);
	for my $id ($nowhere, "custom:$one", 'x') {
		is(refused("no strategy $id", $c->get("$C/$id/metrics"), 404),
			"Custom strategy not found: $id", 'named');
	}
	refused('another tenant', $other->get("$C/$one/metrics"), 404);
	refused("since=$_", $c->get("$C/$one/metrics?since=$_"), 422,
		'datetime_from_date_parsing query.since')
		for '', 'yesterday', '2025-02-30', '99999999999999';
	refused('neither', $c->get("$C/compare"), 422,
		'missing query.a, missing query.b');
	refused('one', $c->get("$C/compare?a=$one"), 422, 'missing query.b');
	is(refused('both unknown', $c->get("$C/compare?a=$nowhere&b=x"), 404),
		"Custom strategy not found: $nowhere", 'a comes first');
	is(refused('b unknown', $c->get("$C/compare?a=$one&b=x"), 404),
		'Custom strategy not found: x', 'then b');
};

subtest 'compare' => sub {
	my $r = $c->get("$C/compare?a=$one&b=$two");

	is($r->{status}, 200, 'compared') or diag $r->{body};
	is(order_of($r->{body}), 'a b delta claims verdict', 'members');
	my ($ra, $rb) = map { reference($rows{$_}) } $one, $two;
	is_reference('a', $r->{json}{a}, $ra);
	is_reference('b', $r->{json}{b}, $rb);
	my $delta = $r->{json}{delta};
	near($delta->{$_}, $rb->{$_} - $ra->{$_}, "delta of $_")
		for qw(successRate errorRate p95Ms avgMs);
	near($delta->{pointsAvg},
		$rb->{pointsSum} / $rb->{statusBreakdown}{total}
		- $ra->{pointsSum} / $ra->{statusBreakdown}{total}, 'of points');
	$r = $c->get("$C/compare?a=$one&b=$one");
	is_deeply([ values %{ $r->{json}{delta} } ], [ (0) x 5 ], 'with itself');
	is($r->{json}{verdict}, 'no difference can be claimed', 'no difference');
	$r = $c->get("$C/compare?a=$one&b=$idle");
	is($r->{json}{verdict}, 'no difference can be claimed',
		'none with what never ran');
	is($r->{json}{claims}{successRate}{low}, undef, 'and no interval');
};

# ---- weights and counters ---------------------------------------------------

$d->write_conf('metrics.strategies' => 'counters');
my ($old) = $d->pids('worker');
$d->reload;
ok(Gamed::Daemon::eventually(sub { !Gamed::Daemon::process_runs($old) }),
	'the worker that read rows has left');
$c = Gamed::Client->new(port => $d->port, key => $key);
ok(Gamed::Daemon::eventually(sub { $d->http(GET => '/readyz')->{success} }),
	'its successor is ready');

subtest 'stored rows stand for those that were not' => sub {
	my $r = metrics($one);
	my $f = $r->{json}{figures};

	is_reference('weighted', $r->{json}, reference($rows{$one}, 1));
	is($f->{statusBreakdown}{source}, 'estimated', 'an estimate');
	my ($low, $high) = @{ $f->{statusBreakdown} }{qw(low high)};
	my $n = $r->{json}{statusBreakdown};
	cmp_ok($low->{ok}, '<', $n->{ok}, 'ok: from');
	cmp_ok($high->{ok}, '>', $n->{ok}, 'ok: to');
	is($low->{error}, $high->{error}, 'each error was kept');
	cmp_ok($f->{successRate}{low}, '<', $r->{json}{successRate}, 'rate: from');
	cmp_ok($f->{successRate}{high}, '>', $r->{json}{successRate}, 'rate: to');
	cmp_ok($f->{pointsSum}{low}, '<', $r->{json}{pointsSum}, 'points: from');
	is($f->{percentiles}{source}, 'sample', 'percentiles of the sample');
	cmp_ok($f->{percentiles}{p95Ms}{low}, '<=',
		$r->{json}{duration}{p95Ms}, 'p95: from');
	cmp_ok($f->{percentiles}{p95Ms}{high}, '>=',
		$r->{json}{duration}{p95Ms}, 'p95: to');
	$f = metrics($idle)->{json}{figures};
	is($f->{statusBreakdown}{high}{ok}, 30,
		'none kept of up to 3 / rate that may have run');
};

sub count_hour {
	my ($id, $hour, $boot, $status, $code, $case, $runs, $ms, $points) = @_;

	$pg->psql("INSERT INTO gamed.strategy_hour VALUES ('$id', '$hour+00',
		'here', extract(epoch from '$boot+00'::timestamptz) * 1000000, 1,
		'$status', '$code', '" . ($case // '') . "', "
		. (defined $case ? 'false' : 'true') . ", $runs, $ms, 77, "
		. 3 * $runs . ", 9, $points, '{}')");
	return;
}

subtest 'counters know' => sub {
	# the server with counters started ten minutes into the hour of row 60
	my $boot = '2025-06-01 01:10';
	count_hour($one, '2025-06-01 01:00', $boot, 'ok', '', 'case 1', 9000, 18000, 900);
	count_hour($one, '2025-06-01 02:00', $boot, 'ok', '', undef, 1000, 1000, 0);
	count_hour($one, '2025-06-01 02:00', $boot, 'error', 'CODE_X', undef, 100, 50, 0);

	my $r = metrics($one, 'since=2025-06-01T02:00:00Z&until=2025-06-01T02:59:59.999999Z');
	is_deeply($r->{json}{statusBreakdown}, { ok => 1000, error => 100,
		timeout => 0, limit => 0, other => 0, total => 1100 }, 'one hour');
	is($r->{json}{figures}{statusBreakdown}{source}, 'exact', 'exactly');
	is_deeply($r->{json}{topErrors}, [ { code => 'CODE_X', count => 100 } ],
		'its codes');
	is_deeply($r->{json}{topCases}, [ { caseName => undef, count => 1100 } ],
		'its cases');
	near($r->{json}{duration}{avgMs}, 1050 / 1100, 'mean of all runs');
	is($r->{json}{duration}{maxMs}, 77, 'the longest');
	is($r->{json}{nodesAvg}, 3, 'nodes');
	is($r->{json}{duration}{sampleSize}, 60, 'percentiles from rows still');

	# rows before the start, counters after it
	$r = metrics($one);
	my $before = reference([ @{ $rows{$one} }[ 0 .. 69 ] ], 1);
	is($r->{json}{statusBreakdown}{total},
		$before->{statusBreakdown}{total} + 10100, 'both together');
	near($r->{json}{pointsSum}, $before->{pointsSum} + 900, 'and points');
	is($r->{json}{figures}{pointsSum}{source}, 'mixed', 'mixed');
	is($r->{json}{figures}{countersFrom}, '2025-06-01T01:10:00Z',
		'since the start');

	# runs that were counted and never written, for the server crashed
	$pg->psql("INSERT INTO gamed.strategy_gap VALUES ('here',
		'2025-06-01 02:10+00', '2025-06-01 02:20+00')");
	$r = metrics($one, 'since=2025-06-01T02:00:00Z&until=2025-06-01T02:59:59.999999Z');
	my $lost = reference([ @{ $rows{$one} }[ 130 .. 139 ] ], 1);
	is($r->{json}{statusBreakdown}{total},
		$lost->{statusBreakdown}{total} + 1100, 'rows stand for them');
	is($r->{json}{figures}{statusBreakdown}{source}, 'mixed', 'which is said');
	# another server lost some, and these rows may be of this one
	$pg->psql("UPDATE gamed.strategy_gap SET server = 'there'");
	$r = metrics($one, 'since=2025-06-01T02:00:00Z&until=2025-06-01T02:59:59.999999Z');
	is($r->{json}{statusBreakdown}{total}, 1100, 'nothing is counted twice');
	is($r->{json}{figures}{statusBreakdown}{source}, 'mixed', 'nor exact');
	$pg->psql('DELETE FROM gamed.strategy_gap');

	# the edges of a window that is no whole hour come from rows
	$r = metrics($one, 'since=2025-06-01T01:30:00Z&until=2025-06-01T03:29:00Z');
	my $edge = reference([ @{ $rows{$one} }[ 90 .. 119, 180 .. 209 ] ], 1);
	is($r->{json}{statusBreakdown}{total},
		$edge->{statusBreakdown}{total} + 1100, 'half an hour on each side');

	# b succeeds always, and so often that it can be said
	count_hour($two, '2025-06-01 02:00', $boot, 'ok', '', 'C', 5000, 100, 0);
	$r = $c->get("$C/compare?a=$one&b=$two&since=2025-06-01T02:00:00Z"
		. '&until=2025-06-01T02:59:59.999999Z');
	is($r->{json}{claims}{successRate}{claim}, 'b is higher', 'claimed');
	is($r->{json}{claims}{errorRate}{claim}, 'b is lower', 'and errors');
	is($r->{json}{claims}{p95Ms}{claim}, 'no difference can be claimed',
		'nothing about what has no sample');
	is($r->{json}{verdict}, 'a difference can be claimed', 'the verdict');
};

$d->stop;
done_testing;
