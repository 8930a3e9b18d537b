#!/usr/bin/perl
# Reads and edits around the awards: games changed and deleted, points read
# back by task and award by award, strategies edited, forked and archived
# (api-endpoints.md 7, 8, 15, 17, 18, 23 to 25, 34).
use strict;
use warnings;
use Test::More;
use Errno ();
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use POSIX ();
use Socket ();
use Time::HiRes qw(sleep time);
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

my $JSON = JSON::PP->new->canonical->allow_nonref;
my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'server.workers' => 1,
	'http.access_log' => 'false',
});

sub new_key {
	my ($rc, $out, $err) = $d->gamectl('apikey', 'create', '--client', @_);
	die "apikey create: $err" if $rc;
	chomp $out;
	return $out;
}

sub client { return Gamed::Client->new(port => $d->port, key => $_[0]) }

my $key = new_key('tester');
my $c = client($key);
my $other = client(new_key('somebody-else'));
my $admin = client(new_key('admin', '--admin'));
my $nowhere = '99999999-1c7a-4a7e-8f7c-5d3a1f6e2b90';

# Creates and insists.
sub must {
	my ($r, $what) = @_;
	die "$what: $r->{status} $r->{body}" unless $r->{status} =~ /^20[01]$/;
	return $r->{json};
}

sub game {
	my ($name, %more) = @_;
	return must($c->post('/api/v1/games', { externalGameId => $name,
		platform => 'web', %more }), "game $name")->{gameId};
}

sub task {
	my ($game, $name, %more) = @_;
	return must($c->post("/api/v1/games/$game/tasks",
		{ externalTaskId => $name, %more }), "task $name")->{taskId};
}

