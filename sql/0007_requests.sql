--
-- A row of each request: how long it took to the microsecond, for how many
-- requests it stands where they are sampled, and its correlation id, by which
-- it belongs to rows of logs and strategyexecutionlog.
--
ALTER TABLE apirequests ADD COLUMN duration_ms double precision;
ALTER TABLE apirequests ADD COLUMN weight double precision;
ALTER TABLE apirequests ADD COLUMN correlation_id text;

-- Never written.
DROP TABLE gamed.day_counts;

-- One step against what is older than a table's days, 0 for ever: the oldest
-- partition dropped, or some rows deleted of the one that is too old in part
-- or of the default one, where rows without a time wait, too.  Returns what it
-- did, NULL when nothing is too old.  One at a time, since a dropped partition
-- locks its table until the transaction ends.
CREATE OR REPLACE FUNCTION gamed.drop_expired(tables text[], days int[])
RETURNS text LANGUAGE plpgsql SET timezone = 'UTC' AS $f$
DECLARE
	t record;
	oldest record;
	part text;
	n bigint;
BEGIN
	FOR t IN SELECT name, name::regclass AS parent,
			now() - d * interval '1 day' AS before,
			(SELECT quote_ident(a.attname) FROM pg_attribute a
			JOIN pg_partitioned_table p ON p.partrelid = a.attrelid
				AND a.attnum = p.partattrs[0]
			WHERE a.attrelid = name::regclass) AS key
		FROM unnest(tables, days) u (name, d) WHERE d > 0
	LOOP
		SELECT c.oid::regclass::text AS name,
			to_date(right(c.relname, 6), 'YYYYMM')::timestamptz
				AS from_at
		INTO oldest
		FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = t.parent AND c.relname ~ '_\d{6}$'
		ORDER BY right(c.relname, 6) LIMIT 1;
		IF oldest.from_at + interval '1 month' <= t.before THEN
			EXECUTE format('DROP TABLE %s', oldest.name);
			RETURN 'dropped ' || oldest.name;
		END IF;
		FOREACH part IN ARRAY array_remove(ARRAY[t.name || '_default',
			CASE WHEN oldest.from_at < t.before THEN oldest.name
			END], NULL)
		LOOP
			EXECUTE format('DELETE FROM %1$s WHERE ctid = ANY ('
				'ARRAY(SELECT ctid FROM %1$s WHERE %2$s < %3$L '
				'OR %2$s IS NULL LIMIT 5000))',
				part, t.key, t.before);
			GET DIAGNOSTICS n = ROW_COUNT;
			IF n > 0 THEN
				RETURN format('deleted %s rows of %s', n, part);
			END IF;
		END LOOP;
	END LOOP;
	RETURN NULL;
END $f$;

-- Milliseconds where bucket i of the fine histogram begins, the first being 0
-- (shm.h): one for each of the first 16 microseconds, then 16 for every
-- doubling.
CREATE FUNCTION gamed.bucket_edge(i int) RETURNS double precision
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $f$
	SELECT CASE WHEN i < 16 THEN i
		ELSE (i % 16 + 16) * 2.0 ^ (i / 16 - 1) END / 1000.0
$f$;

-- Milliseconds below which a share p of the requests took, interpolated in
-- its bucket: wrong by a sixteenth at most.
CREATE OR REPLACE FUNCTION gamed.bucket_percentile(buckets bigint[],
	p double precision)
RETURNS double precision LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $f$
	SELECT gamed.bucket_edge(i - 1) + (gamed.bucket_edge(i)
		- gamed.bucket_edge(i - 1)) * (p * total - (upto - n)) / n
	FROM (
		SELECT i::int, n, sum(n) OVER (ORDER BY i) AS upto,
			sum(n) OVER () AS total
		FROM unnest(buckets) WITH ORDINALITY u (n, i)
	) b
	WHERE n > 0 AND upto >= p * total ORDER BY i LIMIT 1
$f$;

-- Of the whole day; minutes of an earlier release have another histogram.
CREATE FUNCTION gamed.day_buckets(d date) RETURNS bigint[]
LANGUAGE sql STABLE SET timezone = 'UTC'
SET search_path = pg_catalog, pg_temp AS $f$
	SELECT array_agg(n ORDER BY i) FROM (
		SELECT i, sum(x)::bigint AS n FROM gamed.request_minute,
			unnest(buckets) WITH ORDINALITY u (x, i)
		WHERE minute >= d AND minute < d + 1 AND handler = ''
			AND cardinality(buckets) = 368
		GROUP BY i) q
$f$;

