#!/usr/bin/perl
# gamectl top, status and ledger: the figures equal what was sent, over the
# admin socket alone, with HTTP and Postgres down, with stats dead and back;
# the screen is drawn on a pty and obeys its keys (DESIGN 11).
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Select;
use JSON::PP ();
use POSIX ();
use Test::More;
use Time::HiRes qw(time);
use Gamed::Daemon;
use Gamed::Postgres;

my $gamectl = abs_path($Gamed::Daemon::BUILD) . '/gamectl';
my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'server.workers' => 2,
	'server.watchdog_s' => 600, # workers are stopped for a while
	'evidence.sample_rate' => 1,
});
my ($rc, $key) = $d->gamectl('apikey', 'create', '--client', 'top');
chomp $key;
my ($owner) = $key =~ /^([^.]+)/;
my $json = JSON::PP->new->canonical;
my $ast = $json->encode({ type => 'program', id => 'p', rules => [],
	default => { type => 'assign_points', id => 'give', case_name => 'Given',
		value => { type => 'arith', op => '/',
			left => { type => 'literal', value => 6 },
			right => { type => 'field', path => 'data.by' } } } });

# A strategy whose name would move a cursor, and one that comes before it.
my $evil = "evil\e[2J name";
my %name = (calm => 'calm', evil => $evil);
my $sql_id = 'gen_random_uuid(), now(), now()';
my $game = $pg->psql(<<"SQL");
insert into games (id, created_at, updated_at, "externalGameId", "strategyId",
	platform, "apiKey_used")
values ($sql_id, 'top', 'default', 'web', '$owner') returning id
SQL
for my $task (sort keys %name) {
	my $name = $name{$task} =~ s/\e/' || chr(27) || '/r;
	my $strategy = $pg->psql(<<"SQL");
insert into strategydefinition (id, created_at, updated_at, "realmId", name,
	type, version, status, "astJson")
values ($sql_id, 'the realm', '$name', 'DSL_FULL', 7, 'PUBLISHED', '$ast')
returning id
SQL
	$pg->psql(<<"SQL");
insert into tasks (id, created_at, updated_at, "externalTaskId", "gameId",
	"strategyId", status)
values ($sql_id, '$task', '$game', 'custom:$strategy', 'open')
SQL
}

sub eventually { return Gamed::Daemon::eventually(@_) }

sub award {
	my ($task, $by) = @_;

	return $d->http(POST => "/api/v1/games/$game/tasks/$task/points",
		headers => { 'X-API-Key' => $key,
			'Content-Type' => 'application/json' },
		content => $json->encode({ externalUserId => 'user-1',
			data => { by => $by } }))->{status};
}

sub lines_of {
	my ($out) = @_;
	return map { JSON::PP::decode_json($_) } split /\n/, $out;
}

sub by_kind {
	my ($kind, @lines) = @_;
	return grep { $_->{kind} eq $kind } @lines;
}

# One frame as JSON.
sub frame {
	my ($rc, $out, $err) = $d->gamectl('top', '--json', '-n', 1, @_);

	is($rc, 0, 'top --json') or diag $err;
	return lines_of($out);
}

# ---- figures ----------------------------------------------------------------------

subtest 'wrong arguments' => sub {
	for my $args (['-d', 0], ['-d', 'nan'], ['-d', '1x'], ['-n', 1],
		['--batch', '-n', 0], ['--batch', '-n', 'two'], ['-s', 'colour'],
		['--batch', 'more']) {
		my ($rc, $out, $err) = $d->gamectl('top', @$args);

		is($rc, 2, "top @$args");
		is($out, '', 'nothing on standard output');
		like($err, qr/^usage: gamectl top /, 'usage');
	}
};

subtest 'without a terminal' => sub {
	my ($rc, $out, $err) = $d->gamectl('top');

	is($rc, 1, 'exit status');
	like($err, qr/^gamectl: top needs a terminal; use --batch$/,
		'the message names --batch');
};

subtest 'before anything has happened' => sub {
	my @lines = frame();
	my ($p) = by_kind('pipeline', @lines);

	is(scalar by_kind('strategy', @lines), 0, 'no strategy has run');
	is($p->{requests}, 0, 'no request');
	is($p->{db_down}, 0, 'every connection is there');
	is_deeply([map { $_->{role} } by_kind('process', @lines)],
		[qw(master worker worker logger stats)], 'the processes');
};

