/*
 * spool.c - see spool.h.  Logger process, one for its life.
 *
 * Order of steps, so that a successor can tell what became of every row from
 * the counters and the files (logger.c): rows are counted as taken before
 * they are written, counted as stored or dropped before the position passes
 * them, and cut off the end of a lane before they are counted as dropped.
 */
#include "spool/spool.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "ipc/rec_io.h"
#include "shm/shm.h"

#define HEAD_BYTES    16u         /* magic, position, its checksum, nothing */
#define HEAD_MAGIC    0x31505347u /* "GSP1" */
#define CHUNK_BYTES   (512u * 1024)
#define SEGMENT_MIN   (256u * 1024) /* holds the largest record */
#define SEGMENTS_CAP  16   /* of bytes_max, unless that makes them too small */
#define RETRY_MS      1000 /* after an error of the disk */
#define FREE_CHECK_MS 1000
/* Between two tries to read what cannot be read, doubled each time. */
#define RECLAIM_MIN_MS 5000
#define RECLAIM_MAX_MS 300000

_Static_assert(CHUNK_BYTES > SPOOL_REC_MAX, "a chunk holds any record");
_Static_assert(SEGMENT_MIN > HEAD_BYTES + SPOOL_REC_MAX, "so does a segment");

struct seg {
	uint32_t no;
	uint32_t size;
	uint32_t begin; /* its first row that was not done when it was opened */
	uint32_t old_end; /* what a predecessor wrote ends here */
	uint32_t rows;    /* neither stored nor dropped */
	uint32_t unread;  /* of these, not handed out by spool_next */
	int fd;           /* -1: closed */
	bool dirty;       /* not fsynced */
	bool is_aside;    /* all of it is damaged: kept under another name */
};

/* Oldest first. */
struct segs {
	struct seg *v;
	unsigned n, cap;
};

struct lane {
	enum evidence_class cls;
	struct segs segs; /* the last one is written */
	struct segs away; /* cannot be read now: left alone, tried again */
	uint32_t next_no;
	uint64_t rows;
	uint64_t lost; /* rows at least that were damaged when found */
	struct spool_pos done, done_on_disk;
	struct spool_pos cur;      /* where spool_next reads on */
	struct buf out;            /* gathered, then the last rows written */
	uint32_t out_rows;         /* gathered */
	struct spool_pos out_at;   /* where they were written, or nowhere */
	struct buf chunk;          /* bytes read back ... */
	struct spool_pos chunk_at; /* ... from here, or nowhere */
};

struct spool {
	struct spool_conf conf;
	uint32_t segment_bytes;
	int dir_fd, lock_fd;
	struct lane lanes[EV_CLASS_CNT];
	uint64_t bytes;
	uint64_t damage;
	uint64_t retry_ms; /* not before, after an error */
	uint64_t synced_ms, free_checked_ms;
	uint64_t reclaim_ms, reclaim_wait_ms; /* next try, and then */
	bool is_low;                          /* on free space */
	bool wants_room;   /* rows of the last commit found none */
	bool is_disk_full; /* the system said so, and no write since succeeded */
};

#define NAME_MAX_ 32

static const char *seg_name(
	const struct lane *l, uint32_t no, char out[NAME_MAX_])
{
	snprintf(
		out, NAME_MAX_, "%s-%08x.seg", evidence_class_name(l->cls), no);
	return out;
}

static void note_error(struct spool *s, const char *what, const char *name)
{
	int saved = errno;

	metric_inc(M_SPOOL_ERRORS);
	log_warnx_limited(
		"cannot %s spool segment %s: %s", what, name, strerror(saved));
	s->retry_ms = clock_mono_ms() + RETRY_MS;
	s->is_disk_full |= saved == ENOSPC || saved == EDQUOT;
}

static struct seg *last(struct lane *l)
{
	return l->segs.n > 0 ? &l->segs.v[l->segs.n - 1] : NULL;
}

static struct seg *seg_of(struct lane *l, uint32_t no)
{
	for (unsigned i = 0; i < l->segs.n; i++)
		if (l->segs.v[i].no == no)
			return &l->segs.v[i];
	return NULL;
}

/* The descriptor, for reading; -1 with errno. */
static int seg_open(struct spool *s, struct lane *l, struct seg *g)
{
	char name[NAME_MAX_];

	if (g->fd < 0)
		g->fd = openat(s->dir_fd, seg_name(l, g->no, name),
			O_RDWR | O_CLOEXEC);
	return g->fd;
}

