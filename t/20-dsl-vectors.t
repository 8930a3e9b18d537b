#!/usr/bin/perl
# The recorded behaviour of the reference (t/vectors/README.md): every line of
# its three files through `gamectl dsl`, one test a class.
# Numbers are compared as tokens, since JSON::PP forgets 5 from 5.0.
use strict;
use warnings;
use Test::More;
use Digest::SHA qw(sha256_hex);
use File::Temp;
use FindBin;
use Time::HiRes qw(time);

my $top = "$FindBin::Bin/..";
my $build = $ENV{GAMED_BUILDDIR} || "$top/build";
my $gamectl = "$build/gamectl";
my $tmp = File::Temp->newdir;

# ---- values ----------------------------------------------------------------

my %escape = (n => "\n", t => "\t", r => "\r", b => "\b", f => "\f");

# Text between quotes to UTF-8 bytes.
sub unquote {
	my ($s) = @_;
	return $s unless $s =~ /\\/;
	my $unit = sub {
		my ($hi, $lo) = map { hex } @_;
		$hi = 0x10000 + (($hi - 0xd800) << 10) + ($lo - 0xdc00)
			if defined $lo;
		my $c = chr $hi;
		utf8::encode($c);
		return $c;
	};
	$s =~ s{\\u([dD][89abAB]..)\\u([dD][c-fC-F]..)
		|\\u([0-9a-fA-F]{4})
		|\\(.)}{
		defined $1 ? $unit->($1, $2)
		: defined $3 ? $unit->($3)
		: $escape{$4} // $4
	}gxse;
	return $s;
}

