#!/usr/bin/perl
# gamectl strategy: validate, show, publish and test, as the man page has them,
# and that test tells a wrong result, a broken file and a branch not reached.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use File::Temp qw(tempdir);
use JSON::PP ();
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

my $JSON = JSON::PP->new->canonical->allow_nonref;
my $top = "$FindBin::Bin/..";
my $dir = tempdir('gcli.XXXXXX', DIR => '/tmp', CLEANUP => 1);

sub gamectl {
	return Gamed::Daemon::run_program("$Gamed::Daemon::BUILD/gamectl", @_);
}

sub file {
	my ($name, $text) = @_;

	open my $f, '>:utf8', "$dir/$name" or die "$dir/$name: $!";
	print $f ref $text ? $JSON->encode($text) : $text;
	close $f;
	return "$dir/$name";
}

sub lit { return { type => 'literal', value => $_[0] } }
sub give {
	my ($value, $case, $id) = @_;
	return { type => 'assign_points', value => $value, case_name => $case,
		(id => $id) x defined $id };
}
my $program = { type => 'program', id => 'p', rules => [ {
	type => 'rule', id => 'size',
	when => { type => 'compare', op => '>', left =>
		{ type => 'field', path => 'data.n' }, right => lit(10) },
	then => [ give(lit(10), 'Large') ],
	else_if => [ { when => { type => 'compare', op => '>', left =>
		{ type => 'field', path => 'data.n' }, right => lit(5) },
		then => [ give(lit(5), 'Middle') ] } ],
	else => [ { type => 'set_callback_data', key => 'n',
		value => { type => 'field', path => 'data.n' } } ],
} ], default => give({ type => 'field', path =>
	'user.measurements_count' }, 'Count', 'count') };

# ---- validate and show -----------------------------------------------------------

subtest 'validate' => sub {
	my ($rc, $out, $err) = gamectl('strategy', 'validate',
		file('p.json', $program));
	is($rc, 0, 'a program') or diag $err;
	like($out, qr/p\.json: valid, \d+ of 1000 nodes, [0-9a-f]{64}$/, 'said');
	($rc, $out) = gamectl('strategy', 'validate',
		"$top/examples/air-quality/strategy.json");
	is($rc, 0, 'a file for the API');
	my %bad = %$program;
	$bad{default} = give({ type => 'field', path => 'no.such' }, 'X', 'd');
	($rc, $out, $err) = gamectl('strategy', 'validate',
		file('bad.json', \%bad));
	is($rc, 1, 'a bad field');
	is($out, '', 'nothing on standard output');
	like($err, qr/bad\.json: node d\.field\.0: .+ \(DSL_FIELD_PATH_NOT_ALLOWED\)$/,
		'file, node, code');
	($rc, $out) = gamectl('--json', 'strategy', 'validate', "$dir/bad.json");
	is($rc, 1, 'the same as JSON');
	is($JSON->decode($out)->{nodeId}, 'd.field.0', 'its node');
	($rc, $out, $err) = gamectl('strategy', 'validate',
		file('broken.json', '{"type":'));
	is($rc, 1, 'no JSON');
	($rc, $out, $err) = gamectl('strategy', 'validate', "$dir/none");
	is($rc, 1, 'no file');
	($rc, $out, $err) = gamectl('strategy', 'validate',
		file('ext.json', { type => 'DSL_EXTEND', parentStrategyId => 'x',
		astJson => { type => 'program', rules => [] } }));
	is($rc, 1, 'an unknown parent');
	like($err, qr/parent strategy x does not exist/, 'said');
	($rc, $out, $err) = gamectl('-o', 'dsl.max_nodes=3', 'strategy',
		'validate', "$dir/p.json");
	is($rc, 1, 'limits are those of the configuration');
};

