#!/usr/bin/perl
# gamectl apikey: create, list, revoke, and what is stored of a key.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use JSON::PP qw(decode_json);
use Gamed::Postgres;

my $top = "$FindBin::Bin/..";
my $gamectl = ($ENV{GAMED_BUILDDIR} || "$top/build") . '/gamectl';
my $pg = Gamed::Postgres->new;
$ENV{GAMED_SQLDIR} = "$top/sql";

sub gamectl {
	my (@args) = @_;
	my $pid = open my $out, '-|';
	die "fork: $!" unless defined $pid;
	if ($pid == 0) {
		open STDERR, '>&', \*STDOUT;
		exec $gamectl, '-o', 'database.uri=' . $pg->conninfo, @args
			or die "$gamectl: $!";
	}
	my $text = join '', <$out>;
	close $out;
	return ($? >> 8, $text);
}

my ($rc, $out) = gamectl('apikey', 'list');
is($rc, 1, 'without the schema there is no list');
like($out, qr/apikey/, 'and a reason');
($rc, $out) = gamectl('migrate');
is($rc, 0, 'migrated') or diag $out;

($rc, $out) = gamectl('apikey', 'create', '--client', 'sensors',
	'--description', "Dona\x{c3}\x{b1}a");
is($rc, 0, 'a key is made');
my ($prefix) = $out =~ /\A(gme_live_[A-Za-z0-9_-]{8})\.[A-Za-z0-9_-]{32}\n\z/;
ok($prefix, 'of the documented shape') or diag $out;
chomp(my $key = $out);

($rc, $out) = gamectl('--json', 'apikey', 'create', '--admin', '--client',
	'ops');
is($rc, 0, 'an admin key is made');
my $admin = decode_json($out);
is_deeply([@$admin{qw(client admin)}], ['ops', JSON::PP::true],
	'and told as JSON');
is(index($admin->{key}, "$admin->{prefix}."), 0, 'with its prefix');

is($pg->psql('SELECT "apiKey", "apiKeyHash", client, active, "createdBy", '
	. 'created_at IS NOT NULL FROM apikey ORDER BY created_at'),
	join("\n", "$prefix|" . sha256_hex($key) . '|sensors|t|gamectl|t',
		"$admin->{prefix}|" . sha256_hex($admin->{key})
		. '|ops|t|gamectl|t'), 'prefix and hash are stored');
is($pg->psql('SELECT prefix FROM gamed.admin_key'), $admin->{prefix},
	'one of them is an admin key');
my $secret = substr $key, length($prefix) + 1;
unlike($pg->psql('SELECT a::text FROM apikey a'), qr/\Q$secret\E/,
	'the plaintext is nowhere');

($rc, $out) = gamectl('apikey', 'list', '--json');
my @list = map { decode_json($_) } split /\n/, $out;
is_deeply([map { $_->{prefix} } @list], [$prefix, $admin->{prefix}],
	'both are listed, the oldest first');
is_deeply([@{ $list[0] }{qw(client description active admin)}],
	['sensors', "Dona\x{f1}a", JSON::PP::true, JSON::PP::false],
	'with what they are');
like($list[0]{created_at}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/,
	'and when they were made');

($rc, $out) = gamectl('apikey', 'revoke', $prefix);
is("$rc $out", "0 $prefix revoked\n", 'a key is revoked');
($rc, $out) = gamectl('apikey', 'revoke', $prefix, '--json');
is_deeply([$rc, decode_json($out)],
	[0, { prefix => $prefix, revoked => JSON::PP::false }],
	'which can be repeated');
is($pg->psql('SELECT "apiKey" FROM apikey WHERE NOT active'), $prefix,
	'the row stays, inactive');
($rc, $out) = gamectl('apikey', 'list');
like($out, qr/^\Q$prefix\E\s+revoked/m, 'and so it is listed');

($rc, $out) = gamectl('apikey', 'revoke', 'gme_live_nobody');
is($rc, 1, 'an unknown prefix is an error');
like($out, qr/no API key gme_live_nobody/, 'that names it');
for my $bad (['create'], ['create', '--client', ''], ['create', '--client',
	'x', 'y'], ['revoke'], ['list', 'x'], ['forget'], []) {
	($rc, $out) = gamectl('apikey', @$bad);
	is($rc, 2, "usage: apikey @$bad");
}
($rc, $out) = gamectl('apikey', 'create', '--client', "\xff");
is($rc, 1, 'a name that is not UTF-8 is refused');
is($pg->psql('SELECT count(*) FROM apikey'), 2, 'and nothing was made');

done_testing;
