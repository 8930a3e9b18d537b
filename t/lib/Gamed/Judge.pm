package Gamed::Judge;

# Decides after a fault, from what the clients wrote down and from the
# database, whether the promises held: acknowledged awards lost 0, awarded
# twice 0, wallet = awards, replays answered alike, counters that never go
# back, evidence produced = stored + spooled + queued + dropped.
#
#   my $judge = Gamed::Judge->new($d);
#   $judge->scrape;                       # as often as wanted, during the fault
#   $judge->judge('what happened', $load->stop);
#   $judge->follow($successor);           # counters start from zero
#
# Options of judge: least (so many awards), no_evidence, other_boot (a part of
# the calls was answered by a predecessor, whose counters are gone).

use strict;
use warnings;
use JSON::PP ();
use Test::More ();
use Time::HiRes qw(time sleep);

use Gamed::Daemon;

sub new {
	my ($class, $d) = @_;
	my $self = bless { backwards => [], scrapes => 0 }, $class;

	$self->follow($d);
	return $self;
}

# Of a server that is new: rows of the tables are not all its own.
sub follow {
	my ($self, $d) = @_;

	$self->{d} = $d;
	$self->{before} = {};
	$self->{answered} = 0;
	$self->{rows_before} = $self->_evidence_rows;
	return;
}

sub _evidence_rows {
	my ($self) = @_;

	return $self->{d}{pg}->psql('select (select count(*) from '
		. 'strategyexecutionlog) + (select count(*) from logs where module <> $$api_key$$)'
		. ' + (select count(*) from apirequests)');
}

