#!/usr/bin/perl
# Programs at the limits and far past them, over HTTP: the exact edges of nodes
# and depth on save, simulation and award; nested arrays, long lists and long
# ids in bounded memory and with typed answers; what a worker keeps of them
# (dsl.md 8, 13, 21).
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

my $JSON = JSON::PP->new->canonical->allow_nonref;
my $sanitized = `nm -D '$Gamed::Daemon::BUILD/gamed' 2>/dev/null` =~ /__asan_/;
my $pg = Gamed::Postgres->new;
# one worker: every request must find the same process alive
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'server.workers' => 1,
	'http.access_log' => 'false',
	'http.handler_timeout_ms' => 60000,
	'database.deadline_ms' => 60000,
	'database.statement_timeout_ms' => 60000,
	'dsl.timeout_ms' => 30000,
});
my ($worker) = $d->pids('worker');

sub new_key {
	my ($rc, $out, $err) = $d->gamectl('apikey', 'create', '--client', @_);
	die "apikey create: $err" if $rc;
	chomp $out;
	return $out;
}
my ($author, $admin) = map {
	Gamed::Client->new(port => $d->port, key => $_) }
	new_key('author'), new_key('admin', '--admin');
my $C = '/api/v1/strategies/custom';
my %event = (externalGameId => 'g', externalTaskId => 't',
	externalUserId => 'user-1');
my $names = 0;

sub lit { return { type => 'literal', value => $_[0] } }

sub status_kib {
	my ($field) = @_;
	open my $f, '<', "/proc/$worker/status" or return 0;
	return (map { /^\Q$field\E:\s+(\d+)/ ? $1 : () } <$f>)[0];
}

# Sends a body, which the worker must survive with little memory.
sub bounded {
	my ($name, $path, $body, $mib) = @_;
	my $before = status_kib('VmHWM');
	my $r = $author->post($path, $body);
	my ($now) = $d->pids('worker');

	is($now // 'none', $worker, "$name: the worker lives");
	$worker = $now;
	cmp_ok(status_kib('VmHWM') - $before, '<', $mib * 1024, "$name: memory")
		unless $sanitized;
	return $r;
}

sub detail_code {
	my ($r) = @_;
	my $detail = $r->{json}{detail};

	return ref $detail eq 'HASH' ? $detail->{code}
		: ref $detail ? join ' ', map { $_->{type} } @$detail
		: $detail;
}

sub save_body {
	my ($ast) = @_;
	my $text = ref $ast ? $JSON->encode($ast) : $ast;

	return sprintf '{"name":"program %d","astJson":%s}', ++$names, $text;
}

sub simulate_body {
	my ($ast) = @_;
	my $text = ref $ast ? $JSON->encode($ast) : $ast;

	return $JSON->encode(\%event) =~ s/\}\z/,"astJson":$text}/r;
}

# ---- exact edges -----------------------------------------------------------------

# A program of that many nodes, whose default decides.
sub of_nodes {
	my ($n) = @_;
	my $rest = $n - 3; # the program, its default and the value
	my @rules;

	while ($rest >= 5) { # a bare condition counts twice
		push @rules, { type => 'rule', when => lit(\0), then => [
			{ type => 'assign_points', value => lit(1),
			case_name => 'No' } ] };
		$rest -= 5;
	}
	my $value = lit(1);
	$value = { type => 'func_call', name => 'int', args => [ $value ] }
		for 1 .. $rest;
	return { type => 'program', id => 'p', rules => \@rules,
		default => { type => 'assign_points', value => $value,
			case_name => 'Edge' } };
}

# A program as deep as that.
sub of_depth {
	my ($n) = @_;
	my $when = lit(\1);

	$when = { type => 'not', arg => $when } for 1 .. $n - 2;
	return { type => 'program', id => 'p', rules => [ { type => 'rule',
		when => $when, then => [ { type => 'assign_points',
		value => lit(1), case_name => 'Edge' } ] } ],
		default => { type => 'assign_points', value => lit(1),
			case_name => 'Edge' } };
}

