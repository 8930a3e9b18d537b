/* store_apikey.h - API keys as authentication reads them. */
#ifndef STORE_STORE_APIKEY_H
#define STORE_STORE_APIKEY_H

#include "store/store_op.h"

struct store_apikey {
	struct str prefix;
	bool active, is_admin;
};

/* hash_hex: 64 digits. No row: no such key. */
void store_apikey_get(
	struct store_op *op, struct db_pool *db, struct str hash_hex);
void store_apikey_row(const struct db_res *res, struct store_apikey *k_r);

#endif
