package Gamed::Stream;

# A client of server-sent events.
#
#   my $s = Gamed::Stream->new($d, $path, $key);
#   is($s->status, 200);          # the head has been read, and ": ready"
#   my @events = $s->take(2);     # { event => ..., id => ..., data => decoded }
#   $s->pump;                     # reads what is there, never waits
#
# Between those it does not read.  Comments are counted in {comments}; {ended}
# is 'whole' when the answer ended as it should, 'cut' when it did not.

use strict;
use warnings;
use Carp qw(croak);
use Gamed::Daemon;
use IO::Select;
use JSON::PP ();
use Time::HiRes qw(time);

sub new {
	my ($class, $d, $path, $key) = @_;
	my $sock = $d->connect or croak 'cannot connect';
	my $self = bless { sock => $sock, in => '', text => '', events => [],
		comments => 0 }, $class;
	my $auth = defined $key ? "X-API-Key: $key\r\n" : '';

	syswrite $sock, "GET $path HTTP/1.1\r\nHost: x\r\n$auth\r\n";
	$self->_until(sub { $self->{in} =~ /\r\n\r\n/ });
	$self->{in} =~ s/\A(.*?)\r\n\r\n//s or croak 'no head';
	$self->{head} = $1;
	$self->_until(sub { $self->{comments} }) if $self->status == 200;
	return $self;
}

sub status { return ($_[0]{head} =~ m{\AHTTP/1.1 (\d+)})[0] }

sub close {
	my ($self) = @_;

	close $self->{sock};
	return;
}

sub _event {
	my ($self, $text) = @_;
	my %e = map { /^(\w+): (.*)$/ ? ($1 => $2) : () } split /\n/, $text;

	$self->{comments}++ if $text =~ /^:/m;
	$self->{retry} = $e{retry} if $e{retry};
	return unless $e{event};
	$e{data} = JSON::PP->new->utf8->decode($e{data});
	push @{ $self->{events} }, \%e;
	return;
}

sub _parse {
	my ($self) = @_;

	while ($self->{head} && $self->{in} =~ /\A([0-9a-f]+)\r\n/i) {
		my ($skip, $len) = (2 + length $1, hex $1);

		last if length $self->{in} < $skip + $len + 2;
		$self->{text} .= substr $self->{in}, $skip, $len;
		substr $self->{in}, 0, $skip + $len + 2, '';
		$self->{ended} = 'whole' if $len == 0;
	}
	$self->_event($1) while $self->{text} =~ s/\A(.*?)\n\n//s;
	return;
}

# Reads what is there; false when there was nothing for so many seconds.
sub pump {
	my ($self, $timeout) = @_;

	$self->_parse;
	while (!$self->{ended}
		&& IO::Select->new($self->{sock})->can_read($timeout // 0)) {
		my $n = sysread $self->{sock}, $self->{in}, 65536,
			length $self->{in};
		$self->_parse;
		$self->{ended} ||= 'cut' unless $n;
		return 1 if $timeout;
	}
	return 0;
}

sub _until {
	my ($self, $code) = @_;
	my $until = time + $Gamed::Daemon::TIMEOUT;

	$self->_parse;
	while (!$code->() && !$self->{ended} && time < $until) {
		$self->pump(0.2);
	}
	return;
}

# So many events, fewer when they do not come.
sub take {
	my ($self, $n) = @_;

	$self->_until(sub { @{ $self->{events} } >= $n });
	$n = @{ $self->{events} } if $n > @{ $self->{events} };
	return splice @{ $self->{events} }, 0, $n;
}

# Events up to the first of that kind, or all when none comes.
sub take_until {
	my ($self, $event) = @_;
	my @got;

	while (my ($e) = $self->take(1)) {
		push @got, $e;
		last if $e->{event} eq $event;
	}
	return @got;
}

1;