/* The same for those who want to write. */
static int seg_fd(struct spool *s, struct lane *l, struct seg *g)
{
	char name[NAME_MAX_];

	if (seg_open(s, l, g) < 0)
		note_error(s, "open", seg_name(l, g->no, name));
	return g->fd;
}

static void seg_close(struct seg *g)
{
	if (g->fd >= 0)
		close(g->fd);
	g->fd = -1;
}

static struct seg *segs_add(struct segs *a, const struct seg *g)
{
	if (a->n == a->cap) {
		a->cap = a->cap ? a->cap * 2 : 8;
		a->v = realloc(a->v, a->cap * sizeof(*a->v));
		if (a->v == NULL)
			fatal("out of memory for %u spool segments", a->cap);
	}
	a->v[a->n] = *g;
	return &a->v[a->n++];
}

static void segs_take_out(struct segs *a, unsigned i)
{
	memmove(&a->v[i], &a->v[i + 1], (a->n - i - 1) * sizeof(*a->v));
	a->n--;
}

static struct seg *seg_push(struct lane *l, uint32_t no)
{
	struct seg g = {.no = no, .begin = HEAD_BYTES, .fd = -1};

	if (l->next_no <= no)
		l->next_no = no + 1;
	return segs_add(&l->segs, &g);
}

static int pwrite_all(int fd, const char *p, size_t len, off_t at)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---- the head of a segment ---------------------------------------------- */

static int head_write(int fd, uint32_t pos)
{
	uint32_t w[4] = {htole32(HEAD_MAGIC), htole32(pos), 0, 0};

	w[2] = htole32(spool_crc32c(0, w, 8));
	return pwrite_all(fd, (const char *)w, sizeof(w), 0);
}

/* Position of a segment; its start where the head is damaged. */
static int head_read(struct seg *g, bool *damaged_r)
{
	uint32_t w[4];
	ssize_t n = pread(g->fd, w, sizeof(w), 0);

	if (n < 0)
		return -1;
	*damaged_r = n != sizeof(w) || w[0] != htole32(HEAD_MAGIC) ||
		     w[2] != htole32(spool_crc32c(0, w, 8)) ||
		     le32toh(w[1]) < HEAD_BYTES;
	g->begin = *damaged_r ? HEAD_BYTES : le32toh(w[1]);
	return 0;
}

/* ---- removing ----------------------------------------------------------- */

static void seg_forget(struct spool *s, struct lane *l, unsigned i)
{
	seg_close(&l->segs.v[i]);
	s->bytes -= l->segs.v[i].size;
	segs_take_out(&l->segs, i);
}

static void forget_cached(struct lane *l)
{
	l->chunk_at.segment = 0;
	l->out_at.segment = 0;
}

/* Its position passes its end, durably, before its name goes: so it cannot
 * come back with rows.  Cut first, there is nothing else to write back. */
static void seg_remove(struct spool *s, struct lane *l, unsigned i)
{
	struct seg *g = &l->segs.v[i];
	char name[NAME_MAX_];
	int fd = seg_fd(s, l, g);

	if (fd >= 0 && (head_write(fd, UINT32_MAX) < 0 ||
			       ftruncate(fd, HEAD_BYTES) < 0 ||
			       (s->conf.fsync_ms >= 0 && fdatasync(fd) < 0)))
		note_error(s, "finish", seg_name(l, g->no, name));
	if (unlinkat(s->dir_fd, seg_name(l, g->no, name), 0) < 0)
		note_error(s, "remove", name);
	seg_forget(s, l, i);
}

/*
 * Segments whose rows are all stored or dropped, the written ones, too: what
 * comes next finds room.  True when one went.
 */
static bool free_done(struct spool *s)
{
	bool freed = false;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		struct lane *l = &s->lanes[c];

		for (unsigned i = l->segs.n; i-- > 0;)
			if (l->segs.v[i].rows == 0) {
				seg_remove(s, l, i);
				freed = true;
			}
	}
	if (freed)
		s->retry_ms = 0;
	return freed;
}

