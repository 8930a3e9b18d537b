#!/usr/bin/perl
# Processes killed, stopped, doubled and starved under constant load: nothing
# acknowledged is lost or doubled, counters never go back, evidence balances
# (DESIGN 1; hardening S2 to S5, M1, M2, D1, D2, H7).
#
# GAMED_LONG=1 repeats every fault and extends the longer ones.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time sleep);

use Gamed::Client;
use Gamed::Daemon;
use Gamed::Judge;
use Gamed::Load;
use Gamed::Postgres;
use Gamed::Shim;

my $LONG = $ENV{GAMED_LONG} ? 1 : 0;
my $ROUNDS = $LONG ? 5 : 1;
my @ROLES = qw(worker logger stats);

my $pg = Gamed::Postgres->new(max_connections => $LONG ? 300 : 120);
my $d = start();
my $place = Gamed::Load->campaign($d);
my $judge = Gamed::Judge->new($d);
my $prefix = 'a';

sub start {
	my (%opt) = @_;
	my $conf = delete $opt{conf} // {};

	return Gamed::Daemon->start(pg => $pg, %opt, conf => {
		'http.access_log' => 'false',
		'evidence.sample_rate' => 1,
		'evidence.queue_max' => 100000,
		%$conf,
	});
}

sub eventually { return Gamed::Daemon::eventually(@_) }

sub load_starts {
	my (%opt) = @_;
	my $load = Gamed::Load->start($d, $place, prefix => $prefix++,
		seed => 7, %opt);

	ok($load->await_calls(100), 'load is on');
	return $load;
}

# A successor of each is ready; scrapes meanwhile.
sub replaced {
	my ($role, $limit, @old) = @_;
	my %old = map { $_ => 1 } @old;
	my $wanted = $role eq 'worker' ? 2 : 1;

	return ok($judge->watch($limit, sub {
		my @now = $d->pids($role);
		return @now == $wanted && !grep {
			$old{$_} || $d->log !~ /$role is ready slot=\d+ pid=$_ /
		} @now;
	}), "$role: replaced") || $d->show_log;
}

subtest 'kill -9 of each role' => sub {
	my $load = load_starts();

	for (1 .. $ROUNDS) {
		for my $role (@ROLES) {
			my ($pid) = $d->pids($role);
			$d->kill(KILL => $pid);
			replaced($role, 30, $pid);
			ok($load->await_calls(100), "$role: awards go on");
		}
	}
	$judge->judge('kill -9 of each role', $load->stop);
};

subtest 'kill -9 of all workers at once' => sub {
	my $load = load_starts();

	for (1 .. $ROUNDS) {
		my @old = $d->pids('worker');
		$d->kill(KILL => @old);
		replaced('worker', 30, @old);
		ok($load->await_calls(100), 'awards go on');
	}
	$judge->judge('kill -9 of all workers', $load->stop);
};

subtest 'S4: stopped processes are replaced by the watchdog' => sub {
	my $load = load_starts();

	for my $roles ($LONG ? (map { [$_] } @ROLES) : \@ROLES) {
		my %stopped = map { $_ => ($d->pids($_))[0] } @$roles;
		my (%took, $from);
		$d->kill(STOP => values %stopped);
		$from = time;
		$judge->watch(30, sub {
			for my $role (@$roles) {
				$took{$role} //= time - $from
					unless Gamed::Daemon::process_runs(
						$stopped{$role});
			}
			return keys %took == @$roles;
		});
		for my $role (@$roles) {
			my $t = $took{$role} // 99;
			# the silence counts from the last beat, up to 1 s before
			ok($t > 8.9 && $t < 14.5, "$role: gone in 10 to 14 s")
				|| diag $t;
			replaced($role, 30, $stopped{$role});
		}
	}
	ok($load->await_calls(100), 'awards go on');
	$judge->judge('SIGSTOP', $load->stop);
	my $m = $d->metrics;
	for my $role (@ROLES) {
		cmp_ok($m->{qq(gamed_child_restarts_total{reason="stuck",role="$role"})},
			'==', 1, "$role: counted as stuck");
	}
};