for my $edge ([ nodes => 1000, \&of_nodes ], [ depth => 32, \&of_depth ]) {
	my ($what, $limit, $make) = @$edge;
	subtest "$what: $limit pass, one more fails" => sub {
		my $r = $author->post($C, save_body($make->($limit)));
		is($r->{status}, 201, 'saved') or diag $r->{body};
		my $id = $r->{json}{id};
		$r = $author->post("$C/simulate", simulate_body($make->($limit)));
		is($r->{status}, 200, 'simulated') or diag $r->{body};
		is($r->{json}{caseName}, 'Edge', 'with its result');
		is($admin->post("$C/$id/publish")->{status}, 200, 'published');
		my $game = $author->post('/api/v1/games', { platform => 'p',
			externalGameId => "of-$what" })->{json}{gameId};
		$author->post("/api/v1/games/$game/tasks", {
			externalTaskId => 't', strategyId => "custom:$id" });
		$r = $author->post("/api/v1/games/$game/tasks/t/points",
			{ externalUserId => 'user-1' });
		is($r->{status}, 200, 'awarded') or diag $r->{body};
		is($r->{json}{caseName}, 'Edge', 'by it');

		my $more = $make->($limit + 1);
		for my $path ($C, "$C/simulate") {
			$r = $author->post($path, $path eq $C ? save_body($more)
				: simulate_body($more));
			is($r->{status}, 400, "one more: $path");
			like(detail_code($r), qr/$limit/, 'the limit is told');
		}
	};
}

# ---- far past them ------------------------------------------------------------------

my $MIB = 1 << 20;

# Before all others, which let the worker grow.
subtest 'listings of large programs' => sub {
	my $made = $author->post($C, save_body(of_nodes(3)))->{json};

	# 40 versions of 2 MB each
	$pg->psql(<<"SQL");
insert into strategydefinition (id, created_at, updated_at, "realmId", name,
	type, version, status, "astJson", ast_text)
select gen_random_uuid(), now(), now(), "realmId", name, type, v, 'ARCHIVED',
	a.ast::jsonb, a.ast
from strategydefinition d, generate_series(2, 41) v,
	(select jsonb_build_object('type', 'program', 'note',
		(select jsonb_agg(repeat('n', 60000)) from generate_series(1, 35)))
		::text as ast) a
where d.id = '$made->{id}'
SQL
	my $before = status_kib('VmHWM');
	for my $path ($C, "$C/$made->{id}/versions") {
		my $r = $d->http(GET => $path, headers => { 'X-API-Key' =>
			$author->{key} });
		is($r->{status}, 200, $path);
		cmp_ok(length $r->{content}, '>', 80_000_000, "$path: it is long");
		my @versions = $r->{content} =~ /"version":(\d+)/g;
		is(join(' ', splice @versions, -41),
			join(' ', reverse 1 .. 41), "$path: all rows, newest first");
		is(substr($r->{content}, 0, 2) . substr($r->{content}, -2), '[{}]',
			"$path: a whole list");
	}
	cmp_ok(status_kib('VmHWM') - $before, '<', 32 * 1024,
		'memory is that of a few rows') unless $sanitized;
	$pg->psql('delete from strategydefinition where version > 1');
};

subtest 'nested arrays' => sub {
	my $half = 3.5 * $MIB;
	my %nest = ('arrays' => '[' x $half . ']' x $half,
		'open arrays' => '[' x (2 * $half),
		'objects' => '{"a":' x ($half / 3));
	for my $name (sort keys %nest) {
		for my $path ($C, "$C/import", "$C/simulate") {
			my $r = bounded("$name to $path", $path,
				save_body($nest{$name}), 64);
			is("$r->{status} " . detail_code($r),
				'422 json_invalid', "$name to $path");
		}
	}
	my $sock = $d->connect or die "connect: $!";
	print {$sock} "POST $C HTTP/1.1\r\nHost: h\r\nContent-Length: ",
		10 * $MIB, "\r\n\r\n", '[' x 1000;
	$sock->flush;
	like(scalar <$sock>, qr/\AHTTP\/1\.1 413 /, '10 MiB are not even read');
};

