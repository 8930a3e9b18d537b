#!/usr/bin/perl
# What Prometheus itself says of a live scrape: promtool finds nothing to
# blame, and a server that scrapes both listeners has every family of it.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use File::Temp qw(tempdir);
use HTTP::Tiny;
use Gamed::Daemon;
use Gamed::Postgres;
use Gamed::Prometheus;

my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => { 'server.workers' => 2,
	'metrics.on_api' => 'true' });
my $url = 'http://127.0.0.1:' . $d->metrics_port . '/metrics';

$d->http(GET => '/api/v1/games') for 1 .. 5;
my $text = HTTP::Tiny->new(timeout => 10)->get($url)->{content};
my %type = $text =~ /^# TYPE (\S+) (\S+)$/mg;

cmp_ok(scalar keys %type, '>', 40, 'families');

my $dir = tempdir('gd-scrape.XXXXXX', DIR => '/tmp', CLEANUP => 1);

sub write_file {
	my ($path, $content) = @_;
	open my $f, '>', $path or die "$path: $!";
	print $f $content;
	return close $f;
}

write_file("$dir/scrape", $text);
my $said = `promtool check metrics < $dir/scrape 2>&1`;
is($? >> 8, 0, 'promtool check metrics') or diag $said;
is($said, '', 'has nothing to say');
# that it would say something
write_file("$dir/broken", "# TYPE a counter\na 1\na 1\n");
$said = `promtool check metrics < $dir/broken 2>&1`;
isnt($? >> 8, 0, 'of a broken one it has');

# ---- a server ---------------------------------------------------------------

my $p = Gamed::Prometheus->start(jobs => {
	own => { target => '127.0.0.1:' . $d->metrics_port },
	api => { target => '127.0.0.1:' . $d->port },
});

for my $job (qw(own api)) {
	subtest "job $job" => sub {
		ok($p->await_up($job), 'the target is up');
		my %there;
		ok(Gamed::Daemon::eventually(sub {
			my $names = $p->data("label/__name__/values?match[]=%7Bjob=%22$job%22%7D")
				or return;
			%there = map { $_ => 1 } @$names;
			return $there{gamed_build_info};
		}), 'and its series');
		my %suffix = (histogram => '_bucket', summary => '_sum');
		# of one with labels nothing may have been seen yet
		my @missing = grep { my $name = $_ . ($suffix{ $type{$_} } // '');
			!$there{$name} && $text =~ /^\Q$name\E[ {]/m
		} sort keys %type;
		is_deeply(\@missing, [], 'every family');
		my $q = $p->data("query?query=http_requests_total%7Bjob=%22$job%22,"
			. 'handler=%22/api/v1/games%22,method=%22GET%22,status=%224xx%22%7D');
		is($q->{result}[0]{value}[1], 5, 'with the value that was counted');
	};
}

$p->stop;
$d->stop;
done_testing;