# Parses at pos($_[0]).  A scalar becomes a text that starts with its kind; an
# object a hash, an array an array.
sub parse {
	if ($_[0] =~ /\G\s*"((?:[^"\\]++|\\.)*+)"/gcs) {
		my $s = unquote($1);
		return "s:$s" if length $s <= 2048;
		my $chars = () = $s =~ /[^\x80-\xbf]/g;
		return $chars <= 2048 ? "s:$s"
			: 'long:' . length($s) . ':' . sha256_hex($s);
	}
	if ($_[0] =~ /\G\s*(-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)/gc) {
		my $n = $1;
		return "i:$n" unless $n =~ /[.eE]/;
		return 'f:' . ($n == 0 && $n =~ /^-/ ? '-0'
			: sprintf '%.17g', $n);
	}
	return "w:$1" if $_[0] =~ /\G\s*(true|false|null)/gc;
	if ($_[0] =~ /\G\s*\[/gc) {
		my @list;
		until ($_[0] =~ /\G\s*\]/gc) {
			push @list, parse($_[0]);
			$_[0] =~ /\G\s*,/gc;
		}
		return \@list;
	}
	if ($_[0] =~ /\G\s*\{/gc) {
		my %o;
		until ($_[0] =~ /\G\s*\}/gc) {
			my $key = parse($_[0]);
			$_[0] =~ /\G\s*:/gc or die 'colon expected';
			$o{ substr $key, 2 } = parse($_[0]);
			$_[0] =~ /\G\s*,/gc;
		}
		my $long = $o{'$long'};
		return $long ? join ':', 'long', substr($long->{bytes}, 2),
			substr($long->{sha256}, 2) : \%o;
	}
	die 'not JSON at ' . (pos($_[0]) // 0) . ': '
		. substr($_[0], pos($_[0]) // 0, 40);
}

sub parse_text {
	my ($text) = @_;
	pos($text) = 0;
	return parse($text);
}

# One text for one value, keys sorted.
sub canon {
	my ($v) = @_;
	return 'absent' unless defined $v;
	return '[' . join(',', map { canon($_) } @$v) . ']'
		if ref $v eq 'ARRAY';
	return '{' . join(',', map { "$_=" . canon($v->{$_}) } sort keys %$v)
		. '}' if ref $v;
	return $v;
}

# ---- comparing -------------------------------------------------------------

# Members that count, for a result of either kind.
sub compared {
	my ($out) = @_;
	my @error = qw(class code detail params node_id status log_code info);
	my %pick;
	if (ref $out->{error}) {
		@pick{@error} = map { canon($out->{error}{$_}) } @error;
		$pick{nodes} = canon($out->{nodes});
		return \%pick unless ref $out->{log};
		# what a failed run had traced is kept, and counted
		my %log = %{ $out->{log} };
		delete @log{qw(nodesExecuted trace_len)};
		$pick{log} = canon(\%log);
		$pick{$_} = canon($out->{$_}) for qw(phases reads);
		return \%pick;
	}
	my %skip = map { $_ => 1 } qw(message host_exception http offset);
	$pick{$_} = canon($out->{$_}) for grep { !$skip{$_} } keys %$out;
	return \%pick;
}

# Undef when equal, else the first difference.
sub difference {
	my ($want, $got) = map { compared($_) } @_;
	for my $key (sort keys %{ { %$want, %$got } }) {
		my ($w, $g) = map { $_->{$key} // 'absent' } $want, $got;
		next if $w eq $g;
		return "$key: want " . substr($w, 0, 300) . "\n      got "
			. substr($g, 0, 300);
	}
	return undef;
}

# Equal but for floats one unit in the last place apart.
sub nearly {
	my ($w, $g) = map { canon($_) } @_;
	my @w = split /(f:[-+.0-9e]+)/, $w;
	my @g = split /(f:[-+.0-9e]+)/, $g;
	return 0 unless @w == @g;
	for my $i (0 .. $#w) {
		next if $w[$i] eq $g[$i];
		my ($a, $b) = map { /^f:(.*)/ ? unpack 'q', pack 'd', $1 : () }
			$w[$i], $g[$i];
		return 0 unless defined $b && abs($a - $b) <= 1;
	}
	return 1;
}

my %refusable = map { $_ => 1 }
	qw(bigint nonfinite bad_text duplicate_keys deep_json);
my %kinds = (
	container_op => [qw(arith_types compare_types func_failed)],
	int_unicode => ['func_failed'],
	bigint => ['func_failed'],
	nonfinite => ['func_failed'],
	trailing_newline => [qw(case_name_invalid field_path_not_allowed
		set_data_key_charset)],
	unhashable_selector => [qw(condition_unknown_type
		expression_unknown_type statement_unknown_type
		compare_op_not_allowed arith_op_not_allowed
		func_name_not_allowed)],
);
my %codes = (
	bigint => 'DSL_INT_OUT_OF_RANGE',
	nonfinite => 'DSL_NUMBER_NOT_FINITE',
	value_too_large => 'DSL_VALUE_TOO_LARGE',
	bad_text => 'DSL_TEXT_NOT_ALLOWED',
	parent_variable_type => 'DSL_PARENT_FAILED',
);

# Texts of our own, by the name that the vectors give them.
my %free_text = (
	'greengage.minutes_missing' => 'minutes is required',
	'greengage.minutes_not_integer' =>
		'minutes must be a whole number of 0 or more',
);

# What dsl.md section 21 also accepts for a hazard.
sub also_accepted {
	my ($hazard, $want, $got) = @_;
	my $error = ref $got->{error} ? $got->{error} : $got;
	my $code = $error->{code} // '';
	my $kind = $error->{detail} // '';

	return 1 if ($got->{refused} // '') eq 'w:true'
		&& $refusable{$hazard};
	return 1 if $codes{$hazard} && $code eq "s:$codes{$hazard}"
		&& ($hazard ne 'value_too_large'
			|| $error->{status} eq 's:limit');
	return 1 if grep { $kind eq "s:$_" } @{ $kinds{$hazard} || [] };
	return nearly($want, $got) if $hazard eq 'wide_int_division';
	# a bool as a number is one: 1 where the reference hands on true
	if ($hazard eq 'parent_variable_type') {
		my %as_int = %$want;
		$as_int{points} = 'i:1' if ($want->{points} // '') eq 'w:true';
		my @rest = qw(phases log);
		return !difference({ %as_int, map { $_ => 'w:true' } @rest },
			{ %$got, map { $_ => 'w:true' } @rest });
	}
	if ($hazard eq 'negative_minutes') {
		return ($got->{points} // '') eq 'i:-1'
			&& $got->{case_name} eq
				"s:$free_text{'greengage.minutes_not_integer'}"
			&& canon($got->{reads}{parent}) eq '[]';
	}
	if ($hazard eq 'branch_node_id' && ref $want->{error}) {
		my $id = $error->{node_id} // '';
		return 0 unless $id =~ /^s:.+\.else_if\.\d+$/;
		return !difference($want, { %$got,
			error => { %$error,
				node_id => $want->{error}{node_id} } });
	}
	return 0;
}

# ---- running ---------------------------------------------------------------

# Numbers that JSON cannot carry stand in the document as they would be sent.
sub plain_numbers {
	my ($in) = @_;
	my %float = (nan => 'NaN', inf => '1e999', '-inf' => '-1e999');
	my $huge = '9' x 5000;
	$in =~ s/\{"\$int":"(-?\d+|huge)"\}/$1 eq 'huge' ? $huge : $1/ge;
	$in =~ s/\{"\$float":"(-?\w+)"\}/$float{$1}/g;
	return $in;
}

# Lines of a file as {id, class, hazard, in, out}; `in` and `out` are text.
sub vectors {
	my ($name) = @_;
	my @list;
	open my $in, '-|', 'xz', '-dc', "$top/t/vectors/$name.jsonl.xz"
		or die "xz: $!";
	while (my $line = <$in>) {
		chomp $line;
		next if $line eq '';
		my $cut = rindex $line, ',"out":{';
		my ($head) = $line =~ /^(.*?),"in":\{/;
		my %v = ($head =~ /"(id|class|hazard)":"([^"]*)"/g);
		my $at = length($head) + length(',"in":');
		$v{in} = substr $line, $at, $cut - $at;
		$v{out} = substr $line, $cut + 7, -1;
		push @list, \%v;
	}
	close $in or die "xz: exit $?";
	return @list;
}

sub run_all {
	my ($command, @vectors) = @_;
	open my $in, '>', "$tmp/in" or die $!;
	for my $v (@vectors) {
		my $text = $v->{hazard} ? plain_numbers($v->{in}) : $v->{in};
		print $in qq({"id":"$v->{id}","in":$text}\n);
	}
	close $in or die $!;
	system "'$gamectl' dsl $command < $tmp/in > $tmp/out";
	is($?, 0, "gamectl dsl $command exits with 0");
	open my $out, '<', "$tmp/out" or die $!;
	chomp(my @lines = <$out>);
	return @lines;
}

sub problem {
	my ($v, $line) = @_;
	my $head = qq({"id":"$v->{id}","out":);
	return 'no answer' unless defined $line;
	return "answers with another id: " . substr($line, 0, 80)
		unless index($line, $head) == 0;
	my $text = substr $line, length $head, -1;
	return undef if $text eq $v->{out};
	my $out = $v->{out} =~ s/\{"\$text":"([\w.]+)"\}/"$free_text{$1}"/gr;
	my ($want, $got) = map { parse_text($_) } $out, $text;
	my $diff = difference($want, $got);
	return undef if !defined $diff;
	return undef if $v->{hazard}
		&& also_accepted($v->{hazard}, $want, $got);
	return $diff;
}

unless (-x $gamectl) {
	fail("$gamectl is built");
	done_testing;
	exit;
}
my @files = (['validate', 'validate', 1000], ['execute', 'execute', 1000],
	['score', 'extend', 299]);
for my $file (@files) {
	my ($command, $name, $least) = @$file;
	my @vectors = vectors($name);
	cmp_ok(scalar @vectors, '>=', $least, "$name.jsonl is there");
	my $start = time;
	my @lines = run_all($command, @vectors);
	my $rate = @lines / (time - $start) * 60;
	is(scalar @lines, scalar @vectors, 'one line out for each line in');
	cmp_ok($rate, '>=', 20_000, 'at least 20,000 lines a minute');
	my (%cnt, %bad);
	for my $i (0 .. $#vectors) {
		my $v = $vectors[$i];
		my $why = problem($v, $lines[$i]);
		$cnt{ $v->{class} }++;
		push @{ $bad{ $v->{class} } }, "$v->{id}: $why"
			if defined $why;
	}
	for my $class (sort keys %cnt) {
		my @failed = @{ $bad{$class} || [] };
		ok(!@failed, "$command $class ($cnt{$class})")
			or diag scalar(@failed) . " failed, first:\n"
			. "    $failed[0]";
	}
}
done_testing;