subtest 'validate refuses what the API does' => sub {
	my $ok = { type => 'program', rules => [] };
	my @bad = (
		[ { type => 'FOO' }, qr/type must be BUILT_IN, DSL_EXTEND or DSL_FULL/ ],
		[ { type => 5 }, qr/type must be/ ],
		[ { type => undef }, qr/type must be/ ],
		[ { type => 'DSL_FULL', parentStrategyId => 'default' },
			qr/parentStrategyId is for DSL_EXTEND strategies only/ ],
		[ { parentStrategyId => 'default' }, qr/is for DSL_EXTEND/ ],
		[ { type => 'BUILT_IN', parentStrategyId => 'x' },
			qr/is for DSL_EXTEND/ ],
		[ { parentStrategyId => 5 }, qr/parentStrategyId must be a string/ ],
		[ { type => 'DSL_EXTEND' }, qr/DSL_EXTEND strategy needs parent/ ],
		[ { type => 'DSL_EXTEND', parentStrategyId => '' },
			qr/DSL_EXTEND strategy needs parent/ ],
		[ { name => [] }, qr/name must be a string/ ],
		[ { name => '' }, qr/name must have 1 to 200 characters/ ],
		[ { name => 'n' x 201 }, qr/name must have 1 to 200 characters/ ],
	);
	for (@bad) {
		my ($rc, $out, $err) = gamectl('strategy', 'validate',
			file('api.json', { astJson => $ok, %{ $_->[0] } }));
		is($rc, 1, 'refused');
		like($err, qr/api\.json: .*$_->[1]/, 'with the reason');
	}
	for ({}, { name => undef, type => 'BUILT_IN' }, { name => 'n' x 200,
		type => 'DSL_FULL', parentStrategyId => undef }, { type =>
		'DSL_EXTEND', parentStrategyId => 'default', status => 'DRAFT' }) {
		my ($rc, $out, $err) = gamectl('strategy', 'validate',
			file('api.json', { astJson => $ok, %$_ }));
		is($rc, 0, 'accepted') or diag $err;
	}
};

subtest 'show' => sub {
	my ($rc, $out) = gamectl('strategy', 'show', "$dir/p.json");
	is($rc, 0, 'a file');
	is($out, <<"TREE", 'as a tree');
$dir/p.json DSL_FULL
  rule size
    if data.n > 10
      award 10 as "Large"
    else if data.n > 5
      award 5 as "Middle"
    else
      callback n = data.n
  otherwise
    award user.measurements_count as "Count"
TREE
	($rc, $out) = gamectl('strategy', 'show', '--svg', "$dir/p.json");
	like($out, qr/\A<svg .*award 5 as.*<\/svg>\n\z/s, 'as a drawing');
	($rc, $out) = gamectl('strategy', 'show', 'constantEffortStrategy');
	like($out, qr/\AconstantEffortStrategy 0\.0\.1, a built-in\n/,
		'a built-in');
	like($out, qr/award 1 as "BasicReward"$/m, 'how it decides');
	($rc, $out) = gamectl('--json', 'strategy', 'show', "$dir/p.json");
	is($JSON->decode($out)->{tree}[1]{text}, 'if data.n > 10', 'as JSON');
};

# ---- names that would command a terminal ------------------------------------

# BEL, ESC, DEL, C1 and a newline, in every place where a program has a name.
my $rude = "x\e]0;pwned\a\x7f\x{9b}2J\ny";
my $tame = 'x\u001b]0;pwned\u0007\u007f\u009b2J\u000ay';
my $escaped = $rude =~ s/([^ -~])/sprintf '\\u%04x', ord $1/ger;
my $rude_program = { type => 'program', id => 'p', rules => [ {
	type => 'rule', id => $rude, when => { type => 'compare', op => '==',
		id => "$rude.c", left => { type => 'field', path => 'data.n',
		id => "$rude.f" }, right => lit($rude) }, then => [
		{ type => 'set_callback_data', key => $rude, value => lit(1) } ] } ],
	parent_variables => { "variable_$rude" => $rude } };

# No byte of a text that people see is a control character; newlines end lines.
sub is_tame {
	my ($text, $name) = @_;

	utf8::decode($text);
	unlike($text, qr/[\x00-\x09\x0b-\x1f\x7f-\x9f]/, "$name: no control characters");
	unlike($text, qr/^y/m, "$name: no line of its own");
	like($text, qr/\Q$tame\E/, "$name: shown");
}

