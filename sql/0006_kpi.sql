--
-- Key figures: counters of requests by the minute, their roll-up by the day
-- (UTC), times without a server, retention.  Called by the stats process and
-- by gamectl kpi; every function may be called by several servers at once.
--

-- What a server's counters had come to when they were last written.  A write
-- adds the difference and moves this on in one transaction, so that nothing
-- counts twice after a crash or an answer that was lost.
CREATE TABLE gamed.request_base (
	server text NOT NULL,
	boot bigint NOT NULL,       -- wall time of the start, microseconds
	handler text NOT NULL,      -- '' for all of them together
	method text NOT NULL,
	status smallint NOT NULL,   -- 100, 200, ...; 0 for all
	n bigint NOT NULL,
	latency_ms double precision NOT NULL, -- of the route, all statuses
	buckets bigint[] NOT NULL,
	at timestamptz NOT NULL,
	PRIMARY KEY (server, boot, handler, method, status)
);

-- Not kept by the shared counters.
ALTER TABLE gamed.request_minute DROP COLUMN latency_ms_max;
COMMENT ON COLUMN gamed.request_minute.latency_ms_sum IS
	'of a route by its requests: its statuses share it by their number';
ALTER TABLE gamed.uptime_gap ADD COLUMN server text NOT NULL DEFAULT '';

