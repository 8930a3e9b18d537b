/* store_upkeep.h - what the stats process does to the database by the clock. */
#ifndef STORE_STORE_UPKEEP_H
#define STORE_STORE_UPKEEP_H

#include "store/store_op.h"

/* Monthly partitions up to so many months ahead; int8: how many it made. */
void store_make_partitions(
	struct db_pool *db, struct store_op *op, int months_ahead);

#endif
