#!/usr/bin/perl
# What every command of gamectl has in common: a place in the man page, a usage
# line on wrong arguments, exit status 2 for them, and nothing on standard
# output then.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Gamed::Daemon;

my $gamectl = "$Gamed::Daemon::BUILD/gamectl";
my $page = do {
	open my $in, '<', "$FindBin::Bin/../man/gamectl.1" or die "gamectl.1: $!";
	local $/;
	<$in>;
};

sub gamectl { return Gamed::Daemon::run_program($gamectl, @_) }

my ($rc, $out) = gamectl('-h');
is($rc, 0, '-h');
my @commands = $out =~ /^  (\S+) +\S/mg;
cmp_ok(scalar @commands, '>=', 6, 'it lists the commands');

for my $command (@commands) {
	like($page, qr/^\.It Cm \Q$command\E(?: |$)/m, "$command is in gamectl(1)");
	my ($rc, $out, $err) = gamectl($command, '--no-such-option', 'x');
	is($rc, 2, "$command: wrong arguments");
	is($out, '', "$command: standard output is for results");
	like($err, qr/^usage: gamectl \Q$command\E\b/m, "$command: usage");
}
my %documented = map { $_ => 1 } $page =~ /^\.It Cm ([a-z-]+)(?: |$)/mg;
delete $documented{$_} for @commands;
is_deeply([sort keys %documented], [], 'the page has no other commands');

($rc, $out, my $err) = gamectl('nonsense');
is($rc, 2, 'no such command');
like($err, qr/there is no command nonsense/, 'says so');
($rc, $out, $err) = gamectl('-o', 'server.nonsense=1', 'status');
is($rc, 2, 'no such setting');

done_testing;
