#!/usr/bin/perl
# The life of a strategy over HTTP: every endpoint's answers and refusals, and
# that whatever happens at once, at most one version of a family is published
# and every award carries the version that scored it (api-endpoints.md 19 to
# 25, 41 to 47, 51).
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use POSIX qw(strftime);
use Time::HiRes qw(time);
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

my $JSON = JSON::PP->new->canonical->allow_nonref;
my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'server.workers' => 3,
	'http.access_log' => 'false',
	# a request is held open below; nothing may end it before the test does
	'http.handler_timeout_ms' => 120000,
	'database.deadline_ms' => 120000,
	'database.statement_timeout_ms' => 120000,
	'database.lock_timeout_ms' => 120000,
	'dsl.timeout_ms' => 60000,
});

sub new_key {
	my ($rc, $out, $err) = $d->gamectl('apikey', 'create', '--client', @_);
	die "apikey create: $err" if $rc;
	chomp $out;
	return $out;
}
my ($key, $other_key) = map { new_key($_) } qw(author stranger);
my $admin_key = new_key('admin', '--admin');

sub client { return Gamed::Client->new(port => $d->port, key => $_[0]) }
my ($author, $stranger, $admin) = map { client($_) }
	$key, $other_key, $admin_key;
my $anybody = Gamed::Client->new(port => $d->port);

my $S = '/api/v1/strategies';
my $C = "$S/custom";
my $no_such = '99999999-1c7a-4a7e-8f7c-5d3a1f6e2b90';

sub lit { return { type => 'literal', value => $_[0] } }