# Seconds until the only worker is back.
sub crash {
	my ($pid) = $d->pids('worker');
	my $from = time;

	$d->kill(KILL => $pid);
	eventually(sub { my ($now) = $d->pids('worker'); $now && $now != $pid });
	return time - $from;
}

$LONG and subtest 'S3: a minute of health makes the next crash a first one' => sub {
	is($d->stop, 0, 'exit 0');
	$d = start(from => $d, conf => { 'server.workers' => 1 });
	$judge->follow($d);
	my $load = load_starts();
	my @waits = map { crash() } 1 .. 4;

	cmp_ok($waits[3], '>=', 0.395, 'the fourth time it is back after 0.4 s');
	ok($load->await_calls(100), 'awards go on');
	$judge->watch(61);
	cmp_ok(crash(), '<', 0.75, 'after a minute sooner than after 0.8 s');
	ok($load->await_calls(100), 'awards go on');
	$judge->judge('crashes in a row', $load->stop);
	is($d->stop, 0, 'exit 0');
	$d = start(from => $d, conf => { 'server.workers' => 2 });
	$judge->follow($d);
};

sub is_stopped { return Gamed::Daemon::_read("/proc/$_[0]/stat") =~ /\) T/ }

subtest 'S2: a stopped worker strands no newcomer' => sub {
	my $load = load_starts();
	my ($asked, $failed, $longest) = (0, 0, 0);

	for (1 .. $ROUNDS) {
		for my $pid ($d->pids('worker')) {
			$d->kill(STOP => $pid);
			ok(eventually(sub { is_stopped($pid) }), 'one is stopped');
			for (1 .. 50) {
				my $from = time;
				$asked++;
				$failed++ if $d->http(GET => '/livez')->{status}
					!= 200;
				my $took = time - $from;
				$longest = $took if $took > $longest;
			}
			$d->kill(CONT => $pid);
			ok($load->await_calls(50), 'awards go on');
		}
	}
	is($failed, 0, "all of $asked newcomers are answered by the other");
	cmp_ok($longest, '<', 2, '... soon');
	my $record = $load->stop;
	is(scalar(grep { $_->{status} != 200 } @$record), 0, 'no call failed')
		or diag $judge->outcomes($record);
	$judge->judge('a stopped worker', $record);
};

subtest 'a second start in the same place disturbs nobody' => sub {
	my $load = load_starts();
	my $second = Gamed::Daemon->start(pg => $pg, migrate => 0, await => 0,
		conf => { 'http.port' => $d->port });

	$second->expect_exit(1)->await_exit;
	like($second->log, qr/cannot listen on .* Address already in use/,
		'the second one says why it ends');
	my $third = Gamed::Daemon->start(pg => $pg, migrate => 0, await => 0,
		conf => { 'server.run_dir' => $d->dir });
	$third->expect_exit(1)->await_exit;
	ok($load->await_calls(100), 'awards go on');
	my $record = $load->stop;
	is(scalar(grep { $_->{status} != 200 } @$record), 0, 'no call failed')
		or diag $judge->outcomes($record);
	$judge->judge('second start', $record);
};

subtest 'S5: kill -9 of every process at once' => sub {
	my $load = load_starts();

	for (1 .. $ROUNDS) {
		my @all = ($d->pid, $d->pids);
		$d->expect_exit('KILL')->kill(KILL => @all);
		$d->await_exit;
		my $next = start(from => $d);
		ok(!(grep { Gamed::Daemon::process_runs($_) } @all),
			'none of them is left');
		$d = $next;
		$judge->follow($d);
		ok($load->await_calls(100), 'its successor serves');
	}
	# rows of the old logger may still have been on their way
	$judge->judge('kill -9 of all', $load->stop, other_boot => 1,
		no_evidence => 1);
	$judge->follow($d);
};