-- The figures of one day, over whatever is there for it.
CREATE OR REPLACE FUNCTION gamed.kpi_rollup(d date) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC'
SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
	k gamed.kpi_daily;
	all_buckets bigint[];
	success int;
BEGIN
	PERFORM pg_advisory_xact_lock(hashtext('gamed.kpi'));
	PERFORM gamed.find_active_users(d);
	SELECT coalesce(sum(n), 0),
		coalesce(sum(n) FILTER (WHERE status / 100 = 2), 0),
		coalesce(sum(n) FILTER (WHERE status / 100 = 3), 0),
		coalesce(sum(n) FILTER (WHERE status / 100 = 4), 0),
		coalesce(sum(n) FILTER (WHERE status / 100 = 5), 0),
		100.0 * sum(n) FILTER (WHERE status < 400) / nullif(sum(n), 0),
		100.0 * sum(n) FILTER (WHERE status >= 500)
			/ nullif(sum(n), 0),
		sum(latency_ms_sum) / nullif(sum(n), 0)
	INTO k.requests, k.n_2xx, k.n_3xx, k.n_4xx, k.n_5xx,
		k.success_pct, k.server_error_pct, k.latency_avg_ms
	FROM gamed.request_minute
	WHERE minute >= d AND minute < d + 1
		AND handler NOT IN ('', '/api/v1/kpi/health_check');
	IF k.requests > 0 THEN
		k.success_pct := coalesce(k.success_pct, 0);
		k.server_error_pct := coalesce(k.server_error_pct, 0);
		k.error_pct := 100 - k.success_pct;
	END IF;

	all_buckets := gamed.day_buckets(d);
	k.latency_p50_ms := gamed.bucket_percentile(all_buckets, 0.50);
	k.latency_p95_ms := gamed.bucket_percentile(all_buckets, 0.95);
	k.latency_p99_ms := gamed.bucket_percentile(all_buckets, 0.99);

	SELECT count(*) INTO k.active_users
	FROM gamed.active_user_day WHERE day = d;
	SELECT (SELECT count(*) FROM public.userpoints
			WHERE created_at >= d AND created_at < d + 1)
		+ (SELECT count(*) FROM public.useractions
			WHERE created_at >= d AND created_at < d + 1),
		(SELECT coalesce(sum(points), 0) FROM public.userpoints
			WHERE created_at >= d AND created_at < d + 1),
		(SELECT count(*) FROM public.users
			WHERE created_at >= d AND created_at < d + 1)
	INTO k.interactions, k.points_awarded, k.new_users;
	k.interactions_per_user := coalesce(
		k.interactions::numeric / nullif(k.active_users, 0), 0);
	k.retention_d1_pct := gamed.retention_pct(d, 1);
	k.retention_d7_pct := gamed.retention_pct(d, 7);
	k.retention_d30_pct := gamed.retention_pct(d, 30);
	k.uptime_pct := gamed.uptime_pct(d);
	k.day := d;
	k.computed_at := clock_timestamp();

	DELETE FROM gamed.kpi_daily WHERE day = d;
	INSERT INTO gamed.kpi_daily SELECT k.*;

	-- whole numbers there; both rates make 100 still
	success := round(k.success_pct);
	UPDATE public.kpimetrics SET updated_at = now(),
		"totalRequests" = k.requests, "successRate" = success,
		"errorRate" = 100 - success,
		"avgLatencyMS" = round(k.latency_avg_ms),
		"activeUsers" = k.active_users,
		"retentionRate" = round(k.retention_d1_pct),
		"avgInteractionsPerUser" = round(k.interactions_per_user)
	WHERE day = to_char(d, 'YYYY-MM-DD') AND "apiKey_used" IS NULL
		AND oauth_user_id IS NULL;
	IF NOT FOUND THEN
		INSERT INTO public.kpimetrics (id, created_at, updated_at, day,
			"totalRequests", "successRate", "errorRate",
			"avgLatencyMS", "activeUsers", "retentionRate",
			"avgInteractionsPerUser")
		VALUES (gen_random_uuid(), now(), now(),
			to_char(d, 'YYYY-MM-DD'), k.requests, success,
			100 - success, round(k.latency_avg_ms), k.active_users,
			round(k.retention_d1_pct),
			round(k.interactions_per_user));
	END IF;
END $f$;

--
-- Runs of strategies and what became of each arm of their programs, by the
-- hour.  As with requests a write adds what is new since the last one, which
-- the tables named _base remember, and moves those on in one transaction.
--
CREATE AGGREGATE gamed.array_sum(bigint[]) (
	SFUNC = gamed.array_plus, STYPE = bigint[], INITCOND = '{}');

