#!/usr/bin/perl
# Alerts, dashboard and runbook: promtool takes the files, each alert has its
# tests and its section, each name exists in a live scrape, every command of
# the runbook runs, and a real Prometheus fires on strategies that fail
# (observability.md 7).
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/lib";
use HTTP::Tiny;
use JSON::PP ();
use POSIX ();
use Test::More;
use Gamed::Daemon;
use Gamed::Postgres;

my $top = abs_path("$FindBin::Bin/..");
my $etc = "$top/etc/prometheus";

sub eventually { return Gamed::Daemon::eventually(@_) }

sub read_file {
	my ($path) = @_;
	open my $in, '<', $path or die "$path: $!";
	local $/;
	return scalar <$in>;
}

# ---- the files ------------------------------------------------------------------

for my $args (["check config", 'prometheus.yml'],
	["check rules", 'gamed.rules.yml'], ["test rules", 'gamed.test.yml']) {
	my ($rc, $out, $err) = Gamed::Daemon::run_program('promtool',
		split(/ /, $args->[0]), "$etc/$args->[1]");

	is($rc, 0, "promtool $args->[0] $args->[1]") or diag "$out$err";
}

my $rules = read_file("$etc/gamed.rules.yml");
my $tests = read_file("$etc/gamed.test.yml");
my $runbook = read_file("$top/doc/runbook.md");
my @alerts = $rules =~ /^ +- alert: (\w+)$/mg;
my %records = map { $_ => 1 } $rules =~ /^ +- record: (\S+)$/mg;
cmp_ok(scalar @alerts, '>=', 20, 'the alerts are found');

