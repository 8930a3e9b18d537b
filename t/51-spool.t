#!/usr/bin/perl
# The spool under faults: whatever happens to Postgres, to the logger and to
# the disk, every row that was produced is stored once, spooled, queued or
# counted as dropped, by the scrape, by gamectl ledger and by the table.
use strict;
use warnings;
use Fcntl qw(LOCK_EX);
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use List::Util qw(sum0);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use Gamed::Campaign;
use Gamed::Daemon;
use Gamed::Postgres;

my $JSON = JSON::PP->new;
my $pg = Gamed::Postgres->new;
my ($d, $made, $mounted);
END { system('umount', '-l', $mounted) if $mounted }

# Sends awards that fail in the program; returns how many were run.
sub fail_runs {
	my ($n) = @_;
	my $c = $made->client($d);
	my $ran = 0;

	for (1 .. $n) {
		my $r = $c->post($made->awards,
			{ externalUserId => "user_$_", data => { n => 0 } });
		$ran++ if $r->{status} == 400;
	}
	return $ran;
}

# {class => line} of gamectl ledger; exit status 0 means that it balances.
sub ledger {
	my ($rc, $out, $err) = $d->gamectl('ledger', '--json');

	is($rc, 0, 'the ledger balances') or diag $out . $err if $rc;
	return { map { $_->{class} => $_ }
			map { $JSON->decode($_) } split /\n/, $out };
}

sub total {
	my ($l, $what) = @_;

	return sum0(map { $_->{$what} } values %$l);
}

sub rows { return $pg->psql('SELECT (SELECT count(*) FROM strategyexecutionlog)'
		. ' + (SELECT count(*) FROM logs WHERE module <> $$api_key$$)'
		. ' + (SELECT count(*) FROM apirequests)') }

# Nothing is on its way; all that was produced is stored or dropped.
sub settles {
	my ($name) = @_;
	my $l;

	ok(Gamed::Daemon::eventually(sub {
		$l = ledger();
		return total($l, 'queued') + total($l, 'spooled') == 0;
	}), "$name: nothing is on its way in the end") or diag explain $l;
	is(total($l, 'produced'), total($l, 'stored') + total($l, 'dropped'),
		"$name: produced = stored + dropped");
	is($pg->psql('SELECT count(*) - count(DISTINCT id)'
		. ' FROM strategyexecutionlog'), 0, "$name: no row twice");
	return $l;
}

# Holds up what the logger writes while the workers go on.
sub lock_tables {
	my $b = $pg->background('BEGIN; LOCK TABLE strategyexecutionlog, logs'
		. ' IN SHARE MODE; SELECT pg_sleep(600)');

	Gamed::Daemon::eventually(sub {
		$pg->psql(q{SELECT count(*) FROM pg_locks WHERE granted
			AND mode = 'ShareLock'
			AND relation = 'logs'::regclass}) > 0;
	}) or BAIL_OUT('no lock');
	return $b;
}

sub spooled_is {
	my ($n, $name) = @_;

	ok(Gamed::Daemon::eventually(sub {
		ledger()->{error}{spooled} >= $n;
	}), $name) or diag explain ledger();
	return;
}

