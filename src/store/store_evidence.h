/*
 * store_evidence.h - a row of the quarantine file back into its table, over
 * gamectl's blocking connection.
 */
#ifndef STORE_STORE_EVIDENCE_H
#define STORE_STORE_EVIDENCE_H

#include "base/err.h"
#include "base/str.h"

struct db_sync;

/*
 * row_json: one object, column to text or null, NUL-terminated.  1: stored,
 * 0: the table has it already, -1: refused, or there is no such table.
 */
int store_evidence_reinject(struct db_sync *db, struct str table,
	const char *row_json, struct err *err_r) MUST_CHECK;

#endif
