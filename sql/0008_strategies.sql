--
-- Many rows in one statement, names changed crosswise, programs that the
-- reference changes beside us.
--

-- One look at a statement's rows, whatever their number: a notice kind:id for
-- each object that it touched, or a single '*', forget everything, when there
-- are more of them than a server should look up one by one.  The arguments
-- are the kind and the column that holds the id.
CREATE OR REPLACE FUNCTION gamed.cache_notify() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
	many CONSTANT int := 100;
	touched text := CASE TG_OP
		WHEN 'INSERT' THEN 'SELECT %1$I FROM new_rows'
		WHEN 'DELETE' THEN 'SELECT %1$I FROM old_rows'
		ELSE 'SELECT %1$I FROM old_rows '
			'UNION ALL SELECT %1$I FROM new_rows' END;
	ids text[];
BEGIN
	EXECUTE format('SELECT array_agg(i::text) FROM (SELECT DISTINCT i FROM ('
			|| touched || ') r (i) WHERE i IS NOT NULL LIMIT $1) q',
		TG_ARGV[1])
	INTO ids USING many + 1;
	IF cardinality(ids) > many THEN
		PERFORM pg_notify('gamed_cache', '*');
	ELSE
		PERFORM pg_notify('gamed_cache', TG_ARGV[0] || ':' || i)
		FROM unnest(ids) i;
	END IF;
	RETURN NULL;
END $f$;

-- Transition tables want a trigger for each kind of statement.
DO $do$
DECLARE
	t record;
BEGIN
	FOR t IN SELECT * FROM (VALUES
			('games', 'game', 'id'),
			('gamesparams', 'game', 'gameId'),
			('tasks', 'task', 'id'),
			('tasksparams', 'task', 'taskId'),
			('strategydefinition', 'strategy', 'id'),
			('apikey', 'apikey', 'apiKey'),
			('gamed.admin_key', 'apikey', 'prefix')) v (name, kind, col)
	LOOP
		EXECUTE format($q$
			DROP TRIGGER gamed_cache ON %1$s;
			CREATE TRIGGER gamed_cache_ins AFTER INSERT ON %1$s
				REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
				EXECUTE FUNCTION gamed.cache_notify(%2$L, %3$L);
			CREATE TRIGGER gamed_cache_del AFTER DELETE ON %1$s
				REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT
				EXECUTE FUNCTION gamed.cache_notify(%2$L, %3$L);
			CREATE TRIGGER gamed_cache_upd AFTER UPDATE ON %1$s
				REFERENCING OLD TABLE AS old_rows
					NEW TABLE AS new_rows FOR EACH STATEMENT
				EXECUTE FUNCTION gamed.cache_notify(%2$L, %3$L);
			$q$, t.name, t.kind, t.col);
	END LOOP;
END $do$;

-- ast_text is the program as its author's numbers were; "astJson" is the same
-- in the reference's column.  Who writes that one alone, the reference, has
-- made the text stale: it goes, and every reader takes "astJson".  As text,
-- since 1 and 1.0 are equal as jsonb.  A program that is new in both columns is
-- not looked at: they come from one parameter.
CREATE FUNCTION gamed.forget_ast_text() RETURNS trigger
LANGUAGE plpgsql AS $f$
BEGIN
	NEW.ast_text := NULL;
	RETURN NEW;
END $f$;
CREATE TRIGGER gamed_ast_text BEFORE UPDATE OF "astJson" ON strategydefinition
	FOR EACH ROW
	WHEN (NEW.ast_text IS NOT NULL AND NEW.ast_text = OLD.ast_text
		AND NEW."astJson"::text IS DISTINCT FROM OLD."astJson"::text)
	EXECUTE FUNCTION gamed.forget_ast_text();

-- What went stale before.  A text that is no JSON is left to fail its check.
DO $do$
DECLARE
	which uuid;
BEGIN
	FOR which IN SELECT id FROM strategydefinition WHERE ast_text IS NOT NULL
	LOOP
		BEGIN
			UPDATE strategydefinition SET ast_text = NULL
			 WHERE id = which
			   AND ast_text::jsonb::text IS DISTINCT FROM "astJson"::text;
		EXCEPTION WHEN data_exception THEN
		END;
	END LOOP;
END $do$;

-- Rows without a realm are a realm of their own.
DROP INDEX gx_strategydefinition_published;
CREATE UNIQUE INDEX gx_strategydefinition_published
	ON strategydefinition ("realmId", name) NULLS NOT DISTINCT
	WHERE status = 'PUBLISHED';

-- As before, for families without a realm as well.
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
		 WHERE s."realmId" IS NOT DISTINCT FROM d."realmId"
		   AND s.name = d.name
		   AND s.status = 'PUBLISHED' AND s.id <> which;
		UPDATE strategydefinition s
		   SET status = 'PUBLISHED', "publishedAt" = clock_timestamp(),
		       updated_at = clock_timestamp()
		 WHERE s.id = which
		RETURNING s.* INTO d;
	END IF;
	RETURN NEXT d;
END $f$;

