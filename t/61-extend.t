#!/usr/bin/perl
# Strategies of the type DSL_EXTEND and the built-ins behind them, end to end:
# what they award, what they refuse, and the evidence they leave
# (dsl.md 15, 18; DESIGN 4, 7).
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
	'evidence.mask' => 'secret',
	'dsl.timeout_ms' => 800, # less than database.lock_timeout_ms
});
my ($rc, $key) = $d->gamectl('apikey', 'create', '--client', 'tester');
die 'apikey create' if $rc;
chomp $key;
my ($prefix) = $key =~ /^([^.]+)/;
my $game = '0b0e5bd1-1c7a-4a7e-8f7c-5d3a1f6e2b91';
my $client = Gamed::Client->new(port => $d->port, key => $key);

sub one { return $pg->psql($_[0]) }

# ---- programs ----------------------------------------------------------------

sub field { return { type => 'field', path => $_[0] } }
sub lit { return { type => 'literal', value => $_[0] } }
sub arith { return { type => 'arith', op => $_[0], left => $_[1], right => $_[2] } }
sub rule { my ($id, $when, @then) = @_;
	return { type => 'rule', id => $id, when => $when, then => \@then } }
sub set { my ($what, $key, $value) = @_;
	return { type => $what, id => "$what.$key", key => $key, value => $value } }

sub extend {
	my (%section) = @_;
	return { type => 'program', id => 'p', rules => [], %section };
}

my $seq = 0;

# A task of the strategy; params are its own.
sub add_task {
	my ($name, $strategy, %params) = @_;
	my $id = one(<<"SQL");
insert into tasks (id, created_at, updated_at, "externalTaskId", "gameId",
	"strategyId", status)
values (gen_random_uuid(), now(), now(), '$name', '$game', '$strategy', 'open')
returning id
SQL
	one(<<"SQL") for sort keys %params;
insert into tasksparams (id, created_at, updated_at, key, value, "taskId")
values (gen_random_uuid(), now(), now(), '$_', '$params{$_}', '$id')
SQL
	return $id;
}

# A published EXTEND of that parent, and a task with its name.
sub add_extend {
	my ($name, $parent, $ast) = @_;
	my $id = sprintf '6d1a9c1e-7f0b-4a51-9f5e-%012x', ++$seq;
	my $text = $JSON->encode($ast) =~ s/'/''/gr;
	one(<<"SQL");
insert into strategydefinition (id, created_at, updated_at, "realmId", name,
	type, "parentStrategyId", version, status, "astJson")
values ('$id', now(), now(), 'test', '$name', 'DSL_EXTEND', '$parent', 2,
	'PUBLISHED', '$text')
SQL
	add_task($name, "custom:$id");
	return $id;
}

sub award {
	my ($task, $user, $data, %rest) = @_;
	return $client->post("/api/v1/games/$game/tasks/$task/points",
		{ externalUserId => $user, data => $data, %rest });
}

# "points case" of an award, or what was answered instead.
sub given {
	my $r = award(@_);
	return $r->{status} == 200
		? "$r->{json}{points} $r->{json}{caseName}"
		: "$r->{status} " . $JSON->encode($r->{json}{detail});
}

# The execution log's row of a kept run, as soon as it is there.
sub evidence {
	my ($r) = @_;
	my $id = $r->{headers}{'x-trace-id'} or return {};
	my $text;
	Gamed::Daemon::eventually(sub {
		$text = one("select row_to_json(x) from "
			. "strategyexecutionlog x where id = '$id'");
	});
	return $text ? $JSON->decode($text) : {};
}

one(<<"SQL");
insert into games (id, created_at, updated_at, "externalGameId", "strategyId",
	platform, "apiKey_used")
values ('$game', now(), now(), 'extended', 'default', 'web', '$prefix')
SQL

# ---- the pipeline ------------------------------------------------------------

