#!/usr/bin/perl
# ./quickstart --once, as a newcomer runs it, twice in a row: the show, its
# numbers, and nothing left behind.
use strict;
use warnings;
use FindBin;
use Test::More;

plan skip_all => 'quickstart makes a build of its own: run with the plain one'
	if ($ENV{GAMED_BUILDDIR} // '') =~ /asan/;

my $top = "$FindBin::Bin/..";
my $events = 2400;

sub leftovers {
	return grep { -d } glob '/tmp/gamed-quickstart.*';
}

for my $round (1, 2) {
	my $before = leftovers();
	my $out = `cd '$top' && timeout 300 ./quickstart --once 2>&1`;
	is($? >> 8, 0, "round $round ends well") or diag $out;
	my ($sent) = $out =~ /^(\d+) events over \d+ connections/m;
	is($sent, $events, 'every event was sent');
	my %by_status = $out =~ /^ +(\d+) answered (\d+)$/mg;
	%by_status = reverse %by_status;
	is($by_status{404}, 37, 'events of an unknown task are refused');
	cmp_ok($by_status{400}, '>', 20, 'broken measurements are refused');
	is($by_status{200} + $by_status{400} + $by_status{404}, $events,
		'and every other one is awarded');
	like($out, qr/\n *PriorityZone +\| +\d+ +\| +\d+/,
		'awards by case name');
	like($out, qr/\n +\d+  citizen-\d{3}\n/, 'top users');
	like($out, qr/status error DSL_COMPARE_TYPE_MISMATCH|DslExecutionError/,
		'an award that failed, and why');
	like($out, qr/kept because sampled \(weight 20\)/,
		'a kept run');
	my $awards = $by_status{200};
	like($out, qr/\n64 users, $awards awards, .* 0 differences/,
		'the points check');
	like($out, qr/\ndsl_execution_nodes_total\{.*\} \d+/, 'the scrape');
	like($out, qr/\nworker +\d+ +\d+/, 'the processes');
	is(scalar leftovers(), $before, 'nothing is left behind');
}
done_testing;