/* The newest rows of the lane that nobody read; false when there are none. */
static bool cut_tail(struct spool *s, struct lane *l)
{
	struct seg *g = last(l);
	uint32_t n;

	if (g == NULL || g->unread == 0)
		return false;
	forget_cached(l);
	n = g->unread;
	if (g->rows == n && g->no != l->cur.segment) {
		seg_remove(s, l, l->segs.n - 1);
	} else {
		int fd = seg_fd(s, l, g);
		uint32_t to = g->no == l->cur.segment ? l->cur.end : HEAD_BYTES;

		if (fd < 0 || ftruncate(fd, to) < 0)
			return false;
		s->bytes -= g->size - to;
		g->size = to;
		g->rows -= n;
		g->unread = 0;
	}
	l->rows -= n;
	metric_evidence_dropped(l->cls, EV_DROP_SPOOL_FULL, n);
	metric_set(M_EV_SPOOLED_AUDIT + l->cls, l->rows);
	log_warnx_limited("the spool is full, rows dropped class=%s rows=%u",
		evidence_class_name(l->cls), n);
	return true;
}

/* Rows of a lower rank. */
static bool drive_out(struct spool *s, enum evidence_class cls)
{
	for (unsigned r = 0; r < evidence_rank(cls); r++)
		if (cut_tail(s, &s->lanes[evidence_of_rank(r)]))
			return true;
	return false;
}

static bool is_full(const struct spool *s, size_t more)
{
	return s->is_low || s->bytes + more + HEAD_BYTES > s->conf.bytes_max;
}

void spool_trim(struct spool *s)
{
	if (s->is_disk_full || is_full(s, s->segment_bytes))
		free_done(s);
	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		struct lane *l = &s->lanes[c];
		struct seg *g;
		int fd;

		/* one that is still written stays until it is half full */
		while (l->segs.n > 0 && l->segs.v[0].rows == 0 &&
			(l->segs.n > 1 ||
				l->segs.v[0].size > s->segment_bytes / 2))
			seg_remove(s, l, 0);
		g = l->segs.n > 0 ? l->segs.v : NULL;
		if (g == NULL || g->no != l->done.segment ||
			(l->done.segment == l->done_on_disk.segment &&
				l->done.end == l->done_on_disk.end))
			continue;
		fd = seg_fd(s, l, g);
		if (fd >= 0 && head_write(fd, l->done.end) < 0)
			note_error(s, "mark", evidence_class_name(c));
		l->done_on_disk = l->done;
	}
}

/* ---- writing ------------------------------------------------------------ */

void spool_add(struct spool *s, const struct ev_row *row)
{
	struct lane *l = &s->lanes[row->cls];

	if (l->out_rows == 0) {
		buf_reset(&l->out);
		l->out_at.segment = 0;
	}
	spool_rec_add(&l->out, row, (uint64_t)clock_wall_us() / 1000);
	l->out_rows++;
}

static struct seg *seg_new(struct spool *s, struct lane *l)
{
	struct seg *old = last(l), *g;
	char name[NAME_MAX_];
	int fd = openat(s->dir_fd, seg_name(l, l->next_no, name),
		O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0) {
		l->next_no += errno == EEXIST;
		note_error(s, "make", name);
		return NULL;
	}
	if (head_write(fd, HEAD_BYTES) < 0 ||
		(s->conf.fsync_ms >= 0 && fsync(s->dir_fd) < 0)) {
		note_error(s, "begin", name);
		close(fd);
		unlinkat(s->dir_fd, name, 0);
		return NULL;
	}
	if (old != NULL && old->no != l->cur.segment)
		seg_close(old);
	g = seg_push(l, l->next_no);
	g->fd = fd;
	g->size = HEAD_BYTES;
	s->bytes += HEAD_BYTES;
	return g;
}

static void check_free(struct spool *s, uint64_t now_ms)
{
	struct statvfs v;

	s->free_checked_ms = now_ms;
	s->is_low = fstatvfs(s->dir_fd, &v) == 0 &&
		    (uint64_t)v.f_bavail * v.f_frsize < s->conf.free_min_bytes;
}

/* Room by the settings, made where the class may have it made. */
static bool has_room(struct spool *s, const struct lane *l)
{
	bool full;

	while ((full = is_full(s, l->out.len)) &&
		(free_done(s) || drive_out(s, l->cls)))
		if (s->is_low)
			check_free(s, clock_mono_ms());
	return !full;
}

