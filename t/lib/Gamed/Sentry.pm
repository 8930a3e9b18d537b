package Gamed::Sentry;

# A Sentry on the loopback: a process that takes envelopes, keeps each request
# as it came and answers as it is told.
#
#   my $sentry = Gamed::Sentry->start;
#   ... 'sentry.dsn' => $sentry->dsn ...
#   $sentry->answer(429, 'Retry-After: 60');  # from the next request on
#   $sentry->answer('never');                 # reads, and says nothing
#   my @envelopes = $sentry->envelopes;       # parsed, dies on bad framing
#
# An envelope is { line, headers, header, items => [{ header, payload }] }.

use strict;
use warnings;
use Carp qw(croak);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();

my $LIFE = 600; # seconds that no endpoint outlives

sub start {
	my ($class) = @_;
	my $self = bless {
		owner => $$,
		dir => tempdir('gd-sentry.XXXXXX', DIR => '/tmp', CLEANUP => 1),
	}, $class;
	my $listener = IO::Socket::INET->new(Listen => 100, ReuseAddr => 1,
		LocalAddr => '127.0.0.1') or croak "listen: $!";

	$self->{port} = $listener->sockport;
	$self->answer(200);
	my $pid = fork // croak "fork: $!";
	if ($pid == 0) {
		POSIX::setpgid(0, 0);
		$SIG{CHLD} = 'IGNORE';
		$SIG{ALRM} = sub { POSIX::_exit(0) };
		alarm $LIFE;
		_serve($listener, $self->{dir});
		POSIX::_exit(0);
	}
	POSIX::setpgid($pid, $pid);
	$self->{pid} = $pid;
	return $self;
}

sub dsn { return "http://publickey:secretkey\@127.0.0.1:$_[0]{port}/base/42" }

sub answer {
	my ($self, $status, @headers) = @_;

	_spew("$self->{dir}/answer", join "\r\n", $status, @headers);
	return;
}

sub DESTROY {
	my ($self) = @_;

	local ($?, $!);
	return if $$ != $self->{owner} || !$self->{pid};
	kill KILL => -$self->{pid};
	waitpid $self->{pid}, 0;
	return;
}

sub _spew {
	my ($path, $text) = @_;

	open my $f, '>', "$path.new" or die "$path: $!";
	binmode $f;
	print $f $text;
	close $f;
	rename "$path.new", $path or die "$path: $!";
	return;
}

sub _slurp {
	my ($path) = @_;

	open my $f, '<', $path or die "$path: $!";
	binmode $f;
	local $/;
	return scalar <$f>;
}

# ---- the endpoint -----------------------------------------------------------

sub _serve {
	my ($listener, $dir) = @_;
	my $number = 0;

	while (1) {
		my $c = $listener->accept or next;
		$number++;
		my $pid = fork // die "fork: $!";
		if ($pid == 0) {
			eval { _talk($c, $dir, $number); 1 } or warn $@;
			POSIX::_exit(0);
		}
		close $c;
	}
	return;
}

sub _talk {
	my ($c, $dir, $number) = @_;
	my $count = 0;

	binmode $c;
	while (defined(my $head = _read_head($c))) {
		my ($len) = $head =~ /^Content-Length:\s*(\d+)/mi;
		my $body = '';

		while (length $body < ($len // 0)) {
			read($c, $body, $len - length $body, length $body)
				or return;
		}
		_spew(sprintf('%s/%05d-%05d.request', $dir, $number, ++$count),
			$head . $body);
		my ($status, @headers) = split /\r\n/, _slurp("$dir/answer");
		sleep $LIFE if $status eq 'never';
		print $c join("\r\n", "HTTP/1.1 $status X", @headers,
			'Content-Length: 2', '', '{}');
		$c->flush;
	}
	return;
}

sub _read_head {
	my ($c) = @_;
	my $head = '';

	while (defined(my $line = <$c>)) {
		$head .= $line;
		return $head if $line eq "\r\n";
	}
	return;
}

# ---- what came --------------------------------------------------------------

# Complete requests, in the order in which they came on each connection.
sub requests {
	my ($self) = @_;

	return map { _slurp($_) } sort glob "$self->{dir}/*.request";
}

sub envelopes {
	my ($self) = @_;

	return map { _parse($_) } $self->requests;
}

# Items of all envelopes of that type, their payloads decoded.
sub items {
	my ($self, $type) = @_;

	return map { $_->{json} } grep { $_->{header}{type} eq $type }
		map { @{ $_->{items} } } $self->envelopes;
}

# By the lengths: every byte must belong to something.
sub _parse {
	my ($request) = @_;
	my ($head, $body) = split /\r\n\r\n/, $request, 2;
	my ($line, @lines) = split /\r\n/, $head;
	my %e = (line => $line, raw => $request,
		headers => { map { /^([^:]+):\s*(.*)$/ ? (lc $1, $2) : () } @lines });

	$body =~ s/\A([^\n]*)\n// or die "no envelope header: $request";
	$e{header} = JSON::PP::decode_json($1);
	while (length $body) {
		$body =~ s/\A([^\n]*)\n// or die "no item header: $body";
		my $header = JSON::PP::decode_json($1);
		my $len = $header->{length} // die 'no length';
		length $body > $len or die "item is cut off: $body";
		my $payload = substr $body, 0, $len, '';
		$body =~ s/\A\n// or die "no newline after the item: $body";
		push @{ $e{items} }, { header => $header, payload => $payload,
			json => JSON::PP::decode_json($payload) };
	}
	return \%e;
}

1;