subtest 'long lists' => sub {
	my $list = join ',', ('1') x 1_000_000;
	my @where = (
		[ 'rules', qq({"type":"program","rules":[$list]}) ],
		[ 'a value', qq({"type":"program","rules":[],"default":{"type":)
			. qq("assign_points","value":{"type":"literal",)
			. qq("value":[$list]}}}) ],
		[ 'arguments', qq({"type":"program","rules":[],"default":{"type":)
			. qq("assign_points","value":{"type":"func_call",)
			. qq("name":"clamp","args":[$list]}}}) ],
		[ 'a member of no meaning', qq({"type":"program","rules":[],)
			. qq("x":[$list]}) ],
	);
	for (@where) {
		my ($name, $ast) = @$_;
		for my $path ($C, "$C/simulate") {
			my $r = bounded("$name to $path", $path, $path eq $C
				? save_body($ast) : simulate_body($ast), 128);
			like($r->{status}, qr/\A4(00|22)\z/, $name) or
				diag substr $r->{body}, 0, 300;
			cmp_ok(length $r->{body}, '<', 4096, 'a short answer');
		}
	}
};

subtest 'as many values as can be read, and ids on top' => sub {
	my %ast = (%{ of_nodes(900) }, parent_variables => {
		map { ("variable_$_" => 1) } 1 .. 97_500 });
	my $r = bounded('saved', $C, save_body(\%ast), 128);

	is("$r->{status} " . detail_code($r), '400 DSL_VALUE_TOO_LARGE', 'typed')
		or diag substr $r->{body}, 0, 300;
};

# The id of a parent stands in every id that is generated below it.
sub of_long_id {
	my ($bytes, $nodes) = @_;
	my $ast = of_nodes($nodes);

	$ast->{id} = 'i' x $bytes;
	return $ast;
}

subtest 'long ids' => sub {
	my $bad = { type => 'program', id => 'i' x 65536, rules => [],
		default => { type => 'assign_points', id => 'i' x 65536,
			value => { type => 'func_call', name => 'eval', args => [] } } };
	my $r = bounded('at an error', $C, save_body($bad), 64);
	is($r->{status}, 400, 'refused');
	cmp_ok(length $r->{headers}{'x-node-id'}, '<=', 256, 'a short header');
	$bad->{default}{id} .= 'i';
	$r = bounded('past the reader', $C, save_body($bad), 64);
	is("$r->{status} " . detail_code($r), '422 json_invalid', 'refused');
	my $ok = of_nodes(3);
	$ok->{default}{id} = 'i' x 65536;
	$ok->{default}{value}{id} = 'v';
	$r = bounded('the longest', $C, save_body($ok), 64);
	is($r->{status}, 201, 'saved');
	is($r->{json}{astJson}{default}{id}, $ok->{default}{id}, 'as it is');
	$r = $author->post("$C/$r->{json}{id}/simulate", \%event);
	is($r->{status}, 200, 'and read again') or diag substr $r->{body}, 0, 300;
	delete $ok->{default}{value}{id};
	$r = bounded('a longer one is made', $C, save_body($ok), 64);
	is("$r->{status} " . detail_code($r), '400 DSL_VALUE_TOO_LARGE',
		'could not be read again');
	for my $path ($C, "$C/simulate") {
		my $ast = of_long_id(65536, 1000);
		$r = bounded("many to $path", $path, $path eq $C
			? save_body($ast) : simulate_body($ast), 512);
		is("$r->{status} " . detail_code($r), '400 DSL_VALUE_TOO_LARGE',
			"many to $path") or diag substr $r->{body}, 0, 300;
	}
};

