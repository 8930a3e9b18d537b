#!/usr/bin/perl
# Layout, man pages, shell scripts and the unit file, each checked by the tool
# that decides it.  Nothing is skipped: the tools are test dependencies.
use strict;
use warnings;
use Test::More;
use FindBin;

my $top = "$FindBin::Bin/..";
chdir $top or die "$top: $!";

# Runs a command; returns its exit status and everything it printed.
sub run {
	my $out = `$_[0] 2>&1`;
	return ($? >> 8, $out);
}

sub clean {
	my ($name, $command) = @_;
	my ($rc, $out) = run($command);
	ok($rc == 0 && $out eq '', $name) or diag $out;
}

my @c = grep { !/_list\.h$/ } map { sort glob $_ }
	qw(src/*.[ch] src/*/*.[ch] t/unit/*.[ch] bench/*.[ch] fuzz/*.[ch]);
clean('clang-format decides the layout',
	"clang-format --dry-run --Werror @c 2>&1 | head -40");

my @scripts = grep { -f } (qw(quickstart runtests bootstrap .ci/run),
	glob('bench/*.sh'), 't/lib/setup.sh', 't/lib/pg-private');
clean('shellcheck has nothing to say', "shellcheck -x @scripts");

my @man = sort glob 'man/*.[1-8]';
for my $page (@man) {
	clean("$page is clean for mandoc", "mandoc -T lint -W warning $page");
}

my @perl = grep { -f } glob('examples/*/* t/*.t t/lib/Gamed/*.pm');
for my $file (@perl) {
	open my $in, '<', $file or die "$file: $!";
	my $first = <$in>;
	close $in;
	next unless $file =~ /\.(t|pm)$/ || $first =~ /perl/;
	my ($rc, $out) = run("perl -It/lib -wc $file");
	is($rc, 0, "$file compiles") or diag $out;
}
done_testing;