is(award('calm', 2), 200, 'an award') for 1 .. 6;
is(award('evil', 2), 200, 'an award of the other strategy') for 1 .. 3;
is(award('evil', 0), 400, 'a run that fails') for 1 .. 4;

subtest 'the figures are those of what was sent' => sub {
	my @lines = frame('-s', 'name');
	my ($f) = by_kind('frame', @lines);
	my @s = by_kind('strategy', @lines);
	my ($p) = by_kind('pipeline', @lines);
	my %e = map { $_->{class} => $_ } by_kind('evidence', @lines);
	my $awards = 0;

	is($f->{frame}, 1, 'the first frame');
	ok($f->{since_start}, 'has its rates since the start');
	is_deeply([map { $_->{name} } @s], ['calm', $evil], 'strategies by name');
	is_deeply([map { [@$_{qw(version realm type)}] } @s],
		[(([7, 'the realm', 'DSL_FULL']) x 2)], 'which ones');
	is(join(' ', sort map { $_->{id} } @s),
		$pg->psql(q(select string_agg(id::text, ' ' order by id::text)
			from strategydefinition)), 'with their ids');
	is_deeply([map { [@$_{qw(ok error timeout limit)}] } @s],
		[[6, 0, 0, 0], [3, 4, 0, 0]], 'runs by status');
	is($s[0]{code}, undef, 'no code where nothing failed');
	is($s[1]{code}, 'DSL_ARITH_DIV_BY_ZERO', 'the code of the failures');
	cmp_ok($s[0]{p50_ms}, '<=', $s[0]{p99_ms}, 'quantiles');
	cmp_ok($s[0]{mean_ms}, '>', 0, 'mean');
	is($p->{requests}, 13, 'requests');
	is($p->{awards}, 9, 'awards');
	is($e{error}{produced}, 4, 'rows of failed runs');
	is($e{sample}{produced}, 9, 'rows of successful ones');
	$awards += $_->{awards} for by_kind('process', @lines);
	is($awards, 9, 'awards by process');
	my ($first) = by_kind('strategy', frame('-s', 'errors'));
	is($first->{name}, $evil, 'sorted by errors');
};

