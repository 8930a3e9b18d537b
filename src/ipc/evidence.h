/*
 * evidence.h - classes of evidence, reasons for dropping a row, and the frame
 * in which a worker hands rows to the logger.
 *
 * A message of the SEQPACKET pair is one frame:
 *
 *	u32 magic  u16 version  u16 slot  u32 length  u32 rows
 *	u64 sent_before[EV_CLASS_CNT]
 *	rows times:  u32 length  u8 type  u8 class  u16 0  length bytes
 *
 * all little-endian, lengths checked before anything is copied.  The per-slot
 * sequence is kept for each class: sent_before counts the rows of the class
 * in all earlier messages of the slot, those of dead predecessors included,
 * so that the reader knows exactly how many of which class never arrived.  A
 * frame without rows only carries these counts.
 *
 * A frame gathers rows up to EV_FRAME_BYTES; a row larger than that travels
 * alone and is at most EV_ROW_MAX (run_rec.c clips until it is).  No row is
 * split: EV_ROW_MAX fits the send buffer that ipc_pair asks for.
 */
#ifndef IPC_EVIDENCE_H
#define IPC_EVIDENCE_H

#include "base/base.h"
#include "base/str.h"

enum evidence_class {
	EV_AUDIT,
	EV_ERROR,
	EV_SAMPLE,
	EV_REQUEST,
	EV_SENTRY,
	EV_CLASS_CNT
};

enum evidence_reason {
	EV_DROP_RING_FULL,     /* worker: logger slow, ring full */
	EV_DROP_QUEUE_MAX,     /* worker: too many rows not yet taken */
	EV_DROP_TOO_LARGE,     /* worker: the kernel refused the message */
	EV_DROP_WORKER_KILLED, /* in the hands of a worker that died */
	EV_DROP_LOGGER_KILLED, /* in the hands of a logger that died */
	EV_DROP_LOGGER_QUEUE,  /* logger: queue full */
	EV_DROP_DB_REJECTED,   /* refused by Postgres, now in quarantine */
	EV_DROP_SHUTDOWN,      /* not written in time at the end */
	EV_DROP_BAD_RECORD,    /* unreadable */
	EV_DROP_SPOOL_FULL,    /* spool at its cap, or the disk failed it */
	EV_DROP_SPOOL_DAMAGED, /* bytes of the spool were not what was written */
	EV_DROP_QUARANTINE_FAILED, /* refused, and quarantine cannot be had */
	EV_DROP_RATE_LIMITED,      /* Sentry wants no more for a while */
	EV_DROP_UNDELIVERED,       /* Sentry did not take it */
	EV_REASON_CNT
};

enum evidence_type {
	EV_T_RUN = 1,
	EV_T_AUDIT = 2,
	EV_T_REQUEST = 3,
	EV_T_FAULT = 8
};

/* Label values; never NULL. */
const char *evidence_class_name(enum evidence_class c);
const char *evidence_reason_name(enum evidence_reason r);
/* Where something must be dropped, a class gives way to those of a higher
 * rank: from 0, requests, to audit rows.  Each class has a rank of its own. */
unsigned evidence_rank(enum evidence_class c);
enum evidence_class evidence_of_rank(unsigned rank);
/* Errors and audit rows go first. */
static inline bool evidence_is_urgent(enum evidence_class c)
{
	return c == EV_AUDIT || c == EV_ERROR;
}

#define EV_FRAME_BYTES (64u * 1024)
#define EV_ROW_MAX     (160u * 1024)
#define EV_HEAD_BYTES  (16u + 8 * EV_CLASS_CNT)
#define EV_ROW_HEAD    8u

struct ev_head {
	unsigned slot;
	uint32_t rows;
	uint64_t sent_before[EV_CLASS_CNT];
};

struct ev_row {
	enum evidence_type type;
	enum evidence_class cls;
	struct str body; /* in the message */
};

/* Begins a row at the end of b; what is added until ev_row_end is its body. */
size_t ev_row_begin(
	struct buf *b, enum evidence_type type, enum evidence_class cls);
void ev_row_end(struct buf *b, size_t begin);

/* Begins a frame in an empty buf; ev_frame_end fills in what is known last. */
void ev_frame_begin(struct buf *b);
void ev_frame_end(struct buf *b, const struct ev_head *h);

/* Checks the head; *rest_r is what ev_frame_next eats. */
int ev_frame_open(
	struct str msg, struct ev_head *h_r, struct str *rest_r) MUST_CHECK;
/* 1: a row, 0: no more, -1: the rest cannot be read. */
int ev_frame_next(struct str *rest, struct ev_row *row_r) MUST_CHECK;

#endif
