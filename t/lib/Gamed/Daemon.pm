package Gamed::Daemon;

# A running gamed for one test.  The object is the guard: when it goes away,
# or the test ends, the server is asked to leave, and the test FAILS when it
# had died before, ends with another status than 0 or leaves processes behind.
# On failure its log is printed.
#
#   my $d = Gamed::Daemon->start(pg => $pg, conf => { 'server.workers' => 2 });
#   my $r = $d->http(GET => '/livez');           # HTTP::Tiny's answer
#   my ($pid) = $d->pids('worker');
#   $d->kill(KILL => $pid);
#   $d->reload;                                  # HUP, awaits READY=1
#   $d->stop;                                    # TERM, expects status 0
#
# A test that wants the server to end otherwise says so: $d->expect_exit(2).

use strict;
use warnings;
use Carp qw(croak);
use Config;
use Cwd ();
use File::Path qw(remove_tree);
use File::Temp qw(tempdir);
use HTTP::Tiny;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX qw(WNOHANG);
use Scalar::Util qw(weaken);
use Test::More ();
use Time::HiRes qw(time sleep);

our $BUILD = $ENV{GAMED_BUILDDIR} || 'build';
$ENV{GAMED_SQLDIR} //= __FILE__ =~ s{t/lib/Gamed/Daemon\.pm$}{sql}r;
our $TIMEOUT = $ENV{GAMED_TEST_TIMEOUT} || 30;

my %live; # guards whose server may still run