subtest 'text that cannot be stored' => sub {
	for my $bad ('\u0000', '\ud800', '\udc00x') {
		for my $ast (qq({"type":"program","id":"$bad","rules":[]}),
			qq({"type":"program","rules":[],"default":{"type":)
			. qq("assign_points","value":{"type":"literal",)
			. qq("value":"$bad"}}}), qq({"$bad":1})) {
			for my $path ($C, "$C/simulate") {
				my $r = $author->post($path, $path eq $C
					? save_body($ast) : simulate_body($ast));
				is("$r->{status} " . detail_code($r),
					'422 json_invalid', "$bad to $path");
			}
		}
	}
};

# ---- what a worker keeps of them -----------------------------------------------------

subtest 'programs that are kept, by bytes' => sub {
	my $limit = 9 * $MIB;
	my $near = Gamed::Daemon->start(pg => $pg, conf => {
		'server.workers' => 1,
		'http.access_log' => 'false',
		'http.handler_timeout_ms' => 60000,
		'database.deadline_ms' => 60000,
		'database.statement_timeout_ms' => 60000,
		'dsl.timeout_ms' => 30000,
		'dsl.program_cache_bytes' => $limit,
	});
	my $c = Gamed::Client->new(port => $near->port, key => $admin->{key},
		timeout => 60);
	my $game = $c->post('/api/v1/games', { externalGameId => 'kept',
		platform => 'web' })->{json}{gameId};
	my $when = { type => 'compare', op => '==', left => lit('n' x 62_500),
		right => lit(1) };
	my %ast = (
		# 4 MB each
		(map { $_ => { rules => [ map { { type => 'rule',
			when => $when, then => [ { type => 'assign_points',
			value => lit(1), case_name => 'No' } ] } } 1 .. 64 ] } }
			qw(P1 P2 P3)),
		# 8 MB of text, and much more when compiled
		Large => { rules => [], parent_variables => { map {
			(sprintf('variable_%05d', $_) => 'v' x 64) }
			1 .. 85_000 } },
	);

	for my $name (sort keys %ast) {
		my $r = $c->post($C, { name => "kept $name", astJson => {
			type => 'program', %{ $ast{$name} }, default => {
			type => 'assign_points', value => lit(1),
			case_name => $name } } });
		is($r->{status}, 201, "$name: made")
			or diag substr $r->{body}, 0, 300;
		my $id = $r->{json}{id};
		is($c->post("$C/$id/publish")->{status}, 200, "$name: published");
		is($c->post("/api/v1/games/$game/tasks", {
			externalTaskId => $name, strategyId => "custom:$id" })
			->{status}, 200, "$name: a task");
	}
	my $scores = sub {
		my ($name, $compiled, $entries) = @_;
		my $before = $near->metrics->{gamed_program_compiles_total};
		my $r = $c->post("/api/v1/games/$game/tasks/$name/points", {
			externalUserId => 'ana', isSimulated => \1 });
		is($r->{json}{caseName}, $name, "$name scores")
			or diag substr $r->{body}, 0, 300;
		my $m = $near->metrics;
		is($m->{gamed_program_compiles_total} - $before, $compiled,
			$compiled ? "$name: compiled" : "$name: still there");
		is($m->{'gamed_cache_entries{cache="program"}'}, $entries,
			"entries: $entries");
		my $bytes = $m->{'gamed_cache_bytes{cache="program"}'};
		cmp_ok($bytes, '<=', $limit, 'no more bytes than may be');
		cmp_ok($bytes, '>', $entries * 4_000_000, 'and no fewer than are');
	};

	$scores->('P1', 1, 1);
	$scores->('P2', 1, 2);
	$scores->('P1', 0, 2);
	$scores->('P3', 1, 2); # P2 was used longest ago
	$scores->('P1', 0, 2);
	$scores->('P2', 1, 2);
	$scores->('P1', 0, 2);
	$scores->('Large', 1, 2) for 1, 2; # never kept
	$scores->('P1', 0, 2);
	$scores->('P2', 0, 2);
	is($near->stop, 0, 'the server ends well');
};

is($d->stop, 0, 'the server ends well');
done_testing;