subtest 'names that would command a terminal' => sub {
	my ($rc, $out, $err) = gamectl('strategy', 'show', file('rude.json',
		{ name => $rude, astJson => $rude_program }));
	is($rc, 0, 'shown') or diag $err;
	is_tame($out, 'show');
	is(scalar(() = $out =~ /\Q$tame\E/g), 4, 'title, id, key, variable')
		or diag $out;
	($rc, $out, $err) = gamectl('strategy', 'show', '--svg',
		"$dir/rude.json");
	utf8::decode($out);
	unlike($out, qr/[\x00-\x09\x0b-\x1f\x7f-\x9f]/, 'show --svg');
	($rc, $out, $err) = gamectl('strategy', 'test', file('rude.yaml',
		"strategy: rude.json\ncases:\n  - name: "
		. "\"$escaped\"\n    data: {n: 1}\n"
		. "    expect: {error: \"$escaped\"}\n"));
	is($rc, 1, 'tested');
	is_tame($out, 'test');
	is(scalar(() = $out =~ /\Q$tame\E/g), 2, 'case and rule')
		or diag $out;
	for my $bad ({ %$rude_program, id => $rude, $rude => 1 },
		{ type => 'DSL_EXTEND', parentStrategyId => $rude,
			astJson => $rude_program }) {
		($rc, $out, $err) = gamectl('strategy', 'validate',
			file('rude-bad.json', $bad));
		is($rc, 1, 'refused');
		is_tame($err, 'refused');
	}
};

# ---- test ---------------------------------------------------------------------------

sub test_of {
	my ($cases, @args) = @_;

	return gamectl(@args, 'strategy', 'test',
		file('cases.yaml', "strategy: p.json\ncases:\n$cases"));
}

subtest 'the example passes and reaches everything' => sub {
	my ($rc, $out, $err) = gamectl('strategy', 'test',
		"$top/examples/air-quality/cases.yaml");
	is($rc, 0, 'passes') or diag "$out$err";
	is(scalar(my @ok = $out =~ /^ok   /mg), 5, 'five cases');
	like($out, qr/^5 cases, 0 failed; 4 of 4 branches reached\n\z/m,
		'coverage');
};

subtest 'differences and coverage' => sub {
	my ($rc, $out, $err) = test_of(<<'YAML');
  - name: right
    data: {n: 11}
    expect: {points: 10.0, case: Large, callback: {}}
  - name: wrong
    data: {n: 1}
    fields: {user.measurements_count: 7}
    expect: {points: 8, case: Count, callback: {n: 2}}
  - name: fails and should not
    data: {n: x}
    expect: {points: 1}
  - name: should fail and does not
    data: {n: 11}
    expect: {error: DSL_ARITH_DIV_BY_ZERO}
  - name: fails otherwise
    data: {n: x}
    expect: {error: DSL_ARITH_DIV_BY_ZERO, node: size.compare.0}
YAML
	is($rc, 1, 'a failing case fails the run') or diag $err;
	$out =~ s/(size\.compare\.0: ).+/$1.../;
	is($out, <<'TEXT', 'the report');
ok   right
FAIL wrong
       points: expected 8, got 7
       callback: expected {"n":2}, got {"n":1}
FAIL fails and should not
       failed with DSL_COMPARE_TYPE_MISMATCH at node size.compare.0: ...
FAIL should fail and does not
       error: expected "DSL_ARITH_DIV_BY_ZERO", got null
FAIL fails otherwise
       error: expected "DSL_ARITH_DIV_BY_ZERO", got "DSL_COMPARE_TYPE_MISMATCH"
5 cases, 4 failed; 3 of 4 branches reached
not reached: rule size: else if 0
TEXT
	($rc, $out) = test_of("  - name: one\n    data: {n: 6}\n"
		. "    expect: {case: Middle}\n", '--json');
	is($rc, 0, 'as JSON');
	my @lines = map { $JSON->decode($_) } split /\n/, $out;
	is_deeply($lines[0], { case => 'one', ok => JSON::PP::true,
		differences => '' }, 'a case');
	is_deeply($lines[1], { cases => 1, failed => 0, branches => 4,
		notReached => [ 'rule size: if', 'rule size: else',
		'otherwise' ] }, 'the sum');
};

