/*
 * db_sqlstate.h - what an SQLSTATE asks the caller to do.  Callers branch on
 * these and never on the words of a message.
 */
#ifndef DB_DB_SQLSTATE_H
#define DB_DB_SQLSTATE_H

#include "base/base.h"

enum db_sqlclass {
	DB_SQL_OTHER,       /* a bug or bad data; the message goes to the log */
	DB_SQL_RETRY,       /* 40001, 40P01: the same job may be run again */
	DB_SQL_UNIQUE,      /* 23505: unique_violation */
	DB_SQL_FOREIGN_KEY, /* 23503: foreign_key_violation */
	DB_SQL_CANCELLED,   /* 57014: statement_timeout or a cancel request */
	DB_SQL_LOCKED,      /* 55P03: lock_timeout or NOWAIT */
	DB_SQL_CONNECTION,  /* class 08, 57P01-57P05: the session is gone */
	DB_SQL_RESOURCES    /* class 53: out of connections, disk, memory;
			       25006: this server is a read-only standby */
};

enum db_sqlclass db_sqlstate_class(const char *sqlstate);

#define DB_SQLSTATE_UNDEFINED_TABLE     "42P01"
#define DB_SQLSTATE_UNDEFINED_STATEMENT "26000"
#define DB_SQLSTATE_NOT_SUPPORTED       "0A000"

#endif