subtest 'S5: kill -9 of the master alone' => sub {
	my $load = load_starts();

	for (1 .. $ROUNDS) {
		my @children = $d->pids;
		my $from = time;
		$d->expect_exit('KILL')->kill('KILL');
		$d->await_exit;
		my $next = start(from => $d);
		ok(eventually(sub {
			!grep { Gamed::Daemon::process_runs($_) } @children;
		}, 10), 'its children leave');
		cmp_ok(time - $from, '<', 6, '... soon');
		$d = $next;
		$judge->follow($d);
		ok($load->await_calls(100), 'its successor serves');
	}
	$judge->judge('kill -9 of the master', $load->stop, other_boot => 1,
		no_evidence => 1);
	$judge->follow($d);
};

subtest 'D2: TERM under load' => sub {
	my $load = load_starts();

	is($d->stop, 0, 'exit 0');
	like($d->log, qr/logger leaves produced=\d+ stored=\d+ dropped=\d+ spooled=\d+ queued=0/,
		'the last line of the logger says how many went where');
	my ($p, $s, $x) = $d->log
		=~ /.*logger leaves produced=(\d+) stored=(\d+) dropped=(\d+)/s;
	is($p, $s + $x, '... and it balances');
	$d = start(from => $d);
	$judge->follow($d);
	my $record = $load->stop;
	is(scalar(grep { $_->{status} == 0 && $_->{why} ne 'cannot connect' }
		@$record), 0, 'what was in hand has been answered')
		or diag $judge->outcomes($record);
	$judge->judge('TERM', $record, other_boot => 1, no_evidence => 1);
	$judge->follow($d);
};

subtest 'D1: a second TERM ends it within 2 s' => sub {
	my $lock = $pg->background('begin; lock userpoints; select pg_sleep(60)');
	my $c = $d->connect;
	my @all = $d->pids;

	ok(eventually(sub { $pg->psql(q(select count(*) from pg_locks
		where mode = 'AccessExclusiveLock' and granted and
		relation = 'userpoints'::regclass)) > 0 }), 'the table is locked');
	my $body = '{"externalUserId":"held","data":{"n":1}}';
	print {$c} "POST /api/v1/games/$place->{game}/tasks/load-1/points "
		. "HTTP/1.1\r\nHost: x\r\nX-API-Key: $place->{key}\r\n"
		. 'Content-Length: ' . length($body) . "\r\n\r\n$body";
	$c->flush;
	ok(eventually(sub { $pg->psql(q(select count(*) from pg_stat_activity
		where wait_event_type = 'Lock' and
		application_name like 'game-worker%')) > 0 }),
		'a request is in hand');
	$d->kill('TERM');
	ok($d->await_log(qr/draining/), 'the first TERM drains');
	my $from = time;
	$d->kill('TERM');
	is($d->await_exit, 0, 'exit 0');
	cmp_ok(time - $from, '<', 2, 'within 2 s');
	ok(!(grep { Gamed::Daemon::process_runs($_) } @all), 'nobody is left');
	undef $lock;
	$d = start(from => $d);
	$judge->follow($d);
};

subtest 'D2: draining has a deadline' => sub {
	is($d->stop, 0, 'exit 0');
	my %usual = ('server.drain_timeout_s' => 30,
		'http.handler_timeout_ms' => 5000,
		'database.lock_timeout_ms' => 1000);
	$d = start(from => $d, conf => { 'server.drain_timeout_s' => 1,
		'http.handler_timeout_ms' => 60000,
		'database.lock_timeout_ms' => 60000 });
	$judge->follow($d);
	my $load = load_starts();
	my $c = $d->connect;
	my @all = $d->pids;
	my $lock = $pg->background('begin; lock tasks; select pg_sleep(60)');

	ok(eventually(sub { $pg->psql(q(select count(*) from pg_locks
		where mode = 'AccessExclusiveLock' and granted and
		relation = 'tasks'::regclass)) > 0 }), 'a table is locked');
	print {$c} "GET /api/v1/games/$place->{game}/points/details HTTP/1.1\r\n"
		. "Host: x\r\nX-API-Key: $place->{key}\r\n\r\n";
	$c->flush;
	ok(eventually(sub { $pg->psql(q(select count(*) from pg_stat_activity
		where wait_event_type = 'Lock' and
		application_name like 'game-worker%')) > 0 }),
		'a request is in hand');
	my $from = time;
	is($d->stop, 0, 'exit 0');
	cmp_ok(time - $from, '<', 8, 'soon after the deadline');
	cmp_ok(time - $from, '>', 0.9, '... not before');
	ok(!(grep { Gamed::Daemon::process_runs($_) } @all), 'nobody is left');
	my ($p, $s, $x) = $d->log
		=~ /.*logger leaves produced=(\d+) stored=(\d+) dropped=(\d+)/s;
	is($p, $s + $x, 'the evidence balances');
	undef $lock;
	$d = start(from => $d, conf => \%usual);
	$judge->follow($d);
	ok($load->await_calls(100), 'its successor serves');
	$judge->judge('drain', $load->stop, other_boot => 1, no_evidence => 1);
	is($d->stop, 0, 'exit 0');
	$d = start(from => $d);
	$judge->follow($d);
};

