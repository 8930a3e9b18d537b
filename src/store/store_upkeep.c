/* store_upkeep.c - see store_upkeep.h. */
#include "store/store_upkeep.h"

static const struct db_stmt make_partition = {
	.name = "make_partition",
	.sql = "SELECT gamed.make_partition($1)",
	.nparams = 1,
	.types = "i",
};

void store_make_partition(
	struct db_pool *db, struct store_op *op, int months_ahead)
{
	store_op_int(op, months_ahead);
	store_op_run(op, db, DB_LANE_WRITE, &make_partition);
}

static const struct db_stmt ping = {
	.name = "ping",
	.sql = "SELECT 1",
	.types = "",
};

void store_ping(struct db_pool *db, struct store_op *op)
{
	store_op_run(op, db, DB_LANE_READ, &ping);
}