subtest 'text' => sub {
	my ($rc, $out, $err) = $d->gamectl('top', '--batch', '-n', 1);

	is($rc, 0, 'exit status') or diag $err;
	like($out, qr/^gamed \S+, up \S+, generation 1, workers 2, database connected; rates since the start$/m,
		'the server');
	like($out, qr/^worker +\d+ +\d+ +1 /m, 'a worker');
	like($out, qr/^evil\\u001b\[2J name +7 +[\d.]+ +[\d.]+ .* 4 the realm +DSL_ARITH_DIV_BY_ZERO/m,
		'a strategy, its name tamed');
	unlike($out, qr/[^\n\x20-\x7e]/, 'no byte moves the cursor');
	like($out, qr/^error +[\d.]+ /m, 'a class of evidence');
	like($out, qr/^http +[\d.]+ requests\/s/m, 'http');
	like($out, qr/\n\n\z/, 'a frame ends with an empty line');
};

# A gamectl top beside the test: what it prints, line by line.
sub start_top {
	my (@args) = @_;
	my $pid = open my $out, '-|';

	die "fork: $!" unless defined $pid;
	if ($pid == 0) {
		open STDERR, '>', $d->dir . '/top.err';
		exec $gamectl, '-c', $d->conf_path, 'top', @args
			or POSIX::_exit(127);
	}
	return { pid => $pid, out => $out };
}

sub next_frame {
	my ($t) = @_;
	my @lines;

	while (defined(my $line = readline $t->{out})) {
		push @lines, JSON::PP::decode_json($line);
		# the classes of evidence stand last
		return @lines if ($lines[-1]{class} // '') eq 'sentry';
	}
	return;
}

subtest 'rates' => sub {
	my $t = start_top('--json', '-n', 3, '-d', 0.5);
	my @first = next_frame($t);
	my $sent = 0;

	for (1 .. 5) {
		award('calm', 3);
		$sent++;
	}
	my ($rate, $end) = (0, 0);
	while (my @lines = next_frame($t)) {
		my ($f) = by_kind('frame', @lines);
		my ($s) = grep { $_->{name} eq 'calm' } by_kind('strategy', @lines);
		ok(!$f->{since_start}, "frame $f->{frame} is over its interval");
		cmp_ok($f->{window_s}, '>=', 0.5, 'which is what was asked for');
		$rate += $s->{runs_per_s} * $f->{window_s};
		$end = $f->{frame};
	}
	close $t->{out};
	is($?, 0, 'exit status');
	is($end, 3, 'three frames');
	cmp_ok($rate, '<=', $sent + 0.01, 'the runs in the rates were sent');
};

# ---- what is down -------------------------------------------------------------------

subtest 'stats dies and comes back under top' => sub {
	my $t = start_top('--json', '-d', 0.1);
	my ($victim) = $d->pids('stats');

	ok(next_frame($t), 'a frame');
	$d->kill(KILL => $victim);
	ok(eventually(sub {
		my @lines = next_frame($t);
		return grep { $_->{role} eq 'stats' && $_->{pid} != $victim }
			by_kind('process', @lines);
	}), 'frames go on with the new stats process');
	kill TERM => $t->{pid};
	close $t->{out};
};

my @questions = (['status'], ['status', '--json'], ['ledger'],
	['ledger', '--json'], ['top', '--batch', '-n', 1],
	['top', '--json', '-n', 1]);

sub all_answer {
	my ($why) = @_;

	for my $q (@questions) {
		my ($rc, $out, $err) = $d->gamectl(@$q);

		is($rc, 0, "$why: @$q") or diag $err;
		isnt($out, '', 'says something');
	}
	return;
}

subtest 'with Postgres down' => sub {
	$pg->stop;
	ok(eventually(sub {
		my ($f) = by_kind('frame', frame());
		my ($p) = by_kind('pipeline', frame());
		return !$f->{database} && $p->{db_idle} + $p->{db_busy} == 0
			&& $p->{db_down};
	}), 'top says so');
	like(($d->gamectl('top', '--batch', '-n', 1))[1],
		qr/database not connected/, 'in words too');
	all_answer('Postgres down');
};

subtest 'with HTTP down too' => sub {
	my @workers = $d->pids('worker');

	$d->kill(STOP => @workers);
	my $s = $d->connect or die "connect: $!";
	print $s "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
	$s->flush;
	all_answer('workers stopped');
	ok(!IO::Select->new($s)->can_read(0), 'nobody answers HTTP meanwhile');
	$d->kill(CONT => @workers);
	$pg->start;
	ok(eventually(sub { (by_kind('frame', frame()))[0]{database} }),
		'the database is back');
};

# ---- the screen -------------------------------------------------------------------------

# gamectl top on a pty of script(1), its keys through a pipe.  ncurses draws
# differences; ^L has it clear and draw everything.
my $anew = "\f";

# A whole screen with the one and without the other.
sub screen_with {
	my ($re, $not) = @_;
	my $any = $not ? qr/(?:(?!\e\[2J|$not).)*/s : qr/(?:(?!\e\[2J).)*/s;

	return qr/\e\[2J$any$re${any}q quit/s;
}

my $dir = tempdir('gd-top.XXXXXX', DIR => '/tmp', CLEANUP => 1);

sub start_screen {
	my (%opt) = @_;
	my ($rows, $cols) = ($opt{rows} // 40, $opt{cols} // 140);
	my $conf = $d->conf_path;
	my $inner = "stty rows $rows cols $cols; exec '$gamectl' -c '$conf' top "
		. ($opt{args} // '-d 0.2');

	pipe my $in, my $keys or die "pipe: $!";
	pipe my $screen, my $out or die "pipe: $!";
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		close $keys;
		close $screen;
		open STDIN, '<&', $in;
		open STDOUT, '>&', $out;
		open STDERR, '>&', $out;
		$ENV{TERM} = $opt{term} // 'xterm';
		$ENV{LC_ALL} = 'C.UTF-8';
		delete @ENV{qw(LINES COLUMNS)};
		exec 'script', '-q', '-e', '-f', '-c', $inner, "$dir/typescript"
			or POSIX::_exit(127);
	}
	close $in;
	close $out;
	$keys->autoflush;
	return { pid => $pid, keys => $keys, screen => $screen, text => '' };
}

# What was drawn matches in time; it is forgotten then.
sub drawn {
	my ($t, $re, $why) = @_;
	my $end = time + $Gamed::Daemon::TIMEOUT;

	while ($t->{text} !~ $re && time < $end) {
		next unless IO::Select->new($t->{screen})->can_read(0.2);
		last unless sysread $t->{screen}, $t->{text}, 65536,
			length $t->{text};
	}
	my $got = ok($t->{text} =~ $re, $why)
		|| diag $t->{text} =~ s/[^\n\x20-\x7e]/?/gr;
	$t->{text} = '';
	return $got;
}

sub screen_ends {
	my ($t, $why) = @_;

	while (sysread $t->{screen}, my $rest, 65536) { next }
	waitpid $t->{pid}, 0;
	return is($? >> 8, 0, $why);
}

subtest 'the screen and its keys' => sub {
	my $t = start_screen();

	drawn($t, qr/WORKERS.*STRATEGIES.*by runs.*PIPELINE.*q quit/s,
		'three panes and the keys');
	print { $t->{keys} } "s$anew";
	drawn($t, screen_with(qr/by errors/), 's sorts by errors');
	print { $t->{keys} } "s$anew";
	drawn($t, screen_with(qr/by p99/), 'and then by p99');
	print { $t->{keys} } " $anew";
	drawn($t, screen_with(qr/paused; space goes on/), 'space pauses');
	print { $t->{keys} } " $anew";
	drawn($t, screen_with(qr/WORKERS/, qr/paused/), 'and goes on');
	print { $t->{keys} } "\t\t$anew";
	drawn($t, screen_with(qr/STRATEGIES/, qr/WORKERS|PIPELINE/),
		'tab shows one pane');
	print { $t->{keys} } 'q';
	screen_ends($t, 'q leaves with status 0');
};

subtest 'small terminals' => sub {
	my $t = start_screen(rows => 12, cols => 40);

	drawn($t, qr/WORKERS.*\.\.\. \d+ more.*q quit/s, 'what is cut is counted');
	print { $t->{keys} } 'q';
	screen_ends($t, 'it leaves');
	$t = start_screen(rows => 2, cols => 10);
	drawn($t, qr/too small/, 'too small');
	print { $t->{keys} } 'q';
	screen_ends($t, 'it leaves');
};

sub pid_of_top {
	my ($t) = @_;
	my @pids = ($t->{pid});

	while (defined(my $pid = shift @pids)) {
		open my $c, '<', "/proc/$pid/comm" or next;
		my $comm = readline $c;
		return $pid if defined $comm && $comm eq "gamectl\n";
		open my $k, '<', "/proc/$pid/task/$pid/children" or next;
		push @pids, split ' ', readline($k) // '';
	}
	return;
}

subtest 'the terminal changes its size' => sub {
	my $t = start_screen(rows => 2, cols => 10);

	drawn($t, qr/too small/, 'too small at first');
	my $pid = pid_of_top($t) // 0;
	is(system("stty rows 40 cols 140 < /proc/$pid/fd/0"), 0, 'it grows');
	drawn($t, qr/WORKERS.*PIPELINE/s, 'and is drawn anew');
	print { $t->{keys} } 'q';
	screen_ends($t, 'it leaves');
};

subtest 'a terminal that cannot be drawn on' => sub {
	my $t = start_screen(term => 'no-such-terminal');
	my $text = '';

	while (sysread $t->{screen}, $text, 65536, length $text) { next }
	waitpid $t->{pid}, 0;
	is($? >> 8, 1, 'exit status');
	like($text, qr/cannot be drawn on; use --batch/, 'names --batch');
};

subtest 'the server leaves under the screen and comes back' => sub {
	my $t = start_screen();

	drawn($t, qr/PIPELINE/, 'a screen');
	$d->stop;
	drawn($t, qr/gamed does not run: /, 'says that it is gone');
	$d = Gamed::Daemon->start(from => $d);
	drawn($t, qr/since the start|over/, 'goes on with the new one');
	print { $t->{keys} } 'q';
	screen_ends($t, 'it leaves');
};

$d->stop;
subtest 'without a server' => sub {
	for my $q (@questions) {
		my ($rc, $out, $err) = $d->gamectl(@$q);

		is($rc, 1, "@$q");
		like($err, qr/^gamectl: gamed does not run: /, 'says why');
	}
};

done_testing;
