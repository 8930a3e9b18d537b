#!/usr/bin/perl
# gamectl migrate: a fresh database, twice, two at once, a database that is
# newer or not ours, a file that fails; and what it makes against the
# reference's catalogue (below __DATA__).
use strict;
use warnings;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use File::Copy qw(copy);
use File::Temp qw(tempdir);
use POSIX ();
use Gamed::Postgres;

my $top = "$FindBin::Bin/..";
my $gamectl = ($ENV{GAMED_BUILDDIR} || "$top/build") . '/gamectl';
our $sql = "$top/sql";
my $pg = Gamed::Postgres->new;

my @files = map { m{([^/]+)$} } sort glob("$sql/*.sql");
my $last = @files;

sub command {
	my ($db, @args) = @_;
	return ($gamectl, '-o', 'database.uri=' . $pg->conninfo($db), @args);
}

sub gamectl {
	my ($db, @args) = @_;
	my $pid = open my $out, '-|';
	die "fork: $!" unless defined $pid;
	if ($pid == 0) {
		$ENV{GAMED_SQLDIR} = $sql;
		open STDERR, '>&', \*STDOUT;
		exec command($db, @args) or die "$gamectl: $!";
	}
	my $text = join '', <$out>;
	close $out;
	return ($? >> 8, $text);
}

# ---- fresh and again -------------------------------------------------------

my ($rc, $out) = gamectl('game', 'migrate', '--status');
is($rc, 1, 'an empty database is not up to date');
is(join(' ', $out =~ /^pending (.*)/mg), "@files", 'and all files are pending');
($rc, $out) = gamectl('game', 'migrate');
is($rc, 0, 'a fresh database is migrated') or diag $out;
is(join(' ', $out =~ /^applied (.*)/mg), "@files", 'file by file');
like($out, qr/version $last, $last applied, 12 partitions/, 'which is told');
($rc, $out) = gamectl('game', 'migrate', '--json');
is($rc, 0, 'again is fine');
is($out, qq({"event":"done","version":$last,"applied":0,"partitions":0}\n),
	'and does nothing');
($rc, $out) = gamectl('game', 'migrate', '--status');
is($rc, 0, 'now it is up to date');
is($pg->psql('SELECT version, name FROM gamed.schema_version ORDER BY 1'),
	join("\n", map { "$_|$files[$_ - 1]" } 1 .. $last),
	'the files are recorded');
is($pg->psql('SELECT version_num FROM alembic_version'), 'f9d3a8c5b2e1',
	'the tools of the reference see their head revision');

# ---- two at once -----------------------------------------------------------

$pg->create_db('both');
my @pids = map {
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		$ENV{GAMED_SQLDIR} = $sql;
		open STDOUT, '>', $pg->dir . "/both.$_";
		open STDERR, '>&', \*STDOUT;
		exec command('both', 'migrate') or POSIX::_exit(127);
	}
	$pid;
} 1 .. 2;
my @status = map { waitpid $_, 0; $? } @pids;
is("@status", '0 0', 'of two at once both succeed');
my $said = join '', map {
	open my $f, '<', $pg->dir . "/both.$_" or die $!;
	<$f>;
} 1 .. 2;
is(scalar(() = $said =~ /^applied/mg), $last, 'and each file is applied once')
	or diag $said;

# ---- databases that it leaves alone ----------------------------------------

$pg->psql("INSERT INTO gamed.schema_version VALUES (99, 'later')", 'both');
($rc, $out) = gamectl('both', 'migrate');
is($rc, 1, 'a newer database is refused');
like($out, qr/version 99, newer than the $last /, 'with both versions');

$pg->create_db('other');
$pg->psql('CREATE TABLE users (id int); CREATE TABLE mine (id int)', 'other');
($rc, $out) = gamectl('other', 'migrate');
is($rc, 1, 'foreign tables are refused');
like($out, qr/database other holds tables .*\(users\)/, 'and named');
is($pg->psql('SELECT count(*) FROM pg_tables WHERE schemaname IN '
	. "('public', 'gamed')", 'other'), 2, 'nothing was made');

