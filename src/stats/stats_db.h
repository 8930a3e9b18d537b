/*
 * stats_db.h - what the stats process has with Postgres: it hears which
 * cached objects changed (LISTEN gamed_cache) and tells every worker by the
 * generations of the shared block; it makes partitions ahead.  Without
 * Postgres nothing else in the process suffers.
 */
#ifndef STATS_STATS_DB_H
#define STATS_STATS_DB_H

#include "conf/conf.h"

struct db_pool;
struct event_base;
struct stats_db;

struct stats_db *stats_db_new(struct event_base *base, const struct conf *conf);
/* Once a second. */
void stats_db_tick(struct stats_db *d, uint64_t now_ms);
bool stats_db_healthy(const struct stats_db *d);
/* For what else the process writes; the pool is the object's. */
struct db_pool *stats_db_pool(const struct stats_db *d);

#endif
