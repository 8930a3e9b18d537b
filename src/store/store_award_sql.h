/*
 * store_award_sql.h - the statements of the award path as text, shared by
 * store_award.c and bench/bench_award_stmt.c, which measures the ceiling.
 *
 * Sessions that run them set
 *   SET plan_cache_mode = force_generic_plan
 * (a plan for constant arrays costs more to make than to run) and, one per
 * write connection and not per worker,
 *   SET gamed.shard = <0..15>
 * since two connections with one shard wait for each other's commit on every
 * task that both score.
 */
#ifndef STORE_STORE_AWARD_SQL_H
#define STORE_STORE_AWARD_SQL_H

/* clang-format off */
/* Microseconds since the epoch; the double is exact until 2106. */
#define SQL_US(t) "(date_part('epoch', " t ") * 1e6)::bigint"

/*
 * The award p of user u.id on task $1 that holds the key $3.  Written as a
 * step to the first entry of the unique index from there on: for plain
 * equality the planner likes the index on task, user and time as well, and
 * reads every award of the user on the task through it.  The ORDER BY of the
 * recent awards is there for the same reason, the other way round.
 */
#define SQL_AWARD_OF_KEY \
	"LATERAL (SELECT * FROM public.userpoints q " \
		"WHERE (q.\"userId\", q.\"taskId\", q.\"idempotencyKey\") " \
			">= (u.id, $1, $3) ORDER BY q.\"userId\", " \
			"q.\"taskId\", q.\"idempotencyKey\" LIMIT 1) p " \
	"ON p.\"userId\" = u.id AND p.\"taskId\" = $1 " \
		"AND p.\"idempotencyKey\" = $3 "

/*
 * Scoring's one read.
 *
 * Parameters (types "uttbi"):
 *   $1 uuid   task
 *   $2 text   external user id
 *   $3 text   effective idempotency key; NULL: no look-up
 *   $4 bool   count the recent awards too (the only range read)
 *   $5 int4   seconds that are recent
 * Columns of the one row:
 *   0 uuid    user id; NULL: no such user, then 1-9 and 13-14 are NULL or 0
 *   1 uuid    id of the award that holds the key; NULL: not awarded yet
 *   2 int4    its points
 *   3 text    its caseName
 *   4 int8    its created_at, us
 *   5 int8    awards of the user on the task (0 when none)
 *   6 int8    first of them, us
 *   7 int8    last of them, us
 *   8 int8    the one before the last, us
 *   9 int8    us from the last of them to now
 *  10 int8    awards of the task (0 when none)
 *  11 int8    first of them, us
 *  12 int8    last of them, us
 *  13 int8    awards of the user on the task in the last $5 seconds; 0
 *             unless asked for
 *  14 int8    now, us
 */
#define STORE_SCORE_READ_TYPES "uttbi"
#define STORE_SCORE_READ_SQL \
	"SELECT u.id, p.id, p.points, p.\"caseName\", " \
		SQL_US("p.created_at") ", coalesce(a.n, 0), " \
		SQL_US("a.first_at") ", " SQL_US("a.last_at") ", " \
		SQL_US("a.prev_at") ", " \
		SQL_US("now()") " - " SQL_US("a.last_at") ", " \
		"t.n, " SQL_US("t.first_at") ", " SQL_US("t.last_at") ", " \
		"r.n, " SQL_US("now()") " " \
	"FROM (SELECT coalesce(sum(n), 0)::bigint AS n, " \
		"min(first_at) AS first_at, max(last_at) AS last_at " \
		"FROM gamed.agg_task WHERE task_id = $1) t " \
	"LEFT JOIN public.users u ON u.\"externalUserId\" = $2 " \
	"LEFT JOIN " SQL_AWARD_OF_KEY \
	"LEFT JOIN gamed.agg_user_task a ON a.task_id = $1 " \
		"AND a.user_id = u.id " \
	"CROSS JOIN LATERAL (SELECT count(*) AS n FROM (SELECT 1 " \
		"FROM public.userpoints WHERE $4 AND \"taskId\" = $1 " \
		"AND \"userId\" = u.id " \
		"AND created_at > now() - $5 * interval '1 second' " \
		"ORDER BY created_at OFFSET 0) q) r"

