#!/usr/bin/perl
# The audit trail (observability.md 2.2 to 2.4): the rows of every endpoint,
# their level, module, message and the keys of their details in order; nothing
# of those who are not let in; bodies on request; and no row lost or doubled
# while Postgres is away or refuses one.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Gamed::Api qw(new_key order_of);
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

my $JSON = JSON::PP->new->utf8;
my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'server.workers' => 1,
	'auth.apikey_cache_ttl_s' => 3600,
	'evidence.batch_ms' => 20,
	'http.idle_timeout_s' => 300,
});
my $key = new_key($d, 'audited', '--admin');
my ($prefix) = $key =~ /^([^.]+)/;
my $author_key = new_key($d, 'author');
my $c = Gamed::Client->new(port => $d->port, key => $key);
my $author = Gamed::Client->new(port => $d->port, key => $author_key);
my $anybody = Gamed::Client->new(port => $d->port);

# Rows of a correlation id, oldest first; more than that if asked to wait.
sub rows_of {
	my ($id) = @_;

	return map { $JSON->decode($_) } split /\n/, $pg->psql(qq{
		SELECT json_build_object('level', log_level, 'module', module,
			'message', message, 'details', details::text,
			'key', "apiKey_used", 'subject', oauth_user_id)
		FROM logs WHERE details->>'correlationId' = '$id'
		ORDER BY created_at, id});
}

my $seq = 0;
my @expected; # [id, what, rows...]

# One request; its rows are judged later. Row: "LEVEL module|message|keys".
sub step {
	my ($who, $method, $path, $body, $status, @rows) = @_;
	my $id = 'step-' . ++$seq;
	my $r = $who->request($method, "/api/v1$path", $body,
		'X-Correlation-ID' => $id);

	is($r->{status}, $status, "$method $path") or diag $r->{body};
	is($r->{headers}{'x-correlation-id'}, $id, 'the id comes back');
	push @expected, [$id, "$method $path: $status", @rows];
	return $r->{json};
}

# All rows of the steps so far are there, as expected, once.
sub judge {
	my ($name) = @_;
	my $total = 0;

	$total += @$_ - 2 for @expected;
	ok(Gamed::Daemon::eventually(sub {
		return $pg->psql(q{SELECT count(*) FROM logs
			WHERE details->>'correlationId' LIKE 'step-%'}) >= $total;
	}), "$name: all rows arrive");
	for my $e (@expected) {
		my ($id, $what, @rows) = @$e;
		my @got = map {
			my @keys = split / /, order_of($_->{details});
			join '|', "$_->{level} $_->{module}", $_->{message},
				join ' ', grep { $_ ne 'correlationId' } @keys
		} rows_of($id);
		is_deeply(\@got, \@rows, "$name: $what");
	}
	return;
}

# ---- every endpoint ------------------------------------------------------------

my $no_such = '99999999-1c7a-4a7e-8f7c-5d3a1f6e2b90';
my $G = 'game|';

sub assign {
	return { type => 'program', id => 'p', rules => [],
		default => { type => 'assign_points', id => 'give',
			value => $_[0], case_name => 'Case' } };
}
my $pays = assign({ type => 'literal', value => 7 });
my $fails = assign({ type => 'arith', op => '/', id => 'div',
	left => { type => 'literal', value => 1 },
	right => { type => 'literal', value => 0 } });

my $game = step($c, POST => '/games',
	{ externalGameId => 'audited', platform => 'test' }, 200,
	'INFO game|Game creation|',
	'SUCCESS game|Game creation successful|gameId')->{gameId};
step($c, POST => '/games', { externalGameId => 'audited', platform => 'test' },
	409, 'INFO game|Game creation|', 'ERROR game|Game creation failed|error');
step($c, GET => '/games?page=1', undef, 200, 'INFO game|Game list retrieval|'
	. 'platform ordering page page_size externalGameId');
step($c, GET => "/games/$game", undef, 200,
	'INFO game|Game retrieval by ID|gameId');
step($c, GET => "/games/$no_such", undef, 404,
	'INFO game|Game retrieval by ID|gameId');
step($c, PATCH => "/games/$game", { platform => 'web' }, 200,
	'INFO game|Game update by ID|gameId',
	'SUCCESS game|Game update successful|gameId');