subtest 'S2: connections are balanced' => sub {
	my $load = load_starts(connections => 32);

	ok($load->await_calls($LONG ? 20000 : 1500, 120), 'many calls');
	my $record = $load->stop;
	$judge->judge('32 connections', $record);
	is($d->stop, 0, 'exit 0');
	my @n = sort { $a <=> $b }
		$d->log =~ /worker leaves requests=(\d+)/g;
	is(scalar @n, 2, 'two workers leave');
	cmp_ok($n[0] + $n[1], '>=', scalar @$record, 'all calls are counted');
	cmp_ok($n[1] / ($n[0] + $n[1]), '<=', 0.60,
		'the busier of two workers serves at most 0.60')
		or diag "@n";
	$d = start(from => $d);
	$judge->follow($d);
};

sub cpu_ticks {
	my ($pid) = @_;

	return eval { my @f = split ' ',
		Gamed::Daemon::_read("/proc/$pid/stat") =~ s/^.*\) //r;
		$f[11] + $f[12] };
}

# So many connections that no more are taken; some wait in the queue.
sub crowd {
	my @crowd;

	for (1 .. 450) {
		my $c = $d->connect or last;
		push @crowd, $c;
	}
	cmp_ok(scalar @crowd, '>=', 400, 'a crowd connects');
	return @crowd;
}

sub crowd_goes {
	my $from = time;

	close $_ for @_;
	is($d->http(GET => '/livez')->{status}, 200,
		'once the crowd has gone a newcomer is served');
	cmp_ok(time - $from, '<', 5, '... soon');
	return;
}

subtest 'H7: the limit of descriptors is low' => sub {
	is($d->stop, 0, 'exit 0');
	# the master has a pair for every worker that there may be
	$d = start(from => $d, wrap => ['prlimit', '--nofile=200:200']);
	$judge->follow($d);
	like($d->log, qr/at most 200 descriptors are allowed/, 'it says so');
	my $load = load_starts();
	my @crowd = crowd();
	ok($load->await_calls(100), 'awards go on over the old connections');
	$pg->psql(<<'SQL');
select pg_terminate_backend(pid) from pg_stat_activity
where application_name like 'game-%'
SQL
	ok($load->await_calls(100), '... and the database is found again');
	is($d->http(GET => "http://127.0.0.1:" . $d->metrics_port . '/metrics')
		->{status}, 200, 'the metrics are served');
	crowd_goes(@crowd);
	$judge->judge('low limit', $load->stop);
	unlike($d->log, qr/died|cannot accept/, 'it never ran out of them');
	is($d->stop, 0, 'exit 0');
	$d = start(from => $d);
	$judge->follow($d);
};

