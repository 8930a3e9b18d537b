--
-- The tables of GAME 1.3 as its 25 migrations build them: names, order, types,
-- defaults, constraints and indexes are those of the reference, the redundant
-- indexes included, so that its tools accept the database.  Ours are the
-- nullable columns at the end of three tables, and that the four tables that
-- only grow are partitioned by month on created_at.
--
-- A partitioned table's primary key must hold the partition key, hence
-- (id, created_at); rows outside every month land in the default partition.
--

CREATE SCHEMA gamed;

-- One row a file of sql/, written by gamectl migrate.
CREATE TABLE gamed.schema_version (
	version integer PRIMARY KEY,
	name text NOT NULL,
	applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE apikey (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	"apiKey" varchar,
	client varchar,
	description varchar,
	active boolean,
	"createdBy" varchar,
	oauth_user_id varchar,
	"apiKeyHash" varchar NOT NULL,
	CONSTRAINT apikey_pkey PRIMARY KEY (id),
	CONSTRAINT "apikey_apiKey_key" UNIQUE ("apiKey"),
	CONSTRAINT "uq_apikey_apiKeyHash" UNIQUE ("apiKeyHash")
);
CREATE INDEX "ix_apikey_apiKeyHash" ON apikey ("apiKeyHash");
CREATE INDEX "ix_apikey_apiKey_prefix" ON apikey ("apiKey");
CREATE INDEX ix_apikey_id ON apikey (id);

CREATE TABLE oauthusers (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	provider varchar,
	provider_user_id varchar,
	status varchar,
	"apiKey_used" varchar,
	CONSTRAINT oauthusers_pkey PRIMARY KEY (id),
	CONSTRAINT oauthusers_provider_user_id_key UNIQUE (provider_user_id)
);
CREATE INDEX ix_oauthusers_id ON oauthusers (id);

CREATE TABLE users (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	"externalUserId" varchar,
	"apiKey_used" varchar,
	oauth_user_id varchar,
	CONSTRAINT users_pkey PRIMARY KEY (id),
	CONSTRAINT "users_externalUserId_key" UNIQUE ("externalUserId")
);
CREATE INDEX ix_users_id ON users (id);

CREATE TABLE games (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	"externalGameId" varchar,
	"strategyId" varchar,
	platform varchar,
	"apiKey_used" varchar,
	oauth_user_id varchar,
	CONSTRAINT games_pkey PRIMARY KEY (id),
	CONSTRAINT "games_externalGameId_key" UNIQUE ("externalGameId")
);
CREATE INDEX ix_games_id ON games (id);

CREATE TABLE gamesparams (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	key varchar,
	value varchar,
	"gameId" uuid,
	"apiKey_used" varchar,
	oauth_user_id varchar,
	CONSTRAINT gamesparams_pkey PRIMARY KEY (id)
);
CREATE INDEX ix_gamesparams_id ON gamesparams (id);

CREATE TABLE tasks (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	"externalTaskId" varchar NOT NULL,
	"gameId" uuid,
	"strategyId" varchar NOT NULL,
	status varchar NOT NULL,
	"apiKey_used" varchar,
	oauth_user_id varchar,
	CONSTRAINT tasks_pkey PRIMARY KEY (id)
);
CREATE INDEX ix_tasks_game_external_task ON tasks ("gameId", "externalTaskId");
CREATE INDEX ix_tasks_id ON tasks (id);

CREATE TABLE tasksparams (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	key varchar,
	value varchar,
	"taskId" uuid,
	"apiKey_used" varchar,
	oauth_user_id varchar,
	CONSTRAINT tasksparams_pkey PRIMARY KEY (id)
);
CREATE INDEX ix_tasksparams_id ON tasksparams (id);

CREATE TABLE userpoints (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	points integer,
	data jsonb,
	description varchar,
	"userId" uuid,
	"taskId" uuid,
	"caseName" varchar,
	"apiKey_used" varchar,
	oauth_user_id varchar,
	"idempotencyKey" varchar,
	strategy_id text,
	strategy_version integer,
	ast_sha256 text,
	CONSTRAINT userpoints_pkey PRIMARY KEY (id),
	CONSTRAINT uq_user_points_user_task_idempotency
		UNIQUE ("userId", "taskId", "idempotencyKey")
);
CREATE INDEX ix_user_points_task_user_created
	ON userpoints ("taskId", "userId", created_at);
CREATE INDEX ix_userpoints_id ON userpoints (id);

CREATE TABLE useractions (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	"typeAction" varchar,
	data jsonb,
	description varchar,
	"userId" uuid,
	"apiKey_used" varchar,
	oauth_user_id varchar,
	CONSTRAINT useractions_pkey PRIMARY KEY (id)
);
CREATE INDEX ix_useractions_id ON useractions (id);
CREATE INDEX ix_useractions_user_created_at
	ON useractions ("userId", created_at);

CREATE TABLE usergameconfig (
	id uuid NOT NULL,
	"userId" uuid,
	"gameId" uuid,
	"experimentGroup" varchar,
	"configData" json,
	created_at timestamptz,
	updated_at timestamptz,
	"apiKey_used" varchar,
	oauth_user_id varchar,
	CONSTRAINT usergameconfig_pkey PRIMARY KEY (id)
);
CREATE INDEX ix_usergameconfig_id ON usergameconfig (id);

CREATE TABLE wallet (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	"coinsBalance" double precision,
	"pointsBalance" double precision,
	"conversionRate" integer,
	"userId" uuid NOT NULL,
	"apiKey_used" varchar,
	oauth_user_id varchar,
	CONSTRAINT wallet_pkey PRIMARY KEY (id),
	CONSTRAINT "wallet_userId_key" UNIQUE ("userId")
) WITH (fillfactor = 80);
CREATE INDEX ix_wallet_id ON wallet (id);

CREATE TABLE wallettransactions (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	"transactionType" varchar,
	points integer,
	coins double precision,
	data jsonb,
	"appliedConversionRate" double precision,
	"walletId" uuid,
	"apiKey_used" varchar,
	oauth_user_id varchar,
	CONSTRAINT wallettransactions_pkey PRIMARY KEY (id)
);
CREATE INDEX ix_wallettransactions_id ON wallettransactions (id);

CREATE TABLE logs (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	"apiKey_used" varchar,
	oauth_user_id varchar,
	log_level varchar,
	message varchar,
	module varchar,
	details json,
	CONSTRAINT logs_pkey PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
CREATE TABLE logs_default PARTITION OF logs DEFAULT;
CREATE INDEX ix_logs_id ON logs (id);

CREATE TABLE abuse_limit_counter (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	"scopeType" varchar NOT NULL,
	"scopeValue" varchar NOT NULL,
	"windowName" varchar NOT NULL,
	"windowStart" timestamptz NOT NULL,
	counter integer NOT NULL DEFAULT 0,
	CONSTRAINT abuse_limit_counter_pkey PRIMARY KEY (id),
	CONSTRAINT uq_abuse_limit_counter_scope_window
		UNIQUE ("scopeType", "scopeValue", "windowName", "windowStart")
);
CREATE INDEX ix_abuse_limit_counter_id ON abuse_limit_counter (id);
CREATE INDEX ix_abuse_limit_counter_lookup
	ON abuse_limit_counter (
		"scopeType", "scopeValue", "windowName", "windowStart");

CREATE TABLE exportauditlog (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	"apiKey_used" varchar,
	oauth_user_id varchar,
	"datasetType" varchar NOT NULL,
	format varchar NOT NULL,
	filters jsonb,
	"rowLimit" integer NOT NULL,
	"rowCount" integer NOT NULL DEFAULT '-1',
	status varchar NOT NULL DEFAULT 'started',
	"requestedBy" varchar,
	CONSTRAINT exportauditlog_pkey PRIMARY KEY (id)
);
CREATE INDEX ix_exportauditlog_dataset_created
	ON exportauditlog ("datasetType", created_at);
CREATE INDEX ix_exportauditlog_id ON exportauditlog (id);

CREATE TABLE strategydefinition (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	"apiKey_used" varchar,
	oauth_user_id varchar,
	"realmId" varchar,
	name varchar NOT NULL,
	description text,
	type varchar NOT NULL DEFAULT 'DSL_FULL',
	"parentStrategyId" varchar,
	"astJson" jsonb,
	"blocklyXml" text,
	version integer NOT NULL DEFAULT 1,
	status varchar NOT NULL DEFAULT 'DRAFT',
	"createdBy" varchar,
	"publishedAt" timestamptz,
	"experimentTag" varchar,
	ast_text text,
	CONSTRAINT strategydefinition_pkey PRIMARY KEY (id),
	CONSTRAINT uq_strategydefinition_realm_name_version
		UNIQUE ("realmId", name, version)
);
CREATE INDEX ix_strategydefinition_id ON strategydefinition (id);
CREATE INDEX "ix_strategydefinition_realmId" ON strategydefinition ("realmId");
CREATE INDEX ix_strategydefinition_status ON strategydefinition (status);

CREATE TABLE strategyexecutionlog (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	"apiKey_used" varchar,
	oauth_user_id varchar,
	"strategyId" varchar NOT NULL,
	"strategyVersion" integer NOT NULL,
	"strategyType" varchar NOT NULL,
	"realmId" varchar,
	"externalGameId" varchar,
	"externalTaskId" varchar,
	"externalUserId" varchar,
	status varchar NOT NULL,
	"errorCode" varchar,
	points numeric,
	"caseName" varchar,
	"durationMs" numeric NOT NULL,
	"nodesExecuted" integer NOT NULL,
	trace jsonb,
	sampled boolean NOT NULL DEFAULT false,
	"parentStrategyId" varchar,
	notes text,
	data jsonb,
	fields jsonb,
	weight double precision,
	reason text,
	correlation_id text,
	ast_sha256 text,
	CONSTRAINT strategyexecutionlog_pkey PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
CREATE TABLE strategyexecutionlog_default
	PARTITION OF strategyexecutionlog DEFAULT;
CREATE INDEX ix_strategyexecutionlog_id ON strategyexecutionlog (id);
CREATE INDEX "ix_strategyexecutionlog_realmId"
	ON strategyexecutionlog ("realmId");
CREATE INDEX ix_strategyexecutionlog_sampled ON strategyexecutionlog (sampled);
CREATE INDEX ix_strategyexecutionlog_status ON strategyexecutionlog (status);
CREATE INDEX "ix_strategyexecutionlog_strategyId"
	ON strategyexecutionlog ("strategyId");
CREATE INDEX ix_strategyexecutionlog_strategy_status_created
	ON strategyexecutionlog ("strategyId", status, created_at);

CREATE TABLE kpimetrics (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	"apiKey_used" varchar,
	day varchar,
	"totalRequests" integer,
	"successRate" integer,
	"avgLatencyMS" integer,
	"errorRate" integer,
	"activeUsers" integer,
	"retentionRate" integer,
	"avgInteractionsPerUser" integer,
	oauth_user_id varchar,
	CONSTRAINT kpimetrics_pkey PRIMARY KEY (id)
);
CREATE INDEX ix_kpimetrics_id ON kpimetrics (id);

CREATE TABLE apirequests (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	"apiKey_used" varchar,
	"userId" uuid,
	endpoint varchar,
	"statusCode" integer,
	"responseTimeMS" integer,
	"requestType" varchar,
	oauth_user_id varchar,
	CONSTRAINT apirequests_pkey PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
CREATE TABLE apirequests_default PARTITION OF apirequests DEFAULT;
CREATE INDEX ix_apirequests_id ON apirequests (id);

CREATE TABLE uptimelogs (
	id uuid NOT NULL,
	created_at timestamptz,
	updated_at timestamptz,
	"apiKey_used" varchar,
	status varchar,
	oauth_user_id varchar,
	CONSTRAINT uptimelogs_pkey PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
CREATE TABLE uptimelogs_default PARTITION OF uptimelogs DEFAULT;
CREATE INDEX ix_uptimelogs_id ON uptimelogs (id);

CREATE TABLE alembic_version (
	version_num varchar(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version VALUES ('f9d3a8c5b2e1');

-- apikey and oauthusers refer to each other, so the references come last.
ALTER TABLE apikey ADD CONSTRAINT
	apikey_oauth_user_id_fkey FOREIGN KEY (oauth_user_id)
	REFERENCES oauthusers (provider_user_id);
ALTER TABLE oauthusers ADD CONSTRAINT
	"oauthusers_apiKey_used_fkey" FOREIGN KEY ("apiKey_used")
	REFERENCES apikey ("apiKey");
ALTER TABLE users ADD CONSTRAINT
	"users_apiKey_used_fkey" FOREIGN KEY ("apiKey_used")
	REFERENCES apikey ("apiKey");
ALTER TABLE games ADD CONSTRAINT
	"games_apiKey_used_fkey" FOREIGN KEY ("apiKey_used")
	REFERENCES apikey ("apiKey");
ALTER TABLE gamesparams ADD CONSTRAINT
	"gamesparams_apiKey_used_fkey" FOREIGN KEY ("apiKey_used")
	REFERENCES apikey ("apiKey");
ALTER TABLE gamesparams ADD CONSTRAINT
	"gamesparams_gameId_fkey" FOREIGN KEY ("gameId")
	REFERENCES games (id);
ALTER TABLE tasks ADD CONSTRAINT
	"tasks_apiKey_used_fkey" FOREIGN KEY ("apiKey_used")
	REFERENCES apikey ("apiKey");
ALTER TABLE tasks ADD CONSTRAINT
	"tasks_gameId_fkey" FOREIGN KEY ("gameId")
	REFERENCES games (id);
ALTER TABLE tasksparams ADD CONSTRAINT
	"tasksparams_apiKey_used_fkey" FOREIGN KEY ("apiKey_used")
	REFERENCES apikey ("apiKey");
ALTER TABLE tasksparams ADD CONSTRAINT
	"tasksparams_taskId_fkey" FOREIGN KEY ("taskId")
	REFERENCES tasks (id);
ALTER TABLE userpoints ADD CONSTRAINT
	"userpoints_apiKey_used_fkey" FOREIGN KEY ("apiKey_used")
	REFERENCES apikey ("apiKey");
ALTER TABLE userpoints ADD CONSTRAINT
	"userpoints_taskId_fkey" FOREIGN KEY ("taskId")
	REFERENCES tasks (id);
ALTER TABLE userpoints ADD CONSTRAINT
	"userpoints_userId_fkey" FOREIGN KEY ("userId")
	REFERENCES users (id);
ALTER TABLE useractions ADD CONSTRAINT
	"useractions_apiKey_used_fkey" FOREIGN KEY ("apiKey_used")
	REFERENCES apikey ("apiKey");
ALTER TABLE useractions ADD CONSTRAINT
	"useractions_userId_fkey" FOREIGN KEY ("userId")
	REFERENCES users (id);
ALTER TABLE usergameconfig ADD CONSTRAINT
	"usergameconfig_gameId_fkey" FOREIGN KEY ("gameId")
	REFERENCES games (id);
ALTER TABLE usergameconfig ADD CONSTRAINT
	"usergameconfig_userId_fkey" FOREIGN KEY ("userId")
	REFERENCES users (id);
ALTER TABLE wallet ADD CONSTRAINT
	"wallet_apiKey_used_fkey" FOREIGN KEY ("apiKey_used")
	REFERENCES apikey ("apiKey");
ALTER TABLE wallet ADD CONSTRAINT
	"wallet_userId_fkey" FOREIGN KEY ("userId")
	REFERENCES users (id);
ALTER TABLE wallettransactions ADD CONSTRAINT
	"wallettransactions_apiKey_used_fkey" FOREIGN KEY ("apiKey_used")
	REFERENCES apikey ("apiKey");
ALTER TABLE wallettransactions ADD CONSTRAINT
	"wallettransactions_walletId_fkey" FOREIGN KEY ("walletId")
	REFERENCES wallet (id);
ALTER TABLE logs ADD CONSTRAINT
	"logs_apiKey_used_fkey" FOREIGN KEY ("apiKey_used")
	REFERENCES apikey ("apiKey");
ALTER TABLE logs ADD CONSTRAINT
	logs_oauth_user_id_fkey FOREIGN KEY (oauth_user_id)
	REFERENCES oauthusers (provider_user_id);
ALTER TABLE exportauditlog ADD CONSTRAINT
	"exportauditlog_apiKey_used_fkey" FOREIGN KEY ("apiKey_used")
	REFERENCES apikey ("apiKey");
ALTER TABLE exportauditlog ADD CONSTRAINT
	exportauditlog_oauth_user_id_fkey FOREIGN KEY (oauth_user_id)
	REFERENCES oauthusers (provider_user_id);
ALTER TABLE strategydefinition ADD CONSTRAINT
	"strategydefinition_apiKey_used_fkey" FOREIGN KEY ("apiKey_used")
	REFERENCES apikey ("apiKey");
ALTER TABLE strategydefinition ADD CONSTRAINT
	strategydefinition_oauth_user_id_fkey FOREIGN KEY (oauth_user_id)
	REFERENCES oauthusers (provider_user_id);
ALTER TABLE strategyexecutionlog ADD CONSTRAINT
	"strategyexecutionlog_apiKey_used_fkey" FOREIGN KEY ("apiKey_used")
	REFERENCES apikey ("apiKey");
ALTER TABLE strategyexecutionlog ADD CONSTRAINT
	strategyexecutionlog_oauth_user_id_fkey FOREIGN KEY (oauth_user_id)
	REFERENCES oauthusers (provider_user_id);
ALTER TABLE apirequests ADD CONSTRAINT
	"apirequests_userId_fkey" FOREIGN KEY ("userId")
	REFERENCES users (id);
