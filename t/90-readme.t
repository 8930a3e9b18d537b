#!/usr/bin/perl
# Runs the console blocks of README.md against a fresh server, in order and in
# one shell, and compares what they print with what the page says.
use strict;
use warnings;
use Cwd qw(abs_path);
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Test::More;
use Gamed::Postgres;
use Gamed::Daemon;

my $top = "$FindBin::Bin/..";

# [command, expected output] in the order of the page.
sub examples {
	my @found;
	open my $in, '<', "$top/README.md" or die "README.md: $!";
	my $inside = 0;
	while (<$in>) {
		if (/^```(\w*)/) {
			$inside = $1 eq 'console';
		} elsif ($inside && s/^\$ //) {
			push @found, [ $_, '' ];
		} elsif ($inside) {
			$found[-1][1] .= $_;
		}
	}
	close $in;
	return @found;
}

my @examples = examples();
cmp_ok(scalar @examples, '>=', 10, 'README.md has console examples');

my $pg     = Gamed::Postgres->new;
my $daemon = Gamed::Daemon->start(pg => $pg,
	conf => { 'evidence.sample_rate' => 1 });

sub apikey {
	my ($rc, $out, $err) = $daemon->gamectl('--json', 'apikey', 'create',
		'--client', 'readme', @_);
	die "gamectl apikey create: $err" if $rc != 0;
	return decode_json($out)->{key};
}
$ENV{PATH}      = abs_path($Gamed::Daemon::BUILD) . ":$ENV{PATH}";
$ENV{URL}       = $daemon->url;
$ENV{KEY}       = apikey();
$ENV{ADMIN_KEY} = apikey('--admin');

# Each command's output is framed, so that one shell can run them all.
my $script = "cd '$top' || exit 1\n"
	. "gamectl() { command gamectl -c '" . $daemon->conf_path . "' \"\$@\"; }\n";
for my $i (0 .. $#examples) {
	$script .= $examples[$i][0] . "printf '\\036%d\\n' $i\n";
}
open my $sh, '-|', 'bash', '-c', $script or die "bash: $!";
my $out = do { local $/; <$sh> };
close $sh;
my @got = split /\036\d+\n/, $out, -1;
for my $i (0 .. $#examples) {
	my ($command, $want) = @{ $examples[$i] };
	(my $name = $command) =~ s/\n//;
	$name = substr($name, 0, 70);
	(my $got = $got[$i] // "") =~ s{\n\z}{};
	$want =~ s{\n\z}{};
	is($got, $want, $name);
}
$daemon->stop;
done_testing;
