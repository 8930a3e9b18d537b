#!/usr/bin/perl
# Rows that are hard to keep: texts too long for a row, texts and numbers that
# JSON may not hold, and runs that fail while there is no database.  Each run
# that was made arrives once, each event that cannot be one is refused with a
# typed error, and the books balance at any time.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use Gamed::Campaign;
use Gamed::Client;
use Gamed::Daemon;
use Gamed::Postgres;

my $pg = Gamed::Postgres->new;
my $d = Gamed::Daemon->start(pg => $pg, conf => {
	'server.workers' => 2,
	'evidence.sample_rate' => '1.0',
	'evidence.batch_ms' => 20,
	'evidence.queue_max' => 20000,
	'http.access_log' => 'false',
});
my $made = Gamed::Campaign->make($d, 'rows');
my $client = $made->client($d);

# One award; a body that is text goes as it is.
sub award {
	my ($correlation, $body) = @_;
	my $r = $client->post($made->awards, $body,
		'X-Correlation-ID' => $correlation);

	return $r if $r->{status};
	$client->close; # it was idle for too long
	return $client->post($made->awards, $body,
		'X-Correlation-ID' => $correlation);
}

sub event {
	my ($n, %more) = @_;

	return { externalUserId => 'ann', data => { n => $n, %more } };
}

# What the table has of a run: "<rows> <value>".
sub kept {
	my ($correlation, $value) = @_;

	return $pg->psql("select count(*) || ' ' || coalesce(min($value), '-') "
		. "from strategyexecutionlog where correlation_id = '$correlation'");
}

sub rows { return $pg->psql('select count(*) from strategyexecutionlog') }

# (produced, stored, dropped, on their way) of runs; false members: none.
sub runs_of_ledger {
	my ($rc, $out) = $d->gamectl('ledger', '--json');
	my %sum;

	is($rc, 0, 'the books balance') or diag $out;
	for my $line (map { JSON::PP::decode_json($_) } split /\n/, $out) {
		next unless $line->{class} =~ /^(error|sample)$/;
		$sum{$_} += $line->{$_}
			for qw(produced stored spooled queued dropped);
	}
	return (@sum{qw(produced stored dropped)}, $sum{spooled} + $sum{queued});
}

# All runs made so far are stored, none was dropped, each has one row.
sub settles {
	my ($name) = @_;
	my ($produced, $stored, $dropped, $left);

	ok(Gamed::Daemon::eventually(sub {
		my $m = $d->metrics;
		my $sum = 0;
		/^gamed_evidence_(queued|spooled)_rows/ and $sum += $m->{$_}
			for keys %$m;
		return $sum == 0;
	}), "$name: nothing is on its way in the end");
	($produced, $stored, $dropped, $left) = runs_of_ledger();
	is("$stored $dropped $left", "$produced 0 0", "$name: all runs are stored");
	is(rows(), $stored, "$name: the table holds what was stored");
	return $stored;
}

subtest 'what JSON may not hold is refused' => sub {
	my $before = settles('before');
	my $long = 'x' x 70_000;

	for (
		[ 'nan', '{"n":NaN}', 422, 'json_invalid' ],
		[ 'infinity', '{"n":-Infinity}', 422, 'json_invalid' ],
		[ 'overflow', '{"n":1e999}', 422, 'json_invalid' ],
		[ 'nul', '{"n":0,"t":"a\\u0000b"}', 422, 'json_invalid' ],
		[ 'nul-key', '{"n":0,"a\\u0000b":1}', 422, 'json_invalid' ],
		[ 'high', '{"n":0,"t":"\\ud83d"}', 422, 'json_invalid' ],
		[ 'low', '{"n":0,"t":"\\ude00\\ud83d"}', 422, 'json_invalid' ],
		[ 'utf8', "{\"n\":0,\"t\":\"\xed\xa0\x80\"}", 400, undef ],
		[ 'nul-byte', "{\"n\":0,\"t\":\"a\0b\"}", 422, 'json_invalid' ],
		[ 'long', "{\"n\":0,\"t\":\"$long\"}", 422, 'json_invalid' ],
		[ 'large', '{"n":0,"t":[' . join(',', ('"' . 'x' x 60_000 . '"') x 20)
			. ']}', 413, undef ],
	) {
		my ($name, $data, $status, $type) = @$_;
		my $r = award("refused-$name",
			"{\"externalUserId\":\"ann\",\"data\":$data}");
		my $detail = $r->{json}{detail};
		is($r->{status}, $status, $name) or diag substr $r->{body}, 0, 200;
		is(ref $detail ? $detail->[0]{type} : undef, $type, '... its type');
	}
	is(settles('after'), $before, 'none of them was a run');
};