static int lane_write(struct spool *s, struct lane *l)
{
	struct seg *g = last(l);
	char name[NAME_MAX_];
	int fd;

	/* not behind the reader, who may have passed one that went away */
	if (g == NULL || g->size + l->out.len > s->segment_bytes ||
		g->no < l->cur.segment)
		g = seg_new(s, l);
	if (g == NULL || (fd = seg_fd(s, l, g)) < 0)
		return -1;
	if (pwrite_all(fd, l->out.p, l->out.len, g->size) < 0) {
		note_error(s, "write", seg_name(l, g->no, name));
		/* a part of it; a failure leaves a tail that is cut later */
		if (ftruncate(fd, g->size) < 0)
			log_warn("cannot cut %s", name);
		return -1;
	}
	if (l->cur.segment == 0)
		l->cur = (struct spool_pos){g->no, g->size};
	l->out_at = (struct spool_pos){g->no, g->size};
	g->size += (uint32_t)l->out.len;
	g->rows += l->out_rows;
	g->unread += l->out_rows;
	l->rows += l->out_rows;
	g->dirty = true;
	s->bytes += l->out.len;
	s->is_disk_full = false;
	metric_set(M_EV_SPOOLED_AUDIT + l->cls, l->rows);
	return 0;
}

/* A full disk gets another try when others made room on it. */
static bool lane_commit(struct spool *s, struct lane *l)
{
	if (!has_room(s, l)) {
		s->wants_room = true;
		return false;
	}
	if (clock_mono_ms() < s->retry_ms && !evidence_is_urgent(l->cls))
		return false;
	if (lane_write(s, l) == 0 || (free_done(s) && lane_write(s, l) == 0))
		return true;
	if (s->is_disk_full && drive_out(s, l->cls) && lane_write(s, l) == 0)
		return true;
	s->wants_room |= s->is_disk_full;
	return false;
}

/* Rows that are stored already need no care. */
static void sync_lane(struct spool *s, struct lane *l)
{
	for (unsigned i = 0; i < l->segs.n; i++) {
		struct seg *g = &l->segs.v[i];
		int fd;

		if (!g->dirty || g->rows == 0 || (fd = seg_fd(s, l, g)) < 0)
			continue;
		if (fdatasync(fd) < 0)
			note_error(s, "sync", evidence_class_name(l->cls));
		metric_inc(M_SPOOL_FSYNCS);
		g->dirty = false;
	}
}

static void sync_lanes(struct spool *s)
{
	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		sync_lane(s, &s->lanes[c]);
	s->synced_ms = clock_mono_ms();
}

unsigned spool_commit(struct spool *s)
{
	unsigned lost = 0;

	s->wants_room = false;
	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		struct lane *l = &s->lanes[c];

		if (l->out_rows == 0)
			continue;
		if (!lane_commit(s, l)) {
			lost |= 1u << c;
			l->out_at.segment = 0;
		}
		l->out_rows = 0;
	}
	if (s->conf.fsync_ms == 0)
		sync_lanes(s);
	return lost;
}

bool spool_wants_room(const struct spool *s)
{
	return s->wants_room;
}

/* ---- reading ------------------------------------------------------------ */

enum found {
	REC_FOUND,
	REC_END,   /* of the segment */
	REC_FAILED /* the system did not read it, see errno */
};

/* Bytes of the segment from off on, as many as are at hand; at least `want`
 * unless the segment ends before.  -1: it cannot be read. */
static int view(struct spool *s, struct lane *l, struct seg *g, uint32_t off,
	size_t want, struct str *v_r)
{
	size_t n = g->size - off;
	ssize_t got;
	int fd;

	if (want > n)
		want = n;
	if (l->out_at.segment == g->no && off >= l->out_at.end) {
		*v_r = (struct str){l->out.p + (off - l->out_at.end), n};
		return 0;
	}
	if (l->chunk_at.segment == g->no && off >= l->chunk_at.end &&
		off - l->chunk_at.end + want <= l->chunk.len) {
		*v_r = (struct str){l->chunk.p + (off - l->chunk_at.end),
			l->chunk.len - (off - l->chunk_at.end)};
		return 0;
	}
	if (n > CHUNK_BYTES)
		n = CHUNK_BYTES;
	buf_reset(&l->chunk);
	l->chunk_at.segment = 0;
	fd = seg_open(s, l, g);
	got = fd < 0 ? -1 : pread(fd, buf_reserve(&l->chunk, n), n, off);
	if (got < 0)
		return -1;
	l->chunk.len = (size_t)got;
	l->chunk_at = (struct spool_pos){g->no, off};
	*v_r = buf_str(&l->chunk);
	return 0;
}