subtest 'a result that no award can have fails' => sub {
	my $points = { type => 'field', path => 'data.p' };
	file('s.json', { type => 'program', rules => [ { type => 'rule',
		id => 'r', when => { type => 'compare', op => '!=', left =>
		$points, right => lit(undef) }, then => [ give($points, 'C') ] } ] });
	my ($rc, $out, $err) = gamectl('strategy', 'test', file('s.yaml', <<'Y'));
strategy: s.json
cases:
  - {name: whole, data: {p: 2.0}, expect: {points: 2, case: C}}
  - {name: refused, data: {p: -1}, expect: {points: -1, case: C}}
  - {name: fraction, data: {p: 1.5}, expect: {points: 1.5, case: C}}
  - {name: past 32 bits, data: {p: 2147483648}, expect: {points: 2147483648}}
  - {name: no case, data: {}, expect: {}}
  - {name: points without a case, data: {}, expect: {points: 0}}
  - {name: wanted, data: {}, expect: {error: DSL_NO_CASE, node: ~}}
  - {name: wanted too, data: {p: .5}, expect: {error: DSL_POINTS_NOT_STORABLE}}
  - {name: at no node, data: {p: .5},
    expect: {error: DSL_POINTS_NOT_STORABLE, node: r}}
Y
	is($rc, 1, 'the run fails') or diag $err;
	is($out, <<'T', 'the report');
ok   whole
ok   refused
FAIL fraction
       failed with DSL_POINTS_NOT_STORABLE: Points must be a whole number of 32 bits, not 1.5
FAIL past 32 bits
       failed with DSL_POINTS_NOT_STORABLE: Points must be a whole number of 32 bits, not 2147483648
FAIL no case
       failed with DSL_NO_CASE: No rule matched and the strategy names no case
FAIL points without a case
       failed with DSL_NO_CASE: No rule matched and the strategy names no case
ok   wanted
ok   wanted too
FAIL at no node
       node: expected "r", got null
9 cases, 5 failed; 1 of 1 branches reached
T
};

subtest 'an extending strategy: phases, parent, coverage' => sub {
	file('e.json', { type => 'DSL_EXTEND', parentStrategyId => 'default',
		astJson => { type => 'program', rules => [], pre_rules => [ {
			type => 'rule', id => 'pre', when => { type => 'field',
				path => 'data.cheat' }, then => [ { type => 'veto',
				case_name => 'Cheat' } ] } ], post_rules => [ {
			type => 'rule', id => 'post', when => { type => 'field',
				path => 'data.double' }, then => [ { type =>
				'set_points', value => { type => 'arith',
				op => '*', left => { type => 'field',
				path => 'parent.points' },
				right => lit(2) } } ] } ] } });
	my ($rc, $out, $err) = gamectl('strategy', 'test', file('e.yaml', <<'Y'));
strategy: e.json
cases:
  - name: the parent sees the fields
    data: {double: true}
    fields: {task.measurements_count: 5, user.measurements_count: 9,
      user.avg_time: 1, all.avg_time: 2}
    expect: {points: 22, case: PerformanceBonus}
Y
	is($rc, 0, 'passes') or diag "$out$err";
	like($out, qr/^1 case, 0 failed; 1 of 2 branches reached
not reached: rule pre: if \(pre_rules\)$/m, 'coverage by phase');
};

subtest 'what only a parent reads can be given' => sub {
	file('g.json', { type => 'DSL_EXTEND',
		parentStrategyId => 'greengageStrategy',
		astJson => { type => 'program', rules => [] } });
	my ($rc, $out, $err) = gamectl('strategy', 'test', file('g.yaml', <<'Y'));
strategy: g.json
cases:
  - name: new to the game
    data: {minutes: 20}
    expect: {points: 20, case: Case 2 (DP x 2)}
  - name: above the game's mean
    data: {minutes: 20}
    fields: {game.user_measurements_count: 2, game.avg_minutes: 19.5}
    expect: {points: 225.0, case: Case 3 (BP)}
  - name: above the user's mean
    data: {minutes: 20}
    fields: {game.user_measurements_count: 2, game.avg_minutes: 20,
      game.user_avg_minutes: 10}
    expect: {error: DSL_POINTS_NOT_STORABLE}
  - name: without minutes
    data: {}
    expect: {points: -1, case: minutes is required}
Y
	is($rc, 0, 'passes') or diag "$out$err";
};

