#!/usr/bin/perl
# The family of processes: start and end, death of each role and of the
# master, reload, watchdog, inherited sockets, descriptors (hardening S1 to
# S5, D1 to D3).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use File::Temp;
use IO::Socket::INET;
use POSIX ();
use Test::More;
use Time::HiRes qw(time sleep);
use Gamed::Daemon;
use Gamed::Postgres;
use Gamed::Shim;

$ENV{GAMED_SQLDIR} //= "$FindBin::Bin/../sql";
my @roles = qw(worker logger stats);
my $pg = Gamed::Postgres->new;

sub eventually {
	return Gamed::Daemon::eventually(@_);
}

sub served {
	my ($d, $name) = @_;

	return is($d->http(GET => '/livez')->{status}, 200, $name);
}

# Milliseconds until the code says so; fails the test after the limit.
sub within {
	my ($limit_s, $name, $code) = @_;
	my $from = time;
	my $done = eventually($code, $limit_s + 5);
	my $took = time - $from;

	return ok($done && $took <= $limit_s, "$name within $limit_s s")
		|| diag sprintf 'it took %.2f s', $took;
}

sub gone {
	return !grep { Gamed::Daemon::process_runs($_) } @_;
}

sub is_stopped { return Gamed::Daemon::_read("/proc/$_[0]/stat") =~ /\) T/ }

sub touch {
	open my $f, '>', $_[0] or die "$_[0]: $!";
	return close $f;
}

# Death of one role: another process takes its place and is ready.
sub replaced {
	my ($d, $role, $cause, @old) = @_;
	my %old = map { $_ => 1 } @old;

	ok($d->await_log(qr/$role died .*pid=$old[0] $cause/),
		"$role $old[0]: its death is logged with the cause");
	ok(eventually(sub {
		my @new = grep { !$old{$_} } $d->pids($role);
		return @new && $d->log =~ /$role is ready slot=\d+ pid=$new[-1] /;
	}), "$role: a successor is ready");
	return;
}

