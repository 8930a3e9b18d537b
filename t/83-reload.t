#!/usr/bin/perl
# Reloads and restarts under constant load without a failed request: valid and
# broken files in turn, bursts of HUP, sockets that systemd keeps (hardening
# D3, DESIGN 2).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time sleep);

use Gamed::Daemon;
use Gamed::Judge;
use Gamed::Load;
use Gamed::Postgres;

my $LONG = $ENV{GAMED_LONG} ? 1 : 0;
my $pg = Gamed::Postgres->new(max_connections => 200);
my %conf = (
	'http.access_log' => 'false',
	'evidence.sample_rate' => 1,
	'evidence.queue_max' => 100000,
);
my $d = Gamed::Daemon->start(pg => $pg, conf => \%conf);
my $place = Gamed::Load->campaign($d);
my $judge = Gamed::Judge->new($d);
my $prefix = 'a';

sub load_starts {
	my $load = Gamed::Load->start($d, $place, prefix => $prefix++,
		seed => 31, @_);

	ok($load->await_calls(100), 'load is on');
	return $load;
}

sub no_call_failed {
	my ($record) = @_;

	return is(scalar(grep { $_->{status} != 200 } @$record), 0,
		'no call failed') || diag $judge->outcomes($record);
}

sub reloads {
	my $m = $d->metrics;

	return map { $m->{"gamed_reloads_total{result=\"$_\"}"} }
		qw(done refused failed);
}

# gamectl's word on whether the file is in force; from a file of its own, the
# server's may be the broken one.
sub status_line {
	my $path = $d->dir . '/gamectl.yaml';

	open my $f, '>', $path or die "$path: $!";
	print $f "server:\n  run_dir: ", $d->dir, "\n";
	close $f;
	my ($rc, $out, $err) = Gamed::Daemon::run_program(
		"$Gamed::Daemon::BUILD/gamectl", '-c', $path, 'status');
	is($rc, 0, 'gamectl status') or diag $err;
	my ($json) = grep { /"kind":"reload"/ } split /\n/,
		(Gamed::Daemon::run_program("$Gamed::Daemon::BUILD/gamectl", '-c',
			$path, 'status', '--json'))[1];
	return ((split /\n/, $out)[0], $json);
}

# The commands that the unit file has for a reload, with programs and settings
# of this test; '' when systemd would say that it succeeded, else what it would
# show.
sub systemctl_reload {
	open my $f, '<', "$FindBin::Bin/../systemd/gamed.service.in"
		or die "gamed.service.in: $!";
	my @commands = map { /^ExecReload=(.*)/ } <$f>;
	is(scalar @commands, 2, 'two commands for a reload');
	for my $command (@commands) {
		my $path = $d->conf_path;
		$command =~ s/\@s?bindir\@/$Gamed::Daemon::BUILD/g;
		$command =~ s/\@sysconfdir\@\S+/$path/g;
		my ($rc, undef, $err) =
			Gamed::Daemon::run_program(split ' ', $command);
		return $err || "exit $rc" if $rc; # the rest is not run
	}
	return '';
}

# Workers that are there to stay; those of earlier generations may still
# drain.
sub workers_of_now {
	my ($generation) = map { /"generation":(\d+)/ }
		grep { /"kind":"server"/ } $d->admin('status');

	return sort map { /"pid":(\d+)/ } grep {
		/"role":"worker"/ && /"generation":$generation\b/
	} $d->admin('status');
}

# Files that are no good, with what the log must say of each.
my @broken = (
	["server:\n  workers: none\n", qr/gamed\.yaml:2:12: /],
	["server:\n  wrokers: 2\n", qr/gamed\.yaml:2:3: /],
	["server:\n  workers: 31\n", qr/gamed\.yaml:2:12: /],
	["server: [\n", qr/gamed\.yaml:/],
	["\x00\xff\x01", qr/gamed\.yaml/],
);