step($c, PATCH => "/games/$no_such", { platform => 'web' }, 404,
	'INFO game|Game update by ID|gameId',
	'ERROR game|Game update failed|error');

my $S = 'strategies_custom';
my $id = step($author, POST => '/strategies/custom',
	{ name => 'seven', type => 'DSL_FULL', astJson => $pays }, 201,
	"INFO $S|Create custom strategy|name type")->{id};
step($author, POST => '/strategies/custom', { name => 'seven' }, 400,
	"INFO $S|Create custom strategy|name type",
	"ERROR $S|Create custom strategy failed|name error");
$id = step($c, POST => '/strategies/custom',
	{ name => 'pays', type => 'DSL_FULL', astJson => $pays }, 201,
	"INFO $S|Create custom strategy|name type")->{id};
my $bad = step($c, POST => '/strategies/custom',
	{ name => 'fails', type => 'DSL_FULL', astJson => $fails }, 201,
	"INFO $S|Create custom strategy|name type")->{id};
step($c, PUT => "/strategies/custom/$id", { description => 'better' }, 200,
	"INFO $S|Update custom strategy|id");
step($c, PUT => "/strategies/custom/$no_such", { description => 'x' }, 404,
	"INFO $S|Update custom strategy|id",
	"ERROR $S|Update custom strategy failed|id error");
step($c, POST => "/strategies/custom/$_/publish", undef, 200,
	"INFO $S|Publish custom strategy|id") for $id, $bad;
step($author, POST => "/strategies/custom/$id/publish", undef, 403,
	"INFO $S|Publish custom strategy|id",
	"ERROR $S|Publish custom strategy failed|id error");
my %event = (externalGameId => 'audited', externalTaskId => 'walk',
	externalUserId => 'user_1', data => {});
step($c, POST => "/strategies/custom/$id/simulate",
	{ %event }, 200,
	"INFO $S|Simulate custom strategy|id externalUserId");
step($c, POST => "/strategies/custom/$no_such/simulate",
	{ %event }, 404,
	"INFO $S|Simulate custom strategy|id externalUserId",
	"ERROR $S|Simulate custom strategy failed|id error");
step($c, POST => '/strategies/custom/simulate',
	{ %event, astJson => $pays }, 200,
	"INFO $S|Simulate inline strategy|externalUserId");
step($c, POST => '/strategies/custom/simulate',
	{ %event, astJson => {} }, 400,
	"INFO $S|Simulate inline strategy|externalUserId",
	"ERROR $S|Simulate inline strategy failed|error");
step($c, POST => '/strategies/custom/import',
	{ name => 'brought', type => 'DSL_FULL', astJson => $pays,
		blocklyXml => '<xml/>' }, 201,
	'INFO strategy_import|Import custom strategy|name type');
step($c, POST => '/strategies/custom/import',
	{ name => 'brought 2', type => 'DSL_FULL', astJson => {},
		blocklyXml => '<xml/>' }, 400,
	'INFO strategy_import|Import custom strategy|name type',
	'ERROR strategy_import|Import custom strategy failed|name error');

for my $t (['walk', $id], ['fall', $bad]) {
	step($c, POST => "/games/$game/tasks", { externalTaskId => $t->[0],
		strategyId => "custom:$t->[1]" }, 200,
		'INFO game|Task creation|gameId',
		'SUCCESS game|Task creation successful|gameId');
}
step($c, POST => "/games/$game/tasks", { externalTaskId => 'walk' }, 409,
	'INFO game|Task creation|gameId', 'ERROR game|Task creation failed|error');
my $task = step($c, GET => "/games/$game/tasks?page_size=5", undef, 200,
	'INFO game|Task list retrieval|gameId body')->{items}[0]{id};
step($c, PATCH => "/games/$game/tasks/$task", { status => 'closed' }, 200,
	'INFO game|Task update by ID|gameId taskId',
	'SUCCESS game|Task update successful|gameId taskId');
step($c, PATCH => "/games/$game/tasks/$no_such", { status => 'x' }, 404,
	'INFO game|Task update by ID|gameId taskId',
	'ERROR game|Task update failed|error');