subtest 'what a parent reads must be what the database would give' => sub {
	my @fields = ([ 'five', 'a whole number from 0 on' ], [ '5.5', 'a whole' ],
		[ '-1', 'a whole' ], [ '~', 'a whole' ], [ '"5"', 'a whole' ]);
	for (@fields) {
		my ($rc, $out, $err) = gamectl('strategy', 'test', file('f.yaml',
			"strategy: e.json\ncases:\n  - name: x\n    fields: "
			. "{task.measurements_count: $_->[0]}\n    expect: {}\n"));
		is($rc, 1, "count $_->[0]");
		like($err, qr/case 1: task\.measurements_count must be $_->[1]/,
			'said');
	}
	my ($rc, $out, $err) = gamectl('strategy', 'test', file('f.yaml',
		"strategy: e.json\ncases:\n  - name: x\n    fields: "
		. "{user.avg_time: fast}\n    expect: {}\n"));
	is($rc, 1, 'a mean');
	like($err, qr/case 1: user\.avg_time must be a number/, 'said');
	for ('5.0', '5', '0x5') {
		($rc, $out, $err) = gamectl('strategy', 'test', file('f.yaml',
			"strategy: e.json\ncases:\n  - name: x\n    fields: "
			. "{task.measurements_count: $_}\n"
			. "    expect: {points: 1, case: default}\n"));
		is($rc, 0, "$_ is 5") or diag "$out$err";
	}
	# a program takes any kind
	($rc, $out, $err) = test_of("  - name: x\n    data: {n: 1}\n    fields: "
		. "{user.measurements_count: five}\n"
		. "    expect: {error: DSL_ASSIGN_POINTS_NOT_NUMBER}\n");
	is($rc, 0, 'for the program alone') or diag "$out$err";
};

subtest 'files of cases that are wrong' => sub {
	my @bad = (
		[ "  - name: x\n", qr/case 1 needs name and expect/ ],
		[ "  - expect: {points: 1}\n", qr/case 1 needs name/ ],
		[ "  - name: x\n    expects: {}\n",
			qr/case 1: unknown member expects/ ],
		[ "  - name: x\n    expect: {point: 1}\n",
			qr/expect of case 1: unknown member point/ ],
		[ "  - name: x\n    data: 5\n    expect: {}\n",
			qr/case 1: data must be a mapping/ ],
		[ "  - name: x\n    fields: {task.measurement: 5}\n"
			. "    expect: {}\n", qr/case 1: task\.measurement is no field/ ],
		[ "  - name: x\n    user: 5\n    expect: {}\n",
			qr/case 1: user must be text/ ],
		[ "  - name: x\n    expect: {points: 9, node: zz}\n",
			qr/expect of case 1: node is of a run that fails, which needs error/ ],
		[ "  - name: x\n    expect: {error: X, points: 9}\n",
			qr/expect of case 1: points is of a run that succeeds, error of/ ],
		[ "  - name: x\n    expect: {case: Foo, error: X}\n",
			qr/expect of case 1: case is of a run that succeeds/ ],
		[ "  - name: x\n    expect: {callback: {}, error: X}\n",
			qr/expect of case 1: callback is of a run that succeeds/ ],
		[ "  - name: x\n    expect: {points: five}\n",
			qr/expect of case 1: points must be a number/ ],
		[ "  - name: x\n    expect: {points: True}\n",
			qr/expect of case 1: points must be a number/ ],
		[ "  - name: x\n    expect: {case: NULL}\n",
			qr/expect of case 1: case must be text/ ],
		[ "  - name: x\n    expect: {callback: []}\n",
			qr/expect of case 1: callback must be a mapping/ ],
		[ "  - name: x\n    expect: {error: ~}\n",
			qr/expect of case 1: error must be text/ ],
		[ "  - name: x\n    expect: {error: X, node: 5}\n",
			qr/expect of case 1: node must be text or null/ ],
		[ "  - name: x\n    data: {n: 1e999}\n    expect: {}\n",
			qr/cases\.yaml:4:15: number outside/ ],
		[ "  - name: x\n    data: {n: .inf}\n    expect: {}\n",
			qr/cases\.yaml:4:15: \.inf, expected a finite number/ ],
		[ "  - name: &a x\n", qr/cases\.yaml:3:11: anchor/ ],
		[ "  []\n", qr/must be a list of cases/ ],
		[ "  - [\n", qr/cases\.yaml:\d+:\d+: / ],
	);
	for (@bad) {
		my ($rc, $out, $err) = test_of($_->[0]);
		is($rc, 1, 'refused');
		like($err, $_->[1], 'with the reason');
	}
	my ($rc, $out, $err) = gamectl('strategy', 'test',
		file('n.yaml', "strategy: none.json\ncases: [{name: a, expect: {}}]"));
	is($rc, 1, 'no strategy');
	like($err, qr{cannot open \Q$dir\E/none\.json}, 'its path');
};