subtest 'each alert is complete' => sub {
	my %anchors = map { lc $_ => 1 } $runbook =~ /^## (\w+)$/mg;
	my (%body) = $rules =~ /^ +- alert: (\w+)\n(.*?)(?=^ +- alert:|^ +- name:|\z)/msg;

	for my $alert (@alerts) {
		my ($anchor) = $body{$alert} =~ m{^ +runbook: doc/runbook\.md#(\S+)$}m;

		for my $part (qw(summary description)) {
			like($body{$alert}, qr/^ +$part: '.+'$/m, "$alert: $part");
		}
		like($body{$alert}, qr/^ +severity: (?:warning|critical)$/m,
			"$alert: severity");
		is($anchor, lc $alert, "$alert names its section");
		ok($anchors{ $anchor // '' }, "$alert: the runbook has it");
		ok($tests =~ /^ +alertname: \Q$alert\E\n +exp_alerts:\n/m,
			"$alert: a test where it fires");
		ok($tests =~ /^ +alertname: \Q$alert\E\n +exp_alerts: \[\]$/m,
			"$alert: a test where it does not");
	}
	my %known = map { lc $_ => 1 } @alerts;
	is_deeply([grep { !$known{$_} } sort keys %anchors], [],
		'the runbook has no other sections');
	is_deeply([grep { !$anchors{$_} } $runbook =~ /\]\(#(\w+)\)/g], [],
		'and points into itself only where something is');
};

# ---- a server whose strategies fail --------------------------------------------

my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'server.workers' => 2,
	'evidence.sample_rate' => 1,
});
my ($rc, $key) = $d->gamectl('apikey', 'create', '--client', 'alerts');
chomp $key;
my ($realm) = $key =~ /^([^.]+)/;
my $json = JSON::PP->new->canonical;
my $ast = $json->encode({ type => 'program', id => 'p', rules => [],
	default => { type => 'assign_points', id => 'give', case_name => 'Given',
		value => { type => 'arith', op => '/',
			left => { type => 'literal', value => 6 },
			right => { type => 'field', path => 'data.by' } } } });
my $strategy = $pg->psql(<<"SQL");
insert into strategydefinition (id, created_at, updated_at, "realmId", name,
	type, version, status, "astJson")
values (gen_random_uuid(), now(), now(), '$realm', 'divide', 'DSL_FULL', 1,
	'PUBLISHED', '$ast') returning id
SQL
my $game = $pg->psql(<<"SQL");
insert into games (id, created_at, updated_at, "externalGameId", "strategyId",
	platform, "apiKey_used")
values (gen_random_uuid(), now(), now(), 'alerts', 'default', 'web', '$realm')
returning id
SQL
$pg->psql(<<"SQL");
insert into tasks (id, created_at, updated_at, "externalTaskId", "gameId",
	"strategyId", status)
values (gen_random_uuid(), now(), now(), 't', '$game', 'custom:$strategy', 'open')
SQL

sub award {
	my ($by) = @_;

	return $d->http(POST => "/api/v1/games/$game/tasks/t/points", headers => {
		'X-API-Key' => $key, 'Content-Type' => 'application/json' },
		content => $json->encode({ externalUserId => 'user-1',
			data => { by => $by } }))->{status};
}

# ---- a real Prometheus -----------------------------------------------------------

# The rules as they are shipped but for the clock: groups are evaluated every
# 200 ms and `for` is left out; windows and thresholds stay.
my $dir = tempdir('gd-prom.XXXXXX', DIR => '/tmp', CLEANUP => 1);
my $prom_port = Gamed::Daemon::free_port();
my $prom_pid;

sub write_file {
	my ($path, $text) = @_;
	open my $f, '>', $path or die "$path: $!";
	print $f $text;
	return close $f;
}

sub start_prometheus {
	my $conf = read_file("$etc/prometheus.yml");
	my $fast = $rules =~ s/^( +interval:) 30s$/$1 200ms/mgr
		=~ s/^ +for: \w+\n//mgr;

	$conf =~ s/scrape_interval: 15s/scrape_interval: 500ms/ or die;
	$conf =~ s/evaluation_interval: 30s/evaluation_interval: 200ms/ or die;
	$conf =~ s/127\.0\.0\.1:9464/'127.0.0.1:' . $d->metrics_port/e or die;
	write_file("$dir/prometheus.yml", $conf);
	write_file("$dir/gamed.rules.yml", $fast);
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$dir/log";
		open STDERR, '>&', \*STDOUT;
		exec 'prometheus', "--config.file=$dir/prometheus.yml",
			"--storage.tsdb.path=$dir/data",
			"--web.listen-address=127.0.0.1:$prom_port"
			or POSIX::_exit(127);
	}
	return $pid;
}

END {
	if ($prom_pid) {
		local $?;
		kill TERM => $prom_pid;
		waitpid $prom_pid, 0;
	}
}

# The data of an answer of its API, undef while there is none.
sub prom {
	my ($path) = @_;
	my $r = HTTP::Tiny->new(timeout => 5)
		->get("http://127.0.0.1:$prom_port/api/v1/$path");

	return unless $r->{success};
	return JSON::PP::decode_json($r->{content})->{data};
}

sub alert {
	my ($name, $state) = @_;
	my $data = prom('alerts') or return;

	return (grep { $_->{labels}{alertname} eq $name && $_->{state} eq $state }
			@{ $data->{alerts} })[0];
}

is(award(2), 200, 'a run that succeeds');
$prom_pid = start_prometheus();
ok(eventually(sub {
	my $t = prom('targets') or return;
	return grep { $_->{health} eq 'up' && $_->{labels}{job} eq 'game-api' }
		@{ $t->{activeTargets} };
}), 'Prometheus: the target is up') or diag read_file("$dir/log");

subtest 'an alert fires on strategies that fail' => sub {
	ok(eventually(sub {
		my $r = prom('rules') or return;
		my @all = map { @{ $_->{rules} } } @{ $r->{groups} };
		return @all == @alerts + keys %records
			&& !grep { $_->{health} ne 'ok' } @all;
	}), 'every rule has been evaluated without an error')
		or diag $json->pretty->encode(prom('rules'));
	ok(!alert('GameStrategyErrors', 'firing'), 'nothing before');
	is(award(0), 400, 'one run fails');
	my $got;
	ok(eventually(sub { $got = alert('GameStrategyErrors', 'firing') }),
		'GameStrategyErrors fires');
	is($got->{labels}{code}, 'DSL_ARITH_DIV_BY_ZERO', 'with the code');
	is($got->{labels}{realm}, $realm, 'and the realm');
	ok(eventually(sub { alert('DslExecutionErrorRateHigh', 'firing') }),
		'DslExecutionErrorRateHigh fires, one run of two');
	ok(!alert('GameDown', 'firing'), 'GameDown does not');
};

subtest 'an alert fires when Postgres is gone and ends when it is back' => sub {
	$pg->stop;
	ok(eventually(sub { alert('GameDatabaseDown', 'firing') }), 'it fires');
	$pg->start;
	ok(eventually(sub {
		my $data = prom('alerts') or return;
		return !grep { $_->{labels}{alertname} eq 'GameDatabaseDown' }
			@{ $data->{alerts} };
	}), 'it ends');
};

subtest 'an alert fires when a worker crashes' => sub {
	$d->kill(KILL => ($d->pids('worker'))[0]);
	my $got;
	ok(eventually(sub { $got = alert('GameWorkerCrashed', 'firing') }),
		'GameWorkerCrashed fires');
	is($got->{labels}{reason}, 'signal', 'with the reason');
};

# ---- names ------------------------------------------------------------------------

# Names of metrics in PromQL: what is neither a function, a keyword nor within
# braces, quotes, brackets or the labels of by, on and without.
my %WORDS = map { $_ => 1 } qw(and or unless by on without group_left
	group_right offset bool sum min max avg count topk rate increase changes
	absent time histogram_quantile min_over_time avg_over_time
	count_over_time label_values);

sub names_in {
	my ($expr) = @_;

	$expr =~ s/"[^"]*"//g;
	$expr =~ s/\{[^}]*\}//g;
	$expr =~ s/\[[^\]]*\]//g;
	$expr =~ s/\boffset \d+[smhd]//g;
	$expr =~ s/\b(?:by|on|without|group_left|group_right) *\([^)]*\)//g;
	return grep { !$WORDS{$_} } $expr =~ /([a-zA-Z_][a-zA-Z0-9_:]*)/g;
}

