#!/usr/bin/perl
# The settings: etc/gamed.yaml and gamed.yaml(5) against conf_list.h and
# `gamed -T`, both ways; bad files against their messages; the unit files.
use strict;
use warnings;
use Cwd ();
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Gamed::Daemon;

my $top = "$FindBin::Bin/..";
my $gamed = "$Gamed::Daemon::BUILD/gamed";
my $dir = tempdir(CLEANUP => 1);
delete @ENV{qw(ENV HOST PORT BIND LOG_LEVEL WEB_CONCURRENCY)};

sub slurp {
	my ($path) = @_;

	open my $f, '<', $path or die "$path: $!";
	local $/;
	return scalar <$f>;
}

sub spew {
	my ($text) = @_;

	open my $f, '>', "$dir/c.yaml" or die "$dir/c.yaml: $!";
	print $f $text;
	close $f;
	return "$dir/c.yaml";
}

# {'section.key' => {default, env, restart, min, max}} of conf_list.h
sub listed {
	my $text = slurp("$top/src/conf/conf_list.h");
	my %all;

	$text =~ s{/\*.*?\*/}{}gs;
	while ($text =~ /^CONF_(\w+)\(\w+, (.*?)\)$/gms) {
		my ($type, $rest) = ($1, $2);
		my @word = $rest =~ /("(?:[^"\\]|\\.)*"|[^\s,]+)/g;
		my ($section, $key, $env, $default) = splice @word, 0, 4;
		my ($min, $max) = $type =~ /INT|NUM/ ? splice @word, 0, 2 : ();
		my $reload = shift @word;
		tr/"//d for $section, $key, $env;
		$all{"$section.$key"} = {
			default => $default, env => $env, restart => !$reload,
			min => $min, max => $max,
		};
	}
	return \%all;
}

# {'section.key' => value} of a two-level file, all lines in one form
sub settings {
	my ($yaml) = @_;
	my ($section, %all);

	for (split /\n/, $yaml) {
		$section = $1 if /^(\w+):/;
		$all{"$section.$1"} = $2 if /^  (\w+): (.*)$/;
	}
	return \%all;
}

sub gamed {
	return Gamed::Daemon::run_program($gamed, @_);
}

my $list = listed();
cmp_ok(scalar keys %$list, '>', 40, 'conf_list.h is read');
my ($rc, $printed, $err) = gamed('-T', '-c', spew(''));
is($rc, 0, 'gamed -T') or diag $err;
my $defaults = settings($printed);
is_deeply([sort keys %$defaults], [sort keys %$list],
	'gamed -T prints every setting');

# etc/gamed.yaml
my $example = slurp("$top/etc/gamed.yaml");
($rc, undef, $err) = gamed('-t', '-c', "$top/etc/gamed.yaml");
is($rc, 0, 'etc/gamed.yaml as it is') or diag $err;
(my $open = $example) =~ s/^  #(?=\w)/  /gm;
is_deeply(settings($open), $defaults,
	'etc/gamed.yaml names every setting with its default');