/*
 * What some built-ins ask besides; from the aggregates, but for the window.
 *
 * Parameters (types "utubl"):
 *   $1 uuid   task
 *   $2 text   external user id
 *   $3 uuid   game
 *   $4 bool   read the game's figures; of the window only whether any
 *   $5 int8   the window, us
 * Columns of the one row:
 *   0 int8    awards of the user on the task within the window
 *   1 int8    awards in the game with data.minutes above 0
 *   2 float8  the sum of those minutes
 *   3 int8    awards of the user in the game
 *   4 int8    those with data.minutes above 0
 *   5 float8  the sum of those minutes
 */
#define STORE_SCORE_MORE_TYPES "utubl"
#define STORE_SCORE_MORE_SQL \
	"SELECT r.n, g.n, g.minutes, coalesce(m.awards, 0), m.n, m.minutes " \
	"FROM (SELECT id FROM (SELECT 1) one LEFT JOIN public.users " \
		"ON \"externalUserId\" = $2) u " \
	"CROSS JOIN LATERAL (SELECT count(*) AS n FROM (SELECT 1 " \
		"FROM public.userpoints WHERE \"taskId\" = $1 " \
		"AND \"userId\" = u.id " \
		"AND created_at > now() - $5 * interval '1 microsecond' " \
		"ORDER BY created_at LIMIT CASE WHEN $4 THEN 1 END) q) r " \
	"CROSS JOIN LATERAL (SELECT sum(a.minutes_n)::bigint AS n, " \
		"sum(a.minutes_sum) AS minutes FROM public.tasks k " \
		"JOIN gamed.agg_task a ON a.task_id = k.id " \
		"WHERE $4 AND k.\"gameId\" = $3) g " \
	"CROSS JOIN LATERAL (SELECT sum(a.n)::bigint AS awards, " \
		"sum(a.minutes_n)::bigint AS n, " \
		"sum(a.minutes_sum) AS minutes FROM public.tasks k " \
		"JOIN gamed.agg_user_task a ON a.task_id = k.id " \
		"AND a.user_id = u.id " \
		"WHERE $4 AND k.\"gameId\" = $3) m"

/*
 * Up to 64 awards, any mix of users and tasks, in one statement and so in
 * one transaction.  All arrays have the same length; element i is award i.
 *
 * Parameters (types "UUTUITTTTTITi"):
 *   $1  uuid[]  id of the award and of its ledger row (version 7)
 *   $2  uuid[]  id for the user and for the wallet, if they must be made;
 *               no two elements are equal
 *   $3  text[]  external user id
 *   $4  uuid[]  task
 *   $5  int4[]  points
 *   $6  text[]  caseName
 *   $7  text[]  effective idempotency key
 *   $8  text[]  data as JSON text, or NULL elements
 *   $9  text[]  prefix of the calling API key, or NULL elements
 *   $10 text[]  strategy id as the task names it
 *   $11 int4[]  strategy version, NULL for built-ins
 *   $12 text[]  SHA-256 of the strategy's AST, NULL for built-ins
 *   $13 int4    conversion rate of new wallets
 * Columns, one row an award in no promised order:
 *   0 int8  ordinal, from 1
 *   1 bool  inserted; false: the key is taken, by an award before this
 *           statement or by one with a lower ordinal in it: read it again with
 *           STORE_AWARD_REPLAY_SQL on a new snapshot
 *   2 bool  this award made the user
 *   3 int8  created_at, us; NULL unless inserted
 *   4 uuid  user id; NULL unless inserted
 *
 * Locks are taken in the order users, userpoints, wallets, aggregates, each
 * by key, so that concurrent batches cannot deadlock.  Every ORDER BY below is
 * there for that: a sort also ends the phase before it.  A user that another
 * transaction is making is waited for and found by DO UPDATE, which must touch
 * no column of a key: else it would wait for the foreign key checks of others.
 */
