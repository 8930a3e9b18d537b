#!/usr/bin/perl
# The health check and the samples of uptime ask Postgres, which may hang with
# all its connections open; and they ask it where the server listens
# (observability.md 5.2, 6.1).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Socket::INET;
use Test::More;

use Gamed::Daemon;
use Gamed::Postgres;

my $pg = Gamed::Postgres->new;
# as systemd would hand it over: its port is not that of the settings
my $socket = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1')
	or die "listen: $!";
my $url = 'http://127.0.0.1:' . $socket->sockport . '/api/v1/kpi/health_check';
my $d = Gamed::Daemon->start(
	pg => $pg,
	listen => [[http => $socket]],
	conf => {
		'server.workers' => 1,
		'http.access_log' => 'false',
		'kpi.uptime' => 'true',
		'kpi.uptime_sample_s' => 5,
	});

sub eventually { return Gamed::Daemon::eventually(@_) }

sub health { return HTTP::Tiny->new(timeout => 10)->get($url)->{status} }

sub samples {
	my ($status) = @_;

	return $pg->psql("SELECT count(*) FROM uptimelogs WHERE status = '$status'");
}

# The postmaster and all that it has begotten.
sub postgres {
	open my $f, '<', $pg->datadir . '/postmaster.pid' or die "pid: $!";
	chomp(my $master = <$f>);
	my $children = Gamed::Daemon::_read("/proc/$master/task/$master/children");

	return ($master, split ' ', $children);
}

is(health(), 200, 'healthy');
ok(eventually(sub { samples('healthy') >= 1 }),
	'a sample is taken where the socket is bound');
is(samples('unhealthy'), 0, 'none says otherwise');

my @all = postgres();
kill STOP => @all;
# before a sample is due
ok(eventually(sub { health() == 503 }, 10), 'Postgres hangs: not healthy');
is(HTTP::Tiny->new(timeout => 10)->get($url =~ s{/api/.*}{/livez}r)->{status},
	200, '... but alive');
# a sample falls into it, whenever it is written
ok(!eventually(sub { health() == 200 }, 7), '... and stays so');
kill CONT => @all;
ok(eventually(sub { health() == 200 }), 'Postgres goes on: healthy');
ok(eventually(sub { samples('unhealthy') >= 1 }), 'the sample says what was');

# A stop that was wanted is known as such, though Postgres could not be told.
ok(eventually(sub { $pg->psql(q{SELECT count(*) FROM gamed.job_state
	WHERE job LIKE 'uptime:%'}) == 1 }), 'the server was heard of');
$pg->stop_immediate;
is($d->stop, 0, 'the server leaves while Postgres is away');
$pg->start;
$d = Gamed::Daemon->start(from => $d);
ok(eventually(sub { $pg->psql('SELECT count(*) FROM gamed.uptime_gap') == 1 }),
	'its successor notes the gap');
is($pg->psql('SELECT cause FROM gamed.uptime_gap'), 'stopped', '... as wanted');
ok(eventually(sub { !-e $d->dir . '/uptime-stopped' }), 'and then forgets');
$d->expect_exit('KILL')->kill(KILL => $d->pid, $d->pids);
$d->await_exit;
$d = Gamed::Daemon->start(from => $d);
ok(eventually(sub { $pg->psql('SELECT count(*) FROM gamed.uptime_gap') == 2 }),
	'a crash is a gap, too');
is($pg->psql(q{SELECT string_agg(cause, ' ' ORDER BY from_at)
	FROM gamed.uptime_gap}), 'stopped crashed', '... as such');
is($d->stop, 0, 'the server leaves');

done_testing;
