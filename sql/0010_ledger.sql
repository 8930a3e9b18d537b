--
-- The ledger is only ever appended to: nor is it emptied.
--
CREATE TRIGGER gamed_ledger_is_kept BEFORE TRUNCATE ON wallettransactions
	FOR EACH STATEMENT EXECUTE FUNCTION gamed.ledger_is_final();