sub start {
	my (%opt) = @_;

	return Gamed::Daemon->start(pg => $pg, %opt, conf => {
		'server.workers' => 1,
		'evidence.sample_rate' => '1.0',
		'evidence.batch_ms' => 20,
		'evidence.flush_timeout_s' => 2,
		%{ $opt{conf} // {} },
	});
}

# Files of one class, oldest first.
sub segments {
	my ($class) = @_;
	my @found = sort glob $d->dir . "/spool/$class-*.seg";

	return @found;
}

$d = start();
$made = Gamed::Campaign->make($d, 'spool');

subtest 'the logger is killed at random moments' => sub {
	my $before = settles('before');
	my $ran = 0;

	srand 7;
	for (1 .. 6) {
		my ($pid) = $d->pids('logger');

		$ran += fail_runs(15);
		sleep rand 0.03;
		$d->kill(KILL => $pid);
		$ran += fail_runs(5);
		ok(Gamed::Daemon::eventually(sub {
			my ($now) = $d->pids('logger');
			return $now && $now != $pid;
		}), 'a new logger is there');
	}
	my $l = settles('after kill -9');
	is($l->{error}{produced} - $before->{error}{produced}, $ran,
		'every failed run was produced');
	is(total($l, 'stored'), rows(), 'the tables hold what was stored');
	# only what one recv held
	my $lost = $l->{error}{reasons}{logger_killed} // 0;
	is(total($l, 'dropped'), sum0(map { $_->{reasons}{logger_killed} // 0 }
		values %$l), 'nothing is dropped for another reason');
	cmp_ok($lost, '<=', 6, 'at most a row a kill');
};

subtest 'the logger is killed while Postgres holds it up' => sub {
	my $before = settles('before');
	my $lock = lock_tables();
	my $ran = fail_runs(40);

	spooled_is($ran, 'the rows are in the spool');
	my ($pid) = $d->pids('logger');
	$d->kill(KILL => $pid);
	$ran += fail_runs(10);
	ok(Gamed::Daemon::eventually(sub {
		my ($now) = $d->pids('logger');
		return $now && $now != $pid;
	}), 'a new logger is there');
	undef $lock;
	my $l = settles('after');
	is($l->{error}{stored} - $before->{error}{stored}, $ran, 'all stored');
	is(total($l, 'dropped'), total($before, 'dropped'), 'none dropped');
};

subtest 'the logger is stopped and goes on' => sub {
	my $before = settles('before');
	my ($pid) = $d->pids('logger');

	$d->kill(STOP => $pid);
	my $ran = fail_runs(30);
	is($ran, 30, 'scoring does not wait for it');
	$d->kill(CONT => $pid);
	my $l = settles('after');
	is($l->{error}{stored} - $before->{error}{stored}, $ran, 'all stored');
};

subtest 'the server leaves with rows in the spool, another stores them' => sub {
	settles('before');
	my $stored = $pg->psql(q{SELECT count(*) FROM strategyexecutionlog
		WHERE status = 'error'});
	my $lock = lock_tables();
	my $ran = fail_runs(25);

	spooled_is($ran, 'the rows are in the spool');
	is($d->stop, 0, 'leaves');
	like($d->log, qr/logger leaves .* spooled=(?!0 )\d+ queued=0 of_dropped_now=0/,
		'its last line says so');
	undef $lock;
	$d = start(from => $d);
	my $l = settles('the next server');
	is($pg->psql(q{SELECT count(*) FROM strategyexecutionlog
		WHERE status = 'error'}) - $stored, $ran, 'every failed run, once');
	is($l->{error}{produced}, $ran, 'found rows count as produced');
};

subtest 'Postgres is down while failing runs go on' => sub {
	my $before = settles('before');
	my $ran = fail_runs(5);

	# the runs need the database here: stop it with rows on their way
	$pg->stop_immediate;
	fail_runs(3);
	$pg->start;
	ok(Gamed::Daemon::eventually(sub { $ran += fail_runs(1); $ran > 5 }),
		'runs again');
	$ran += fail_runs(10);
	my $l = settles('after');
	is($l->{error}{produced} - $before->{error}{produced},
		$l->{error}{stored} - $before->{error}{stored}, 'all stored');
	cmp_ok($l->{error}{stored} - $before->{error}{stored}, '>=', $ran,
		'every failed run');
};

subtest 'damaged and torn segments on start' => sub {
	settles('before');
	my $stored = $pg->psql(q{SELECT count(*) FROM strategyexecutionlog
		WHERE status = 'error'});
	my $lock = lock_tables();
	my $ran = fail_runs(20);

	spooled_is($ran, 'the rows are in the spool');
	$d->stop;
	my ($file) = segments('error');
	ok($file, 'a segment is left') or return;
	my $size = -s $file;
	open my $f, '+<', $file or die "$file: $!";
	seek $f, $size - 3000, 0;   # inside of one that is not stored
	print $f 'XX';
	close $f;
	truncate $file, $size - 5;  # the last row is torn
	open $f, '>', $d->dir . '/spool/audit-000000fe.seg' or die $!;
	print $f 'garbage ' x 200000;
	close $f;
	undef $lock;
	$d = start(from => $d);
	my $l = settles('with damage');
	is($l->{error}{reasons}{spool_damaged}, 2, 'the two count as dropped');
	is($l->{audit}{reasons}{spool_damaged}, 1, 'and garbage as a row');
	is($pg->psql(q{SELECT count(*) FROM strategyexecutionlog
		WHERE status = 'error'}) - $stored, $ran - 2,
		'every row but the two that were hit');
	cmp_ok($d->metrics->{gamed_spool_damaged_total}, '>=', 2, 'counted');
	my @aside = glob $d->dir . '/spool/*.bad';
	is(scalar @aside, 1, 'garbage is set aside');
};

subtest 'a segment that cannot be read stays and is read later' => sub {
	settles('before');
	my $stored = $pg->psql(q{SELECT count(*) FROM strategyexecutionlog
		WHERE status = 'error'});
	my $lock = lock_tables();
	my $ran = fail_runs(20);

	spooled_is($ran, 'the rows are in the spool');
	$d->stop;
	my ($file) = segments('error');
	ok($file, 'a segment is left') or return;
	# a link to itself is opened by nobody, chmod does not stop root
	rename $file, "$file.kept" or die $!;
	symlink $file, $file or die $!;
	undef $lock;
	$d = start(from => $d);
	ok($d->await_log(qr/ERROR .*spool segment error-\S+ cannot be read/),
		'it says so');
	settles('without it');
	ok(-l $file, 'it is left alone');
	my $m = $d->metrics;
	is($m->{gamed_spool_unreadable_segments}, 1, 'counted');
	is($m->{gamed_spool_damaged_total}, 0, 'not as damaged');
	my ($pid) = $d->pids('logger');
	$d->kill(KILL => $pid);
	ok(Gamed::Daemon::eventually(sub {
		my ($now) = $d->pids('logger');
		return $now && $now != $pid;
	}), 'a new logger is there');
	is(fail_runs(2), 2, 'scoring goes on');
	rename "$file.kept", $file or die $!;
	ok(Gamed::Daemon::eventually(sub {
		$pg->psql(q{SELECT count(*) FROM strategyexecutionlog
			WHERE status = 'error'}) - $stored == $ran + 2;
	}), 'its rows are stored once it can be read');
	settles('after');
	ok(Gamed::Daemon::eventually(sub {
		$d->metrics->{gamed_spool_unreadable_segments} == 0;
	}), 'none is left');
};

subtest 'a second server cannot have the directory' => sub {
	my $from = time;
	my $other = Gamed::Daemon->start(pg => $pg, migrate => 0, await => 0,
		conf => { 'server.state_dir' => $d->dir });

	$other->expect_exit(1);
	is($other->await_exit, 1, 'it ends with 1');
	cmp_ok(time - $from, '<', 3, '... within 3 s');
	like($other->log, qr/another server runs in server\.state_dir \Q$d->{dir}\E$/m,
		'... and names the directory');
	unlike($other->log, qr/logger/, '... before it starts anybody');
	is(fail_runs(3), 3, 'the owner goes on');
	settles('after');
};

subtest 'a logger cannot have the spool of another process' => sub {
	my $dir = tempdir('gs.XXXXXX', DIR => '/tmp', CLEANUP => 1);

	mkdir "$dir/spool" or die "$dir/spool: $!";
	open my $lock, '>', "$dir/spool/lock" or die "$dir/spool/lock: $!";
	flock $lock, LOCK_EX or die "flock: $!";
	my $other = Gamed::Daemon->start(pg => $pg, migrate => 0, await => 0,
		conf => { 'server.state_dir' => $dir });
	ok($other->await_log(qr/the spool \S+ belongs to another process/),
		'it says why');
	close $lock;
	ok($other->await_log(qr/logger is ready/), 'free again, it is taken');
	$other->await_ready;
	is($other->stop, 0, 'exit 0');
};

subtest 'rows that Postgres refused, put back' => sub {
	my $before = settles('before');

	$pg->psql(q{ALTER TABLE strategyexecutionlog ADD CONSTRAINT no_error
		CHECK (status <> 'error') NOT VALID});
	my $ran = fail_runs(6);
	my $c = $made->client($d);
	$ran += $c->post($made->awards, { externalUserId => 'large',
		data => { n => 0, a => 'x' x 40000, b => 'y' x 40000 } })
		->{status} == 400;
	my $l = settles('refused');
	is($l->{error}{reasons}{db_rejected} // 0, $ran, 'all in quarantine');
	my $file = $d->dir . '/quarantine.jsonl';
	my ($rc, $out, $err) = $d->gamectl('evidence', 'reinject', $file);
	is($rc, 1, 'refused again');
	like($out, qr/^7 rows: 0 stored, 0 were there, 7 refused$/, 'says so');
	$pg->psql('ALTER TABLE strategyexecutionlog DROP CONSTRAINT no_error');
	($rc, $out, $err) = $d->gamectl('evidence', 'reinject', $file);
	is($rc, 0, 'taken') or diag $err;
	like($out, qr/^7 rows: 7 stored, 0 were there, 0 refused$/, 'says so');
	($rc, $out, $err) = $d->gamectl('evidence', 'reinject', $file, '--json');
	is_deeply($JSON->decode($out),
		{ rows => 7, stored => 0, present => 7, refused => 0 },
		'a second time changes nothing');
	is($pg->psql(q{SELECT length(data->>'a') + length(data->>'b')
		FROM strategyexecutionlog WHERE "externalUserId" = 'large'}),
		80000, 'the large one is whole');
	is($pg->psql(q{SELECT count(*) FROM strategyexecutionlog
		WHERE data->>'n' = '0' AND trace->-1->>'nodeId' = 'divide'
		AND created_at = (SELECT max(created_at)
			FROM strategyexecutionlog)}), 1, 'columns are whole');
};

subtest 'the disk under the spool is full' => sub {
	plan skip_all => 'needs root' if $> != 0;
	my $dir = $d->dir . '/spool';

	settles('before');
	$d->stop;
	system('mount', '-t', 'tmpfs', '-o', 'size=256k', 'gamed-test', $dir) == 0
		or plan skip_all => 'cannot mount a tmpfs';
	$mounted = $dir;
	$d = start(from => $d, conf => {
		'evidence.spool_min_free_bytes' => 0,
		'evidence.logger_queue_rows' => 100 });
	my $lock = lock_tables();
	my $ran = fail_runs(600);
	is($ran, 600, 'scoring does not care');
	ok(Gamed::Daemon::eventually(sub {
		(ledger()->{error}{reasons}{spool_full} // 0) > 0;
	}), 'rows are dropped and counted');
	cmp_ok($d->metrics->{gamed_spool_errors_total}, '>', 0, 'errors counted');
	undef $lock;
	my $l = settles('after');
	is($l->{error}{produced}, $ran, 'produced');
	# audit rows go before errors
	cmp_ok($l->{error}{stored} + $l->{audit}{stored}, '>=', 100,
		'what was kept is stored');
	is(fail_runs(20), 20, 'runs again');
	my $l2 = settles('resumed');
	is($l2->{error}{stored} - $l->{error}{stored}, 20,
		'it resumes by itself');
	my $m = $d->metrics;
	cmp_ok($m->{gamed_spool_bytes}, '<', 128 * 1024,
		'segments whose rows are stored are gone');
	# and the spool has the rows again, not only the memory of the logger
	$lock = lock_tables();
	$ran = fail_runs(30);
	ok(Gamed::Daemon::eventually(sub {
		my $now = ledger();
		return total($now, 'queued') == 0
			&& $now->{error}{spooled} == $ran;
	}), 'rows are in the spool again') or diag explain ledger();
	ok(scalar segments('error'), 'in files');
	my ($pid) = $d->pids('logger');
	$d->kill(KILL => $pid);
	ok(Gamed::Daemon::eventually(sub {
		my ($now) = $d->pids('logger');
		return $now && $now != $pid;
	}), 'a new logger is there');
	undef $lock;
	my $l3 = settles('after kill -9');
	is($l3->{error}{stored} - $l2->{error}{stored}, $ran, 'all stored');
	is(total($l3, 'dropped'), total($l2, 'dropped'), 'none dropped');
	$d->stop;
	is(system('umount', $dir), 0, 'umount');
	undef $mounted;
};

done_testing;
