/* store_apikey.c - see store_apikey.h. Runs in workers. */
#include "store/store_apikey.h"

#include "db/db_row.h"

static const struct db_stmt apikey_get = {.name = "apikey_get",
	.nparams = 1,
	.types = "t",
	.sql = "select k.\"apiKey\", coalesce(k.active, false), "
	       "exists (select 1 from gamed.admin_key a "
	       "where a.prefix = k.\"apiKey\") "
	       "from apikey k where k.\"apiKeyHash\" = $1"};

void store_apikey_get(
	struct store_op *op, struct db_pool *db, struct str hash_hex)
{
	store_op_text(op, hash_hex);
	store_op_run(op, db, DB_LANE_READ, &apikey_get);
}

void store_apikey_row(const struct db_res *res, struct store_apikey *k_r)
{
	memset(k_r, 0, sizeof(*k_r));
	(void)db_row_str(res, 0, 0, &k_r->prefix);
	(void)db_row_bool(res, 0, 1, &k_r->active);
	(void)db_row_bool(res, 0, 2, &k_r->is_admin);
}