-- Element by element; a missing array counts as zeros.
CREATE FUNCTION gamed.array_minus(a bigint[], b bigint[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE AS $f$
	SELECT coalesce(array_agg(x - coalesce(b[i], 0) ORDER BY i), '{}')
	FROM unnest(a) WITH ORDINALITY u (x, i)
$f$;
CREATE FUNCTION gamed.array_plus(a bigint[], b bigint[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE AS $f$
	SELECT coalesce(array_agg(coalesce(a[i], 0) + coalesce(b[i], 0)
		ORDER BY i), '{}')
	FROM generate_series(1, greatest(cardinality(a), cardinality(b))) i
$f$;

-- Totals since the boot, one element a series, latencies those of the route;
-- all_buckets is the fine histogram of all requests.
CREATE FUNCTION gamed.flush_requests(my_server text, my_boot bigint,
	at_minute timestamptz, handlers text[], methods text[],
	statuses smallint[], ns bigint[], latencies double precision[],
	all_buckets bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $f$
BEGIN
	PERFORM pg_advisory_xact_lock(hashtext('gamed.flush:' || my_server));
	WITH now_at AS (
		SELECT h, m, s, n, lat, '{}'::bigint[] AS b
		FROM unnest(handlers, methods, statuses, ns, latencies)
			u (h, m, s, n, lat)
		UNION ALL
		SELECT '', '', 0::smallint, sum(x), 0, all_buckets
		FROM unnest(all_buckets) x
	), more AS (
		SELECT h, m, s, w.n - coalesce(o.n, 0) AS n,
			lat - coalesce(max(o.latency_ms) OVER route, 0) AS lat,
			gamed.array_minus(b, o.buckets) AS b
		FROM now_at w LEFT JOIN gamed.request_base o
		ON o.server = my_server AND o.boot = my_boot
			AND o.handler = h AND o.method = m AND o.status = s
		WINDOW route AS (PARTITION BY h, m)
	)
	INSERT INTO gamed.request_minute AS r
		(minute, server, boot, handler, method, status, n,
			latency_ms_sum, buckets)
	SELECT date_trunc('minute', at_minute), my_server, my_boot,
		h, m, s, n, lat * n / sum(n) OVER (PARTITION BY h, m), b
	FROM more WHERE n > 0
	ON CONFLICT (minute, server, boot, handler, method, status)
	DO UPDATE SET n = r.n + excluded.n,
		latency_ms_sum = r.latency_ms_sum + excluded.latency_ms_sum,
		buckets = gamed.array_plus(r.buckets, excluded.buckets);

	INSERT INTO gamed.request_base
	SELECT my_server, my_boot, h, m, s, n, lat, '{}', now()
	FROM unnest(handlers, methods, statuses, ns, latencies)
		u (h, m, s, n, lat)
	UNION ALL
	SELECT my_server, my_boot, '', '', 0, sum(x), 0, all_buckets, now()
	FROM unnest(all_buckets) x
	ON CONFLICT (server, boot, handler, method, status)
	DO UPDATE SET n = excluded.n, latency_ms = excluded.latency_ms,
		buckets = excluded.buckets, at = excluded.at;
	-- starts of this server that are over
	DELETE FROM gamed.request_base
	WHERE server = my_server AND boot < my_boot;
END $f$;

-- Runs of strategies since the boot, one object a series: what is new since
-- the hours before goes to this hour, whose rows are overwritten, so that
-- writing again changes nothing.  A maximum belongs to the hour that raised it.
CREATE FUNCTION gamed.flush_strategies(my_server text, my_boot bigint,
	at_hour timestamptz, series jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
	this_hour timestamptz := date_trunc('hour', at_hour);
BEGIN
	PERFORM pg_advisory_xact_lock(hashtext('gamed.flush:' || my_server));
	INSERT INTO gamed.strategy_hour
	SELECT s.id, this_hour, my_server, my_boot, s.version, s.status,
		coalesce(s.code, ''), coalesce(s.case_name, ''),
		s.case_name IS NULL, s.runs - coalesce(o.runs, 0),
		greatest(s.ms - coalesce(o.ms, 0), 0),
		CASE WHEN s.ms_max > coalesce(o.ms_max, 0) THEN s.ms_max
			ELSE 0 END,
		greatest(s.nodes - coalesce(o.nodes, 0), 0),
		CASE WHEN s.nodes_max > coalesce(o.nodes_max, 0)
			THEN s.nodes_max ELSE 0 END,
		coalesce(s.points, 0) - coalesce(o.points, 0), '{}'
	FROM jsonb_to_recordset(series) AS s (id text, version int, status text,
		code text, case_name text, runs bigint, ms double precision,
		ms_max double precision, nodes bigint, nodes_max int,
		points double precision)
	LEFT JOIN (
		SELECT strategy_id, version, status, error_code, case_name,
			case_is_null, sum(runs) AS runs,
			sum(duration_ms_sum) AS ms,
			max(duration_ms_max) AS ms_max,
			sum(nodes_sum) AS nodes, max(nodes_max) AS nodes_max,
			sum(points_sum) AS points
		FROM gamed.strategy_hour
		WHERE boot = my_boot AND server = my_server AND hour < this_hour
		GROUP BY 1, 2, 3, 4, 5, 6
	) o ON o.strategy_id = s.id AND o.version = s.version
		AND o.status = s.status AND o.error_code = coalesce(s.code, '')
		AND o.case_name = coalesce(s.case_name, '')
		AND o.case_is_null = (s.case_name IS NULL)
	WHERE s.runs > coalesce(o.runs, 0)
	ON CONFLICT (strategy_id, hour, server, boot, version, status,
		error_code, case_name, case_is_null)
	DO UPDATE SET runs = excluded.runs,
		duration_ms_sum = excluded.duration_ms_sum,
		duration_ms_max = excluded.duration_ms_max,
		nodes_sum = excluded.nodes_sum, nodes_max = excluded.nodes_max,
		points_sum = excluded.points_sum;
	INSERT INTO gamed.job_state
	VALUES ('strategy_hour:' || my_server, clock_timestamp())
	ON CONFLICT (job) DO UPDATE SET last_done = excluded.last_done;
END $f$;

-- Users with an award or an action on that day.
CREATE FUNCTION gamed.find_active_users(d date) RETURNS void
LANGUAGE sql SET timezone = 'UTC'
SET search_path = pg_catalog, pg_temp AS $f$
	DELETE FROM gamed.active_user_day WHERE day = d;
	INSERT INTO gamed.active_user_day
	SELECT d, "userId", count(*) FROM (
		SELECT "userId" FROM public.userpoints
		WHERE created_at >= d AND created_at < d + 1
		UNION ALL
		SELECT "userId" FROM public.useractions
		WHERE created_at >= d AND created_at < d + 1
	) q WHERE "userId" IS NOT NULL
	GROUP BY "userId"
$f$;

-- Share of the users of day d - back that are active on day d; NULL of none.
CREATE FUNCTION gamed.retention_pct(d date, back int) RETURNS numeric
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $f$
BEGIN
	IF NOT EXISTS (SELECT FROM gamed.kpi_daily WHERE day = d - back) THEN
		PERFORM gamed.find_active_users(d - back);
	END IF;
	RETURN (SELECT 100.0 * count(now_on.user_id) / nullif(count(*), 0)
		FROM gamed.active_user_day then_on
		LEFT JOIN gamed.active_user_day now_on
		ON now_on.day = d AND now_on.user_id = then_on.user_id
		WHERE then_on.day = d - back);
END $f$;

-- Milliseconds below which a share p of the requests took, interpolated in
-- the buckets of the fine histogram.
CREATE FUNCTION gamed.bucket_percentile(buckets bigint[], p double precision)
RETURNS double precision LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $f$
	WITH edges AS (
		SELECT ARRAY[0, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 1500,
			2000, 2500, 3000, 3500, 4000, 4500, 5000, 7500, 10000,
			30000, 60000, 60000]::double precision[] AS e
	), b AS (
		SELECT i, n, sum(n) OVER (ORDER BY i) AS upto,
			sum(n) OVER () AS total
		FROM unnest(buckets) WITH ORDINALITY u (n, i)
	)
	SELECT e[i] + (e[i + 1] - e[i]) * (p * total - (upto - n)) / n
	FROM b, edges
	WHERE n > 0 AND upto >= p * total ORDER BY i LIMIT 1
$f$;

-- Share of the day in percent: samples that were healthy, less the time in
-- which no server wrote any.
CREATE FUNCTION gamed.uptime_pct(d date) RETURNS numeric
LANGUAGE sql SET timezone = 'UTC'
SET search_path = pg_catalog, pg_temp AS $f$
	SELECT 100.0 * (SELECT count(*) FILTER (WHERE status = 'healthy')
			/ nullif(count(*), 0)::numeric
		FROM public.uptimelogs
		WHERE created_at >= d AND created_at < d + 1)
	* (1 - least(1, (SELECT coalesce(sum(extract(epoch FROM
			least(to_at, d + 1) - greatest(from_at, d))), 0)
		FROM gamed.uptime_gap g
		WHERE from_at < d + 1 AND to_at > d
		AND NOT EXISTS (SELECT FROM public.uptimelogs u
			WHERE u.created_at > g.from_at
			AND u.created_at < g.to_at)) / 86400))
$f$;

-- The figures of one day, over whatever is there for it.
CREATE FUNCTION gamed.kpi_rollup(d date) RETURNS void
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

	SELECT array_agg(n ORDER BY i) INTO all_buckets FROM (
		SELECT i, sum(x)::bigint AS n FROM gamed.request_minute,
			unnest(buckets) WITH ORDINALITY u (x, i)
		WHERE minute >= d AND minute < d + 1 AND handler = ''
		GROUP BY i) q;
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

-- The oldest day that is due, rolled up; NULL when none is.  A day is due
-- five minutes after its end, and once more on each of the next two days for
-- what came late; days that were missed, at most 31 of them, are made up for.
CREATE FUNCTION gamed.kpi_catch_up() RETURNS date
LANGUAGE plpgsql SET timezone = 'UTC'
SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
	today date := (now() - interval '5 minutes')::date;
	due date;
BEGIN
	PERFORM pg_advisory_xact_lock(hashtext('gamed.kpi'));
	SELECT d::date INTO due
	FROM generate_series(today - 31, today - 1, interval '1 day') d
	LEFT JOIN gamed.kpi_daily k ON k.day = d::date
	WHERE CASE WHEN k.day IS NOT NULL THEN
			k.computed_at < d + interval '1 day 5 minutes'
			OR (d >= today - 2
				AND k.computed_at < today + interval '5 minutes')
		ELSE d::date >= least(
			(SELECT min(minute) FROM gamed.request_minute),
			(SELECT min(created_at) FROM public.userpoints),
			(SELECT min(created_at) FROM public.useractions))::date
		END
	ORDER BY d LIMIT 1;
	IF due IS NOT NULL THEN
		PERFORM gamed.kpi_rollup(due);
	END IF;
	RETURN due;
END $f$;

-- A server says that it lives.  The first time after a start the time since
-- it was last heard of becomes a gap, with its cause: it had said that it
-- stops, or it had not.  Returns that cause.
CREATE FUNCTION gamed.uptime_beat(my_server text, my_boot bigint,
	is_stopping boolean) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
	was gamed.job_state;
	why text;
	started timestamptz := 'epoch'::timestamptz
		+ my_boot * interval '1 microsecond';
BEGIN
	SELECT * INTO was FROM gamed.job_state
	WHERE job = 'uptime:' || my_server FOR UPDATE;
	IF FOUND AND (was.cursor ->> 'boot')::bigint <> my_boot
			AND was.last_done < started THEN
		why := CASE WHEN (was.cursor ->> 'stopped')::boolean
			THEN 'stopped' ELSE 'crashed' END;
		INSERT INTO gamed.uptime_gap (from_at, to_at, cause, server)
		VALUES (was.last_done, started, why, my_server)
		ON CONFLICT DO NOTHING;
	END IF;
	INSERT INTO gamed.job_state VALUES ('uptime:' || my_server,
		clock_timestamp(), jsonb_build_object('boot', my_boot,
			'stopped', is_stopping))
	ON CONFLICT (job) DO UPDATE SET last_done = excluded.last_done,
		cursor = excluded.cursor;
	RETURN why;
END $f$;

-- One step against what is older than a table's days, 0 for ever: the oldest
-- partition dropped, or some rows of the default one deleted.  Returns what
-- it did, NULL when nothing is too old.  One at a time, since a dropped
-- partition locks its table until the transaction ends.
CREATE FUNCTION gamed.drop_expired(tables text[], days int[]) RETURNS text
LANGUAGE plpgsql SET timezone = 'UTC' AS $f$
DECLARE
	t record;
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
		SELECT c.oid::regclass::text INTO part
		FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = t.parent AND c.relname ~ '_\d{6}$'
			AND to_date(right(c.relname, 6), 'YYYYMM')
				+ interval '1 month' <= t.before
		ORDER BY right(c.relname, 6) LIMIT 1;
		IF FOUND THEN
			EXECUTE format('DROP TABLE %s', part);
			RETURN 'dropped ' || part;
		END IF;
		EXECUTE format('DELETE FROM %1$s_default WHERE ctid = ANY ('
			'ARRAY(SELECT ctid FROM %1$s_default WHERE %2$s < %3$L '
			'LIMIT 5000))', t.name, t.key, t.before);
		GET DIAGNOSTICS n = ROW_COUNT;
		IF n > 0 THEN
			RETURN format('deleted %s rows of %s_default', n,
				t.name);
		END IF;
	END LOOP;
	RETURN NULL;
END $f$;
