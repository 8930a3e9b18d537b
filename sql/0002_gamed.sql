--
-- What gamed adds to the reference's tables: aggregates that keep the cost of
-- scoring flat, roll-ups, notices for the servers' caches, indexes.  All of it
-- lives in the schema gamed, in indexes named gx_ and in triggers named
-- gamed_, so that dropping those leaves a database of the reference.
--

-- Keys that carry the admin role; the key itself is in apikey.
CREATE TABLE gamed.admin_key (
	prefix text PRIMARY KEY,
	created_at timestamptz NOT NULL DEFAULT now()
);

--
-- Aggregates of userpoints, exact at every commit whoever writes.
-- The mean of consecutive gaps is (last_at - first_at) / (n - 1).
--
CREATE TABLE gamed.agg_user_task (
	task_id uuid NOT NULL,
	user_id uuid NOT NULL,
	n bigint NOT NULL,          -- awards
	points_n bigint NOT NULL,   -- awards whose points are not null
	points_sum bigint NOT NULL,
	first_at timestamptz,
	last_at timestamptz,
	prev_at timestamptz,        -- second newest
	minutes_n bigint NOT NULL,  -- awards with a data.minutes above zero
	minutes_sum double precision NOT NULL,
	PRIMARY KEY (task_id, user_id)
) WITH (fillfactor = 80);
CREATE INDEX agg_user_task_by_user ON gamed.agg_user_task (user_id);

-- 16 shards, so that the awards of a busy task do not queue for one row.
CREATE TABLE gamed.agg_task (
	task_id uuid NOT NULL,
	shard smallint NOT NULL,
	n bigint NOT NULL,
	points_n bigint NOT NULL,
	points_sum bigint NOT NULL,
	first_at timestamptz,
	last_at timestamptz,
	minutes_n bigint NOT NULL,
	minutes_sum double precision NOT NULL,
	PRIMARY KEY (task_id, shard)
) WITH (fillfactor = 50);

-- Awards that went with their task or game.  The ledger and the wallets keep
-- them, so the books balance only with these.
CREATE TABLE gamed.removed_awards (
	user_id uuid PRIMARY KEY,
	n bigint NOT NULL,
	points_sum bigint NOT NULL
);

-- data.minutes when it is a number above zero, as JSON or as text; null for
-- everything else, so that one odd award cannot fail those after it.  The
-- bounds keep the cast to double precision from failing.
CREATE FUNCTION gamed.minutes_of(d jsonb) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $f$
	SELECT CASE jsonb_typeof(d -> 'minutes')
		WHEN 'number' THEN
			CASE WHEN (d -> 'minutes')::numeric
				BETWEEN 1e-300 AND 1e300
			THEN (d -> 'minutes')::float8 END
		WHEN 'string' THEN
			CASE WHEN d ->> 'minutes' ~
				'^\s*\+?\d{1,200}(\.\d{0,200})?([eE][+-]?\d{1,2})?\s*$'
			THEN nullif((d ->> 'minutes')::float8, 0) END
	END
$f$;

-- One upsert a statement, in key order, so that two writers cannot deadlock.
CREATE FUNCTION gamed.userpoints_ins() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
	my_shard smallint := coalesce(
		nullif(current_setting('gamed.shard', true), '')::int,
		pg_backend_pid()) % 16;
