-- Games that go, and the rest of the life of a custom strategy: one call and
-- one transaction each.

-- Deletes a game with all that hangs on it and returns it as it was; none when
-- it does not exist.  The locks wait for awards in flight and make later ones
-- fail their foreign key check.
CREATE FUNCTION gamed.delete_game(which uuid) RETURNS SETOF games
LANGUAGE plpgsql AS $f$
DECLARE
	g games;
BEGIN
	SELECT * INTO g FROM games x WHERE x.id = which FOR UPDATE;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	PERFORM 1 FROM tasks t WHERE t."gameId" = which ORDER BY t.id FOR UPDATE;
	DELETE FROM userpoints p USING tasks t
	 WHERE p."taskId" = t.id AND t."gameId" = which;
	DELETE FROM tasksparams p USING tasks t
	 WHERE p."taskId" = t.id AND t."gameId" = which;
	DELETE FROM tasks t WHERE t."gameId" = which;
	DELETE FROM gamesparams p WHERE p."gameId" = which;
	DELETE FROM usergameconfig c WHERE c."gameId" = which;
	DELETE FROM games x WHERE x.id = which;
	RETURN NEXT g;
END $f$;

CREATE FUNCTION gamed.lock_family(realm text, family text) RETURNS void
LANGUAGE sql AS $f$
	SELECT pg_advisory_xact_lock(hashtextextended(
		'strategy:' || coalesce(realm, '') || ':' || family, 0))
$f$;

-- The row under the lock of its family, null when it is not visible.  It may
-- be renamed while the lock is waited for.
CREATE FUNCTION gamed.lock_strategy(realm text, all_realms boolean, which uuid)
RETURNS strategydefinition LANGUAGE plpgsql AS $f$
DECLARE
	d strategydefinition;
	locked text;
BEGIN
	LOOP
		SELECT * INTO d FROM strategydefinition s
		 WHERE s.id = which AND (all_realms OR s."realmId" = realm);
		EXIT WHEN NOT FOUND OR d.name = locked;
		PERFORM gamed.lock_family(d."realmId", d.name);
		locked := d.name;
	END LOOP;
	RETURN d;
END $f$;

-- As before, but it cannot be led to another family's lock by a rename.
CREATE OR REPLACE FUNCTION gamed.publish_strategy(realm text, all_realms boolean, which uuid)
RETURNS SETOF strategydefinition LANGUAGE plpgsql AS $f$
DECLARE
	d strategydefinition := gamed.lock_strategy(realm, all_realms, which);
BEGIN
	IF d.id IS NULL THEN
		RETURN;
	END IF;
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

-- Archives a row and returns it, none when it is not visible.
CREATE FUNCTION gamed.archive_strategy(realm text, all_realms boolean, which uuid)
RETURNS SETOF strategydefinition LANGUAGE plpgsql AS $f$
DECLARE
	d strategydefinition := gamed.lock_strategy(realm, all_realms, which);
BEGIN
	IF d.id IS NULL THEN
		RETURN;
	END IF;
	IF d.status <> 'ARCHIVED' THEN
		UPDATE strategydefinition s
		   SET status = 'ARCHIVED', updated_at = clock_timestamp()
		 WHERE s.id = which
		RETURNING s.* INTO d;
	END IF;
	RETURN NEXT d;
END $f$;

-- Changes a draft in place; a published row stays as it is, and what it would
-- become is the next version of its family, a draft.  Null keeps the value.
-- The outcome is done, archived, moved (it is not the row that the caller has
-- checked, known_us being its updated_at) or taken (the new name is another
-- family's); in all but the first nothing was changed.  No row: not visible.
CREATE FUNCTION gamed.edit_strategy(realm text, all_realms boolean, which uuid,
	known_us bigint, new_id uuid, new_name text, new_description text,
	new_type text, new_parent text, new_ast text, new_blockly text,
	new_tag text, author text, author_key text, author_subject text)
RETURNS TABLE (def strategydefinition, outcome text) LANGUAGE plpgsql AS $f$
DECLARE
	d strategydefinition := gamed.lock_strategy(realm, all_realms, which);
	family text := d.name;
BEGIN
	IF d.id IS NULL THEN
		RETURN;
	END IF;
	outcome := CASE
		WHEN d.status = 'ARCHIVED' THEN 'archived'
		WHEN coalesce((extract(epoch FROM d.updated_at) * 1000000)::bigint, 0)
			<> known_us THEN 'moved'
		ELSE 'done' END;
	IF outcome = 'done' AND new_name <> family THEN
		PERFORM gamed.lock_family(d."realmId", new_name);
		IF EXISTS (SELECT 1 FROM strategydefinition s
				WHERE s."realmId" = d."realmId" AND s.name = new_name) THEN
			outcome := 'taken';
		END IF;
	END IF;
	IF outcome <> 'done' THEN
		def := d;
		RETURN NEXT;
		RETURN;
	END IF;
	d.name := coalesce(new_name, d.name);
	d.description := coalesce(new_description, d.description);
	d.type := coalesce(new_type, d.type);
	d."parentStrategyId" := coalesce(new_parent, d."parentStrategyId");
	d."astJson" := coalesce(new_ast::jsonb, d."astJson");
	d.ast_text := coalesce(new_ast, d.ast_text);
	d."blocklyXml" := coalesce(new_blockly, d."blocklyXml");
	d."experimentTag" := coalesce(new_tag, d."experimentTag");
	d.updated_at := clock_timestamp();
	IF d.status = 'DRAFT' THEN
		UPDATE strategydefinition s
		   SET name = d.name, description = d.description, type = d.type,
		       "parentStrategyId" = d."parentStrategyId",
		       "astJson" = d."astJson", ast_text = d.ast_text,
		       "blocklyXml" = d."blocklyXml",
		       "experimentTag" = d."experimentTag",
		       updated_at = d.updated_at
		 WHERE s.id = which;
	ELSE
		d.id := new_id;
		d.created_at := d.updated_at;
		d.status := 'DRAFT';
		d."publishedAt" := NULL;
		d."createdBy" := author;
		d."apiKey_used" := author_key;
		d.oauth_user_id := author_subject;
		SELECT max(s.version) + 1 INTO d.version FROM strategydefinition s
		 WHERE s."realmId" = d."realmId" AND s.name = family;
		INSERT INTO strategydefinition VALUES (d.*);
	END IF;
	def := d;
	RETURN NEXT;
END $f$;
