/*
 * store_upkeep.h - what the stats process does to the database by the clock,
 * and what asks whether it is there.
 */
#ifndef STORE_STORE_UPKEEP_H
#define STORE_STORE_UPKEEP_H

#include "store/store_op.h"

/*
 * The first monthly partition that is missing up to so many months ahead;
 * text: its name, NULL when none was missing.
 */
void store_make_partition(
	struct db_pool *db, struct store_op *op, int months_ahead);
/* Nothing but an answer. */
void store_ping(struct db_pool *db, struct store_op *op);

#endif