my $award = 'gameId externalTaskId idempotencyKey';
my $failed = 'gameId externalTaskId externalUserId idempotencyKey errorType error';
step($c, POST => "/games/$game/tasks/walk/points",
	{ externalUserId => 'user_1', data => { eventId => 'e-1' } }, 200,
	"INFO game|Points assignment to user|$award");
my $award_id = "step-$seq";
step($c, POST => "/games/$game/tasks/walk/points",
	{ externalUserId => 'user_1', data => {}, isSimulated => JSON::PP::true },
	200);
step($c, POST => "/games/$game/tasks/fall/points",
	{ externalUserId => 'user_1', data => {} }, 400,
	"INFO game|Points assignment to user|$award",
	"ERROR game|Points assignment to user failed|$failed");
my $failed_id = "step-$seq";
my $T = "/games/$game/tasks/walk";
step($c, GET => "$T/points", undef, 200,
	'INFO game|Points retrieval by task ID|gameId externalTaskId');
step($c, GET => "$T/points/details", undef, 200,
	'INFO game|Detailed points retrieval by task ID|gameId externalTaskId');
step($c, GET => "$T/users/user_1/points", undef, 200, 'INFO game|User points '
	. 'retrieval by task ID|gameId externalTaskId externalUserId');
step($c, GET => "/games/$game/points", undef, 200,
	'INFO game|Points retrieval by game ID|gameId');
step($c, GET => "/games/$game/points/details", undef, 200,
	'INFO game|Points retrieval by game ID with details|gameId');
step($c, GET => "/games/$game/users/user_1/points", undef, 200,
	'INFO game|User points retrieval by game ID|gameId externalUserId');

step($c, POST => "/strategies/custom/$id/rollback/9", undef, 404,
	"INFO $S|Rollback custom strategy|id target_version",
	"ERROR $S|Rollback custom strategy failed|id target_version error");
step($c, POST => "/strategies/custom/$bad/archive", undef, 200,
	"INFO $S|Archive custom strategy|id");
step($c, POST => "/strategies/custom/$bad/rollback/1", undef, 200,
	"INFO $S|Rollback custom strategy|id target_version",
	"SUCCESS $S|Rollback custom strategy successful|id target_version "
		. 'promoted_id games_reassigned tasks_reassigned');
step($author, POST => "/strategies/custom/$bad/archive", undef, 403,
	"INFO $S|Archive custom strategy|id",
	"ERROR $S|Archive custom strategy failed|id error");
for my $b (['', 'all strategies', ''], ['/default', 'strategy by ID', 'id'],
	['/default/schema', 'strategy schema by ID', 'id'],
	['/default/graph', 'strategy graph by ID', 'id'])
{
	step($anybody, GET => "/strategies$b->[0]", undef, 200,
		"INFO strategies|Get $b->[1]|$b->[2]");
	next unless $b->[0];
	step($anybody, GET => "/strategies" . $b->[0] =~ s/default/none/r,
		undef, 404, "INFO strategies|Get $b->[1]|id",
		"ERROR strategies|Get $b->[1] failed|id error");
}
step($c, DELETE => "/games/$game", undef, 200,
	'INFO game|Game deletion by ID|gameId',
	'SUCCESS game|Game deletion successful|gameId');
step($c, DELETE => "/games/$game", undef, 404,
	'INFO game|Game deletion by ID|gameId',
	'ERROR game|Game deletion failed|error');

step($c, GET => '/dashboard/summary?group_by=day', undef, 200, 'INFO dashboard|Get dashboard '
	. 'summary|length_new_users length_games_opened length_points_earned '
	. 'length_actions_performed');
my $summary = "step-$seq";
step($c, GET => '/dashboard/summary/logs?group_by=day', undef, 200, 'INFO dashboard|Get '
	. 'dashboard summary logs|length_info length_success length_error');

# what leaves no row
step($anybody, GET => '/games', undef, 401);
step($anybody, GET => '/strategies/custom', undef, 403);
step(Gamed::Client->new(port => $d->port, key => 'gme_live_none.x'),
	GET => '/games', undef, 403);
