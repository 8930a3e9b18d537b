#!/usr/bin/perl
# Bodies that cannot be read: bytes, syntax, content type, shape (api.md 2, 5),
# which is told before and whatever the credentials are.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => { 'server.workers' => 1 });
my ($rc, $key) = $d->gamectl('apikey', 'create', '--client', 'bodies');
chomp $key;
my $nobody = Gamed::Client->new(port => $d->port);
my $owner = Gamed::Client->new(port => $d->port, key => $key);
my $games = '/api/v1/games';

# "status type loc.loc", or the status and a sentence.
sub told {
	my ($r) = @_;
	my $detail = $r->{json}{detail};

	return "$r->{status} $detail" unless ref $detail;
	return join ', ', map {
		"$r->{status} $_->{type} " . join '.', @{ $_->{loc} }
	} @$detail;
}

my $unreadable = '400 There was an error parsing the body';
my $eacute = "\xc3\xa9";

for my $case (
	[ "{\"a\":\"\xff\"}", $unreadable, 'in a string' ],
	[ "{\xff}", $unreadable, 'in place of a name' ],
	[ "\xff", $unreadable, 'in place of a value' ],
	[ "{} \xc3", $unreadable, 'after the value' ],
	[ "{\"a\" 1, \"b\":\"\xed\xa0\x80\"}", $unreadable,
		'behind a syntax error' ],
	[ "{\"$eacute\":\"\xff\"}", $unreadable, 'after good ones' ],
	[ '{"a" 1}', '422 json_invalid body.5', 'no colon' ],
	[ "{\"$eacute$eacute\" 1}", '422 json_invalid body.6',
		'counted in characters' ],
	[ '{"a":01}', '422 json_invalid body.6', 'a leading zero' ],
	[ '{"a":NaN}', '422 json_invalid body.5', 'no number' ],
	[ '{"a":"\u0000"}', '422 json_invalid body.12', 'U+0000' ],
	[ '{"a":"\ud800"}', '422 json_invalid body.12', 'half a character' ],
	[ '{"a":9223372036854775808}', '422 json_invalid body.24', '2^63' ],
	[ '[' x 129 . ']' x 129, '422 json_invalid body.128', 'too deep' ],
	[ '{}{}', '422 json_invalid body.2', 'two values' ],
	[ '{"a":"' . 'x' x 65537 . '"}', '422 json_invalid body.65543',
		'a string over 64 KiB' ],
) {
	my ($body, $want, $name) = @$case;

	is(told($nobody->post($games, $body)), $want, $name);
	is(told($nobody->post($games, $body, 'X-API-Key' => 'wrong')), $want,
		"$name, before a bad key");
}

my $no_object = '422 model_attributes_type body';
for my $case ([ '[]' ], [ '"text"' ], [ '1' ], [ 'true' ],
	[ '{}', 'Content-Type' => 'text/plain' ],
	[ '{}', 'Content-Type' => 'application/jsonx' ],
	[ "\xff\x00", 'Content-Type' => 'application/octet-stream' ]) {
	my ($body, @type) = @$case;

	is(told($owner->post($games, $body, @type)), $no_object,
		"no object: @type");
	is($nobody->post($games, $body, @type)->{status}, 401,
		'told to those who may know');
}
for my $type ('application/json; charset=latin-1', 'APPLICATION/JSON',
	'application/problem+json', 'application/vnd.a.b+json ;v=1', '') {
	like(told($owner->post($games, '{}', 'Content-Type' => $type)),
		qr/^422 missing body\.externalGameId/, "is JSON: '$type'");
}
is(told($owner->post($games, '')), '422 missing body', 'no body');

my $limit = 1 << 20;
is($owner->post($games, '{"a":0}' . ' ' x ($limit - 7))->{status}, 422,
	'a body of exactly the limit is read');
like(told($owner->post($games, '{"a":0}' . ' ' x ($limit - 6))),
	qr/^413 .*\b$limit\b/, 'a byte more is refused');
is(told($nobody->post('/api/v1/strategies/custom',
	'{"a":0' . ' ' x $limit)),
	'422 json_invalid body.' . ($limit + 6),
	'a strategy may be larger');

done_testing;
