package Gamed::Campaign;
# A campaign made over HTTP: a key of an administrator, and a game with the task
# "measure", whose strategy fails when data.n is 0 and pays 12 / n else, which
# is refused when it is no whole number.
#
#   use Gamed::Campaign;
#   my $made = Gamed::Campaign->make($d, 'evidence');
#   must($made->client($d)->get("/api/v1/games/$made->{game}"), 'game');
#   $made->client($d)->post($made->awards,
#	{ externalUserId => 'u', data => { n => 3 } });
use strict;
use warnings;
use Exporter qw(import);
use JSON::PP ();
use Test::More;
use Gamed::Client;

our @EXPORT = qw(must);

my %SHARE = (
	type => 'program',
	rules => [{
		type => 'rule', id => 'share',
		when => { type => 'compare', op => '>=',
			left => { type => 'field', path => 'data.n' },
			right => { type => 'literal', value => 0 } },
		then => [{
			type => 'assign_points', case_name => 'Share',
			value => { type => 'arith', op => '/', id => 'divide',
				left => { type => 'literal', value => 12 },
				right => { type => 'field', path => 'data.n' } },
		}],
	}],
);

# The answer's JSON; nothing makes sense after a refusal.
sub must {
	my ($r, $what) = @_;

	$r->{status} =~ /^2/ or BAIL_OUT("$what: $r->{status} $r->{body}");
	return $r->{json};
}

# Members: key, game, strategy (ids).
sub make {
	my ($class, $d, $name) = @_;
	my ($rc, $out, $err) = $d->gamectl('--json', 'apikey', 'create', '--admin',
		'--client', $name);

	BAIL_OUT("apikey: $out$err") if $rc;
	my $self = bless { key => JSON::PP::decode_json($out)->{key} }, $class;
	my $c = $self->client($d);
	my $id = must($c->post('/api/v1/strategies/custom',
		{ name => 'share', type => 'DSL_FULL', astJson => \%SHARE }),
		'strategy')->{id};

	must($c->post("/api/v1/strategies/custom/$id/publish", {}), 'publish');
	my $game = must($c->post('/api/v1/games',
		{ externalGameId => $name, platform => 'test' }), 'game')->{gameId};
	must($c->post("/api/v1/games/$game/tasks",
		{ externalTaskId => 'measure', strategyId => "custom:$id" }), 'task');
	@$self{qw(game strategy)} = ($game, $id);
	return $self;
}

# Speaks to a server on the campaign's database.
sub client {
	my ($self, $d) = @_;
	return Gamed::Client->new(port => $d->port, key => $self->{key});
}

# Where awards are posted to.
sub awards { return "/api/v1/games/$_[0]{game}/tasks/measure/points" }

1;