-- The locks of several families, always in one order.
CREATE FUNCTION gamed.lock_families(realm text, VARIADIC families text[])
RETURNS void LANGUAGE plpgsql AS $f$
BEGIN
	PERFORM pg_advisory_xact_lock(k) FROM (
		SELECT DISTINCT hashtextextended('strategy:'
			|| coalesce(realm, '') || ':' || f, 0) AS k
		FROM unnest(families) f WHERE f IS NOT NULL ORDER BY k) q;
END $f$;

-- The row under the lock of its family and that of `other`, which it is to be
-- renamed to; null when it is not visible.  The row may be renamed while the
-- locks are waited for: then they are given back, with the subtransaction that
-- took them, since another beside them would be out of order.
DROP FUNCTION gamed.lock_strategy(text, boolean, uuid);
CREATE FUNCTION gamed.lock_strategy(realm text, all_realms boolean, which uuid,
	other text DEFAULT NULL)
RETURNS strategydefinition LANGUAGE plpgsql AS $f$
DECLARE
	d strategydefinition;
	family text;
BEGIN
	LOOP
		SELECT s."realmId", s.name INTO d."realmId", family
		  FROM strategydefinition s
		 WHERE s.id = which AND (all_realms OR s."realmId" = realm);
		IF NOT FOUND THEN
			RETURN NULL;
		END IF;
		BEGIN
			PERFORM gamed.lock_families(d."realmId", family, other);
			SELECT * INTO d FROM strategydefinition s
			 WHERE s.id = which AND s.name = family;
			IF FOUND THEN
				RETURN d;
			END IF;
			RAISE EXCEPTION USING ERRCODE = 'GX001';
		EXCEPTION WHEN SQLSTATE 'GX001' THEN
		END;
	END LOOP;
END $f$;

-- As before, with both names locked at once.
--
-- Changes a draft in place; a published row stays as it is, and what it would
-- become is the next version of its family, a draft.  Null keeps the value.
-- The outcome is done, archived, moved (it is not the row that the caller has
-- checked, known_us being its updated_at) or taken (the new name is another
-- family's); in all but the first nothing was changed.  No row: not visible.
CREATE OR REPLACE FUNCTION gamed.edit_strategy(realm text, all_realms boolean, which uuid,
	known_us bigint, new_id uuid, new_name text, new_description text,
	new_type text, new_parent text, new_ast text, new_blockly text,
	new_tag text, author text, author_key text, author_subject text)
RETURNS TABLE (def strategydefinition, outcome text) LANGUAGE plpgsql AS $f$
DECLARE
	d strategydefinition := gamed.lock_strategy(realm, all_realms, which,
		new_name);
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
		IF EXISTS (SELECT 1 FROM strategydefinition s
				WHERE s."realmId" IS NOT DISTINCT FROM d."realmId"
				  AND s.name = new_name) THEN
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
		 WHERE s."realmId" IS NOT DISTINCT FROM d."realmId"
		   AND s.name = family;
		INSERT INTO strategydefinition VALUES (d.*);
	END IF;
	def := d;
	RETURN NEXT;
END $f$;

-- Inserts a draft, version 1, under the wanted name or, while that is taken in
-- the realm, under "<name> (importada <date>)", "... 2", "... 3", ..., the name
-- cut so that the whole is no longer than the API lets a name be.
CREATE OR REPLACE FUNCTION gamed.import_strategy(new_id uuid, realm text,
	key_prefix text, subject text, wanted text, about text, kind text,
	parent text, program text, blockly text, author text, tag text)
RETURNS SETOF strategydefinition LANGUAGE plpgsql AS $f$
DECLARE
	chars_max CONSTANT int := 200;
	dated text := ' (importada '
		|| to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD') || ')';
	suffix text := '';
	try text;
	n int := 1;
BEGIN
	LOOP
		try := left(wanted, chars_max - length(suffix)) || suffix;
		IF NOT EXISTS (SELECT FROM strategydefinition s
				WHERE s."realmId" = realm AND s.name = try) THEN
			BEGIN
				PERFORM gamed.lock_families(realm, try);
				-- a new snapshot: whoever held the lock may have taken it
				IF NOT EXISTS (SELECT FROM strategydefinition s
						WHERE s."realmId" = realm AND s.name = try) THEN
					EXIT;
				END IF;
				RAISE EXCEPTION USING ERRCODE = 'GX001';
			EXCEPTION WHEN SQLSTATE 'GX001' THEN
				-- the lock is given back, as in lock_strategy
			END;
		END IF;
		suffix := CASE WHEN n = 1 THEN dated ELSE dated || ' ' || n END;
		n := n + 1;
	END LOOP;
	RETURN QUERY INSERT INTO strategydefinition AS d (id, created_at,
		updated_at, "realmId", "apiKey_used", oauth_user_id, name,
		description, type, "parentStrategyId", "astJson", ast_text,
		"blocklyXml", "createdBy", "experimentTag", version, status)
	VALUES (new_id, clock_timestamp(), clock_timestamp(), realm, key_prefix,
		subject, try, about, kind, parent, program::jsonb, program,
		blockly, author, tag, 1, 'DRAFT')
	RETURNING d.*;
END $f$;

DROP FUNCTION gamed.lock_family(text, text);
