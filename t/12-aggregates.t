#!/usr/bin/perl
# The aggregates of userpoints equal a count from scratch whatever is written,
# and gamectl verify-points sees when something does not.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use POSIX ();
use Gamed::Postgres;

my $top = "$FindBin::Bin/..";
my $gamectl = ($ENV{GAMED_BUILDDIR} || "$top/build") . '/gamectl';
my $pg = Gamed::Postgres->new;
$ENV{GAMED_SQLDIR} = "$top/sql";
my $seed = $ENV{TEST_SEED} || time;
srand $seed;
note "TEST_SEED=$seed";

sub gamectl {
	my (@args) = @_;
	my $pid = open my $out, '-|';
	die "fork: $!" unless defined $pid;
	if ($pid == 0) {
		open STDERR, '>&', \*STDOUT;
		exec $gamectl, '-o', 'database.uri=' . $pg->conninfo, @args
			or die "$gamectl: $!";
	}
	my $text = join '', <$out>;
	close $out;
	return ($? >> 8, $text);
}

my ($rc, $out) = gamectl('migrate');
is($rc, 0, 'migrated') or BAIL_OUT $out;

my $TASKS = 4;
my $USERS = 5;
$pg->psql(<<"SQL");
INSERT INTO games (id, "externalGameId")
	VALUES ('00000000-0000-4000-8000-00000000000a', 'g');
INSERT INTO tasks (id, "externalTaskId", "gameId", "strategyId", status)
SELECT ('00000000-0000-4000-8000-00000000010' || i)::uuid, 't' || i,
	'00000000-0000-4000-8000-00000000000a', 'default', 'open'
FROM generate_series(1, $TASKS) i;
INSERT INTO users (id, "externalUserId")
SELECT ('00000000-0000-4000-8000-00000000020' || i)::uuid, 'u' || i
FROM generate_series(1, $USERS) i;
SQL

# ---- random writes ---------------------------------------------------------

sub task { return "'00000000-0000-4000-8000-00000000010$_[0]'" }
sub user { return "'00000000-0000-4000-8000-00000000020$_[0]'" }
sub one_of { return $_[int rand @_] }

# Odd values on purpose: none of them may fail an insert.
my @data = ('NULL', q('null'), q('[1]'), q('{}'), q('{"minutes": 5}'),
	q('{"minutes": 2.5}'), q('{"minutes": "12"}'), q('{"minutes": " 3.5 "}'),
	q('{"minutes": "1e3"}'), q('{"minutes": -4}'), q('{"minutes": 0}'),
	q('{"minutes": "abc"}'), q('{"minutes": true}'), q('{"minutes": [1]}'),
	q('{"minutes": 1e-320}'), q('{"minutes": 1e400}'),
	q('{"minutes": "1e400"}'), q('{"minutes": "NaN"}'));

sub row {
	my $at = one_of('NULL', map { "'2026-01-01'::timestamptz + "
		. int(rand 50) . " * interval '1 minute'" } 1 .. 9);
	return '(gen_random_uuid(), ' . join(', ', $at,
		one_of('NULL', int(rand 200) - 50, int rand 50, 7),
		one_of(@data),
		one_of('NULL', map { user($_), user($_) } 1 .. $USERS),
		one_of('NULL', map { task($_), task($_) } 1 .. $TASKS)) . ')';
}

sub write_something {
	my $dice = rand;
	my $where = '"taskId" = ' . task(1 + int rand $TASKS);
	return 'INSERT INTO userpoints (id, created_at, points, data, '
		. '"userId", "taskId") VALUES '
		. join(', ', map { row() } 1 .. 1 + rand 30) if $dice < 0.7;
	return "DELETE FROM userpoints WHERE $where" if $dice < 0.74;
	return "DELETE FROM userpoints WHERE $where AND random() < 0.3"
		if $dice < 0.88;
	return 'DELETE FROM userpoints WHERE false' if $dice < 0.9;
	return 'UPDATE userpoints SET points = points + 1, "taskId" = '
		. task(1 + int rand $TASKS) . ", created_at = created_at - "
		. "interval '30 s' WHERE $where AND random() < 0.3"
		if $dice < 0.98;
	return 'TRUNCATE userpoints';
}