subtest 'what a row may not hold is cut, and says so' => sub {
	my $before = settles('before');
	my @texts = map { $_ x 60_000 } 'a' .. 'o';

	# a failure, and an award, with 900 kB each
	is(award('large-failed', event(0, t => \@texts))->{status}, 400, 'fails');
	is(award('large-paid', event(3, t => \@texts))->{status}, 200, 'pays');
	# of what a row has room for nothing is cut
	is(award('middle', event(0, t => $texts[0]))->{status}, 400, 'smaller');
	# text that is legal, and not what a terminal or COPY likes
	my $odd = "\x{1f600}\x{fffd}\x{7f}\t\n\r\\N\\.\\\x01";
	is(award('odd', event(0, t => $odd, "k$odd" => 1))->{status}, 400, 'odd');
	is(settles('after') - $before, 4, 'each is kept');
	for ([ 'large-failed', '1 Division by zero; event data too large to keep' ],
		[ 'large-paid', '1 event data too large to keep' ],
		[ 'middle', '1 Division by zero' ], [ 'odd', '1 Division by zero' ]) {
		my ($name, $want) = @$_;
		is(kept($name, 'notes'), $want, "$name: once, with what was cut");
	}
	is(kept('large-failed', 'data::text'), '1 -', 'data that was too large');
	is(kept('large-failed', q{fields->>'data.n'}), '1 0',
		'... but what the rules read of it');
	is(kept('middle', q{length(data->>'t')::text}), '1 60000', 'data, whole');
	my ($count, $hex) = split / /,
		kept('odd', q{encode(convert_to(data->>'t', 'UTF8'), 'hex')});
	utf8::encode(my $bytes = $odd);
	is($hex, unpack('H*', $bytes), 'every character of the odd text');
	is(kept('odd', q{(select min(encode(convert_to(k, 'UTF8'), 'hex'))
		from jsonb_object_keys(data) k where k like 'k%')}),
		'1 ' . unpack('H*', "k$bytes"), '... and of the key');
};

# A trace that is too large: the middle goes, or its values.
subtest 'a trace that no row can hold' => sub {
	my $text = { type => 'field', path => 'data.t' };
	my @actions = map { { type => 'set_callback_data', key => "k$_",
		value => $text } } 1 .. 150;
	my $id = must($client->post('/api/v1/strategies/custom', {
		name => 'wide', type => 'DSL_FULL', astJson => { type => 'program',
			rules => [ { type => 'rule', id => 'r',
				when => { type => 'compare', op => '==', left => $text,
					right => $text }, then => \@actions } ],
			default => { type => 'assign_points', case_name => 'None',
				value => { type => 'arith', op => '/',
					left => { type => 'literal', value => 1 },
					right => { type => 'field', path => 'data.n' } } }
		} }), 'a strategy')->{id};
	my $before = settles('before');

	must($client->post("/api/v1/strategies/custom/$id/publish", {}), 'publish');
	must($client->post("/api/v1/games/$made->{game}/tasks",
		{ externalTaskId => 'wide', strategyId => "custom:$id" }), 'task');
	my $r = $client->post("/api/v1/games/$made->{game}/tasks/wide/points",
		event(0, t => 'y' x 6_000), 'X-Correlation-ID' => 'wide');
	is($r->{status}, 400, 'it fails') or diag $r->{body};
	is(settles('after') - $before, 1, 'it is kept');
	like(kept('wide', 'notes'), qr/^1 trace truncated: \d+ -> 200 entries; Division by zero; \d+ values clipped$/,
		'once, and says what was cut');
	is(kept('wide', q{trace->-1->>'branch'}), '1 failed',
		'the node that failed is there');
};

subtest 'runs fail while there is no database' => sub {
	my (%failed, %seen);
	my $i = 0;
	# One in twenty is a run that fails, known by its user; the others are
	# scored and write nothing.
	my $call = sub {
		my ($phase) = @_;
		my $fails = ++$i % 20 == 0;
		my %event = (%{ event($fails ? 0 : 3) },
			externalUserId => "$phase-$i",
			$fails ? () : (isSimulated => JSON::PP::true));
		my $status = $client->post($made->awards, \%event)->{status};
		$seen{$phase}{$status}++;
		$failed{$phase}{"$phase-$i"} = 1 if $status == 400;
		return $status;
	};

	settles('before');
	$client->close;
	$call->('before') for 1 .. 200;
	is_deeply($seen{before}, { 200 => 190, 400 => 10 }, 'one in twenty fails');
	settles('with a database');
	$pg->stop_immediate;
	$client->close;
	ok(Gamed::Daemon::eventually(sub {
		$client->get('/readyz')->{status} == 503 }), 'Postgres is away');
	# longer than what a run needs may be old while there is a database
	my $end = time + 8;
	$call->('down') while time < $end || $i % 20;
	is_deeply([ sort keys %{ $seen{down} } ], [ 200, 400 ],
		'every run is scored');
	is($seen{down}{200}, 19 * $seen{down}{400}, 'one in twenty fails');
	my ($produced, $stored, $dropped, $left) = runs_of_ledger();
	is($dropped, 0, 'no run is dropped');
	cmp_ok($left, '>=', scalar keys %{ $failed{down} }, 'they wait');
	my ($pid) = $d->pids('logger');
	$d->kill(KILL => $pid); # for good measure
	$pg->start;
	$client->close;
	ok(Gamed::Daemon::eventually(sub { $call->('after') == 200 }), 'it is back');
	$call->('after') for 1 .. 40;
	settles('in the end');
	my @kept = sort split /\n/, $pg->psql(<<'SQL');
select "externalUserId" from strategyexecutionlog
where "externalUserId" ~ '^(before|down|after)-'
SQL
	is_deeply(\@kept, [ sort map { keys %$_ } values %failed ],
		'every run that failed is there, once');
	note explain \%seen;
};

is($d->stop, 0, 'the server leaves');
done_testing;