/*
 * The next sound record of a segment from *off on.  What was read before it
 * and is no record is damaged.
 */
static enum found find_record(struct spool *s, struct lane *l, struct seg *g,
	uint32_t *off, struct spool_rec *rec_r, bool *damaged_r)
{
	size_t want = SPOOL_REC_HEAD, len;

	*damaged_r = false;
	while (*off < g->size) {
		struct str v;

		if (view(s, l, g, *off, want, &v) < 0)
			return REC_FAILED;
		switch (spool_rec_read(v, l->cls, rec_r, &len)) {
		case SPOOL_SOUND:
			*off += (uint32_t)len;
			return REC_FOUND;
		case SPOOL_SHORT:
			if (want < SPOOL_REC_MAX && v.len < g->size - *off &&
				v.len < SPOOL_REC_MAX) {
				want = SPOOL_REC_MAX;
				continue;
			}
			/* fallthrough */
		case SPOOL_DAMAGED:
			want = SPOOL_REC_HEAD;
			*damaged_r = true;
			++*off;
			break;
		}
	}
	return REC_END;
}

/* Rows that cannot be found any more. */
static void count_damaged(struct lane *l, struct seg *g)
{
	uint32_t n = g->unread;

	if (n == 0)
		return;
	g->unread = 0;
	g->rows -= n;
	l->rows -= n;
	metric_evidence_dropped(l->cls, EV_DROP_SPOOL_DAMAGED, n);
	metric_set(M_EV_SPOOLED_AUDIT + l->cls, l->rows);
	log_warnx("damaged rows in the spool are lost class=%s rows=%u",
		evidence_class_name(l->cls), n);
}

/*
 * A segment that cannot be read leaves the lane and stays on disk, its bytes
 * counted: only what was read may be called damaged (spool_reclaim).
 */
static void put_away(struct spool *s, struct lane *l, unsigned i)
{
	struct seg g = l->segs.v[i];
	char name[NAME_MAX_];

	log_error("spool segment %s cannot be read, left alone and tried again",
		seg_name(l, g.no, name));
	metric_inc(M_SPOOL_ERRORS);
	metric_inc(M_SPOOL_UNREADABLE);
	forget_cached(l);
	seg_close(&g);
	segs_take_out(&l->segs, i);
	l->rows -= g.rows;
	shm_ev_held_add(l->cls, g.rows); /* until the logger looks */
	g.rows = g.unread = 0;
	segs_add(&l->away, &g);
	s->reclaim_wait_ms = RECLAIM_MIN_MS;
	s->reclaim_ms = clock_mono_ms() + RECLAIM_MIN_MS;
	metric_set(M_EV_SPOOLED_AUDIT + l->cls, l->rows);
}

/* Rows of it that were read are waited for: their end moves its position. */
static void reading_failed(struct spool *s, struct lane *l, struct seg *g)
{
	int saved = errno;

	if (g->rows > g->unread)
		return;
	spool_trim(s);
	for (unsigned i = 0; i < l->segs.n; i++)
		if (l->segs.v[i].unread > 0) {
			errno = saved;
			put_away(s, l, i);
			return;
		}
}

/* The segment that is read, or the next one behind it. */
static struct seg *seg_reading(struct lane *l)
{
	for (unsigned i = 0; i < l->segs.n; i++) {
		struct seg *g = &l->segs.v[i];

		if (g->no < l->cur.segment)
			continue;
		if (g->no > l->cur.segment)
			l->cur = (struct spool_pos){g->no, g->begin};
		if (g->unread > 0)
			return g;
	}
	return NULL;
}

bool spool_next(struct spool *s, enum evidence_class cls, struct spool_row *r)
{
	struct lane *l = &s->lanes[cls];
	struct seg *g;
	bool damaged;

	while ((g = seg_reading(l)) != NULL) {
		uint32_t off = l->cur.end;
		enum found found =
			find_record(s, l, g, &off, &r->rec, &damaged);

		if (found == REC_FAILED) {
			reading_failed(s, l, g);
			return false;
		}
		if (damaged)
			metric_inc(M_SPOOL_DAMAGED);
		l->cur.end = off;
		if (found == REC_END) {
			count_damaged(l, g);
			continue;
		}
		g->unread--;
		r->pos = l->cur;
		r->is_old = off <= g->old_end;
		return true;
	}
	return false;
}

