-- Going back to an older version, and taking in a strategy from elsewhere.

-- Publishes version `target` of the family of `which`, whatever its status,
-- archives the version that was published, and makes games and tasks that
-- named that one name the target.  One row:
--   missing      no such strategy, or no such version
--   published    it is the published version already
--   no_program   it could not score
--   done         with the row as it stands now
CREATE FUNCTION gamed.rollback_strategy(realm text, all_realms boolean,
	which uuid, target bigint, OUT outcome text, OUT games_moved bigint,
	OUT tasks_moved bigint, OUT promoted strategydefinition)
LANGUAGE plpgsql AS $f$
DECLARE
	d strategydefinition;
	displaced uuid;
BEGIN
	d := gamed.lock_strategy(realm, all_realms, which);
	outcome := 'missing';
	games_moved := 0;
	tasks_moved := 0;
	SELECT * INTO promoted FROM strategydefinition s
	 WHERE s."realmId" = d."realmId" AND s.name = d.name
	   AND s.version = target FOR UPDATE;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	IF promoted.status = 'PUBLISHED' THEN
		outcome := 'published';
		RETURN;
	END IF;
	IF promoted.ast_text IS NULL
			AND jsonb_typeof(promoted."astJson") IS DISTINCT FROM 'object' THEN
		outcome := 'no_program';
		RETURN;
	END IF;
	UPDATE strategydefinition s
	   SET status = 'ARCHIVED', updated_at = clock_timestamp()
	 WHERE s."realmId" = d."realmId" AND s.name = d.name
	   AND s.status = 'PUBLISHED'
	RETURNING s.id INTO displaced;
	UPDATE strategydefinition s
	   SET status = 'PUBLISHED', "publishedAt" = clock_timestamp(),
	       updated_at = clock_timestamp()
	 WHERE s.id = promoted.id
	RETURNING s.* INTO promoted;
	IF displaced IS NOT NULL THEN
		UPDATE games g
		   SET "strategyId" = 'custom:' || promoted.id,
		       updated_at = clock_timestamp()
		 WHERE g."strategyId" = 'custom:' || displaced;
		GET DIAGNOSTICS games_moved = ROW_COUNT;
		UPDATE tasks t
		   SET "strategyId" = 'custom:' || promoted.id,
		       updated_at = clock_timestamp()
		 WHERE t."strategyId" = 'custom:' || displaced;
		GET DIAGNOSTICS tasks_moved = ROW_COUNT;
	END IF;
	outcome := 'done';
END $f$;

-- Inserts a draft, version 1, under the wanted name or, while that is taken in
-- the realm, under "<name> (importada <date>)", "... 2", "... 3", ...
CREATE FUNCTION gamed.import_strategy(new_id uuid, realm text, key_prefix text,
	subject text, wanted text, about text, kind text, parent text,
	program text, blockly text, author text, tag text)
RETURNS SETOF strategydefinition LANGUAGE plpgsql AS $f$
DECLARE
	dated text := wanted || ' (importada '
		|| to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD') || ')';
	try text := wanted;
	n int := 1;
BEGIN
	LOOP
		IF NOT EXISTS (SELECT FROM strategydefinition s
				WHERE s."realmId" = realm AND s.name = try) THEN
			PERFORM gamed.lock_family(realm, try);
			-- a new snapshot: whoever held the lock may have taken it
			IF NOT EXISTS (SELECT FROM strategydefinition s
					WHERE s."realmId" = realm AND s.name = try) THEN
				EXIT;
			END IF;
		END IF;
		try := CASE WHEN n = 1 THEN dated ELSE dated || ' ' || n END;
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