# ---- a file that fails -----------------------------------------------------

{
	my $dir = tempdir(CLEANUP => 1);
	local $sql = $dir;
	copy("$top/sql/$_", "$dir/$_") for @files;
	open my $f, '>>', "$dir/0002_gamed.sql" or die $!;
	print $f "CREATE TABLE half_way (i int);\nSELECT 1 / 0;\n";
	close $f;
	$pg->create_db('half');
	($rc, $out) = gamectl('half', 'migrate');
	is($rc, 1, 'a file that fails is an error');
	like($out, qr/applied 0001.*0002_gamed\.sql: .*division by zero/s,
		'which names the file');
	is($pg->psql("SELECT (SELECT max(version) FROM gamed.schema_version), "
		. "to_regclass('half_way') IS NULL, "
		. "to_regclass('gamed.agg_task') IS NULL", 'half'), '1|t|t',
		'and leaves nothing behind');
}
($rc, $out) = gamectl('half', 'migrate');
is($rc, 0, 'the mended file goes on from there');
is($out =~ /, (\d+) applied/ && $1, $last - 1, 'with what was missing');

{
	my $dir = tempdir(CLEANUP => 1);
	local $sql = $dir;
	copy("$top/sql/$_", "$dir/$_") for @files;
	open my $f, '>>', "$dir/0008_strategies.sql" or die $!;
	print $f "SELECT 1 / 0;\n";
	close $f;
	$pg->create_db('stale');
	gamectl('stale', 'migrate');
	is($pg->psql('SELECT max(version) FROM gamed.schema_version', 'stale'), 7,
		'a database of version 7');
	$pg->psql(<<'SQL', 'stale');
INSERT INTO strategydefinition (id, name, "astJson", ast_text) VALUES
	(gen_random_uuid(), 'ours', '{"a":1e2}', '{"a":1e2}'),
	(gen_random_uuid(), 'theirs', '{"a":2}', '{"a":1}'),
	(gen_random_uuid(), 'a float', '{"a":1.0}', '{"a":1}'),
	(gen_random_uuid(), 'gone', null, '{"a":1}'),
	(gen_random_uuid(), 'no JSON', '{"a":1}', '{"a":');
SQL
}
($rc, $out) = gamectl('stale', 'migrate');
is($rc, 0, 'is migrated') or diag $out;
is($pg->psql(<<'SQL', 'stale'), 'no JSON, ours', 'and forgets what is stale');
SELECT string_agg(name, ', ' ORDER BY name COLLATE "C") FROM strategydefinition
WHERE ast_text IS NOT NULL
SQL

{
	my $dir = tempdir(CLEANUP => 1);
	local $sql = $dir;
	copy("$top/sql/0001_reference.sql", "$dir/0001_reference.sql");
	($rc, $out) = gamectl('game', 'migrate');
	is($rc, 1, 'a directory of another release is refused');
	like($out, qr/holds 1 migrations, this program needs $last/, 'with why');
}

# ---- the catalogue ---------------------------------------------------------

my %want;
my $table;
while (<DATA>) {
	chomp;
	if (/^table (\w+)/) {
		$table = $1;
	} elsif (/^  (\S.*)/) {
		push @{ $want{$table} }, $1;
	}
}
is(scalar keys %want, 20, '20 tables are expected');

# Ours, after those of the reference.
push @{ $want{$_->[0]} }, "$_->[1]" for (
	[strategydefinition => 'ast_text text'],
	[userpoints => 'strategy_id text'],
	[userpoints => 'strategy_version integer'],
	[userpoints => 'ast_sha256 text'],
	(map { [apirequests => $_] } 'duration_ms float8', 'weight float8',
		'correlation_id text'),
	map { [strategyexecutionlog => $_] } 'data jsonb', 'fields jsonb',
	'weight float8', 'reason text', 'correlation_id text',
	'ast_sha256 text');