# ---- with a database --------------------------------------------------------------------

subtest 'show and publish a stored strategy' => sub {
	my $pg = Gamed::Postgres->new;
	my $d = Gamed::Daemon->start(pg => $pg, conf => {
		'server.workers' => 2, 'evidence.sample_rate' => 1 });
	my ($rc, $key, $err) = $d->gamectl('apikey', 'create', '--admin',
		'--client', 'author');
	chomp $key;
	my $c = Gamed::Client->new(port => $d->port, key => $key);
	my $C = '/api/v1/strategies/custom';
	my $row = $c->post($C, { name => 'stored', astJson => $program })
		->{json};
	my $out;
	($rc, $out, $err) = $d->gamectl('strategy', 'show', $row->{id});
	is($rc, 0, 'shown') or diag $err;
	like($out, qr/\Astored v1 DRAFT DSL_FULL\n  rule size\n/, 'as a tree');
	($rc, $out, $err) = $d->gamectl('strategy', 'publish',
		"custom:$row->{id}");
	is("$rc $out", "0 stored v1 is published\n", 'published') or diag $err;
	is($c->get("$C/$row->{id}")->{json}{status}, 'PUBLISHED',
		'the server says so too');
	my $v2 = $c->request('PUT', "$C/$row->{id}", { description => 'x' })
		->{json};
	($rc, $out) = $d->gamectl('--json', 'strategy', 'publish', $v2->{id});
	is_deeply($JSON->decode($out), { id => $v2->{id}, name => 'stored',
		version => 2, status => 'PUBLISHED' }, 'as JSON');
	is($c->get("$C/$row->{id}")->{json}{status}, 'ARCHIVED',
		'the other is archived');
	($rc, $out, $err) = $d->gamectl('strategy', 'publish', $row->{id});
	is($rc, 1, 'archived');
	like($err, qr/stored v1 is archived and cannot be published/, 'said');
	$row = $c->post($C, { name => $rude, astJson => { %$rude_program,
		default => give(lit(1), 'Given') } })->{json};
	($rc, $out, $err) = $d->gamectl('strategy', 'show', $row->{id});
	is_tame($out, 'show of a stored strategy');
	$d->gamectl('strategy', 'publish', $row->{id});
	my $game = $c->post('/api/v1/games', { externalGameId => 'rude',
		platform => 'web' })->{json}{gameId};
	my $path = "/api/v1/games/$game/tasks";
	$c->post($path, { externalTaskId => 'task',
		strategyId => "custom:$row->{id}" });
	my $r = $c->post("$path/task/points", { externalUserId => 'user-1',
		data => { n => $rude } });
	is($r->{status}, 200, 'an award') or diag $r->{body};
	# no path can name such a task, but its creator can
	$pg->psql(qq(update tasks set "externalTaskId" = E'$escaped'));
	($rc, $out, $err) = $d->gamectl('awards', 'user-1');
	is(scalar(() = $out =~ /\Q$tame\E/g), 2, 'task and strategy') or
		diag $out;
	is_tame($out, 'awards');
	ok(Gamed::Daemon::eventually(sub { ($rc, $out, $err) =
		$d->gamectl('trace', '--last'); $rc == 0 }), 'its trace');
	is_tame($out, 'trace');
	is(scalar(() = $out =~ /\Q$tame\E/g), 3,
		'strategy, rule, callback key') or diag $out;
	($rc, $out, $err) = $d->gamectl('apikey', 'create', '--client', "\e[2J");
	($rc, $out, $err) = $d->gamectl('apikey', 'list');
	like($out, qr/ \\u001b\[2J$/m, 'apikey list');
	my $none = '99999999-1c7a-4a7e-8f7c-5d3a1f6e2b90';
	for my $verb (qw(show publish)) {
		($rc, $out, $err) = $d->gamectl('strategy', $verb, $none);
		is($rc, 1, "$verb: unknown");
		like($err, qr/strategy $none does not exist/, 'said');
	}
	$d->stop;
};

done_testing;
