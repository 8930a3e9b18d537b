package Gamed::Load;

# Constant load of awards from a seeded plan, by one process of its own with
# many keep-alive connections.  About one call in eight repeats a recent
# idempotency key.  An award that is not answered with 200 is sent again with
# its key, as a good client does, so that in the end all are acknowledged;
# every call is written down with its outcome.
#
#   my $place = Gamed::Load->campaign($d, tasks => 4);
#   my $load = Gamed::Load->start($d, $place, prefix => 'a', seed => 1);
#   $load->await_calls(100);   # that many more are answered with 200
#   my $record = $load->stop;  # the calls in the order of their ends
#
# A call: { key, user, task, points (those to be awarded), status, body, why,
# at, took }.  Status 0 is a broken connection: the outcome is not known.

use strict;
use warnings;
use Carp qw(croak);
use Errno qw(EAGAIN EINTR);
use Exporter;
use File::Temp qw(tempdir);
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use Time::HiRes qw(time sleep);

use Gamed::Daemon;

my $JSON = JSON::PP->new->canonical;
my $LIFE = 600; # seconds that no load outlives

# ---- where the awards go --------------------------------------------------------

# A game with tasks whose strategy gives data.n points, and a key.
sub campaign {
	my ($class, $d, %opt) = @_;
	my $sql_id = 'gen_random_uuid(), now(), now()';
	my ($rc, $out, $err) = $d->gamectl('apikey', 'create', '--client',
		'load');

	croak "apikey: $err" if $rc;
	chomp $out;
	my ($owner) = $out =~ /^([^.]+)/;
	my $ast = $JSON->encode({ type => 'program', id => 'p', rules => [],
		default => { type => 'assign_points', id => 'give',
			case_name => 'Load',
			value => { type => 'field', path => 'data.n' } } });
	my $strategy = $d->{pg}->psql(<<"SQL");
insert into strategydefinition (id, created_at, updated_at, "realmId", name,
	type, version, status, "astJson")
values ($sql_id, 'test', 'load', 'DSL_FULL', 1, 'PUBLISHED', '$ast')
returning id
SQL
	my $game = $d->{pg}->psql(<<"SQL");
insert into games (id, created_at, updated_at, "externalGameId", "strategyId",
	platform, "apiKey_used")
values ($sql_id, 'load', 'default', 'test', '$owner') returning id
SQL
	my @tasks = map { "load-$_" } 1 .. $opt{tasks} // 4;
	$d->{pg}->psql(join '', map { <<"SQL" } @tasks);
insert into tasks (id, created_at, updated_at, "externalTaskId", "gameId",
	"strategyId", status)
values ($sql_id, '$_', '$game', 'custom:$strategy', 'open');
SQL
	return { key => $out, game => $game, tasks => \@tasks };
}

# ---- the parent's side ------------------------------------------------------------

# Options: prefix of the keys, seed, connections, users, pause (seconds of a
# connection between two calls), patience (seconds a call may take),
# insist (seconds until an award is given up), aside (awards that fail are
# sent again at the end only, the connection goes on with others).
sub start {
	my ($class, $d, $place, %opt) = @_;
	my $self = bless {
		owner => $$,
		port => $d->port,
		place => $place,
		dir => tempdir('gd-load.XXXXXX', DIR => '/tmp', CLEANUP => 1),
		prefix => 'load', seed => 1, connections => 12, users => 40,
		pause => 0.01, patience => 30, insist => 60, failed => [], %opt,
	}, $class;

	$self->{path} = "$self->{dir}/calls";
	open my $f, '>', $self->{path} or croak "$self->{path}: $!";
	close $f;
	my $pid = fork // croak "fork: $!";
	if ($pid == 0) {
		my $ok = eval { $self->_run; 1 };
		warn $@ unless $ok;
		POSIX::_exit($ok ? 0 : 1);
	}
	$self->{pid} = $pid;
	return $self;
}

# Ends after the last answer; the calls.
sub stop {
	my ($self) = @_;

	kill TERM => $self->{pid};
	waitpid delete $self->{pid}, 0;
	croak 'the load failed' if $?;
	return [$self->calls];
}

# What has ended so far.
sub calls {
	my ($self) = @_;
	my @names = qw(key user task points status at took why body);
	my @calls;

	open my $f, '<', $self->{path} or croak "$self->{path}: $!";
	while (my $line = <$f>) {
		last unless $line =~ s/\n\z//;
		my %call;
		@call{@names} = split /\t/, $line, scalar @names;
		push @calls, \%call;
	}
	return @calls;
}

# How many calls are acknowledged so far; reads only what is new.
sub acknowledged {
	my ($self) = @_;

	open my $f, '<', $self->{path} or croak "$self->{path}: $!";
	seek $f, $self->{read_to} // 0, 0;
	while (my $line = <$f>) {
		last unless $line =~ /\n\z/;
		$self->{acknowledged} += (split /\t/, $line, 6)[4] == 200;
		$self->{read_to} = tell $f;
	}
	return $self->{acknowledged} // 0;
}

# Waits until so many more calls are acknowledged; false when they are not.
sub await_calls {
	my ($self, $n, $timeout) = @_;
	my $from = $self->acknowledged;

	return Gamed::Daemon::eventually(sub {
		return $self->acknowledged >= $from + $n;
	}, $timeout);
}

sub DESTROY {
	my ($self) = @_;

	return unless $self->{owner} == $$ && $self->{pid};
	local ($?, $!);
	kill KILL => $self->{pid};
	waitpid $self->{pid}, 0;
	return;
}