void spool_put_back(struct spool *s, enum evidence_class cls,
	struct spool_pos from, uint32_t rows, uint32_t old_end)
{
	struct lane *l = &s->lanes[cls];
	struct seg *g = seg_of(l, from.segment);

	assert(g != NULL && g->unread + rows <= g->rows);
	g->unread += rows;
	if (g->old_end < old_end)
		g->old_end = old_end;
	l->cur = from;
}

void spool_done(struct spool *s, enum evidence_class cls, struct spool_pos pos)
{
	struct lane *l = &s->lanes[cls];
	struct seg *g = seg_of(l, pos.segment);

	if (g == NULL || g->rows == 0)
		return;
	g->rows--;
	l->rows--;
	l->done = pos;
	metric_set(M_EV_SPOOLED_AUDIT + cls, l->rows);
}

/* ---- opening ------------------------------------------------------------ */

/* Class and number of a segment's name. */
static struct lane *parse_name(struct spool *s, const char *name, uint32_t *no)
{
	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		struct lane *l = &s->lanes[c];
		size_t n = strlen(evidence_class_name(c));
		char again[NAME_MAX_];

		if (strncmp(name, evidence_class_name(c), n) != 0 ||
			name[n] != '-')
			continue;
		*no = (uint32_t)strtoul(name + n + 1, NULL, 16);
		if (*no > 0 && strcmp(seg_name(l, *no, again), name) == 0)
			return l;
	}
	return NULL;
}

static int by_number(const void *a, const void *b)
{
	const struct seg *x = a, *y = b;

	return x->no < y->no ? -1 : x->no > y->no;
}

static int list_segments(struct spool *s, struct err *err_r)
{
	DIR *d = opendir(s->conf.dir);
	struct lane *l;
	struct dirent *e;
	uint32_t no;

	if (d == NULL)
		return err_set_errno(err_r, "cannot read %s", s->conf.dir);
	while ((e = readdir(d)) != NULL)
		if ((l = parse_name(s, e->d_name, &no)) != NULL)
			seg_push(l, no);
	closedir(d);
	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		if (s->lanes[c].segs.n > 1)
			qsort(s->lanes[c].segs.v, s->lanes[c].segs.n,
				sizeof(struct seg), by_number);
	return 0;
}

static void note_damage(struct spool *s, uint64_t cnt)
{
	s->damage += cnt;
	metric_add(M_SPOOL_DAMAGED, cnt);
}

/* Nothing in it is a record: kept for those who want to look. */
static void set_aside(struct spool *s, struct lane *l, struct seg *g)
{
	char name[NAME_MAX_], aside[NAME_MAX_ + 4];

	seg_name(l, g->no, name);
	snprintf(aside, sizeof(aside), "%s.bad", name);
	if (renameat(s->dir_fd, name, s->dir_fd, aside) < 0)
		note_error(s, "set aside", name);
	log_warnx("spool segment %s is damaged, kept as %s", name, aside);
	g->is_aside = true;
	g->size = 0;
}

/* What is no record at the end of a segment: torn by a crash, when little. */
static void cut_end(
	struct spool *s, struct lane *l, struct seg *g, uint32_t end)
{
	bool torn = g->no == l->next_no - 1 && g->size - end < CHUNK_BYTES;

	l->lost++;
	note_damage(s, !torn);
	if (g->rows == 0 && !torn) {
		set_aside(s, l, g);
		return;
	}
	log_warnx("spool segment %s-%08x ends in no record, cut bytes=%u",
		evidence_class_name(l->cls), g->no, g->size - end);
	if (seg_fd(s, l, g) < 0 || ftruncate(g->fd, end) < 0)
		note_error(s, "cut", evidence_class_name(l->cls));
	g->size = end;
}

/* Counts the rows of a segment, cuts what is no record at its end.  -1: it
 * cannot be read, nothing was changed. */