# Rows that differ, by a count that shares nothing with the triggers.
my $brute = <<'SQL';
WITH p AS (SELECT *, CASE data ->> 'minutes' WHEN '5' THEN 5 WHEN '2.5' THEN 2.5
		WHEN '12' THEN 12 WHEN ' 3.5 ' THEN 3.5 WHEN '1e3' THEN 1000
		END AS m
	FROM userpoints WHERE "taskId" IS NOT NULL AND "userId" IS NOT NULL),
want AS (SELECT 'user_task', "taskId", "userId", count(*), count(points),
		coalesce(sum(points), 0), min(created_at), max(created_at),
		(SELECT created_at FROM p q WHERE q."taskId" = p."taskId"
			AND q."userId" = p."userId" AND created_at IS NOT NULL
			ORDER BY created_at DESC OFFSET 1 LIMIT 1),
		count(m), coalesce(sum(m), 0)::float8
	FROM p GROUP BY 2, 3
	UNION ALL
	SELECT 'task', "taskId", NULL, count(*), count(points),
		coalesce(sum(points), 0), min(created_at), max(created_at),
		NULL, count(m), coalesce(sum(m), 0)
	FROM p GROUP BY 2),
have AS (SELECT 'user_task', * FROM gamed.agg_user_task
	UNION ALL
	SELECT 'task', task_id, NULL, sum(n), sum(points_n), sum(points_sum),
		min(first_at), max(last_at), NULL, sum(minutes_n),
		sum(minutes_sum) FROM gamed.agg_task GROUP BY 2)
(SELECT 'want', * FROM want EXCEPT ALL SELECT 'want', * FROM have)
UNION ALL (SELECT 'have', * FROM have EXCEPT ALL SELECT 'have', * FROM want)
SQL

my $bad = '';
for my $round (1 .. 25) {
	my @did = map { write_something() } 1 .. 8;
	$pg->psql(join ";\n", "SET gamed.shard = $round", @did);
	$bad = $pg->psql($brute) or next;
	diag "round $round:\n$bad\n", join "\n", @did;
	last;
}
is($bad, '', 'after 200 random writes the aggregates equal a count');

for my $shard (3, 5) {
	$pg->psql("SET gamed.shard = $shard; INSERT INTO userpoints (id, "
		. 'created_at, "userId", "taskId") VALUES (gen_random_uuid(), '
		. 'now(), ' . user(1) . ', ' . task(1) . ')');
}
is($pg->psql('SELECT count(*) FROM gamed.agg_task WHERE shard IN (3, 5) '
	. 'AND task_id = ' . task(1)), 2, 'and are spread over shards');

# ---- writers beside deletes ------------------------------------------------

$pg->psql('TRUNCATE userpoints');
my @pids = map {
	my $n = $_;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		srand $seed + $n;
		my $dead = 0;
		for (1 .. 15) {
			my $sql = $n == 4 ? 'DELETE FROM userpoints WHERE '
				. '"taskId" = ' . task(1 + int rand $TASKS)
				: 'INSERT INTO userpoints (id, created_at, '
				. 'points, data, "userId", "taskId") VALUES '
				. join(', ', map { row() } 1 .. 20);
			my ($failed, undef, $err) = $pg->psql_try($sql);
			# a deadlock with a delete is reported, never wrong
			$dead++ if $failed && $err !~ /deadlock detected/;
		}
		POSIX::_exit($dead ? 1 : 0);
	}
	$pid;
} 1 .. 4;
is(join(' ', map { waitpid $_, 0; $? } @pids), '0 0 0 0',
	'three writers and one that deletes get along');
is($pg->psql($brute), '', 'and the aggregates equal a count');

# ---- verify-points ---------------------------------------------------------

$pg->psql(<<"SQL");
TRUNCATE userpoints, gamed.removed_awards;
INSERT INTO wallet (id, "userId", "pointsBalance") SELECT id, id, 20 FROM users;
INSERT INTO userpoints (id, created_at, points, "userId", "taskId")
SELECT gen_random_uuid(), now(), 10, u.id, t.id FROM users u, tasks t
WHERE t."externalTaskId" IN ('t1', 't2');
INSERT INTO wallettransactions (id, "transactionType", points, "walletId")
-- one id for the two as we write them; u4 and u5 are as the reference does
SELECT CASE WHEN "userId" < @{[user(4)]} THEN id ELSE gen_random_uuid() END,
	'AssignPoints', 10, "userId" FROM userpoints;