# A program that always gives these points.
sub gives {
	my ($points, $case) = @_;
	return { type => 'program', id => 'p', rules => [],
		default => { type => 'assign_points', id => 'give',
			value => lit($points), case_name => $case // 'Case' } };
}

sub create {
	my ($who, $name, $ast, %rest) = @_;
	my $r = $who->post($C, { name => $name, astJson => $ast, %rest });

	is($r->{status}, 201, "$name: created") or diag $r->{body};
	return $r->{json};
}

# Version $n of a family, straight into the table.
sub add_version {
	my ($row, $n, $ast, $status) = @_;
	my $text = $JSON->encode($ast) =~ s/'/''/gr;

	return $pg->psql(<<"SQL");
insert into strategydefinition (id, created_at, updated_at, "realmId", name,
	type, version, status, "astJson", ast_text)
select gen_random_uuid(), now(), now(), "realmId", name, type, $n, '$status',
	'$text', '$text' from strategydefinition where id = '$row->{id}'
returning id
SQL
}

sub one { return $pg->psql($_[0]) }

sub say_out { syswrite STDOUT, "@_\n"; return }

sub publish {
	my ($id) = @_;
	my $r = $admin->post("$C/$id/publish");

	is($r->{status}, 200, 'published') or diag $r->{body};
	return $r->{json};
}

sub new_game {
	my ($name) = @_;
	my $r = $author->post('/api/v1/games',
		{ externalGameId => $name, platform => 'web' });

	is($r->{status}, 200, "game $name") or diag $r->{body};
	return $r->{json}{gameId};
}

sub new_task {
	my ($game, $name, $strategy) = @_;
	my $r = $admin->post("/api/v1/games/$game/tasks",
		{ externalTaskId => $name, strategyId => "custom:$strategy" });

	is($r->{status}, 200, "task $name") or diag $r->{body};
	return $r->{json}{taskId};
}

sub refused {
	my ($r, $status, $name) = @_;

	is($r->{status}, $status, $name) or diag $r->{body};
	ok(defined $r->{json}{detail}, "$name: detail");
	return;
}

# ---- built-ins ------------------------------------------------------------------

subtest 'a built-in: object, schema, graph' => sub {
	my $list = $anybody->get($S)->{json};

	is(scalar @$list, 6, 'six are listed');
	for my $b (@$list) {
		my $id = $b->{id};
		my $r = $anybody->get("$S/$id");
		is($r->{status}, 200, $id);
		is_deeply($r->{json}, $b, "$id: as in the list");

		$r = $anybody->get("$S/$id/schema");
		is($r->{status}, 200, "$id: schema");
		my @vars = @{ $r->{json}{variables} };
		is_deeply([ map { $_->{name} } @vars ],
			[ sort keys %{ $b->{variables} } ], "$id: sorted");
		is_deeply({ map { @$_{qw(name currentValue)} } @vars },
			$b->{variables}, "$id: values");

		$r = $anybody->get("$S/$id/graph");
		is($r->{status}, 200, "$id: graph");
		is($r->{headers}{'content-type'}, 'image/svg+xml', "$id: SVG");
		like($r->{body}, qr/\A<svg .*<\/svg>\n\z/s, "$id: a document");
		unlike($r->{body}, qr/&(?!lt;|gt;|amp;)/, "$id: escaped");
	}
	my %type = map { $_->{name} => $_->{type} } map { @{
		$anybody->get("$S/$_/schema")->{json}{variables} } }
		qw(greencrowdStrategy greengageStrategy);
	is($type{variable_lbe_multiplier}, 'float', 'float');
	is($type{variable_basic_points}, 'int', 'int');
	is($type{variable_complexity}, 'dict', 'dict');
	for my $what ('', '/schema', '/graph') {
		refused($anybody->get("$S/nothing$what"), 404, "unknown$what");
		refused($anybody->get("$S/custom:$no_such$what"), 404,
			"custom$what");
	}
};

# ---- templates and import ----------------------------------------------------------

subtest 'templates can be imported as they are' => sub {
	refused($anybody->get("$C/templates"), 403, 'no credentials');
	my $r = $author->get("$C/templates");
	is($r->{status}, 200, 'listed');
	my @t = @{ $r->{json} };
	is(join(' ', map { $_->{id} } @t), 'bonus_extiende_default '
		. 'bonus_por_velocidad engagement_basico '
		. 'recompensa_completar_tarea', 'sorted by id');
	for my $t (@t) {
		is(join(' ', sort keys %$t), 'astJson blocklyXml description id '
			. 'name parentStrategyId type', "$t->{id}: members");
		$r = $author->post("$C/import", $t);
		is($r->{status}, 201, "$t->{id}: imported") or diag $r->{body};
		is_deeply($r->{json}{astJson}, $t->{astJson}, "$t->{id}: program");
		is($r->{json}{blocklyXml}, $t->{blocklyXml}, "$t->{id}: drawing");
		is($r->{json}{parentStrategyId}, $t->{parentStrategyId},
			"$t->{id}: parent");
	}
};

subtest 'import renames until the name is free' => sub {
	my %in = (name => 'taken', astJson => gives(1), blocklyXml => '<xml/>',
		exportedAt => 'x', exportedFromVersion => 7);
	my @got = map { $author->post("$C/import", \%in)->{json} } 1 .. 4;
	my $day = strftime '%Y-%m-%d', gmtime;

	is_deeply([ map { $_->{name} } @got ], [ 'taken',
		"taken (importada $day)", "taken (importada $day) 2",
		"taken (importada $day) 3" ], 'names');
	is_deeply([ map { "$_->{version} $_->{status}" } @got ],
		[ ('1 DRAFT') x 4 ], 'drafts, version 1');
	is($stranger->post("$C/import", \%in)->{json}{name}, 'taken',
		'another realm has its own names');
	my $long = "\x{f1}" x 200;
	@got = map { $author->post("$C/import", { %in, name => $long })->{json} }
		1 .. 3;
	is($got[0]{name}, $long, 'the longest name');
	is($got[1]{name}, "\x{f1}" x 177 . " (importada $day)", 'makes room');
	is($got[2]{name}, "\x{f1}" x 175 . " (importada $day) 2", 'as much as it takes');
	is($author->put("$C/$_->{id}", { name => $_->{name} })->{status}, 200,
		'a name that the API takes') for @got;
	refused($author->post("$C/import", { %in, astJson => {} }), 400,
		'a program that is not valid');
	refused($author->post("$C/import", { %in, type => 'DSL_EXTEND',
		parentStrategyId => 'none' }), 404, 'an unknown parent');
	refused($author->post("$C/import", { %in, type => 'DSL_EXTEND' }), 400,
		'no parent');
	my $r = $author->post("$C/import", { name => '', blocklyXml => '' });
	refused($r, 422, 'faults');
	is_deeply([ map { join '/', @{ $_->{loc} }, $_->{type} }
		@{ $r->{json}{detail} } ],
		[ 'body/name/string_too_short', 'body/astJson/missing',
		'body/blocklyXml/string_too_short' ], 'all of them');
};

# ---- versions and usage ----------------------------------------------------------------

subtest 'versions and usage' => sub {
	my $row = create($author, 'in-use', gives(1));
	my $v2 = add_version($row, 2, gives(2), 'DRAFT');
	my $r = $author->get("$C/$v2/versions");

	is($r->{status}, 200, 'versions');
	is(join(' ', map { $_->{version} } @{ $r->{json} }), '2 1',
		'of the family, newest first');
	is_deeply($r->{json}[1], $author->get("$C/$row->{id}")->{json},
		'whole rows');
	$r = $author->get("$C/$row->{id}/usage");
	is_deeply($r->{json}, { strategyId => "custom:$row->{id}",
		name => 'in-use', version => 1, status => 'DRAFT',
		gameCount => 0, taskCount => 0, games => [], tasks => [] },
		'used by nobody');
	publish($row->{id});
	my ($g1, $g2) = map { new_game("use-$_") } 'b', 'a';
	my $task = new_task($g1, 'only task', $row->{id});
	$pg->psql("update games set \"strategyId\" = 'custom:$row->{id}'
		where id = '$g2'");
	is_deeply($author->get("$C/$row->{id}/usage")->{json}, {
		strategyId => "custom:$row->{id}", name => 'in-use',
		version => 1, status => 'PUBLISHED', gameCount => 1,
		taskCount => 1, games => [ { gameId => $g2,
			externalGameId => 'use-a', platform => 'web' } ],
		tasks => [ { taskId => $task, externalTaskId => 'only task',
			gameId => $g1, externalGameId => 'use-b' } ] },
		'used by a game and a task');
	is($author->get("$C/$v2/usage")->{json}{taskCount}, 0,
		'the id counts, not the family');
	for my $what (qw(versions usage)) {
		refused($stranger->get("$C/$row->{id}/$what"), 404,
			"$what: another realm");
		refused($author->get("$C/$no_such/$what"), 404,
			"$what: no such row");
		refused($author->get("$C/nonsense/$what"), 404,
			"$what: no UUID");
		refused($anybody->get("$C/$row->{id}/$what"), 403,
			"$what: nobody");
	}
};

# ---- rollback ------------------------------------------------------------------------------

subtest 'rollback promotes, archives and moves games and tasks' => sub {
	my $v1 = create($author, 'rolled', gives(1, 'One'));
	my $v2 = add_version($v1, 2, gives(2, 'Two'), 'DRAFT');
	my $bare = add_version($v1, 3, undef, 'DRAFT');
	$pg->psql("update strategydefinition set \"astJson\" = null,
		ast_text = null where id = '$bare'");
	publish($v1->{id});
	publish($v2);
	my $game = new_game('rolled');
	new_task($game, 'moved', $v2);
	$pg->psql("update games set \"strategyId\" = 'custom:$v2'
		where id = '$game'");
	my $award = sub {
		return $author->post("/api/v1/games/$game/tasks/moved/points",
			{ externalUserId => 'user-1' })->{json}{caseName};
	};
	is($award->(), 'Two', 'version 2 scores');

	refused($author->post("$C/$v2/rollback/1"), 403, 'no admin');
	refused($admin->post("$C/$v2/rollback/9"), 404, 'no such version');
	refused($admin->post("$C/$v2/rollback/2"), 409, 'the published one');
	refused($admin->post("$C/$v2/rollback/3"), 400, 'no program');
	refused($admin->post("$C/$no_such/rollback/1"), 404, 'no such row');
	refused($admin->post("$C/nonsense/rollback/1"), 404, 'no UUID');
	my $r = $admin->post("$C/$v2/rollback/0");
	refused($r, 422, 'version 0');
	is($r->{json}{detail}[0]{type}, 'greater_than_equal', 'its type');
	is_deeply($r->{json}{detail}[0]{loc}, [ 'path', 'version' ], 'its loc');
	is($admin->post("$C/$v2/rollback/one")->{json}{detail}[0]{type},
		'int_parsing', 'no number');
	refused($admin->post("$C/$v2/rollback/9999999999999"), 404,
		'a version past 32 bits');
	is($award->(), 'Two', 'nothing has changed');

	$r = $admin->post("$C/$v2/rollback/1");
	is($r->{status}, 200, 'rolled back') or diag $r->{body};
	is("$r->{json}{id} $r->{json}{status}", "$v1->{id} PUBLISHED",
		'the promoted row');
	is($award->(), 'One', 'and it scores at once') for 1 .. 6;
	is(one("select status from strategydefinition where id = '$v2'"),
		'ARCHIVED', 'the other is archived');
	is(one("select \"strategyId\" from games where id = '$game'"),
		"custom:$v1->{id}", 'the game moved');
	$r = $admin->post("$C/$v1->{id}/rollback/2");
	is($r->{status}, 200, 'and forth, from any row of the family');
	is($award->(), 'Two', 'version 2 scores again');
};

# ---- publish ---------------------------------------------------------------------------------

subtest 'publish' => sub {
	my $v1 = create($author, 'pub', gives(1));
	my $none = create($author, 'no-program', undef);

	refused($author->post("$C/$v1->{id}/publish"), 403, 'no admin');
	refused($admin->post("$C/$none->{id}/publish"), 400, 'no program');
	refused($admin->post("$C/$no_such/publish"), 404, 'no such row');
	my $first = publish($v1->{id});
	is_deeply(publish($v1->{id}), $first, 'again: unchanged');
	my $v2 = add_version($v1, 2, gives(2), 'DRAFT');
	publish($v2);
	refused($admin->post("$C/$v1->{id}/publish"), 409, 'archived');
	refused($author->post($C, { name => 'pub', astJson => gives(1) }), 400,
		'the name is taken');
};

# As the reference writes it: no ast_text.
sub adopt {
	my ($name, $version, $ast, $status) = @_;
	my $text = ref $ast ? $JSON->encode($ast) : $ast;

	return $pg->psql(<<"SQL");
insert into strategydefinition (id, created_at, updated_at, "realmId", name,
	type, version, status, "astJson")
select gen_random_uuid(), now(), now(), "realmId", '$name', 'DSL_FULL',
	$version, '$status', '$text'
from strategydefinition where name = 'taken' and "realmId" is not null limit 1
returning id
SQL
}

subtest 'the hash of a program that the reference wrote' => sub {
	my $game = new_game('adopted');
	my @ids = map { adopt("adopted $_", 1, gives($_, "A$_"), 'PUBLISHED') }
		1, 2;
	my (%shown, %task);

	for my $n (0 .. 5) {
		my $r = $admin->post("/api/v1/games/$game/tasks", {
			externalTaskId => "t$n",
			strategyId => "custom:$ids[$n % 2]" });
		is($r->{status}, 200, "task t$n") or diag $r->{body};
		$shown{"t$n"} = $r->{json}{strategy}{hash_version};
		is($author->post("/api/v1/games/$game/tasks/t$n/points",
			{ externalUserId => 'ana' })->{status}, 200, 'an award');
	}
	my %awarded = map { split /\|/ } split /\n/, one(<<"SQL");
select t."externalTaskId", p.ast_sha256 from userpoints p
join tasks t on t.id = p."taskId" where t."gameId" = '$game'
SQL
	is_deeply(\%shown, \%awarded, 'where the task is made');
	isnt($awarded{t0}, $awarded{t1}, 'each its own');
	for my $page ('', '?page=2&page_size=4') {
		my $list = $author->get("/api/v1/games/$game/tasks$page")->{json};
		my %listed = map { $_->{externalTaskId} =>
			$_->{strategy}{hash_version} } @{ $list->{items} };
		cmp_ok(scalar keys %listed, '>', 1, "page '$page'");
		is_deeply(\%listed, { map { $_ => $awarded{$_} } keys %listed },
			'and in a listing');
	}
};

subtest 'a program that the reference changes beside us' => sub {
	my $row = create($author, 'beside', gives(1, 'Ours'));
	my $case = sub {
		my $r = $author->post("$C/$row->{id}/simulate", {
			externalGameId => 'g', externalTaskId => 't',
			externalUserId => 'ana' });
		return $r->{json}{caseName} // $r->{body};
	};
	my $shown = sub {
		return $author->get("$C/$row->{id}")->{json}{astJson}{default};
	};
	my $write = sub {
		my ($ast) = @_;
		my $text = ref $ast ? $JSON->encode($ast) : $ast;
		return one(qq(update strategydefinition set "astJson" = '$text'
			where id = '$row->{id}' returning ast_text is null));
	};

	is($case->(), 'Ours', 'our program');
	is($write->($author->get("$C/$row->{id}")->{json}{astJson}), 'f',
		'the same once more changes nothing');
	is($write->(gives(1, 'Theirs')), 't', 'another: our text is forgotten');
	is($shown->()->{case_name}, 'Theirs', 'GET shows it');
	is($case->(), 'Theirs', 'a simulation runs it');
	is($author->put("$C/$row->{id}", { astJson => gives(3, 'Ours again') })
		->{status}, 200, 'an edit of ours');
	is(one("select ast_text is null from strategydefinition
		where id = '$row->{id}'"), 'f', 'keeps its text');
	is($case->(), 'Ours again', 'and runs');
	is($author->put("$C/$row->{id}", { description => 'x' })->{status}, 200,
		'an edit of something else');
	is(one("select ast_text is null from strategydefinition
		where id = '$row->{id}'"), 'f', 'keeps it, too');
	is($write->($JSON->encode($author->get("$C/$row->{id}")->{json}{astJson})
		=~ s/"value":3\b/"value":3.0/r), 't', '3 and 3.0 are not the same');
	is($author->get("$C/$row->{id}")->{body} =~ /"value":(3[.0]*)/ && $1, '3.0',
		'GET shows it');
	is($write->('null'), 't', 'no program any more');
	is($shown->(), undef, 'GET shows none');
};

subtest 'one published version of a family without a realm' => sub {
	my @ids = map { adopt('no realm', $_, gives($_), 'DRAFT') } 1, 2;

	$pg->psql(q(update strategydefinition set "realmId" = null
		where name = 'no realm'));
	publish($_) for @ids;
	is(one(q(select string_agg(version || ' ' || status, ', ' order by version)
		from strategydefinition where name = 'no realm')),
		'1 ARCHIVED, 2 PUBLISHED', 'the second displaces the first');
	my ($rc, undef, $err) = $pg->psql_try(qq(update strategydefinition
		set status = 'PUBLISHED' where id = '$ids[0]'));
	isnt($rc, 0, 'both cannot be');
	like($err, qr/gx_strategydefinition_published/, 'and why');
};

subtest 'a request finishes on the version it started with' => sub {
	my $reads = sub {
		my ($n) = @_;
		my $ast = gives(0);
		$ast->{rules} = [ { type => 'rule', id => 'r',
			when => { type => 'compare', op => '>=', right => lit(0),
				left => { type => 'field',
					path => 'task.measurements_count' } },
			then => [ { %{ $ast->{default} }, id => 'then',
				value => lit($n), case_name => "v$n" } ] } ];
		return $ast;
	};
	my $v1 = create($author, 'held', $reads->(1));
	my $v2 = add_version($v1, 2, $reads->(2), 'DRAFT');
	publish($v1->{id});
	publish($v2);
	my $game = new_game('held');
	my $task = new_task($game, 'held', $v2);
	my $award = sub {
		my $r = client($key)->post("/api/v1/games/$game/tasks/held/points",
			{ externalUserId => 'ana' });
		return join ' ', $r->{status}, $r->{json}{caseName} // $r->{body};
	};
	my $lock = $pg->background(
		'begin; lock gamed.agg_task; select pg_sleep(60)');
	my $waits = q(select count(*) from pg_locks where not granted
		and relation = 'gamed.agg_task'::regclass);

	Gamed::Daemon::eventually(sub { one($waits =~ s/not granted/granted
		and mode = 'AccessExclusiveLock'/r) }) or die 'no lock';
	my $pid = open(my $held, '-|') // die "fork: $!";
	if ($pid == 0) {
		say_out($award->());
		POSIX::_exit(0);
	}
	ok(Gamed::Daemon::eventually(sub { one($waits) }),
		'it reads its fields');
	is($admin->post("$C/$v2/rollback/1")->{status}, 200, 'a rollback');
	is(one("select \"strategyId\" from tasks where id = '$task'"),
		"custom:$v1->{id}", 'moves the task');
	undef $lock;
	chomp(my $got = <$held>);
	close $held;
	is($got, '200 v2', 'and is scored by the version it started with');
	is($award->(), '200 v1', 'the next one by the version that is published now');
	is(one(qq(select string_agg(strategy_version || ' ' || "caseName", ','
		order by created_at) from userpoints where "taskId" = '$task')),
		'2 v2,1 v1', 'and the awards say so');
};

subtest 'another server on the database sees a change' => sub {
	my $far = Gamed::Daemon->start(pg => $pg, conf => {
		'server.workers' => 2, 'http.access_log' => 'false' });
	my $v1 = create($author, 'far', gives(1, 'One'));
	my $v2 = add_version($v1, 2, gives(2, 'Two'), 'DRAFT');
	publish($v1->{id});
	my $game = new_game('far');
	my $task = new_task($game, 'far', $v1->{id});
	my $scored = sub {
		my $r = Gamed::Client->new(port => $far->port, key => $key)->post(
			"/api/v1/games/$game/tasks/far/points",
			{ externalUserId => 'ana', isSimulated => \1 });
		return $r->{json}{caseName} // $r->{body};
	};
	# new connections, as many as both workers will have seen some
	my $all = sub {
		my ($case) = @_;
		return !grep { $scored->() ne $case } 1 .. 12;
	};

	ok($all->('One'), 'version 1 is known there');
	publish($v2);
	ok($all->('One'), 'publishing moves no task');
	is($author->patch("/api/v1/games/$game/tasks/$task",
		{ strategyId => "custom:$v2" })->{status}, 200, 'assigned here');
	ok(Gamed::Daemon::eventually(sub { $all->('Two') }), 'seen there');
	is($admin->post("$C/$v2/rollback/1")->{status}, 200, 'rolled back here');
	ok(Gamed::Daemon::eventually(sub { $all->('One') }), 'seen there');
	is($far->stop, 0, 'the other server ends well');
};

# A draft, two published versions of one family, a game.
sub family {
	my ($name) = @_;
	my $v1 = create($author, $name, gives(1, 'One'));
	my $v2 = add_version($v1, 2, gives(2, 'Two'), 'DRAFT');

	publish($v1->{id});
	publish($v2);
	return ($v1->{id}, $v2, new_game($name));
}

subtest 'a rollback of thousands of tasks' => sub {
	# as it comes, but for the many rows on a machine that is busy
	my $far = Gamed::Daemon->start(pg => $pg, conf => {
		'server.workers' => 2, 'http.access_log' => 'false',
		'http.handler_timeout_ms' => 60000 });
	my ($v1, $v2, $game) = family('many');
	my $n = 5000;

	$pg->psql(<<"SQL");
insert into tasks (id, created_at, updated_at, "externalTaskId", "gameId",
	"strategyId", status)
select gen_random_uuid(), now(), now(), 't' || i, '$game', 'custom:$v2', 'open'
from generate_series(1, $n) i
SQL
	my $scored = sub {
		my ($port) = @_;
		my $r = Gamed::Client->new(port => $port, key => $key)->post(
			"/api/v1/games/$game/tasks/t" . (1 + int rand 3)
			. '/points', { externalUserId => 'ana', isSimulated => \1 });
		return $r->{json}{caseName} // $r->{body};
	};
	my $all = sub {
		my ($server, $case) = @_;
		return !grep { $scored->($server->port) ne $case } 1 .. 24;
	};
	my %notices;

	# every change so far has been heard when those of the making have
	ok($all->($_, 'Two'), 'version 2 scores') for $d, $far;
	$pg->psql("notify gamed_cache, 'test:last'");
	my $counted = sub { $_[0]->metrics->{gamed_cache_notices_total} };
	my $before = 0;
	ok(Gamed::Daemon::eventually(sub {
		my $now = $counted->($far);
		my $is_same = $now > 0 && $now == $before;
		$before = $now;
		return $is_same;
	}), 'nothing more is heard');
	my $r = Gamed::Client->new(port => $far->port, key => $admin_key,
		timeout => 60)->post("$C/$v2/rollback/1");
	is($r->{status}, 200, 'rolled back') or diag $r->{body};
	is(one(qq(select count(*) from tasks where "gameId" = '$game'
		and "strategyId" = 'custom:$v1')), $n, 'all of them moved');
	ok($all->($far, 'One'), 'every worker of that server sees it at once');
	ok(Gamed::Daemon::eventually(sub { $all->($d, 'One') }),
		'and those of the other');
	ok(Gamed::Daemon::eventually(sub { $counted->($far) >= $before + 3 }),
		'both versions and one notice for all tasks are heard');
	is($counted->($far), $before + 3, 'and no more');
	is($far->stop, 0, 'the other server ends well');
};

subtest 'a rollback has a timeout of its own' => sub {
	my $near = Gamed::Daemon->start(pg => $pg, conf => {
		'server.workers' => 1, 'http.access_log' => 'false',
		'http.handler_timeout_ms' => 60000,
		'database.deadline_ms' => 1000,
		'database.statement_timeout_ms' => 1000,
		'database.lock_timeout_ms' => 60000 });
	my ($v1, $v2, $game) = family('slow');
	my $task = new_task($game, 'slow', $v2);
	my $rollback = sub {
		return Gamed::Client->new(port => $_[0]->port, key => $admin_key,
			timeout => 90)->post("$C/$v2/rollback/1")->{status};
	};
	my $running = q(select count(*) from pg_stat_activity
		where query like '%gamed.rollback_strategy%' and state <> 'idle'
		and pid <> pg_backend_pid());
	my $moved = sub { one("select \"strategyId\" from tasks
		where id = '$task'") ne "custom:$v2" };
	my $lock = $pg->background("begin; select from tasks where id = '$task'
		for update; select pg_sleep(600)");

	ok(Gamed::Daemon::eventually(sub { one(q(select count(*)
		from pg_stat_activity where query like '%pg_sleep(600)%'
		and wait_event = 'PgSleep')) }), 'a task is locked');
	my $pid = open(my $in, '-|') // die "fork: $!";
	if ($pid == 0) {
		say_out($rollback->($near));
		POSIX::_exit(0);
	}
	ok(Gamed::Daemon::eventually(sub {
		one("$running and now() - query_start > '1.5 s'") }),
		'it waits longer than others may');
	undef $lock;
	chomp(my $status = <$in>);
	close $in;
	is($status, 200, 'and succeeds');
	ok($moved->(), 'the task moved');
	is($near->stop, 0, 'the server ends well');

	$pg->psql("update tasks set \"strategyId\" = 'custom:$v2'
		where id = '$task'");
	publish(my $v3 = add_version({ id => $v1 }, 3, gives(3), 'DRAFT'));
	$pg->psql("update tasks set \"strategyId\" = 'custom:$v3'
		where id = '$task'");
	$near = Gamed::Daemon->start(pg => $pg, conf => {
		'server.workers' => 1, 'http.access_log' => 'false',
		'http.handler_timeout_ms' => 2000,
		'database.lock_timeout_ms' => 60000 });
	$lock = $pg->background("begin; select from tasks where id = '$task'
		for update; select pg_sleep(600)");
	ok(Gamed::Daemon::eventually(sub { one(q(select count(*)
		from pg_stat_activity where query like '%pg_sleep(600)%'
		and wait_event = 'PgSleep')) }), 'a task is locked again');
	like($rollback->($near), qr/\A50[34]\z/, 'it ends with the request');
	ok(Gamed::Daemon::eventually(sub { !one($running) }),
		'in the database, too');
	undef $lock;
	is(one("select \"strategyId\" from tasks where id = '$task'"),
		"custom:$v3", 'nothing moved');
	is(one("select status from strategydefinition where id = '$v3'"),
		'PUBLISHED', 'nothing was archived');
	is($near->stop, 0, 'the server ends well');
};

# ---- many at once --------------------------------------------------------------------------------

# Forks one child a work item; returns what they printed.
sub at_once {
	my (@works) = @_;
	my @from;

	for my $work (@works) {
		my $pid = open(my $in, '-|') // die "fork: $!";
		if ($pid == 0) {
			$work->();
			$| = 1;
			POSIX::_exit(0);
		}
		push @from, $in;
	}
	return map { my $in = $_; my @l = <$in>; close $in; chomp @l; @l } @from;
}

subtest 'publish, rollback and archive race with awards' => sub {
	my $v1 = create($author, 'raced', gives(1, 'v1'));
	my @id = ($v1->{id}, map { add_version($v1, $_,
		gives($_, "v$_"), 'DRAFT') } 2 .. 4);
	publish($id[0]);
	my $game = new_game('raced');
	new_task($game, 'raced', $id[0]);
	my $until = time + 4;
	my @out = at_once(
		(map { my $n = $_; sub {
			my $c = client($key);
			for (my $i = 0; time < $until; $i++) {
				my $r = $c->post(
					"/api/v1/games/$game/tasks/raced/points",
					{ externalUserId => "user-$n" });
				say_out("award $r->{status}");
			}
		} } 1 .. 3),
		(map { my $n = $_; sub {
			my $c = client($admin_key);
			for (my $i = $n; time < $until; $i++) {
				my $r = $c->post("$C/$id[0]/rollback/"
					. (1 + $i % 4));
				say_out("change $r->{status}");
				$r = $c->post("$C/$id[$i % 4]/"
					. ($i % 3 ? 'publish' : 'archive'));
				say_out("change $r->{status}");
			}
		} } 1, 2),
		sub {
			my $c = client($admin_key);
			for (my $i = 0; time < $until; $i++) {
				# 409: that one is archived just now
				my $r = $c->put("$C/$id[$i % 4]", {});
				say_out("change $r->{status}");
				next if $r->{status} != 200 || $i % 5;
				say_out('fork '
					. $c->post("$C/$r->{json}{id}/publish")->{status});
			}
		},
		sub {
			while (time < $until) {
				my $n = one('select count(*) from '
					. 'strategydefinition where '
					. q(name = 'raced' and )
					. q(status = 'PUBLISHED'));
				say_out("published $n") if $n > 1;
			}
		},
	);
	my %seen;
	$seen{$_}++ for @out;
	is_deeply([ grep { /^published/ } keys %seen ], [],
		'never two published versions');
	is_deeply([ grep { /^award (?!200)/ } keys %seen ], [],
		'every event got its award');
	is_deeply([ grep { /^(?:change|fork) (?!200|409)/ } keys %seen ], [],
		'no change failed');
	cmp_ok($seen{'award 200'}, '>', 20, 'there were awards');
	cmp_ok($seen{'change 200'}, '>', 20, 'there were changes');
	diag join ', ', map { "$_: $seen{$_}" } sort keys %seen;
	is(one(<<'SQL'), 0, 'every award carries the version that scored it');
select count(*) from userpoints p
left join strategydefinition d on p.strategy_id = 'custom:' || d.id
join tasks t on t.id = p."taskId" and t."externalTaskId" = 'raced'
where p.points <> p.strategy_version and p.strategy_version <= 4
	or p."caseName" <> 'v' || p.points
	or d.version is distinct from p.strategy_version
	or p.ast_sha256 <> encode(sha256(convert_to(d.ast_text, 'UTF8')), 'hex')
SQL
	cmp_ok(one(<<'SQL'), '>', 1, 'more than one version scored');
select count(distinct p.strategy_version) from userpoints p
join tasks t on t.id = p."taskId" where t."externalTaskId" = 'raced'
SQL
	is(one(<<'SQL'), 0, 'every version is there once');
select count(*) - count(distinct version) from strategydefinition
where name = 'raced'
SQL
	my ($rc, $out) = $d->gamectl('verify-points');
	is($rc, 0, 'the books balance') or diag $out;
};

subtest 'imports of one name at once' => sub {
	my %in = (name => 'crowd', astJson => gives(1), blocklyXml => '<xml/>');
	my @out = at_once(map { sub {
		my $r = client($key)->post("$C/import", \%in);
		say_out("$r->{status} " . ($r->{json}{name} // $r->{body}));
	} } 1 .. 8);
	my %names = map { $_ => 1 } @out;

	is(scalar(grep { /^201 / } @out), 8, 'all succeed') or diag "@out";
	is(scalar keys %names, 8, 'with eight names');
};

subtest 'drafts that are renamed crosswise' => sub {
	my @name = ('cross a', 'cross b');
	my @row = map { create($author, $_, gives(1)) } @name;
	my ($realm) = one("select \"realmId\" from strategydefinition
		where id = '$row[0]{id}'");
	my @lock = map { "hashtextextended('strategy:$realm:$_', 0)" } @name;

	# two that hold one name and wait for the other would deadlock
	for my $held (0, 1) {
		my $lock = $pg->background(
			"select pg_advisory_lock($lock[$held]), pg_sleep(600)");
		my $waits = q(select count(*) from pg_locks
			where locktype = 'advisory' and not granted);
		ok(Gamed::Daemon::eventually(sub { one($waits
			=~ s/not granted/granted/r) }), "$name[$held] is locked");
		for my $i (0, 1) {
			my $pid = open(my $in, '-|') // die "fork: $!";
			if ($pid == 0) {
				my $r = client($key)->put("$C/$row[$i]{id}",
					{ name => $name[1 - $i] });
				say_out($r->{status});
				POSIX::_exit(0);
			}
			$row[$i]{in} = $in;
		}
		ok(Gamed::Daemon::eventually(sub { one($waits) == 2 }),
			'two renames wait');
		is(one(<<'SQL'), 0, 'and hold none that comes later');
with l as (select pid, granted, classid::bigint << 32 | objid::bigint as key
	from pg_locks where locktype = 'advisory')
select count(*) from l w join l h on h.pid = w.pid
where not w.granted and h.granted and h.key >= w.key
SQL
		undef $lock;
		for my $i (0, 1) {
			chomp(my $status = readline $row[$i]{in});
			close $row[$i]{in};
			is($status, 400, 'the other name is taken');
		}
	}

	my @out = at_once(map { my $n = $_; sub {
		my $c = client($key);
		for (1 .. 40) {
			my $r = $c->put("$C/$row[$n % 2]{id}",
				{ name => (@name, 'cross c')[int rand 3] });
			say_out($r->{status});
		}
	} } 0 .. 3);
	my %seen;
	$seen{$_}++ for @out;
	is(scalar @out, 160, 'every rename has an answer');
	is_deeply([ grep { !/\A(?:200|400|409)\z/ } keys %seen ], [],
		'done, taken or overtaken');
	ok($seen{200}, 'some were done');
	diag join ', ', map { "$_: $seen{$_}" } sort keys %seen;
	open my $log, '<', $pg->logfile or die $!;
	is(scalar(grep { /deadlock detected/ } <$log>), 0, 'no deadlock');
};

$d->stop;
done_testing;
