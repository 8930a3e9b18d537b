#!/usr/bin/perl
# The numbers: what a scrape says equals what was sent, whichever process died
# meanwhile; its form is strict; the admin socket works when nothing else does
# (observability.md 1, DESIGN 1.4 and 5).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use HTTP::Tiny;
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP ();
use Test::More;
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

$ENV{GAMED_SQLDIR} = "$FindBin::Bin/../sql";
my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'server.workers' => 2,
	'metrics.on_api' => 'true',
	'evidence.sample_rate' => 1,
});
my $url = 'http://127.0.0.1:' . $d->metrics_port . '/metrics';

sub eventually { return Gamed::Daemon::eventually(@_) }

# ---- a strict reader of the text format -------------------------------------

my $NAME = qr/[a-zA-Z_:][a-zA-Z0-9_:]*/;
my $LABEL = qr/[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"/;
my $VALUE = qr/[0-9]+(?:\.[0-9]+)?(?:e[+-][0-9]+)?/;
my %suffixes = (
	counter => [''], gauge => [''],
	summary => [qw(_count _sum)], histogram => [qw(_bucket _count _sum)],
);

# One family is over: its histograms must add up.
sub end_family {
	my ($f, $bad) = @_;

	for my $key (sort keys %{ $f->{hist} || {} }) {
		my $h = $f->{hist}{$key};
		my ($last_le, $last) = (-1, 0);
		for my $b (@{ $h->{buckets} || [] }) {
			my ($le, $n) = @$b;
			$le = 9**9**9 if $le eq '+Inf';
			push @$bad, "$f->{name}$key: le $b->[0] after $last_le"
				unless $le > $last_le;
			push @$bad, "$f->{name}$key: bucket $b->[0] falls"
				unless $n >= $last;
			($last_le, $last) = ($le, $n);
		}
		push @$bad, "$f->{name}$key does not end with +Inf"
			unless $last_le == 9**9**9;
		push @$bad, "$f->{name}$key: count is not +Inf"
			unless defined $h->{count} && $h->{count} == $last;
		push @$bad, "$f->{name}$key has no sum" unless defined $h->{sum};
	}
	return;
}

sub take_sample {
	my ($f, $name, $labels, $value, $bad) = @_;
	my ($suffix) = grep { $name eq "$f->{name}$_" }
		@{ $suffixes{ $f->{type} } };
	my @names = $labels =~ /($NAME)="(?:[^"\\]|\\.)*"/g;
	my @sorted = sort @names;

	push @$bad, "$name stands in family $f->{name}" unless defined $suffix;
	push @$bad, "labels of $name\{$labels} in disorder"
		unless "@names" eq "@sorted";
	return unless $f->{type} eq 'histogram' && defined $suffix;
	my ($le) = $labels =~ /(?:^|,)le="([^"]*)"/;
	(my $key = $labels) =~ s/(?:^|,)le="[^"]*"//;
	$key =~ s/^,//;
	if ($suffix eq '_bucket') {
		push @{ $f->{hist}{$key}{buckets} }, [$le // 'none', $value];
	} else {
		$f->{hist}{$key}{ $suffix eq '_sum' ? 'sum' : 'count' } = $value;
	}
	return;
}