static int scan_segment(struct spool *s, struct lane *l, struct seg *g)
{
	uint32_t off, end, stretches = 0, rows = 0;
	struct spool_rec rec;
	enum found found;
	char name[NAME_MAX_];
	bool damaged;
	struct stat st;

	if (fstatat(s->dir_fd, seg_name(l, g->no, name), &st, 0) < 0)
		return -1;
	if (!S_ISREG(st.st_mode)) {
		errno = EINVAL;
		return -1;
	}
	g->size = st.st_size > UINT32_MAX ? UINT32_MAX : (uint32_t)st.st_size;
	if (seg_open(s, l, g) < 0)
		return -1;
	if (g->size < HEAD_BYTES)
		return 0; /* begun and not finished */
	if (head_read(g, &damaged) < 0)
		return -1;
	if (g->begin > g->size)
		return 0;
	off = end = g->begin;
	while ((found = find_record(s, l, g, &off, &rec, &damaged)) ==
		REC_FOUND) {
		stretches += damaged;
		rows++;
		end = off;
	}
	forget_cached(l);
	if (found == REC_FAILED)
		return -1;
	l->lost += stretches;
	g->rows = g->unread = rows;
	l->rows += rows;
	note_damage(s, stretches);
	if (end < g->size)
		cut_end(s, l, g, end);
	g->old_end = g->size;
	return 0;
}

static void scan_lane(struct spool *s, struct lane *l)
{
	for (unsigned i = l->segs.n; i-- > 0;) {
		struct seg *g = &l->segs.v[i];
		int rc = scan_segment(s, l, g);

		s->bytes += g->size;
		/* rows are removed in order, so the rest starts at a row */
		if (rc < 0)
			put_away(s, l, i);
		else if (g->is_aside)
			seg_forget(s, l, i);
		else if (g->rows == 0)
			seg_remove(s, l, i);
		else if (g != last(l))
			seg_close(g);
	}
	if (l->segs.n > 0)
		l->cur = l->done =
			(struct spool_pos){l->segs.v[0].no, l->segs.v[0].begin};
	metric_set(M_EV_SPOOLED_AUDIT + l->cls, l->rows);
}

static void scan(struct spool *s)
{
	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		scan_lane(s, &s->lanes[c]);
		shm_beat();
	}
	if (s->damage > 0)
		log_warnx("damaged stretches in the spool skipped cnt=%llu",
			(unsigned long long)s->damage);
}

/* It comes back as the newest of its lane, whose reader may have passed it. */
static int rename_newest(struct spool *s, struct lane *l, struct seg *g)
{
	char old[NAME_MAX_], name[NAME_MAX_];

	if (g->is_aside)
		return 0;
	seg_name(l, g->no, old);
	seg_name(l, l->next_no, name);
	if (renameat(s->dir_fd, old, s->dir_fd, name) < 0) {
		note_error(s, "rename", old);
		return -1;
	}
	g->no = l->next_no++;
	log_info("spool segment %s is read again, now %s rows=%u", old, name,
		g->rows);
	return 0;
}

/* False: it still cannot be read. */
static bool reclaim(struct spool *s, struct lane *l, unsigned i)
{
	struct seg g = l->away.v[i];
	bool back;

	s->bytes -= g.size;
	back = scan_segment(s, l, &g) == 0;
	s->bytes += g.size;
	if (back && rename_newest(s, l, &g) < 0) {
		l->rows -= g.rows;
		g.rows = g.unread = 0;
		back = false;
	}
	if (!back && errno == ENOENT) { /* removed by who knows why */
		seg_close(&g);
		s->bytes -= g.size;
		segs_take_out(&l->away, i);
		return true;
	}
	if (!back) {
		seg_close(&g);
		l->away.v[i] = g;
		return false;
	}
	segs_take_out(&l->away, i);
	segs_add(&l->segs, &g);
	if (g.is_aside)
		seg_forget(s, l, l->segs.n - 1);
	else if (g.rows == 0)
		seg_remove(s, l, l->segs.n - 1);
	metric_set(M_EV_SPOOLED_AUDIT + l->cls, l->rows);
	return true;
}

