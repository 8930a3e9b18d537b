#!/usr/bin/perl
# Simulation over HTTP: the pipeline of an award with mocked fields, its whole
# trace, typed errors with their statuses, and nothing left behind
# (api-endpoints.md 26, 27; dsl.md 11, 12, 16).
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

my $JSON = JSON::PP->new->canonical->allow_nonref;
my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'server.workers' => 1,
	'http.access_log' => 'false',
	'evidence.sample_rate' => 1,
});

sub new_key {
	my ($rc, $out, $err) = $d->gamectl('apikey', 'create', '--client', @_);
	die "apikey create: $err" if $rc;
	chomp $out;
	return $out;
}
my ($author, $stranger, $admin) = map {
	Gamed::Client->new(port => $d->port, key => $_) }
	new_key('author'), new_key('stranger'), new_key('admin', '--admin');
my $C = '/api/v1/strategies/custom';

sub lit { return { type => 'literal', value => $_[0] } }
sub field { return { type => 'field', path => $_[0] } }
sub op {
	my ($type, $op, $left, $right) = @_;
	return { type => $type, op => $op, left => $left, right => $right };
}
sub assign {
	my ($value, $case) = @_;
	return { type => 'assign_points', id => 'give', value => $value,
		case_name => $case };
}
sub always {
	return { type => 'program', id => 'p', rules => [],
		default => assign($_[0], $_[1] // 'Case') };
}

my %event = (externalGameId => 'campaign', externalTaskId => 't-1',
	externalUserId => 'user-1');

sub simulate {
	my ($ast, %rest) = @_;
	return $author->post("$C/simulate", { %event, astJson => $ast, %rest });
}

sub failed {
	my ($r, $status, $code, $node, $name) = @_;

	is($r->{status}, $status, $name) or diag $r->{body};
	my $detail = $r->{json}{detail};
	is(ref $detail ? $detail->{code} : undef, $code, "$name: code");
	is($r->{headers}{'x-node-id'}, $node, "$name: node");
	return ref $detail ? $detail->{params} : $detail;
}

# Row counts of everything that a run could leave behind.
sub footprint {
	my @tables = qw(users userpoints wallet wallettransactions useractions
		strategyexecutionlog strategydefinition gamed.agg_user_task);
	return join ' ', $pg->psql(join ' union all ',
		map { "select '$_=' || count(*) from $_" } @tables);
}

my $metrics = Gamed::Client->new(port => $d->metrics_port);

# The counters of runs and awards.
sub counters {
	my $text = $metrics->get('/metrics')->{body};

	return join "\n", grep { /^(?:dsl_|game_dsl|gamed_award|gamed_dsl
		|gamed_evidence_produced_total\{class="(?:sample|error)")/x
		&& !/_bucket/ } split /\n/, $text;
}

# ---- fixture: a game with two awards on one task ------------------------------

my $game = $author->post('/api/v1/games', { externalGameId => 'campaign',
	platform => 'web' })->{json}{gameId};
$author->post("/api/v1/games/$game/tasks", { externalTaskId => 't-1' });
for (1 .. 2) {
	my $r = $author->post("/api/v1/games/$game/tasks/t-1/points",
		{ externalUserId => 'user-1' });
	is($r->{status}, 200, 'an award') or diag $r->{body};
}

my $zone = { type => 'program', id => 'p', rules => [ {
	type => 'rule', id => 'zone',
	when => { type => 'and', id => 'both', args => [
		op('compare', '==', field('data.zone'), lit('harbour')),
		op('compare', '<', field('task.measurements_count'), lit(5)) ] },
	then => [ { type => 'set_callback_data', id => 'say', key => 'zone',
		value => field('data.zone') },
		assign(op('arith', '+', lit(10),
			field('task.measurements_count')), 'Zone') ],
} ] };

my ($before, $counted) = (footprint(), counters());
like($counted, qr/gamed_award/, 'there are counters to look at');

# ---- inline ---------------------------------------------------------------------

subtest 'result and whole trace' => sub {
	my $r = simulate($zone, data => { zone => 'harbour' });

	is($r->{status}, 200, 'answered') or diag $r->{body};
	like($r->{body}, qr/^\{"points":12\.0,"caseName":"Zone",
		"callbackData":\{"zone":"harbour"\},"executionTrace":\[
		\{"nodeId":"both\.compare\.0\.field\.0","type":"field",
		"value":"harbour","branch":null\},/x,
		'members in their order, points a float');
	my @trace = @{ $r->{json}{executionTrace} };
	is(join(' ', map { join ',', sort keys %$_ } @trace),
		join(' ', ('branch,nodeId,type,value') x @trace),
		'four keys each');
	is(join(' ', map { $_->{type} . ($_->{branch} ? ":$_->{branch}" : '') }
		@trace), 'field literal compare field literal compare and '
		. 'rule:match field set_callback_data literal field arith '
		. 'assign_points:match', 'in order of evaluation');
	$r = simulate($zone, data => { zone => 'elsewhere' });
	is_deeply([ @{ $r->{json} }{qw(points caseName callbackData)} ],
		[ 0, undef, {} ], 'no match and no default');
	like($r->{body}, qr/"points":0\.0/, 'a float too');
	is($r->{json}{executionTrace}[-1]{branch}, 'skip', 'the rule skipped');
};

subtest 'mocks stand in for analytics and data' => sub {
	my $r = simulate($zone, data => { zone => 'x' }, mockState => {
		'data.zone' => 'harbour', 'task.measurements_count' => 4,
		'no.such.path' => 1 });
	is($r->{json}{points}, 14, 'both read from the mocks');
	$r = simulate($zone, externalGameId => 'no-such-game',
		data => { zone => 'harbour' });
	is($r->{json}{points}, 10, 'a game that does not exist has no awards');
	$r = simulate($zone, externalTaskId => 'no-such-task',
		data => { zone => 'harbour' });
	is($r->{json}{points}, 10, 'nor has such a task');
	my %body = (%event, astJson => $zone, data => { zone => 'harbour' });
	is($stranger->post("$C/simulate", \%body)->{status}, 403,
		'numbers of a foreign game are not for everybody');
	$r = $stranger->post("$C/simulate", { %body,
		mockState => { 'task.measurements_count' => 1 } });
	is($r->{json}{points}, 11, 'what is mocked is not read');
	is($admin->post("$C/simulate", \%body)->{json}{points}, 12,
		'an administrator may');
};

subtest 'DSL_EXTEND runs with its parent' => sub {
	my $ast = { type => 'program', id => 'p', rules => [],
		pre_rules => [ { type => 'rule', id => 'pre',
			when => field('data.cheat'),
			then => [ { type => 'veto', id => 'no',
				case_name => 'Cheat' } ] } ],
		post_rules => [ { type => 'rule', id => 'post',
			when => lit(JSON::PP::true),
			then => [ { type => 'set_points', id => 'more',
				value => op('arith', '*',
					field('parent.points'), lit(1.5)) } ],
		} ],
		parent_variables => { variable_basic_points => 4 } };
	my %as = (type => 'DSL_EXTEND', parentStrategyId => 'default');
	my $r = simulate($ast, %as, mockState =>
		{ 'task.measurements_count' => 1 });
	is("$r->{json}{points} $r->{json}{caseName}", '6 BasicEngagement',
		'the parent sees the mock, its variables are overridden')
		or diag $r->{body};
	is(scalar(grep { $_->{nodeId} eq 'pre' || $_->{nodeId} eq 'post' }
		@{ $r->{json}{executionTrace} }), 2, 'both phases are traced');
	$r = simulate($ast, %as, mockState => { 'task.measurements_count' => '5.0',
		'user.measurements_count' => 9, 'user.avg_time' => 1,
		'all.avg_time' => 2.5 });
	is($r->{status}, 422, 'a count as text');
	$r = $author->post("$C/simulate", $JSON->encode({ %event, %as,
		astJson => $ast, mockState => { 'task.measurements_count' => 5,
		'user.measurements_count' => 9, 'user.avg_time' => 1,
		'all.avg_time' => 2 } }) =~ s/"task.measurements_count":5/$&.0/r);
	is("$r->{json}{points} $r->{json}{caseName}", '21 PerformanceBonus',
		'5.0 is a count') or diag $r->{body};
	$r = simulate($ast, %as, mockState => { 'task.measurements_count' =>
		'five', 'user.measurements_count' => 5.5, 'user.avg_time' => {},
		'user.recent_measurements_count' => 'not read', 'no.such' => [] });
	is($r->{status}, 422, 'values that the parent cannot read');
	is(join(' ', map { join ':', @{ $_->{loc} }, $_->{type} }
		@{ $r->{json}{detail} }), 'body:mockState:task.measurements_count:'
		. 'int_type body:mockState:user.measurements_count:int_from_float '
		. 'body:mockState:user.avg_time:float_type', 'all of them')
		or diag $r->{body};
	is($r->{json}{detail}[0]{input}, 'five', 'with what was sent');
	$r = simulate($ast, %as, mockState => { 'task.measurements_count' => -1 });
	is($r->{json}{detail}[0]{type}, 'greater_than_equal', 'below 0');
	is_deeply($r->{json}{detail}[0]{ctx}, { ge => 0 }, 'its context');
	$r = simulate($ast, mockState => { 'task.measurements_count' => 'five' });
	is($r->{status}, 200, 'without a parent they are of any kind');
	$r = simulate($ast, %as, data => { cheat => JSON::PP::true });
	is("$r->{json}{points} $r->{json}{caseName}", '0 Cheat', 'a veto');
	$r = simulate($ast);
	is($r->{json}{points}, 0, 'without a type it is a full program');
};

# ---- errors ------------------------------------------------------------------------

subtest 'typed errors' => sub {
	my $params = failed(simulate(always(op('arith', '/', lit(1),
		field('data.by'))), data => { by => 0 }), 400,
		'DSL_ARITH_DIV_BY_ZERO', 'give.arith.0', 'division by zero');
	is_deeply($params, { nodeId => 'give.arith.0', op => '/' }, 'params');
	failed(simulate(always(op('arith', '+', lit('a'), lit(1)))), 400,
		'DSL_ARITH_TYPE_MISMATCH', 'give.arith.0', 'types');
	failed(simulate(always(field('no.such'))), 400,
		'DSL_FIELD_PATH_NOT_ALLOWED', 'give.field.0', 'validation');
	my $text = failed(simulate({}), 400, undef, 'p.program.0',
		'structure');
	is(ref $text, '', 'a plain string');
	failed(simulate(always(op('arith', '*', lit('a' x 100), lit(10000)))),
		412, 'DSL_VALUE_TOO_LARGE', 'give.arith.0', 'limit');
	failed(simulate(always(lit(1)), type => 'DSL_EXTEND',
		parentStrategyId => 'none'), 400, 'DSL_PARENT_FAILED', undef,
		'an unknown parent');
	my $r = $author->post("$C/simulate", { externalGameId => '',
		externalTaskId => 'x' x 201, data => [], mockState => 5 });
	is($r->{status}, 422, 'faults');
	is(join(' ', map { "$_->{loc}[1]:$_->{type}" }
		@{ $r->{json}{detail} }), 'externalGameId:string_too_short '
		. 'externalTaskId:string_too_long externalUserId:missing '
		. 'data:dict_type mockState:dict_type astJson:missing',
		'all of them');
	is(Gamed::Client->new(port => $d->port)->post("$C/simulate",
		\%event)->{status}, 403, 'nobody');
};

# ---- stored -------------------------------------------------------------------------

subtest 'a stored strategy of any status' => sub {
	my $row = $author->post($C, { name => 'stored', astJson => $zone })
		->{json};
	my $run = sub { return $author->post("$C/$row->{id}/simulate",
		{ %event, data => { zone => 'harbour' } }) };
	is($run->()->{json}{points}, 12, 'a draft') or diag $run->()->{body};
	$admin->post("$C/$row->{id}/publish");
	is($run->()->{json}{caseName}, 'Zone', 'published');
	$admin->post("$C/$row->{id}/archive");
	is($run->()->{json}{caseName}, 'Zone', 'archived');
	is($stranger->post("$C/$row->{id}/simulate", \%event)->{status}, 404,
		'another realm');
	is($author->post("$C/nonsense/simulate", \%event)->{status}, 404,
		'no UUID');
	my $none = $author->post($C, { name => 'no-program' })->{json}{id};
	my $params = failed($author->post("$C/$none/simulate", \%event), 400,
		'DSL_NO_AST_TO_SIMULATE', undef, 'no program');
	is_deeply($params, { strategyId => $none }, 'params');
	my $ext = $author->post($C, { name => 'extends', type => 'DSL_EXTEND',
		parentStrategyId => 'constantEffortStrategy', astJson =>
		{ type => 'program', rules => [] } })->{json}{id};
	my $r = $author->post("$C/$ext/simulate", { %event, mockState =>
		{ 'user.recent_measurements_count' => 4 } });
	is("$r->{json}{points} $r->{json}{caseName}",
		'5 ConstantEffortReward', 'its parent scores')
		or diag $r->{body};
	$r = $author->post("$C/$ext/simulate", { %event, mockState =>
		{ 'user.recent_measurements_count' => '4' } });
	is($r->{status}, 422, 'and cannot with a text for a count');
	is($r->{json}{detail}[0]{loc}[2], 'user.recent_measurements_count',
		'which is named') or diag $r->{body};
	$pg->psql("delete from strategydefinition");
};

subtest 'large values shown again and again' => sub {
	my $wide = 'x' x 60_000;
	my @sets = map { { type => 'set_callback_data', id => "s$_", key => "k$_",
		value => field('data.b') } } 1 .. 70;
	my %program = (type => 'program', id => 'p');
	my $params = failed(simulate({ %program, rules => [{ type => 'rule',
		id => 'r', when => lit(JSON::PP::true),
		then => [@sets, assign(lit(1), 'Case')] }] },
		data => { b => $wide }), 412, 'DSL_VALUE_TOO_LARGE', 's18',
		'callback data');
	is_deeply($params, { nodeId => 's18', op => 'set_callback_data',
		limit => 1 << 20 }, 'params');

	my $many = { %program, rules => [map { { type => 'rule', id => "r$_",
		when => op('compare', '!=', field('data.b'), field('data.b')),
		then => [assign(lit(1), 'Case')] } } 1 .. 100],
		default => assign(lit(2), 'Other') };
	for my $b ($wide, [(1) x 20_000]) {
		my $r = simulate($many, data => { b => $b });
		my @shown = map { $_->{value} } grep { $_->{type} eq 'field' }
			@{ $r->{json}{executionTrace} };

		is("$r->{status} $r->{json}{caseName}", '200 Other', 'runs');
		is(scalar @shown, 200, 'every node is there');
		is_deeply($shown[0], $b, 'the first values are whole');
		is($shown[199], ref $b ? undef : 'x' x 1024, 'the last are not');
		cmp_ok($r->{json}{executionTraceValuesCut}, '>', 150,
			'which is said');
		cmp_ok(length $r->{body}, '<', 2 << 20, 'the answer is bounded');
	}
};

# ---- nothing is left ------------------------------------------------------------------

is(footprint(), $before, 'no row was written');
is(counters(), $counted, 'no counter of runs or awards moved');

subtest 'a run that is over before the database has answered' => sub {
	my $lock = $pg->background(
		'begin; lock table gamed.agg_task; select pg_sleep(30)');
	my $ok = Gamed::Daemon::eventually(sub { $pg->psql(q(select count(*)
		from pg_locks where mode = 'AccessExclusiveLock' and granted
		and relation = 'gamed.agg_task'::regclass)) > 0 });
	ok($ok, 'the table is locked');
	my $params = failed(simulate($zone), 412, 'DSL_TIMEOUT', undef,
		'time-out');
	is_deeply($params, { timeoutMs => 500 }, 'params');
};

$d->stop;
done_testing;
