package Gamed::Shim;

# A library of a few lines of C that gamed loads before libc, to see what it
# does when a call of the system answers otherwise than usual.
#
#   my $shim = Gamed::Shim->new($d->dir, 'clock', $text_of_c);
#   Gamed::Daemon->start(from => $d, env => { $shim->env, TEST_X => 'y' });

use strict;
use warnings;
use Carp qw(croak);
use Gamed::Daemon;

sub new {
	my ($class, $dir, $name, $text) = @_;
	my $path = "$dir/$name";

	open my $f, '>', "$path.c" or croak "$path.c: $!";
	print $f $text;
	close $f;
	my ($rc, $out, $err) = Gamed::Daemon::run_program('cc', '-shared',
		'-fPIC', '-o', "$path.so", "$path.c");
	croak "cc: $out$err" if $rc;
	return bless { path => "$path.so" }, $class;
}

# AddressSanitizer would insist on being the first library.
sub env {
	my ($self) = @_;
	my $asan = $ENV{ASAN_OPTIONS} // '';

	return (LD_PRELOAD => $self->{path},
		ASAN_OPTIONS => "$asan:verify_asan_link_order=0");
}

1;