subtest 'H7: descriptors are exhausted' => sub {
	my $load = load_starts();
	my @workers = $d->pids('worker');

	# below what they hold: not one more
	system('prlimit', '--pid', $_, '--nofile=20:1024') for @workers;
	my @crowd = crowd();
	ok($d->await_log(qr/cannot accept a connection/),
		'the workers have no descriptor left');
	ok($load->await_calls(100), 'awards go on over the old connections');
	my $record = $load->stop; # without load they have nothing to do
	my %before = map { $_ => cpu_ticks($_) } @workers;
	$judge->watch(1);
	for my $pid (@workers) {
		cmp_ok(cpu_ticks($pid) - $before{$pid}, '<', 30,
			'a worker does not spin');
	}
	my $lines = () = $d->log =~ /cannot accept a connection/g;
	cmp_ok($lines, '<', 50, 'the log is not flooded');
	system('prlimit', '--pid', $_, '--nofile=1024:1024') for @workers;
	crowd_goes(@crowd);
	$judge->judge('descriptors', $record);
	unlike($d->log, qr/died/, 'no process died of it');
	is_deeply([sort $d->pids('worker')], [sort @workers],
		'the workers are the same');
};

sub start_with {
	my ($shim, %env) = @_;

	is($d->stop, 0, 'exit 0');
	$d = start(from => $d, env => { $shim->env, %env });
	$judge->follow($d);
	return;
}

# A process whose pid stands in a file spins where it would wait for events:
# it burns the processor, its loop never turns, its heartbeat stops.
sub spin_shim {
	return Gamed::Shim->new($d->dir, 'spin', <<'C');
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
static int is_to_spin(void)
{
	char text[256] = "", *p = text;
	int fd = open(getenv("TEST_SPIN"), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	while (*p) {
		if (strtol(p, &p, 10) == getpid())
			return 1;
		if (*p)
			p++;
	}
	return 0;
}
int epoll_wait(int fd, struct epoll_event *ev, int max, int timeout)
{
	for (volatile unsigned long n = 0; is_to_spin(); n++)
		while (++n % 100000000 != 0)
			;
	return (int)syscall(SYS_epoll_pwait, fd, ev, max, timeout, NULL, 0);
}
C
}

subtest 'S4: spinning processes are replaced by the watchdog' => sub {
	my $file = $d->dir . '/spin';
	start_with(spin_shim(), TEST_SPIN => $file);
	my $load = load_starts();
	my %spins = map { $_ => ($d->pids($_))[0] } @ROLES;
	my %before = map { $_ => cpu_ticks($spins{$_}) } @ROLES;
	my (%took, %cpu);

	open my $f, '>', "$file.new" or die "$file: $!";
	print $f join ' ', values %spins;
	close $f;
	rename "$file.new", $file or die "$file: $!";
	my $from = time;
	# no scrapes: stats would not answer
	eventually(sub {
		for my $role (@ROLES) {
			if (Gamed::Daemon::process_runs($spins{$role})) {
				my $t = cpu_ticks($spins{$role});
				$cpu{$role} = $t - $before{$role} if defined $t;
			} else {
				$took{$role} //= time - $from;
			}
		}
		return keys %took == @ROLES;
	}, 30);
	for my $role (@ROLES) {
		my $t = $took{$role} // 99;
		# the silence counts from the last beat, up to 1 s before
		ok($t > 8.9 && $t < 14.5, "$role: gone in 10 to 14 s")
			|| diag $t;
		# three of them share the processors with all else
		cmp_ok($cpu{$role}, '>', 50, "$role: it did burn the processor");
		like($d->log, qr/$role slot=\d+ pid=$spins{$role} gives no sign of life/,
			"$role: missed");
		replaced($role, 30, $spins{$role});
		like($d->log, qr/$role died slot=\d+ pid=$spins{$role} signal=(?:ABRT|KILL) stuck=yes/,
			"$role: ended for that");
	}
	ok($load->await_calls(100), 'awards go on');
	$judge->judge('spinning', $load->stop);
	my $m = $d->metrics;
	for my $role (@ROLES) {
		is($m->{qq(gamed_child_restarts_total{reason="stuck",role="$role"})},
			1, "$role: counted as stuck");
	}
	is($d->stop, 0, 'exit 0');
	$d = start(from => $d);
	$judge->follow($d);
};

# A library that moves the wall clock of a process, by the seconds in a file.
sub clock_shim {
	return Gamed::Shim->new($d->dir, 'clock', <<'C');
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile long *shift;
static long by(void)
{
	if (shift == NULL) {
		int fd = open(getenv("TEST_CLOCK"), O_RDONLY | O_CLOEXEC);
		shift = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, fd, 0);
		close(fd);
	}
	return *shift;
}
int clock_gettime(clockid_t id, struct timespec *t)
{
	int rc = (int)syscall(SYS_clock_gettime, id, t);
	if (id == CLOCK_REALTIME)
		t->tv_sec += by();
	return rc;
}
int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
	struct timespec s;
	(void)zone;
	clock_gettime(CLOCK_REALTIME, &s);
	t->tv_sec = s.tv_sec;
	t->tv_usec = s.tv_nsec / 1000;
	return 0;
}
time_t time(time_t *t)
{
	struct timespec s;
	clock_gettime(CLOCK_REALTIME, &s);
	if (t != NULL)
		*t = s.tv_sec;
	return s.tv_sec;
}
C
}