my $full = add_extend('full', 'default', extend(
	pre_rules => [
		rule('ban', field('data.bot'), { type => 'veto', id => 'no',
			case_name => 'Bot' }),
		rule('fill', lit(JSON::PP::true),
			set('set_data', 'min', { type => 'func_call',
				name => 'int', args => [ arith('/',
					field('data.sec'), lit(60)) ] }),
			set('set_callback_data', 'lost', lit(1))),
	],
	post_rules => [
		rule('add', { type => 'compare', op => '==',
				left => field('parent.case_name'),
				right => lit('BasicEngagement') },
			{ type => 'set_points', id => 'sum', value =>
				arith('+', field('parent.points'),
					field('data.min')) },
			set('set_callback_data', 'min', field('data.min'))),
	],
	parent_variables => { variable_basic_points => 4 }));

subtest 'pre, parent and post make one award (dsl.md 23.2)' => sub {
	my $r = award('full', 'ana', { sec => 150,
		eventId => 'acknowledged' });
	my ($row, @at);

	is($r->{status}, 200, 'answered') or diag $r->{body};
	is("$r->{json}{points} $r->{json}{caseName}", '6 BasicEngagement',
		'4 of the parent with its variable, and 2 minutes');
	is(one(q(select data->'callbackData' from userpoints)), '{"min": 2}',
		'callback data of post; that of pre is lost');
	is(one(q(select data->>'min' from userpoints)), '',
		'what pre set is not part of the event');

	$row = evidence($r);
	is($row->{strategyType}, 'DSL_EXTEND', 'the row: type');
	is($row->{parentStrategyId}, 'default', 'its parent');
	is("$row->{strategyId} $row->{strategyVersion} $row->{status}",
		"$full 2 ok", 'strategy, version, status');
	is($row->{nodesExecuted}, scalar(@{ $row->{trace} }) - 1,
		'nodesExecuted does not count the parent');
	@at = grep { $row->{trace}[$_]{type} eq 'parent' }
		0 .. $#{ $row->{trace} };
	is(scalar @at, 1, 'one entry of the trace is the parent');
	is_deeply($row->{trace}[ $at[0] ], { nodeId => 'default',
		type => 'parent', value => { points => 4,
			caseName => 'BasicEngagement' } }, 'with its result');
	is($row->{trace}[ $at[0] - 1 ]{type}, 'set_callback_data',
		'it stands behind pre');
	is($row->{trace}[ $at[0] + 1 ]{value}, 'BasicEngagement',
		'and before post');
	is_deeply($row->{fields}, { 'data.bot' => undef, 'data.sec' => 150,
		'data.min' => 2, 'parent.points' => 4,
		'parent.case_name' => 'BasicEngagement',
		'task.measurements_count' => 0 },
		'the fields of post, and what the parent read');
};

subtest 'a veto ends the run' => sub {
	my $r = award('full', 'bot', { bot => JSON::PP::true, sec => 60 });
	my $row = evidence($r);

	is("$r->{json}{points} $r->{json}{caseName}", '0 Bot', 'answered');
	is(scalar(grep { $_->{type} eq 'parent' } @{ $row->{trace} }), 0,
		'the parent was not asked');
	is($row->{trace}[-1]{branch}, 'veto', 'the veto decides');
};

subtest 'an error in a phase awards nothing and names the node' => sub {
	my $before = one('select count(*) from userpoints');
	my $r = award('full', 'ana', { sec => 'x', eventId => 'bad' });
	my $row = evidence($r);

	is($r->{status}, 400, 'answered');
	is($r->{json}{detail}{code}, 'DSL_ARITH_TYPE_MISMATCH', 'typed');
	is($row->{status}, 'error', 'kept as an error');
	is($row->{trace}[-1]{branch}, 'failed', 'up to the node that failed');
	is(one('select count(*) from userpoints'), $before, 'nothing stored');
};

subtest 'whole numbers stay what they are' => sub {
	add_extend('bare', 'default', extend());
	add_extend('weekend', 'default', extend(post_rules => [
		rule('w', field('data.is_weekend'),
			{ type => 'set_points', id => 'x', value =>
				arith('*', field('parent.points'), lit(1.5)) },
			{ type => 'set_case_name', id => 'y',
				value => lit('WeekendBonus') }) ]));
	is(given('bare', 'ana', {}), '1 BasicEngagement', 'no sections');
	is(given('weekend', 'ana', {}), '1 BasicEngagement', 'no bonus');
	my $r = award('weekend', 'ana', { is_weekend => JSON::PP::true,
		eventId => 'w' });
	is($r->{status}, 422, '1.5 points cannot be stored');
	is($r->{json}{detail}{code}, 'DSL_POINTS_NOT_STORABLE', 'typed');
	is(evidence($r)->{reason}, 'refused', 'and kept as refused');
};

