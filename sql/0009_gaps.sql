--
-- What the counters of strategies lost: runs after the last write of a start
-- that did not end with one.
--
CREATE TABLE gamed.strategy_gap (
	server text NOT NULL,
	from_at timestamptz NOT NULL, -- the last write
	to_at timestamptz NOT NULL,   -- the next start
	PRIMARY KEY (server, from_at)
);

-- is_last: the server stops and counts no more.
DROP FUNCTION gamed.flush_strategies(text, bigint, timestamptz, jsonb, jsonb);
CREATE FUNCTION gamed.flush_strategies(my_server text, my_boot bigint,
	at_hour timestamptz, series jsonb, arms jsonb,
	is_last boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC'
SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
	was gamed.job_state;
	started timestamptz := 'epoch'::timestamptz
		+ my_boot * interval '1 microsecond';
BEGIN
	PERFORM pg_advisory_xact_lock(hashtext('gamed.flush:' || my_server));
	SELECT * INTO was FROM gamed.job_state
	WHERE job = 'strategy_hour:' || my_server;
	IF FOUND AND (was.cursor ->> 'boot')::bigint <> my_boot
			AND NOT (was.cursor ->> 'is_last')::boolean
			AND was.last_done < started THEN
		INSERT INTO gamed.strategy_gap
		VALUES (my_server, was.last_done, started)
		ON CONFLICT DO NOTHING;
	END IF;
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
	VALUES ('strategy_hour:' || my_server, clock_timestamp(),
		jsonb_build_object('boot', my_boot, 'is_last', is_last))
	ON CONFLICT (job) DO UPDATE SET last_done = excluded.last_done,
		cursor = excluded.cursor;
END $f$;
