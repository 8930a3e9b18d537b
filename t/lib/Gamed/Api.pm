package Gamed::Api;

# What every answer of the HTTP interface has in common, for the tests that
# look at many of them (api.md 2 and 5).
#
#   is_members('game', $r->{json}, { gameId => 'uuid', params => [] });
#   refused('no slug', $r, 409);                  # {"detail": "..."}
#   refused('no name', $r, 422, 'missing body.name');
#   refused('division', $r, 400, { code => 'DSL_ARITH_DIV_BY_ZERO' });

use strict;
use warnings;
use B ();
use Exporter 'import';
use IO::Select;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);

our @EXPORT = qw(new_key order_of is_members kind_of items_of refused framed
	answers_of talk);

# Opens gamectl's mouth once more: a key of its own for each role.
sub new_key {
	my ($d, @args) = @_;
	my ($rc, $out, $err) = $d->gamectl('apikey', 'create', '--client', @args);

	die "apikey create: $err" if $rc;
	chomp $out;
	return $out;
}

my $UUID = qr/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/;
my $DATE = qr/\d{4}-\d\d-\d\d/;
my $TIME = qr/\d\d:\d\d:\d\d(?:\.\d{6})?/;
my %FORM = (
	uuid => qr/\A$UUID\z/,
	ts_z => qr/\A${DATE}T${TIME}Z\z/,
	ts_sp => qr/\A$DATE $TIME\+00:00\z/,
	ts_iso => qr/\A${DATE}T\d\d:\d\d:\d\d(?:\.\d+)?\+00:00\z/,
	hex64 => qr/\A[0-9a-f]{64}\z/,
);

# str, int, float, bool, null, array or object.
sub kind_of {
	my ($v) = @_;

	return 'null' unless defined $v;
	return 'array' if ref $v eq 'ARRAY';
	return 'object' if ref $v eq 'HASH';
	return 'bool' if ref $v;
	my $flags = B::svref_2object(\$v)->FLAGS;
	return 'str' if $flags & B::SVf_POK;
	return $flags & B::SVf_NOK ? 'float' : 'int';
}

sub _fits {
	my ($v, $want) = @_;

	if (ref $want eq 'ARRAY') {
		return ref $v eq 'ARRAY'
			&& !grep { !_fits($_, $want->[0]) } @$v;
	}
	if (ref $want eq 'HASH') {
		return ref $v eq 'HASH'
			&& join(' ', sort keys %$v) eq join(' ', sort keys %$want)
			&& !grep { !_fits($v->{$_}, $want->{$_}) } keys %$want;
	}
	for my $one (split /\|/, $want) {
		return 1 if $FORM{$one} ? kind_of($v) eq 'str' && $v =~ $FORM{$one}
			: kind_of($v) eq $one;
	}
	return '';
}

# Exactly these members, each of the type named: a kind, a form of %FORM,
# alternatives with |, [type of every element] or {members}.
sub is_members {
	my ($name, $got, $want) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return ok(0, "$name: an object") unless ref $got eq 'HASH';
	is(join(' ', sort keys %$got), join(' ', sort keys %$want),
		"$name: its members");
	my @bad = grep { exists $got->{$_} && !_fits($got->{$_}, $want->{$_}) }
		sort keys %$want;
	return is("@bad", '', "$name: their types")
		|| diag explain { map { $_ => $got->{$_} } @bad };
}

# Names of the members of the outermost object, as they came.
sub order_of {
	my ($body) = @_;
	my ($depth, @names) = (0);

	while ($body =~ /\G(?:("(?:[^"\\]|\\.)*")(\s*:)?|([\[{])|([\]}])|[^"\[\]{}]+)/gc) {
		$depth++ if defined $3;
		$depth-- if defined $4;
		push @names, substr $1, 1, -1 if defined $2 && $depth == 1;
	}
	return join ' ', @names;
}