subtest 'a simulated award writes nothing' => sub {
	my $before = one('select count(*) from userpoints');
	my $r = award('full', 'sim', { sec => 120 },
		isSimulated => JSON::PP::true);

	is($r->{status}, 200, 'answered') or diag $r->{body};
	is($r->{json}{caseName}, 'default', 'scored: the task has two awards');
	is(one('select count(*) from userpoints'), $before, 'not stored');
};

# ---- parents -----------------------------------------------------------------

subtest 'constantEffortStrategy counts in its own window' => sub {
	add_extend('effort', 'constantEffortStrategy', extend());
	add_extend('effort-long', 'constantEffortStrategy', extend(
		parent_variables =>
			{ variable_constant_effort_interval_minutes => 30 },
		post_rules => [ rule('r', lit(JSON::PP::true),
			set('set_callback_data', 'recent',
				field('user.recent_measurements_count'))) ]));
	is(given('effort', 'ana', {}), '1 BasicReward', 'nothing before');
	is(given('effort', 'ana', {}), '2 ConstantEffortReward', 'one before');
	given('effort-long', 'ana', {}) for 1 .. 3;
	one(q(update userpoints set created_at = now() - interval '10 minutes'
		where "taskId" = (select id from tasks
			where "externalTaskId" = 'effort-long')));
	given('effort-long', 'ana', {});
	is(given('effort-long', 'ana', { eventId => 'window' }),
		'5 ConstantEffortReward', 'four within 30 minutes');
	is(one(q(select data->'callbackData'->>'recent' from userpoints
		where "idempotencyKey" = 'window')), '1',
		'while the field still means 300 s');
};

subtest 'socio_bee is default' => sub {
	add_extend('bee', 'socio_bee', extend());
	is(given('bee', 'ana', {}), '1 BasicEngagement', 'first');
	add_task('bee-bare', 'socio_bee');
	is(given('bee-bare', 'ana', {}), '1 BasicEngagement', 'by itself');
};

subtest 'greengageStrategy' => sub {
	add_task('green', 'greengageStrategy', development => 'High',
		exploitation => 'Low', management => 'None');
	is(given('green', 'gia', {}), '422 "minutes is required"', 'no minutes');
	is(given('green', 'gia', { minutes => 'x' }),
		'422 "minutes must be a whole number of 0 or more"', 'text');
	is(given('green', 'gia', { minutes => -1 }),
		'422 "minutes must be a whole number of 0 or more"', 'negative');
	is(given('green', 'gia', { minutes => 0 }), '10 Case 1.1 (DP)',
		'0 minutes, nothing recent');
	is(given('green', 'gia', { minutes => 0 }), '5 Case 1.2 (DP/2)',
		'0 minutes, one recent');
	is(given('green', 'new', { minutes => 20 }), '20 Case 2 (DP x 2)',
		'fewer than two in the game');
	# minutes so far: 20 in the game, none of gia
	is(given('green', 'gia', { minutes => 40 }), '450 Case 3 (BP)',
		'above the mean of the game');
	is(given('green', 'gia', { minutes => 10 }), '10 Case 4.2 (DPTE)',
		'below both means');
	# now 20 + 40 + 10 in the game, 40 + 10 of gia: means of 23.3 and 25
	is(given('green', 'gia', { minutes => 24 }), '225 Case 3 (BP)',
		'between the means');
	add_task('green-2', 'greengageStrategy');
	is(given('green-2', 'gia', { minutes => 2 }), '10 Case 4.2 (DPTE)',
		'the figures are those of the game, not of the task');
	add_extend('green-x', 'greengageStrategy', extend(pre_rules => [
		rule('m', lit(JSON::PP::true), set('set_data', 'minutes',
			arith('-', field('data.n'), lit(1)))) ],
		parent_variables => { variable_default_points => 3 }));
	is(given('green-x', 'fresh', { n => 16 }), '6 Case 2 (DP x 2)',
		'as a parent, with data from pre');
};