BEGIN
	INSERT INTO gamed.agg_user_task AS a
	SELECT task_id, user_id, count(*), count(points),
		coalesce(sum(points), 0), min(at), max(at),
		max(prev) FILTER (WHERE at IS NOT NULL),
		count(minutes), coalesce(sum(minutes), 0)
	FROM (
		SELECT "taskId" AS task_id, "userId" AS user_id, points,
			created_at AS at, gamed.minutes_of(data) AS minutes,
			lag(created_at) OVER (PARTITION BY "taskId", "userId"
				ORDER BY created_at) AS prev
		FROM new_rows
		WHERE "taskId" IS NOT NULL AND "userId" IS NOT NULL
	) q
	GROUP BY task_id, user_id
	ORDER BY task_id, user_id
	ON CONFLICT (task_id, user_id) DO UPDATE SET
		n = a.n + excluded.n,
		points_n = a.points_n + excluded.points_n,
		points_sum = a.points_sum + excluded.points_sum,
		first_at = least(a.first_at, excluded.first_at),
		last_at = greatest(a.last_at, excluded.last_at),
		prev_at = CASE WHEN a.last_at IS NULL
				OR excluded.last_at >= a.last_at
			THEN greatest(a.last_at, excluded.prev_at)
			ELSE greatest(a.prev_at, excluded.last_at) END,
		minutes_n = a.minutes_n + excluded.minutes_n,
		minutes_sum = a.minutes_sum + excluded.minutes_sum;

	INSERT INTO gamed.agg_task AS a
	SELECT "taskId", my_shard, count(*), count(points),
		coalesce(sum(points), 0), min(created_at), max(created_at),
		count(minutes), coalesce(sum(minutes), 0)
	FROM (
		SELECT "taskId", points, created_at,
			gamed.minutes_of(data) AS minutes
		FROM new_rows
		WHERE "taskId" IS NOT NULL AND "userId" IS NOT NULL
	) q
	GROUP BY "taskId"
	ORDER BY "taskId"
	ON CONFLICT (task_id, shard) DO UPDATE SET
		n = a.n + excluded.n,
		points_n = a.points_n + excluded.points_n,
		points_sum = a.points_sum + excluded.points_sum,
		first_at = least(a.first_at, excluded.first_at),
		last_at = greatest(a.last_at, excluded.last_at),
		minutes_n = a.minutes_n + excluded.minutes_n,
		minutes_sum = a.minutes_sum + excluded.minutes_sum;
	RETURN NULL;
END $f$;

