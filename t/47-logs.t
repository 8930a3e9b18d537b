#!/usr/bin/perl
# The process log (observability.md 2.1): JSON in stage and prod with the
# names of the specification, text in dev, one record one line whatever a
# client sends, the level, the journal's priorities, repeats held back.
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use File::Temp ();
use IO::Socket::INET;
use JSON::PP ();
use Gamed::Api qw(new_key talk answers_of);
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

my $JSON = JSON::PP->new->utf8;
my $pg = Gamed::Postgres->new;
my %prod = (
	'server.env' => 'stage',
	'server.workers' => 1,
	'auth.realm' => 'master',
);

# All records; a line that is none becomes { bad => line }.
sub records {
	my ($d) = @_;

	return map { my $line = $_;
		eval { $JSON->decode($line) } // { bad => $line }
	} split /\n/, $d->log;
}

sub access_of {
	my ($d, $id) = @_;
	my @found;

	Gamed::Daemon::eventually(sub {
		@found = grep { ($_->{logger} // '') eq 'game.access'
			&& ($_->{correlationId} // '') eq $id } records($d);
		return @found;
	});
	return @found;
}

my ($key, $game);

subtest 'JSON' => sub {
	my $d = Gamed::Daemon->start(pg => $pg, conf => {
		%prod, 'database.log_statements' => 'true' });
	$key = new_key($d, 'logs', '--admin');
	my $c = Gamed::Client->new(port => $d->port, key => $key);
	my $r = $c->post('/api/v1/games',
		{ externalGameId => 'logged', platform => 'test' });
	$game = $r->{json}{gameId} or BAIL_OUT("game: $r->{status} $r->{body}");
	my $ast = { type => 'program', id => 'p', rules => [],
		default => { type => 'assign_points', id => 'give',
			value => { type => 'literal', value => 7 },
			case_name => "Two \"quoted\" words" } };
	my $made = $c->post("/api/v1/strategies/custom", { name => "logged",
		type => "DSL_FULL", astJson => $ast });
	my $strategy = $made->{json}{id} or BAIL_OUT($made->{body});
	$c->post("/api/v1/strategies/custom/$strategy/publish");
	$c->post("/api/v1/games/$game/tasks", { externalTaskId => 'walk',
		strategyId => "custom:$strategy" });
	$r = $c->post("/api/v1/games/$game/tasks/walk/points",
		{ externalUserId => 'user_1', data => {} },
		'X-Correlation-ID' => 'award-1');
	is($r->{status}, 200, 'an award') or diag $r->{body};

	my @lines = access_of($d, 'award-1');
	is(scalar @lines, 1, 'one line for one request');
	my $l = $lines[0] // {};
	is_deeply([sort keys %$l], [sort qw(timestamp level logger message pid
		role slot correlationId method path handler status durationMs
		bytes strategy version points case authMs readMs evaluateMs
		writeMs)], 'its members');
	like($l->{timestamp}, qr/\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\z/,
		'timestamp');
	my ($pid) = $d->pids('worker');
	is_deeply({ map { $_ => $l->{$_} } qw(level role pid method path handler
			status strategy version points case) }, {
		level => 'INFO', role => 'worker', pid => $pid,
		method => 'POST', status => 200, version => 1, points => 7,
		path => "/api/v1/games/$game/tasks/walk/points",
		handler => '/api/v1/games/{gameId}/tasks/{externalTaskId}/points',
		strategy => "custom:$strategy",
		case => "Two \"quoted\" words" }, 'their values');
	like($l->{message}, qr{\A127\.0\.0\.1:\d+ - "POST \Q$l->{path}\E HTTP/1\.1" 200\z},
		'message');
	is($l->{bytes}, length $r->{body}, 'bytes of the answer');
	ok($l->{durationMs} >= $l->{evaluateMs}
		&& $l->{durationMs} >= $l->{writeMs}, 'the parts are in the whole');

	my ($sql) = grep { $_->{logger} eq 'game.sql' } records($d);
	like($sql->{message}, qr/\A\w+: .*SELECT/i, 'statements on request');
	ok(!grep({ $_->{logger} eq 'game.sql' && $_->{message} =~ /user_1/ }
		records($d)), 'without their values');
	$d->stop;
	my @all = records($d);
	is_deeply([grep { exists $_->{bad} } @all], [], 'every line is JSON');
	my %by = map { ("$_->{role} $_->{logger}" => 1) } @all;
	is(join(', ', sort keys %by), 'logger game.logger, master game, '
		. 'stats game.stats, worker game, worker game.access, '
		. 'worker game.sql', 'logger names by role');
	ok(!grep({ !($_->{timestamp} && $_->{level} && $_->{message} && $_->{pid}) }
		@all), 'what every record has');
};

# Requests that try to write lines of their own.
my @hostile = (
	['a newline', "/api/v1/a%0Ab", {}],
	['a raw escape', "/api/v1/\x1b[31mred", {}],
	['C1 and separators', "/api/v1/\xc2\x9b\xc2\x85\xe2\x80\xa8", {}],
	['no UTF-8', "/api/v1/\xff\xfe\xc0\x80\xed\xa0\x80", {}],
	['quotes', '/api/v1/"},{"level":"ERROR', {}],
	['a long path', '/api/v1/' . 'x"' x 4000, {}],
);

for my $env (qw(stage dev)) {
	subtest "one record, one line: $env" => sub {
		my $d = Gamed::Daemon->start(pg => $pg, conf => {
			%prod, 'server.env' => $env,
			'sentry.send_default_pii' => 'true' });
		my $n = 0;

		for my $h (@hostile) {
			my $id = 'hostile-' . ++$n;
			talk($d, "GET $h->[1] HTTP/1.1\r\nHost: x\r\n"
				. "X-Correlation-ID: $id\r\n"
				. "Connection: close\r\n\r\n", 1);
		}
		my $c = Gamed::Client->new(port => $d->port);
		$c->get('/livez', 'X-Correlation-ID' => 'last');
		ok($d->await_log(qr/game\.access.*\blast\b/), 'the last one is logged');
		$d->stop;
		my @lines = split /\n/, $d->log, -1;
		is(pop @lines, '', 'the log ends with a line');
		my @access = grep { /game\.access/ } @lines;
		# what evhttp refuses by itself has no line
		my %seen = map { /hostile-(\d+)/ ? ($1 => 1) : () } @access;
		is(scalar(keys %seen) + 1, scalar @access, 'a line each');
		ok($seen{3} && $seen{5} && $seen{6}, 'of those that were taken');
		ok(!grep({ length > 4000 } @lines), 'none is longer than 4000');
		ok(!grep({ /[\x00-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]/ }
			@lines), 'no control character');
		if ($env eq 'stage') {
			is_deeply([grep { !eval { $JSON->decode($_) } } @lines],
				[], 'all of them JSON in UTF-8');
			my @records = map { $JSON->decode($_) } @access;
			ok(!grep({ $_->{level} ne 'INFO' } @records),
				'nothing was forged');
			ok(!grep({ $_->{ip} ne '127.0.0.1' } @records),
				'the address on request');
		} else {
			ok(!grep({ !/\A\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ game[.\w]*\[[\w.]+\]: / }
				@lines), 'all of them in the form of text');
		}
	};
}

subtest 'the level' => sub {
	my $d = Gamed::Daemon->start(pg => $pg,
		conf => { %prod, 'server.log_level' => 'warning' });
	my $c = Gamed::Client->new(port => $d->port);

	$c->get('/livez');
	$pg->stop_immediate;
	ok($d->await_log(qr/"level":"WARNING"/), 'a warning');
	$pg->start;
	ok(Gamed::Daemon::eventually(sub {
		$c->get('/api/v1/kpi/health_check')->{status} == 200 }), 'up again');
	$d->stop;
	my %level = map { ($_->{level} // $_->{bad} => 1) } records($d);
	delete $level{ERROR};
	is(join(' ', sort keys %level), 'WARNING', 'nothing below it');
	for my $word ('verbose', '', 'INF') {
		my ($rc, $out, $err) = Gamed::Daemon::run_program(
			"$Gamed::Daemon::BUILD/gamed", '-c', $d->conf_path, '-t',
			'-o', "server.log_level=$word");
		isnt($rc, 0, "'$word' is no level");
		like($out . $err, qr/log_level/, 'which is told');
	}
};

subtest 'the journal' => sub {
	my $d = Gamed::Daemon->start(pg => $pg, conf => {%prod},
		env => { JOURNAL_STREAM => '1:1' });

	unlike($d->log, qr/^</m, 'no priorities for anybody else');
	my $id = join ':', (stat $d->log_path)[0, 1];
	$d->stop;
	my $next = Gamed::Daemon->start(from => $d,
		env => { JOURNAL_STREAM => $id });
	Gamed::Client->new(port => $next->port)->get('/livez');
	$pg->stop_immediate;
	ok($next->await_log(qr/"level":"WARNING"/), 'a warning');
	$pg->start;
	ok($next->await_log(qr/game\.access/), 'an access line');
	my @lines = split /\n/, $next->log;
	my %priority = (DEBUG => 7, INFO => 6, WARNING => 4, ERROR => 3);
	my @bad = grep { !/\A<(\d)>(\{.*\})\z/
		|| $priority{ $JSON->decode($2)->{level} } != $1 } @lines;
	is_deeply(\@bad, [], 'the priority of each line is that of its level');
};

sub slurp {
	my ($path) = @_;
	open my $f, '<', $path or return '';
	local $/;
	return <$f> // '';
}

# ACCESS_LOG and ERROR_LOG, as the reference's process manager has them.
subtest 'files' => sub {
	my $dir = File::Temp->newdir;
	my ($access, $rest) = ("$dir/access.log", "$dir/error.log");
	my $d = Gamed::Daemon->start(pg => $pg, conf => {%prod},
		env => { ACCESS_LOG => $access, ERROR_LOG => $rest });
	my $c = Gamed::Client->new(port => $d->port);
	# What a file says, once it says that.
	my $says = sub {
		my ($path, $re, $name) = @_;
		local $Test::Builder::Level = $Test::Builder::Level + 1;
		return ok(Gamed::Daemon::eventually(sub { slurp($path) =~ $re }),
			$name);
	};
	my $roles = sub {
		my %by = map { ("$_->{role} $_->{logger}" => 1) }
			map { $JSON->decode($_) } split /\n/, slurp($_[0]);
		return join ', ', sort keys %by;
	};

	$c->get('/livez', 'X-Correlation-ID' => 'one');
	$says->($access, qr/"correlationId":"one"/, 'a request');
	is($roles->($access), 'worker game.access', 'alone');
	is($roles->($rest), 'logger game.logger, master game, stats game.stats, '
		. 'worker game', 'all others');
	is($d->log, '', 'nothing on stdout');
	is((stat $access)[2] & 0777, 0640 & ~umask, 'not for everybody');

	rename $_, "$_.1" or die "rename $_: $!" for $access, $rest;
	ok(Gamed::Daemon::eventually(sub { -e $access && -e $rest }),
		'moved away, they are made anew');
	# every process on its own, so that the worker may be the last
	my $sent = 0;
	ok(Gamed::Daemon::eventually(sub {
		$sent += $c->get('/livez', 'X-Correlation-ID' => 'two')->{status} == 200;
		return slurp($access) =~ /"two"/;
	}), 'requests go there');
	$d->stop;
	is((() = (slurp($access) . slurp("$access.1")) =~ /"two"/g), $sent,
		'none is lost');
	$says->($rest, qr/"message":"stopped /, 'and so does the rest');

	my ($rc, $out, $err) = Gamed::Daemon::run_program(
		"$Gamed::Daemon::BUILD/gamed", '-c', $d->conf_path,
		'-o', "server.log_file=$dir/none/log");
	is($rc, 1, 'a file that cannot be opened');
	like($out . $err, qr{cannot open \Q$dir\E/none/log}, 'is named');
	($rc, $out, $err) = Gamed::Daemon::run_program(
		"$Gamed::Daemon::BUILD/gamed", '-t', '-c', $d->conf_path,
		'-o', 'http.access_log_file=access.log');
	isnt($rc, 0, 'nor is a relative name taken');
	($rc) = Gamed::Daemon::run_program(
		"$Gamed::Daemon::BUILD/gamed", '-t', '-c', $d->conf_path,
		'-o', 'http.access_log_file=-');
	is($rc, 0, 'a dash is stdout');
};

subtest 'repeats' => sub {
	my $d = Gamed::Daemon->start(pg => $pg, conf => {%prod});
	my $admin = Gamed::Client->new(port => $d->port, key => $key);

	# statements fail all alike
	$pg->psql('ALTER TABLE games RENAME TO games_away');
	my $n = 0;
	for (1 .. 30) {
		$n++ if $admin->get('/api/v1/games')->{status} == 500;
	}
	$pg->psql('ALTER TABLE games_away RENAME TO games');
	cmp_ok($n, '>=', 25, 'requests fail');
	my $told = 0;
	my @errors;
	ok(Gamed::Daemon::eventually(sub {
		@errors = grep { ($_->{message} // '') =~ /statement failed/ }
			records($d);
		$told = 0;
		$told += $_->{message} =~ /suppressed=(\d+)/ ? $1 : 1 for @errors;
		return $told >= $n;
	}), 'every failure is counted in the log');
	is($told, $n, 'once');
	cmp_ok(scalar @errors, '<', $n, 'in fewer lines');
};

done_testing;