subtest 'greencrowdStrategy and getis_ord_gi_star award nothing' => sub {
	my %task = (externalUserId => 'ana', externalTaskId => 'crowd',
		dimensions => [], totalSimulatedPoints => 3,
		expirationDate => '2030-01-01');
	my $r;

	add_task('crowd', 'greencrowdStrategy');
	$r = award('crowd', 'ana', {});
	is("$r->{status} $r->{json}{detail}{code}", '400 DSL_PARENT_FAILED',
		'no tasks');
	$r = award('crowd', 'ana', { tasks => [ { a => 1 } ] });
	is("$r->{status} $r->{json}{detail}{code}", '400 DSL_PARENT_FAILED',
		'no simulated task');
	is(given('crowd', 'ana', { tasks => [ \%task ],
		simulationHash => 'x' }), '422 "Invalid hash"', 'a wrong hash');
	add_extend('geo', 'getis_ord_gi_star', extend());
	$r = award('geo', 'ana', {});
	is("$r->{status} $r->{json}{detail}{code}", '400 DSL_PARENT_FAILED',
		'a parent that cannot score');
	is($r->{json}{detail}{params}{parent}, 'getis_ord_gi_star', 'named');
	is_deeply(evidence($r)->{trace}, [ { nodeId => 'getis_ord_gi_star',
		type => 'parent', value => undef, branch => 'failed' } ],
		'the trace says where it ended');
};

subtest 'a variable of the wrong type' => sub {
	add_extend('odd', 'default', extend(
		parent_variables => { variable_basic_points => 'x' }));
	my $r = award('odd', 'ana', {});
	is("$r->{status} $r->{json}{detail}{code}", '400 DSL_PARENT_FAILED',
		'is a typed error');
	is($r->{json}{detail}{params}{variable}, 'variable_basic_points',
		'that names it');
};

subtest 'what is masked stays so from phase to phase' => sub {
	add_extend('quiet', 'default', extend(
		pre_rules => [rule('pre', lit(JSON::PP::true),
			set('set_data', 'alias', field('data.secret')),
			set('set_data', 'twice', arith('*', field('data.secret'), lit(2))))],
		post_rules => [rule('post', { type => 'compare', op => '>',
			left => field('data.twice'), right => field('data.open') },
			set('set_callback_data', 'seen', field('data.alias')))]));
	my $r = award('quiet', 'ana', { secret => 777123, open => 31 });
	is($r->{status}, 200, 'an award') or diag $r->{body};
	my $row = evidence($r);
	is_deeply($row->{fields}, { 'data.secret' => '***', 'data.alias' => '***',
		'data.twice' => '***', 'data.open' => 31,
		'task.measurements_count' => 0 }, 'the fields');
	unlike($JSON->encode($row), qr/777123|1554246/, 'no part of the row has it');
};

# ---- time --------------------------------------------------------------------

subtest 'a slow database ends the run in time' => sub {
	my $lock = $pg->background(
		'begin; lock gamed.agg_task; select pg_sleep(20)');
	my ($start, $r, $row);

	Gamed::Daemon::eventually(sub {
		one(q(select count(*) from pg_locks where granted and
			relation = 'gamed.agg_task'::regclass
			and mode = 'AccessExclusiveLock'));
	}) or die 'no lock';
	$start = time;
	$r = award('weekend', 'ana', { eventId => 'slow' });
	is($r->{status}, 503, 'the caller shall try again');
	ok($r->{headers}{'retry-after'}, '... after a while');
	is(given('full', 'ana', { eventId => 'acknowledged' }),
		'6 BasicEngagement', 'a repeat is answered with its award');
	cmp_ok(time - $start, '<=', 5, 'within its time');
	undef $lock;
	$row = evidence($r);
	is("$row->{status} $row->{errorCode} $row->{reason}",
		'timeout DSL_TIMEOUT timeout', 'kept as a time-out');
};

is($d->stop, 0, 'the server leaves');
done_testing;