-- Counts the pairs (task[i], usr[i]) again from userpoints, and their tasks
-- from those.  The lock on the tasks waits for awards in flight and keeps new
-- ones behind the foreign key check that they make before their trigger.
CREATE FUNCTION gamed.agg_recount(task uuid[], usr uuid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $f$
BEGIN
	PERFORM 1 FROM public.tasks WHERE id = ANY (task)
		ORDER BY id FOR UPDATE;
	DELETE FROM gamed.agg_user_task a USING unnest(task, usr) AS p (t, u)
	WHERE a.task_id = p.t AND a.user_id = p.u;
	INSERT INTO gamed.agg_user_task
	SELECT p.t, p.u, count(*), count(points), coalesce(sum(points), 0),
		min(created_at), max(created_at),
		(array_agg(created_at ORDER BY created_at DESC)
			FILTER (WHERE created_at IS NOT NULL))[2],
		count(minutes), coalesce(sum(minutes), 0)
	FROM unnest(task, usr) AS p (t, u), LATERAL (
		SELECT points, created_at, gamed.minutes_of(data) AS minutes
		FROM public.userpoints
		WHERE "taskId" = p.t AND "userId" = p.u
	) q
	GROUP BY p.t, p.u;
	DELETE FROM gamed.agg_task WHERE task_id = ANY (task);
	INSERT INTO gamed.agg_task
	SELECT task_id, 0, sum(n), sum(points_n), sum(points_sum),
		min(first_at), max(last_at), sum(minutes_n), sum(minutes_sum)
	FROM gamed.agg_user_task
	WHERE task_id = ANY (task)
	GROUP BY task_id;
END $f$;

CREATE FUNCTION gamed.userpoints_del() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $f$
BEGIN
	PERFORM gamed.agg_recount(array_agg(t), array_agg(u)) FROM (
		SELECT DISTINCT "taskId" AS t, "userId" AS u FROM old_rows
		WHERE "taskId" IS NOT NULL AND "userId" IS NOT NULL
	) q HAVING count(*) > 0;
	INSERT INTO gamed.removed_awards AS r
	SELECT "userId", count(*), coalesce(sum(points), 0) FROM old_rows
	WHERE "userId" IS NOT NULL GROUP BY "userId" ORDER BY "userId"
	ON CONFLICT (user_id) DO UPDATE SET n = r.n + excluded.n,
		points_sum = r.points_sum + excluded.points_sum;
	RETURN NULL;
END $f$;

CREATE FUNCTION gamed.userpoints_upd() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $f$
BEGIN
	PERFORM gamed.agg_recount(array_agg(t), array_agg(u)) FROM (
		SELECT "taskId" AS t, "userId" AS u FROM old_rows
		WHERE "taskId" IS NOT NULL AND "userId" IS NOT NULL
		UNION
		SELECT "taskId", "userId" FROM new_rows
		WHERE "taskId" IS NOT NULL AND "userId" IS NOT NULL
	) q HAVING count(*) > 0;
	RETURN NULL;
END $f$;

CREATE FUNCTION gamed.userpoints_trunc() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $f$
BEGIN
	TRUNCATE gamed.agg_user_task, gamed.agg_task;
	RETURN NULL;
END $f$;

CREATE TRIGGER gamed_userpoints_ins AFTER INSERT ON userpoints
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION gamed.userpoints_ins();
CREATE TRIGGER gamed_userpoints_del AFTER DELETE ON userpoints
	REFERENCING OLD TABLE AS old_rows
	FOR EACH STATEMENT EXECUTE FUNCTION gamed.userpoints_del();
CREATE TRIGGER gamed_userpoints_upd AFTER UPDATE ON userpoints
	REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION gamed.userpoints_upd();
CREATE TRIGGER gamed_userpoints_trunc AFTER TRUNCATE ON userpoints
	FOR EACH STATEMENT EXECUTE FUNCTION gamed.userpoints_trunc();

-- The ledger is only ever appended to.
CREATE FUNCTION gamed.ledger_is_final() RETURNS trigger
LANGUAGE plpgsql AS $f$
BEGIN
	RAISE EXCEPTION 'rows of wallettransactions are never changed'
		USING ERRCODE = 'integrity_constraint_violation';
END $f$;
CREATE TRIGGER gamed_ledger_is_final BEFORE UPDATE OR DELETE
	ON wallettransactions
	FOR EACH ROW EXECUTE FUNCTION gamed.ledger_is_final();

--
-- Notices for the caches of every server on this database: kind:id.  The
-- arguments are the kind and the column that holds the id.
--
CREATE FUNCTION gamed.cache_notify() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
	old_id text := to_jsonb(OLD) ->> TG_ARGV[1];
	new_id text := to_jsonb(NEW) ->> TG_ARGV[1];
BEGIN
	IF old_id IS NOT NULL THEN
		PERFORM pg_notify('gamed_cache', TG_ARGV[0] || ':' || old_id);
	END IF;
	IF new_id IS NOT NULL AND new_id IS DISTINCT FROM old_id THEN
		PERFORM pg_notify('gamed_cache', TG_ARGV[0] || ':' || new_id);
	END IF;
	RETURN NULL;
END $f$;

CREATE TRIGGER gamed_cache AFTER INSERT OR UPDATE OR DELETE ON games
	FOR EACH ROW EXECUTE FUNCTION gamed.cache_notify('game', 'id');
CREATE TRIGGER gamed_cache AFTER INSERT OR UPDATE OR DELETE ON gamesparams
	FOR EACH ROW EXECUTE FUNCTION gamed.cache_notify('game', 'gameId');
CREATE TRIGGER gamed_cache AFTER INSERT OR UPDATE OR DELETE ON tasks
	FOR EACH ROW EXECUTE FUNCTION gamed.cache_notify('task', 'id');
CREATE TRIGGER gamed_cache AFTER INSERT OR UPDATE OR DELETE ON tasksparams
	FOR EACH ROW EXECUTE FUNCTION gamed.cache_notify('task', 'taskId');
CREATE TRIGGER gamed_cache AFTER INSERT OR UPDATE OR DELETE
	ON strategydefinition
	FOR EACH ROW EXECUTE FUNCTION gamed.cache_notify('strategy', 'id');
CREATE TRIGGER gamed_cache AFTER INSERT OR UPDATE OR DELETE ON apikey
	FOR EACH ROW EXECUTE FUNCTION gamed.cache_notify('apikey', 'apiKey');
CREATE TRIGGER gamed_cache AFTER INSERT OR UPDATE OR DELETE
	ON gamed.admin_key
	FOR EACH ROW EXECUTE FUNCTION gamed.cache_notify('apikey', 'prefix');

--
-- Roll-ups, written by the stats process.  Rows of one server and boot hold
-- absolute values and are overwritten, so that a crash cannot count twice;
-- a reader sums over server and boot.
--
CREATE TABLE gamed.request_minute (
	minute timestamptz NOT NULL,
	server text NOT NULL,
	boot bigint NOT NULL,
	handler text NOT NULL,
	method text NOT NULL,
	status smallint NOT NULL,
	n bigint NOT NULL,
	latency_ms_sum double precision NOT NULL,
	latency_ms_max double precision NOT NULL,
	buckets bigint[] NOT NULL DEFAULT '{}',
	PRIMARY KEY (minute, server, boot, handler, method, status)
) PARTITION BY RANGE (minute);
CREATE TABLE gamed.request_minute_default
	PARTITION OF gamed.request_minute DEFAULT;

CREATE TABLE gamed.active_user_day (
	day date NOT NULL,
	user_id uuid NOT NULL,
	interactions integer NOT NULL,
	PRIMARY KEY (day, user_id)
) PARTITION BY RANGE (day);
CREATE TABLE gamed.active_user_day_default
	PARTITION OF gamed.active_user_day DEFAULT;

CREATE TABLE gamed.kpi_daily (
	day date PRIMARY KEY,
	requests bigint NOT NULL,
	n_2xx bigint NOT NULL,
	n_3xx bigint NOT NULL,
	n_4xx bigint NOT NULL,
	n_5xx bigint NOT NULL,
	success_pct numeric(7, 4),
	error_pct numeric(7, 4),
	server_error_pct numeric(7, 4),
	latency_avg_ms numeric(12, 3),
	latency_p50_ms numeric(12, 3),
	latency_p95_ms numeric(12, 3),
	latency_p99_ms numeric(12, 3),
	active_users bigint NOT NULL,
	retention_d1_pct numeric(7, 4),
	retention_d7_pct numeric(7, 4),
	retention_d30_pct numeric(7, 4),
	interactions bigint NOT NULL,
	interactions_per_user numeric(14, 4),
	points_awarded bigint NOT NULL,
	new_users bigint NOT NULL,
	uptime_pct numeric(7, 4),
	computed_at timestamptz NOT NULL
);

CREATE TABLE gamed.strategy_hour (
	strategy_id text NOT NULL,
	hour timestamptz NOT NULL,
	server text NOT NULL,
	boot bigint NOT NULL,
	version integer NOT NULL,
	status text NOT NULL,
	error_code text NOT NULL DEFAULT '',
	case_name text NOT NULL DEFAULT '',
	case_is_null boolean NOT NULL,
	runs bigint NOT NULL,
	duration_ms_sum double precision NOT NULL,
	duration_ms_max double precision NOT NULL,
	nodes_sum bigint NOT NULL,
	nodes_max integer NOT NULL,
	points_sum double precision NOT NULL,
	buckets bigint[] NOT NULL,
	PRIMARY KEY (strategy_id, hour, server, boot, version, status,
		error_code, case_name, case_is_null)
);

-- Rules by section and index, since ids of rules collide.
CREATE TABLE gamed.strategy_rule_hour (
	strategy_id text NOT NULL,
	hour timestamptz NOT NULL,
	server text NOT NULL,
	boot bigint NOT NULL,
	version integer NOT NULL,
	section text NOT NULL,
	rule integer NOT NULL,
	evaluated bigint NOT NULL,
	taken bigint NOT NULL,
	decided bigint NOT NULL,
	failed bigint NOT NULL,
	PRIMARY KEY (strategy_id, hour, server, boot, version, section, rule)
);

CREATE TABLE gamed.day_counts (
	day date NOT NULL,
	series text NOT NULL,
	n bigint NOT NULL,
	PRIMARY KEY (day, series)
);

CREATE TABLE gamed.job_state (
	job text PRIMARY KEY,
	last_done timestamptz,
	cursor jsonb
);

CREATE TABLE gamed.uptime_gap (
	from_at timestamptz PRIMARY KEY,
	to_at timestamptz NOT NULL,
	cause text NOT NULL
);

--
-- Indexes that the reference lacks.
--
CREATE UNIQUE INDEX gx_tasks_game_external_task
	ON tasks ("gameId", "externalTaskId");
CREATE UNIQUE INDEX gx_strategydefinition_published
	ON strategydefinition ("realmId", name) WHERE status = 'PUBLISHED';
CREATE INDEX gx_wallettransactions_wallet
	ON wallettransactions ("walletId", created_at);
CREATE INDEX gx_gamesparams_game ON gamesparams ("gameId");
CREATE INDEX gx_strategy_hour_boot ON gamed.strategy_hour (boot);
CREATE INDEX gx_tasksparams_task ON tasksparams ("taskId");
CREATE INDEX gx_usergameconfig_game_user
	ON usergameconfig ("gameId", "userId");
CREATE INDEX gx_games_apikey ON games ("apiKey_used");
CREATE INDEX gx_games_strategy ON games ("strategyId");
CREATE INDEX gx_tasks_strategy ON tasks ("strategyId");
CREATE INDEX gx_tasks_external_task ON tasks ("externalTaskId");
CREATE INDEX gx_userpoints_created ON userpoints (created_at);
CREATE INDEX gx_users_created ON users (created_at);
CREATE INDEX gx_games_created ON games (created_at);
CREATE INDEX gx_useractions_created ON useractions (created_at);
CREATE INDEX gx_wallettransactions_created
	ON wallettransactions (created_at);
CREATE INDEX gx_logs_created ON logs (created_at);
CREATE INDEX gx_logs_oauth_user ON logs (oauth_user_id);
CREATE INDEX gx_apirequests_created ON apirequests (created_at);
CREATE INDEX gx_strategyexecutionlog_strategy
	ON strategyexecutionlog ("strategyId", created_at);
CREATE INDEX gx_strategyexecutionlog_created
	ON strategyexecutionlog (created_at);
CREATE INDEX gx_uptimelogs_created ON uptimelogs (created_at);
CREATE INDEX gx_abuse_limit_counter_window
	ON abuse_limit_counter ("windowStart");

--
-- Makes the first monthly partition, from this month to months_ahead later,
-- that is missing and returns its name; NULL when none is.  Rows of that month
-- that wait in the default partition move into it.  One at a time, since the
-- default partition stays locked until the transaction ends: a caller that
-- held several would deadlock with a reader of two of the tables.
--
CREATE FUNCTION gamed.make_partition(months_ahead int) RETURNS text
LANGUAGE plpgsql SET timezone = 'UTC' AS $f$
DECLARE
	m record;
BEGIN
	PERFORM pg_advisory_xact_lock(hashtext('gamed.make_partition'));
	SELECT c.oid::regclass AS parent, p.partdefid::regclass AS rest,
		quote_ident(a.attname) AS key, from_at,
		from_at + interval '1 month' AS to_at,
		quote_ident(n.nspname) || '.'
			|| c.relname || to_char(from_at, '_YYYYMM') AS part
	INTO m
	FROM pg_partitioned_table p
	JOIN pg_class c ON c.oid = p.partrelid
	JOIN pg_namespace n ON n.oid = c.relnamespace
	JOIN pg_attribute a ON a.attrelid = c.oid
		AND a.attnum = p.partattrs[0],
		generate_series(0, months_ahead) i,
		LATERAL (SELECT date_trunc('month', now())
			+ i * interval '1 month') f (from_at)
	WHERE (n.nspname, c.relname) IN (
			('public', 'logs'),
			('public', 'apirequests'),
			('public', 'strategyexecutionlog'),
			('public', 'uptimelogs'),
			('gamed', 'request_minute'),
			('gamed', 'active_user_day'))
		AND to_regclass(quote_ident(n.nspname) || '.'
			|| c.relname || to_char(from_at, '_YYYYMM')) IS NULL
	ORDER BY n.nspname, c.relname, i
	LIMIT 1;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS)',
		m.part, m.parent);
	EXECUTE format('LOCK TABLE %s', m.rest);
	EXECUTE format('WITH moved AS (DELETE FROM %s '
		'WHERE %s >= %L AND %s < %L RETURNING *) '
		'INSERT INTO %s SELECT * FROM moved',
		m.rest, m.key, m.from_at, m.key, m.to_at, m.part);
	EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s '
		'FOR VALUES FROM (%L) TO (%L)',
		m.parent, m.part, m.from_at, m.to_at);
	RETURN m.part;
END $f$;
