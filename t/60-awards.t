#!/usr/bin/perl
# Awards end to end: what is answered is stored, once, whatever happens to the
# processes, the database or the neighbours in a batch (DESIGN 1.3, 3, 7, 11).
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Select;
use JSON::PP ();
use Time::HiRes qw(sleep time);
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

my $JSON = JSON::PP->new->canonical->allow_nonref;
$ENV{GAMED_SQLDIR} = "$FindBin::Bin/../sql";
my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'server.workers' => 2,
	'http.access_log' => 'false',
	'evidence.sample_rate' => 1,
});

sub new_key {
	my ($rc, $out, $err) = $d->gamectl('apikey', 'create', '--client', $_[0]);
	die "apikey create: $err" if $rc;
	chomp $out;
	return $out;
}
my $key = new_key('tester');
my $other_key = new_key('somebody-else');
my ($prefix) = $key =~ /^([^.]+)/;

# ---- fixture ---------------------------------------------------------------

my $game = '0b0e5bd1-1c7a-4a7e-8f7c-5d3a1f6e2b90';

sub field { return { type => 'field', path => $_[0] } }
sub lit { return { type => 'literal', value => $_[0] } }

sub assign {
	my ($value, $case) = @_;
	my $stmt = { type => 'assign_points', id => 'give', value => $value };
	$stmt->{case_name} = $case if defined $case;
	return $stmt;
}

# A program whose default statement decides.
sub always {
	return { type => 'program', id => 'p', rules => [],
		default => assign(@_) };
}

my %strategy;
my $seq = 0;

sub add_strategy {
	my ($name, $ast) = @_;
	my $id = sprintf '5d1a9c1e-7f0b-4a51-9f5e-%012x', ++$seq;
	my $text = $JSON->encode($ast);
	$text =~ s/'/''/g;
	$pg->psql(<<"SQL");
insert into strategydefinition (id, created_at, updated_at, "realmId", name,
	type, version, status, "astJson")
values ('$id', now(), now(), 'test', '$name', 'DSL_FULL', 3, 'PUBLISHED',
	'$text')
SQL
	$strategy{$name} = "custom:$id";
	return $id;
}

sub add_task {
	my ($name, $strategy) = @_;
	return $pg->psql(<<"SQL");
insert into tasks (id, created_at, updated_at, "externalTaskId", "gameId",
	"strategyId", status)
values (gen_random_uuid(), now(), now(), '$name', '$game', '$strategy', 'open')
returning id
SQL
}

$pg->psql(<<"SQL");
insert into games (id, created_at, updated_at, "externalGameId", "strategyId",
	platform, "apiKey_used")
values ('$game', now(), now(), 'campaign', 'default', 'web', '$prefix')
SQL
add_strategy(streak => { type => 'program', id => 'p', rules => [ {
	type => 'rule', id => 'zone',
	when => { type => 'compare', op => '==', left => field('data.zone'),
		right => lit('harbour') },
	then => [
		{ type => 'set_callback_data', key => 'where',
			value => field('data.zone') },
		assign({ type => 'arith', op => '+', left => lit(10),
			right => field('data.streak_days') }, 'Zone'),
	],
} ], default => assign(lit(3), 'Plain') });
add_strategy(counting => { type => 'program', id => 'p', rules => [ {
	type => 'rule', id => 'first',
	when => { type => 'compare', op => '<',
		left => field('task.measurements_count'), right => lit(2) },
	then => [ assign(lit(20), 'Onboarding') ],
} ], default => assign(lit(1), 'Later') });
add_strategy(divide => always({ type => 'arith', op => '/', left => lit(1),
	right => field('data.by') }, 'Divided'));
add_strategy(refuse => always(lit(-1), 'AlreadyRewarded'));
add_strategy(nothing => { type => 'program', id => 'p', rules => [ {
	type => 'rule', id => 'never',
	when => { type => 'compare', op => '==', left => lit(1),
		right => lit(2) },
	then => [ assign(lit(1), 'Never') ],
} ] });
add_strategy(huge => always({ type => 'arith', op => '*', left => lit(2**31),
	right => field('data.by') }, 'Huge'));

my %task;
$task{$_} = add_task("t-$_", $strategy{$_}) for sort keys %strategy;
$task{default} = add_task('t-default', 'default');
$task{gone} = add_task('t-gone', 'custom:5d1a9c1e-7f0b-4a51-9f5e-ffffffffffff');
$task{odd} = add_task('t-odd', 'no_such_strategy');
$task{doomed} = add_task('t-doomed', $strategy{streak});

