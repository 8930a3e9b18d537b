package Gamed::Prometheus;

# A real Prometheus for one test; stopped when the object goes.
#
#   my $p = Gamed::Prometheus->start(jobs => { own => { target => 'host:port',
#       extra => "    more: of the job\n" } }, args => ['--enable-feature=x']);
#   ok($p->await_up('own'));
#   my $data = $p->data('query?query=up');   # undef while there is none

use strict;
use warnings;
use File::Temp qw(tempdir);
use HTTP::Tiny;
use JSON::PP ();
use POSIX ();
use Gamed::Daemon;

# Options: jobs, args (of the command line).
sub start {
	my ($class, %opt) = @_;
	my $dir = tempdir('gd-prom.XXXXXX', DIR => '/tmp', CLEANUP => 1);
	my $self = bless { port => Gamed::Daemon::free_port(), owner => $$ },
		$class;
	my $yaml = "global: {scrape_interval: 500ms}\nscrape_configs:\n";

	for my $job (sort keys %{ $opt{jobs} }) {
		$yaml .= "  - job_name: $job\n"
			. "    static_configs: [{targets: ['$opt{jobs}{$job}{target}']}]\n"
			. ($opt{jobs}{$job}{extra} // '');
	}
	open my $f, '>', "$dir/prometheus.yml" or die "$dir: $!";
	print $f $yaml;
	close $f;
	$self->{pid} = fork // die "fork: $!";
	return $self if $self->{pid};
	open STDIN, '<', '/dev/null';
	open STDOUT, '>', "$dir/log";
	open STDERR, '>&', \*STDOUT;
	exec 'prometheus', "--config.file=$dir/prometheus.yml",
		"--storage.tsdb.path=$dir/data",
		"--web.listen-address=127.0.0.1:$self->{port}",
		@{ $opt{args} // [] }
		or POSIX::_exit(127);
}

# The data of an answer of its API, undef while there is none.
sub data {
	my ($self, $path) = @_;
	my $r = HTTP::Tiny->new(timeout => 5)
		->get("http://127.0.0.1:$self->{port}/api/v1/$path");

	return unless $r->{success};
	return JSON::PP::decode_json($r->{content})->{data};
}

# True as soon as a target of the job is up, '' after the deadline.
sub await_up {
	my ($self, $job) = @_;

	return Gamed::Daemon::eventually(sub {
		my $t = $self->data('targets') or return;
		return scalar grep { $_->{health} eq 'up'
				&& $_->{labels}{job} eq $job }
			@{ $t->{activeTargets} };
	});
}

sub stop {
	my ($self) = @_;

	return unless $self->{pid} && $self->{owner} == $$;
	local $?;
	kill TERM => $self->{pid};
	waitpid $self->{pid}, 0;
	delete $self->{pid};
	return;
}

sub DESTROY {
	my ($self) = @_;

	$self->stop;
	return;
}

1;