SQL

sub verify {
	my ($want, $like, $name) = @_;
	my ($status, $said) = gamectl('verify-points');
	is($status, $want, $name);
	like($said, $like, "$name: told") if $like;
	return;
}

verify(0, qr/^5 users, 10 awards, 10 ledger rows, 0 differences$/m,
	'books that balance');
$pg->psql('DELETE FROM userpoints WHERE "taskId" = ' . task(2));
verify(0, qr/ 5 awards, 10 ledger rows, 0 differences/,
	'a deleted task keeps the books balanced');
$pg->psql(<<'SQL');
INSERT INTO wallettransactions (id, "transactionType", points, "walletId")
SELECT gen_random_uuid(), 'ConvertPointsToCoins', 7, id FROM wallet;
UPDATE wallet SET "pointsBalance" = "pointsBalance" - 7;
SQL
verify(0, undef, 'so does a conversion');

# What no trigger and no foreign key sees, one at a time; then all is put back.
my @kept = qw(userpoints wallettransactions wallet users gamed.agg_user_task
	gamed.agg_task);
my ($new, $none) = map { "00000000-0000-4000-8000-00000000030$_" } 1, 2;

sub unseen {
	$pg->psql(join ";\n", 'BEGIN',
		'SET LOCAL session_replication_role = replica', @_, 'COMMIT');
	return;
}