#define STORE_AWARD_TYPES "UUTUITTTTTITi"
#define STORE_AWARD_SQL \
	"WITH req AS MATERIALIZED (" \
		"SELECT r.*, u.id AS user_id " \
		"FROM ROWS FROM (unnest($1::uuid[]), unnest($2::uuid[]), " \
			"unnest($3::text[]), unnest($4::uuid[]), " \
			"unnest($5::int4[]), unnest($6::text[]), " \
			"unnest($7::text[]), unnest($8::text[]), " \
			"unnest($9::text[]), unnest($10::text[]), " \
			"unnest($11::int4[]), unnest($12::text[])) " \
			"WITH ORDINALITY AS r (id, new_id, ext, task_id, " \
			"points, case_name, key, data, api_key, " \
			"strategy_id, strategy_version, ast_sha256, ord) " \
		"LEFT JOIN public.users u ON u.\"externalUserId\" = r.ext" \
	"), new_user AS (" \
		"INSERT INTO public.users (id, created_at, updated_at, " \
			"\"externalUserId\", \"apiKey_used\") " \
		"SELECT DISTINCT ON (ext COLLATE \"C\") " \
			"new_id, now(), now(), ext, api_key " \
		"FROM req WHERE user_id IS NULL " \
		"ORDER BY ext COLLATE \"C\", ord " \
		"ON CONFLICT (\"externalUserId\") DO UPDATE " \
			"SET updated_at = excluded.updated_at " \
		"RETURNING id, \"externalUserId\" AS ext" \
	"), award AS (" \
		"INSERT INTO public.userpoints (id, created_at, updated_at, " \
			"points, data, description, \"userId\", \"taskId\", " \
			"\"caseName\", \"apiKey_used\", \"idempotencyKey\", " \
			"strategy_id, strategy_version, ast_sha256) " \
		"SELECT r.id, clock_timestamp(), clock_timestamp(), " \
			"r.points, r.data::jsonb, 'Points assigned by GAME', " \
			"coalesce(r.user_id, n.id), r.task_id, " \
			"r.case_name, r.api_key, r.key, r.strategy_id, " \
			"r.strategy_version, r.ast_sha256 " \
		"FROM req r LEFT JOIN new_user n USING (ext) " \
		"ORDER BY coalesce(r.user_id, n.id), r.task_id, " \
			"r.key COLLATE \"C\", r.ord " \
		"ON CONFLICT (\"userId\", \"taskId\", \"idempotencyKey\") " \
			"DO NOTHING " \
		"RETURNING id, created_at, points, data, " \
			"\"userId\" AS user_id, \"apiKey_used\" AS api_key" \
	"), purse AS (" \
		"INSERT INTO public.wallet AS w (id, created_at, updated_at, " \
			"\"coinsBalance\", \"pointsBalance\", " \
			"\"conversionRate\", \"userId\", \"apiKey_used\") " \
		"SELECT (array_agg(r.new_id))[1], now(), now(), 0, " \
			"sum(a.points), $13::int4, a.user_id, max(a.api_key) " \
		"FROM award a JOIN req r USING (id) " \
		"GROUP BY a.user_id ORDER BY a.user_id " \
		"ON CONFLICT (\"userId\") DO UPDATE SET \"pointsBalance\" = " \
			"w.\"pointsBalance\" + excluded.\"pointsBalance\", " \
			"updated_at = excluded.updated_at, \"apiKey_used\" = " \
			"coalesce(excluded.\"apiKey_used\", w.\"apiKey_used\") " \
		"RETURNING id, \"userId\" AS user_id" \
	"), entry AS (" \
		"INSERT INTO public.wallettransactions (id, created_at, " \
			"updated_at, \"transactionType\", points, coins, " \
			"data, \"appliedConversionRate\", \"walletId\", " \
			"\"apiKey_used\") " \
		"SELECT a.id, a.created_at, a.created_at, 'AssignPoints', " \
			"a.points, 0, a.data, 0, w.id, a.api_key " \
		"FROM award a JOIN purse w USING (user_id)" \
	") SELECT r.ord, a.id IS NOT NULL, n.id IS NOT NULL, " \
		SQL_US("a.created_at") ", a.user_id " \
	"FROM req r LEFT JOIN award a USING (id) " \
	"LEFT JOIN new_user n ON n.id = r.new_id"

/*
 * The award that holds a key, for the loser of a race; no row when it has
 * gone meanwhile.
 *
 * Parameters (types "utt"): $1 task, $2 external user id, $3 key
 * Columns: 0 uuid id, 1 int4 points, 2 text caseName, 3 int8 created_at us,
 * 4 uuid user id
 */
#define STORE_AWARD_REPLAY_TYPES "utt"
#define STORE_AWARD_REPLAY_SQL \
	"SELECT p.id, p.points, p.\"caseName\", " \
		SQL_US("p.created_at") ", p.\"userId\" " \
	"FROM public.users u " \
	"JOIN " SQL_AWARD_OF_KEY \
	"WHERE u.\"externalUserId\" = $2"
/* clang-format on */

#endif