my %partitioned = map { $_ => 1 }
	qw(logs apirequests strategyexecutionlog uptimelogs);

my $columns = <<'SQL';
SELECT column_name || ' ' || CASE data_type
		WHEN 'character varying' THEN 'varchar'
		WHEN 'timestamp with time zone' THEN 'timestamptz'
		WHEN 'double precision' THEN 'float8'
		ELSE data_type END
	|| CASE is_nullable WHEN 'NO' THEN ' not null' ELSE '' END
	|| coalesce(' default ' || replace(regexp_replace(column_default,
		'::.*$', ''), '''', ''), '')
FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = 'TABLE'
ORDER BY ordinal_position
SQL
my $names = <<'SQL';
SELECT CASE contype WHEN 'p' THEN 'PK ' WHEN 'u' THEN 'UNIQUE '
	ELSE 'FK ' END || conname
FROM pg_constraint WHERE conrelid = 'TABLE'::regclass
	AND conparentid = 0
UNION ALL
SELECT 'INDEX ' || c.relname FROM pg_index i
	JOIN pg_class c ON c.oid = i.indexrelid
WHERE indrelid = 'TABLE'::regclass AND c.relname !~ '^gx_'
	AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = c.oid)
ORDER BY 1
SQL

for my $t (sort keys %want) {
	my @want = grep { /^[a-z]/ || /^\w+ (uuid|varchar|timestamptz)/ }
		@{ $want{$t} };
	my @want_names = sort grep { /^(PK|UNIQUE|FK|INDEX) / } @{ $want{$t} };
	if ($partitioned{$t}) {
		s/^created_at timestamptz$/$& not null/ for @want;
	}
	(my $q = $columns) =~ s/TABLE/$t/g;
	is($pg->psql($q), join("\n", @want), "columns of $t");
	($q = $names) =~ s/TABLE/$t/g;
	is(join("\n", sort split /\n/, $pg->psql($q)),
		join("\n", @want_names), "constraints and indexes of $t");
}

# ---- partitions ------------------------------------------------------------

is($pg->psql(<<'SQL'), <<'END' =~ s/\n$//r, 'this month and the next are there');
SELECT n.nspname || '.' || c.relname, count(*)
FROM pg_class c JOIN pg_inherits i ON i.inhparent = c.oid
JOIN pg_class p ON p.oid = i.inhrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'p' AND pg_get_expr(p.relpartbound, p.oid) <> 'DEFAULT'
GROUP BY 1 ORDER BY 1
SQL
gamed.active_user_day|2
gamed.request_minute|2
public.apirequests|2
public.logs|2
public.strategyexecutionlog|2
public.uptimelogs|2
END

$pg->psql(<<'SQL');
INSERT INTO uptimelogs (id, created_at, status)
SELECT gen_random_uuid(), date_trunc('month', now()) + m * interval '1 month',
	'healthy' FROM generate_series(-1, 3) m
SQL
is($pg->psql('SELECT count(*) FROM uptimelogs_default'), 3,
	'rows of other months wait in the default partition');
my $made = 0;
$made++ while $pg->psql('SELECT gamed.make_partition(3)') ne '';
is($made, 12, 'months are made ahead');
is($pg->psql('SELECT count(*) FROM uptimelogs_default'), 1,
	'and take their rows from there');
is($pg->psql('SELECT count(*) FROM uptimelogs'), 5, 'none is lost');

# What held the default partitions of two tables at once would deadlock here.
is($pg->psql(<<'SQL'), 0, 'one partition locks one default partition');
BEGIN;
SELECT gamed.make_partition(4) IS NULL \g /dev/null
SELECT count(*) - 1 FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = pg_backend_pid() AND l.mode = 'AccessExclusiveLock'
	AND c.relname LIKE '%\_default';
ROLLBACK;
SQL

# ---- what the added objects guard ------------------------------------------

my $game = '00000000-0000-4000-8000-00000000000a';
my $task = '00000000-0000-4000-8000-000000000001';
my $notices = $pg->psql(<<"SQL");
LISTEN gamed_cache;
INSERT INTO apikey (id, "apiKey", "apiKeyHash") VALUES
	(gen_random_uuid(), 'gme_live_x', 'h');
INSERT INTO games (id, "externalGameId") VALUES ('$game', 'g');
INSERT INTO tasks (id, "externalTaskId", "gameId", "strategyId", status)
	VALUES ('$task', 't', '$game', 'default', 'open');
INSERT INTO tasksparams (id, key, "taskId")
	VALUES (gen_random_uuid(), 'k', '$task');
UPDATE apikey SET active = false;
INSERT INTO gamed.admin_key (prefix) VALUES ('gme_live_x');
INSERT INTO strategydefinition (id, name) VALUES ('$game', 's');
INSERT INTO users (id, "externalUserId") VALUES ('$game', 'u');
INSERT INTO userpoints (id, created_at, points, "userId", "taskId")
	VALUES (gen_random_uuid(), now(), 1, '$game', '$task');
SELECT 'end';
SQL
is(join(' ', $notices =~ /payload "([^"]*)"/g),
	"apikey:gme_live_x game:$game task:$task task:$task "
	. "apikey:gme_live_x apikey:gme_live_x strategy:$game",
	'caches hear of definitions and not of awards');

$notices = $pg->psql(<<"SQL");
LISTEN gamed_cache;
INSERT INTO tasksparams (id, key, "taskId")
	SELECT gen_random_uuid(), 'k', '$task' FROM generate_series(1, 1000);
UPDATE tasksparams SET value = 'v';
DELETE FROM tasksparams WHERE false;
INSERT INTO games (id, "externalGameId")
	SELECT gen_random_uuid(), 'n' || n FROM generate_series(1, 100) n;
INSERT INTO games (id, "externalGameId")
	SELECT gen_random_uuid(), 'n' || n FROM generate_series(200, 300) n;
DELETE FROM games WHERE id <> '$game';
SELECT 'end';
SQL
my %heard;
$heard{$_ eq "task:$task" || $_ eq '*' ? $_ : s/:.*//r}++
	for $notices =~ /payload "([^"]*)"/g;
is_deeply(\%heard, { "task:$task" => 2, game => 100, '*' => 2 },
	'of each object once a statement, of very many all at once');

my $err;
($rc, undef, $err) = $pg->psql_try(<<"SQL");
INSERT INTO tasks (id, "externalTaskId", "gameId", "strategyId", status)
VALUES (gen_random_uuid(), 't', '$game', 'default', 'open');
SQL
like($err, qr/gx_tasks_game_external_task/, 'a task is unique in its game');
($rc, undef, $err) = $pg->psql_try(<<'SQL');
INSERT INTO strategydefinition (id, name, version, status, "realmId")
SELECT gen_random_uuid(), 's', i, 'PUBLISHED', 'r' FROM generate_series(1, 2) i;
SQL
like($err, qr/gx_strategydefinition_published/,
	'one version of a name is published');
$pg->psql('INSERT INTO wallettransactions (id) VALUES (gen_random_uuid())');
for my $change ('UPDATE wallettransactions SET points = 1',
	'DELETE FROM wallettransactions', 'TRUNCATE wallettransactions',
	'TRUNCATE wallet CASCADE') {
	($rc, undef, $err) = $pg->psql_try($change);
	like($err, qr/never changed/, "refused: $change");
}

done_testing;
__DATA__
table apikey
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  apiKey varchar
  client varchar
  description varchar
  active boolean
  createdBy varchar
  oauth_user_id varchar
  apiKeyHash varchar not null
  PK apikey_pkey
  UNIQUE apikey_apiKey_key
  UNIQUE uq_apikey_apiKeyHash
  FK apikey_oauth_user_id_fkey
  INDEX ix_apikey_apiKeyHash
  INDEX ix_apikey_apiKey_prefix
  INDEX ix_apikey_id
table oauthusers
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  provider varchar
  provider_user_id varchar
  status varchar
  apiKey_used varchar
  PK oauthusers_pkey
  UNIQUE oauthusers_provider_user_id_key
  FK oauthusers_apiKey_used_fkey
  INDEX ix_oauthusers_id
table users
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  externalUserId varchar
  apiKey_used varchar
  oauth_user_id varchar
  PK users_pkey
  UNIQUE users_externalUserId_key
  FK users_apiKey_used_fkey
  INDEX ix_users_id
table games
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  externalGameId varchar
  strategyId varchar
  platform varchar
  apiKey_used varchar
  oauth_user_id varchar
  PK games_pkey
  UNIQUE games_externalGameId_key
  FK games_apiKey_used_fkey
  INDEX ix_games_id
table gamesparams
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  key varchar
  value varchar
  gameId uuid
  apiKey_used varchar
  oauth_user_id varchar
  PK gamesparams_pkey
  FK gamesparams_apiKey_used_fkey
  FK gamesparams_gameId_fkey
  INDEX ix_gamesparams_id
table tasks
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  externalTaskId varchar not null
  gameId uuid
  strategyId varchar not null
  status varchar not null
  apiKey_used varchar
  oauth_user_id varchar
  PK tasks_pkey
  FK tasks_apiKey_used_fkey
  FK tasks_gameId_fkey
  INDEX ix_tasks_game_external_task
  INDEX ix_tasks_id
table tasksparams
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  key varchar
  value varchar
  taskId uuid
  apiKey_used varchar
  oauth_user_id varchar
  PK tasksparams_pkey
  FK tasksparams_apiKey_used_fkey
  FK tasksparams_taskId_fkey
  INDEX ix_tasksparams_id
table userpoints
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  points integer
  data jsonb
  description varchar
  userId uuid
  taskId uuid
  caseName varchar
  apiKey_used varchar
  oauth_user_id varchar
  idempotencyKey varchar
  PK userpoints_pkey
  UNIQUE uq_user_points_user_task_idempotency
  FK userpoints_apiKey_used_fkey
  FK userpoints_taskId_fkey
  FK userpoints_userId_fkey
  INDEX ix_user_points_task_user_created
  INDEX ix_userpoints_id
table useractions
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  typeAction varchar
  data jsonb
  description varchar
  userId uuid
  apiKey_used varchar
  oauth_user_id varchar
  PK useractions_pkey
  FK useractions_apiKey_used_fkey
  FK useractions_userId_fkey
  INDEX ix_useractions_id
  INDEX ix_useractions_user_created_at
table usergameconfig
  id uuid not null
  userId uuid
  gameId uuid
  experimentGroup varchar
  configData json
  created_at timestamptz
  updated_at timestamptz
  apiKey_used varchar
  oauth_user_id varchar
  PK usergameconfig_pkey
  FK usergameconfig_gameId_fkey
  FK usergameconfig_userId_fkey
  INDEX ix_usergameconfig_id
table wallet
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  coinsBalance float8
  pointsBalance float8
  conversionRate integer
  userId uuid not null
  apiKey_used varchar
  oauth_user_id varchar
  PK wallet_pkey
  UNIQUE wallet_userId_key
  FK wallet_apiKey_used_fkey
  FK wallet_userId_fkey
  INDEX ix_wallet_id
table wallettransactions
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  transactionType varchar
  points integer
  coins float8
  data jsonb
  appliedConversionRate float8
  walletId uuid
  apiKey_used varchar
  oauth_user_id varchar
  PK wallettransactions_pkey
  FK wallettransactions_apiKey_used_fkey
  FK wallettransactions_walletId_fkey
  INDEX ix_wallettransactions_id
table logs
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  apiKey_used varchar
  oauth_user_id varchar
  log_level varchar
  message varchar
  module varchar
  details json
  PK logs_pkey
  FK logs_apiKey_used_fkey
  FK logs_oauth_user_id_fkey
  INDEX ix_logs_id
table abuse_limit_counter
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  scopeType varchar not null
  scopeValue varchar not null
  windowName varchar not null
  windowStart timestamptz not null
  counter integer not null default 0
  PK abuse_limit_counter_pkey
  UNIQUE uq_abuse_limit_counter_scope_window
  INDEX ix_abuse_limit_counter_id
  INDEX ix_abuse_limit_counter_lookup
table exportauditlog
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  apiKey_used varchar
  oauth_user_id varchar
  datasetType varchar not null
  format varchar not null
  filters jsonb
  rowLimit integer not null
  rowCount integer not null default -1
  status varchar not null default started
  requestedBy varchar
  PK exportauditlog_pkey
  FK exportauditlog_apiKey_used_fkey
  FK exportauditlog_oauth_user_id_fkey
  INDEX ix_exportauditlog_dataset_created
  INDEX ix_exportauditlog_id
table strategydefinition
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  apiKey_used varchar
  oauth_user_id varchar
  realmId varchar
  name varchar not null
  description text
  type varchar not null default DSL_FULL
  parentStrategyId varchar
  astJson jsonb
  blocklyXml text
  version integer not null default 1
  status varchar not null default DRAFT
  createdBy varchar
  publishedAt timestamptz
  experimentTag varchar
  PK strategydefinition_pkey
  UNIQUE uq_strategydefinition_realm_name_version
  FK strategydefinition_apiKey_used_fkey
  FK strategydefinition_oauth_user_id_fkey
  INDEX ix_strategydefinition_id
  INDEX ix_strategydefinition_realmId
  INDEX ix_strategydefinition_status
table strategyexecutionlog
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  apiKey_used varchar
  oauth_user_id varchar
  strategyId varchar not null
  strategyVersion integer not null
  strategyType varchar not null
  realmId varchar
  externalGameId varchar
  externalTaskId varchar
  externalUserId varchar
  status varchar not null
  errorCode varchar
  points numeric
  caseName varchar
  durationMs numeric not null
  nodesExecuted integer not null
  trace jsonb
  sampled boolean not null default false
  parentStrategyId varchar
  notes text
  PK strategyexecutionlog_pkey
  FK strategyexecutionlog_apiKey_used_fkey
  FK strategyexecutionlog_oauth_user_id_fkey
  INDEX ix_strategyexecutionlog_id
  INDEX ix_strategyexecutionlog_realmId
  INDEX ix_strategyexecutionlog_sampled
  INDEX ix_strategyexecutionlog_status
  INDEX ix_strategyexecutionlog_strategyId
  INDEX ix_strategyexecutionlog_strategy_status_created
table kpimetrics
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  apiKey_used varchar
  day varchar
  totalRequests integer
  successRate integer
  avgLatencyMS integer
  errorRate integer
  activeUsers integer
  retentionRate integer
  avgInteractionsPerUser integer
  oauth_user_id varchar
  PK kpimetrics_pkey
  INDEX ix_kpimetrics_id
table apirequests
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  apiKey_used varchar
  userId uuid
  endpoint varchar
  statusCode integer
  responseTimeMS integer
  requestType varchar
  oauth_user_id varchar
  PK apirequests_pkey
  FK apirequests_userId_fkey
  INDEX ix_apirequests_id
table uptimelogs
  id uuid not null
  created_at timestamptz
  updated_at timestamptz
  apiKey_used varchar
  status varchar
  oauth_user_id varchar
  PK uptimelogs_pkey
  INDEX ix_uptimelogs_id