subtest 'D3: twenty reloads in a row, every other file is broken' => sub {
	my $load = load_starts();
	my @others = map { $d->pids($_) } qw(logger stats);
	my ($ok, $refused) = (0, 0);

	for my $i (1 .. ($LONG ? 200 : 20)) {
		if ($i % 2) {
			my ($text, $says) = @{ $broken[ $refused % @broken ] };
			my @workers = workers_of_now();
			$d->write_conf_text($text);
			$d->reload;
			$refused++;
			like($d->log, qr/reload refused.*?$says/,
				'a broken file is refused, with its place');
			is_deeply([workers_of_now()], \@workers,
				'... and changes nothing');
		} else {
			$d->write_conf('server.workers' => 1 + $i % 3,
				'http.max_header_bytes' => 16384 + $i);
			$d->reload;
			$ok++;
		}
		ok($load->await_calls(10), 'awards go on');
		$judge->scrape;
	}
	is_deeply([reloads()], [$ok, $refused, 0], 'reloads are counted');
	is_deeply([map { $d->pids($_) } qw(logger stats)], \@others,
		'logger and stats stay');
	my ($line, $json) = status_line();
	unlike($line, qr/refused/, 'the last file is in force');
	is($json, undef, '... in JSON too');
	$d->write_conf_text($broken[0][0]);
	$d->reload;
	($line, $json) = status_line();
	like($line, qr/the last reload was refused: \S+gamed\.yaml:2:12: \S/,
		'gamectl status says when it is not, and why');
	like($json, qr/"error":"\S+gamed\.yaml:2:12: /, '... in JSON too');
	is($d->metrics->{gamed_config_in_force}, 0, 'so does a metric');
	$d->write_conf('server.workers' => 2);
	$d->reload;
	is($d->metrics->{gamed_config_in_force}, 1, 'and when it is again');
	($line, $json) = status_line();
	unlike($line, qr/refused/, '... so does gamectl status');
	is($json, undef, '... in JSON too');
	my $record = $load->stop;
	no_call_failed($record);
	$judge->judge('twenty reloads', $record);
};

subtest 'D3: systemctl reload fails on a bad file' => sub {
	my @before = reloads();

	$d->write_conf_text($broken[0][0]);
	like(systemctl_reload(), qr/^gamed: \S+gamed\.yaml:2:12: /,
		'it fails, and says where');
	is_deeply([reloads()], \@before, '... before the server is told');
	is($d->metrics->{gamed_config_in_force}, 1,
		'... which keeps what it has');
	$d->write_conf('server.workers' => 2);
	is(systemctl_reload(), '', 'it succeeds on a good one');
	is_deeply([reloads()], [$before[0] + 1, @before[1, 2]],
		'... which is in force then');
};

subtest 'D3: systemctl reload fails when new workers cannot work' => sub {
	my ($done, $refused, $failed) = reloads();
	my @workers = workers_of_now();
	my $version = $pg->psql('select max(version) from gamed.schema_version');

	$pg->psql("update gamed.schema_version set version = 9999
		where version = $version");
	like(systemctl_reload(),
		qr/^gamectl: the reload failed, the settings in force stay: a new worker cannot work/,
		'it fails, and says why');
	is_deeply([reloads()], [$done, $refused, $failed + 1], '... counted');
	is_deeply([workers_of_now()], \@workers, '... the old ones stay');
	is($d->http(GET => '/livez')->{status}, 200, '... and serve');
	$pg->psql("update gamed.schema_version set version = $version
		where version = 9999");
	is(systemctl_reload(), '', 'it succeeds when they can');
	is_deeply([reloads()], [$done + 1, $refused, $failed + 1],
		'... and has waited for it');
};

subtest 'D3: gamectl reload while another reload goes on' => sub {
	for my $i (1 .. 5) {
		my ($before) = reloads();
		$d->write_conf('server.workers' => 1 + $i % 3);
		$d->kill('HUP');
		my ($rc, $out, $err) = $d->gamectl('reload');
		is($rc, 0, 'exit 0') or diag $err;
		like($out, qr/^reloaded, generation \d+$/, '... says so');
		ok(Gamed::Daemon::eventually(sub {
			my @workers = workers_of_now();
			return @workers == 1 + $i % 3;
		}), 'the file is in force');
		cmp_ok((reloads())[0], '>', $before, '... by a reload since');
	}
	$d->write_conf('server.workers' => 2);
	my ($rc, $out) = $d->gamectl('reload', '--json');
	like($out, qr/^{"generation":\d+}$/, 'in JSON');
};

subtest 'D3: fifty HUPs within one second' => sub {
	my $load = load_starts();

	for (1 .. ($LONG ? 10 : 1)) {
		my ($before) = reloads();
		my $from = time;
		$d->write_conf('server.workers' => 3);
		for my $i (1 .. 50) {
			$d->kill('HUP');
			# spread over the second
			sleep $from + $i * 0.018 - time
				if $from + $i * 0.018 > time;
		}
		cmp_ok(time - $from, '<', 1.5, 'fifty HUPs in a second');
		$d->write_conf('server.workers' => 2);
		$d->kill('HUP');
		ok(Gamed::Daemon::eventually(sub {
			$judge->scrape;
			my ($now) = reloads();
			return $now > $before && $d->pids('worker') == 2
				&& !grep { $d->log !~ /worker is ready slot=\d+ pid=$_ / }
					$d->pids('worker');
		}), 'the last file counts in the end');
		ok($load->await_calls(100), 'awards go on');
	}
	my $record = $load->stop;
	no_call_failed($record);
	$judge->judge('fifty HUPs', $record);
};

subtest 'D3: HUP while a worker is killed' => sub {
	my $load = load_starts();

	for (1 .. ($LONG ? 50 : 5)) {
		my ($before) = reloads();
		my ($victim) = $d->pids('worker');
		$d->kill('HUP');
		$d->kill(KILL => $victim);
		ok(Gamed::Daemon::eventually(sub {
			my ($now) = reloads();
			return $now > $before && $d->pids('worker') == 2;
		}), 'reloaded, two workers');
	}
	ok($load->await_calls(100), 'awards go on');
	$judge->judge('HUP and KILL', $load->stop);
};

subtest 'D3: settings that need a restart are named' => sub {
	$d->write_conf('http.port' => $d->port + 1, 'auth.realm' => 'other');
	$d->reload;
	like($d->log, qr/a restart is needed to change .*http\.port/,
		'http.port');
	like($d->log, qr/a restart is needed to change .*auth\.realm/,
		'auth.realm');
	is($d->http(GET => '/livez')->{status}, 200, 'the old port serves');
	$d->write_conf('http.port' => $d->port, 'auth.realm' => 'master');
	$d->reload;
};

subtest 'D3: a file that cannot be read' => sub {
	my $path = $d->conf_path;

	rename $path, "$path.away" or die "$path: $!";
	$d->reload;
	like($d->log, qr/reload refused.*No such file or directory/,
		'it is gone: refused');
	is($d->http(GET => '/livez')->{status}, 200, 'it serves on');
	rename "$path.away", $path or die "$path: $!";
	$d->reload;
	is($d->stop, 0, 'exit 0');
	unlike($d->log, qr/killing|stuck/, 'nobody had to be killed');
};

subtest 'restarts on a socket that stays refuse no connection' => sub {
	my $api = IO::Socket::INET->new(Listen => 1024,
		LocalAddr => '127.0.0.1') or die "listen: $!";
	my @sockets = (listen => [['gamed.socket', $api]]);
	my $first = Gamed::Daemon->start(pg => $pg, conf => \%conf, @sockets);

	$first->{port} = $api->sockport;
	$d = $first;
	$judge->follow($d);
	my $load = load_starts();
	for (1 .. ($LONG ? 20 : 3)) {
		is($d->stop, 0, 'exit 0');
		my $next = Gamed::Daemon->start(from => $d, @sockets);
		$d = $next;
		$judge->follow($d);
		ok($load->await_calls(100), 'its successor serves');
	}
	my $record = $load->stop;
	no_call_failed($record);
	$judge->judge('restarts on a socket that stays', $record,
		other_boot => 1, no_evidence => 1);
	is($d->stop, 0, 'exit 0');
};

subtest 'systemd-socket-activate' => sub {
	my $next = Gamed::Daemon->start(pg => $pg, await => 0, conf => \%conf,
		wrap => ['systemd-socket-activate', '-E', 'NOTIFY_SOCKET',
			'-E', 'GAMED_SQLDIR', '-l', '127.0.0.1:{port}']);
	$d = $next;
	ok(Gamed::Daemon::eventually(sub { $d->connect }),
		'a first connection starts it');
	$d->await_ready;
	like($d->log, qr/starting .* socket=systemd/, 'gamed takes the socket');
	$judge->follow($d);
	my $load = load_starts();
	for (1 .. 3) {
		$d->reload;
		ok($load->await_calls(50), 'awards go on over a reload');
	}
	my $record = $load->stop;
	no_call_failed($record);
	$judge->judge('systemd-socket-activate', $record);
	is($d->stop, 0, 'exit 0');
};
done_testing;