CREATE TABLE gamed.strategy_base (
	server text NOT NULL,
	boot bigint NOT NULL,
	strategy_id text NOT NULL,
	version integer NOT NULL,
	ast_sha256 text NOT NULL,     -- its first digits
	status text NOT NULL,
	error_code text NOT NULL,
	case_name text NOT NULL,
	case_is_null boolean NOT NULL,
	runs bigint NOT NULL,
	duration_ms double precision NOT NULL,
	duration_ms_max double precision NOT NULL,
	nodes bigint NOT NULL,
	nodes_max integer NOT NULL,
	points double precision NOT NULL,
	buckets bigint[] NOT NULL,
	PRIMARY KEY (server, boot, strategy_id, version, ast_sha256, status,
		error_code, case_name, case_is_null)
);

-- Never written so far; an arm is a rule's branch: 0 is `then`, 1 the first
-- else_if.
DROP TABLE gamed.strategy_rule_hour;
CREATE TABLE gamed.strategy_rule_hour (
	strategy_id text NOT NULL,
	hour timestamptz NOT NULL,
	server text NOT NULL,
	boot bigint NOT NULL,
	version integer NOT NULL,
	ast_sha256 text NOT NULL,     -- its first digits
	section text NOT NULL,        -- rules, default, pre_rules, post_rules
	rule integer NOT NULL,        -- in its section, from 0
	branch integer NOT NULL,
	evaluated bigint NOT NULL,
	taken bigint NOT NULL,
	decided bigint NOT NULL,
	failed bigint NOT NULL,
	PRIMARY KEY (strategy_id, hour, server, boot, version, ast_sha256,
		section, rule, branch)
);
CREATE TABLE gamed.strategy_rule_base (
	server text NOT NULL,
	boot bigint NOT NULL,
	strategy_id text NOT NULL,
	version integer NOT NULL,
	ast_sha256 text NOT NULL,
	section text NOT NULL,
	rule integer NOT NULL,
	branch integer NOT NULL,
	evaluated bigint NOT NULL,
	taken bigint NOT NULL,
	decided bigint NOT NULL,
	failed bigint NOT NULL,
	PRIMARY KEY (server, boot, strategy_id, version, ast_sha256, section,
		rule, branch)
);

-- Totals since the boot, one object an outcome.  A maximum belongs to the hour
-- that raised it.
CREATE FUNCTION gamed.flush_outcomes(my_server text, my_boot bigint,
	this_hour timestamptz, series jsonb) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $f$
	WITH more AS MATERIALIZED (
		SELECT s.*, coalesce(s.code, '') AS error_code,
			coalesce(s.case_name, '') AS cas,
			s.case_name IS NULL AS no_case,
			s.runs - coalesce(o.runs, 0) AS d_runs,
			greatest(s.ms - coalesce(o.duration_ms, 0), 0) AS d_ms,
			CASE WHEN s.ms_max > coalesce(o.duration_ms_max, 0)
				THEN s.ms_max ELSE 0 END AS d_ms_max,
			greatest(s.nodes - coalesce(o.nodes, 0), 0) AS d_nodes,
			CASE WHEN s.nodes_max > coalesce(o.nodes_max, 0)
				THEN s.nodes_max ELSE 0 END AS d_nodes_max,
			s.points - coalesce(o.points, 0) AS d_points,
			gamed.array_minus(s.buckets, o.buckets) AS d_buckets
		FROM jsonb_to_recordset(series) AS s (id text, version int,
			sha text, status text, code text, case_name text,
			runs bigint, ms double precision,
			ms_max double precision, nodes bigint, nodes_max int,
			points double precision, buckets bigint[])
		LEFT JOIN gamed.strategy_base o
		ON o.server = my_server AND o.boot = my_boot
			AND o.strategy_id = s.id AND o.version = s.version
			AND o.ast_sha256 = s.sha AND o.status = s.status
			AND o.error_code = coalesce(s.code, '')
			AND o.case_name = coalesce(s.case_name, '')
			AND o.case_is_null = (s.case_name IS NULL)
		WHERE s.runs > coalesce(o.runs, 0)
	), added AS (
		INSERT INTO gamed.strategy_hour AS h
		SELECT id, this_hour, my_server, my_boot, version, status,
			error_code, cas, no_case, sum(d_runs), sum(d_ms),
			max(d_ms_max), sum(d_nodes), max(d_nodes_max),
			sum(d_points), gamed.array_sum(d_buckets)
		FROM more GROUP BY id, version, status, error_code, cas, no_case
		ON CONFLICT (strategy_id, hour, server, boot, version, status,
			error_code, case_name, case_is_null)
		DO UPDATE SET runs = h.runs + excluded.runs,
			duration_ms_sum =
				h.duration_ms_sum + excluded.duration_ms_sum,
			duration_ms_max = greatest(h.duration_ms_max,
				excluded.duration_ms_max),
			nodes_sum = h.nodes_sum + excluded.nodes_sum,
			nodes_max = greatest(h.nodes_max, excluded.nodes_max),
			points_sum = h.points_sum + excluded.points_sum,
			buckets = gamed.array_plus(h.buckets, excluded.buckets)
	)
	INSERT INTO gamed.strategy_base
	SELECT my_server, my_boot, id, version, sha, status, error_code, cas,
		no_case, runs, ms, ms_max, nodes, nodes_max, points, buckets
	FROM more
	ON CONFLICT (server, boot, strategy_id, version, ast_sha256, status,
		error_code, case_name, case_is_null)
	DO UPDATE SET runs = excluded.runs, duration_ms = excluded.duration_ms,
		duration_ms_max = excluded.duration_ms_max,
		nodes = excluded.nodes, nodes_max = excluded.nodes_max,
		points = excluded.points, buckets = excluded.buckets
