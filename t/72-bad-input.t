#!/usr/bin/perl
# Whatever a client sends: the documented status and body, bounded memory, and
# a server that goes on (api.md 1, 2, 5; DESIGN 11 "JSON in"; hardening H9, H11,
# H12, J1, J2).
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Select;
use Socket qw(SOL_SOCKET SO_LINGER);
use JSON::PP ();
use Time::HiRes qw(time sleep);
use Gamed::Api;
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

my $JSON = JSON::PP->new->utf8->canonical->allow_nonref;
my $MIB = 1 << 20;
my $sanitized = `nm -D '$Gamed::Daemon::BUILD/gamed' 2>/dev/null` =~ /__asan_/;
my $pg = Gamed::Postgres->new;
# one worker: every request of this test must find the same process alive
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'server.workers' => 1,
	'http.access_log' => 'false',
	# of the listing that is larger than any client should want
	'database.statement_timeout_ms' => 20000,
	'database.lock_timeout_ms' => 20000,
	'http.handler_timeout_ms' => 20000,
});
my $key = new_key($d, 'owner');
my $admin_key = new_key($d, 'admin', '--admin');
my ($worker) = $d->pids('worker');

sub client { return Gamed::Client->new(port => $d->port, key => $_[0]) }
my $owner = client($key);
my $anybody = client(undef);

my $V = '/api/v1';
my $S = "$V/strategies/custom";
my $game = $owner->post("$V/games",
	{ externalGameId => 'the-game', platform => 'web' })->{json}{gameId};
my $T = "$V/games/$game/tasks";
is($owner->post($T, { externalTaskId => 'plain' })->{status}, 200, 'a task');
my $A = "$T/plain/points";