sub award {
	my ($game, $task, $user, $data) = @_;
	return must($c->post("/api/v1/games/$game/tasks/$task/points",
		{ externalUserId => $user, data => $data // {} }), 'award');
}

sub is_status {
	my ($r, $status, $name) = @_;
	return is($r->{status}, $status, $name) || diag $r->{body};
}

sub sql { return $pg->psql($_[0]) }

my $lit = sub { return { type => 'literal', value => $_[0] } };

sub program {
	my ($points) = @_;
	return { type => 'program', id => 'p', rules => [], default => {
		type => 'assign_points', id => 'give',
		value => $lit->($points), case_name => "Case$points" } };
}

# ---- games: edit --------------------------------------------------------------

subtest 'a game is edited' => sub {
	my $game = game('edit-me', params => [
		{ key => 'level', value => 3 }, { key => 'name', value => 'x' } ]);
	my ($level) = grep { $_->{key} eq 'level' }
		@{ $c->get("/api/v1/games/$game")->{json}{params} };
	my $r = $c->patch("/api/v1/games/$game", {});

	is_status($r, 200, 'an empty body');
	is_deeply([ sort keys %{ $r->{json} } ],
		[ sort qw(externalGameId strategyId platform params message) ],
		'the members');
	is_deeply($r->{json}{params}, [], 'no params were sent');
	$r = $c->patch("/api/v1/games/$game", { externalGameId => 'edited!',
		platform => 'app', strategyId => 'constantEffortStrategy',
		params => [ { id => $level->{id}, key => 'level', value => 4.5 } ] });
	is_status($r, 200, 'all members');
	is_deeply($r->{json}{params}, [ { id => $level->{id}, key => 'level',
		value => 4.5 } ], 'params as sent');
	my $now = $c->get("/api/v1/games/$game")->{json};
	is($now->{externalGameId}, 'edited!', 'the name, which need be no slug');
	is($now->{platform}, 'app', 'the platform');
	is($now->{strategyId}, 'constantEffortStrategy', 'the strategy');
	is_deeply({ map { $_->{key} => $_->{value} } @{ $now->{params} } },
		{ level => '4.5', name => 'x' }, 'one param of two');
	isnt($now->{updated_at}, $now->{created_at}, 'updated_at advances');
	$r = $c->patch("/api/v1/games/$game", { strategyId => '',
		platform => undef, externalGameId => undef, params => undef });
	is_status($r, 200, 'nulls and an empty strategy');
	is($r->{json}{strategyId}, 'constantEffortStrategy', 'change nothing');
};

subtest 'an edit of a game is refused' => sub {
	my $game = game('refuse-me', params => [ { key => 'k', value => 'v' } ]);
	my $mine = $c->get("/api/v1/games/$game")->{json}{params}[0]{id};
	game('taken');
	my $theirs = $c->get('/api/v1/games/' . game('theirs',
		params => [ { key => 'k', value => 'v' } ]))->{json}{params}[0]{id};
	my $draft = must($admin->post('/api/v1/strategies/custom',
		{ name => 'only a draft', astJson => program(1) }), 'draft')->{id};
	my $try = sub {
		my ($status, $body, $name) = @_;
		is_status($c->patch("/api/v1/games/$game", $body), $status, $name);
	};

	is_status($c->patch("/api/v1/games/$nowhere", {}), 404, 'unknown game');
	is_status($other->patch("/api/v1/games/$game", {}), 403, 'foreign game');
	is_status($c->patch('/api/v1/games/nonsense', {}), 422, 'no UUID');
	$try->(409, { externalGameId => 'taken', platform => 'z' }, 'name taken');
	$try->(404, { strategyId => 'no_such' }, 'unknown built-in');
	$try->(404, { strategyId => "custom:$nowhere" }, 'unknown custom');
	$try->(400, { strategyId => "custom:$draft" }, 'a draft');
	$try->(404, { platform => 'z', params => [
		{ id => $mine, key => 'k', value => 'w' },
		{ id => $theirs, key => 'k', value => 'w' } ] },
		'a param of another game');
	$try->(422, { params => [ { key => 'k', value => 'w' } ] }, 'no param id');
	$try->(422, { params => [ { id => 'x', key => 'k', value => 'w' } ] },
		'a param id that is no UUID');
	$try->(422, { params => [ { id => $mine, key => 'k', value => {} } ] },
		'an object for a game param');
	$try->(422, { platform => 5 }, 'a platform that is no text');
	$try->(422, { externalGameId => 'n' x 256 }, 'a name past 255 bytes');
	my $now = $c->get("/api/v1/games/$game")->{json};
	is($now->{platform}, 'web', 'nothing was changed');
	is($now->{params}[0]{value}, 'v', 'nor a param');
};

# ---- points -------------------------------------------------------------------

my $game = game('points');
task($game, 'busy');
task($game, 'idle task');
award($game, 'busy', 'user-1', { where => { a => [ 1, 'b c "d\\' ] } });
award($game, 'busy', 'user-1');
award($game, 'busy', 'user-2');
my $base = "/api/v1/games/$game";

subtest 'points of a task' => sub {
	my $r = $c->get("$base/tasks/busy/points");

	is_status($r, 200, 'answered');
	is(scalar @{ $r->{json} }, 2, 'one aggregate for each user');
	my %by = map { $_->{externalUserId} => $_ } @{ $r->{json} };
	is($by{'user-1'}{timesAwarded}, 2, 'user-1 was awarded twice');
	is($by{'user-1'}{points}, sql(q(select sum(points) from userpoints p
		join users u on u.id = p."userId"
		where u."externalUserId" = 'user-1')), 'and has the sum');
	is_deeply($c->get("$base/tasks/idle%20task/points")->{json}, [],
		'no award: an empty array');
	my $one = $c->get("$base/tasks/busy/users/user-1/points");
	is_deeply($one->{json}, $by{'user-1'}, 'the same for one user');
	is_status($c->get("$base/tasks/busy/users/nobody/points"), 404,
		'unknown user');
	is_status($c->get("$base/tasks/idle%20task/users/user-1/points"), 404,
		'a user without award in this task');
};

subtest 'points award by award' => sub {
	my $r = $c->get("$base/points/details");

	is_status($r, 200, 'the game');
	is($r->{headers}{'content-type'}, 'application/json', 'type');
	is($r->{json}{externalGameId}, 'points', 'externalGameId');
	like($r->{json}{created_at}, qr/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/, 'TS-SP');
	my %task = map { $_->{externalTaskId} => $_->{points} }
		@{ $r->{json}{task} };
	is_deeply([ sort keys %task ], [ 'busy', 'idle task' ], 'every task');
	is_deeply($task{'idle task'}, [], 'one without awards');
	my %user = map { $_->{externalUserId} => $_ } @{ $task{busy} };
	is(scalar @{ $user{'user-1'}{pointsData} }, 2, 'both awards of user-1');
	is($user{'user-1'}{timesAwarded}, 2, 'counted');
	is_deeply([ sort keys %{ $user{'user-2'}{pointsData}[0] } ],
		[ qw(caseName created_at points) ], 'members of an award');
	is($user{'user-2'}{pointsData}[0]{created_at}, $JSON->decode(sql(q(
		set timezone = 'UTC'; select to_json(p.created_at)
		from userpoints p join users u on u.id = p."userId"
		where u."externalUserId" = 'user-2'))), 'created_at is TS-PG');

	$r = $c->get("$base/tasks/busy/points/details");
	is_status($r, 200, 'a task');
	unlike($r->{body}, qr/" ?: |, "/, 'compact');
	my ($first) = grep { $_->{externalUserId} eq 'user-1' } @{ $r->{json} };
	is_deeply([ sort keys %$first ],
		[ qw(externalUserId points pointsData timesAwarded) ], 'members');
	is_deeply([ sort keys %{ $first->{pointsData}[0] } ],
		[ qw(caseName created_at data description points) ],
		'members of an award');
	is_deeply($first->{pointsData}[0]{data}{where},
		{ a => [ 1, 'b c "d\\' ] }, 'data as stored');
	is_deeply($c->get("$base/tasks/idle%20task/points/details")->{json}, [],
		'no award: an empty array');
};

subtest 'points are refused' => sub {
	my $bare = game('no-tasks');

	for my $path ('points/details', 'tasks/busy/points',
		'tasks/busy/points/details', 'tasks/busy/users/user-1/points') {
		is_status($other->get("$base/$path"), 403, "$path: foreign game");
		is_status($c->get("/api/v1/games/$nowhere/$path"), 404,
			"$path: unknown game");
		is_status($c->get("/api/v1/games/$bare/$path"), 404,
			"$path: no such task");
		is_status($c->get("/api/v1/games/x/$path"), 422, "$path: no UUID");
	}
	is_status($admin->get("$base/points/details"), 200, 'an admin sees all');
};

# ---- long listings ------------------------------------------------------------

# Kilobytes of a memory figure of the worker.
sub memory {
	my ($what) = @_;
	my ($pid) = $d->pids('worker');
	open my $f, '<', "/proc/$pid/status" or die "status: $!";
	my ($kb) = map { /^$what:\s+(\d+)/ ? $1 : () } <$f>;
	return $kb;
}

sub memory_is_kept {
	my ($pid) = $d->pids('worker');
	open my $f, '<', "/proc/$pid/maps" or die "maps: $!";
	return scalar grep { /libasan/ } <$f>;
}

# Awards as many as asked for, by SQL.
sub fill {
	my ($game, $task, $users, $each, $note) = @_;
	$note //= 900;
	sql(<<"SQL");
insert into users (id, created_at, updated_at, "externalUserId")
select gen_random_uuid(), now(), now(), '$task-' || i
from generate_series(1, $users) i;
insert into userpoints (id, created_at, updated_at, points, data, description,
	"userId", "taskId", "caseName")
select gen_random_uuid(), clock_timestamp(), now(), 5,
	jsonb_build_object('note', repeat('n', $note)), 'd', u.id, t.id, 'Case'
from users u, tasks t, generate_series(1, $each)
where u."externalUserId" like '$task-%' and t."externalTaskId" = '$task'
	and t."gameId" = '$game';
SQL
	return;
}

# Too large for the slow decoder of Gamed::Client.
sub listing {
	return $d->http(GET => $_[0], headers => { 'X-API-Key' => $key });
}

# Those under way, as the database sees it.
sub listings {
	return sql(q(select count(*) from pg_stat_activity
		where state = 'active' and query like '%userpoints x%'
		and query not like '%pg_stat_activity%'));
}

my $large = game('large');
task($large, 'many');
fill($large, 'many', 40, 500); # 20,000 awards, about 20 MB with data
my $path = "/api/v1/games/$large/tasks/many/points/details";

subtest 'a listing of 20,000 awards' => sub {
	is(listing($path)->{status}, 200, 'once, so that buffers are there');
	my $before = memory('VmHWM');
	my $r = listing($path);

	is($r->{status}, 200, 'again') or diag $r->{content};
	cmp_ok(length $r->{content}, '>', 19_000_000, 'it is long');
	is(scalar(() = $r->{content} =~ /"caseName":"Case","data":\{"note":/g),
		20_000, 'all awards');
	$r = $JSON->decode(listing("/api/v1/games/$large/points/details")
		->{content})->{task}[0]{points};
	is(scalar @$r, 40, 'by game: all users');
	is(scalar(map { @{ $_->{pointsData} } } @$r), 20_000, 'all awards');
	is(scalar(grep { $_->{points} != 2500 || $_->{timesAwarded} != 500 }
		@$r), 0, 'their sums');
	# the database sends faster than anybody reads
	my $sock = $d->connect;
	print {$sock} "GET $path HTTP/1.1\r\nHost: h\r\nX-API-Key: $key\r\n\r\n";
	ok(Gamed::Daemon::eventually(sub { listings() == 1 }), 'a slow reader');
	is(listing($path)->{status}, 200, 'another one does not wait for it');
	SKIP: {
		skip 'the address sanitizer keeps what is freed', 2
			if memory_is_kept();
		cmp_ok(memory('VmHWM') - $before, '<', 2048,
			'the worker has not grown: ' . memory('VmHWM') . ' kB');
		cmp_ok(memory('VmHWM'), '<', 40_000, 'and is small');
	}
	close $sock;
	ok(Gamed::Daemon::eventually(sub { listings() == 0 }),
		'the listing of one who left ends');
};

subtest 'points of 30,000 users' => sub {
	my $wide = game('wide');
	task($wide, 'wide');
	task($wide, 'nobody');
	fill($wide, 'wide', 30_000, 1, 1);
	sql('analyze');
	my $base = "/api/v1/games/$wide";
	my $before = memory('VmHWM');

	for my $path ("$base/points", "$base/tasks/wide/points") {
		my $r = listing($path);
		is($r->{status}, 200, $path) or diag $r->{content};
		my $users = $JSON->decode($r->{content});
		if (ref $users eq 'HASH') {
			is_deeply([ map { $_->{externalTaskId} } @{ $users->{task} } ],
				[ 'wide', 'nobody' ], 'both tasks');
			is_deeply($users->{task}[1]{points}, [], 'one without awards');
			$users = $users->{task}[0]{points};
		}
		my %seen = map { $_->{externalUserId} => 1 } @$users;
		is(scalar @$users, 30_000, 'an aggregate for each user');
		is(scalar(keys %seen), 30_000, 'each of them once');
		is(scalar(grep { $_->{points} != 5 || $_->{timesAwarded} != 1 }
			@$users), 0, 'their sums');
	}
	SKIP: {
		skip 'the address sanitizer keeps what is freed', 1
			if memory_is_kept();
		cmp_ok(memory('VmHWM') - $before, '<', 2048,
			'the worker has not grown: ' . memory('VmHWM') . ' kB');
	}
};

subtest 'clients that leave' => sub {
	my ($pid) = $d->pids('worker');

	for my $n (1 .. 10) {
		my $sock = $d->connect;
		print {$sock} "GET $path HTTP/1.1\r\nHost: h\r\n"
			. "X-API-Key: $key\r\n\r\n";
		sysread $sock, my $some, 1000 * $n;
		like($some, qr/^HTTP\/1\.1 200 /, 'begun') if $n == 1;
		setsockopt $sock, Socket::SOL_SOCKET(), Socket::SO_LINGER(),
			pack 'II', 1, 0 if $n % 2;
		close $sock;
	}
	ok(Gamed::Daemon::eventually(sub { listings() == 0 }), 'all end');
	is(listing($path)->{status}, 200, 'the next one is served');
	is(join(' ', $d->pids('worker')), $pid, 'by the same worker');
};

# Each round reads some bytes of each; ends when all are cut off.
sub read_slowly {
	my ($bytes, @socks) = @_;
	my %got = map { $_ => '' } @socks;
	my $end = time + 120;

	while (@socks && time < $end) {
		sleep 0.1; # their pace
		@socks = grep {
			my $n = sysread $_, $got{$_}, $bytes, length $got{$_};
			$n || !defined $n && $!{EAGAIN};
		} @socks;
	}
	return map { $got{$_} } sort keys %got;
}

subtest 'clients that read slowly' => sub {
	my ($pid) = $d->pids('worker');
	my @socks = map { $d->connect } 1 .. 2;

	for my $sock (@socks) {
		setsockopt $sock, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), 4096;
		print {$sock} "GET $path HTTP/1.1\r\nHost: h\r\n"
			. "X-API-Key: $key\r\n\r\n";
		$sock->blocking(0);
	}
	ok(Gamed::Daemon::eventually(sub { listings() == 2 }),
		'all connections for listings are taken');
	for my $got (read_slowly(2000, @socks)) {
		like($got, qr/^HTTP\/1\.1 200 /, 'begun');
		cmp_ok(length $got, '<', 10_000_000, 'and cut off');
		unlike($got, qr/\r\n0\r\n\r\n\z/, 'without an end');
	}
	like($d->log, qr/reads too slowly is cut off handler=\S+details /,
		'for this reason');
	ok(Gamed::Daemon::eventually(sub { listing($path)->{status} == 200 }),
		'others get their connections');
	is(join(' ', $d->pids('worker')), $pid, 'of the same worker');
};

subtest 'the database fails half-way' => sub {
	my $sock = $d->connect;
	my $text = '';

	print {$sock} "GET $path HTTP/1.1\r\nHost: h\r\nX-API-Key: $key\r\n\r\n";
	ok(Gamed::Daemon::eventually(sub { listings() == 1 }), 'under way');
	sql(q(select pg_terminate_backend(pid) from pg_stat_activity
		where query like '%userpoints x%' and pid <> pg_backend_pid()));
	while (sysread $sock, $text, 65536, length $text) { }
	unlike($text, qr/\r\n0\r\n\r\n\z/, 'the body has no end');
	like($text, qr/^HTTP\/1\.1 200 /, 'though it had begun');
	ok(Gamed::Daemon::eventually(sub {
		listing($path)->{status} == 200 }), 'the next one is whole');
};

# ---- games: delete --------------------------------------------------------------

subtest 'a game is deleted' => sub {
	my $doomed = game('doomed', params => [ { key => 'k', value => 'v' } ]);
	my $task = task($doomed, 'gone', params => [ { key => 'a', value => 1 } ]);

	award($doomed, 'gone', 'user-1');
	fill($doomed, 'gone', 20, 100);
	sql(qq(insert into usergameconfig (id, "userId", "gameId")
		select gen_random_uuid(), id, '$doomed' from users limit 3));
	my $ledger = sql('select count(*) from wallettransactions');
	is_status($other->delete("/api/v1/games/$doomed"), 403, 'not by others');
	is_status($c->delete('/api/v1/games/nonsense'), 422, 'no UUID');
	my $r = $c->delete("/api/v1/games/$doomed");
	is_status($r, 200, 'deleted');
	is($r->{json}{gameId}, $doomed, 'the game is answered');
	is($r->{json}{externalGameId}, 'doomed', 'its name');
	is_deeply($r->{json}{params}, [], 'without params');
	is_status($c->delete("/api/v1/games/$doomed"), 404, 'only once');
	is_status($c->get("/api/v1/games/$doomed"), 404, 'it is gone');
	is_status($c->post("/api/v1/games/$doomed/tasks/gone/points",
		{ externalUserId => 'user-1' }), 404, 'for awards at once');
	for my $left (qq(tasks where "gameId" = '$doomed'),
		qq(gamesparams where "gameId" = '$doomed'),
		qq(tasksparams where "taskId" = '$task'),
		qq(userpoints where "taskId" = '$task'),
		qq(usergameconfig where "gameId" = '$doomed'),
		qq(gamed.agg_task where task_id = '$task'),
		qq(gamed.agg_user_task where task_id = '$task')) {
		is(sql("select count(*) from $left"), 0, "nothing in $left");
	}
	is(sql('select count(*) from wallettransactions'), $ledger,
		'the ledger stays');
	is(sql(q(select count(*) from users where "externalUserId" = 'user-1')),
		1, 'and the users');
};

# ---- strategies -------------------------------------------------------------------

my $customs = '/api/v1/strategies/custom';

sub draft {
	my ($name, %more) = @_;
	return must($admin->post($customs, { name => $name,
		astJson => program(1), %more }), "strategy $name");
}

sub publish { return $admin->post("$customs/$_[0]/publish", {}) }

subtest 'a draft is changed in place' => sub {
	my $row = draft('in place', description => 'old', blocklyXml => '<x/>');
	my $r = $admin->put("$customs/$row->{id}", { description => 'new',
		name => undef, astJson => program(2) });

	is_status($r, 200, 'changed');
	is($r->{json}{id}, $row->{id}, 'the same id');
	is($r->{json}{version}, 1, 'the same version');
	is($r->{json}{description}, 'new', 'what was sent');
	is($r->{json}{name}, 'in place', 'null keeps');
	is($r->{json}{blocklyXml}, '<x/>', 'absent keeps');
	is($r->{json}{astJson}{default}{value}{value}, 2, 'the program');
	is_deeply($admin->get("$customs/$row->{id}")->{json}, $r->{json}, 'stored');
	$r = $admin->put("$customs/$row->{id}", { name => 'renamed' });
	is($r->{json}{name}, 'renamed', 'a free name');
	draft('not free');
	is_status($admin->put("$customs/$row->{id}", { name => 'not free' }), 400,
		'the name of another family');
};

subtest 'a published strategy forks' => sub {
	my $one = draft('forks');
	must(publish($one->{id}), 'publish');
	my $old = $admin->get("$customs/$one->{id}")->{json};
	my $r = $admin->put("$customs/$one->{id}", { astJson => program(2) });

	is_status($r, 200, 'edited');
	isnt($r->{json}{id}, $one->{id}, 'a new row');
	is($r->{json}{version}, 2, 'the next version');
	is($r->{json}{status}, 'DRAFT', 'a draft');
	is($r->{json}{publishedAt}, undef, 'not published');
	is($r->{json}{name}, 'forks', 'of the same family');
	is_deeply($admin->get("$customs/$one->{id}")->{json}, $old,
		'the published row is untouched');
	my $two = $r->{json}{id};
	is($admin->put("$customs/$one->{id}", {})->{json}{version}, 3,
		'and the next one after that');
	is_status(publish($two), 200, 'the fork is published');
	is($admin->get("$customs/$one->{id}")->{json}{status}, 'ARCHIVED',
		'in place of the first');
	is_status($admin->put("$customs/$one->{id}", {}), 409,
		'which cannot be changed any more');
};

subtest 'an edit of a strategy is refused' => sub {
	my $before = draft('refusals');
	my $id = $before->{id};
	my $mine = must($c->post($customs, { name => 'a key\'s own',
		astJson => program(1) }), 'own')->{id};
	my $try = sub {
		my ($status, $body, $name) = @_;
		my $r = $admin->put("$customs/$id", $body);
		is_status($r, $status, $name);
		return $r;
	};

	is_status($admin->put("$customs/$nowhere", {}), 404, 'unknown');
	is_status($admin->put("$customs/nonsense", {}), 404, 'no UUID');
	is_status($c->put("$customs/$id", {}), 404, 'another realm');
	is_status($c->put("$customs/$mine", { description => 'x' }), 200, 'own');
	is_status(Gamed::Client->new(port => $d->port)->put("$customs/$id", {}),
		403, 'nobody');
	$try->(404, { type => 'DSL_EXTEND', parentStrategyId => 'no_such' },
		'unknown parent');
	$try->(400, { type => 'DSL_EXTEND' }, 'no parent');
	$try->(400, { parentStrategyId => 'default' }, 'a parent it cannot have');
	$try->(400, { astJson => { type => 'nonsense' } }, 'no program');
	$try->(422, { name => '' }, 'an empty name');
	$try->(422, { type => 'OTHER' }, 'an unknown type');
	$try->(422, { astJson => 'text' }, 'a program that is no object');
	is_deeply($admin->get("$customs/$id")->{json}, $before,
		'nothing was changed');
};

subtest 'archiving' => sub {
	my $id = draft('to archive')->{id};
	my $live = draft('scores on')->{id};
	must(publish($live), 'publish');
	my $game = game('archived');
	my $task = task($game, 'scored');

	is_status($c->post("$customs/$id/archive", {}), 403, 'not an admin');
	is_status($admin->post("$customs/$nowhere/archive", {}), 404, 'unknown');
	my $r = $admin->post("$customs/$id/archive", {});
	is_status($r, 200, 'a draft');
	is($r->{json}{status}, 'ARCHIVED', 'is archived');
	my $again = $admin->post("$customs/$id/archive", {});
	is_deeply($again->{json}, $r->{json}, 'again: unchanged');
	is_status(publish($id), 409, 'it cannot be published');
	is_status($c->patch("/api/v1/games/$game/tasks/$task",
		{ strategyId => "custom:$live" }), 200, 'assigned');
	is(award($game, 'scored', 'user-1')->{points}, 1, 'scores');
	is_status($admin->post("$customs/$live/archive", {}), 200, 'published one');
	is(award($game, 'scored', 'user-1')->{points}, 1, 'still scores');
	is_status($c->patch("/api/v1/games/$game",
		{ strategyId => "custom:$live" }), 400, 'but is not assigned anew');
};

# Two clients do their part at the same time, many times.
sub race {
	my ($rounds, $work) = @_;
	my @pids;

	for my $i (0, 1) {
		my $pid = fork // die "fork: $!";
		if ($pid == 0) {
			my $mine = client($admin->{key});
			my %seen;
			$seen{ $work->($mine, $i, $_)->{status} }++ for 1 .. $rounds;
			POSIX::_exit(join(' ', keys %seen) eq '200' ? 0 : 1);
		}
		push @pids, $pid;
	}
	my $bad = grep { waitpid($_, 0); $? } @pids;
	return $bad == 0;
}

subtest 'races' => sub {
	my $one = draft('raced')->{id};
	must(publish($one), 'publish');
	my @forks = map { [ map { must($admin->put("$customs/$one", {}),
		'fork')->{id} } 1 .. 8 ] } 0, 1;

	ok(race(8, sub {
		my ($c, $i, $n) = @_;
		return $c->post("$customs/$forks[$i][$n - 1]/publish", {});
	}), 'every publish is answered with 200');
	is(sql(q(select count(*) from strategydefinition
		where name = 'raced' and status = 'PUBLISHED')), 1, 'one is published');
	is(sql(q(select count(*) from strategydefinition
		where name = 'raced' and status = 'ARCHIVED')), 16, 'all others not');
	my ($live) = sql(q(select id from strategydefinition
		where name = 'raced' and status = 'PUBLISHED'));
	ok(race(8, sub {
		my ($c, $i, $n) = @_;
		return $c->put("$customs/$live", { description => "$i $n" });
	}), 'forks at the same time');
	is(sql(q(select count(distinct version) from strategydefinition
		where name = 'raced')), 33, 'each has a version of its own');
};

# the last, since connections do not outlive a reload
subtest 'a client that reads nothing' => sub {
	my @old = $d->pids('worker');
	$d->write_conf('http.idle_timeout_s' => 3);
	$d->reload;
	# a connection made now must not meet a worker that is leaving
	ok(Gamed::Daemon::eventually(sub {
		!grep { Gamed::Daemon::process_runs($_) } @old
	}), 'the settings are changed');
	my $sock = $d->connect;
	print {$sock} "GET $path HTTP/1.1\r\nHost: h\r\nX-API-Key: $key\r\n\r\n";
	ok(Gamed::Daemon::eventually(sub { listings() == 1 }), 'one stalls');
	my $start = time;
	ok(Gamed::Daemon::eventually(sub { listings() == 0 }, 15), 'is cut');
	cmp_ok(time - $start, '<', 10, 'after the idle timeout');
	close $sock;
	is(listing($path)->{status}, 200, 'the next one is served');
};

is($d->stop, 0, 'the server ends well');
done_testing;