subtest 'every metric that is named exists' => sub {
	my %have = map { s/\{.*//r => 1 } keys %{ $d->metrics };
	my $dash = JSON::PP::decode_json(read_file("$top/etc/grafana/gamed.json"));
	my @exprs = map { $_->{expr} } map { @{ $_->{targets} // [] } }
		@{ $dash->{panels} };

	is($dash->{title}, 'DSL Overview', 'title of the dashboard');
	is($dash->{uid}, 'game-dsl-overview', 'its uid');
	cmp_ok(scalar @exprs, '>', 20, 'its queries are found');
	(my $text = $rules) =~ s/^ *#.*\n//mg;
	push @exprs, $1 =~ s/\s+/ /gr
		while $text =~ /^ +expr: (?:>-\n)?(.*?)(?=^ +(?:for|labels|- ):?|^\n|\z)/msg;
	is(scalar @exprs, scalar(map { @{ $_->{targets} // [] } }
		@{ $dash->{panels} }) + @alerts + keys %records,
		'those of all rules too');
	my %named = map { $_ => 1 } map { names_in($_) } @exprs;
	cmp_ok(scalar keys %named, '>', 25, 'names are found');
	delete $named{up}; # Prometheus' own
	is_deeply([grep { !$have{$_} && !$records{$_} } sort keys %named], [],
		'each is in a scrape');
	for my $e (@exprs) {
		my $q = $e =~ s/\$realm/.*/gr;
		my $r = HTTP::Tiny->new(timeout => 10)->post_form(
			"http://127.0.0.1:$prom_port/api/v1/query", { query => $q });
		is($r->{status}, 200, "Prometheus takes $e") or diag $r->{content};
	}
};

# ---- the runbook --------------------------------------------------------------------

subtest 'every command of the runbook runs' => sub {
	my (@commands, $inside);

	for (split /\n/, $runbook) {
		if (/^```(\w*)/) {
			$inside = $1 eq 'console';
		} elsif ($inside) {
			push @commands, s/^\$ //r;
			like($_, qr/^\$ (?:gamectl|curl) /, 'gamectl or curl');
		}
	}
	cmp_ok(scalar @commands, '>=', 20, 'commands are found');
	my $gamectl = abs_path($Gamed::Daemon::BUILD) . '/gamectl';
	my $conf = $d->conf_path;
	my ($port, $metrics) = ($d->port, $d->metrics_port);
	ok(eventually(sub { ($d->gamectl('trace', '--last', '--failed'))[0] == 0 }),
		'the failed run is stored');
	my %seen;
	for my $command (grep { !$seen{$_}++ } @commands) {
		my $live = $command =~ s/\b127\.0\.0\.1:9464\b/127.0.0.1:$metrics/gr
			=~ s/\b127\.0\.0\.1:8000\b/127.0.0.1:$port/gr;
		my ($rc, $out, $err) = Gamed::Daemon::run_program('bash', '-c',
			"set -o pipefail\ngamectl() { '$gamectl' -c '$conf' \"\$@\"; }\n"
			. $live);
		is($rc, 0, $command) or diag $err;
		isnt($out, '', "$command: says something");
	}
	($rc, my $out) = $d->gamectl('trace', '--last', '--failed');
	like($out, qr/DSL_ARITH_DIV_BY_ZERO/, 'the trace names the code');
};

$d->stop;
done_testing;
