-- The life of a custom strategy, one call and one transaction each.

-- Publishes a draft that has a program: the family's published row becomes
-- ARCHIVED first, under a lock of the family, so two published versions cannot
-- exist.  Returns the row as it stands afterwards, none when it is not visible
-- in the realm; a row that is no draft, or has no program, stays as it is.
CREATE FUNCTION gamed.publish_strategy(realm text, all_realms boolean, which uuid)
RETURNS SETOF strategydefinition LANGUAGE plpgsql AS $f$
DECLARE
	d strategydefinition;
BEGIN
	SELECT * INTO d FROM strategydefinition s
	 WHERE s.id = which AND (all_realms OR s."realmId" = realm);
	IF NOT FOUND THEN
		RETURN;
	END IF;
	PERFORM pg_advisory_xact_lock(
		hashtextextended('strategy:' || coalesce(d."realmId", '') || ':' || d.name, 0));
	SELECT * INTO d FROM strategydefinition s WHERE s.id = which FOR UPDATE;
	IF d.status = 'DRAFT' AND (d.ast_text IS NOT NULL
			OR (d."astJson" IS NOT NULL AND jsonb_typeof(d."astJson") = 'object')) THEN
		UPDATE strategydefinition s
		   SET status = 'ARCHIVED', updated_at = clock_timestamp()
		 WHERE s."realmId" = d."realmId" AND s.name = d.name
		   AND s.status = 'PUBLISHED' AND s.id <> which;
		UPDATE strategydefinition s
		   SET status = 'PUBLISHED', "publishedAt" = clock_timestamp(),
		       updated_at = clock_timestamp()
		 WHERE s.id = which
		RETURNING s.* INTO d;
	END IF;
	RETURN NEXT d;
END $f$;
