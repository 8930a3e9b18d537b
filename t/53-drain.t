#!/usr/bin/perl
# Rows of workers that leave while the logger does not read: they stay until
# it does; what a worker is killed with is counted at once, and nothing counts
# as queued that no process holds (DESIGN 1 and 4, hardening T1, T4, S3).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use Gamed::Daemon;
use Gamed::Postgres;

my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(
	pg => $pg,
	conf => {
		'server.workers' => 1,
		'server.watchdog_s' => 600, # the logger is stopped for longer
		'http.access_log' => 'false',
		'evidence.batch_ms' => 20,
	});
my ($rc, $key) = $d->gamectl('apikey', 'create', '--admin', '--client', 'drain');
chomp $key;

sub eventually { return Gamed::Daemon::eventually(@_) }

# Exit status, and by class what the ledger says.
sub ledger {
	my ($status, $out) = $d->gamectl('ledger', '--json');

	return ($status, { map { $_->{class} => $_ }
		map { JSON::PP::decode_json($_) } split /\n/, $out });
}

sub sum_of {
	my ($what) = @_;
	my ($sum, $by) = (0, (ledger())[1]);

	$sum += $_->{$what} for values %$by;
	return $sum;
}

# So many requests on one connection, sent at once; how many were answered.
sub ask {
	my ($n) = @_;
	my $c = $d->connect;
	my ($in, $seen) = ('', 0);

	print {$c} "GET /api/v1/strategies HTTP/1.1\r\nHost: x\r\n"
		. "X-API-Key: $key\r\n\r\n" for 1 .. $n;
	$c->flush;
	while ($seen < $n && sysread $c, $in, 65536, length $in) {
		$seen += () = $in =~ /HTTP\/1\.1 200 /g;
		$in = substr $in, -12; # shorter than what is counted
	}
	return $seen;
}

# Requests until so many audit rows wait in the worker.
sub fill {
	my ($rows) = @_;

	for (1 .. 40) {
		ask(500) == 500 or return fail('requests are answered');
		return pass('rows wait in the worker')
			if (ledger())[1]{audit}{queued_in_workers} >= $rows;
	}
	return fail('rows wait in the worker');
}

sub reload {
	my ($old) = $d->pids('worker');
	my $before = () = $d->log =~ /worker drains/g;

	$d->kill('HUP');
	ok($d->await_message(qr/^READY=1/m), 'reloaded');
	ok(eventually(sub { $before < (() = $d->log =~ /worker drains/g) }),
		'the old worker drains');
	return $old;
}

sub settles {
	my ($by, $status);

	ok(eventually(sub { sum_of('queued') + sum_of('spooled') == 0 }),
		'nothing is queued in the end');
	($status, $by) = ledger();
	is($status, 0, 'the books balance');
	is($by->{$_}{missing}, 0, "no row is missing: $_") for sort keys %$by;
	is(sum_of('produced'), sum_of('stored') + sum_of('dropped'),
		'produced = stored + dropped');
	is($pg->psql('SELECT (SELECT count(*) FROM logs WHERE module <> '
		. '$$api_key$$) + (SELECT count(*) FROM apirequests)'),
		sum_of('stored'), 'the tables hold what was stored');
	return;
}

subtest 'a worker is killed while it drains' => sub {
	my ($logger) = $d->pids('logger');
	my $died = 'gamed_child_restarts_total{reason="signal",role="worker"}';

	is($d->metrics->{$died}, 0, 'none died');
	$d->kill(STOP => $logger);
	fill(200);
	my $old = reload();
	my (undef, $by) = ledger();
	cmp_ok($by->{audit}{queued_in_workers}, '>=', 200, 'it holds rows');
	$d->kill(KILL => $old);
	ok(eventually(sub { $d->metrics->{$died} == 1 }), 'a crash, and counted');
	my ($status, $after) = ledger();
	is($status, 0, 'the books balance');
	is($after->{audit}{reasons}{worker_killed},
		$by->{audit}{queued_in_workers}, 'its rows are counted at once');
	is($after->{audit}{queued_in_workers}, 0, 'and are queued no more');
	like($d->log, qr/worker died slot=\d+ pid=$old signal=KILL/, 'it is told');
	$d->kill(CONT => $logger);
	settles();
	is(sum_of('dropped'), $after->{audit}{dropped} + $after->{request}{dropped},
		'no other row was lost');
};

subtest 'a worker that drains keeps its rows' => sub {
	my ($logger) = $d->pids('logger');
	my $before = sum_of('dropped');

	$d->kill(STOP => $logger);
	fill(200);
	my $old = reload();
	# longer than it waited once
	ok(!eventually(sub { !Gamed::Daemon::process_runs($old) }, 3),
		'it waits for the logger');
	$d->kill(CONT => $logger);
	ok(eventually(sub { !Gamed::Daemon::process_runs($old) }),
		'and leaves when the rows are taken');
	settles();
	is(sum_of('dropped'), $before, 'none was dropped');
};

subtest 'the server stops while the logger hangs' => sub {
	my $before = sum_of('dropped');

	$d->write_conf('server.watchdog_s' => 3);
	is($d->stop, 0, 'exit 0');
	$d = Gamed::Daemon->start(from => $d);
	my ($logger) = $d->pids('logger');
	my $rows = $pg->psql('SELECT count(*) FROM logs');
	$d->kill(STOP => $logger);
	fill(200);
	my $asked = (ledger())[1]{audit}{produced};
	is($d->stop, 0, 'exit 0');
	like($d->log, qr/logger slot=\d+ pid=$logger gives no sign of life/,
		'the logger was replaced');
	like($d->log, qr/logger leaves produced=\d+ stored=\d+ dropped=0 spooled=0 queued=0/,
		'no row was dropped');
	is($pg->psql('SELECT count(*) FROM logs') - $rows, $asked,
		'all audit rows are stored');
};

done_testing;
