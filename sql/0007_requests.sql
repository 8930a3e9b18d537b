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