my $client = Gamed::Client->new(port => $d->port, key => $key);

sub path_of { return "/api/v1/games/$game/tasks/$_[0]/points" }

# One award over $client; the data's members as they come.
sub award {
	my ($task, $user, $data, %rest) = @_;
	my %headers = %{ delete $rest{headers} || {} };
	return $client->post(path_of("t-$task"),
		{ externalUserId => $user, data => $data, %rest }, %headers);
}

sub one { return $pg->psql($_[0]) }

sub count_of { return one("select count(*) from userpoints where $_[0]") }

sub verify_points {
	my ($name) = @_;
	my ($rc, $out) = $d->gamectl('verify-points');
	is($rc, 0, "$name: wallet = awards for every user") or diag $out;
	return;
}

# ---- one award ---------------------------------------------------------------

subtest 'an award is answered as it is stored' => sub {
	my $r = award('streak', 'user-1',
		{ zone => 'harbour', streak_days => 4, eventId => 'e-1' });

	is($r->{status}, 200, 'answered') or diag $r->{body};
	like($r->{body}, qr/^\{"points":14,"caseName":"Zone",
		"isACreatedUser":true,"gameId":"\Q$game\E",
		"externalTaskId":"t-streak",
		"created_at":"\d{4}-\d\d-\d\d\ \d\d:\d\d:\d\d(\.\d+)?\+00:00"
		\}$/x, 'the members in their order');
	ok($r->{headers}{'x-trace-id'}, 'the run was kept: X-Trace-Id');
	my $row = $JSON->decode(one(<<"SQL"));
select row_to_json(x) from (select p.points, p."caseName", p.data,
	p."idempotencyKey" as key, p.strategy_id, p.strategy_version,
	length(p.ast_sha256) as hash, p.description, p."apiKey_used" as made_by,
	to_char(p.created_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') as at,
	w."pointsBalance" as balance, l.points as entry, l."transactionType" as type
from userpoints p join users u on u.id = p."userId"
join wallet w on w."userId" = u.id
join wallettransactions l on l."walletId" = w.id
where u."externalUserId" = 'user-1') x
SQL
	is($row->{points}, 14, 'points');
	is($row->{key}, 'e-1', 'the key is data.eventId');
	is($row->{strategy_id}, $strategy{streak}, 'the strategy');
	is($row->{strategy_version}, 3, 'its version');
	is($row->{hash}, 64, 'its hash');
	is($row->{description}, 'Points assigned by GAME', 'description');
	is($row->{made_by}, $prefix, 'the key that made it');
	is_deeply($row->{data}{callbackData}, { where => 'harbour' },
		'callback data is stored and not answered');
	like($row->{data}{correlationId}, qr/^srv-/, 'a correlation id is made');
	is("$row->{balance} $row->{entry} $row->{type}", '14 14 AssignPoints',
		'wallet and ledger');
	(my $at = $row->{at}) =~ s/\.?0+$//;
	(my $said = $r->{json}{created_at}) =~ s/(\.?0+)?\+00:00$//;
	is($said, $at, 'created_at is the row\'s');
};

subtest 'a built-in scores, and a user is made once' => sub {
	my $r = award('default', 'user-2', {});

	is($r->{status}, 200, 'answered') or diag $r->{body};
	is($r->{json}{isACreatedUser}, JSON::PP::true, 'the user is new');
	$r = award('default', 'user-2', {});
	is($r->{json}{isACreatedUser}, JSON::PP::false, 'and then is not');
	is(one(q(select "apiKey_used" from users where "externalUserId" = 'user-2')),
		$prefix, 'the user belongs to the key');
};

subtest 'analytics are read before the award' => sub {
	my @cases = map { award('counting', "user-$_", {})->{json}{caseName} }
		3 .. 5;
	is("@cases", 'Onboarding Onboarding Later', 'task.measurements_count');
};

subtest 'a replay is answered from the stored row' => sub {
	my $data = { zone => 'harbour', streak_days => 2 };
	my @first = map { award('streak', 'user-6', $data,
		headers => { 'Idempotency-Key' => 'once' }) } 1 .. 1;
	my @again = map { award('streak', 'user-6', $_,
		headers => { 'Idempotency-Key' => 'once' }) }
		$data, { zone => 'elsewhere' }, { zone => 'harbour' };

	is($_->{status}, 200, 'replayed') for @again;
	is($again[0]{body}, $again[1]{body}, 'other data, the same bytes');
	is($again[0]{body}, $again[2]{body},
		'an event that would fail now, the same bytes');
	for my $member (qw(points caseName created_at)) {
		is($again[0]{json}{$member}, $first[0]{json}{$member}, $member);
	}
	is($again[0]{json}{isACreatedUser}, JSON::PP::false, 'no new user');
	is(count_of(q("idempotencyKey" = 'once')), 1, 'one row');
	my $one = award('counting', 'user-6', { idempotencyKey => 'k' });
	my $two = award('counting', 'user-6', { idempotencyKey => 'k' });
	is($two->{json}{created_at}, $one->{json}{created_at},
		'also where the database is read first');
	my @by_id = map { award('streak', 'user-6', {},
		headers => { 'X-Correlation-ID' => 'corr-1' }) } 1 .. 2;
	is($by_id[1]{json}{created_at}, $by_id[0]{json}{created_at},
		'a client\'s correlation id is a key');
};

subtest 'isSimulated evaluates and writes nothing' => sub {
	my $r = award('streak', 'nobody-yet', { zone => 'harbour',
		streak_days => 1 }, isSimulated => JSON::PP::true);

	is($r->{status}, 200, 'answered') or diag $r->{body};
	is($r->{json}{points}, 11, 'points');
	is($r->{json}{isACreatedUser}, JSON::PP::false, 'no user');
	is(one(q(select count(*) from users
		where "externalUserId" = 'nobody-yet')), 0, 'no row');
};

# ---- refusals -------------------------------------------------------------------

subtest 'refusals' => sub {
	my $before = count_of('true');
	my $nowhere = '99999999-1c7a-4a7e-8f7c-5d3a1f6e2b90';
	my $body = { externalUserId => 'user-7' };
	my ($r, $name);

	$r = $client->post("/api/v1/games/$nowhere/tasks/t-streak/points", $body);
	is($r->{status}, 404, 'unknown game');
	$r = $client->post('/api/v1/games/nonsense/tasks/t-streak/points', $body);
	is($r->{status}, 422, 'a game id that is no UUID');
	is($r->{json}{detail}[0]{type}, 'uuid_parsing', 'uuid_parsing');
	$r = $client->post(path_of('t-nope'), $body);
	is($r->{status}, 404, 'unknown task');
	$r = award('gone', 'user-7', {});
	is($r->{status}, 404, 'unknown stored strategy');
	$r = award('odd', 'user-7', {});
	is($r->{status}, 404, 'unknown built-in');

	my $other = Gamed::Client->new(port => $d->port, key => $other_key);
	$r = $other->post(path_of('t-streak'), $body);
	is($r->{status}, 403, 'somebody else\'s game');
	my $nobody = Gamed::Client->new(port => $d->port);
	$r = $nobody->post(path_of('t-streak'), $body);
	is($r->{status}, 401, 'no credentials');

	for my $case (
		[ {}, 'missing', 'externalUserId' ],
		[ { externalUserId => 5 }, 'string_type', 'externalUserId' ],
		[ { %$body, data => 'x' }, 'dict_type', 'data' ],
		[ { %$body, isSimulated => [] }, 'bool_type', 'isSimulated' ],
	) {
		my ($sent, $type, $member) = @$case;
		$r = $client->post(path_of('t-streak'), $sent);
		is($r->{status}, 422, "$member: 422");
		is($r->{json}{detail}[0]{type}, $type, "$member: $type");
		is($r->{json}{detail}[0]{loc}[1], $member, "$member: loc");
	}
	$r = $client->post(path_of('t-streak'), '{"externalUserId":');
	is($r->{status}, 422, 'broken JSON');
	$r = $client->post(path_of('t-streak'), "{\"externalUserId\":\"\xff\"}");
	is($r->{status}, 400, 'broken UTF-8');
	$r = award('streak', 'no slug!', {});
	is($r->{status}, 422, 'a new user whose id is no slug');
	$r = award('streak', 'u' x 256, {});
	is($r->{status}, 422, 'a user id past 255 bytes');
	$r = award('streak', 'user-7', { eventId => 'k' x 256 });
	is($r->{status}, 422, 'a key past 255 bytes');

	$r = award('divide', 'user-7', { by => 0 });
	is($r->{status}, 400, 'a run that fails');
	is($r->{json}{detail}{code}, 'DSL_ARITH_DIV_BY_ZERO', 'its code');
	ok($r->{json}{detail}{message}, 'its message');
	ok(defined $r->{headers}{'x-node-id'}, 'its node');
	ok($r->{headers}{'x-trace-id'}, 'and its trace');
	$r = award('divide', 'user-7', { by => 3 });
	is($r->{status}, 422, 'points with a fraction');
	is($r->{json}{detail}{code}, 'DSL_POINTS_NOT_STORABLE', 'their code');
	$r = award('divide', 'user-7', { by => 1 });
	is($r->{status}, 200, 'a whole float is fine') or diag $r->{body};
	$r = award('huge', 'user-7', { by => 1 });
	is($r->{status}, 422, 'points past 32 bits');
	is($r->{json}{detail}{code}, 'DSL_POINTS_NOT_STORABLE', 'the same code');
	$r = award('refuse', 'user-7', {});
	is($r->{status}, 422, 'a strategy that says -1');
	is($r->{json}{detail}, 'AlreadyRewarded', 'the case name is the reason');
	$r = award('nothing', 'user-7', {});
	is($r->{status}, 422, 'no rule and no default');
	is($r->{json}{detail}{code}, 'DSL_NO_CASE', 'DSL_NO_CASE');
	is(count_of('true') - $before, 1, 'only the whole float was stored');
};

# ---- many at once ------------------------------------------------------------------

# Forks $n clients; each runs $work->($i, $client, $out) and prints lines.
# Returns the lines of all of them.
sub in_parallel {
	my ($n, $work, $meanwhile) = @_;
	my (@pipes, @pids, @lines);

	for my $i (0 .. $n - 1) {
		pipe my $r, my $w or die "pipe: $!";
		my $pid = fork // die "fork: $!";
		if ($pid == 0) {
			close $r;
			$w->autoflush;
			$work->($i, Gamed::Client->new(port => $d->port,
				key => $key), $w);
			close $w;
			POSIX::_exit(0);
		}
		close $w;
		push @pipes, $r;
		push @pids, $pid;
	}
	$meanwhile->() if $meanwhile;
	for my $r (@pipes) {
		push @lines, map { chomp; $_ } <$r>;
	}
	waitpid $_, 0 for @pids;
	return @lines;
}

subtest 'duplicates over many connections award once' => sub {
	my @lines = in_parallel(16, sub {
		my ($i, $c, $out) = @_;
		for my $n (1 .. 40) {
			# each key is sent by four clients
			my $event = 'dup-' . ($i % 4) . "-$n";
			my $r = $c->post(path_of('t-streak'), {
				externalUserId => 'dup-user-' . ($n % 5),
				data => { eventId => $event },
			});
			my $say = $r->{json} || {};
			print {$out} join("\t", $event, $r->{status},
				$say->{created_at} // ''), "\n";
		}
	});
	my (%status, %seen);

	for (@lines) {
		my ($event, $status, $at) = split /\t/;
		$status{$status}++;
		$seen{$event}{$at}++;
	}
	is_deeply(\%status, { 200 => 640 }, 'all are answered with 200');
	is(scalar keys %seen, 160, '160 events');
	is(scalar(grep { keys %$_ > 1 } values %seen), 0,
		'one answer for each event');
	is(count_of(q("idempotencyKey" like 'dup-%')), 160, 'one award each');
	verify_points('duplicates');
};

subtest 'one bad award does not fail its neighbours' => sub {
	is(award('doomed', 'user-8', {}, isSimulated => JSON::PP::true)->{status},
		200, 'the task is cached');
	# without its trigger, so that no notice tells the caches
	$pg->psql(<<"SQL");
begin;
set local session_replication_role = replica;
delete from tasks where id = '$task{doomed}';
commit;
SQL
	my @lines = in_parallel(32, sub {
		my ($i, $c, $out) = @_;
		my $bad = $i % 8 == 0;
		for my $n (1 .. 10) {
			my $r = $c->post(
				path_of($bad ? 't-doomed' : 't-streak'),
				{ externalUserId => "neighbour-$i" });
			print {$out} ($bad ? 'bad' : 'good'),
				" $r->{status}\n";
		}
	});
	my %n;

	$n{$_}++ for @lines;
	cmp_ok($d->metrics->{gamed_award_batch_splits_total}, '>', 0,
		'batches were split');
	is_deeply(\%n, { 'good 200' => 280, 'bad 404' => 40 },
		'good ones are stored, bad ones answered with 404');
	is(one(q(select count(*) from userpoints p join users u on u.id = p."userId"
		where u."externalUserId" like 'neighbour-%')), 280, 'all rows');
};

subtest 'another strategy counts from its assignment on' => sub {
	my $id = add_task('t-moved', $strategy{streak});
	my @clients = map { Gamed::Client->new(port => $d->port, key => $key) }
		1 .. 8;
	my $cases = sub {
		my %seen;
		for my $c (@clients) {
			my $r = $c->post(path_of('t-moved'),
				{ externalUserId => 'mover' });
			$seen{ $r->{json}{caseName} // $r->{body} } = 1;
		}
		return join ' ', sort keys %seen;
	};

	is($cases->(), 'Plain', 'the first strategy, in every worker');
	my $r = $client->patch("/api/v1/games/$game/tasks/$id",
		{ strategyId => 'constantEffortStrategy' });
	is($r->{status}, 200, 'assigned') or diag $r->{body};
	is($cases->(), 'ConstantEffortReward', 'the second one at once');
};

# ---- faults -----------------------------------------------------------------------

# Clients that repeat an award until it is acknowledged, for some seconds.
sub until_acknowledged {
	my ($what, $seconds, $meanwhile) = @_;
	my $until = time + $seconds;

	return in_parallel(16, sub {
		my ($i, $c, $out) = @_;
		for (my $n = 0; time < $until; $n++) {
			my $event = "$what-$i-$n";
			my ($r, $tries) = ({ status => 0 }, 0);
			my $give_up = time + 20;
			while ($r->{status} != 200 && time < $give_up) {
				$tries++;
				$r = $c->post(path_of('t-streak'), {
					externalUserId => "$what-user-$i",
					data => { eventId => $event },
				});
				print {$out} "odd $r->{status} $r->{body}\n"
					unless $r->{status} =~ /^(0|200|503)$/;
				# the client's own pause between attempts
				sleep 0.02 if $r->{status} != 200;
			}
			print {$out} $r->{status} == 200
				? "ok $event $tries\n" : "lost $event\n";
		}
	}, $meanwhile);
}

sub check_acknowledged {
	my ($what, @lines) = @_;
	my @ok = grep { /^ok / } @lines;
	my @rest = grep { !/^ok / } @lines;
	my %once = map { (split)[1] => 1 } @ok;
	my %stored = map { $_ => 1 } split /\n/, one(qq(select "idempotencyKey"
		from userpoints where "idempotencyKey" like '$what-%'));

	cmp_ok(scalar @ok, '>', 50, scalar(@ok) . ' awards are acknowledged');
	is_deeply(\@rest, [], 'every event got its 200 in the end');
	is_deeply([ grep { !$stored{$_} } keys %once ], [],
		'all of them are in the database');
	is(scalar keys %stored, scalar keys %once, 'and no other');
	verify_points($what);
	return;
}

subtest 'workers killed under load' => sub {
	my @lines = until_acknowledged('kill', 4, sub {
		for (1 .. 4) {
			sleep 0.6; # load between the kills
			my ($pid) = $d->pids('worker') or next;
			kill KILL => $pid;
		}
	});
	check_acknowledged('kill', @lines);
	ok(Gamed::Daemon::eventually(sub { 2 == (() = $d->pids('worker')) }),
		'both workers are there again');
};

subtest 'reloads under load' => sub {
	my @lines = until_acknowledged('reload', 3, sub {
		for (1 .. 2) {
			sleep 0.5; # load between the reloads
			$d->reload;
		}
	});
	is(scalar(grep { !/ 1$/ } @lines), 0, 'no award had to be sent twice');
	check_acknowledged('reload', @lines);
};

subtest 'Postgres killed and started under load' => sub {
	my ($during, $live);
	my @lines = until_acknowledged('outage', 5, sub {
		sleep 1; # load before the outage
		$pg->stop_immediate;
		my $until = time + 10;
		do {
			$during = $client->post(path_of('t-streak'),
				{ externalUserId => 'user-9' });
		} until $during->{status} == 503 || time > $until;
		$live = $client->get('/livez');
		$pg->start;
	});
	is($during->{status}, 503, '503 while it is away');
	ok($during->{headers}{'retry-after'}, 'with Retry-After');
	is($live->{status}, 200, '/livez stays 200');
	check_acknowledged('outage', @lines);
};

subtest 'the server drains under load, its successor goes on' => sub {
	my $next;
	my @lines = until_acknowledged('drain', 4, sub {
		sleep 1; # load before the end
		is($d->stop, 0, 'status 0');
		$next = Gamed::Daemon->start(from => $d);
	});
	check_acknowledged('drain', @lines);
	is($next->stop, 0, 'and its successor');
};

done_testing;