# ---- the plan -----------------------------------------------------------------------

# The same numbers for the same seed, whatever else asks for random ones.
sub _random {
	my ($self, $below) = @_;

	$self->{seed} = ($self->{seed} * 1103515245 + 12345) & 0x7fffffff;
	return ($self->{seed} >> 8) % $below;
}

sub _next_award {
	my ($self) = @_;
	my $recent = $self->{recent} //= [];

	if (@$recent && $self->_random(8) == 0) {
		return { %{ $recent->[ $self->_random(scalar @$recent) ] } };
	}
	my $tasks = $self->{place}{tasks};
	my $award = {
		key => "$self->{prefix}-" . ++$self->{made},
		user => "$self->{prefix}-user-" . $self->_random($self->{users}),
		task => $tasks->[ $self->_random(scalar @$tasks) ],
		points => 1 + $self->_random(50),
	};
	push @$recent, $award;
	shift @$recent if @$recent > 32;
	return {%$award};
}

# ---- the load's own process ------------------------------------------------------------

sub _run {
	my ($self) = @_;
	my $parent = getppid;
	my $end = time + $LIFE;
	my @conns = map { { next => time + $_ * 0.001 } }
		1 .. $self->{connections};

	local $SIG{TERM} = sub { $self->{leaving} = 1 };
	local $SIG{PIPE} = 'IGNORE';
	open $self->{out}, '>>', $self->{path} or die "$self->{path}: $!";
	$self->{out}->autoflush;
	while (1) {
		my $now = time;
		return if $now > $end || getppid != $parent;
		$self->_step($_, $now) for @conns;
		return if $self->{leaving} && !@{ $self->{failed} }
			&& !grep { $_->{award} } @conns;
		my ($in, $at) = ('', $now + 0.05);
		for my $c (@conns) {
			vec($in, fileno $c->{sock}, 1) = 1 if $c->{busy};
			$at = $c->{next} if !$c->{busy} && $c->{next} < $at;
		}
		my $wait = $at - time;
		select $in, undef, undef, $wait > 0 ? $wait : 0;
	}
}

sub _step {
	my ($self, $c, $now) = @_;

	if ($c->{busy}) {
		$self->_receive($c, $now);
	} elsif ($now >= $c->{next}) {
		if (!$c->{award}) {
			$c->{award} = $self->{leaving}
				? shift @{ $self->{failed} }
				: $self->_next_award;
			return unless $c->{award};
			$c->{give_up} = $now + $self->{insist};
		}
		$self->_send($c, $now);
	}
	return;
}

sub _send {
	my ($self, $c, $now) = @_;
	my $a = $c->{award};
	my $body = qq({"externalUserId":"$a->{user}","data":)
		. qq({"eventId":"$a->{key}","n":$a->{points}}});

	$c->{at} = $now;
	$c->{in} = '';
	if (!$c->{sock}) {
		$c->{sock} = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
			PeerPort => $self->{port}, Timeout => 5);
		return $self->_ended($c, 0, 'cannot connect', '')
			unless $c->{sock};
		$c->{sock}->blocking(0);
	}
	my $text = "POST /api/v1/games/$self->{place}{game}/tasks/$a->{task}"
		. "/points HTTP/1.1\r\nHost: load\r\nX-API-Key: "
		. "$self->{place}{key}\r\nContent-Type: application/json\r\n"
		. 'Content-Length: ' . length($body) . "\r\n\r\n$body";
	# far less than what a socket takes at once
	my $n = syswrite $c->{sock}, $text;
	if (!defined $n || $n != length $text) {
		return $self->_ended($c, 0, 'cannot send', '');
	}
	$c->{busy} = 1;
	return;
}

sub _receive {
	my ($self, $c, $now) = @_;
	my $n = sysread $c->{sock}, $c->{in}, 65536, length $c->{in};

	if (!defined $n && ($! == EAGAIN || $! == EINTR)) {
		$self->_ended($c, 0, 'no answer in time', '')
			if $now - $c->{at} > $self->{patience};
		return;
	}
	return $self->_ended($c, 0,
		$c->{in} eq '' ? 'closed unanswered' : 'answer cut off', '')
		unless $n;
	my ($head, $rest) = split /\r\n\r\n/, $c->{in}, 2;
	return unless defined $rest;
	my ($len) = $head =~ /^content-length:\s*(\d+)/mi;
	return if length $rest < ($len // 0);
	my ($status) = $head =~ m{^HTTP/1\.1 (\d+)} or die "no status: $head";
	$c->{last} = $head =~ /^connection:\s*close/mi;
	$self->_ended($c, $status, '', $rest);
	return;
}

sub _ended {
	my ($self, $c, $status, $why, $body) = @_;
	my $now = time;
	my $a = $c->{award};

	if ($status == 0 || delete $c->{last}) {
		close $c->{sock} if $c->{sock};
		delete $c->{sock};
	}
	$c->{busy} = 0;
	$body =~ s/\s+/ /g;
	printf { $self->{out} } "%s\t%s\t%s\t%d\t%d\t%.6f\t%.6f\t%s\t%s\n",
		@$a{qw(key user task points)}, $status, $c->{at},
		$now - $c->{at}, $why, $body;
	# the client's own pause, longer before another attempt
	$c->{next} = $now + $self->{pause} * ($status == 200 ? 1 : 5);
	push @{ $self->{failed} }, delete $c->{award}
		if $self->{aside} && $status != 200 && !$self->{leaving};
	delete $c->{award} if $status == 200 || $now > $c->{give_up};
	return;
}

1;
