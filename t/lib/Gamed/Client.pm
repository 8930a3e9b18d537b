package Gamed::Client;

# One keep-alive HTTP/1.1 connection to the daemon under test.
#
#   my $c = Gamed::Client->new(port => $port, key => $secret);
#   my $r = $c->post('/api/v1/games', { externalGameId => 'g' });
#   is($r->{status}, 200); is($r->{json}{detail}, ...);
#
# A request whose connection breaks has the status 0 and no body: whether it
# was carried out is unknown, as for any client.  Never retries by itself.

use strict;
use warnings;
use Carp qw(croak);
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use Time::HiRes qw(time);

my $JSON = JSON::PP->new->utf8->canonical->allow_nonref;

sub new {
	my ($class, %arg) = @_;

	croak 'port is missing' unless $arg{port};
	return bless { host => '127.0.0.1', timeout => 20, %arg }, $class;
}

sub get { my ($self, $path, %h) = @_; return $self->request('GET', $path, undef, %h) }
sub post { my ($self, @a) = @_; return $self->request('POST', @a) }
sub patch { my ($self, @a) = @_; return $self->request('PATCH', @a) }
sub put { my ($self, @a) = @_; return $self->request('PUT', @a) }
sub delete { my ($self, $path, %h) = @_; return $self->request('DELETE', $path, undef, %h) }

# Body: a reference becomes JSON, text is sent as it is, undef is no body.
sub request {
	my ($self, $method, $path, $body, %headers) = @_;

	$body = $JSON->encode($body) if ref $body;
	my $head = "$method $path HTTP/1.1\r\nHost: $self->{host}\r\n";
	$headers{'X-API-Key'} //= $self->{key} if defined $self->{key};
	$headers{'Content-Type'} //= 'application/json' if defined $body;
	$headers{'Content-Length'} = length $body if defined $body;
	for my $name (sort keys %headers) {
		$head .= "$name: $headers{$name}\r\n"
			if defined $headers{$name};
	}
	local $SIG{PIPE} = 'IGNORE';
	my $sock = $self->_socket or return _lost('cannot connect');
	print {$sock} $head . "\r\n" . ($body // '')
		or return $self->_drop('cannot send');
	return $self->_answer($method);
}

sub close {
	my ($self) = @_;

	close delete $self->{sock} if $self->{sock};
	delete $self->{in};
	return;
}

sub _socket {
	my ($self) = @_;

	$self->{in} = '' unless $self->{sock};
	return $self->{sock} ||= IO::Socket::INET->new(
		PeerAddr => $self->{host}, PeerPort => $self->{port},
		Timeout => $self->{timeout});
}

sub _lost { return { status => 0, error => $_[0], headers => {}, body => '' } }

sub _drop {
	my ($self, $why) = @_;

	$self->close;
	return _lost($why);
}

# Reads until the pattern matches or $n bytes are there; false at the end.
sub _fill {
	my ($self, $done, $until) = @_;

	while (!$done->($self->{in})) {
		my $left = $until - time;
		return 0 if $left <= 0;
		next unless IO::Select->new($self->{sock})->can_read($left);
		my $n = sysread $self->{sock}, $self->{in}, 65536,
			length $self->{in};
		return 0 unless $n;
	}
	return 1;
}

# The chunks joined, undef when they end early.
sub _chunks {
	my ($self, $until) = @_;
	my $body = '';

	while (1) {
		$self->_fill(sub { $_[0] =~ /\r\n/ }, $until) or return;
		$self->{in} =~ s/^([0-9a-f]+)\r\n//i or return;
		my $len = hex $1;
		$self->_fill(sub { length $_[0] >= $len + 2 }, $until) or return;
		$body .= substr $self->{in}, 0, $len, '';
		substr $self->{in}, 0, 2, '';
		return $body if $len == 0;
	}
}

sub _answer {
	my ($self, $method) = @_;
	my $until = time + $self->{timeout};

	$self->_fill(sub { $_[0] =~ /\r\n\r\n/ }, $until)
		or return $self->_drop('no answer');
	$self->{in} =~ s/^(.*?)\r\n\r\n//s;
	my ($line, @lines) = split /\r\n/, $1;
	my ($status) = $line =~ m{^HTTP/1\.[01] (\d{3})}
		or return $self->_drop("bad status line: $line");
	my %h = map { /^([^:]+):\s*(.*)$/ ? (lc $1, $2) : () } @lines;
	my $len = $method eq 'HEAD' || $status == 204 ? 0
		: $h{'content-length'} // 0;
	$self->_fill(sub { length $_[0] >= $len }, $until)
		or return $self->_drop('answer cut off');
	my $body = ($h{'transfer-encoding'} // '') eq 'chunked'
		? $self->_chunks($until) : substr $self->{in}, 0, $len, '';
	return $self->_drop('answer cut off') unless defined $body;
	$self->close if lc($h{connection} // '') eq 'close';
	my $r = { status => $status, headers => \%h, body => $body };
	$r->{json} = eval { $JSON->decode($body) } if length $body;
	return $r;
}

1;
