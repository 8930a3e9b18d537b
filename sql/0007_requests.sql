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