# One scrape, compared with the one before; undef when there is none (stats
# may be the one that died).
sub scrape {
	my ($self) = @_;
	my $m = eval { $self->{d}->metrics } or return;
	my $before = $self->{before};

	for my $name (keys %$before) {
		next unless $name =~ /^\w+?_(total|count|sum|bucket)(\{|\z)/;
		push @{ $self->{backwards} }, "$name: $before->{$name} -> "
			. ($m->{$name} // 'gone')
			unless defined $m->{$name} && $m->{$name} >= $before->{$name};
	}
	$self->{before} = $m;
	$self->{scrapes}++;
	return $m;
}

# Scrapes for so many seconds, or until the code says so: then its value.
sub watch {
	my ($self, $seconds, $code) = @_;
	my $end = time + $seconds;

	while (1) {
		my $got = $code ? $code->() : 0;
		return $got if $got;
		return '' if time > $end;
		$self->scrape;
		sleep 0.1; # between two scrapes
	}
}

sub judge {
	my ($self, $what, $record, %opt) = @_;

	Test::More::subtest("$what: judgement" => sub {
		$self->_calls($record, $opt{least} // 50);
		$self->_awards($record);
		$self->_books;
		$self->_counters($record, $opt{other_boot});
		$self->_evidence unless $opt{no_evidence};
	});
	return;
}

# What calls got besides 200, for a diagnosis: "503 x 12, 0 (closed) x 1".
sub outcomes {
	my ($self, $record) = @_;
	my %n;

	$n{ $_->{status} . ($_->{why} && " ($_->{why})") }++ for @$record;
	return join ', ', map { "$_ x $n{$_}" } sort keys %n;
}

sub none {
	my ($name, @bad) = @_;

	return Test::More::is(scalar @bad, 0, $name)
		|| Test::More::diag(join "\n", @bad[0 .. ($#bad > 9 ? 9 : $#bad)]);
}

# Every award ends acknowledged, and nothing but these statuses is seen.
sub _calls {
	my ($self, $record, $least) = @_;
	my (%acknowledged, %sent);

	for my $call (@$record) {
		$sent{ $call->{key} } = 1;
		$acknowledged{ $call->{key} } = 1 if $call->{status} == 200;
	}
	Test::More::note($self->outcomes($record));
	Test::More::cmp_ok(scalar keys %acknowledged, '>=', $least,
		"at least $least awards are acknowledged");
	none('each is acknowledged in the end', map { _life($_, $record) }
		grep { !$acknowledged{$_} } sort keys %sent);
	none('no status but 200, 503, 504 and a broken connection',
		map { "$_->{key}: $_->{status} $_->{body}" }
		grep { $_->{status} !~ /^(0|200|503|504)$/ } @$record);
	return;
}

# All that was tried for one award: when, what came and how long it took.
sub _life {
	my ($key, $record) = @_;

	return join ' ', "$key:", map {
		sprintf '%.3f=%s(%.3f)%s', $_->{at}, $_->{status}, $_->{took},
			$_->{why}
	} grep { $_->{key} eq $key } @$record;
}

sub _stored {
	my ($self, $record) = @_;
	my %prefix = map { $_->{key} =~ /^(.*-)/ ? ($1 => 1) : () } @$record;
	my $which = join ' or ',
		map { qq("idempotencyKey" like '$_%') } sort keys %prefix;
	my $rows = $self->{d}{pg}->psql(<<"SQL");
select "idempotencyKey", u."externalUserId", t."externalTaskId", p.points,
	to_char(p.created_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')
from userpoints p join users u on u.id = p."userId"
join tasks t on t.id = p."taskId" where $which
SQL
	return map { [split /\|/] } split /\n/, $rows;
}

# The record against the rows.
sub _awards {
	my ($self, $record) = @_;
	my (%rows, %made, %sent, @lost, @other, @differ);

	$sent{ $_->{key} } = $_ for @$record;
	my @stored = $self->_stored($record);
	push @{ $rows{ $_->[0] } }, $_ for @stored;
	for my $call (grep { $_->{status} == 200 } @$record) {
		my $row = $rows{ $call->{key} };
		if (!$row) {
			push @lost, $call->{key};
			next;
		}
		my (undef, $user, $task, $points, $at) = @{ $row->[0] };
		my $said = eval { JSON::PP::decode_json($call->{body}) } || {};
		$made{$user}++ if $said->{isACreatedUser};
		push @other, "$call->{key}: $call->{body}"
			if "$user $task $points"
			ne "$call->{user} $call->{task} $call->{points}"
			|| ($said->{points} // '') ne $points;
		push @differ, "$call->{key}: $call->{body} stored at $at"
			if _instant($said->{created_at} // '') ne _instant($at);
	}
	none('acknowledged awards lost: 0', @lost);
	none('awarded twice: 0', grep { @{ $rows{$_} } > 1 } sort keys %rows);
	none('stored but never sent: 0', grep { !$sent{$_} } sort keys %rows);
	none('answers say what is stored', @other);
	none('replays are answered alike', @differ);
	none('a user is new to one answer at most',
		grep { $made{$_} > 1 } sort keys %made);
	return;
}

sub _instant {
	my ($text) = @_;

	$text =~ s/\+00:00\z//;
	$text =~ s/\.?0+\z// if $text =~ /\./;
	return $text;
}

# Points, by gamectl and by two questions of our own.
sub _books {
	my ($self) = @_;
	my ($rc, $out, $err) = $self->{d}->gamectl('verify-points');

	Test::More::is($rc, 0, 'gamectl verify-points')
		or Test::More::diag($out . $err);
	Test::More::is($self->{d}{pg}->psql(<<'SQL'), 0, 'wallet = awards');
select count(*) from (select u.id, coalesce(sum(p.points), 0) as points
	from users u left join userpoints p on p."userId" = u.id group by u.id) a
left join wallet w on w."userId" = a.id
where coalesce(w."pointsBalance", 0) <> a.points
SQL
	Test::More::is($self->{d}{pg}->psql(<<'SQL'), 0, 'ledger = awards');
select count(*) from userpoints p full join wallettransactions l using (id)
where p.points is distinct from l.points
SQL
	return;
}

sub _counters {
	my ($self, $record, $other_boot) = @_;
	my $m;

	Gamed::Daemon::eventually(sub { $m = $self->scrape });
	none("counters never go back over $self->{scrapes} scrapes",
		splice @{ $self->{backwards} });
	return unless $m;
	my $rows = $self->{d}{pg}->psql('select count(*) from userpoints');
	Test::More::cmp_ok($m->{'gamed_awards_total{result="awarded"}'}, '<=',
		$rows, 'no more awards are counted than stored');
	return if $other_boot;
	$self->{answered} += grep { $_->{status} == 200 } @$record;
	Test::More::cmp_ok($m->{'gamed_awards_total{result="awarded"}'}
		+ $m->{'gamed_awards_total{result="replayed"}'}, '>=',
		$self->{answered}, 'all that was answered is counted');
	return;
}

sub _sum {
	my ($m, $name, $class) = @_;
	my $re = defined $class ? qr/^\Q$name\E\{.*\bclass="$class"/
		: qr/^\Q$name\E(\{|\z)/;
	my $sum = 0;

	$_ =~ $re and $sum += $m->{$_} for keys %$m;
	return $sum;
}

sub _evidence {
	my ($self) = @_;
	my ($produced, $stored, $dropped, $queued, $spooled);

	Test::More::ok(Gamed::Daemon::eventually(sub {
		my $m = $self->scrape or return;
		($produced, $stored, $dropped, $queued, $spooled) = map {
			_sum($m, "gamed_evidence_$_")
		} qw(produced_total stored_total dropped_total queued_rows
			spooled_rows);
		return $queued + $spooled == 0;
	}), 'no evidence is queued in the end')
		or return;
	Test::More::is($stored + $dropped, $produced,
		"evidence: produced = stored + dropped ($dropped)");
	my $m = $self->{before};
	none('evidence: in every class', grep { $_ } map {
		my ($p, $s, $d) = (_sum($m, 'gamed_evidence_produced_total', $_),
			_sum($m, 'gamed_evidence_stored_total', $_),
			_sum($m, 'gamed_evidence_dropped_total', $_));
		$p == $s + $d ? '' : "$_: $p produced, $s stored, $d dropped";
	} map { /^gamed_evidence_produced_total\{class="(\w+)"/ ? $1 : () }
		keys %$m);
	# a logger killed while Postgres committed its rows cannot count them as
	# stored: its successor says that they are lost
	my $unknown = 0;
	/^gamed_evidence_dropped_total\{.*"logger_killed"/
		and $unknown += $self->{before}{$_} for keys %{ $self->{before} };
	my $rows = $self->_evidence_rows - $self->{rows_before};
	Test::More::ok($rows >= $stored && $rows <= $stored + $unknown,
		'evidence: the tables hold what was stored')
		or Test::More::diag("$rows rows, $stored stored, "
			. "$unknown lost with a logger");
	return;
}

1;