unsigned spool_reclaim(struct spool *s)
{
	uint64_t now_ms = clock_mono_ms();
	unsigned back = 0;

	if (now_ms < s->reclaim_ms)
		return 0;
	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		for (unsigned i = s->lanes[c].away.n; i-- > 0;)
			if (reclaim(s, &s->lanes[c], i))
				back |= 1u << c;
	s->reclaim_wait_ms *= 2;
	if (s->reclaim_wait_ms > RECLAIM_MAX_MS)
		s->reclaim_wait_ms = RECLAIM_MAX_MS;
	s->reclaim_ms = now_ms + s->reclaim_wait_ms;
	return back;
}

static int take_lock(struct spool *s, struct err *err_r)
{
	uint64_t until = clock_mono_ms() + s->conf.lock_wait_ms;

	s->lock_fd =
		openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return err_set_errno(
			err_r, "cannot open the lock of %s", s->conf.dir);
	while (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_set_errno(
				err_r, "cannot lock %s", s->conf.dir);
		if (clock_mono_ms() >= until)
			return err_set(err_r, ERR_CONFLICT,
				"the spool %s belongs to another process",
				s->conf.dir);
		poll(NULL, 0, 20);
	}
	return 0;
}

struct spool *spool_open(const struct spool_conf *conf, struct err *err_r)
{
	struct spool *s = calloc(1, sizeof(*s));

	if (s == NULL)
		fatal("out of memory for the spool");
	s->conf = *conf;
	s->dir_fd = s->lock_fd = -1;
	s->segment_bytes = SPOOL_SEGMENT_BYTES;
	if (conf->bytes_max / SEGMENTS_CAP < s->segment_bytes)
		s->segment_bytes = (uint32_t)(conf->bytes_max / SEGMENTS_CAP);
	if (s->segment_bytes < SEGMENT_MIN)
		s->segment_bytes = SEGMENT_MIN;
	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		s->lanes[c].cls = c;
		s->lanes[c].next_no = 1;
		buf_init(&s->lanes[c].out, 0);
		buf_init(&s->lanes[c].chunk, 0);
	}
	if (mkdir(conf->dir, 0700) < 0 && errno != EEXIST) {
		err_set_errno(err_r, "cannot make %s", conf->dir);
		goto fail;
	}
	s->dir_fd = open(conf->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0) {
		err_set_errno(err_r, "cannot open %s", conf->dir);
		goto fail;
	}
	if (take_lock(s, err_r) < 0 || list_segments(s, err_r) < 0)
		goto fail;
	scan(s);
	check_free(s, clock_mono_ms());
	return s;
fail:
	spool_close(&s);
	return NULL;
}

void spool_close(struct spool **sp)
{
	struct spool *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		struct lane *l = &s->lanes[c];

		for (unsigned i = 0; i < l->segs.n; i++)
			seg_close(&l->segs.v[i]);
		free(l->segs.v);
		free(l->away.v);
		buf_fini(&l->out);
		buf_fini(&l->chunk);
	}
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s);
}

/* ---- upkeep ------------------------------------------------------------- */

void spool_tick(struct spool *s)
{
	uint64_t now_ms = clock_mono_ms();
	unsigned segments = 0, away = 0;

	if (s->conf.fsync_ms >= 0 &&
		now_ms - s->synced_ms >= (uint64_t)s->conf.fsync_ms)
		sync_lanes(s);
	if (now_ms - s->free_checked_ms >= FREE_CHECK_MS)
		check_free(s, now_ms);
	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		segments += s->lanes[c].segs.n + s->lanes[c].away.n;
		away += s->lanes[c].away.n;
	}
	metric_set(M_SPOOL_BYTES, s->bytes);
	metric_set(M_SPOOL_LIMIT, s->conf.bytes_max);
	metric_set(M_SPOOL_SEGMENTS, segments);
	metric_set(M_SPOOL_AWAY, away);
}

uint64_t spool_rows(const struct spool *s, enum evidence_class cls)
{
	return s->lanes[cls].rows;
}

uint64_t spool_unread(const struct spool *s, enum evidence_class cls)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->lanes[cls].segs.n; i++)
		n += s->lanes[cls].segs.v[i].unread;
	return n;
}

uint64_t spool_bytes(const struct spool *s)
{
	return s->bytes;
}

uint64_t spool_damage(const struct spool *s)
{
	return s->damage;
}

uint64_t spool_lost(const struct spool *s, enum evidence_class cls)
{
	return s->lanes[cls].lost;
}

unsigned spool_away(const struct spool *s, enum evidence_class cls)
{
	return s->lanes[cls].away.n;
}
