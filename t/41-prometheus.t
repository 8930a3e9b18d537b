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
use Gamed::Campaign;
use Gamed::Daemon;
use Gamed::Postgres;
use Gamed::Prometheus;

my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => { 'server.workers' => 2,
	'metrics.on_api' => 'true', 'evidence.sample_rate' => 1 });
my $url = 'http://127.0.0.1:' . $d->metrics_port . '/metrics';

my $made = Gamed::Campaign->make($d, 'scraped');
my $award = $made->client($d)->post($made->awards,
	{ externalUserId => 'user', data => { n => 3 } });
is($award->{status}, 200, 'an award') or diag $award->{body};

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

# ---- the page ---------------------------------------------------------------

# doc/metrics.md and the scrape say the same of every family: type and labels.
subtest 'doc/metrics.md' => sub {
	my ($page, %doc, %labels) = ('');

	open my $in, '<', "$FindBin::Bin/../doc/metrics.md" or die $!;
	{ local $/; $page = <$in>; }
	while ($page =~ /^\| `((?:http|dsl|gamed|process)_\w+)` \| (.*?) \| (.*?) ?\| (.*?) ?\| (.+) \|$/mg) {
		my ($name, $type, $labels, $meaning) = ($1, $2, $3, $5);

		ok(!$doc{$name}, "$name stands there once") if $doc{$name};
		$doc{$name} = "$type " . join ' ', $labels =~ /`(\w+)`/g;
		like($meaning, qr/\w{4}/, "$name: what it means");
	}
	for my $line (grep { !/^#/ } split /\n/, $text) {
		my ($series, $inside) = $line =~ /^(\w+)(?:\{(.*)\})? /;
		my ($name) = grep { $type{$_} } $series,
			$series =~ s/_(?:bucket|count|sum)$//r;

		$labels{$name}{$_} = 1 for grep { $_ ne 'le' }
			($inside // '') =~ /(\w+)="(?:[^"\\]|\\.)*"/g;
	}
	my %there = map { ($_ => "$type{$_} "
		. join ' ', sort keys %{ $labels{$_} || {} }) } keys %type;
	is_deeply([sort keys %doc], [sort keys %there], 'the same families')
		or diag 'only there: ', join(' ', grep { !$doc{$_} } sort keys %there),
		'; only here: ', join ' ', grep { !$there{$_} } sort keys %doc;
	is($doc{$_}, $there{$_}, "$_: type and labels")
		for grep { $there{$_} } sort keys %doc;
};

# ---- a server ---------------------------------------------------------------

my $p = Gamed::Prometheus->start(jobs => {
	own => { target => '127.0.0.1:' . $d->metrics_port },
	api => { target => '127.0.0.1:' . $d->port },
}, args => ['--enable-feature=exemplar-storage']);

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

subtest 'exemplars' => sub {
	my $id = $award->{headers}{'x-trace-id'};
	my $found;

	ok(Gamed::Daemon::eventually(sub {
		my $data = $p->data('query_exemplars?query='
			. 'dsl_execution_duration_seconds_bucket%7Bjob=%22own%22%7D'
			. '&start=' . (time - 600) . '&end=' . (time + 600)) or return;
		($found) = grep { $_->{labels}{trace_id} eq $id }
			map { @{ $_->{exemplars} } } @$data;
		return $found;
	}), 'Prometheus has the one of the award');
	is($pg->psql("select count(*) from strategyexecutionlog where id = '$id'"),
		1, 'whose row is stored');
};

$p->stop;
$d->stop;
done_testing;