sub copy_of { return 'copy_of_' . $_[0] =~ s/.*[.]//r }

sub entry {
	my ($type, $points, $wallet) = @_;
	return 'INSERT INTO wallettransactions (id, "transactionType", points, '
		. "\"walletId\") VALUES ('$new', $type, $points, $wallet)";
}

sub more {
	my ($table, $points, $u, $where) = @_;
	my $of = $table eq 'userpoints' ? 'userId' : 'walletId';
	return "UPDATE $table SET points = points + $points WHERE id = (SELECT "
		. "min(id::text)::uuid FROM $table WHERE \"$of\" = "
		. user($u) . " AND $where)";
}

# Each user has two awards on one task, and three ledger rows of awards.
$pg->psql(<<"SQL");
INSERT INTO userpoints (id, created_at, points, "userId", "taskId")
SELECT gen_random_uuid(), now(), 10, id, @{[task(1)]} FROM users;
INSERT INTO wallettransactions (id, "transactionType", points, "walletId")
SELECT CASE WHEN "userId" < @{[user(4)]} THEN id ELSE gen_random_uuid() END,
	'AssignPoints', 10, "userId" FROM userpoints
WHERE created_at = (SELECT max(created_at) FROM userpoints);
UPDATE wallet SET "pointsBalance" = "pointsBalance" + 10;
SQL
$pg->psql("CREATE TABLE @{[copy_of($_)]} AS TABLE $_") for @kept;
verify(0, qr/ 10 awards, 20 ledger rows, 0 differences/, 'two awards a user');

my $is_award = q("transactionType" = 'AssignPoints');
my $has_award = "$is_award AND id IN (SELECT id FROM userpoints)";
my $first = 'id = (SELECT id FROM userpoints WHERE "userId" = ' . user(1)
	. ' ORDER BY id LIMIT 1)';
for my $d (
	['an award of nobody', 'INSERT INTO userpoints (id, points, "taskId") '
		. "VALUES ('$new', 5, " . task(1) . ')', 1,
		qr/^award task=\S+ id=$new: expected a user, found none$/m],
	['an award of no user there is', 'INSERT INTO userpoints (id, points, '
		. "\"userId\") VALUES ('$new', 5, '$none')", 1,
		qr/^award id=$new: expected a user, found user $none, who/m],
	['an award that lost its user', "UPDATE userpoints SET \"userId\" = NULL "
		. "WHERE $first", 5, qr/^award user=u1 .*a user, found none$/m],
	['a ledger row of no wallet', entry(q('AssignPoints'), 5, 'NULL'), 1,
		qr/^ledger id=$new: expected a wallet, found none$/m],
	['a ledger row of no wallet there is',
		entry(q('AssignPoints'), 5, "'$none'"), 1,
		qr/^ledger id=$new: expected a wallet, found wallet $none, which/m],
	['a wallet of no user there is', "INSERT INTO wallet (id, \"userId\") "
		. "VALUES ('$new', '$none')", 1,
		qr/^wallet id=$new: expected a user, found user $none, who/m],
	['a ledger row of another type', entry(q('Bogus'), 0, user(1)), 1,
		qr/^ledger user=u1 id=$new: expected Assign.* found Bogus$/m],
	['a ledger row of no type', entry('NULL', 0, user(1)), 1,
		qr/^ledger user=u1 id=$new: expected .* found no type$/m],
	['points that moved between two of our awards', [
		more('userpoints', 1, 1, 'true'),
		more('userpoints', -1, 1, 'points = 10')],
		4, qr/^award user=u1 .*Points of 11 points for.*Points of 10 /m],
	['points that moved between two awards of the reference', [
		more('userpoints', 1, 4, 'true'),
		more('userpoints', -1, 4, 'points = 10')],
		2, qr/^ledger user=u4: expected 1 rows of 11 points, found 0 rows$/m],
	['points that moved between two ledger rows of ours', [
		more('wallettransactions', 1, 1, $has_award),
		more('wallettransactions', -1, 1, "$has_award AND points = 10")],
		3, qr/^award user=u1 .*Points of 10 points for.*Points of 11 /m],
	['points that moved between two ledger rows of the reference', [
		more('wallettransactions', 1, 5, $is_award),
		more('wallettransactions', -1, 5, "$is_award AND points = 10")],
		1, qr/^ledger user=u5: expected 2 rows of 10 p.*found 1 rows$/m],
	['a ledger row in the wallet of another', ['UPDATE wallettransactions '
		. 'SET "walletId" = ' . user(2) . " WHERE $first"], 3,
		qr/^award user=u1 .* user @{[user(1) =~ tr{'}{}dr]}, found .* user /m],
	['an award that is a conversion', ['UPDATE wallettransactions SET '
		. "\"transactionType\" = 'ConvertPointsToCoins' WHERE $first"], 3,
		qr/^award user=u1 .* found ConvertPointsToCoins of 10 points/m],
	['a task', 'UPDATE gamed.agg_task SET points_sum = points_sum + 1 '
		. 'WHERE task_id = ' . task(1), 1,
		qr/^task task=\S+: .*"ps": 100\b.*"ps": 10[12]\b/m],
) {
	my ($what, $sql, $n, $like) = @$d;
	unseen(ref $sql ? @$sql : $sql);
	verify(1, $like, "$what is found");
	verify(1, qr/, $n differences$/m, "$what: and only that");
	unseen(map { ("DELETE FROM $_", "INSERT INTO $_ TABLE @{[copy_of($_)]}") }
		@kept);
}
verify(0, qr/ 10 awards, 20 ledger rows, 0 differences/, 'all was put back');

my @damage = (
	['a wallet', 'UPDATE wallet SET "pointsBalance" = 99 WHERE "userId" = '
		. user(1), qr/^wallet user=u1: expected 23 points, found 99/m],
	['a ledger row too many', 'INSERT INTO wallettransactions (id, '
		. '"transactionType", points, "walletId") VALUES '
		. "(gen_random_uuid(), 'AssignPoints', 0, " . user(2) . ')',
		qr/^ledger user=u2: expected 3 rows, 30 p.*found 4 rows, 30/m],
	['an award without ledger row', 'INSERT INTO userpoints (id, points, '
		. '"userId", "taskId") VALUES (gen_random_uuid(), 0, '
		. user(3) . ', ' . task(1) . ')',
		qr/^ledger user=u3: expected 4 rows, .*found 3 rows/m],
	['an aggregate', 'UPDATE gamed.agg_user_task SET n = 7 WHERE user_id = '
		. user(4), qr/^user_task user=u4 task=\S+: .*"n": 2.*"n": 7/m],
	['a shard', 'DELETE FROM gamed.agg_task',
		qr/^task task=\S+: expected .*found nothing/m],
);
my $cnt = 0;
for my $d (@damage) {
	my ($what, $sql, $like) = @$d;
	$pg->psql($sql);
	$cnt++;
	verify(1, $like, "$what is found");
	($rc, $out) = gamectl('verify-points');
	like($out, qr/, $cnt differences$/m, 'and only that');
}
($rc, $out) = gamectl('verify-points', '--json');
is($rc, 1, 'as JSON too');
is(scalar(() = $out =~ /^\{"kind":/mg), $cnt + 1, 'one line each and the sum');

done_testing;
