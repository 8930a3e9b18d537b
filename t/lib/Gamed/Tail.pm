package Gamed::Tail;

# A reader of the tail socket.
#
#   my $t = Gamed::Tail->new($d, status => 'error');  # follows when this returns
#   my @lines = $t->take(3);      # decoded, in order; fewer at the end or late
#   my @more = $t->take_until(sub { $_[0]{missed} });
#   $t->pump;                     # reads what is there, never waits
#
# Between those it does not read.

use strict;
use warnings;
use Carp qw(croak);
use Gamed::Daemon;
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP ();
use Time::HiRes qw(time);

# A connection on which nothing was said.
sub connect {
	my ($class, $d) = @_;
	my $sock = IO::Socket::UNIX->new(Peer => $d->dir . '/tail.sock')
		or croak "tail.sock: $!";

	return bless { sock => $sock, in => '', lines => [] }, $class;
}

sub new {
	my ($class, $d, %filter) = @_;
	my $self = $class->connect($d);
	my ($first) = $self->say(JSON::PP::encode_json(\%filter))->take(1);

	croak 'no answer of the tail' unless $first;
	croak JSON::PP::encode_json($first) unless $first->{ready};
	return $self;
}

sub say {
	my ($self, $line) = @_;

	local $SIG{PIPE} = 'IGNORE'; # it may have been turned away already
	syswrite $self->{sock}, "$line\n";
	return $self;
}

sub ended { return $_[0]{ended} }

# Reads what is there; false when there was nothing for so many seconds.
sub pump {
	my ($self, $timeout) = @_;

	while (!$self->{ended}
		&& IO::Select->new($self->{sock})->can_read($timeout // 0)) {
		my $n = sysread $self->{sock}, $self->{in}, 65536,
			length $self->{in};
		$self->{ended} = 1 unless $n;
		while ($self->{in} =~ s/\A([^\n]*)\n//) {
			push @{ $self->{lines} }, JSON::PP::decode_json($1);
		}
		return 1 if $timeout;
	}
	return 0;
}

# So many lines, fewer when they do not come.
sub take {
	my ($self, $n) = @_;
	my $until = time + $Gamed::Daemon::TIMEOUT;

	while (@{ $self->{lines} } < $n && !$self->{ended} && time < $until) {
		$self->pump(0.2);
	}
	$n = @{ $self->{lines} } if $n > @{ $self->{lines} };
	return splice @{ $self->{lines} }, 0, $n;
}

# Lines up to the first that the code likes, or all when none comes.
sub take_until {
	my ($self, $code) = @_;
	my @got;

	while (my ($line) = $self->take(1)) {
		push @got, $line;
		last if $code->($line);
	}
	return @got;
}

1;