# "type loc.loc.loc" of each validation item, sorted.
sub items_of {
	my ($r) = @_;
	my $detail = ref $r->{json} eq 'HASH' ? $r->{json}{detail} : undef;

	return 'no items' unless ref $detail eq 'ARRAY';
	return join ', ', sort map {
		"$_->{type} " . join '.', @{ $_->{loc} }
	} @$detail;
}

# What holds for any answer with a body.
sub framed {
	my ($name, $r) = @_;
	my $h = $r->{headers};
	my @bad;

	push @bad, 'no nosniff' if ($h->{'x-content-type-options'} // '') ne 'nosniff';
	push @bad, "type $h->{'content-type'}"
		if ($h->{'content-type'} // '') ne 'application/json';
	push @bad, 'length' if ($h->{'content-length'} // -1) != length $r->{body};
	push @bad, 'no correlation id' unless length($h->{'x-correlation-id'} // '');
	push @bad, 'no JSON' unless defined $r->{json};
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is("@bad", '', "$name: framed as every answer");
}

# A refusal with this status: $what is undef for a sentence, text for the
# validation items, a hash for members of an object.
sub refused {
	my ($name, $r, $status, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is($r->{status}, $status, "$name: $status") or diag substr
		$r->{body} || $r->{error} || '', 0, 400;
	framed($name, $r);
	my $detail = ref $r->{json} eq 'HASH' ? $r->{json}{detail} : undef;
	is(order_of($r->{body}), 'detail', "$name: detail alone");
	if (!defined $what) {
		is(kind_of($detail), 'str', "$name: a sentence");
	} elsif (!ref $what) {
		is(items_of($r), $what, "$name: its items");
		my @odd = grep {
			join(' ', sort grep { $_ ne 'ctx' } keys %$_)
				ne 'input loc msg type'
		} ref $detail eq 'ARRAY' ? @$detail : ();
		is(scalar @odd, 0, "$name: type, loc, msg and input");
	} else {
		is(ref $detail, 'HASH', "$name: an object")
			&& is_deeply({ map { $_ => $detail->{$_} } keys %$what },
				$what, "$name: its members");
	}
	return $detail;
}

# ---- raw bytes ----------------------------------------------------------------

# Sends the bytes on a connection of their own and returns what comes until
# the server closes, $n answers are whole, or the time is over.
sub talk {
	my ($d, $bytes, $n, $timeout) = @_;
	my $sock = $d->connect or return '';
	my $until = time + ($timeout // 20);
	my $in = '';

	local $SIG{PIPE} = 'IGNORE';
	$sock->blocking(0);
	while (time < $until) {
		my $sel = IO::Select->new($sock);
		my ($r, $w) = IO::Select->select($sel,
			length $bytes ? $sel : undef, undef, 0.2);
		if ($w && @$w) {
			my $sent = syswrite $sock, $bytes;
			substr $bytes, 0, $sent, '' if $sent;
			$bytes = '' if !defined $sent && !$!{EAGAIN};
		}
		if ($r && @$r) {
			my $got = sysread $sock, $in, 65536, length $in;
			last if !$got && !(!defined $got && $!{EAGAIN});
		}
		last if $n && answers_of($in) >= $n;
	}
	return $in;
}

# The answers in a text: { status, headers, body, json }.
sub answers_of {
	my ($in) = @_;
	my @answers;

	while ($in =~ s/\A(HTTP\/1\.[01] (\d{3})[^\r\n]*\r\n(.*?)\r\n\r\n)//s) {
		my ($status, $head) = ($2, $3);
		next if $status == 100;
		my %h = map { /^([^:]+):\s*(.*)$/ ? (lc $1, $2) : () }
			split /\r\n/, $head;
		my $len = $h{'content-length'} // 0;
		last if length $in < $len;
		my $body = substr $in, 0, $len, '';
		push @answers, { status => $status, headers => \%h, body => $body,
			json => scalar eval {
				JSON::PP->new->utf8->allow_nonref->decode($body)
			} };
	}
	return @answers;
}

1;
