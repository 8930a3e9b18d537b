/* store_upkeep.c - see store_upkeep.h. */
#include "store/store_upkeep.h"

static const struct db_stmt make_partitions = {
	.name = "make_partitions",
	.sql = "SELECT gamed.make_partitions($1)::bigint",
	.nparams = 1,
	.types = "i",
};

void store_make_partitions(
	struct db_pool *db, struct store_op *op, int months_ahead)
{
	store_op_int(op, months_ahead);
	store_op_run(op, db, DB_LANE_WRITE, &make_partitions);
}
