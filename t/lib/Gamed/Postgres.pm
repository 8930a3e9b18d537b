package Gamed::Postgres;

# A private Postgres for one test: a fresh cluster in a short temporary path,
# reached by Unix socket only.  The object is the guard: when it goes away the
# server is stopped and the cluster removed.
#
#   my $pg = Gamed::Postgres->new(max_connections => 20);
#   $pg->psql('SELECT 1');           # text, dies when psql fails
#   my ($rc, $out, $err) = $pg->psql_try($sql);
#   $pg->stop_immediate; $pg->start; # as after a crash

use strict;
use warnings;
use Carp qw(croak);
use File::Path qw(remove_tree);
use File::Temp qw(tempdir);
use POSIX ();

our $BIN = $ENV{PG_BIN} || '/usr/lib/postgresql/15/bin';

# Settings of postgresql.conf by name; `database` names the database made.
sub new {
	my ($class, %conf) = @_;
	my $self = bless {
		owner => $$,
		dbname => delete $conf{database} // 'game',
		dir => tempdir('gpg.XXXXXX', DIR => '/tmp'),
	}, $class;

	chmod 0755, $self->{dir};
	if ($> == 0) {
		my ($uid, $gid) = (getpwnam 'postgres')[2, 3];
		croak 'no user postgres' unless defined $uid;
		chown $uid, $gid, $self->{dir};
	}
	$self->_run('initdb', '-D', $self->datadir, '-U', 'postgres', '-A',
		'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync');
	%conf = (
		listen_addresses => '',
		unix_socket_directories => $self->{dir},
		fsync => 'off',
		shared_buffers => '32MB',
		max_connections => 50,
		log_line_prefix => '%m [%p] %q%a ',
		%conf,
	);
	$self->set(%conf);
	$self->start;
	$self->psql("CREATE DATABASE \"$self->{dbname}\"", 'postgres');
	return $self;
}

# Changes settings for the next start; the last line of a name counts.
sub set {
	my ($self, %conf) = @_;

	open my $f, '>>', $self->datadir . '/postgresql.conf'
		or croak "postgresql.conf: $!";
	print $f "$_ = '$conf{$_}'\n" for sort keys %conf;
	return close $f;
}

sub dir { return $_[0]{dir} }
sub datadir { return "$_[0]{dir}/data" }
sub dbname { return $_[0]{dbname} }
sub logfile { return "$_[0]{dir}/log" }

sub conninfo {
	my ($self, $db) = @_;

	return "host=$self->{dir} user=postgres dbname="
		. ($db // $self->{dbname});
}

sub start {
	my ($self) = @_;

	$self->_run('pg_ctl', '-D', $self->datadir, '-l', $self->logfile,
		'-w', '-t', 60, 'start');
	$self->{running} = 1;
	return;
}

# Waits for no client.
sub stop { return $_[0]->_stop('fast') }
# As a crash: the next start recovers.
sub stop_immediate { return $_[0]->_stop('immediate') }

sub restart {
	my ($self) = @_;

	$self->stop;
	return $self->start;
}

# A database of its own for one case; returns its name.
sub create_db {
	my ($self, $db) = @_;

	$self->psql("CREATE DATABASE \"$db\"", 'postgres');
	return $db;
}

# Runs SQL, returns what psql prints, unaligned and without headings.
sub psql {
	my ($self, $sql, $db) = @_;
	my ($rc, $out, $err) = $self->psql_try($sql, $db);

	croak "psql: $err\n$sql" if $rc;
	return $out;
}

sub psql_try {
	my ($self, $sql, $db) = @_;
	my $base = "$self->{dir}/psql.$$";
	my @cmd = ("$BIN/psql", '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d',
		$self->conninfo($db), '-f', "$base.sql");

	_write("$base.sql", $sql);
	my $pid = fork // croak "fork: $!";
	if ($pid == 0) {
		open STDOUT, '>', "$base.out";
		open STDERR, '>', "$base.err";
		exec @cmd or POSIX::_exit(127);
	}
	waitpid $pid, 0;
	my $rc = $?;
	my ($out, $err) = (_read("$base.out"), _read("$base.err"));
	unlink map { "$base.$_" } qw(sql out err);
	chomp $out;
	return ($rc, $out, $err);
}

# A psql that runs the SQL beside the test, until done or until its object
# goes away: then its connection breaks and its transaction rolls back.
sub background {
	my ($self, $sql, $db) = @_;
	my $pid = fork // croak "fork: $!";

	if ($pid == 0) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', '/dev/null';
		open STDERR, '>&', \*STDOUT;
		exec "$BIN/psql", '-XAtq', '-d', $self->conninfo($db), '-c',
			$sql or POSIX::_exit(127);
	}
	return bless { pid => $pid, owner => $$ }, 'Gamed::Postgres::Background';
}

sub Gamed::Postgres::Background::DESTROY {
	my ($self) = @_;

	return unless $self->{owner} == $$;
	local ($?, $!);
	# psql cancels its statement on INT; KILL would leave it running
	kill INT => $self->{pid};
	waitpid $self->{pid}, 0;
	return;
}

sub _stop {
	my ($self, $mode) = @_;

	return unless $self->{running};
	$self->{running} = 0;
	$self->_run('pg_ctl', '-D', $self->datadir, '-m', $mode, '-w', '-t',
		60, 'stop');
	return;
}

# initdb and postgres refuse root.
sub _run {
	my ($self, $tool, @args) = @_;
	my @cmd = ("$BIN/$tool", @args);
	my $out = "$self->{dir}/$tool.out";

	unshift @cmd, 'runuser', '-u', 'postgres', '--' if $> == 0;
	my $pid = fork // croak "fork: $!";
	if ($pid == 0) {
		chdir '/';
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', $out;
		open STDERR, '>&', \*STDOUT;
		exec @cmd or POSIX::_exit(127);
	}
	waitpid $pid, 0;
	croak "$tool failed: " . _read($out) if $?;
	return;
}

sub _read {
	my ($path) = @_;

	open my $f, '<', $path or return '';
	local $/;
	my $text = <$f>;
	return $text // '';
}

sub _write {
	my ($path, $text) = @_;

	open my $f, '>:utf8', $path or croak "$path: $!";
	print $f $text;
	return close $f;
}

sub DESTROY {
	my ($self) = @_;

	return unless $self->{owner} == $$;
	local ($?, $@, $!);
	eval { $self->_stop('immediate') };
	warn $@ if $@;
	remove_tree($self->{dir});
	return;
}

1;