# ({sample => value}, {family => type}, [what is wrong])
sub parse {
	my ($text) = @_;
	my (%sample, %type, @bad, $f, $help);

	push @bad, 'no newline at the end' unless $text =~ /\n\z/;
	for my $line (split /\n/, $text, -1) {
		if ($line =~ /^# HELP ($NAME) (\S.*)$/) {
			end_family($f, \@bad) if $f;
			($f, $help) = (undef, $1);
			push @bad, "family $1 twice" if $type{$1};
		} elsif ($line =~ /^# TYPE ($NAME) (counter|gauge|summary|histogram)$/) {
			my ($name, $is) = ($1, $2);
			push @bad, "TYPE $name without its HELP"
				unless defined $help && $help eq $name;
			push @bad, "$name is a $is"
				if ($is eq 'counter') != ($name =~ /_total$/);
			($f, $help) = ({ name => $name, type => $is }, undef);
			$type{$name} = $is;
		} elsif ($line =~ /^($NAME)(?:\{($LABEL(?:,$LABEL)*)\})? ($VALUE)$/) {
			my ($name, $labels, $value) = ($1, $2 // '', $3);
			my $id = $labels eq '' ? $name : "$name\{$labels}";
			if (!$f) {
				push @bad, "$name outside of a family";
				next;
			}
			push @bad, "$id twice" if exists $sample{$id};
			$sample{$id} = $value;
			take_sample($f, $name, $labels, $value, \@bad);
		} elsif ($line ne '') {
			push @bad, "unreadable: $line";
		}
	}
	end_family($f, \@bad) if $f;
	return (\%sample, \%type, \@bad);
}

# A scrape that must be well-formed.
sub scrape {
	my ($why, $from) = @_;
	my $r = HTTP::Tiny->new(timeout => 10)->get($from // $url);

	is($r->{status}, 200, "$why: scrape") or diag $r->{content};
	my ($sample, $type, $bad) = parse($r->{content});
	is_deeply($bad, [], "$why: well-formed");
	return wantarray ? ($sample, $type, $r) : $sample;
}

subtest 'the reader of this test is strict' => sub {
	my $h = "# HELP h x\n# TYPE h histogram\n";
	my %broken = (
		'no TYPE' => "a_total 1\n",
		'TYPE alone' => "# TYPE a gauge\na 1\n",
		'twice' => "# HELP a x\n# TYPE a gauge\na 1\na 2\n",
		'order of labels' => "# HELP a x\n# TYPE a gauge\na{c=\"1\",b=\"2\"} 1\n",
		'falling bucket' => $h . "h_bucket{le=\"1.0\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 1\n",
		'no +Inf' => $h . "h_bucket{le=\"1.0\"} 2\nh_count 2\nh_sum 1\n",
		'count differs' => $h . "h_bucket{le=\"+Inf\"} 2\nh_count 1\nh_sum 1\n",
		'value' => "# HELP a x\n# TYPE a gauge\na nan\n",
		'escape' => "# HELP a x\n# TYPE a gauge\na{b=\"\\x\"} 1\n",
	);
	for my $what (sort keys %broken) {
		my (undef, undef, $bad) = parse($broken{$what});
		isnt(scalar @$bad, 0, $what);
	}
};

# ---- at the start -----------------------------------------------------------

my $games = 'handler="/api/v1/games",method="GET"';
my $award = 'handler="/api/v1/games/{gameId}/tasks/{externalTaskId}/points",method="POST"';

subtest 'families stand at zero from the start' => sub {
	my ($s, $type, $r) = scrape('first');
	my %want = (
		http_requests_total => 'counter',
		http_request_size_bytes => 'summary',
		http_response_size_bytes => 'summary',
		http_request_duration_highr_seconds => 'histogram',
		http_request_duration_seconds => 'histogram',
		dsl_execution_duration_seconds => 'histogram',
		dsl_execution_nodes_total => 'counter',
		dsl_execution_errors_total => 'counter',
		dsl_execution_log_dropped_total => 'counter',
		gamed_evidence_produced_total => 'counter',
		gamed_evidence_stored_total => 'counter',
		gamed_evidence_dropped_total => 'counter',
		gamed_evidence_queued_rows => 'gauge',
		gamed_child_restarts_total => 'counter',
		gamed_awards_total => 'counter',
		gamed_build_info => 'gauge',
		gamed_metric_label_overflow_total => 'counter',
		process_cpu_seconds_total => 'counter',
		process_max_fds => 'gauge',
		process_open_fds => 'gauge',
		process_resident_memory_bytes => 'gauge',
		process_start_time_seconds => 'gauge',
		process_virtual_memory_bytes => 'gauge',
	);

	is($type->{$_}, $want{$_}, $_) for sort keys %want;
	is($r->{headers}{'content-type'},
		'text/plain; version=0.0.4; charset=utf-8', 'content type');
	for my $status (qw(2xx 4xx 5xx)) {
		is($s->{"http_requests_total{$games,status=\"$status\"}"}, 0,
			"games $status");
	}
	is(scalar(grep { /^http_request_duration_highr_seconds_bucket/ } keys %$s),
		22, 'high resolution buckets');
	is(scalar(grep { /^dsl_execution_duration_seconds_bucket.*realm="master",status="ok",strategy_type="DSL_FULL"/ }
			keys %$s), 16, 'buckets of runs');
	for my $le (qw(0.1 0.5 1.0 +Inf)) {
		ok(exists $s->{"http_request_duration_seconds_bucket{"
			. "handler=\"/api/v1/games\",le=\"$le\",method=\"GET\"}"},
			"le $le");
	}
	is($s->{'dsl_execution_errors_total{code="DSL_TIMEOUT",realm="master",strategy_type="DSL_FULL"}'},
		0, 'a known code');
	is(scalar(grep { $s->{$_} != 0 } grep { /^(?:http|dsl)_/ } keys %$s), 0,
		'nothing has happened');
	is($s->{'gamed_processes{role="worker"}'}, 2, 'workers');
	cmp_ok(abs($s->{process_start_time_seconds} - time), '<', 60, 'start time');
	cmp_ok($s->{process_resident_memory_bytes}, '>', 1e6, 'memory');
	cmp_ok($s->{process_open_fds}, '>', 10, 'descriptors');
};

# OpenMetrics with the names of before, and without what only it has, is what
# the reader above reads.
sub classic_of {
	my ($text) = @_;
	my %counter = map { $_ => 1 } $text =~ /^# TYPE (\S+) counter$/mg;

	$text =~ s/^(# (?:TYPE|HELP) )(\S+)/
		$1 . $2 . ($counter{$2} ? '_total' : '')/mge;
	$text =~ s/^# EOF\n//m;
	$text =~ s/^\S+_created(?:\{.*\})? \d+\.\d+\n//mg;
	$text =~ s/^(\S+_bucket\{.*\} \d+) # \{trace_id="[^"]*"\} \S+ \S+$/$1/mg;
	return $text;
}

subtest 'OpenMetrics for those who list it' => sub {
	my $open = 'application/openmetrics-text; version=1.0.0; charset=utf-8';
	my $classic = 'text/plain; version=0.0.4; charset=utf-8';
	my $prometheus = 'application/openmetrics-text;version=1.0.0;q=0.8,'
		. 'application/openmetrics-text;version=0.0.1;q=0.75,'
		. 'text/plain;version=0.0.4;q=0.5,*/*;q=0.1';

	for my $from ($url, $d->url . '/metrics') {
		for (['text/plain', $classic], ['*/*', $classic], ['', $classic],
			['application/openmetrics-text;version=0.0.1', $classic],
			['application/openmetrics-textual', $classic],
			['text/plain, application/openmetrics-text', $open],
			['Application/OpenMetrics-Text; version="1.0.0"', $open],
			[$prometheus, $open]) {
			my $r = HTTP::Tiny->new(timeout => 10)->get($from,
				{ headers => { Accept => $_->[0] } });

			is($r->{headers}{'content-type'}, $_->[1], "'$_->[0]'");
			is($r->{content} =~ /^# EOF\n\z/m ? $open : $classic,
				$_->[1], 'and so it ends');
			next if $_->[1] eq $classic;
			my @wrong = grep { /_total$/ }
				$r->{content} =~ /^# (?:TYPE|HELP) (\S+)/mg;
			is_deeply(\@wrong, [], 'no family has _total');
			like($r->{content}, qr/^# TYPE http_requests counter\nhttp_requests_total\{/m,
				'its samples have');
			my $text = classic_of($r->{content});
			my (undef, undef, $bad) = parse($text);
			is_deeply($bad, [], 'well-formed');
		}
	}
};

subtest 'the listener serves one path by GET' => sub {
	my $h = HTTP::Tiny->new(timeout => 10);
	my $r = $h->request(HEAD => $url);

	is($r->{status}, 405, 'HEAD');
	is($r->{headers}{allow}, 'GET', 'Allow');
	is($h->post($url)->{status}, 405, 'POST');
	(my $other = $url) =~ s/metrics$/api\/v1\/games/;
	is($h->get($other)->{status}, 404, 'the API is not here');
};

# ---- fixture ----------------------------------------------------------------

my $game = '0b0e5bd1-1c7a-4a7e-8f7c-5d3a1f6e2b90';
my ($rc, $key) = $d->gamectl('apikey', 'create', '--client', 'metrics');
is($rc, 0, 'a key');
chomp $key;
my ($prefix) = $key =~ /^([^.]+)/;
my $ast = JSON::PP->new->canonical->encode({ type => 'program', id => 'p',
	rules => [], default => { type => 'assign_points', id => 'give',
		case_name => 'Divided', value => { type => 'arith', op => '/',
			left => { type => 'literal', value => 6 },
			right => { type => 'field', path => 'data.by' } } } });
$pg->psql(<<"SQL");
insert into games (id, created_at, updated_at, "externalGameId", "strategyId",
	platform, "apiKey_used")
values ('$game', now(), now(), 'campaign', 'default', 'web', '$prefix');
insert into strategydefinition (id, created_at, updated_at, "realmId", name,
	type, version, status, "astJson")
values ('5d1a9c1e-7f0b-4a51-9f5e-000000000001', now(), now(), 'a "quoted" \\ realm',
	'divide', 'DSL_FULL', 1, 'PUBLISHED', '$ast');
insert into tasks (id, created_at, updated_at, "externalTaskId", "gameId",
	"strategyId", status)
values (gen_random_uuid(), now(), now(), 't', '$game',
	'custom:5d1a9c1e-7f0b-4a51-9f5e-000000000001', 'open');
SQL
my $run = 'realm="a \"quoted\" \\\\ realm",strategy_type="DSL_FULL"';

# Each over its own connection, so that both workers have some.
sub send_award {
	my ($by) = @_;
	my $r = $d->http(POST => "/api/v1/games/$game/tasks/t/points", headers => {
		'X-API-Key' => $key, 'Content-Type' => 'application/json' },
		content => JSON::PP::encode_json({ externalUserId => 'user-1',
			data => { by => $by } }));
	diag $r->{content} unless $r->{status} == ($by ? 200 : 400);
	return $r->{status};
}

# ---- counts -----------------------------------------------------------------

my %sent = (ok => 0, bad => 0, list => 0, refused => 0, lost => 0);

sub send_some {
	my ($n) = @_;

	for my $i (1 .. $n) {
		is(send_award(2), 200, "award $i");
		is(send_award(0), 400, "division by zero $i");
		$d->http(GET => '/api/v1/games', headers => { 'X-API-Key' => $key });
		$d->http(GET => '/api/v1/games');
		$d->http(GET => '/nowhere');
	}
	$sent{$_} += $n for keys %sent;
	return;
}

# What was sent is what the scrape says.
sub check_counts {
	my ($why, $s) = @_;
	my %want = (
		"http_requests_total{$games,status=\"2xx\"}" => $sent{list},
		"http_requests_total{$games,status=\"4xx\"}" => $sent{refused},
		"http_requests_total{$award,status=\"2xx\"}" => $sent{ok},
		"http_requests_total{$award,status=\"4xx\"}" => $sent{bad},
		gamed_http_unrouted_total => $sent{lost},
		http_request_duration_highr_seconds_count => $sent{list}
			+ $sent{refused} + $sent{ok} + $sent{bad},
		'gamed_awards_total{result="awarded"}' => $sent{ok},
		'dsl_execution_errors_total{code="DSL_ARITH_DIV_BY_ZERO",' . "$run}"
			=> $sent{bad},
	);
	(my $of = $run) =~ s/,strategy_type/,status="%s",strategy_type/;
	for (['ok', $sent{ok}], ['error', $sent{bad}], ['timeout', 0], ['limit', 0]) {
		$want{ sprintf "dsl_execution_duration_seconds_count{$of}", $_->[0] }
			= $_->[1];
	}
	is($s->{$_}, $want{$_}, "$why: $_") for sort keys %want;
	return;
}

# Nothing that counts may fall.
sub check_monotone {
	my ($why, $before, $after) = @_;
	my @fell = grep { /_(?:total|count|sum|bucket)(?:\{|$)/
			&& (!defined $after->{$_} || $after->{$_} < $before->{$_}) }
		sort keys %$before;

	is_deeply(\@fell, [], "$why: no counter falls");
	return;
}

sub check_ledger {
	my ($why, $s) = @_;

	for my $class (qw(audit error sample request sentry)) {
		my $sum = $s->{"gamed_evidence_stored_total{class=\"$class\"}"}
			+ $s->{"gamed_evidence_spooled_rows{class=\"$class\"}"}
			+ $s->{"gamed_evidence_queued_rows{class=\"$class\"}"};
		$sum += $s->{$_}
			for grep { /^gamed_evidence_dropped_total\{class="$class"/ }
				keys %$s;
		is($s->{"gamed_evidence_produced_total{class=\"$class\"}"}, $sum,
			"$why: produced = stored + spooled + queued + dropped, $class");
	}
	return;
}

my $before;
subtest 'counts equal what was sent' => sub {
	send_some(10);
	$before = scrape('after requests');
	check_counts('after requests', $before);
	check_ledger('after requests', $before);
	is($before->{'gamed_evidence_produced_total{class="error"}'}, $sent{bad},
		'a row for each failure');
	is($before->{'gamed_evidence_produced_total{class="sample"}'}, $sent{ok},
		'a row for each run');
	cmp_ok($before->{"http_request_size_bytes_sum{handler=\"/api/v1/games/{gameId}/tasks/{externalTaskId}/points\"}"},
		'>', 20 * 20, 'request bytes');
	ok(eventually(sub {
		$d->metrics->{'gamed_evidence_stored_total{class="error"}'}
			== $sent{bad};
	}), 'the rows get stored');
};

# Of each bucket's line: [what stands before the exemplar, trace_id, seconds,
# time].
sub exemplars {
	my $r = HTTP::Tiny->new(timeout => 10)->get($_[0],
		{ headers => { Accept => 'application/openmetrics-text' } });

	is_deeply((parse(classic_of($r->{content})))[2], [], 'well-formed');
	return map { /^(.*) # \{trace_id="([^"]*)"\} (\S+) (\S+)$/
		? [$1, $2, $3, $4] : () } split /\n/, $r->{content};
}

subtest 'exemplars name rows that are stored' => sub {
	my @found;

	ok(eventually(sub {
		my %there;
		@found = exemplars($url);
		$there{$_->[0] =~ /status="(\w+)"/ ? $1 : ''} = 1 for @found;
		return $there{ok} && $there{error};
	}), 'runs of both kinds have one');
	for my $e (@found) {
		my ($series, $id, $seconds, $at) = @$e;
		my ($le) = $series =~ /^dsl_execution_duration_seconds_bucket\{le="([^"]*)"/;
		my ($status) = $series =~ /status="(\w+)"/;

		like($id, qr/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'an id');
		cmp_ok(length("trace_id$id"), '<=', 128, 'short enough');
		cmp_ok($seconds, '<=', $le eq '+Inf' ? 1e9 : $le, 'of its bucket');
		is($pg->psql(<<"SQL"), 't', 'its row, as long and as old');
select status = '$status' and "realmId" = 'a "quoted" \\ realm'
	and abs("durationMs" - $seconds * 1000) < 0.001
	and abs(extract(epoch from created_at) - $at) < 5
from strategyexecutionlog where id = '$id'
SQL
	}
	# of the last one kept, as the client heard
	my $r = $d->http(POST => "/api/v1/games/$game/tasks/t/points", headers => {
		'X-API-Key' => $key, 'Content-Type' => 'application/json' },
		content => JSON::PP::encode_json({ externalUserId => 'user-1',
			data => { by => 0 } }));
	is($r->{status}, 400, 'one more that fails');
	$sent{bad}++;
	my $id = $r->{headers}{'x-trace-id'};
	ok(eventually(sub {
		grep { $_->[1] eq $id } exemplars($url)
	}), 'comes to be one');
	ok((grep { $_->[1] eq $id } exemplars($d->url . '/metrics')),
		'on the API listener too');
	unlike(HTTP::Tiny->new(timeout => 10)->get($url)->{content}, qr/trace_id/,
		'none in the classic text');
};

subtest 'the API listener says the same' => sub {
	my $there = scrape('API', $d->url . '/metrics');
	my $here = scrape('own');

	is($there->{$_}, $here->{$_}, $_)
		for grep { /^http_requests_total|^dsl_.*_count/ } sort keys %$here;
};

for my $role (qw(worker logger stats)) {
	subtest "a $role killed" => sub {
		my ($victim) = $d->pids($role);
		my $restarts = "gamed_child_restarts_total{reason=\"signal\",role=\"$role\"}";

		$d->kill(KILL => $victim);
		ok(eventually(sub {
			my @now = $d->pids($role);
			my $s = eval { $d->metrics };
			return $s && $s->{$restarts} && @now
				&& !grep { $_ == $victim } @now;
		}), 'replaced and counted');
		my $after = scrape("$role killed");
		check_monotone("$role killed", $before, $after);
		check_counts("$role killed", $after);
		check_ledger("$role killed", $after);
		is($after->{$restarts}, 1, 'one restart');
		send_some(3);
		$before = scrape('and then');
		check_counts('and then', $before);
	};
}

subtest 'reload keeps the counters' => sub {
	$d->reload;
	my $after = scrape('reload');
	check_monotone('reload', $before, $after);
	send_some(3);
	check_counts('reload', scrape('after reload'));
	is($after->{'gamed_reloads_total{result="done"}'}, 1, 'counted');
	is($after->{gamed_generation}, 2, 'generation');
};

subtest 'a change in the database is heard' => sub {
	my $notices = $d->metrics->{gamed_cache_notices_total};

	$pg->psql("update games set platform = 'app' where id = '$game'");
	ok(eventually(sub {
		$d->metrics->{gamed_cache_notices_total} > $notices
	}), 'a notice is counted');
};

# ---- admin socket -----------------------------------------------------------

sub admin_connect {
	return IO::Socket::UNIX->new(Peer => $d->dir . '/admin.sock')
		// die "admin.sock: $!";
}

# Bytes until the end of the stream or the empty line; undef when nothing comes.
sub answer_of {
	my ($s) = @_;
	my $text = '';

	while ($text !~ /(?:\A|\n)\n\z/) {
		return undef unless IO::Select->new($s)->can_read(10);
		sysread($s, $text, 65536, length $text) or last;
	}
	return $text;
}

subtest 'admin socket' => sub {
	my $s = admin_connect();

	syswrite $s, "status\nledger\nnonsense \"\x01\n";
	my $text = '';
	until (($text =~ s/\n\n/\n\n/g) >= 3) {
		last unless IO::Select->new($s)->can_read(10);
		sysread($s, $text, 65536, length $text) or last;
	}
	my @answers = split /\n\n/, $text;
	is(scalar @answers, 3, 'three commands, three answers');
	my @lines = map { [map { JSON::PP::decode_json($_) } split /\n/] } @answers;
	is($lines[0][0]{kind}, 'server', 'status begins with the server');
	is(scalar(grep { ($_->{role} // '') eq 'worker' } @{ $lines[0] }), 2, 'workers');
	is(scalar(grep { !$_->{balanced} } @{ $lines[1] }), 0, 'the ledger balances');
	is($lines[2][0]{kind}, 'error', 'no such command');

	syswrite $s, "metrics\n";
	$text = answer_of($s);
	chop $text;
	my (undef, undef, $bad) = parse($text);
	is_deeply($bad, [], 'metrics: well-formed');

	my $long = admin_connect();
	{
		local $SIG{PIPE} = 'IGNORE';
		syswrite $long, 'x' x 4096;
	}
	ok(IO::Select->new($long)->can_read(10), 'a line without end');
	is(sysread($long, my $rest, 10) // 0, 0, 'is cut off');
	close $s;
	close $long;

	my @many = map { admin_connect() } 1 .. 16;
	syswrite $_, "status\n" for @many;
	is(scalar(grep { (answer_of($_) // '') =~ /"kind":"server"/ } @many), 16,
		'sixteen clients');
	my $more = admin_connect();
	syswrite $more, "status\n";
	ok(!IO::Select->new($more)->can_read(0.3), 'one more waits');
	close $many[0];
	like(answer_of($more), qr/"kind":"server"/, 'for the place of another');
};

subtest 'gamectl status' => sub {
	my ($rc, $out, $err) = $d->gamectl('status');

	is($rc, 0, 'status') or diag $err;
	like($out, qr/^gamed \S+, up \S+, generation 2, workers 2, database connected$/m,
		'the server');
	like($out, qr/^worker +\d+ +\d+ +2 /m, 'a worker of generation 2');
	like($out, qr/^error(?: +\d+){5}$/m, 'evidence');
	($rc, $out) = $d->gamectl('status', '--json');
	my @lines = map { JSON::PP::decode_json($_) } split /\n/, $out;
	my ($rates) = grep { $_->{kind} eq 'rates' } @lines;
	is($rates->{awards}, $sent{ok}, 'awards so far');
	my ($queues) = grep { $_->{kind} eq 'queues' } @lines;
	is($queues->{db_queued}, 0, 'nobody waits for the database');
};

subtest 'without Postgres' => sub {
	$pg->stop;
	ok(eventually(sub { ($d->gamectl('status'))[1] =~ /database not connected/ }),
		'status says so');
	my $after = scrape('without Postgres');
	check_monotone('without Postgres', $before, $after);
	$pg->start;
	ok(eventually(sub { ($d->gamectl('status'))[1] =~ /database connected/ }),
		'and that it is back');
};

$d->stop;
subtest 'without a server' => sub {
	my ($rc, undef, $err) = $d->gamectl('status');
	is($rc, 1, 'status');
	like($err, qr{^gamectl: gamed does not run: there is no socket \S+/admin\.sock$},
		'says why');
};

subtest 'metrics.enabled' => sub {
	my $off = Gamed::Daemon->start(pg => $pg, migrate => 0,
		conf => { 'metrics.enabled' => 'false' });
	my $there = 'http://127.0.0.1:' . $off->metrics_port . '/metrics';

	is(HTTP::Tiny->new(timeout => 5)->get($there)->{status}, 599,
		'no listener');
	is($off->http(GET => '/metrics')->{status}, 404, 'nor on the API');
	$off->stop;
};

done_testing;
