#!/usr/bin/perl
# Every endpoint: its happy path with all members and their types, and its
# refusals, as the pages say (api.md 3 to 7, 11, 12; api-endpoints.md 4 to 6, 9
# to 11, 13, 14, 16, 19 to 22, 24; DESIGN 7, 11).
use strict;
use warnings;
use utf8;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use Encode qw(encode_utf8);
use JSON::PP ();
use Gamed::Api;
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

binmode Test::More->builder->$_, ':utf8'
	for qw(output failure_output todo_output);

my $JSON = JSON::PP->new->utf8->canonical->allow_nonref;
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'server.workers' => 2,
	'http.access_log' => 'false',
});
my %secret = (
	owner => new_key($d, 'owner'), other => new_key($d, 'other'),
	fresh => new_key($d, 'fresh'), admin => new_key($d, 'admin', '--admin'),
	gone => new_key($d, 'gone'),
);
my %prefix = map { $_ => $secret{$_} =~ /^([^.]+)/ } keys %secret;
$d->gamectl('apikey', 'revoke', $prefix{gone});

sub client { return Gamed::Client->new(port => $d->port, key => $_[0]) }
my ($owner, $other, $fresh, $admin) = map { client($secret{$_}) }
	qw(owner other fresh admin);
my $anybody = client(undef);

my $V = '/api/v1';
my $S = "$V/strategies/custom";
my $nowhere = '99999999-1c7a-4a7e-8f7c-5d3a1f6e2b90';

my %GAME = (gameId => 'uuid', created_at => 'ts_z', updated_at => 'ts_z',
	externalGameId => 'str', strategyId => 'str', platform => 'str',
	params => [ { key => 'str', value => 'str', id => 'uuid' } ]);
my %STRATEGY = (id => 'str', name => 'str|null', description => 'str|null',
	version => 'str', variables => 'object', hash_version => 'hex64|null');
my %TASK_MADE = (message => 'str', taskId => 'uuid', externalTaskId => 'str',
	externalGameId => 'str',
	gameParams => [ { key => 'str', value => 'str|int|float' } ],
	taskParams => [ { key => 'str', value => 'str|int|float' } ],
	strategy => \%STRATEGY);
my %TASK_ITEM = (id => 'uuid', created_at => 'ts_z', updated_at => 'ts_z',
	externalTaskId => 'str', status => 'str',
	gameParams => [ { key => 'str', value => 'str|int|float', id => 'uuid' } ],
	taskParams => [ { key => 'str', value => 'str|int|float', id => 'uuid' } ],
	strategy => \%STRATEGY, strategyId => 'str');
my %PAGE = (ordering => 'str', page => 'int', page_size => 'int|str',
	total_count => 'int');
my %ROW = (id => 'uuid', realmId => 'str', name => 'str',
	description => 'str|null', type => 'str', parentStrategyId => 'str|null',
	astJson => 'object|null', blocklyXml => 'str|null', version => 'int',
	status => 'str', createdBy => 'str', created_at => 'ts_z',
	updated_at => 'ts_z', publishedAt => 'ts_z|null',
	experimentTag => 'str|null');
my %SUM = (points => 'int', timesAwarded => 'int', externalUserId => 'str');