step($c, POST => '/games', {}, 422);
step($c, POST => '/games', '[1', 422);
step($c, POST => '/games', [1], 422);
step($c, GET => '/games?page=none', undef, 422);
step($c, GET => '/games/no-uuid', undef, 422);
step($c, GET => "/strategies/custom", undef, 200);
step($c, GET => "/strategies/custom/templates", undef, 200);
step($c, GET => "/strategies/custom/$id", undef, 200);
step($c, GET => "/strategies/custom/$id/versions", undef, 200);
step($c, GET => "/strategies/custom/$id/usage", undef, 200);
step($anybody, GET => '/kpi/health_check', undef, 200);
step($anybody, GET => '/nowhere', undef, 404);

judge('minimal');

subtest 'what the rows say' => sub {
	my ($row) = rows_of($award_id);
	is($row->{key}, $prefix, 'whose key');
	is($row->{subject}, undef, 'no token');
	is_deeply($JSON->decode($row->{details}), { gameId => $game,
		externalTaskId => 'walk', idempotencyKey => 'e-1',
		correlationId => $award_id }, 'an award');
	my (undef, $error) = rows_of($failed_id);
	my $said = $JSON->decode($error->{details});
	like($said->{error}, qr/\A400: .*DSL_ARITH_DIV_BY_ZERO/, 'the error');
	is($said->{idempotencyKey}, $failed_id, 'the id stands in as the key');
	is_deeply([@$said{qw(externalUserId errorType)}],
		['user_1', 'BadRequestError'], 'whose, and of which kind');
	my ($buckets) = rows_of($summary);
	is($JSON->decode($buckets->{details})->{length_new_users}, 1,
		'the length of a series');
	is($pg->psql(qq{SELECT count(*) FROM logs WHERE "apiKey_used" IS NULL
		AND module = 'strategies'}), 10, 'anonymous callers');
	is($pg->psql(q{SELECT string_agg(log_level || ' ' || message || ' '
		|| (details->>'client'), ', ' ORDER BY created_at) FROM logs
		WHERE module = 'api_key' AND details->>'client' = 'audited'}),
		'INFO Creating API key audited, '
		. 'SUCCESS API key created successfully audited', 'gamectl');
	is($pg->psql(qq{SELECT details->>'apiKey' FROM logs
		WHERE message = 'API key created successfully'
		AND details->>'client' = 'audited'}), $prefix, 'the public part');
};

# ---- correlation ids ------------------------------------------------------------

subtest 'correlation ids' => sub {
	my $get = sub { $anybody->get('/api/v1/strategies', @_) };

	for my $given (undef, '', '   ') {
		my $r = $get->(defined $given ? ('X-Correlation-ID' => $given) : ());
		like($r->{headers}{'x-correlation-id'},
			qr/\Asrv-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\z/,
			'one is made');
	}
	my $longest = 'x' x 255;
	is($get->('x-correlation-id' => " $longest ")->{headers}{'x-correlation-id'},
		$longest, 'trimmed, any case, 255 bytes');
	is($get->('X-Correlation-ID' => $_)->{status}, 422, 'not legal')
		for "x$longest", "a\tb", "\xc3\xa9";
};

# ---- faults -----------------------------------------------------------------------