# Options: pg (Gamed::Postgres), conf ({'section.key' => value}),
# migrate (default: when pg is given), await (default 1: until READY=1),
# from (an earlier object, to start a successor in the same place), args, env,
# wrap (a command that runs gamed; {port} is replaced),
# listen ([[name, socket], ...]: passed as systemd does).
sub start {
	my ($class, %opt) = @_;
	my $from = $opt{from};
	my $self = bless {
		owner => $$,
		dir => $from ? $from->{dir} : tempdir('gd.XXXXXX', DIR => '/tmp'),
		port => $from ? $from->{port} : free_port(),
		metrics_port => $from ? $from->{metrics_port} : free_port(),
		pg => $opt{pg} // ($from && $from->{pg}),
		messages => [],
	}, $class;

	if ($from) {
		$from->{handed_on} = 1;
		$self->{conf} = { %{ $from->{conf} }, %{ $opt{conf} // {} } };
	} else {
		$self->{conf} = { $self->_default_conf, %{ $opt{conf} // {} } };
	}
	$self->write_conf;
	if ($opt{migrate} // ($self->{pg} && !$from)) {
		my ($rc, $out, $err) = $self->gamectl('migrate');
		croak "gamectl migrate: $out$err" if $rc;
	}
	$self->_launch(\%opt);
	$self->await_ready if $opt{await} // 1;
	return $self;
}

sub pid { return $_[0]{pid} }
sub port { return $_[0]{port} }
sub metrics_port { return $_[0]{metrics_port} }
sub dir { return $_[0]{dir} }
sub conf_path { return "$_[0]{dir}/gamed.yaml" }
sub log_path { return "$_[0]{dir}/log" }
sub url { return "http://127.0.0.1:$_[0]{port}" }
# Of this object's server; what a predecessor wrote to the file is before it.
sub log { return substr _read($_[0]->log_path), $_[0]{log_from} }

sub free_port {
	my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')
		or croak "cannot bind: $!";
	return $s->sockport;
}

# True as soon as the code says so, '' after the deadline.
sub eventually {
	my ($code, $timeout) = @_;
	my $end = time + ($timeout // $TIMEOUT);

	while (1) {
		my $got = $code->();
		return $got if $got;
		return '' if time > $end;
		sleep 0.02;
	}
}

# ---- configuration ----------------------------------------------------------

sub _default_conf {
	my ($self) = @_;
	my %conf = (
		'server.run_dir' => $self->{dir},
		'server.state_dir' => $self->{dir},
		'http.address' => '127.0.0.1',
		'http.port' => $self->{port},
		'metrics.port' => $self->{metrics_port},
		'kpi.uptime' => 'false', # its requests would be counted
	);

	if ($self->{pg}) {
		$conf{'database.host'} = $self->{pg}->dir;
		$conf{'database.name'} = $self->{pg}->dbname;
		$conf{'database.user'} = 'postgres';
	}
	return %conf;
}

# Writes the file, after changes where some are given.
sub write_conf {
	my ($self, %change) = @_;
	my (%by_section, $text);

	%{ $self->{conf} } = (%{ $self->{conf} }, %change);
	for my $name (sort keys %{ $self->{conf} }) {
		my ($section, $key) = split /\./, $name, 2;
		my $value = $self->{conf}{$name};
		$value = "\"$value\"" unless $value =~ /\A(-?[\d.]+|true|false)\z/
			|| $value =~ /\A\[/;
		$by_section{$section} .= "  $key: $value\n";
	}
	$text = join '', map { "$_:\n$by_section{$_}" } sort keys %by_section;
	$self->write_conf_text($text);
	return;
}

sub write_conf_text {
	my ($self, $text) = @_;

	open my $f, '>', $self->conf_path or croak $self->conf_path . ": $!";
	print $f $text;
	close $f;
	return;
}

# ---- starting and waiting ---------------------------------------------------

sub _launch {
	my ($self, $opt) = @_;
	my @cmd = ((map { s/\{port\}/$self->{port}/r } @{ $opt->{wrap} // [] }),
		Cwd::abs_path($BUILD) . '/gamed', '-c', $self->conf_path,
		@{ $opt->{args} // [] });
	my $path = "$self->{dir}/notify";

	$self->{log_from} = -s $self->log_path || 0;
	unlink $path;
	$self->{notify} = IO::Socket::UNIX->new(
		Type => SOCK_DGRAM, Local => $path) or croak "$path: $!";
	my $pid = fork // croak "fork: $!";
	if ($pid == 0) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', $self->log_path;
		open STDERR, '>&', \*STDOUT;
		$ENV{NOTIFY_SOCKET} = $path;
		delete @ENV{qw(WATCHDOG_USEC WATCHDOG_PID)};
		%ENV = (%ENV, %{ $opt->{env} // {} });
		_pass_sockets(@{ $opt->{listen} }) if $opt->{listen};
		exec @cmd or POSIX::_exit(127);
	}
	$self->{pid} = $pid;
	$live{$pid} = $self;
	weaken $live{$pid};
	return;
}

# In the child: descriptors 3, 4, ... as systemd passes them.
sub _pass_sockets {
	my (@named) = @_;
	my @high = map { POSIX::dup2(fileno $named[$_][1], 200 + $_) }
		0 .. $#named;

	for my $i (0 .. $#named) {
		POSIX::dup2($high[$i], 3 + $i); # dup2 clears close-on-exec
		POSIX::close($high[$i]);
	}
	$ENV{LISTEN_PID} = $$;
	$ENV{LISTEN_FDS} = @named;
	$ENV{LISTEN_FDNAMES} = join ':', map { $_->[0] } @named;
	return;
}

# Takes what has come on the notify socket.
sub _take_messages {
	my ($self, $timeout) = @_;

	while (IO::Select->new($self->{notify})->can_read($timeout)) {
		my $text;
		defined $self->{notify}->recv($text, 4096) or last;
		push @{ $self->{messages} }, $text;
		$timeout = 0;
	}
	return;
}

# Waits for a message that matches and forgets it with all before it.
sub await_message {
	my ($self, $re, $timeout) = @_;
	my $end = time + ($timeout // $TIMEOUT);

	while (time < $end) {
		while (defined(my $text = shift @{ $self->{messages} })) {
			return $text if $text =~ $re;
		}
		$self->_take_messages(0.05);
		if (!@{ $self->{messages} } && !$self->alive) {
			$self->_take_messages(0);
			next if @{ $self->{messages} };
			$self->show_log;
			croak "gamed ended while $re was awaited, status $self->{status}";
		}
	}
	$self->show_log;
	croak "no $re from gamed in time";
}

sub await_ready {
	my ($self, $timeout) = @_;

	return $self->await_message(qr/^READY=1/m, $timeout);
}

# Lines of the log appear in time: true or ''.
sub await_log {
	my ($self, $re, $timeout) = @_;

	return eventually(sub { $self->log =~ $re }, $timeout);
}

# ---- processes --------------------------------------------------------------

# False once the master has been reaped; {status} is then its $?.
sub alive {
	my ($self) = @_;

	return '' if defined $self->{status};
	$self->_take_messages(0); # its queue is short
	return 1 if waitpid($self->{pid}, WNOHANG) == 0;
	$self->{status} = $?;
	return '';
}

# Pids of the children, by role or all; zombies do not count.
sub pids {
	my ($self, $role) = @_;
	my $prefix = 'gamed-' . ($role // '');
	my @pids = grep {
		process_runs($_) && index(_read("/proc/$_/comm"), $prefix) == 0
	} split ' ', _read("/proc/$self->{pid}/task/$self->{pid}/children");

	return @pids;
}

sub process_runs {
	my ($pid) = @_;

	return _read("/proc/$pid/stat") =~ /\) [^ZX]/;
}

sub kill {
	my ($self, $signal, @pids) = @_;

	@pids = ($self->{pid}) unless @pids;
	return CORE::kill($signal, @pids) == @pids;
}

# The next end of the master shall have this status: an exit code, or
# 'KILL' and the like for a signal.
sub expect_exit {
	my ($self, $status) = @_;

	$self->{expected} = $status;
	return $self;
}

# Waits for the end and judges it; the status is returned in the same form.
sub await_exit {
	my ($self, $timeout) = @_;
	my $end = time + ($timeout // $TIMEOUT);

	sleep 0.01 while $self->alive && time < $end;
	if ($self->alive) {
		Test::More::fail('gamed ends in time');
		$self->show_log;
		CORE::kill(KILL => $self->{pid});
		waitpid $self->{pid}, 0;
		$self->{status} = $?;
	}
	delete $live{ $self->{pid} };
	my $got = $self->exit_status;
	my $want = $self->{expected} // 0;
	if ($got ne $want) {
		Test::More::fail("gamed ends with $want");
		Test::More::diag("it ended with $got");
		$self->show_log;
	}
	return $got;
}

sub exit_status {
	my ($self) = @_;
	my $status = $self->{status};

	return unless defined $status;
	return $status >> 8 unless $status & 127;
	my @names = split ' ', $Config::Config{sig_name};
	return $names[ $status & 127 ];
}

# TERM, the end, no child left.
sub stop {
	my ($self, $timeout) = @_;
	my @pids = $self->alive ? $self->pids : ();

	$self->kill('TERM') if $self->alive;
	my $got = $self->await_exit($timeout);
	my @left = grep { process_runs($_) } @pids;
	if (@left) {
		Test::More::fail('no process is left');
		$self->show_log;
		CORE::kill(KILL => @left);
	}
	return $got;
}

# HUP, and back to readiness.
sub reload {
	my ($self) = @_;

	$self->_take_messages(0);
	$self->{messages} = [];
	$self->kill('HUP');
	$self->await_message(qr/^RELOADING=1/m);
	return $self->await_ready;
}

# ---- talking to it ----------------------------------------------------------

# HTTP::Tiny's response; every call its own connection.
sub http {
	my ($self, $method, $path, %opt) = @_;

	$self->_take_messages(0);
	return HTTP::Tiny->new(timeout => $TIMEOUT)->request($method,
		($path =~ /^http:/ ? $path : $self->url . $path), \%opt);
}

# A raw connection to the API.
sub connect {
	my ($self) = @_;

	return IO::Socket::INET->new(PeerAddr => '127.0.0.1',
		PeerPort => $self->{port}, Timeout => 5);
}

# Samples of the scrape: {'name{labels}' => value}.
sub metrics {
	my ($self) = @_;
	my $r = $self->http(GET => "http://127.0.0.1:$self->{metrics_port}/metrics");

	croak "scrape: $r->{status} $r->{content}" unless $r->{success};
	return { map { /^(\S+(?:\{.*\})?) (\S+)$/ ? ($1 => $2) : () }
			grep { !/^#/ } split /\n/, $r->{content} };
}

# One command on the admin socket; the lines of its answer.
sub admin {
	my ($self, $command) = @_;
	my $s = IO::Socket::UNIX->new(Peer => "$self->{dir}/admin.sock")
		or croak "admin.sock: $!";
	my @lines;

	print $s "$command\n";
	$s->flush;
	while (defined(my $line = <$s>)) {
		chomp $line;
		last if $line eq '';
		push @lines, $line;
	}
	return @lines;
}

# (exit code, standard output, standard error)
sub gamectl {
	my ($self, @args) = @_;

	return run_program("$BUILD/gamectl", '-c', $self->conf_path, @args);
}

sub run_program {
	my (@cmd) = @_;
	my $dir = tempdir('gd-run.XXXXXX', DIR => '/tmp', CLEANUP => 1);
	my $pid = fork // croak "fork: $!";

	if ($pid == 0) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$dir/out";
		open STDERR, '>', "$dir/err";
		exec @cmd or POSIX::_exit(127);
	}
	waitpid $pid, 0;
	my $rc = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	return ($rc, _read("$dir/out"), _read("$dir/err"));
}

# ---- the end ----------------------------------------------------------------

sub show_log {
	my ($self) = @_;

	Test::More::diag("log of gamed $self->{pid}:\n" . $self->log);
	return;
}

sub _read {
	my ($path) = @_;

	open my $f, '<', $path or return '';
	local $/;
	my $text = <$f>;
	return $text // '';
}

sub _finish {
	my ($self) = @_;

	return if $self->{finished} || $self->{owner} != $$;
	$self->{finished} = 1;
	if (defined $self->{pid} && $live{ $self->{pid} }) {
		Test::More::fail('gamed still runs at the end of its test')
			unless $self->alive || defined $self->{expected};
		$self->stop;
	}
	$self->{notify}->close if $self->{notify};
	remove_tree($self->{dir}) unless $self->{handed_on};
	return;
}

sub DESTROY {
	my ($self) = @_;

	local ($?, $@, $!);
	$self->_finish;
	return;
}

# Before Test::More sums up: guards in file scope outlive it otherwise.
END {
	my $rc = $?;
	my @guards = grep { $_ && $_->{owner} == $$ } values %live;

	$_->_finish for @guards;
	$? = $rc || (Test::More->builder->is_passing ? 0 : 1);
}

1;