sub ok_200 {
	my ($name, $r, $want, $status) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is($r->{status}, $status // 200, $name) or diag $r->{body};
	framed($name, $r);
	is_members($name, $r->{json}, $want) if $want;
	return $r->{json};
}

my $seq = 0;

sub make_game {
	my ($who, %in) = @_;
	my $r = $who->post("$V/games", { platform => 'web',
		externalGameId => 'game-' . ++$seq, %in });
	is($r->{status}, 200, 'a game is made') or diag $r->{body};
	return $r->{json}{gameId};
}

sub make_task {
	my ($game, $name, %in) = @_;
	my $r = $admin->post("$V/games/$game/tasks",
		{ externalTaskId => $name, %in });
	is($r->{status}, 200, "task $name is made") or diag $r->{body};
	return $r->{json}{taskId};
}

sub make_strategy {
	my ($who, $ast, %in) = @_;
	my $r = $who->post($S, { name => 'strategy-' . ++$seq, astJson => $ast,
		%in });
	is($r->{status}, 201, 'a strategy is made') or diag $r->{body};
	return $r->{json}{id};
}

sub lit { return { type => 'literal', value => $_[0] } }
sub field { return { type => 'field', path => $_[0] } }

sub arith {
	return { type => 'arith', id => 'sum', op => $_[0], left => $_[1],
		right => $_[2] };
}

# A program whose default statement decides.
sub always {
	my ($value, $case, %node) = @_;
	my $stmt = { type => 'assign_points', id => 'give', value => $value,
		%node };
	$stmt->{case_name} = $case if defined $case;
	return { type => 'program', id => 'p', rules => [], default => $stmt };
}

my $game = make_game($owner, externalGameId => 'main-game', params => [
	{ key => 'variable_basic_points', value => '4' },
	{ key => 'motto', value => 'Größe' } ]);
my $foreign = make_game($other);

# ---- probes ---------------------------------------------------------------------

subtest 'probes need no credentials' => sub {
	is(ok_200('livez', $anybody->get('/livez'), { status => 'str' })->{status},
		'ok', 'alive');
	is(ok_200('readyz', $anybody->get('/readyz'), { status => 'str',
		reasons => [ 'str' ] })->{status}, 'ready', 'ready');
	is(ok_200('health', $anybody->get("$V/kpi/health_check"),
		{ status => 'str', timestamp => 'ts_iso' })->{status},
		'KPI service is running', 'its body');
	is($anybody->get('/livez', 'X-API-Key' => 'wrong')->{status}, 200,
		'a probe does not look at keys');
};

# ---- credentials -------------------------------------------------------------------

subtest 'credentials' => sub {
	my $why = 'Invalid authentication credentials';
	my @protected = ([ GET => "$V/games" ], [ POST => "$V/games" ],
		[ GET => "$V/games/$game" ], [ GET => "$V/games/$game/points" ],
		[ GET => "$V/games/$game/users/u/points" ],
		[ GET => "$V/games/$game/tasks" ],
		[ POST => "$V/games/$game/tasks" ],
		[ PATCH => "$V/games/$game/tasks/$nowhere" ],
		[ POST => "$V/games/$game/tasks/t/points" ]);
	my @authoring = ([ GET => $S ], [ POST => $S ], [ GET => "$S/$nowhere" ],
		[ POST => "$S/$nowhere/publish" ]);

	for (@protected) {
		my ($method, $path) = @$_;
		my $body = $method eq 'GET' ? undef : {};
		my $r = $anybody->request($method, $path, $body);
		is(refused("$method $path, nobody", $r, 401), $why, 'its text');
		is($r->{headers}{'www-authenticate'}, 'Bearer', 'its challenge');
	}
	for (@authoring) {
		my ($method, $path) = @$_;
		my $body = $method eq 'GET' ? undef : {};
		my $r = $anybody->request($method, $path, $body);
		refused("$method $path, nobody", $r, 403);
		is($r->{headers}{'www-authenticate'}, undef, 'no challenge');
	}
	for my $key ('wrong', $prefix{owner}, $secret{gone}, "$secret{owner}x",
		"\xe9\xff") {
		for (@protected, @authoring, [ GET => "$V/strategies" ]) {
			my ($method, $path) = @$_;
			my $r = $anybody->request($method, $path,
				$method eq 'GET' ? undef : {}, 'X-API-Key' => $key);
			is($r->{status}, 403, encode_utf8("$method $path, bad key"))
				or diag $r->{body};
		}
	}
	refused('a revoked key', $anybody->get("$V/games",
		'X-API-Key' => $secret{gone}), 403);
	is($anybody->get("$V/games", 'X-API-Key' => "  $secret{owner}\t")
		->{status}, 200, 'blanks around a key are no part of it');
	for my $key ('', '   ') {
		is($anybody->get("$V/games", 'X-API-Key' => $key)->{status}, 401,
			'an empty header is no key');
	}

	my $r = $anybody->get("$V/games", Authorization => 'Bearer nonsense');
	is(refused('a bad token', $r, 401), $why, 'the gate tells no more');
	is($r->{headers}{'www-authenticate'}, 'Bearer', 'its challenge');
	$r = $owner->get("$V/games", Authorization => 'bearer nonsense');
	is(refused('a key beside a bad token', $r, 401), 'Invalid token',
		'the context says what is wrong');
	is($owner->get("$V/games", Authorization => 'Basic YTpi')->{status}, 200,
		'another scheme is no token');
	is($anybody->get("$V/strategies", Authorization => 'Bearer x')->{status},
		401, 'a bad token on an open endpoint');
	is($anybody->get($S, Authorization => 'Bearer x')->{status}, 401,
		'a bad token on an authoring endpoint');
};

subtest 'the order of checks' => sub {
	my $broken = '{"externalGameId":';

	refused('route before body', $anybody->post("$V/nowhere", $broken), 404);
	refused('method before body',
		$anybody->request('PUT', "$V/games", $broken), 405);
	refused('body before credentials', $anybody->post("$V/games", $broken),
		422, 'json_invalid body.18');
	refused('unreadable body before credentials',
		$anybody->post("$V/games", qq({"a":"\xff"})), 400);
	refused('body before a bad key', $anybody->post("$V/games", $broken,
		'X-API-Key' => 'wrong'), 422, 'json_invalid body.18');
	refused('credentials before validation', $anybody->post("$V/games", {}),
		401);
	refused('credentials before the path',
		$anybody->get("$V/games/nonsense"), 401);
	refused('path and body in one answer', $owner->post(
		"$V/games/nonsense/tasks", {}), 422,
		'missing body.externalTaskId, uuid_parsing path.gameId');
	refused('path and query in one answer',
		$owner->get("$V/games/nonsense/tasks?page=0&page_size=x"), 422,
		'greater_than_equal query.page, int_parsing query.page_size, '
		. 'uuid_parsing path.gameId');
	refused('validation before existence',
		$owner->post("$V/games/$nowhere/tasks", {}), 422,
		'missing body.externalTaskId');
	refused('existence before ownership',
		$other->get("$V/games/$nowhere"), 404);
	refused('the game before the task',
		$other->patch("$V/games/$game/tasks/$nowhere", {}), 403);
	refused('the role before the strategy',
		$owner->post("$S/$nowhere/publish"), 403);
};

# ---- correlation ids ---------------------------------------------------------------

subtest 'correlation ids' => sub {
	for my $case ([ 'abc-1', 'abc-1' ], [ '  padded ', 'padded' ],
		[ 'x' x 255, 'x' x 255 ], [ 'a b;c', 'a b;c' ]) {
		my ($sent, $want) = @$case;
		for my $path ('/livez', "$V/games", "$V/nowhere") {
			is($owner->get($path, 'X-Correlation-ID' => $sent)
				->{headers}{'x-correlation-id'}, $want,
				"$path echoes it");
		}
	}
	for my $sent (undef, '', '   ') {
		like($owner->get('/livez', 'X-Correlation-ID' => $sent)
			->{headers}{'x-correlation-id'},
			qr/\Asrv-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\z/,
			'none or blank: one is made');
	}
	for my $sent ('x' x 256, "caf\xc3\xa9", "a\tb", "\x7f") {
		my $r = $owner->get('/livez', 'X-Correlation-ID' => $sent);
		is($r->{status}, 422, 'one that cannot be echoed is refused');
		like($r->{headers}{'x-correlation-id'}, qr/\Asrv-/,
			'and one is made');
	}
};

# ---- games -----------------------------------------------------------------------------

subtest 'POST /games' => sub {
	my $r = $owner->post("$V/games", { externalGameId => 'plain_game-1',
		platform => '' });
	my $g = ok_200('a plain game', $r, { %GAME, message => 'str' });
	is(order_of($r->{body}), 'gameId created_at updated_at externalGameId '
		. 'strategyId platform params message', 'members in their order');
	is($g->{strategyId}, 'default', 'strategyId defaults');
	is_deeply($g->{params}, [], 'no params');
	is($g->{created_at}, $g->{updated_at}, 'the times agree');
	is($pg->psql(qq(select "apiKey_used" || '/' || coalesce(oauth_user_id, '')
		from games where id = '$g->{gameId}')), "$prefix{owner}/",
		'it belongs to the key');

	$r = $owner->post("$V/games", { externalGameId => 'params-game',
		platform => 'Straße "x" \\ 東京', strategyId => 'socio_bee', params => [
			{ key => 'text', value => 'a "b" \\ {c},ü' },
			{ key => 'int', value => -12 },
			{ key => 'zero', value => 0 },
			{ key => 'float', value => 2.5 },
			{ key => 'yes', value => $true },
			{ key => 'no', value => $false },
			{ key => 'empty', value => '' },
			{ key => 'null', value => 'NULL' },
			{ key => '', value => 'same' },
			{ key => 'text', value => 'twice' },
		] });
	$g = ok_200('a game with params', $r, { %GAME, message => 'str' });
	is_deeply([ map { "$_->{key}=$_->{value}" } @{ $g->{params} } ],
		[ 'text=a "b" \\ {c},ü', 'int=-12', 'zero=0', 'float=2.5',
		'yes=True', 'no=False', 'empty=', 'null=NULL', '=same',
		'text=twice' ], 'params as they are stored');
	is($g->{platform}, 'Straße "x" \\ 東京', 'the platform is any text');
	like($r->{body}, qr/\xe6\x9d\xb1/, 'written literally');
	is_deeply($owner->get("$V/games/$g->{gameId}")->{json}{params},
		$g->{params}, 'and read back the same');
	my $id = $g->{params}[0]{id};

	$r = $owner->post("$V/games", '{"externalGameId":"float-form",'
		. '"platform":"p","strategyId":null,"params":[{"key":"f","value":1.0},'
		. '{"key":"e","value":1e3}],"unknown":{"a":[]}}');
	is_deeply([ map { $_->{value} } @{ $r->{json}{params} } ],
		[ '1.0', '1000.0' ], 'a whole float keeps its fraction');
	$r = $owner->post("$V/games", { externalGameId => 'other-ids',
		platform => 'p', apiKey_used => $prefix{other},
		oauth_user_id => 'somebody', params => [
			{ key => 'k', value => 'v', id => $id },
			{ key => 'l', value => 'w', id => 'nonsense' } ] });
	$g = ok_200('unknown members are ignored', $r,
		{ %GAME, message => 'str' });
	isnt($g->{params}[0]{id}, $id, 'also the id of a param');
	is($pg->psql(qq(select "apiKey_used" || '/' || coalesce(oauth_user_id, '')
		from games where id = '$g->{gameId}')), "$prefix{owner}/",
		'owners come from the credentials');
	$r = $admin->post("$V/games", { externalGameId => 'for-a-subject',
		platform => 'p', oauth_user_id => 'subject-1',
		apiKey_used => $prefix{other} });
	is($pg->psql(qq(select "apiKey_used" || '/' || coalesce(oauth_user_id, '')
		from games where "externalGameId" = 'for-a-subject')),
		"$prefix{admin}/subject-1",
		'an admin may name the owner that he is not');

	my @bad = (
		[ {}, 'missing body.externalGameId, missing body.platform' ],
		[ { externalGameId => 5 }, 'string_type body.externalGameId' ],
		[ { externalGameId => undef }, 'string_type body.externalGameId' ],
		[ { platform => [] }, 'string_type body.platform' ],
		[ { strategyId => 7 }, 'string_type body.strategyId' ],
		[ { params => {} }, 'list_type body.params' ],
		[ { params => 'x' }, 'list_type body.params' ],
		[ { params => [ 1 ] }, 'model_attributes_type body.params.0' ],
		[ { params => [ {} ] },
			'missing body.params.0.key, missing body.params.0.value' ],
		[ { params => [ { key => 'k', value => 1 }, { key => 1 } ] },
			'missing body.params.1.value, string_type body.params.1.key' ],
		map({ [ { params => [ { key => 'k', value => $_ } ] },
			'bool_type body.params.0.value.bool, '
			. 'float_type body.params.0.value.float, '
			. 'int_type body.params.0.value.int, '
			. 'string_type body.params.0.value.str' ]
		} undef, [], {}),
	);
	for (@bad) {
		my ($in, $items) = @$_;
		my $body = %$in ? { externalGameId => 'bad-game', platform => 'p',
			%$in } : {};
		refused('POST /games ' . $JSON->encode($in),
			$owner->post("$V/games", $body), 422, $items);
	}
	for my $slug ('', 'ab', 'a' x 61, 'with blank', 'naïve', 'a/b', 'a.b') {
		refused("slug '$slug'", $owner->post("$V/games",
			{ externalGameId => $slug, platform => 'p' }), 409);
	}
	for my $slug ('abc', 'Z' . '9' x 59, '---', '___') {
		is($owner->post("$V/games", { externalGameId => $slug,
			platform => 'p' })->{status}, 200, "slug $slug");
	}
	for my $who ($owner, $other, $admin) {
		my $detail = refused('a name that is taken', $who->post("$V/games",
			{ externalGameId => 'main-game', platform => 'p' }), 409,
			{ gameId => $game });
		is_members('taken', $detail, { message => 'str', gameId => 'uuid' });
	}
	refused('the slug before the strategy', $owner->post("$V/games",
		{ externalGameId => '!', platform => 'p', strategyId => 'x' }), 409);
	refused('existence before the strategy', $owner->post("$V/games",
		{ externalGameId => 'main-game', platform => 'p',
		strategyId => 'x' }), 409, { gameId => $game });
	for my $id ('x', '', 'Default', 'custom:', 'custom:x', "custom:$nowhere") {
		refused("strategy '$id'", $owner->post("$V/games", { platform => 'p',
			externalGameId => 'no-strategy', strategyId => $id }), 404);
	}
	is($pg->psql(q(select count(*) from games
		where "externalGameId" in ('no-strategy', 'bad-game'))), 0,
		'nothing refused was stored');
};

subtest 'GET /games' => sub {
	my @names = map { sprintf 'list-%02d', $_ } 1 .. 12;
	make_game($fresh, externalGameId => $_,
		platform => "P$_" =~ s/.*(\d)$/plat-$1/r) for @names;
	my $list = sub { return $fresh->get("$V/games" . ($_[0] // '')) };
	my $r = $list->();
	my $j = ok_200('the first page', $r,
		{ items => [ \%GAME ], search_options => \%PAGE });
	is(order_of($r->{body}), 'items search_options', 'members in order');
	is(scalar @{ $j->{items} }, 10, 'ten items');
	is_deeply($j->{search_options}, { ordering => '-id', page => 1,
		page_size => 10, total_count => 12 }, 'the defaults are echoed');
	my $ids = join ' ', map { $_->{gameId} } @{ $j->{items} };
	is($ids, join(' ', reverse sort split / /, $ids), 'by id, descending');

	my $names = sub {
		return join ' ', map { s/^list-//r }
			map { $_->{externalGameId} } @{ $_[0]{json}{items} };
	};
	my @cases = (
		[ '?ordering=externalGameId&page_size=3', '01 02 03', 12 ],
		[ '?ordering=-externalGameId&page_size=3', '12 11 10', 12 ],
		[ '?ordering=externalGameId&page_size=5&page=3', '11 12', 12 ],
		[ '?ordering=externalGameId&page_size=5&page=4', '', 12 ],
		[ '?page=1000000', '', 12 ],
		[ '?page_size=0', '', 12 ],
		[ '?ordering=externalGameId&page_size=all',
			join(' ', map { s/list-//r } @names), 12 ],
		[ '?ordering=created_at&page_size=2', '01 02', 12 ],
		[ '?ordering=-updated_at&page_size=2', '12 11', 12 ],
		[ '?page=1.0&page_size=%201%20&ordering=externalGameId', '01', 12 ],
		[ '?externalGameId=list-1&ordering=externalGameId', '10 11 12', 3 ],
		[ '?externalGameId=LIST-1', '', 0 ],
		[ '?externalGameId=t-_1&ordering=externalGameId', '01 11', 2 ],
		[ '?externalGameId=l%25t-1&ordering=externalGameId', '10 11 12', 3 ],
		[ '?externalGameId=', undef, 12 ],
		[ '?platform=plat-3', '03', 1 ],
		[ '?platform=plat&externalGameId=02', '02', 1 ],
		[ '?externalGameId=%27%3B--', '', 0 ],
		[ '?unknown=1&other', undef, 12 ],
		[ '?platform=a%C3%A9', '', 0 ],
	);
	for (@cases) {
		my ($query, $want, $total) = @$_;
		$r = $list->($query);
		is($r->{status}, 200, "GET /games$query") or diag $r->{body};
		is($names->($r), $want, 'its items') if defined $want;
		is($r->{json}{search_options}{total_count}, $total, 'the count');
	}
	is($list->('?page_size=all')->{json}{search_options}{page_size}, 'all',
		'"all" is echoed');
	for my $col (qw(id created_at updated_at externalGameId strategyId platform
		apiKey_used oauth_user_id)) {
		is($list->("?ordering=$_$col")->{json}{search_options}{ordering},
			"$_$col", "ordering=$_$col") for '', '-';
	}
	for (
		[ 'page=0', 'greater_than_equal query.page' ],
		[ 'page=-1', 'greater_than_equal query.page' ],
		[ 'page=', 'int_parsing query.page' ],
		[ 'page=1.5', 'int_parsing query.page' ],
		[ 'page=one', 'int_parsing query.page' ],
		[ 'page=99999999999999999999', 'int_parsing query.page' ],
		[ 'page=1e400', 'int_parsing query.page' ],
		[ 'page=nan', 'int_parsing query.page' ],
		[ 'page_size=-1', 'greater_than_equal query.page_size' ],
		[ 'page_size=ALL', 'int_parsing query.page_size' ],
		[ 'page_size=', 'int_parsing query.page_size' ],
		[ 'ordering=', 'enum query.ordering' ],
		[ 'ordering=-', 'enum query.ordering' ],
		[ 'ordering=--id', 'enum query.ordering' ],
		[ 'ordering=name', 'enum query.ordering' ],
		[ 'ordering=id;drop', 'enum query.ordering' ],
		[ 'ordering=status', 'enum query.ordering' ],
	) {
		my ($query, $items) = @$_;
		refused("GET /games?$query", $list->("?$query"), 422, $items);
	}
	my $all = $pg->psql('select count(*) from games');
	is($admin->get("$V/games")->{json}{search_options}{total_count}, $all,
		'an admin sees all');
	my $empty = client(new_key($d, 'without-games'));
	$j = ok_200('a caller without games', $empty->get("$V/games"),
		{ items => [], search_options => \%PAGE });
	is_deeply([ $j->{items}, $j->{search_options}{total_count} ], [ [], 0 ],
		'gets an empty page');
};

subtest 'GET /games/{gameId}' => sub {
	my $r = $owner->get("$V/games/$game");
	my $g = ok_200('a game', $r, \%GAME);
	is(order_of($r->{body}), 'gameId created_at updated_at externalGameId '
		. 'strategyId platform params', 'members in their order');
	is($g->{gameId}, $game, 'the id');
	my $bare = $game =~ s/-//gr;
	for my $spelling (uc $game, $bare, uc $bare, "%7B$game%7D",
		"urn:uuid:$game", "URN:UUID:$game") {
		is($owner->get("$V/games/$spelling")->{json}{gameId}, $game,
			"spelled $spelling");
	}
	for my $bad ('x', "${game}0", substr($game, 1), $bare . '0', "{$bare",
		$game =~ s/-/_/gr, "g$bare", '1', "%20$game",
		'%E6%9D%B1') {
		refused("id $bad", $owner->get("$V/games/$bad"), 422,
			'uuid_parsing path.gameId');
	}
	refused('an unknown game', $owner->get("$V/games/$nowhere"), 404);
	refused('a foreign game', $other->get("$V/games/$game"), 403);
	is($admin->get("$V/games/$game")->{status}, 200, 'an admin sees it');
};

# ---- tasks -----------------------------------------------------------------------------

my $T = "$V/games/$game/tasks";

subtest 'POST tasks' => sub {
	my $r = $owner->post($T, { externalTaskId => 'a task, with: blanks!' });
	my $t = ok_200('a plain task', $r, \%TASK_MADE);
	is($t->{strategy}{id}, 'default', 'the strategy is default');
	is($t->{externalGameId}, 'main-game', 'the game is named');
	is_deeply($t->{gameParams}, [ { key => 'variable_basic_points',
		value => 4 }, { key => 'motto', value => 'Größe' } ],
		'game params as the strategy sees them');
	is(kind_of($t->{gameParams}[0]{value}), 'int', 'a variable is a number');
	is($t->{strategy}{variables}{variable_basic_points}, 4,
		'and overrides the default');
	is($pg->psql(qq(select status || ' ' || "apiKey_used" || ' '
		|| "strategyId" from tasks where id = '$t->{taskId}')),
		"open $prefix{owner} default", 'the row');

	$r = $owner->post($T, { externalTaskId => 'with-params',
		strategyId => 'greencrowdStrategy', params => [
			{ key => 'variable_basic_points', value => 7 },
			{ key => 'variable_lbe_multiplier', value => '0.75' },
			{ key => 'variable_bonus_points', value => 2.5 },
			{ key => 'other', value => '12' },
			{ key => 'flag', value => $true },
			{ key => 'deep', value => { a => [ 1, { b => 'ü' } ] } },
		] });
	$t = ok_200('a task with params', $r, \%TASK_MADE);
	is_deeply([ map { kind_of($_->{value}) . " $_->{value}" }
		@{ $t->{taskParams} } ], [ 'int 7', 'float 0.75', 'float 2.5',
		'str 12', 'str True', 'str {"a":[1,{"b":"ü"}]}' ],
		'variables are numbers, others text');
	is_deeply([ @{ $t->{strategy}{variables} }{ qw(variable_basic_points
		variable_lbe_multiplier variable_bonus_points) } ], [ 7, 0.75, 1 ],
		'overrides of the same kind, task before game');

	for (
		[ {}, 'missing body.externalTaskId' ],
		[ { externalTaskId => undef }, 'string_type body.externalTaskId' ],
		[ { externalTaskId => 'x' x 256 },
			'string_too_long body.externalTaskId' ],
		[ { externalTaskId => 't', strategyId => 1 },
			'string_type body.strategyId' ],
		[ { externalTaskId => 't', params => [ { key => 'k', value => [] } ] },
			'bool_type body.params.0.value.bool, '
			. 'dict_type body.params.0.value.dict[any,any], '
			. 'float_type body.params.0.value.float, '
			. 'int_type body.params.0.value.int, '
			. 'string_type body.params.0.value.str' ],
	) {
		my ($in, $items) = @$_;
		refused('POST tasks ' . substr($JSON->encode($in), 0, 60),
			$owner->post($T, $in), 422, $items);
	}
	refused('a name that is taken', $owner->post($T,
		{ externalTaskId => 'with-params' }), 409);
	is($owner->post("$V/games/$game/tasks",
		{ externalTaskId => 'x' x 255 })->{status}, 200, '255 bytes');
	my $second = make_game($owner);
	is($owner->post("$V/games/$second/tasks",
		{ externalTaskId => 'with-params' })->{status}, 200,
		'in another game it is free');
	refused('an unknown strategy', $owner->post($T, { externalTaskId => 'u',
		strategyId => 'x' }), 404);
	refused('a taken name before an unknown strategy', $owner->post($T,
		{ externalTaskId => 'with-params', strategyId => 'x' }), 409);
	refused('an unknown game', $owner->post("$V/games/$nowhere/tasks",
		{ externalTaskId => 'u' }), 404);
	refused('a foreign game', $other->post($T, { externalTaskId => 'u' }), 403);
	is($admin->post($T, { externalTaskId => 'by-admin' })->{status}, 200,
		'an admin may');
};

subtest 'GET tasks' => sub {
	my $g = make_game($owner, params => [ { key => 'variable_max_points',
		value => '50' } ]);
	my $list = sub { return $owner->get("$V/games/$g/tasks" . ($_[0] // '')) };
	my $j = ok_200('a game without tasks', $list->(),
		{ items => [ \%TASK_ITEM ], search_options => \%PAGE });
	is_deeply([ $j->{items}, $j->{search_options}{total_count} ], [ [], 0 ],
		'gives an empty page');
	make_task($g, "t-$_", strategyId => 'constantEffortStrategy',
		params => [ { key => 'k', value => $_ } ]) for 1 .. 3;
	my $r = $list->('?ordering=externalTaskId&page_size=2');
	$j = ok_200('a page', $r,
		{ items => [ \%TASK_ITEM ], search_options => \%PAGE });
	is_deeply($j->{search_options}, { ordering => 'externalTaskId', page => 1,
		page_size => 2, total_count => 3 }, 'its envelope');
	is(join(' ', map { $_->{externalTaskId} } @{ $j->{items} }), 't-1 t-2',
		'only this game\'s tasks, in order');
	my $t = $j->{items}[0];
	is("$t->{status} $t->{strategyId} $t->{strategy}{name}",
		'open constantEffortStrategy ConstantEffortStrategy', 'an item');
	is($t->{strategy}{variables}{variable_max_points}, 50, 'game override');
	is($t->{taskParams}[0]{value}, '1', 'a param of no variable is text');
	for my $col (qw(id created_at updated_at externalTaskId gameId strategyId
		status apiKey_used oauth_user_id)) {
		is($list->("?ordering=-$col")->{status}, 200, "ordering=-$col");
	}
	refused('a column of games', $list->('?ordering=platform'), 422,
		'enum query.ordering');
	refused('page 0', $list->('?page=0'), 422,
		'greater_than_equal query.page');
	refused('an unknown game', $owner->get("$V/games/$nowhere/tasks"), 404);
	refused('a foreign game', $other->get("$V/games/$g/tasks"), 403);
	is($admin->get("$V/games/$g/tasks")->{json}{search_options}{total_count},
		3, 'an admin sees them');
};

subtest 'PATCH a task' => sub {
	my $id = make_task($game, 'to-edit', params => [
		{ key => 'one', value => '1' }, { key => 'two', value => '2' } ]);
	my $edit = sub { return $owner->patch("$T/$id", $_[0]) };
	my $params = sub {
		return [ map { [ $_->{key}, "$_->{value}", $_->{id} ] } map {
			@{ $_->{taskParams} } } grep { $_->{id} eq $id }
			@{ $owner->get("$T?page_size=all")->{json}{items} } ];
	};
	my %EDITED = (taskId => 'uuid', gameId => 'uuid', externalTaskId => 'str',
		strategyId => 'str', status => 'str', message => 'str');
	my $r = $edit->({ status => 'closed' });
	my $j = ok_200('another status', $r, { %EDITED, taskParams => 'null' });
	is(order_of($r->{body}), 'taskId gameId externalTaskId strategyId status '
		. 'taskParams message', 'members in their order');
	is("$j->{taskId} $j->{gameId} $j->{status}", "$id $game closed",
		'as stored');
	for my $same ({}, { status => undef, strategyId => undef, params => undef },
		{ status => 'closed' }, { strategyId => 'default' },
		{ status => 'closed', strategyId => 'default' }) {
		refused('nothing new: ' . $JSON->encode($same), $edit->($same), 409);
	}
	is($edit->({ status => 'closed', strategyId => 'socio_bee' })
		->{json}{strategyId}, 'socio_bee', 'one of two is new');

	my $old = $params->();
	is(join(' ', map { "$_->[0]=$_->[1]" } @$old), 'one=1 two=2', 'params');
	$j = ok_200('a list that is the same', $edit->({ params => [ map { {
		key => $_->[0], value => $_->[1], id => $_->[2] } } @$old ] }),
		{ %EDITED, taskParams => [ { key => 'str', value => 'str' } ] });
	is_deeply($params->(), $old, 'changes nothing');
	$edit->({ params => [ { id => $old->[1][2], key => 'deux', value => 2.5 },
		{ key => 'three', value => { a => 1 } }, { id => undef, key => 'four',
		value => $false }, { id => $nowhere, key => 'five', value => 5 } ] });
	my $new = $params->();
	is_deeply([ sort map { "$_->[0]=$_->[1]" } @$new ],
		[ 'deux=2.5', 'five=5', 'four=False', 'three={"a":1}' ],
		'the list is the complete set') or diag explain $new;
	is_deeply([ grep { $_->[0] eq 'deux' } @$new ],
		[ [ 'deux', '2.5', $old->[1][2] ] ], 'a known id stays');
	$r = $edit->({ params => [ { id => $old->[1][2], key => 'a', value => 'x' },
		{ id => $old->[1][2], key => 'b', value => 'y' },
		{ id => $nowhere, key => 'c', value => 'z' },
		{ id => $nowhere, key => 'd', value => 'z' } ] });
	is($r->{status}, 200, 'one id twice') or diag $r->{body};
	is(join(' ', sort map { $_->[0] } @{ $params->() }), 'a b c d',
		'what is answered is stored');
	is_deeply($edit->({ params => [] })->{json}{taskParams}, [],
		'an empty list is answered');
	is_deeply($params->(), [], 'and deletes all');
	my $neighbour = make_task($game, 'neighbour',
		params => [ { key => 'mine', value => '1' } ]);
	my $its = $pg->psql(
		qq(select id from tasksparams where "taskId" = '$neighbour'));
	$edit->({ params => [ { id => $its, key => 'stolen', value => 'x' } ] });
	is($pg->psql(qq(select key from tasksparams where id = '$its')), 'mine',
		'the param of another task is not touched');
	is($params->()[0][0], 'stolen', 'a new one is made');

	for (
		[ { status => 1 }, 'string_type body.status' ],
		[ { strategyId => [] }, 'string_type body.strategyId' ],
		[ { params => {} }, 'list_type body.params' ],
		[ { params => [ { id => 'x', key => 'k', value => 1 } ] },
			'uuid_parsing body.params.0.id' ],
		[ { params => [ { id => 5 } ] }, 'missing body.params.0.key, '
			. 'missing body.params.0.value, '
			. 'uuid_parsing body.params.0.id' ],
	) {
		my ($in, $items) = @$_;
		refused('PATCH ' . $JSON->encode($in), $edit->($in), 422, $items);
	}
	refused('an empty strategy', $edit->({ strategyId => '' }), 404);
	refused('an unknown strategy', $edit->({ strategyId => 'x' }), 404);
	refused('an unknown custom one',
		$edit->({ strategyId => "custom:$nowhere" }), 404);
	refused('an external id', $owner->patch("$T/to-edit", { status => 'x' }),
		422, 'uuid_parsing path.taskId');
	refused('an unknown task', $owner->patch("$T/$nowhere",
		{ status => 'x' }), 404);
	my $second = make_game($owner);
	refused('a task of another game', $owner->patch(
		"$V/games/$second/tasks/$id", { status => 'x' }), 404);
	refused('a foreign game', $other->patch("$T/$id", { status => 'x' }), 403);
	is($admin->patch("$T/$id", { status => 'by-admin' })->{json}{status},
		'by-admin', 'an admin may');
};

# ---- strategies ----------------------------------------------------------------------

subtest 'GET /strategies' => sub {
	for my $who ($anybody, $owner) {
		my $r = $who->get("$V/strategies");
		is($r->{status}, 200, 'listed');
		framed('built-ins', $r);
		is(join(' ', map { $_->{id} } @{ $r->{json} }),
			'constantEffortStrategy default getis_ord_gi_star '
			. 'greencrowdStrategy greengageStrategy socio_bee',
			'the six in their order');
		is_members($_->{id}, $_, { %STRATEGY, name => 'str',
			hash_version => 'hex64' }) for @{ $r->{json} };
	}
};

subtest 'custom strategies: create, list, get' => sub {
	my $ast = always({ %{ lit(5) }, id => 'l' }, 'Five');
	my $r = $fresh->post($S, { name => 'Über', description => 'd',
		type => 'DSL_FULL', astJson => $ast, blocklyXml => '<xml>é</xml>',
		experimentTag => 'tag' });
	my $row = ok_200('all members', $r, \%ROW, 201);
	is(order_of($r->{body}), 'id realmId name description type '
		. 'parentStrategyId astJson blocklyXml version status createdBy '
		. 'created_at updated_at publishedAt experimentTag', 'in order');
	is_deeply([ @$row{qw(realmId name description type parentStrategyId
		blocklyXml version status createdBy publishedAt experimentTag)} ],
		[ $prefix{fresh}, 'Über', 'd', 'DSL_FULL', undef, '<xml>é</xml>', 1,
		'DRAFT', $prefix{fresh}, undef, 'tag' ], 'as sent');
	is_deeply($row->{astJson}, $ast, 'the program');
	my $least = ok_200('the least', $fresh->post($S, { name => 'n',
		description => undef, parentStrategyId => undef, astJson => undef,
		blocklyXml => undef, experimentTag => undef }), \%ROW, 201);
	is($least->{astJson}, undef, 'no program');
	is($fresh->post($S, { name => 'é' x 200, description => 'ü' x 2000,
		experimentTag => 'ö' x 200 })->{status}, 201,
		'limits count characters');
	my $extend = ok_200('an extension', $fresh->post($S, { name => 'ext',
		type => 'DSL_EXTEND', parentStrategyId => 'default' }), \%ROW, 201);
	is($extend->{parentStrategyId}, 'default', 'its parent');

	for (
		[ {}, 'missing body.name' ],
		[ { name => '' }, 'string_too_short body.name' ],
		[ { name => 'é' x 201 }, 'string_too_long body.name' ],
		[ { name => undef }, 'string_type body.name' ],
		[ { name => 'x', description => 'x' x 2001 },
			'string_too_long body.description' ],
		[ { name => 'x', experimentTag => 'x' x 201 },
			'string_too_long body.experimentTag' ],
		[ { name => 'x', type => 'FULL' }, 'enum body.type' ],
		[ { name => 'x', type => undef }, 'enum body.type' ],
		[ { name => 'x', astJson => [] }, 'dict_type body.astJson' ],
		[ { name => 'x', astJson => 'x' }, 'dict_type body.astJson' ],
		[ { name => 'x', blocklyXml => {} }, 'string_type body.blocklyXml' ],
		[ { name => 1, type => 1, astJson => 1 }, 'dict_type body.astJson, '
			. 'enum body.type, string_type body.name' ],
	) {
		my ($in, $items) = @$_;
		refused('POST custom ' . substr(
			JSON::PP->new->canonical->encode($in), 0, 50),
			$fresh->post($S, $in), 422, $items);
	}
	refused('an unknown parent', $fresh->post($S, { name => 'x',
		type => 'DSL_EXTEND', parentStrategyId => 'nope', astJson => {} }),
		404);
	refused('no parent', $fresh->post($S, { name => 'x',
		type => 'DSL_EXTEND', astJson => {} }), 400);
	refused('a parent of a full program', $fresh->post($S, { name => 'x',
		parentStrategyId => 'default', astJson => {} }), 400);
	refused('a program before its name', $fresh->post($S, { name => 'Über',
		astJson => always(field('nope'), 'x') }), 400,
		{ code => 'DSL_FIELD_PATH_NOT_ALLOWED' });
	refused('a name that is taken', $fresh->post($S, { name => 'Über' }), 400);
	is($other->post($S, { name => 'Über' })->{status}, 201,
		'in another realm it is free');

	$r = $fresh->get("$S/$row->{id}");
	is_deeply(ok_200('one', $r, \%ROW), $row, 'as it was created');
	is($fresh->get("$S/" . uc $row->{id})->{json}{id}, $row->{id},
		'in any spelling');
	for my $bad ('x', "custom:$row->{id}", $nowhere) {
		refused("id $bad", $fresh->get("$S/$bad"), 404);
	}
	refused('of another realm', $other->get("$S/$row->{id}"), 404);
	is($admin->get("$S/$row->{id}")->{status}, 200, 'an admin sees it');

	$r = $fresh->get($S);
	is($r->{status}, 200, 'listed');
	framed('a list', $r);
	is_members('a row', $_, \%ROW) for @{ $r->{json} };
	my @names = map { $_->{name} } @{ $r->{json} };
	is(scalar @names, 4, 'this realm\'s rows only');
	my $n = sub {
		return scalar @{ $fresh->get("$S?$_[0]")->{json} };
	};
	is($n->('status=DRAFT'), 4, 'by status');
	is($n->('status=PUBLISHED'), 0, 'none is published');
	is($n->('type=DSL_EXTEND'), 1, 'by type');
	is($n->('type=DSL_FULL&limit=2'), 2, 'limited');
	for (
		[ 'status=draft', 'string_pattern_mismatch query.status' ],
		[ 'status=', 'string_pattern_mismatch query.status' ],
		[ 'status=DRAFT%0A', 'string_pattern_mismatch query.status' ],
		[ 'type=FULL', 'string_pattern_mismatch query.type' ],
		[ 'limit=0', 'greater_than_equal query.limit' ],
		[ 'limit=501', 'less_than_equal query.limit' ],
		[ 'limit=x', 'int_parsing query.limit' ],
	) {
		my ($query, $items) = @$_;
		refused("GET custom?$query", $fresh->get("$S?$query"), 422, $items);
	}
	is($n->('limit=500'), 4, 'the largest limit');
};

subtest 'an invalid program is refused with its code and node' => sub {
	my $deep = lit(1);
	$deep = arith('+', $deep, lit(1)) for 1 .. 40;
	my $wide = { type => 'program', id => 'p', rules => [ map { {
		type => 'rule', id => "r$_", when => { type => 'compare', op => '==',
			left => lit(1), right => lit(1) },
		then => [ { type => 'assign_points', value => lit(1) } ] } } 1 .. 250 ] };
	my @cases = (
		[ 'an empty object', {}, undef, undef ],
		[ 'another root', { type => 'rule', id => 'r' }, undef, 'r' ],
		[ 'an unknown field', always({ %{ field('user.secret') },
			id => 'f1' }, 'C'),
			{ code => 'DSL_FIELD_PATH_NOT_ALLOWED' }, 'f1' ],
		[ 'a parent field', always({ %{ field('parent.points') },
			id => 'f2' }, 'C'),
			{ code => 'DSL_PARENT_FIELD_OUTSIDE_POST' }, 'f2' ],
		[ 'an unknown operator', always({ %{ arith('**', lit(1), lit(2)) },
			id => 'a1' }, 'C'), { code => 'DSL_ARITH_OP_NOT_ALLOWED' }, 'a1' ],
		[ 'an unknown function', always({ type => 'func_call', id => 'f3',
			name => 'eval', args => [] }, 'C'),
			{ code => 'DSL_FUNC_NAME_NOT_ALLOWED' }, 'f3' ],
		[ 'an arity', always({ type => 'func_call', id => 'f4',
			name => 'clamp', args => [ lit(1) ] }, 'C'),
			{ code => 'DSL_FUNC_ARITY_MISMATCH' }, 'f4' ],
		[ 'an odd id', always({ type => 'func_call', id => "a b%\r\n:é",
			name => 'eval', args => [] }, 'C'),
			{ code => 'DSL_FUNC_NAME_NOT_ALLOWED' }, 'a%20b%25%0D%0A:%C3%A9' ],
		[ 'a selector that is no text', always({ type => {} }, 'C'),
			undef, undef ],
		[ 'too deep', always($deep, 'C'), undef, undef ],
		[ 'too many nodes', $wide, undef, undef ],
	);
	for (@cases) {
		my ($name, $ast, $what, $node) = @$_;
		my $r = $fresh->post($S, { name => "bad $name", astJson => $ast });
		my $detail = refused($name, $r, 400, $what);
		is($r->{headers}{'x-node-id'}, $node, "$name: X-Node-Id")
			if defined $node;
		next unless $what;
		is_members($name, $detail, { code => 'str', params => 'object',
			message => 'str' });
		ok(defined $detail->{params}{nodeId}, "$name: params.nodeId");
	}
	my $r = $fresh->post($S, { name => 'long id', astJson => always(
		{ type => 'func_call', id => 'é' x 1000, name => 'eval',
		args => [] }, 'C') });
	is($r->{status}, 400, 'a long id');
	like($r->{headers}{'x-node-id'}, qr/\A(%C3%A9)+(%C3)?\z/, 'is cut');
	cmp_ok(length $r->{headers}{'x-node-id'}, '<=', 256, 'to 256 bytes');
	is($pg->psql(q(select count(*) from strategydefinition
		where name like 'bad %')), 0, 'none was stored');
};

subtest 'publish and assign' => sub {
	my $mine = make_strategy($owner, always(lit(1), 'One'));
	my $shared = make_strategy($admin, always(lit(2), 'Two'));
	my $theirs = make_strategy($other, always(lit(3), 'Three'));
	my $bare = $owner->post($S, { name => 'bare' })->{json}{id};
	my $task = make_task($game, 'assigned');
	my $assign = sub {
		return $owner->patch("$T/$task", { strategyId => $_[0] });
	};

	refused('a draft', $assign->("custom:$mine"), 400);
	refused('a draft for a new task', $owner->post($T, { strategyId =>
		"custom:$mine", externalTaskId => 'draft' }), 400);
	refused('a draft for a new game', $owner->post("$V/games", { platform =>
		'p', externalGameId => 'draft', strategyId => "custom:$mine" }), 400);
	refused('its author may not publish', $owner->post("$S/$mine/publish"),
		403);
	for my $body (undef, {}, '[1]') {
		my $row = ok_200('an admin may, again and again',
			$admin->post("$S/$mine/publish", $body), \%ROW);
		is($row->{status}, 'PUBLISHED', 'published');
		ok($row->{publishedAt}, 'with its time');
	}
	$admin->post("$S/$_/publish") for $shared, $theirs;
	refused('without a program', $admin->post("$S/$bare/publish"), 400);
	refused('unknown', $admin->post("$S/$nowhere/publish"), 404);
	refused('no UUID', $admin->post("$S/x/publish"), 404);

	is($pg->psql(qq(select "realmId" from strategydefinition
		where id = '$shared')), 'master', 'an admin authors for all');
	for (
		[ 'of the caller\'s realm', "custom:$mine", 200 ],
		[ 'of the shared realm', "custom:$shared", 200 ],
		[ 'of a foreign realm', "custom:$theirs", 404 ],
		[ 'without its prefix', $mine, 404 ],
	) {
		my ($name, $id, $status) = @$_;
		my $r = $assign->($id);
		is($r->{status}, $status, $name) or diag $r->{body};
		is($r->{json}{strategyId}, $id, 'as stored') if $status == 200;
		$r = $owner->post("$V/games/$game/tasks", { strategyId => $id,
			externalTaskId => "new $name" });
		is($r->{status}, $status, "$name, a new task") or diag $r->{body};
		$r = $owner->post("$V/games", { strategyId => $id, platform => 'p',
			externalGameId => 'new-' . ++$seq });
		is($r->{status}, $status, "$name, a new game") or diag $r->{body};
	}
	is($assign->('custom:' . uc $mine)->{json}{strategyId}, "custom:$mine",
		'ids are stored as they are shown');
	refused('the same in capitals', $assign->('custom:' . uc $mine), 409);
	my ($item) = grep { $_->{id} eq $task }
		@{ $owner->get("$T?page_size=all")->{json}{items} };
	is_members('its strategy object', $item->{strategy}, { %STRATEGY,
		hash_version => 'hex64' });
	like("$item->{strategy}{id} $item->{strategy}{name} "
		. $item->{strategy}{version}, qr/\Acustom:\Q$mine\E strategy-\d+ 1\z/,
		'names what scores');
	$pg->psql(qq(update strategydefinition set status = 'ARCHIVED'
		where id = '$shared'));
	refused('an archived one', $assign->("custom:$shared"), 400);
	refused('cannot be published', $admin->post("$S/$shared/publish"), 409);
};

# ---- awards --------------------------------------------------------------------------

my $A; # path of the award

sub scoring {
	my ($name, $ast) = @_;
	my $id = make_strategy($admin, $ast);
	$admin->post("$S/$id/publish");
	make_task($game, $name, strategyId => "custom:$id");
	return "$T/$name/points";
}

sub stored { return $pg->psql('select count(*) from userpoints') }

subtest 'POST points' => sub {
	my $path = scoring('five', always(lit(5), 'Five'));
	my $r = $owner->post($path, { externalUserId => 'user-1' });
	my $j = ok_200('an award', $r, { points => 'int', caseName => 'str',
		isACreatedUser => 'bool', gameId => 'uuid', externalTaskId => 'str',
		created_at => 'ts_sp' });
	is(order_of($r->{body}), 'points caseName isACreatedUser gameId '
		. 'externalTaskId created_at', 'members in their order');
	is("$j->{points} $j->{caseName} $j->{isACreatedUser} $j->{externalTaskId}",
		'5 Five 1 five', 'their values');
	my $n = stored();
	for my $yes ($true, 1, 'yes', 'ON', 'True', 'y', 't', 1.0) {
		$r = $owner->post($path, { externalUserId => 'never-made',
			isSimulated => $yes });
		is($r->{status}, 200, "isSimulated $yes") or diag $r->{body};
		is($r->{json}{isACreatedUser}, $false, 'no user');
	}
	is(stored(), $n, 'nothing is written');
	is($pg->psql(q(select count(*) from users
		where "externalUserId" = 'never-made')), 0, 'nor a user');
	for my $no ($false, 0, undef, 'off', '0', 'N') {
		$r = $owner->post($path, { externalUserId => 'user-1',
			isSimulated => $no });
		is($r->{status}, 200, 'isSimulated ' . ($no // 'null'));
	}
	is(stored(), $n + 6, 'these are written');
	is($owner->post($path, { externalUserId => 'user-1', data => $_ })
		->{status}, 200, 'data may be null or an object') for undef, {};
	for (
		[ {}, 'missing body.externalUserId' ],
		[ { externalUserId => undef }, 'string_type body.externalUserId' ],
		[ { externalUserId => 'é' x 128 },
			'string_too_long body.externalUserId' ],
		[ { data => [] }, 'dict_type body.data' ],
		[ { data => 'x' }, 'dict_type body.data' ],
		[ { isSimulated => 2 }, 'bool_parsing body.isSimulated' ],
		[ { isSimulated => 'maybe' }, 'bool_parsing body.isSimulated' ],
		[ { isSimulated => {} }, 'bool_type body.isSimulated' ],
	) {
		my ($in, $items) = @$_;
		my $body = %$in ? { externalUserId => 'user-1', %$in } : {};
		refused('POST points ' . substr($JSON->encode($in), 0, 50),
			$owner->post($path, $body), 422, $items);
	}
	for my $user ('', 'ab', 'x' x 61, 'with blank', 'ü-ü-ü', 'a@b.c') {
		refused("a new user '$user'", $owner->post($path,
			{ externalUserId => $user }), 422);
		refused("a simulated user '$user'", $owner->post($path,
			{ externalUserId => $user, isSimulated => $true }), 422)
			if length $user;
	}
	for my $user ('abc', 'x' x 60, 'A_b-9') {
		is($owner->post($path, { externalUserId => $user })->{status}, 200,
			"a new user $user");
	}
	$pg->psql(q(insert into users (id, created_at, updated_at,
		"externalUserId") values (gen_random_uuid(), now(), now(),
		'old user: é')));
	is($owner->post($path, { externalUserId => 'old user: é' })->{status},
		200, 'a user who is there may have any name');
	refused('a foreign game', $other->post($path,
		{ externalUserId => 'user-1' }), 403);
	is($admin->post($path, { externalUserId => 'user-1' })->{status}, 200,
		'an admin may');
	refused('an unknown task', $owner->post("$T/nope/points",
		{ externalUserId => 'user-1' }), 404);
	refused('a task past 255 bytes', $owner->post("$T/" . 'x' x 256
		. '/points', { externalUserId => 'user-1' }), 422);
	is($owner->post("$T/a%20task,%20with:%20blanks!/points",
		{ externalUserId => 'user-1' })->{status}, 200,
		'a task with blanks, encoded');
	my ($id) = map { $_->{id} } grep { $_->{externalTaskId} eq 'five' }
		@{ $owner->get("$T?page_size=all")->{json}{items} };
	$owner->patch("$T/$id", { status => 'closed' });
	is($owner->post($path, { externalUserId => 'user-1' })->{status}, 200,
		'a closed task still scores');
};

subtest 'a strategy that fails while awarding' => sub {
	my $by = field('data.by');
	my @cases = (
		[ 'division', always(arith('/', lit(1), $by), 'C'), { by => 0 }, 400,
			'DSL_ARITH_DIV_BY_ZERO', 'sum' ],
		[ 'types', always(arith('+', lit(1), $by), 'C'), { by => 'x' }, 400,
			'DSL_ARITH_TYPE_MISMATCH', 'sum' ],
		[ 'missing', always({ %$by, id => 'f' }, 'C'), {}, 400,
			'DSL_ASSIGN_POINTS_NOT_NUMBER', 'give' ],
		[ 'no-number', always($by, 'C'), { by => 'x' }, 400,
			'DSL_ASSIGN_POINTS_NOT_NUMBER', 'give' ],
		[ 'function', always({ type => 'func_call', id => 'fn', name => 'int',
			args => [ $by ] }, 'C'), { by => 'x' }, 400,
			'DslExecutionError', 'fn' ],
		[ 'fraction', always($by, 'C'), { by => 2.5 }, 422,
			'DSL_POINTS_NOT_STORABLE', undef ],
		[ 'past-32-bits', always($by, 'C'), { by => 2147483648 }, 422,
			'DSL_POINTS_NOT_STORABLE', undef ],
		[ 'below-32-bits', always($by, 'C'), { by => -2147483649 }, 422,
			'DSL_POINTS_NOT_STORABLE', undef ],
		[ 'no-case', { type => 'program', id => 'p', rules => [] }, {}, 422,
			'DSL_NO_CASE', undef ],
	);
	my $n = stored();
	for (@cases) {
		my ($name, $ast, $data, $status, $code, $node) = @$_;
		my $path = scoring("fails-$name", $ast);
		for my $simulated ($false, $true) {
			my $r = $owner->post($path, { externalUserId => 'failing-user',
				data => $data, isSimulated => $simulated });
			my $detail = refused($name, $r, $status, { code => $code });
			is_members($name, $detail, { code => 'str',
				params => 'object', message => 'str' });
			is($r->{headers}{'x-node-id'}, $node, "$name: X-Node-Id");
			ok($r->{headers}{'x-trace-id'}, "$name: X-Trace-Id")
				unless $simulated;
		}
	}
	my $path = scoring('refuses', always($by, 'Already rewarded'));
	for my $value (-1, '-1.0') {
		is(refused("points $value", $owner->post($path,
			qq({"externalUserId":"failing-user","data":{"by":$value}})), 422),
			'Already rewarded', 'the case name is the reason');
	}
	is(stored(), $n, 'no award was written');
	is($pg->psql(q(select count(*) from users
		where "externalUserId" = 'failing-user')), 0, 'nor a user');
	for my $fine (-2, 0, 2147483647, -2147483648, '7.0') {
		my $r = $owner->post($path,
			qq({"externalUserId":"fine-user","data":{"by":$fine}}));
		is($r->{status}, 200, "points $fine") or diag $r->{body};
		is(kind_of($r->{json}{points}), 'int', 'an integer');
		is($r->{json}{points}, int $fine, 'as the strategy said');
	}
};

subtest 'idempotency keys' => sub {
	my $path = scoring('keyed', always(lit(1), 'One'));
	my $try = sub {
		my ($data, %headers) = @_;
		my $r = $owner->post($path, { externalUserId => 'key-user',
			data => $data }, %headers);
		is($r->{status}, 200, 'awarded') or diag $r->{body};
		return $pg->psql(qq(select "idempotencyKey" from userpoints
			where created_at = '$r->{json}{created_at}'
			and "taskId" = (select id from tasks
			where "externalTaskId" = 'keyed')));
	};
	my $n = 0;
	for (
		[ 'the header', {}, { 'Idempotency-Key' => ' h1 ' }, 'h1' ],
		[ 'its other name', {}, { 'X-Idempotency-Key' => 'h2' }, 'h2' ],
		[ 'the first name wins', {}, { 'X-Idempotency-Key' => 'no',
			'Idempotency-Key' => 'h3' }, 'h3' ],
		[ 'eventId beats the header', { eventId => ' e1 ' },
			{ 'Idempotency-Key' => 'no' }, 'e1' ],
		[ 'the header beats idempotencyKey', { idempotencyKey => 'no' },
			{ 'Idempotency-Key' => 'h4' }, 'h4' ],
		[ 'idempotencyKey beats correlationId', { idempotencyKey => 'i1',
			correlationId => 'no' }, {}, 'i1' ],
		[ 'correlationId', { correlationId => 'c1' },
			{ 'X-Correlation-ID' => 'no' }, 'c1' ],
		[ 'the correlation header', {}, { 'X-Correlation-ID' => 'c2' },
			'c2' ],
		[ 'a number is no key', { eventId => 5, idempotencyKey => 'i2' }, {},
			'i2' ],
		[ 'an eventId that is a number hides the header',
			{ eventId => 5, correlationId => 'c3' },
			{ 'Idempotency-Key' => 'no' }, 'c3' ],
		[ 'a blank is no key', { eventId => '  ', idempotencyKey => '',
			correlationId => 'c4' }, {}, 'c4' ],
		[ '255 bytes', { eventId => 'é' x 127 . 'x' }, {}, 'é' x 127 . 'x' ],
		[ 'a header with UTF-8', {},
			{ 'Idempotency-Key' => encode_utf8('schlüssel') }, 'schlüssel' ],
	) {
		my ($name, $data, $headers, $want) = @$_;
		my $key = $try->($data, %$headers);
		utf8::decode($key);
		is($key, $want, $name);
		my $rows = stored();
		$try->($data, %$headers);
		is(stored(), $rows, "$name: again, no second row");
	}
	my $rows = stored();
	for my $none ({}, { 'Idempotency-Key' => '  ' }) {
		like($try->({}, %$none), qr/\Asrv-/, 'none: one is made') for 1, 2;
	}
	is(stored(), $rows + 4, 'and nothing is deduplicated');
	for my $user ('key-user-2', 'key-user-3') {
		is($owner->post($path, { externalUserId => $user,
			data => { eventId => 'e1' } })->{json}{isACreatedUser}, $true,
			'a key is the user\'s');
	}
	my $second = scoring('keyed-2', always(lit(9), 'Nine'));
	is($owner->post($second, { externalUserId => 'key-user',
		data => { eventId => 'e1' } })->{json}{points}, 9,
		'and the task\'s');
	my $data = $JSON->decode($pg->psql(q(select data from userpoints
		where "idempotencyKey" = 'h4')));
	is_deeply([ sort keys %$data ],
		[ qw(correlationId eventId idempotencyKey) ], 'the data is completed');
	$rows = stored();
	for (
		[ { eventId => 'x' x 256 }, {} ],
		[ { idempotencyKey => 'é' x 128 }, {} ],
		[ {}, { 'Idempotency-Key' => 'x' x 256 } ],
		[ {}, { 'Idempotency-Key' => "\xff" } ],
	) {
		my ($in, $headers) = @$_;
		refused('a key that cannot be stored', $owner->post($path,
			{ externalUserId => 'key-user', data => $in }, %$headers), 422);
	}
	is(stored(), $rows, 'writes nothing');
};

subtest 'points are read back' => sub {
	my $g = make_game($owner, externalGameId => 'points-game');
	my $p = "$V/games/$g";

	refused('a game without tasks', $owner->get("$p/points"), 404);
	refused('a game without tasks, one user',
		$owner->get("$p/users/user-1/points"), 404);
	my $id = make_strategy($admin, always(field('data.n'), 'N'));
	$admin->post("$S/$id/publish");
	make_task($g, $_, strategyId => "custom:$id") for qw(one two none);
	my $created = $owner->get($p)->{json}{created_at} =~ s/T/ /r
		=~ s/Z/+00:00/r;
	for ([ one => 'ann', 3 ], [ one => 'bob', 4 ], [ one => 'ann', -1000 ],
		[ two => 'ann', 7 ], [ two => 'ann', 0 ]) {
		my ($task, $user, $n) = @$_;
		is($owner->post("$p/tasks/$task/points", { externalUserId => "$user-1",
			data => { n => $n } })->{status}, 200, 'awarded');
	}
	my $r = $owner->get("$p/points");
	my $j = ok_200('of a game', $r, { externalGameId => 'str',
		created_at => 'ts_sp', task => [ { externalTaskId => 'str',
		points => [ \%SUM ] } ] });
	is(order_of($r->{body}), 'externalGameId created_at task', 'in order');
	is("$j->{externalGameId} $j->{created_at}", "points-game $created",
		'the game\'s own name and time');
	is_deeply({ map { my $t = $_; $t->{externalTaskId} => { map {
		$_->{externalUserId} => "$_->{points}/$_->{timesAwarded}"
		} @{ $t->{points} } } } @{ $j->{task} } },
		{ one => { 'ann-1' => '-997/2', 'bob-1' => '4/1' },
		two => { 'ann-1' => '7/2' }, none => {} }, 'the sums');
	$r = $owner->get("$p/users/ann-1/points");
	is($r->{status}, 200, 'of a user');
	framed('of a user', $r);
	is_members('an element', $_, \%SUM) for @{ $r->{json} };
	is(join(' ', sort map { $_->{points} } @{ $r->{json} }), '-997 7',
		'one for each task');
	is_deeply($owner->get("$p/users/user-1/points")->{json}, [],
		'none here');
	refused('an unknown user', $owner->get("$p/users/nobody/points"), 404);
	is($owner->get("$p/users/old%20user:%20%C3%A9/points")->{status}, 200,
		'a name that needs encoding');
	for my $path ('points', 'users/ann-1/points') {
		refused("$path, foreign", $other->get("$p/$path"), 403);
		is($admin->get("$p/$path")->{status}, 200, "$path, an admin");
		refused("$path, unknown", $owner->get("$V/games/$nowhere/$path"),
			404);
		refused("$path, no UUID", $owner->get("$V/games/x/$path"), 422,
			'uuid_parsing path.gameId');
	}
};

# Until the last worker with the old settings has left.
sub change_conf {
	my @old = $d->pids('worker');

	$d->write_conf(@_);
	$d->reload;
	$_->close for $owner, $admin, $other, $fresh, $anybody;
	ok(Gamed::Daemon::eventually(sub {
		!grep { Gamed::Daemon::process_runs($_) } @old
	}), 'the settings are changed');
	return;
}

subtest 'a limit that is met while awarding' => sub {
	my $sum = lit(1);
	$sum = arith('+', $sum, lit(1)) for 1 .. 8;
	my $path = scoring('limited', always($sum, 'C'));

	is($owner->post($path, { externalUserId => 'user-1' })->{json}{points}, 9,
		'it was legal when it was saved');
	change_conf('dsl.max_nodes' => 10);
	my $n = stored();
	my $r = $owner->post($path, { externalUserId => 'user-1' });
	my $detail = refused('too many nodes', $r, 422,
		{ code => 'DSL_LIMIT_EXCEEDED' });
	is_members('too many nodes', $detail, { code => 'str',
		params => 'object', message => 'str' });
	ok($r->{headers}{'x-trace-id'}, 'the run is kept');
	is(stored(), $n, 'no award is written');
	change_conf('dsl.max_nodes' => 1000);
	is($owner->post($path, { externalUserId => 'user-1' })->{status}, 200,
		'and the old limit serves again');
};

# ---- the database goes away ----------------------------------------------------------

subtest 'with Postgres stopped' => sub {
	my @needs = ([ GET => "$V/games" ], [ GET => "$V/games/$game" ],
		[ POST => "$V/games", { externalGameId => 'late-game',
			platform => 'p' } ],
		[ GET => $T ], [ POST => $T, { externalTaskId => 'late' } ],
		[ PATCH => "$T/$nowhere", { status => 'x' } ],
		[ POST => "$T/late-task/points", { externalUserId => 'user-1' } ],
		[ POST => "$T/five/points", { externalUserId => 'user-1' } ],
		[ GET => "$V/games/$game/points" ],
		[ GET => "$V/games/$game/users/user-1/points" ],
		[ GET => $S ], [ POST => $S, { name => 'late' } ],
		[ GET => "$S/$nowhere" ], [ POST => "$S/$nowhere/publish" ]);

	$pg->stop_immediate;
	ok(Gamed::Daemon::eventually(sub {
		$anybody->get('/readyz')->{status} == 503
	}), 'readyz turns 503');
	my $r = $anybody->get('/readyz');
	is($r->{json}{reasons}[0], 'the database is not available', 'says why');
	is($anybody->get('/livez')->{status}, 200, 'livez stays');
	is($anybody->get("$V/kpi/health_check")->{status}, 503, 'health: 503');
	is($anybody->get("$V/strategies")->{status}, 200,
		'built-ins are served from memory');
	my $n = 0;
	for my $who ($admin, client('never-seen')) {
		for (@needs) {
			my ($method, $path, $body) = @$_;
			$r = $who->request($method, $path, $body);
			next if $n++ >= @needs && $r->{status} == 422;
			refused("$method $path", $r, 503);
			like($r->{headers}{'retry-after'}, qr/\A[1-9]\d*\z/,
				'Retry-After');
		}
	}
	refused('what needs no database is checked first',
		$anybody->get("$V/games"), 401);
	$pg->start;
	ok(Gamed::Daemon::eventually(sub {
		$anybody->get('/readyz')->{status} == 200
	}), 'readyz turns 200 by itself');
	ok(Gamed::Daemon::eventually(sub {
		$owner->get("$V/games")->{status} == 200
	}), 'and requests are served');
	is($owner->post("$T/five/points", { externalUserId => 'user-1' })
		->{status}, 200, 'awards too');
};

my ($rc, $out) = $d->gamectl('verify-points');
is($rc, 0, 'the books balance') or diag $out;
$d->stop;
done_testing;
