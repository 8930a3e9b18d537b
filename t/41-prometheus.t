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
use JSON::PP ();
use POSIX ();
use Gamed::Daemon;
use Gamed::Postgres;

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

my $port = Gamed::Daemon::free_port();
write_file("$dir/prometheus.yml", <<"YAML");
global: {scrape_interval: 500ms}
scrape_configs:
  - job_name: own
    static_configs: [{targets: ['127.0.0.1:${\ $d->metrics_port}']}]
  - job_name: api
    static_configs: [{targets: ['127.0.0.1:${\ $d->port}']}]
YAML
my $pid = fork // die "fork: $!";
if ($pid == 0) {
	open STDIN, '<', '/dev/null';
	open STDOUT, '>', "$dir/log";
	open STDERR, '>&', \*STDOUT;
	exec 'prometheus', "--config.file=$dir/prometheus.yml",
		"--storage.tsdb.path=$dir/data",
		"--web.listen-address=127.0.0.1:$port"
		or POSIX::_exit(127);
}

END {
	if ($pid) {
		local $?;
		kill TERM => $pid;
		waitpid $pid, 0;
	}
}

# The data of an answer of its API, undef while there is none.
sub prom {
	my ($path) = @_;
	my $r = HTTP::Tiny->new(timeout => 5)
		->get("http://127.0.0.1:$port/api/v1/$path");

	return unless $r->{success};
	return JSON::PP::decode_json($r->{content})->{data};
}

for my $job (qw(own api)) {
	subtest "job $job" => sub {
		ok(Gamed::Daemon::eventually(sub {
			my $t = prom('targets') or return;
			return grep { $_->{health} eq 'up'
					&& $_->{labels}{job} eq $job }
				@{ $t->{activeTargets} };
		}), 'the target is up');
		my %there;
		ok(Gamed::Daemon::eventually(sub {
			my $names = prom("label/__name__/values?match[]=%7Bjob=%22$job%22%7D")
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
		my $q = prom("query?query=http_requests_total%7Bjob=%22$job%22,"
			. 'handler=%22/api/v1/games%22,method=%22GET%22,status=%224xx%22%7D');
		is($q->{result}[0]{value}[1], 5, 'with the value that was counted');
	};
}

$d->stop;
done_testing;
