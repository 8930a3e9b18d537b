/*
 * store_schema.h - the version of the database that this build works on.
 */
#ifndef STORE_STORE_SCHEMA_H
#define STORE_STORE_SCHEMA_H

/* The number of the last file under sql/. */
#define SCHEMA_VERSION 10

/*
 * One row, one column.  In a database without our tables it fails with
 * SQLSTATE 42P01 (undefined_table): that is version 0.
 */
#define SCHEMA_VERSION_SQL \
	"SELECT coalesce(max(version), 0)::bigint FROM gamed.schema_version"
#define SCHEMA_MISSING_SQLSTATE "42P01"

/* For printf: the version found (long long) and SCHEMA_VERSION. */
#define SCHEMA_MISMATCH_FMT                                        \
	"database schema is version %lld, this program needs %d: " \
	"run gamectl migrate"
/* The same arguments, for gamectl migrate itself. */
#define SCHEMA_NEWER_FMT                                                \
	"database schema is version %lld, newer than the %d that this " \
	"program knows: use the gamectl of the newer release"

#endif
