package Gamed::Proxy;

# A proxy between a server under test and its Postgres: a process that listens
# on a Unix socket as Postgres would and forwards both ways.  Faults are
# switched on and off while connections are open.
#
#   my $proxy = Gamed::Proxy->start($pg);
#   ... 'database.host' => $proxy->dir ...
#   $proxy->set('stall');          # takes bytes, forwards none
#   $proxy->set(delay => 0.2);     # forwards each piece so much later
#   $proxy->set(cut => 3);         # the next three awards: cut the connection
#                                  # as soon as the COMMIT (Sync) has been sent
#   $proxy->set(drop => 3);        # cut it before, the award never ran
#   $proxy->set('refuse');         # closes what is open and what comes
#   $proxy->set('pass');
#   $proxy->count('cut');          # how many connections were cut so far
#
# A cut comes after the bytes were handed to Postgres and before any answer
# was read: the server cannot know what became of them.

use strict;
use warnings;
use Carp qw(croak);
use Errno qw(EAGAIN EINTR);
use File::Temp qw(tempdir);
use IO::Handle;
use IO::Socket::UNIX;
use POSIX ();
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);
use Time::HiRes qw(time);

my $LIFE = 600; # seconds that no proxy outlives
my $PORT = 5432;

sub start {
	my ($class, $pg) = @_;
	my $self = bless {
		owner => $$,
		dir => tempdir('gd-proxy.XXXXXX', DIR => '/tmp', CLEANUP => 1),
		to => $pg->dir . "/.s.PGSQL.$PORT",
	}, $class;
	my $listener = IO::Socket::UNIX->new(Listen => 100, Type => SOCK_STREAM,
		Local => "$self->{dir}/.s.PGSQL.$PORT") or croak "listen: $!";

	socketpair $self->{control}, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC
		or croak "socketpair: $!";
	my $pid = fork // croak "fork: $!";
	if ($pid == 0) {
		close $self->{control};
		my $ok = eval { _run($listener, $theirs, $self->{to}); 1 };
		warn $@ unless $ok;
		POSIX::_exit($ok ? 0 : 1);
	}
	$self->{control}->autoflush;
	$self->{pid} = $pid;
	return $self;
}

sub dir { return $_[0]{dir} }

# Returns when it is in force.
sub set {
	my ($self, $mode, $value) = @_;

	return $self->_ask("$mode " . ($value // 0));
}

sub count { return $_[0]->_ask("count $_[1]") }

sub _ask {
	my ($self, $line) = @_;

	print { $self->{control} } "$line\n" or croak "proxy: $!";
	my $answer = readline $self->{control};
	croak 'the proxy died' unless defined $answer;
	chomp $answer;
	return $answer;
}

sub DESTROY {
	my ($self) = @_;

	return unless $self->{owner} == $$ && $self->{pid};
	local ($?, $!);
	kill KILL => $self->{pid};
	waitpid $self->{pid}, 0;
	return;
}

# ---- its own process --------------------------------------------------------------

my %state;
my %links; # by descriptor of either end
my @later; # [time, link, end, bytes], in the order of their times

sub _run {
	my ($listener, $control, $to) = @_;
	my $end = time + $LIFE;

	$SIG{PIPE} = 'IGNORE';
	%state = (mode => 'pass', delay => 0, cut => 0, drop => 0,
		count => { cut => 0, drop => 0, refused => 0, accepted => 0 });
	while (time < $end) {
		my $in = '';
		vec($in, fileno $listener, 1) = 1;
		vec($in, fileno $control, 1) = 1;
		if ($state{mode} ne 'stall') {
			vec($in, $_, 1) = 1 for keys %links;
		}
		my $wait = @later ? $later[0][0] - time : 1;
		my $n = select $in, undef, undef, $wait > 0 ? $wait : 0;
		_send_due();
		next if $n <= 0;
		if (vec($in, fileno $control, 1)) {
			my $line = readline $control;
			return unless defined $line;
			_obey($control, split ' ', $line);
		}
		for my $fd (keys %links) {
			_forward($fd) if vec($in, $fd, 1) && $links{$fd};
		}
		_accept($listener, $to) if vec($in, fileno $listener, 1);
	}
	return;
}

sub _obey {
	my ($control, $what, $value) = @_;
	my $answer = 'ok';

	if ($what eq 'count') {
		$answer = $state{count}{$value} // 0;
	} elsif ($what eq 'cut' || $what eq 'drop') {
		$state{$what} = $value;
	} else {
		$state{mode} = $what;
		$state{delay} = $what eq 'delay' ? $value : 0;
		if ($what eq 'refuse') {
			_close($_) for _unique();
		}
	}
	syswrite $control, "$answer\n";
	return;
}

sub _unique { my %seen; return grep { !$seen{$_}++ } values %links }

sub _accept {
	my ($listener, $to) = @_;
	my $client = $listener->accept or return;

	if ($state{mode} eq 'refuse') {
		$state{count}{refused}++;
		close $client;
		return;
	}
	my $server = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $to);
	return unless $server;
	$state{count}{accepted}++;
	my $link = { client => $client, server => $server, seen => '' };
	$links{ fileno $_ } = $link for $client, $server;
	return;
}

sub _close {
	my ($link) = @_;

	@later = grep { $_->[1] != $link } @later;
	for my $end (qw(client server)) {
		delete $links{ fileno $link->{$end} };
		close $link->{$end};
	}
	return;
}

sub _forward {
	my ($fd) = @_;
	my $link = $links{$fd};
	my $from = fileno($link->{client}) == $fd ? 'client' : 'server';
	my $n = sysread $link->{$from}, my $bytes, 65536;

	return if !defined $n && ($! == EAGAIN || $! == EINTR);
	return _close($link) unless $n;
	my $to = $from eq 'client' ? 'server' : 'client';
	if ($state{delay}) {
		push @later, [time + $state{delay}, $link, $to, $bytes];
		return;
	}
	# what was delayed goes first
	$_->[1] == $link && $_->[2] eq $to
		&& return push @later, [$later[-1][0], $link, $to, $bytes]
		for @later;
	my $is_award = $from eq 'client' && _ends_award($link, $bytes);
	return _cut($link, 'drop') if $is_award && $state{drop} > 0;
	_put($link, $to, $bytes) or return;
	_cut($link, 'cut') if $is_award && $state{cut} > 0;
	return;
}

sub _put {
	my ($link, $to, $bytes) = @_;

	while (length $bytes) {
		my $n = syswrite $link->{$to}, $bytes;
		if (!defined $n) {
			next if $! == EINTR;
			_close($link);
			return 0;
		}
		substr $bytes, 0, $n, '';
	}
	return 1;
}

sub _send_due {
	while (@later && $later[0][0] <= time) {
		my (undef, $link, $to, $bytes) = @{ shift @later };
		_put($link, $to, $bytes) if $links{ fileno $link->{$to} };
	}
	return;
}

# Do these bytes end a write of awards?  Its Bind names the statement, a Sync
# ends what was sent.
sub _ends_award {
	my ($link, $bytes) = @_;

	$link->{seen} = substr $link->{seen} . $bytes, -200_000;
	return 0 unless $link->{seen} =~ /S\x00\x00\x00\x04\z/;
	my $is_award = $link->{seen} =~ /B.{4}\x00award_write\x00/s;
	$link->{seen} = '';
	return $is_award;
}

sub _cut {
	my ($link, $which) = @_;

	$state{$which}--;
	$state{count}{$which}++;
	_close($link);
	return;
}

1;