sub audit_ledger {
	my $m = $d->metrics;
	my %sum = (dropped => 0);

	for (keys %$m) {
		/^gamed_evidence_(\w+?)(?:_total|_rows)\{class="audit"/
			and $sum{$1} += $m->{$_};
	}
	return \%sum;
}

subtest 'a key that is gone' => sub {
	my $r = $author->get('/api/v1/strategies', 'X-Correlation-ID' => 'known');

	is($r->{status}, 200, 'it is remembered');
	my ($gone) = $author_key =~ /^([^.]+)/;
	ok(Gamed::Daemon::eventually(sub { rows_of('known') == 1 }), 'a row');
	# behind the back of the triggers, so that the worker still knows the key
	$pg->psql(qq{SET session_replication_role = replica;
		DELETE FROM apikey WHERE "apiKey" = '$gone'});
	# neighbours in the batch
	$c->get('/api/v1/strategies', 'X-Correlation-ID' => 'before');
	$r = $author->get('/api/v1/strategies', 'X-Correlation-ID' => 'gone');
	$c->get('/api/v1/strategies', 'X-Correlation-ID' => 'after');
	is($r->{status}, 200, 'the worker knows it still');
	ok(Gamed::Daemon::eventually(sub {
		rows_of('gone') && rows_of('after') && rows_of('before')
	}), 'its row arrives, with its neighbours');
	my ($row) = rows_of('gone');
	is($row->{key}, undef, 'without a key');
	is($JSON->decode($row->{details})->{apiKey_unresolved}, $gone,
		'which the details keep');
	is((rows_of('after'))[0]{key}, $prefix, 'the neighbour has its own');
};

subtest 'Postgres is away' => sub {
	my $n = 40;
	my $before = audit_ledger();

	$pg->stop_immediate;
	for (1 .. $n) {
		my $r = $anybody->get('/api/v1/strategies',
			'X-Correlation-ID' => "away-$_");
		$r->{status} == 200 or fail("answer $_: $r->{status}");
	}
	is(audit_ledger()->{produced} - $before->{produced}, $n,
		'rows are made, answers given');
	$pg->start;
	ok(Gamed::Daemon::eventually(sub {
		my $l = audit_ledger();
		return $l->{produced} == $l->{stored} + $l->{dropped};
	}), 'they are stored when it is back');
	is($pg->psql(q{SELECT count(*) || ' ' || count(DISTINCT
		details->>'correlationId') FROM logs
		WHERE details->>'correlationId' LIKE 'away-%'}),
		"$n $n", 'each once');
	is(audit_ledger()->{dropped}, 0, 'nothing was dropped');
};

# A logger that does not read: audit rows wait where runs are dropped already.
subtest 'the logger stands still' => sub {
	my ($logger) = $d->pids('logger');
	my $n = 3000;

	$d->kill(STOP => $logger);
	for (1 .. $n) {
		$anybody->get('/api/v1/strategies', 'X-Correlation-ID' => "still-$_");
	}
	is(audit_ledger()->{dropped}, 0, 'more rows than evidence.queue_max wait');
	$d->kill(CONT => $logger);
	ok(Gamed::Daemon::eventually(sub {
		return $pg->psql(q{SELECT count(DISTINCT details->>'correlationId')
			FROM logs WHERE details->>'correlationId' LIKE 'still-%'})
			== $n;
	}), 'and arrive');
};

# ---- bodies on request, and none at all ---------------------------------------------

$d->write_conf('audit.details' => 'full', 'evidence.mask' => '[secret, strategyId]');
$d->reload;
$_->close for $c, $anybody;
@expected = ();
$game = step($c, POST => '/games',
	{ externalGameId => 'whole', platform => 'test', strategyId => 'default' },
	200,
	'INFO game|Game creation|externalGameId platform strategyId params '
		. 'apiKey_used oauth_user_id',
	'SUCCESS game|Game creation successful|body gameId')->{gameId};
step($c, POST => "/games/$game/tasks", { externalTaskId => 'walk' }, 200,
	'INFO game|Task creation|gameId body',
	'SUCCESS game|Task creation successful|gameId body');
step($c, POST => "/games/$game/tasks/none/points",
	{ externalUserId => 'user_1', data => { a => 1, secret => [ 'x' ] } }, 404,
	"INFO game|Points assignment to user|$award body",
	"ERROR game|Points assignment to user failed|$failed traceback");
my $whole = "step-$seq";
step($c, PATCH => "/games/$game", { platform => 'w' x 60000 }, 200,
	'INFO game|Game update by ID|gameId',
	'SUCCESS game|Game update successful|gameId');
judge('full');
is_deeply($JSON->decode((rows_of($whole))[0]{details})->{body},
	{ externalUserId => 'user_1', data => { a => 1, secret => '***' } },
	'the body as sent, but what evidence.mask hides');
is($pg->psql(q{SELECT string_agg(DISTINCT coalesce(details->>'strategyId',
	details->'body'->>'strategyId'), ' ') FROM logs
	WHERE message LIKE 'Game creation%' AND details->>'correlationId'
	IN (SELECT details->>'correlationId' FROM logs
	WHERE details->>'externalGameId' = 'whole')}), '***',
	'a member of it on its own, too');

$d->write_conf('audit.enabled' => 'false');
$d->reload;
$_->close for $c, $anybody;
my $before = audit_ledger()->{produced};
is($c->get("/api/v1/games/$game")->{status}, 200, 'a request');
is(audit_ledger()->{produced}, $before, 'switched off, no row is made');

done_testing;
