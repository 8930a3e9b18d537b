#!/usr/bin/perl
# Holds the layers of STYLE section 1: a file includes from the rows above its
# own, never from below and never sideways, and outside libraries only where
# its folder may use them.
use strict;
use warnings;
use Test::More;
use FindBin;

my $src = "$FindBin::Bin/../src";

my %level = (
	base => 0, conf => 1, shm => 1, ipc => 1, json => 1, spool => 1,
	db => 2, dsl => 2, http => 2, auth => 2, sentry => 2,
	store => 3, engine => 3, svc => 4, api => 5,
	worker => 6, logger => 6, stats => 6, master => 6, ctl => 7,
);

# Sideways includes that are part of the design.
my %sideways = (
	'ipc>json'     => 'a record carries JSON values',
	'ipc>shm'      => 'rows are counted where they are dropped',
	'spool>ipc'    => 'rows of the trace sockets are what it keeps',
	'spool>shm'    => 'rows are counted where they are dropped',
	'auth>http'    => 'credentials are headers of a request',
	'worker>master' => 'inherit.h, what a child gets from the master',
	'logger>master' => 'inherit.h',
	'stats>master'  => 'inherit.h',
	'worker>stats'  => 'stats_prom.h, /metrics on the API listener',
	'master>worker' => 'role entry',
	'master>logger' => 'role entry',
	'master>stats'  => 'role entry',
);

my %outside = (
	'event2/'       => [qw(ipc json db http sentry svc worker logger stats)],
	'libpq-fe.h'    => [qw(db logger)],
	'json-c/'       => [qw(json)],
	'yaml.h'        => [qw(conf json)], # settings; cases of gamectl
	'systemd/'      => [qw(master)],
	'openssl/'      => [qw(base auth)],
	'curl/'         => [qw(sentry stats logger)],
	'cjose/'        => [qw(auth)],
	'hiredis/'      => [qw(auth)],
	'ncurses.h'     => [qw(ctl)],
);

my @files = sort glob("$src/*/*.[ch]");
cmp_ok(scalar @files, '>', 20, 'the source tree is there');
my $bad = 0;
for my $file (@files) {
	my ($folder, $name) = $file =~ m{/([^/]+)/([^/]+)$};
	unless (defined $level{$folder}) {
		fail("src/$folder has a level");
		$bad++;
		next;
	}
	open my $in, '<', $file or die "$file: $!";
	while (<$in>) {
		if (m{^\s*#\s*include\s+"(\w+)/}) {
			my $to = $1;
			next if $to eq $folder;
			my $fine = defined $level{$to}
				&& ($level{$to} < $level{$folder}
				|| $sideways{"$folder>$to"});
			next if $fine;
			fail("src/$folder/$name:$. includes from $to");
			$bad++;
		} elsif (m{^\s*#\s*include\s+<([^>]+)>}) {
			my $header = $1;
			for my $lib (keys %outside) {
				next unless index($header, $lib) == 0;
				next if grep { $_ eq $folder } @{ $outside{$lib} };
				fail("src/$folder/$name:$. uses <$header>");
				$bad++;
			}
		} elsif (/\b(strcpy|strcat|sprintf|vsprintf|atoi|strtok|alloca)\s*\(/) {
			fail("src/$folder/$name:$. calls $1");
			$bad++;
		}
	}
	close $in;
}
is($bad, 0, 'every include follows the layers');
done_testing;
