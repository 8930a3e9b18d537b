#!/usr/bin/perl
# More label sets than there is room for, by requests: realms, error series,
# versions of strategies and case names.  What finds no room is counted under
# _other, no total is off by one, and a metric says how much was folded
# (DESIGN 5, observability.md 1.5).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use List::Util qw(sum0);
use Test::More;
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

# Room of the shared block (src/shm/shm.h); the realm of the configuration is
# there from the start.
my %room = (realm => 255 - 1, program => 511, case => 1023, series => 510);
my ($STRATEGIES, $REALMS) = (560, 280);

my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => { 'server.workers' => 2,
	'http.access_log' => 'false', 'audit.enabled' => 'false',
	'evidence.sample_rate' => 0 });
my ($rc, $key) = $d->gamectl('apikey', 'create', '--client', 'overflow');
is($rc, 0, 'a key');
chomp $key;
my ($prefix) = $key =~ /^([^.]+)/;
my $game = '0b0e5bd1-1c7a-4a7e-8f7c-5d3a1f6e2b90';
my $id = "('5d1a9c1e-7f0b-4a51-9f5e-' || lpad(i::text, 12, '0'))";

# Two cases of its own each, and three ways to fail.
my $by = { type => 'field', path => 'data.by' };
my $ast = JSON::PP->new->canonical->encode({ type => 'program', id => 'p',
	rules => [ { type => 'rule', id => 'two', when => { type => 'compare',
		op => '==', left => $by, right => { type => 'literal', value => 2 } },
		then => [ { type => 'assign_points', id => 'a', case_name => 'A-%1$s',
			value => { type => 'literal', value => 1 } } ] },
		{ type => 'rule', id => 'four', when => { type => 'compare',
		op => '==', left => $by, right => { type => 'literal', value => 4 } },
		then => [ { type => 'assign_points', id => 'c', case_name => 'C',
			value => { type => 'field', path => 'data.points' } } ] } ],
	default => { type => 'assign_points', id => 'b', case_name => 'B-%1$s',
		value => { type => 'arith', op => '/',
			left => { type => 'literal', value => 6 }, right => $by } } });
$pg->psql(<<"SQL");
insert into games (id, created_at, updated_at, "externalGameId", "strategyId",
	platform, "apiKey_used")
values ('$game', now(), now(), 'campaign', 'default', 'web', '$prefix');
insert into strategydefinition (id, created_at, updated_at, "realmId", name,
	type, version, status, "astJson")
select $id\::uuid, now(), now(), 'realm-' || i % $REALMS, 's-' || i, 'DSL_FULL',
	1, 'PUBLISHED', format('$ast', i)::json
from generate_series(0, $STRATEGIES - 1) i;
insert into tasks (id, created_at, updated_at, "externalTaskId", "gameId",
	"strategyId", status)
select gen_random_uuid(), now(), now(), 't-' || i, '$game', 'custom:' || $id,
	'open' from generate_series(0, $STRATEGIES - 1) i;
SQL

# ---- requests ---------------------------------------------------------------

my %answers; # status => how many
my $c = Gamed::Client->new(port => $d->port, key => $key);
for my $i (0 .. $STRATEGIES - 1) {
	for my $data ({ by => 2 }, { by => 3 }, { by => 0 }, { by => 'x' },
		{ by => 4, points => 'many' }) {
		my $r = $c->post("/api/v1/games/$game/tasks/t-$i/points",
			{ externalUserId => 'user', data => $data });
		$answers{ $r->{status} }++;
	}
}
is_deeply(\%answers, { 200 => 2 * $STRATEGIES, 400 => 3 * $STRATEGIES },
	'requests are answered as ever') or diag explain \%answers;

# ---- the scrape -------------------------------------------------------------

my $s = $d->metrics;

sub sum_of {
	my ($re) = @_;
	return sum0(map { $s->{$_} } grep { /$re/ } keys %$s);
}

sub folded { return $s->{"gamed_metric_label_overflow_total{family=\"$_[0]\"}"} }

subtest 'realms' => sub {
	my %realms = map { /realm="([^"]*)"/ ? ($1 => 1) : () }
		grep { /^dsl_execution_duration_seconds_count/ } keys %$s;
	my $lost = $REALMS - $room{realm};
	my $runs = 5 * $STRATEGIES / $REALMS * $lost;
	my $count = 'dsl_execution_duration_seconds_count\{.*';

	is(scalar keys %realms, $room{realm} + 2, 'as many as there is room for');
	ok($realms{_other}, 'and _other');
	is(sum_of("^${count}realm=\"_other\""), $runs, 'runs of the rest');
	is(folded('realm'), $runs, 'and that they were folded');
	is(sum_of("^${count}status=\"ok\""), 2 * $STRATEGIES, 'all that went well');
	is(sum_of("^${count}status=\"error\""), 3 * $STRATEGIES, 'all that failed');
	is(sum_of("^$count"), 5 * $STRATEGIES, 'all runs');
	is(sum_of('^dsl_execution_duration_seconds_bucket\{le="\+Inf"'),
		5 * $STRATEGIES, 'in the buckets too');
};

subtest 'errors' => sub {
	my $other = 'dsl_execution_errors_total{code="_other",realm="_other",'
		. 'strategy_type="DSL_FULL"}';
	my @series = grep { /^dsl_execution_errors_total/ && $s->{$_} } keys %$s;

	is(scalar @series, $room{series} + 1, 'as many series as there is room for');
	cmp_ok($s->{$other}, '>', 0, 'and _other');
	is(folded('dsl_execution_errors_total'), $s->{$other}, 'and how many it has');
	is(sum_of('^dsl_execution_errors_total'), 3 * $STRATEGIES, 'all errors');
	is(folded('code'), 0, 'codes had room');
};

subtest 'versions and cases' => sub {
	is(folded('program'), 5 * ($STRATEGIES - $room{program}),
		'runs of versions without a place');
	is(folded('case'), 2 * $STRATEGIES - $room{case},
		'runs of cases without a place');
	my @top = grep { $_->{kind} eq 'strategy' }
		map { JSON::PP::decode_json($_) } $d->admin('top');
	my $runs = sum0(map { $_->{ok} + $_->{error} + $_->{timeout} + $_->{limit} }
		@top);
	is($runs, 5 * $STRATEGIES, 'gamectl top has every run');
};

subtest 'what came first goes on' => sub {
	my $first = 'dsl_execution_duration_seconds_count{realm="realm-0",'
		. 'status="ok",strategy_type="DSL_FULL"}';
	my $before = $s->{$first};

	is($c->post("/api/v1/games/$game/tasks/t-0/points",
		{ externalUserId => 'user', data => { by => 2 } })->{status}, 200,
		'an award');
	is($d->metrics->{$first}, $before + 1, 'in its own series');
};

$d->stop;
done_testing;