$f$;

-- The same of arms, one object each.
CREATE FUNCTION gamed.flush_arms(my_server text, my_boot bigint,
	this_hour timestamptz, arms jsonb) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $f$
	WITH more AS MATERIALIZED (
		SELECT a.*, a.evaluated - coalesce(o.evaluated, 0) AS d_evaluated,
			a.taken - coalesce(o.taken, 0) AS d_taken,
			a.decided - coalesce(o.decided, 0) AS d_decided,
			a.failed - coalesce(o.failed, 0) AS d_failed
		FROM jsonb_to_recordset(arms) AS a (id text, version int,
			sha text, section text, rule int, branch int,
			evaluated bigint, taken bigint, decided bigint,
			failed bigint)
		LEFT JOIN gamed.strategy_rule_base o
		ON o.server = my_server AND o.boot = my_boot
			AND o.strategy_id = a.id AND o.version = a.version
			AND o.ast_sha256 = a.sha AND o.section = a.section
			AND o.rule = a.rule AND o.branch = a.branch
		WHERE (a.evaluated, a.taken, a.decided, a.failed)
			IS DISTINCT FROM
			(o.evaluated, o.taken, o.decided, o.failed)
	), added AS (
		INSERT INTO gamed.strategy_rule_hour AS h
		SELECT id, this_hour, my_server, my_boot, version, sha, section,
			rule, branch, d_evaluated, d_taken, d_decided, d_failed
		FROM more
		ON CONFLICT (strategy_id, hour, server, boot, version,
			ast_sha256, section, rule, branch)
		DO UPDATE SET evaluated = h.evaluated + excluded.evaluated,
			taken = h.taken + excluded.taken,
			decided = h.decided + excluded.decided,
			failed = h.failed + excluded.failed
	)
	INSERT INTO gamed.strategy_rule_base
	SELECT my_server, my_boot, id, version, sha, section, rule, branch,
		evaluated, taken, decided, failed
	FROM more
	ON CONFLICT (server, boot, strategy_id, version, ast_sha256, section,
		rule, branch)
	DO UPDATE SET evaluated = excluded.evaluated, taken = excluded.taken,
		decided = excluded.decided, failed = excluded.failed
$f$;

DROP FUNCTION gamed.flush_strategies(text, bigint, timestamptz, jsonb);
CREATE FUNCTION gamed.flush_strategies(my_server text, my_boot bigint,
	at_hour timestamptz, series jsonb, arms jsonb) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC'
SET search_path = pg_catalog, pg_temp AS $f$
BEGIN
	PERFORM pg_advisory_xact_lock(hashtext('gamed.flush:' || my_server));
	PERFORM gamed.flush_outcomes(my_server, my_boot,
		date_trunc('hour', at_hour), series);
	PERFORM gamed.flush_arms(my_server, my_boot,
		date_trunc('hour', at_hour), arms);
	-- starts of this server that are over
	DELETE FROM gamed.strategy_base
	WHERE server = my_server AND boot < my_boot;
	DELETE FROM gamed.strategy_rule_base
	WHERE server = my_server AND boot < my_boot;
	INSERT INTO gamed.job_state
	VALUES ('strategy_hour:' || my_server, clock_timestamp())
	ON CONFLICT (job) DO UPDATE SET last_done = excluded.last_done;
END $f$;