($rc, my $reread, $err) = gamed('-T', '-c', spew($open));
is($rc, 0, 'etc/gamed.yaml with every line in force') or diag $err;
is($reread, $printed, '... changes nothing');
my (%said, $section, $said);
for (split /\n/, $example) {
	$section = $1 if /^(\w+):/;
	$said = join ' ', grep { defined } $said, $1 if /^  # (.*)/;
	next unless /^  #(\w+): /;
	$said{"$section.$1"} = $said;
	$said = undef;
}
for my $name (sort keys %$list) {
	my ($s, $text) = ($list->{$name}, $said{$name} // '');

	is($text =~ /restart\)$/, $s->{restart},
		"etc/gamed.yaml knows whether $name needs a restart");
	is(($text =~ /\(env (\w+)/)[0] // '', $s->{env},
		"etc/gamed.yaml has the variable of $name");
}

# man/gamed.yaml.5
my $man = slurp("$top/man/gamed.yaml.5");
my %item = $man =~ /^\.It Cm (\w+\.\w+)\n((?:(?!\.It|\.El).*\n)*)/gm;
is_deeply([sort keys %item], [sort keys %$list],
	'gamed.yaml(5) describes every setting and no other');
for my $name (sort keys %item) {
	my $s = $list->{$name};
	my $default = $s->{default} =~ tr/"//dr;
	my $want = 'default ' . ($default eq '' ? 'empty' : $default)
		. ($s->{restart} ? '; restart.' : '.');
	$want = "from $s->{min} to $s->{max}; $want" if defined $s->{min};
	ok(index($item{$name}, $want) >= 0, "gamed.yaml(5) has the facts of $name")
		or diag "expected: $want\n$item{$name}";
	is(($item{$name} =~ /^\.Ev (\w+)/m)[0] // '', $s->{env},
		"gamed.yaml(5) has the variable of $name");
}

# bad files: [text, position and message]
my @bad = (
	["server:\n  workers: none\n", '2:12: .*expected an integer from 1 to 30'],
	["server:\n  workers: 31\n", '2:12: .*expected an integer from 1 to 30'],
	["server:\n  workers: 1.5\n", '2:12: .*expected an integer'],
	["server:\n  workers: '2'\n", '2:12: .*quoted text, expected an integer'],
	["server:\n  workers: {a: b}\n", '2:12: .*mapping, expected an integer'],
	["server:\n  workers:\n", '2:11: .*expected an integer'],
	["server:\n  worker: 2\n", '2:3: unknown setting "server.worker"'],
	["servers:\n  workers: 2\n", '1:1: unknown section "servers"'],
	["workers: 2\n", '1:1: unknown section "workers"'],
	["server:\n  workers: 2\n  workers: 2\n", '3:3: .*set twice'],
	["http:\nserver:\nhttp:\n", '3:1: .*stands twice'],
	["server:\n  env: production\n", '2:8: .*expected dev, test, stage or prod'],
	["server:\n  log_level: loud\n", '2:14: .*expected DEBUG, INFO'],
	["server:\n  run_dir: run\n", '2:12: .*expected an absolute path'],
	["http:\n  address: example.org\n", '2:12: .*expected a numeric address'],
	["metrics:\n  token: short\n", '2:10: .*expected 16 or more letters'],
	["metrics:\n  token: with blanks in it at all\n", '2:10: .*expected 16'],
	["metrics:\n  allow: [10.0.0.0/8, localhost]\n", '2:\d+: .*expected numeric'],
	["metrics:\n  allow: 10.0.0.1/8\n", '2:10: .*expected numeric'],
	["http:\n  access_log: 2\n", '2:15: .*expected true or false'],
	["evidence:\n  sample_rate: -0.1\n", '2:16: .*expected a number from 0 to 1'],
	["evidence:\n  sample_rate: .nan\n", '2:16: .*expected a number from 0 to 1'],
	["evidence:\n  mask: [a, [b]]\n", '2:13: .*nested value'],
	["evidence:\n  mask: ['a,b']\n", '2:10: .*comma in an item'],
	["database:\n  user: &u game\n", '2:9: anchor'],
	["database:\n  user: *u\n", '2:9: alias'],
	["database:\n  user: !t game\n", '2:9: tag'],
	["server:\n---\nserver:\n", '2:1: second document'],
	["server:\n\tworkers: 2\n", '2:1: .*expected YAML'],
	["server: [\n", '1:9: section "server": expected settings'],
	["[[[[[[[[[[[[[[[[[[", '1:1: expected sections'],
	["server: \"\n", '2:1: .*expected YAML'],
	["server:\n  run_dir: /\xff\n", '1:1: .*expected YAML'],
	['server: ' . '[' x 20000, '1:9: .*expected settings'],
);
for my $case (@bad) {
	my ($text, $want) = @$case;
	my $path = spew($text);
	my ($status, $out, $message) = gamed('-t', '-c', $path);
	(my $name = substr $text, 0, 40) =~ s/\n/\\n/g;
	is($status, 2, "$name: exit 2");
	like($message, qr/^gamed: \Q$path\E:$want/, "$name: message");
}

($rc, undef, $err) = gamed('-t', '-c', "$dir/none.yaml");
is($rc, 2, 'a file that is not there');
like($err, qr/cannot open \Q$dir\E\/none.yaml: No such file/, '... is named');
($rc, undef, $err) = gamed('-t', '-c', $dir);
is($rc, 2, 'a directory');
like($err, qr/not a regular file/, '... is refused');
($rc, undef, $err) = gamed('-t', '-c', spew('#' x 300_000));
is($rc, 2, 'a large file');
like($err, qr/larger than 262144 bytes/, '... is refused');

# environment and command line
{
	local $ENV{web_concurrency} = ' 3.0';
	local $ENV{METRICS_ENABLED} = 'F';
	(undef, my $out) = gamed('-T', '-c', spew("server:\n  workers: 5\n"));
	is(settings($out)->{'server.workers'}, 3, 'environment beats the file');
	is(settings($out)->{'metrics.enabled'}, 'false', 'truth values');
	(undef, $out) = gamed('-T', '-c', spew(''), '-w', 7);
	is(settings($out)->{'server.workers'}, 7, 'options beat the environment');
	local $ENV{PORT} = '';
	($rc, undef, $err) = gamed('-t', '-c', spew(''));
	is($rc, 2, 'an empty variable of a number');
	like($err, qr/environment variable PORT: expected an integer/, '... is named');
}
($rc, undef, $err) = gamed('-t', '-o', 'http.prt=1', '-c', spew(''));
is($rc, 2, 'an unknown setting on the command line');
like($err, qr/option -o http.prt: unknown setting/, '... is named');
($rc, undef, $err) = gamed('-t', '-c', spew("server:\n  env: prod\n"));
is($rc, 2, 'prod arms the checks');
like($err, qr/DB_NAME.*\n.*DB_HOST.*\n.*DB_USER/, '... which report all at once');
(undef, my $out) = gamed('-T', '-o', 'database.password=geheim', '-c', spew(''));
is(settings($out)->{'database.password'}, '"***"', 'secrets are not printed');
($rc, $out) = gamed('-V');
like($out, qr/^gamed \d+\.\d+/, 'gamed -V');
is((gamed('-x'))[0], 2, 'an unknown option');
is((gamed('extra'))[0], 2, 'an argument');

# the units, with a program that exists in the place of the installed one
{
	my $units = tempdir(CLEANUP => 1);
	my $text = slurp("$top/systemd/gamed.service.in");
	my $bin = Cwd::abs_path($Gamed::Daemon::BUILD);
	$text =~ s/\@s?bindir\@/$bin/g;
	$text =~ s/\@sysconfdir\@/\/etc/g;
	$text =~ s/^Documentation=.*\n//m; # the pages are not installed yet
	my $socket = slurp("$top/systemd/gamed.socket");
	$socket =~ s/^Documentation=.*\n//m;
	for (['gamed.service', $text], ['gamed.socket', $socket]) {
		open my $f, '>', "$units/$_->[0]" or die $!;
		print $f $_->[1];
		close $f;
	}
	($rc, $out, $err) = Gamed::Daemon::run_program('systemd-analyze',
		'verify', "$units/gamed.service", "$units/gamed.socket");
	is($rc, 0, 'systemd-analyze verify');
	is(join('', grep { /gamed/ } split /^/m, $out . $err), '',
		'... has nothing to say');
	($rc, $out, $err) = Gamed::Daemon::run_program('systemd-analyze',
		'security', '--offline=true', '--threshold=15', "$units/gamed.service");
	is($rc, 0, 'U2: exposure within the threshold') or diag $out, $err;
}
done_testing;
