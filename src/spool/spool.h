/*
 * spool.h - evidence on disk: what the logger has read and Postgres does not
 * have yet (DESIGN 4.5, hardening T5, T6).  Logger process; one owner at a
 * time, by a lock on the directory.
 *
 * Every class has a lane of its own, a row of segment files
 * `class-number.seg` with records (spool_rec.h) in the order of their
 * arrival.  A segment begins with the position up to which its rows are done;
 * there is no other file.  Rows leave a lane in its order.
 *
 * A segment that the system does not let us read stays where it is and counts
 * as unreadable; it is tried again until it can be read.  Damaged is only what
 * was read and is no record.
 *
 * A failing or full disk costs rows, never the service: what spool_commit
 * did not keep is the caller's.  At the cap or the least free space a row
 * drives out the newest rows of the classes below its rank (evidence.h).
 */
#ifndef SPOOL_SPOOL_H
#define SPOOL_SPOOL_H

#include "base/base.h"
#include "base/err.h"
#include "spool/spool_rec.h"

struct spool;

#define SPOOL_SEGMENT_BYTES (16u * 1024 * 1024)

struct spool_conf {
	const char *dir; /* made when missing */
	uint64_t bytes_max;
	uint64_t free_min_bytes; /* left to others on the file system */
	int fsync_ms;            /* 0: with every commit, -1: never */
	uint32_t lock_wait_ms;
};

struct spool_pos {
	uint32_t segment; /* 0: nowhere */
	uint32_t end;     /* offset behind the record */
};

struct spool_row {
	struct spool_rec rec; /* until the next call */
	struct spool_pos pos;
	bool is_old; /* from before spool_open: perhaps stored already */
};

/* Takes the lock, cuts torn tails, counts what is there.  ERR_CONFLICT:
 * another process has the lock. */
struct spool *spool_open(
	const struct spool_conf *conf, struct err *err_r) MUST_CHECK;
void spool_close(struct spool **s);

/* Gathers a row; spool_commit writes the gathered ones. */
void spool_add(struct spool *s, const struct ev_row *row);
/* Bit c of the result: those of class c are not kept. */
unsigned spool_commit(struct spool *s) MUST_CHECK;
/* They would have been, had there been room. */
bool spool_wants_room(const struct spool *s);

/* The next row of the lane that was not read yet; false when there is none. */
bool spool_next(struct spool *s, enum evidence_class cls, struct spool_row *r);
/* The newest `rows` rows that were read, all in the segment of from, were not:
 * they come again, or give way.  Those up to old_end stay old. */
void spool_put_back(struct spool *s, enum evidence_class cls,
	struct spool_pos from, uint32_t rows, uint32_t old_end);
/* The oldest row that was read is stored or dropped, and counted so. */
void spool_done(struct spool *s, enum evidence_class cls, struct spool_pos pos);
/* Puts the positions on disk, removes segments that are done. */
void spool_trim(struct spool *s);
/* Once a second or more often: fsync when due, free space, gauges. */
void spool_tick(struct spool *s);

/* When due, tries again what could not be read.  Bit c of the result: rows of
 * class c may have come back, as old ones. */
unsigned spool_reclaim(struct spool *s);

uint64_t spool_rows(const struct spool *s, enum evidence_class cls);
uint64_t spool_unread(const struct spool *s, enum evidence_class cls);
uint64_t spool_bytes(const struct spool *s);
/* Damaged stretches that were found on opening. */
uint64_t spool_damage(const struct spool *s);
/* Rows of the class at least that they were; a torn end is one, too. */
uint64_t spool_lost(const struct spool *s, enum evidence_class cls);
/* Segments of the class that cannot be read now. */
unsigned spool_away(const struct spool *s, enum evidence_class cls);

#endif