sub same_worker {
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($now) = $d->pids('worker');
	my $ok = is($now // 'none', $worker, "$name: the worker lives");
	$worker = $now;
	return $ok;
}

sub award_body { return qq({"externalUserId":"user-1","data":$_[0]}) }

# ---- JSON -------------------------------------------------------------------------

subtest 'J1: text that is no JSON' => sub {
	my @cases = (
		# body, where the reader stopped
		[ ' ', 1 ], [ '{', 1 ], [ '{"a"', 4 ], [ '{"a":', 5 ],
		[ '{"a":1', 6 ], [ '{"a" 1}', 5 ], [ "{'a':1}", 1 ], [ '{a:1}', 1 ],
		[ '{"a":1,}', 7 ], [ '{,}', 1 ], [ '[1,]', 3 ], [ '[1 2]', 3 ],
		[ '[', 1 ], [ ']', 0 ], [ '}', 0 ], [ '[}', 1 ], [ '{]', 1 ],
		[ '{} x', 3 ], [ '{}{}', 2 ], [ '{}]', 2 ], [ '/**/{}', 0 ],
		[ '{}//x', 2 ], [ "\xef\xbb\xbf{}", undef ],
		[ 'NaN', 0 ], [ '{"a":NaN}', 5 ], [ '[Infinity]', 1 ],
		[ '[-Infinity]', undef ], [ 'nul', 0 ], [ 'True', 0 ],
		[ '[truex]', undef ], [ 'undefined', 0 ],
		[ '[01]', undef ], [ '[-01]', undef ], [ '[1.]', undef ],
		[ '[.5]', 1 ], [ '[+1]', 1 ], [ '[1e]', undef ], [ '[1e+]', undef ],
		[ '[-]', undef ], [ '[--1]', undef ], [ '[0x10]', undef ],
		[ '"', undef ], [ '"a', undef ], [ '"\\x"', undef ],
		[ '"\\u12"', undef ], [ '"\\u12G4"', undef ], [ '"\\', undef ],
		[ "\"a\nb\"", undef ], [ "\"a\tb\"", undef ], [ "\"\x00\"", undef ],
		[ "\x00", 0 ], [ "{}\x00", 2 ],
		# text that cannot be stored
		[ '{"a":"\\u0000"}', undef ], [ '{"\\u0000":1}', undef ],
		[ '{"a\\u0000b":1}', undef ], [ '"\\ud800"', undef ],
		[ '"\\udc00"', undef ], [ '"\\ud800\\u0041"', undef ],
		[ '"\\ud800x"', undef ], [ '"\\udc00\\ud800"', undef ],
		# numbers that cannot be held
		[ '[9223372036854775808]', undef ],
		[ '[-9223372036854775809]', undef ],
		[ '[18446744073709551616]', undef ], [ '[1e400]', undef ],
		[ '[' . '9' x 2000 . ']', undef ],
		[ '[0.' . '1' x 2000 . ']', undef ],
	);
	for my $path ($A, $S) {
		for (@cases) {
			my ($body, $at) = @$_;
			my $r = $owner->post($path, $body);
			my $name = substr $body =~ s/[^ -~]/?/gr, 0, 24;
			my $items = items_of($r);
			refused("'$name'", $r, 422, $items);
			like($items, qr/\Ajson_invalid body\.\d+\z/, 'json_invalid');
			is($items, "json_invalid body.$at", 'at its place')
				if defined $at;
			my $item = $r->{json}{detail}[0];
			is_deeply($item->{input}, {}, 'no input');
			ok(length $item->{ctx}{error}, 'the reader says why');
		}
	}
	same_worker('no JSON');
};

subtest 'J1: bytes that are no UTF-8' => sub {
	my @bad = ("\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc3", "\xc3(",
		"\xe2\x82", "\xe0\x80\x80", "\xed\xa0\x80", "\xed\xbf\xbf",
		"\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80",
		"\xfe", "\xff", "\xf0\x9f\x98");
	for my $bytes (@bad) {
		my $hex = unpack 'H*', $bytes;
		for my $body ($bytes, qq({"a":]"$bytes"), qq({"a":1}$bytes),
			"[1e400,\"$bytes\"]",qq({"externalUserId":"$bytes"}), qq({"$bytes":1}),
			qq({"a":["x$bytes)) {
			for my $who ($owner, $anybody) {
				is(refused("$hex", $who->post($A, $body), 400),
					'There was an error parsing the body', 'its text');
			}
		}
	}
	same_worker('no UTF-8');
};

subtest 'J2: exact edges' => sub {
	my $nest = sub {
		my ($open, $close, $n, $in) = @_;
		return $open x $n . ($in // '') . $close x $n;
	};
	my $member = sub { return $nest->('{"a":', '}', $_[0], 1) };
	my @cases = (
		# award_body is two levels by itself
		[ 'arrays 128 deep', award_body(qq({"a":@{[ $nest->('[', ']', 126) ]}})),
			200 ],
		[ 'arrays 129 deep', award_body(qq({"a":@{[ $nest->('[', ']', 127) ]}})),
			422 ],
		[ 'objects 128 deep', award_body($member->(127)), 200 ],
		[ 'objects 129 deep', award_body($member->(128)), 422 ],
		[ 'a million open brackets', '[' x (1 << 20), 422 ],
		[ 'a string of 65536 bytes', award_body(
			'{"s":"' . 'x' x 65536 . '"}'), 200 ],
		[ 'a string of 65537 bytes', award_body(
			'{"s":"' . 'x' x 65537 . '"}'), 422 ],
		[ '65536 bytes in UTF-8', award_body(
			'{"s":"' . "\xc3\xa9" x 32768 . '"}'), 200 ],
		[ 'more than 65536 bytes in UTF-8', award_body(
			'{"s":"' . "\xc3\xa9" x 32768 . 'x"}'), 422 ],
		[ 'escapes count what they mean', award_body(
			'{"s":"' . '\\u00e9' x 32768 . '"}'), 200 ],
		[ 'also when it is too much', award_body(
			'{"s":"' . '\\u00e9' x 32769 . '"}'), 422 ],
		[ 'a name of 65537 bytes', award_body(
			'{"' . 'x' x 65537 . '":1}'), 422 ],
		# two objects and the user are values too
		[ '100000 values', award_body('{"a":[' . join(',', (1) x 99996)
			. ']}'), 200 ],
		[ '100001 values', award_body('{"a":[' . join(',', (1) x 99997)
			. ']}'), 422 ],
		[ 'the largest integer', award_body('{"a":9223372036854775807}'), 200 ],
		[ 'the smallest', award_body('{"a":-9223372036854775808}'), 200 ],
		[ 'the largest float', award_body('{"a":1.7976931348623157e308}'),
			200 ],
		[ 'a float that vanishes', award_body('{"a":1e-400}'), 200 ],
		[ 'minus zero', award_body('{"a":-0,"b":-0.0}'), 200 ],
		[ 'all of Unicode', award_body('{"a":"\\u0001\\u007f\\uffff'
			. "\xf4\x8f\xbf\xbf\\ud83d\\ude00\"}"), 200 ],
		[ 'blanks', " \t\r\n" . award_body('{ } ') . " \t\r\n", 200 ],
		[ 'the last of two members', '{"externalUserId":5,'
			. '"externalUserId":"user-1","data":1,"data":{}}', 200 ],
	);
	for (@cases) {
		my ($name, $body, $status) = @$_;
		my $r = $owner->post($A, $body);
		is($r->{status}, $status, "$name: $status")
			or diag substr $r->{body}, 0, 300;
		like(items_of($r), qr/\Ajson_invalid body\.\d+\z/, $name)
			if $status == 422;
	}
	is($pg->psql(q(select max(length(data->>'s')) from userpoints)), 65536,
		'what was accepted is stored');
	same_worker('edges');
};

subtest 'bodies that are no object' => sub {
	for my $body ('[]', '1', '"x"', 'true', '1.5', '[{"externalUserId":"u"}]',
		'null') {
		refused($body, $owner->post($A, $body), 422,
			'model_attributes_type body');
	}
	for my $path ($A, $S, $T, "$V/games") {
		my $r = $owner->post($path);
		refused("$path without a body", $r, 422, 'missing body');
		is($r->{json}{detail}[0]{input}, undef, 'its input is null');
	}
	my $good = award_body('{}');
	for my $type ('application/json; charset=utf-8', 'APPLICATION/JSON',
		'application/problem+json', ' application/json ;a=b', '') {
		is($owner->post($A, $good, 'Content-Type' => $type)->{status}, 200,
			"Content-Type: $type");
	}
	for my $type ('text/plain', 'application/x-www-form-urlencoded',
		'multipart/form-data; boundary=x', 'application/jsonx',
		'application/xml', 'json', 'text/json', 'x/y+json', '*/*') {
		my $r = $owner->post($A, $good, 'Content-Type' => $type);
		refused("Content-Type: $type", $r, 422, 'model_attributes_type body');
		is($r->{json}{detail}[0]{input}, $good, 'the text is the input');
	}
	for my $path ("$V/games", "$S?limit=1", '/livez') {
		is($owner->request('GET', $path, '{"a":')->{status}, 200,
			"a body where none is wanted: $path");
	}
};

subtest 'an answer of many items is bounded' => sub {
	my $body = $JSON->encode({ externalGameId => 'items', platform => 'p',
		params => [ ({}) x 20000 ] });
	my $r = $owner->post("$V/games", $body);
	is($r->{status}, 422, 'refused');
	cmp_ok(scalar @{ $r->{json}{detail} }, '<=', 100, 'at most 100 items');
	$body = $JSON->encode({ externalGameId => 'items', platform => 'p',
		params => [ map { { key => 'k', value => [ 'x' x 60000 ] } } 1 .. 15 ] });
	$r = $owner->post("$V/games", $body);
	is($r->{status}, 422, 'large inputs');
	same_worker('items');
};

# ---- sizes ----------------------------------------------------------------------------

# A body of exactly that many bytes: strings of 60,000 in a member that nobody
# knows.
sub padded {
	my ($size, $start) = @_;
	my $body = "{$start,\"pad\":[";
	my $left = $size - length($body) - 2;

	while ($left > 60003 + 3) {
		$body .= '"' . 'x' x 60000 . '",';
		$left -= 60003;
	}
	return $body . '"' . 'x' x ($left - 2) . '"]}';
}

subtest 'the body limits' => sub {
	my $start = '"externalUserId":"user-1"';

	is(length padded($MIB, $start), $MIB, 'the test counts well');
	is($owner->post($A, padded($MIB, $start))->{status}, 200, '1 MiB');
	for my $who ($owner, $anybody) {
		refused('1 MiB and a byte', $who->post($A, padded($MIB + 1, $start)),
			413);
	}
	refused('the size before the JSON', $owner->post($A, '[' x ($MIB + 1)),
		413);
	refused('the route before the size',
		$owner->post("$V/nowhere", ' ' x ($MIB + 1)), 404);
	is($owner->post($S, padded($MIB + 1, '"name":"large"'))->{status}, 201,
		'a strategy may be larger');
	is($owner->post($S, padded(8 * $MIB, '"name":"largest"'))->{status}, 201,
		'8 MiB');
	my $big = padded(8 * $MIB + 1, '"name":"too-large"');
	my ($r) = answers_of(talk($d, "POST $S HTTP/1.1\r\nHost: h\r\n"
		. "X-API-Key: $key\r\nContent-Length: " . length($big)
		. "\r\n\r\n$big", 1));
	is($r ? $r->{status} : 'none', 413, '8 MiB and a byte');
	my $chunks = join '', map { sprintf "%x\r\n%s\r\n", 65536, 'x' x 65536 }
		1 .. 17;
	($r) = answers_of(talk($d, "POST $A HTTP/1.1\r\nHost: h\r\n"
		. "X-API-Key: $key\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n"
		. "\r\n", 1));
	is($r->{status}, 413, 'in chunks') or diag explain $r;
	my $body = award_body('{}');
	($r) = answers_of(talk($d, "POST $A HTTP/1.1\r\nHost: h\r\n"
		. "X-API-Key: $key\r\nTransfer-Encoding: chunked\r\n\r\n"
		. join('', map { "1\r\n$_\r\n" } split //, $body) . "0\r\n\r\n", 1));
	is($r->{status}, 200, 'chunks of one byte') or diag explain $r;
	($r) = answers_of(talk($d, "GET /livez HTTP/1.1\r\nHost: h\r\nX: "
		. 'x' x 20000 . "\r\n\r\n", 1));
	isnt($r->{status}, 200, 'a head past 16 KiB');
	($r) = answers_of(talk($d, 'GET /livez?' . 'x' x 20000
		. " HTTP/1.1\r\nHost: h\r\n\r\n", 1));
	isnt($r->{status}, 200, 'a target past it');
	same_worker('sizes');
};

# ---- routes -----------------------------------------------------------------------------

subtest 'H12: paths' => sub {
	my @nowhere = ('/', '//', '/x', '/livez/x', '//livez', '/LIVEZ',
		'/./livez', '/x/../livez', '/%2e/livez', '/livez%00', '/livez%20',
		'/%00', '/api', '/api/v1', '/api/v1/', '/api/v1/game',
		'/api/v2/games', "$V//games", '/api//v1/games', "$V/games/%00",
		"$V/games/%2F", "$V/games/a%2Fb", "$V/games/a%2fb", "$V/games/.",
		"$V/games/..", "$V/games/%2e", "$V/games/%2E%2e", "$V/games/.%2e",
		"$V/games/%", "$V/games/%4", "$V/games/%zz", "$V/games/%u0041",
		"$V/games/%ff", "$V/games/%c0%af", "$V/games/%ed%a0%80",
		"$V/games/%0a", "$V/games/a%0db", "$V/games/%7f", "$V/games/%1b",
		"$V/games/\xff", "$V/games/$game/", "$V/games/$game//",
		"$V/games/$game/nothing", "$V/games/$game/users",
		"$V/games/$game/tasks/..%2fplain/points",
		"$V/games/$game/tasks//points", "$V/games/$game/tasks/a/b/points",
		"$V/strategies/custom/a/b/c", "$V/%67ames%2f");
	for my $path (@nowhere) {
		next if $path =~ m{\Q$game\E/(users)?\z}; # routes of other pages
		my $name = $path =~ s/[^ -~]/?/gr;
		is(refused("GET $name", $owner->get($path), 404), 'Not Found',
			'its text');
	}
	is($owner->get("$V/%67ames")->{status}, 200, 'a segment is decoded');
	is($owner->get("$V/games/%2567")->{status}, 422, 'and only once');
	for my $task ('a b', 'a+b', "\xc3\xa9", 'a?b#c', '%', 'points', '...', '"',
		'a;b=c', 'x' x 255) {
		my $enc = $task =~ s/([^A-Za-z0-9.;=+])/sprintf '%%%02X', ord $1/ger;
		is($owner->post($T, $JSON->encode({ externalTaskId =>
			do { utf8::decode(my $t = $task); $t } }))->{status}, 200,
			'a task of any name');
		is($owner->post("$T/$enc/points", award_body('{}'))->{status}, 200,
			'is found by it') or diag $enc;
	}
	same_worker('paths');
};

subtest 'trailing slashes' => sub {
	for my $case ([ GET => '/livez/', '/livez' ],
		[ GET => "$V/games/?page=1&x=%2F", "$V/games?page=1&x=%2F" ],
		[ POST => "$V/games/", "$V/games" ],
		[ DELETE => "$V/games/", "$V/games" ],
		[ GET => "$V/games/$game/tasks/", "$V/games/$game/tasks" ]) {
		my ($method, $path, $to) = @$case;
		my $r = $anybody->request($method, $path,
			$method eq 'POST' ? '{' : undef, Host => 'example.org:81');
		is($r->{status}, 307, "$method $path");
		like($r->{headers}{location}, qr{\Ahttp://[^/]+\Q$to\E\z}, 'to');
		is($r->{body}, '', 'without a body');
		is($r->{headers}{'x-content-type-options'}, 'nosniff', 'nosniff');
	}
	my ($r) = answers_of(talk($d, "GET /livez/ HTTP/1.1\r\n"
		. "Host: example.org:81\r\n\r\n", 1));
	is($r->{headers}{location}, 'http://example.org:81/livez',
		'the host is the request\'s');
	# these would end up in the header's value
	for my $head ("GET /livez/?a\rX: y HTTP/1.1\r\nHost: h",
		"GET /livez/?a\x01b HTTP/1.1\r\nHost: h",
		"GET /livez/ HTTP/1.1\r\nHost: a\r b",
		"GET /livez/ HTTP/1.1\r\nHost: a b",
		"GET /livez/ HTTP/1.1\r\nHost: a\x01",
		"GET /livez/ HTTP/1.0") {
		($r) = answers_of(talk($d, "$head\r\n\r\n", 1, 3));
		unlike($r ? $r->{status} : 'closed', qr/\A[23]/, 'refused: '
			. $head =~ s/[^ -~]/?/gr);
	}
	same_worker('slashes');
};

subtest 'methods' => sub {
	my %allow = (
		'/livez' => 'GET', '/readyz' => 'GET', '/metrics' => 'GET',
		"$V/kpi/health_check" => 'GET', "$V/games" => 'POST, GET',
		"$V/games/$game/points" => 'GET', $T => 'POST, GET', $A => undef,
		"$V/games/$game/users/u/points" => 'GET', "$V/strategies" => 'GET',
		$S => 'POST, GET', "$S/x/publish" => 'POST',
	);
	for my $path (sort keys %allow) {
		for my $method (qw(HEAD GET POST PUT PATCH DELETE OPTIONS)) {
			my $r = $owner->request($method, $path);
			next if $r->{status} != 405; # allowed, as the pages say
			my %ok = map { $_ => 1 } split /, /, $r->{headers}{allow} // '';
			ok(!$ok{$method}, "$method $path: 405 with Allow");
			is($r->{headers}{allow}, $allow{$path}, 'all that is allowed')
				if defined $allow{$path};
			if ($method eq 'HEAD') {
				is($r->{headers}{'content-type'}, 'application/json', 'HEAD');
				next;
			}
			is(refused("$method $path", $r, 405), 'Method Not Allowed',
				'its text');
		}
		is($owner->request('HEAD', $path)->{status}, 405, "HEAD $path");
	}
	# HEAD has no body, so the next answer starts where it should
	my @r = answers_of(talk($d, "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"
		. "GET /livez HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
	is(scalar @r, 2, 'GET twice');
	my $in = talk($d, "HEAD /livez HTTP/1.1\r\nHost: h\r\n\r\n"
		. "GET /livez HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	like($in, qr/\AHTTP\/1.1 405 [^{]*\r\n\r\nHTTP\/1.1 200 /,
		'H11: no body for HEAD');
	for my $method (qw(TRACE CONNECT BREW get G)) {
		my ($r) = answers_of(talk($d,
			"$method /livez HTTP/1.1\r\nHost: h\r\n\r\n", 1, 5));
		like($r ? $r->{status} : 'closed', qr/\A(4\d\d|501|closed)\z/,
			"$method is refused");
	}
	same_worker('methods');
};

subtest 'queries' => sub {
	for my $query ('%', '%zz', 'a=%', 'a=%4', 'a=%zz', 'a=%00', '%00=a',
		'a=%ff', "a=\xff", 'a=%c0%80', join('&', map { "a$_=1" } 1 .. 17)) {
		refused("?$query" =~ s/[^ -~]/?/gr, $owner->get("$V/games?$query"),
			400);
	}
	for my $query ('', '&', '&&&', '=', '=&=', 'a', 'a&b', 'a==b', '?', 'a=?',
		'page=2&', '%70age=2', 'x=%0a', 'a/b=/c', '+=+') {
		is($owner->get("$V/games?$query")->{status}, 200, "?$query is read");
	}
	is($owner->get("$V/games?%70age=2&")->{json}{search_options}{page}, 2,
		'names are decoded');
	same_worker('queries');
};

# ---- connections -------------------------------------------------------------------------

subtest 'a connection survives refusals' => sub {
	my $c = client($key);
	is($c->get('/livez')->{status}, 200, 'it is there');
	my $sock = $c->{sock};
	my @bad = (
		[ 422, POST => $A, '{' ], [ 400, POST => $A, "\"\xff\"" ],
		[ 404, GET => "$V/nowhere" ], [ 405, DELETE => "$V/games" ],
		[ 405, HEAD => '/livez' ], [ 307, GET => "$V/games/" ],
		[ 413, POST => $A, 'x' x ($MIB + 1) ], [ 400, GET => "$V/games?%" ],
		[ 403, GET => "$V/games", undef, 'X-API-Key' => 'wrong' ],
		[ 401, GET => "$V/games", undef, 'X-API-Key' => '' ],
		[ 422, GET => "$V/games/x" ], [ 404, POST => "$S/x/publish",
			undef, 'X-API-Key' => $admin_key ],
		[ 422, GET => '/livez', undef, 'X-Correlation-ID' => 'x' x 256 ],
	);
	for (@bad) {
		my ($status, $method, $path, $body, @headers) = @$_;
		is($c->request($method, $path, $body, @headers)->{status}, $status,
			"$method $path: $status");
		is($c->get("$V/games")->{status}, 200, 'then a good one');
	}
	ok($c->{sock} && $c->{sock} == $sock, 'on one and the same connection');
};

subtest 'H11: Connection is a list' => sub {
	for my $value ('close', 'Close', 'te, close', 'CLOSE , x', 'a,,close') {
		my $in = talk($d, "GET /livez HTTP/1.1\r\nHost: h\r\n"
			. "Connection: $value\r\n\r\n", undef, 5);
		like($in, qr/^connection: close\r$/mi, "$value: closes");
	}
	for my $value ('keep-alive', 'closed', 'x-close', 'te') {
		my @r = answers_of(talk($d, "GET /livez HTTP/1.1\r\nHost: h\r\n"
			. "Connection: $value\r\n\r\n" . "GET /livez HTTP/1.1\r\n"
			. "Host: h\r\n\r\n", 2, 5));
		is(scalar @r, 2, "$value: stays");
	}
	my @r = answers_of(talk($d, "GET /livez HTTP/1.0\r\n\r\n", undef, 5));
	is(scalar @r, 1, 'HTTP/1.0 is answered and closed');
};

subtest '200 pipelined requests' => sub {
	my @paths = ('/livez', "$V/games", "$V/games/x", "$V/nowhere", $T,
		"$V/strategies", "$V/games/$game", "$S?limit=0", '/readyz',
		"$V/games/$game/points");
	my (@want, $bytes);
	my %status = ("$V/games/x" => 422, "$V/nowhere" => 404,
		"$S?limit=0" => 422);
	for my $i (1 .. 200) {
		my $path = $paths[ $i % @paths ];
		push @want, "p-$i " . ($status{$path} // 200);
		$bytes .= "GET $path HTTP/1.1\r\nHost: h\r\nX-API-Key: $key\r\n"
			. "X-Correlation-ID: p-$i\r\n\r\n";
	}
	my @r = answers_of(talk($d, $bytes, 200));
	is_deeply([ map { "$_->{headers}{'x-correlation-id'} $_->{status}" } @r ],
		\@want, 'all are answered in their order');
	my $awards = join '', map {
		my $body = $_ % 10 ? award_body(qq({"eventId":"pipe-$_"})) : '{"bad';
		"POST $A HTTP/1.1\r\nHost: h\r\nX-API-Key: $key\r\n"
			. "X-Correlation-ID: a-$_\r\nContent-Length: "
			. length($body) . "\r\n\r\n$body"
	} 1 .. 200;
	@r = answers_of(talk($d, $awards, 200));
	is_deeply([ map { "$_->{headers}{'x-correlation-id'} $_->{status}" } @r ],
		[ map { "a-$_ " . ($_ % 10 ? 200 : 422) } 1 .. 200 ],
		'awards and broken ones');
	is($pg->psql(q(select count(*) from userpoints
		where "idempotencyKey" like 'pipe-%')), 180, 'all are stored');
	same_worker('pipelining');
};

subtest 'bytes one by one, and clients that shut their side' => sub {
	my $body = award_body('{"eventId":"slow"}');
	my $bytes = "POST $A HTTP/1.1\r\nHost: h\r\nX-API-Key: $key\r\n"
		. 'Content-Length: ' . length($body) . "\r\n\r\n$body";
	my $sock = $d->connect;
	$sock->autoflush;
	print {$sock} $_ for split //, $bytes;
	shutdown $sock, 1;
	my $in = '';
	1 while IO::Select->new($sock)->can_read(10)
		&& sysread $sock, $in, 4096, length $in;
	my ($r) = answers_of($in);
	is($r ? $r->{status} : 'none', 200, 'is answered') or diag $in;
};

subtest 'H9: clients that leave before the answer' => sub {
	my $n = 60;
	for my $i (1 .. $n) {
		my $body = award_body(qq({"eventId":"left-$i"}));
		my $sock = $d->connect;
		print {$sock} "POST $A HTTP/1.1\r\nHost: h\r\nX-API-Key: $key\r\n"
			. 'Content-Length: ' . length($body) . "\r\n\r\n$body";
		$sock->flush;
		# half of them with a reset
		setsockopt $sock, SOL_SOCKET(), SO_LINGER(), pack 'ii', 1, 0
			if $i % 2;
		close $sock;
	}
	# while the answer waits for a lock
	my $lock = $pg->background('begin; lock table userpoints in access '
		. 'exclusive mode; select pg_sleep(60)');
	ok(Gamed::Daemon::eventually(sub {
		$pg->psql(q(select count(*) from pg_locks where granted and
			relation = 'userpoints'::regclass
			and mode = 'AccessExclusiveLock'))
	}), 'a lock is held');
	for my $i (1 .. 20) {
		my $body = award_body(qq({"eventId":"gone-$i"}));
		my $sock = $d->connect;
		print {$sock} "POST $A HTTP/1.1\r\nHost: h\r\nX-API-Key: $key\r\n"
			. 'Content-Length: ' . length($body) . "\r\n\r\n$body";
		$sock->flush;
		close $sock;
	}
	ok(Gamed::Daemon::eventually(sub {
		$d->metrics->{gamed_http_requests_in_hand} >= 20
	}), 'requests whose clients have left wait');
	undef $lock;
	for my $i (1 .. $n) { # in the head, in the body, and before any byte
		my $sock = $d->connect;
		my $bytes = "POST $A HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n"
			. "\r\n{\"externalUserId";
		print {$sock} substr $bytes, 0, $i % 3 == 0 ? 0 : $i % 3 == 1 ? 30
			: length $bytes;
		$sock->flush;
		close $sock;
	}
	ok(Gamed::Daemon::eventually(sub {
		$anybody->close;
		$owner->close;
		my $m = $d->metrics;
		$m->{gamed_http_connections} == 0
			&& $m->{gamed_http_requests_in_hand} == 0
	}), 'no connection and no request is left');
	is($pg->psql(q(select count(*) from userpoints where
		"idempotencyKey" like 'left-%' and points is null)), 0,
		'what was stored is whole');
	same_worker('leaving');
};

# ---- memory ------------------------------------------------------------------------------

sub status_kib {
	my ($field) = @_;
	open my $f, '<', "/proc/$worker/status" or return 0;
	return (map { /^\Q$field\E:\s+(\d+)/ ? $1 : () } <$f>)[0];
}

subtest 'listings of more than a request may use' => sub {
	# 70 MB of params, more than the memory of one request
	$pg->psql(<<"SQL");
with g as (insert into games (id, created_at, updated_at, "externalGameId",
	"strategyId", platform, "apiKey_used")
	select gen_random_uuid(), now(), now(), 'wide-' || i, 'default', 'wide',
	null from generate_series(1, 70) i returning id)
insert into gamesparams (id, created_at, updated_at, key, value, "gameId")
select gen_random_uuid(), now(), now(), 'k' || i, repeat('x', 50000), g.id
	from g, generate_series(1, 20) i;
SQL
	my $r = $d->http(GET => "$V/games?platform=wide&page_size=all",
		headers => { 'X-API-Key' => $admin_key });
	is($r->{status}, 200, 'listed') or diag substr $r->{content}, 0, 300;
	my $whole = () = $r->{content} =~ /"params":\[\{/g;
	is($whole, 70, 'with the params of all');
	$pg->psql(q(delete from gamesparams where "gameId" in (select id from games
		where platform = 'wide')));
	same_worker('listings');
};

subtest 'params that are larger than a body when they are stored' => sub {
	my $deep = { map { $_ => 'x' x 60000 } 'a' .. 'e' };
	my $r = $owner->post($T, { externalTaskId => 'large-param',
		params => [ { key => 'k', value => $deep } ] });
	is($r->{status}, 200, 'an object of 300 kB');
	is_deeply($JSON->decode($r->{json}{taskParams}[0]{value}), $deep,
		'is answered whole');
	my ($task) = grep { $_->{externalTaskId} eq 'large-param' }
		@{ $owner->get("$T?page_size=all")->{json}{items} };
	is_deeply($JSON->decode($task->{taskParams}[0]{value}), $deep,
		'and read back whole');
	my $n = 26000; # with their ids more values than a body may have
	$r = $owner->post("$V/games", '{"externalGameId":"many-params",'
		. '"platform":"p","params":[' . join(',',
		('{"key":"k","value":1}') x $n) . ']}');
	is($r->{status}, 200, "$n params") or diag substr $r->{body}, 0, 300;
	is(scalar(() = $r->{body} =~ /"id":/g), $n, 'are answered');
	$r = $d->http(GET => "$V/games/$r->{json}{gameId}",
		headers => { 'X-API-Key' => $key });
	is(scalar(() = $r->{content} =~ /"id":/g), $n, 'and read back');
};

subtest 'memory while 200 connections send 1 MiB of garbage each' => sub {
	plan skip_all => 'a sanitizer keeps what is freed' if $sanitized;
	my $before = status_kib('VmRSS');
	my @kinds = ('[' x 1000, '{"a":' x 200, "\xff" x 1000, '[{},' x 250,
		'"' . 'x' x 999, 'null', '1,' x 500, "\x00" x 1000);
	my (@socks, %sock);
	srand 7;
	for my $i (0 .. 199) {
		my $sock = $d->connect or die "connect: $!";
		my $garbage = $kinds[ $i % @kinds ];
		$garbage = join '', map { chr int rand 256 } 1 .. 1000
			if $i % @kinds == 5;
		my $body = substr $garbage x (1 + $MIB / length $garbage), 0, $MIB;
		print {$sock} "POST $A HTTP/1.1\r\nHost: h\r\nX-API-Key: $key\r\n"
			. "Content-Length: $MIB\r\n\r\n", substr $body, 0, $MIB - 1;
		$sock->flush;
		push @socks, [ $sock, substr $body, -1 ];
	}
	my $held = status_kib('VmRSS');
	cmp_ok($held - $before, '<', 230 * 1024,
		'unfinished bodies cost what they are');
	is($anybody->get('/livez')->{status}, 200, 'others are served meanwhile');
	my %status;
	for (@socks) {
		my ($sock, $last) = @$_;
		print {$sock} $last;
		$sock->flush;
		my $in = '';
		1 while !answers_of($in) && IO::Select->new($sock)->can_read(20)
			&& sysread $sock, $in, 65536, length $in;
		my ($r) = answers_of($in);
		$status{ $r ? $r->{status} : 'none' }++;
	}
	is(join(' ', sort keys %status), '400 422', 'all are refused')
		or diag explain \%status;
	cmp_ok(status_kib('VmHWM') - $before, '<', 260 * 1024,
		'the peak is that of the bodies');
	@socks = ();
	ok(Gamed::Daemon::eventually(sub {
		status_kib('VmRSS') - $before < 40 * 1024
	}, 10), 'and is given back') or diag "$before -> " . status_kib('VmRSS');
	same_worker('garbage');
};

$d->stop;
done_testing;