subtest 'the command line' => sub {
	my $run = sub {
		Gamed::Daemon::run_program("$Gamed::Daemon::BUILD/$_[0]",
			@_[1 .. $#_]);
	};

	for my $program (qw(gamed gamectl)) {
		for (['-h', qr/^usage: $program /], ['--help', qr/^usage: $program /],
			['-V', qr/^$program \d+\.\d+/],
			['--version', qr/^$program \d+\.\d+/]) {
			my ($option, $says) = @$_;
			my ($rc, $out, $err) = $run->($program, $option);
			is($rc, 0, "$program $option: exit 0");
			like($out, $says, "$program $option: on standard output");
			is($err, '', "$program $option: no complaint");
		}
		my ($rc, $out, $err) = $run->($program, '--no-such');
		is($rc, 2, "$program: an unknown option is wrong usage");
		is($out, '', '... told on standard error');
		like($err, qr/^usage: $program /m, '... with the usage');
	}
	for (['-w', 9999], ['-o', 'server.workers=9999']) {
		my ($rc, undef, $err) = $run->('gamed', '-t', @$_);
		is($rc, 2, "gamed @$_: exit 2");
		is($err, "gamed: command line: server.workers: "
			. "expected an integer from 1 to 30\n",
			'... names the setting, not an option that was not there');
	}
	# held up by a full pipe, before it could be a master
	my $conf = File::Temp->new;
	pipe my $from, my $to or die "pipe: $!";
	$to->blocking(0);
	1 while syswrite $to, 'x' x 4096;
	$to->blocking(1);
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open STDOUT, '>&', $to;
		exec "$Gamed::Daemon::BUILD/gamed", '-T', '-c', $conf->filename
			or POSIX::_exit(127);
	}
	close $to;
	my $held = (1 << 0) | (1 << 9) | (1 << 11); # HUP, USR1, USR2
	ok(eventually(sub {
		open my $f, '<', "/proc/$pid/status" or return;
		# not yet, when it is a fork of ours still
		my ($mask) = join('', <$f>) =~
			/^Name:\s+gamed\n.*^SigBlk:\s+[0-9a-f]*([0-9a-f]{8})$/ms;
		return $mask && (hex($mask) & $held) == $held;
	}), 'HUP, USR1 and USR2 wait from the start on');
	CORE::kill($_ => $pid) for qw(HUP USR1 USR2);
	1 while sysread $from, my $text, 65536;
	waitpid $pid, 0;
	is($?, 0, '... and end nothing');
};

subtest 'start and stop' => sub {
	my $d = Gamed::Daemon->start(pg => $pg);

	served($d, 'it serves once READY=1 was sent');
	is(scalar(my @w = $d->pids('worker')), 2, 'two workers');
	is(scalar(my @l = $d->pids('logger')), 1, 'one logger');
	is(scalar(my @s = $d->pids('stats')), 1, 'one stats');
	is((stat "$d->{dir}/admin.sock")[2] & 07777, 0660, 'mode of the admin socket');
	is($d->stop, 0, 'TERM: exit 0');
	ok(!-e "$d->{dir}/admin.sock", 'the admin socket is removed');
	like($d->log, qr/worker left.*worker left.*logger left.*stats left.*stopped/s,
		'they left in order');
	unlike($d->log, qr/killing|died/, 'nobody was killed');
	$d->_take_messages(0);
	ok((grep { /^STOPPING=1/m } @{ $d->{messages} }), 'STOPPING=1 was sent');
};

subtest 'TERM twice' => sub {
	my $d = Gamed::Daemon->start(pg => $pg);
	my @pids = $d->pids;

	# a worker that cannot drain
	$d->kill(STOP => ($d->pids('worker'))[0]);
	$d->kill('TERM');
	ok($d->await_log(qr/draining/), 'the first one drains');
	ok($d->alive, '... and waits for a worker that does not leave');
	$d->kill('TERM');
	within(2, 'the second one ends it', sub { !$d->alive });
	is($d->await_exit, 0, 'exit 0');
	ok(gone(@pids), 'no process is left');
};

subtest 'the logger dies while the rest leaves' => sub {
	my $d = Gamed::Daemon->start(pg => $pg);
	my ($logger) = $d->pids('logger');

	# still stopped when its turn comes, then killed
	$d->kill(STOP => $logger);
	$d->kill('TERM');
	ok(eventually(sub { !$d->pids('worker') }), 'the workers have left');
	$d->kill(KILL => $logger);
	is($d->await_exit, 0, 'exit 0');
	like($d->log, qr/logger (?:left|died) \S+ pid=$logger signal=KILL.*logger left \S+ pid=\d+ exit=0/s,
		'another one empties the sockets first');
};

subtest 'QUIT' => sub {
	my $d = Gamed::Daemon->start(pg => $pg);
	my @pids = $d->pids;

	$d->kill('QUIT');
	within(2, 'QUIT ends it', sub { !$d->alive });
	is($d->await_exit, 0, 'exit 0');
	ok(gone(@pids), 'no process is left');
};

subtest 'each role is killed' => sub {
	my $d = Gamed::Daemon->start(pg => $pg);

	for my $role (@roles) {
		my @old = $d->pids($role);
		my @others = grep { $_ != $old[0] } $d->pids;
		$d->kill(KILL => $old[0]);
		replaced($d, $role, 'signal=KILL', @old);
		served($d, 'it still serves');
		is(scalar(grep { Gamed::Daemon::process_runs($_) } @others), 4 - 1,
			'... and nobody else was restarted');
	}
	my @old = $d->pids;
	$d->kill(KILL => @old);
	for my $role (@roles) {
		ok(eventually(sub {
			my @now = $d->pids($role);
			return @now == ($role eq 'worker' ? 2 : 1)
				&& !grep { $d->log !~ /is ready slot=\d+ pid=$_ / } @now;
		}), "all at once: $role is back");
	}
	served($d, 'it serves again');
	my $m = $d->metrics;
	is($m->{'gamed_child_restarts_total{reason="signal",role="worker"}'}, 3,
		'deaths of workers are counted');
	is($m->{'gamed_child_restarts_total{reason="signal",role="logger"}'}, 2,
		'deaths of the logger are counted');
	is($m->{'gamed_child_restarts_total{reason="signal",role="stats"}'}, 2,
		'deaths of stats are counted');
};

subtest 'S3: the same slot crashes again and again' => sub {
	my $d = Gamed::Daemon->start(pg => $pg, conf => { 'server.workers' => 1 });
	my @waits;

	for (1 .. 4) {
		my ($pid) = $d->pids('worker');
		my $from = time;
		$d->kill(KILL => $pid);
		eventually(sub { my ($w) = $d->pids('worker'); $w && $w != $pid });
		push @waits, time - $from;
	}
	cmp_ok($waits[0], '<', 0.1, 'the first time it is back at once');
	cmp_ok($waits[1], '>=', 0.095, 'then after 0.1 s');
	cmp_ok($waits[2], '>=', 0.195, 'then after 0.2 s');
	cmp_ok($waits[3], '>=', 0.395, 'then after 0.4 s');
};

subtest 'S5: the master is killed' => sub {
	my $d = Gamed::Daemon->start(pg => $pg);
	my @pids = $d->pids;

	$d->expect_exit('KILL')->kill('KILL');
	$d->await_exit;
	my $next = Gamed::Daemon->start(from => $d, pg => $pg);
	served($next, 'an immediate restart binds the same ports and serves');
	within(2, 'all children are gone', sub { gone(@pids) });
};

subtest 'S5: the master is killed while a worker hangs in a request' => sub {
	my $d = Gamed::Daemon->start(pg => $pg);
	my @pids = $d->pids;
	my $c = $d->connect;

	print $c "POST /api/v1/games HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n";
	$c->flush;
	$d->expect_exit('KILL')->kill('KILL');
	$d->await_exit;
	within(2, 'all children are gone', sub { gone(@pids) });
};

subtest 'S5: the master is killed while a process is stopped' => sub {
	my $d = Gamed::Daemon->start(pg => $pg);

	for my $role (@roles, 'all') {
		my @pids = $d->pids;
		my @stopped = $role eq 'all' ? @pids : ($d->pids($role))[0];
		$d->kill(STOP => @stopped);
		ok(eventually(sub { @stopped == grep { is_stopped($_) } @stopped }),
			"$role: stopped");
		$d->expect_exit('KILL')->kill('KILL');
		$d->await_exit;
		within(2, "$role: all children are gone", sub { gone(@pids) });
		$d = Gamed::Daemon->start(from => $d, pg => $pg);
		served($d, "$role: a restart binds the same ports and serves");
	}
};

# While a file is there no process of gamed but the master waits for an event
# any more; each makes a file of its own when it hangs.
sub hang_shim {
	return Gamed::Shim->new($_[0], 'hang', <<'C');
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int epoll_wait(int fd, struct epoll_event *ev, int max, int timeout)
{
	const char *file = getenv("TEST_HANG");
	char name[16] = "", mine[256];
	prctl(PR_GET_NAME, name);
	if (strncmp(name, "gamed-", 6) == 0 && access(file, F_OK) == 0) {
		snprintf(mine, sizeof(mine), "%s.%d", file, (int)getpid());
		close(open(mine, O_CREAT | O_WRONLY, 0600));
		for (;;)
			pause();
	}
	return (int)syscall(SYS_epoll_pwait, fd, ev, max, timeout, NULL, 0);
}
C
}

subtest 'S5: the master is killed while all processes hang' => sub {
	my $d = Gamed::Daemon->start(pg => $pg);
	my $file = "$d->{dir}/hang";
	my $shim = hang_shim($d->dir);

	is($d->stop, 0, 'exit 0');
	$d = Gamed::Daemon->start(from => $d,
		env => { $shim->env, TEST_HANG => $file });
	my @pids = $d->pids;
	touch($file);
	ok(eventually(sub { !grep { !-e "$file.$_" } @pids }), 'all hang');
	$d->expect_exit('KILL')->kill('KILL');
	$d->await_exit;
	within(2, 'the timer of each ends it', sub { gone(@pids) });
};

subtest 'S4: stopped processes are replaced' => sub {
	my $d = Gamed::Daemon->start(pg => $pg, conf => { 'server.watchdog_s' => 2 });

	for my $role (@roles) {
		my @old = $d->pids($role);
		$d->kill(STOP => $old[0]);
		replaced($d, $role, 'signal=KILL stuck=yes', @old);
	}
	served($d, 'it serves');
	is($d->metrics->{'gamed_child_restarts_total{reason="stuck",role="worker"}'}, 1,
		'the cause is counted');
};

subtest 'S4: nobody is killed for a time when all stood still' => sub {
	my $d = Gamed::Daemon->start(pg => $pg, conf => { 'server.watchdog_s' => 2 });
	my @pids = sort $d->pids;

	$d->kill(STOP => $d->pid, @pids);
	ok(eventually(sub { 5 == grep { is_stopped($_) } $d->pid, @pids }),
		'all processes are stopped');
	my $until = time + 6;
	eventually(sub { time > $until });
	# the master first: it must not judge by beats that could not be
	$d->kill(CONT => $d->pid);
	ok($d->await_log(qr/the master was away ms=/), 'the master notices');
	$d->kill(CONT => @pids);
	served($d, 'it serves');
	$until = time + 3; # more than one round of the watchdog
	eventually(sub { time > $until });
	is_deeply([sort $d->pids], \@pids, 'the same processes');
	unlike($d->log, qr/no sign of life|died/, 'nobody was taken for stuck');
};

subtest 'S4: systemd hears of it only while all roles are healthy' => sub {
	my $d = Gamed::Daemon->start(pg => $pg, env => { WATCHDOG_USEC => 20e6 },
		conf => { 'server.watchdog_s' => 2, 'server.workers' => 1 });

	for my $role (@roles) {
		$d->await_message(qr/^WATCHDOG=1/m);
		my @old = $d->pids($role);
		$d->kill(STOP => @old);
		ok($d->await_log(qr/$role slot=\d+ pid=$old[0] gives no sign of life/),
			"$role: stopped, and found out");
		$d->_take_messages(0);
		$d->{messages} = [];
		# it is killed 2 s later; the master's turns are 1 s apart
		my $silent = time + 1.1;
		eventually(sub { time > $silent });
		$d->_take_messages(0);
		is(scalar(grep { /^WATCHDOG=1/m } @{ $d->{messages} }), 0,
			"$role: systemd hears nothing");
		replaced($d, $role, 'signal=KILL stuck=yes', @old);
		$d->{messages} = [];
		ok($d->await_message(qr/^WATCHDOG=1/m),
			"$role: and hears again when it is back");
	}
};

# Processes named gamed-worker that start while a file is there never wait for
# an event, so they are never ready.
sub hold_shim {
	return Gamed::Shim->new($_[0], 'hold', <<'C');
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int epoll_wait(int fd, struct epoll_event *ev, int max, int timeout)
{
	static int is_asked;
	char name[16] = "";
	prctl(PR_GET_NAME, name);
	if (!is_asked && strncmp(name, "gamed-worker", 12) == 0)
		while (access(getenv("TEST_HOLD"), F_OK) == 0)
			usleep(1000);
	is_asked = 1;
	return (int)syscall(SYS_epoll_pwait, fd, ev, max, timeout, NULL, 0);
}
C
}

subtest 'S3, D3: workers that do not become ready' => sub {
	my $d = Gamed::Daemon->start(pg => $pg);
	my $file = "$d->{dir}/hold";
	my $shim = hold_shim($d->dir);
	my %env = ($shim->env, TEST_HOLD => $file);

	is($d->stop, 0, 'exit 0');
	touch($file);
	my $from = time;
	$d = Gamed::Daemon->start(from => $d, await => 0, env => \%env,
		conf => { 'server.start_timeout_s' => 2 });
	$d->expect_exit(1);
	is($d->await_exit, 1, 'at the start: exit 1');
	cmp_ok(time - $from, '>', 1.9, '... after the time allowed');
	like($d->log, qr/no worker became ready within 2 s/, '... and says so');

	unlink $file;
	$d = Gamed::Daemon->start(from => $d, env => \%env);
	my @old = sort $d->pids('worker');
	touch($file);
	$d->reload;
	like($d->log, qr/reload failed, the settings in force stay: the new workers did not become ready/,
		'in a reload: it failed, and why');
	ok(eventually(sub { $d->pids('worker') == 2 }), 'the new ones are gone');
	is_deeply([sort $d->pids('worker')], \@old, 'the old ones stay');
	served($d, '... and serve');
	my $m = $d->metrics;
	is($m->{'gamed_reloads_total{result="failed"}'}, 1, 'it is counted');
	is($m->{gamed_config_in_force}, 0, 'and visible');
	unlink $file;
	$d->reload;
	ok(eventually(sub { gone(@old) }), 'the next reload succeeds');
	is($d->metrics->{gamed_config_in_force}, 1, '... and is in force');
	served($d, '... and serves');
};

subtest 'D3: reload' => sub {
	my $d = Gamed::Daemon->start(pg => $pg);
	my %old = map { $_ => 1 } my @old = $d->pids('worker');
	my @others = map { $d->pids($_) } qw(logger stats);

	$d->write_conf('server.workers' => 3, 'auth.realm' => 'other');
	$d->reload;
	ok(eventually(sub { gone(@old) }), 'the old workers have left');
	is(scalar(grep { !$old{$_} } $d->pids('worker')), 3, 'three new ones');
	is_deeply([map { $d->pids($_) } qw(logger stats)], \@others,
		'logger and stats stay');
	like($d->log, qr/restart is needed to change auth\.realm/,
		'what needs a restart is named');
	served($d, 'it serves');

	my @now = $d->pids('worker');
	my $text = "server:\n  workers: none\n";
	$d->write_conf_text($text);
	$d->reload;
	like($d->log, qr/reload refused, the settings in force stay: \S+gamed\.yaml:2:12: /,
		'a bad file is refused with line and column');
	is_deeply([sort $d->pids('worker')], [sort @now], '... and changes nothing');
	my ($rc) = $d->gamectl('-h');
	my $m = $d->metrics;
	is($m->{'gamed_reloads_total{result="refused"}'}, 1, '... and is counted');
	is($m->{'gamed_config_in_force'}, 0, '... and is visible');

	$d->write_conf_text(qq("a\\nSTOPPING=1":\n  b: 1\n));
	$d->kill('HUP');
	my $told = $d->await_message(qr/a\\u000aSTOPPING=1/);
	is($told =~ tr/\n//, 1, 'systemd is told in one line what is wrong')
		or diag $told;
	$d->kill('USR2');

	$d->write_conf('server.workers' => 1);
	$d->kill('HUP') for 1 .. 50;
	ok($d->await_log(qr/reloaded generation=[34].*\n/),
		'HUPs in a burst, after a USR2 that ends nothing');
	ok(eventually(sub { $d->pids('worker') == 1 }), 'the last file counts');
	served($d, 'it serves');
};

subtest 'D3: no connection is refused by a reload' => sub {
	my $d = Gamed::Daemon->start(pg => $pg);
	my ($asked, $failed) = (0, 0);

	for (1 .. 5) {
		$d->kill('HUP');
		my $end = time + 0.2;
		while (time < $end) {
			$asked++;
			$failed++ if $d->http(GET => '/livez')->{status} != 200;
		}
	}
	cmp_ok($asked, '>', 20, 'requests while workers are replaced');
	is($failed, 0, '... all answered');
};

subtest 'nobody reads what systemd is told' => sub {
	my $d = Gamed::Daemon->start(pg => $pg);

	for my $i (2 .. 10) { # more than net.unix.max_dgram_qlen
		$d->kill('HUP');
		$d->await_log(qr/reloaded generation=$i\b/);
	}
	$d->kill('TERM');
	within(5, 'the master does not wait for it', sub {
		waitpid($d->pid, 1) != 0 and defined($d->{status} = $?);
	});
	$d->await_exit;
};

subtest 'a database without the schema' => sub {
	my $empty = $pg->create_db('empty');
	my $d = Gamed::Daemon->start(pg => $pg, migrate => 0, await => 0,
		conf => { 'database.name' => $empty });

	$d->expect_exit(2);
	is($d->await_exit, 2, 'exit 2');
	like($d->log, qr/gamectl migrate/, 'the log names the command');
};

subtest 'a database with another version of the schema' => sub {
	my $other = $pg->create_db('other');
	my $d = Gamed::Daemon->start(pg => $pg, conf => { 'database.name' => $other });
	my $version = $pg->psql('select max(version) from gamed.schema_version', $other);
	my $end_of = sub {
		my ($found) = @_;
		$d->expect_exit(2);
		is($d->await_exit, 2, '... exit 2');
		like($d->log, qr/database schema is version $found, this program needs $version: run gamectl migrate/,
			'... the log names both versions');
		return;
	};

	# while it runs: seen with the next connection
	$pg->psql("update gamed.schema_version set version = 9999
		where version = $version", $other);
	served($d, 'changed under a running server: it serves on');
	$pg->psql(q(select pg_terminate_backend(pid) from pg_stat_activity
		where application_name like 'game-worker%'), $other);
	$end_of->(9999);

	$d = Gamed::Daemon->start(from => $d, await => 0);
	pass('newer at the start');
	$end_of->(9999);
	$pg->psql('delete from gamed.schema_version where version = 9999', $other);
	$d = Gamed::Daemon->start(from => $d, await => 0);
	pass('older at the start');
	$end_of->($version - 1);
};

subtest 'what cannot start says why' => sub {
	my $d = Gamed::Daemon->start(pg => $pg);
	my $second = sub {
		my $s = Gamed::Daemon->start(pg => $pg, migrate => 0, await => 0,
			conf => {@_});
		$s->expect_exit(1)->await_exit;
		return $s->log;
	};

	like($second->('http.port' => $d->port),
		qr/cannot listen on 127\.0\.0\.1:\d+ for the API: Address already in use/,
		'the port is taken');
	like($second->('server.run_dir' => $d->dir),
		qr/cannot listen on \S+admin\.sock: Address already in use/,
		'the admin socket answers');
	like($second->('server.run_dir' => "$d->{dir}/no/such"),
		qr/cannot make \S+such: No such file or directory/,
		'a missing directory');
	served($d, 'the first one is not disturbed');
	my $socket = "$d->{dir}/admin.sock";
	$d->stop;
	my $stale = IO::Socket::UNIX->new(Local => $socket, Listen => 1) or die $!;
	close $stale;
	ok(-e $socket, 'a socket that nobody listens on');
	my $again = Gamed::Daemon->start(from => $d, pg => $pg);
	like($again->log, qr/removing stale socket/, '... is replaced');
};

subtest 'sockets from systemd' => sub {
	my $api = IO::Socket::INET->new(Listen => 10, LocalAddr => '127.0.0.1');
	my $metrics = IO::Socket::INET->new(Listen => 10, LocalAddr => '127.0.0.1');
	my $d = Gamed::Daemon->start(pg => $pg,
		listen => [['metrics', $metrics], ['gamed.socket', $api]]);

	is($d->http(GET => 'http://127.0.0.1:' . $api->sockport . '/livez')->{status},
		200, 'the API answers there');
	is($d->http(GET => 'http://127.0.0.1:' . $metrics->sockport . '/metrics')
		->{status}, 200, 'the metrics too');
	ok(!$d->connect, 'the configured port is not bound');
	$d->stop;

	# the queue is systemd's: who comes during a restart waits, no more
	my @waiting = map {
		my $c = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
			PeerPort => $api->sockport) or die "refused: $!";
		print $c "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
		$c->flush;
		$c;
	} 1 .. 5;
	my $next = Gamed::Daemon->start(from => $d, pg => $pg,
		listen => [['api', $api], ['metrics', $metrics]]);
	is(scalar(grep { (readline($_) // '') =~ /^HTTP\/1.1 200/ } @waiting), 5,
		'connections made during a restart are answered after it');
};

subtest 'systemd-socket-activate' => sub {
	my $d = Gamed::Daemon->start(pg => $pg, await => 0,
		wrap => ['systemd-socket-activate', '-E', 'NOTIFY_SOCKET',
			'-E', 'GAMED_SQLDIR', '-l', '127.0.0.1:{port}']);

	ok(eventually(sub { $d->connect }), 'the socket is there before gamed');
	$d->await_ready;
	like($d->log, qr/starting .* socket=systemd/, 'gamed takes it');
	served($d, 'it serves');
};

# What /proc says of each descriptor of a process.
sub descriptors_of {
	my ($pid) = @_;

	return map { readlink($_) // () } glob "/proc/$pid/fd/*";
}

sub inode_of {
	my ($file, $re) = @_;

	open my $f, '<', $file or die "$file: $!";
	my ($line) = grep { $_ =~ $re } <$f>;
	return "socket:[$1]" if $line =~ / (\d+) (?:\d+ [0-9a-f]{16}|\S+\.sock)/;
	die "no inode in $line";
}

# Descriptors that the master holds and children may have of it, by name.
sub names_of_masters {
	my ($d) = @_;
	my %name;

	for (['api', $d->port], ['metrics', $d->metrics_port]) {
		my $port = sprintf ':%04X 00000000:0000 0A', $_->[1];
		$name{ inode_of('/proc/net/tcp', qr/$port/) } = $_->[0];
	}
	$name{ inode_of('/proc/net/unix', qr/ \Q$d->{dir}\E\/$_\.sock$/m) } = $_
		for qw(admin tail);
	for my $fd (descriptors_of($d->pid)) {
		$name{$fd} //= $fd =~ /^socket/ ? 'trace' : 'death' if $fd !~ m{^/};
	}
	return %name;
}

# How many of each name every role has; what is its own goes by its kind.
sub sets_of {
	my ($d) = @_;
	my %name = names_of_masters($d);
	my %got;

	for my $pid ($d->pids) {
		my ($role) = Gamed::Daemon::_read("/proc/$pid/comm") =~ /^gamed-([a-z]+)/;
		my %count;
		for my $fd (descriptors_of($pid)) {
			my $what = $name{$fd} // ($fd =~ /^socket/ ? 'connection'
				: $fd =~ /eventpoll/ ? 'epoll'
				: $fd =~ /\/spool/ ? 'spool'
				: $fd =~ /^\/dev\/null|\/log\z/ ? 'standard' : $fd);
			$count{$what}++;
		}
		# libevent's for signals: both ends are here, nobody else has one
		for my $pipe (grep { /^pipe/ && $count{$_} == 2 } keys %count) {
			delete $count{$pipe};
			$count{pipe}++;
		}
		push @{ $got{$role} }, \%count;
	}
	return \%got;
}

# Connections to the database come and go: not one more than there may be.
my %own = (death => 1, epoll => 1, pipe => 1, standard => 3);
my %expected = (
	worker => { api => 1, trace => 1, %own },
	logger => { trace => 60, tail => 1, %own },
	stats => { metrics => 1, admin => 1, %own },
);
my %connections = (worker => 6, logger => 2, stats => 4);

sub expected_sets {
	my ($d, $when) = @_;
	my $got = sets_of($d);

	is(scalar(my @w = @{ $got->{worker} }), 2, "$when: two workers");
	for my $role (@roles) {
		for my $set (@{ $got->{$role} }) {
			cmp_ok(delete $set->{connection} // 0, '<=', $connections{$role},
				"$when: $role: connections of its own");
			delete $set->{spool} if $role eq 'logger';
			is_deeply($set, $expected{$role},
				"$when: $role has what its work needs, nothing else")
				or diag explain $set;
		}
	}
	return;
}

subtest 'descriptors' => sub {
	my $d = Gamed::Daemon->start(pg => $pg);
	my %name = names_of_masters($d);
	my %seen;

	is(readlink("/proc/$_/fd/0"), '/dev/null', 'stdin') for $d->pids;
	$seen{$_}++ for grep { ($name{$_} // '') eq 'trace' }
		map { descriptors_of($_) } $d->pids;
	is(scalar(grep { $_ > 1 } values %seen), 0,
		'no trace end has two readers or writers');
	my $masters = () = descriptors_of($d->pid);
	expected_sets($d, 'at the start');
	for my $role (@roles) {
		my @old = $d->pids($role);
		$d->kill(KILL => $old[0]);
		replaced($d, $role, 'signal=KILL', @old);
	}
	expected_sets($d, 'after a death of each');
	my @old = $d->pids('worker');
	$d->reload;
	ok(eventually(sub { gone(@old) }), 'reloaded');
	expected_sets($d, 'after a reload');
	is(scalar(() = descriptors_of($d->pid)), $masters,
		'the master has as many as before');
};
done_testing;