subtest 'F8: the wall clock jumps' => sub {
	my $file = $d->dir . '/clock';
	my $set = sub {
		# in place, for it is mapped
		open my $f, -e $file ? '+<' : '>', $file or die "$file: $!";
		syswrite $f, pack 'l!', $_[0];
	};
	$set->(0);
	start_with(clock_shim(), TEST_CLOCK => $file);
	my $load = load_starts();
	my @pids = sort $d->pids;
	for my $by (86400, -86400, 3600, 300_000_000, 0) {
		$set->($by);
		ok($load->await_calls(100), "by $by seconds: awards go on");
		$judge->watch(1.5); # some heartbeats
		is($d->http(GET => '/readyz')->{status}, 200, '... ready');
	}
	$set->(300_000_000);
	$d->kill(KILL => $d->pids('stats')); # its successor writes the time
	ok($d->await_log(qr/^20[3-9]\d-.*stats is ready/m),
		'the processes did see another time');
	$set->(0);
	my $record = $load->stop;
	is(scalar(grep { $_->{status} != 200 } @$record), 0, 'no call failed')
		or diag $judge->outcomes($record);
	$judge->judge('clock', $record);
	unlike($d->log, qr/no sign of life|was away/, 'nobody took it for silence');
	my %same = map { $_ => 1 } @pids;
	is(scalar(grep { $same{$_} } $d->pids), 3,
		'all but the one killed are the same processes');
	is($d->stop, 0, 'exit 0');
	$d = start(from => $d);
	$judge->follow($d);
};

subtest 'M2: many deaths of workers, totals exact' => sub {
	my $deaths = $LONG ? 1000 : 30;
	my $workers = $LONG ? 30 : 8;
	is($d->stop, 0, 'exit 0');
	$d = start(from => $d, conf => { 'server.workers' => $workers,
		'database.read_connections' => 1,
		'database.write_connections' => 1,
		'database.long_connections' => 1 });
	$judge->follow($d);
	my $load = load_starts(insist => 300);
	my $killed = 0;
	my $end = time + ($LONG ? 500 : 60);
	my %ever;
	while ($killed < $deaths && time < $end) {
		for my $pid ($d->pids('worker')) {
			last if $killed == $deaths;
			$ever{$pid}++;
			$killed += $d->kill(KILL => $pid);
			eventually(sub { !Gamed::Daemon::process_runs($pid) });
			sleep 0.05; # load between two deaths
		}
		$judge->scrape;
	}
	is($killed, $deaths, "$deaths workers are killed");
	ok(eventually(sub { $workers == (() = $d->pids('worker')) }, 30),
		'all slots are in use again');
	ok($load->await_calls(50, 60), 'awards go on');
	$judge->judge("$deaths deaths", $load->stop);
	is($d->metrics->{'gamed_child_restarts_total{reason="signal",role="worker"}'},
		$deaths, 'deaths are counted exactly');
	is($d->stop, 0, 'exit 0');
};

done_testing;
