#!/usr/bin/perl
# Who may have /metrics: a token, networks, both, on both listeners; the
# example of the scrape configuration takes a real Prometheus in.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use HTTP::Tiny;
use Test::More;
use Gamed::Daemon;
use Gamed::Postgres;
use Gamed::Prometheus;

my $pg = Gamed::Postgres->new;
my $token = 'nobody-guesses-this-1234567890==';

# The status, and the challenge that came with it.
sub ask {
	my ($url, %opt) = @_;
	my $http = HTTP::Tiny->new(timeout => 10,
		$opt{from} ? (local_address => $opt{from}) : ());
	my $r = $http->get($url, { headers => $opt{auth}
			? { Authorization => $opt{auth} } : {} });

	is($r->{content} =~ /^# TYPE/m, $r->{status} == 200, 'text for 200 only');
	return $r->{status}
		. ($r->{headers}{'www-authenticate'} // '') =~ s/^(?=.)/ /r;
}

sub with {
	my (%conf) = @_;

	return Gamed::Daemon->start(pg => $pg, conf => { 'server.workers' => 1,
		'metrics.on_api' => 'true', %conf });
}

sub listeners {
	my ($d) = @_;

	return (own => 'http://127.0.0.1:' . $d->metrics_port . '/metrics',
		api => $d->url . '/metrics');
}

my $no_token = '401 Bearer realm="metrics"';

subtest 'a token' => sub {
	my $d = with('metrics.token' => $token);
	my %url = listeners($d);

	for my $at (sort keys %url) {
		my @not = (undef, $token, "Basic $token", 'Bearer', 'Bearer ',
			'Bearer ' . substr($token, 1), "Bearer ${token}x",
			"Bearer $token,$token", 'Bearer ' . 'x' x 4000);

		is(ask($url{$at}, auth => $_), $no_token,
			"$at: " . substr $_ // 'none', 0, 40) for @not;
		is(ask($url{$at}, auth => $_), 200, "$at: $_")
			for "Bearer $token", "bearer  $token";
	}
	is($d->http(GET => '/livez')->{status}, 200, 'other paths do not ask');
	my ($rc, $out) = $d->gamectl('status');
	is($rc, 0, 'nor does the admin socket');
	unlike($d->log, qr/\Q$token\E/, 'the log does not have it');

	my $p = Gamed::Prometheus->start(jobs => { map { $_ => {
			target => $url{$_} =~ s{^http://|/metrics$}{}gr,
			extra => "    authorization: {credentials: '$token'}\n",
		} } keys %url });
	ok($p->await_up($_), "$_: Prometheus with the token is let in")
		for sort keys %url;
	$p->stop;
	$d->stop;
};

subtest 'networks' => sub {
	my $d = with('metrics.allow' => "127.0.0.1, fd00::/8,127.0.8.0/21");
	my %url = listeners($d);

	for my $at (sort keys %url) {
		is(ask($url{$at}), 200, "$at: the address itself");
		is(ask($url{$at}, from => '127.0.15.255'), 200, "$at: a network");
		for my $from (qw(127.0.0.2 127.0.7.255 127.0.16.0)) {
			is(ask($url{$at}, from => $from), 403, "$at: $from");
		}
	}
	is($d->http(GET => '/livez')->{status}, 200, 'other paths do not ask');
	$d->stop;
};

subtest 'both, from the environment' => sub {
	my $d = Gamed::Daemon->start(pg => $pg, env => {
		METRICS_TOKEN => $token, METRICS_ALLOW => '127.0.0.1' });
	my %url = listeners($d);

	is(ask($url{own}), $no_token, 'no token');
	is(ask($url{own}, auth => "Bearer $token"), 200, 'both');
	is(ask($url{own}, auth => "Bearer $token", from => '127.0.0.2'), 403,
		'a token alone');
	is($d->http(GET => '/metrics',
			headers => { Authorization => "Bearer $token" })->{status},
		404, 'the API does not serve it unless told to');
	$d->write_conf('metrics.allow' => '127.0.0.2');
	$d->reload;
	is(ask($url{own}, auth => "Bearer $token"), 200,
		'a reload changes nothing');
	$d->stop;
};

done_testing;
