/*
 * Unit tests of src/spool: real files in a directory of their own.  What was
 * written comes back in order; after any cut and any flipped byte the service
 * goes on and every other row is there; the cap holds and errors outlive
 * samples.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "shm/shm.h"
#include "spool/spool.h"

static struct {
	char dir[64];
	struct spool_conf conf;
	struct spool *s;
} rig;

static void setup(void)
{
	log_set_level(LOG_L_ERROR);
	snprintf(rig.dir, sizeof(rig.dir), "/tmp/gamed-spool.XXXXXX");
	cr_assert_not_null(mkdtemp(rig.dir));
	rig.conf = (struct spool_conf){
		.dir = rig.dir, .bytes_max = 1u << 30, .fsync_ms = -1};
}

static void each_file(void (*use)(const char *path, void *arg), void *arg)
{
	DIR *d = opendir(rig.dir);
	struct dirent *e;
	char path[512];

	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", rig.dir, e->d_name);
		use(path, arg);
	}
	closedir(d);
}

static void remove_file(const char *path, void *arg)
{
	(void)arg;
	unlink(path);
}

static void teardown(void)
{
	spool_close(&rig.s);
	each_file(remove_file, NULL);
	rmdir(rig.dir);
}

TestSuite(spool, .init = setup, .fini = teardown, .timeout = 60);

static void open_spool(void)
{
	struct err err;

	spool_close(&rig.s);
	rig.s = spool_open(&rig.conf, &err);
	cr_assert_not_null(rig.s, "%s", err.text);
}

/* Row n has a body of its number and len bytes that follow from it. */
static unsigned put(enum evidence_class cls, uint32_t n, size_t len)
{
	static char body[EV_ROW_MAX];
	struct ev_row row = {EV_T_RUN, cls, {body, len}};

	cr_assert(len >= sizeof(n) && len <= sizeof(body));
	for (size_t i = 0; i < len; i++)
		body[i] = (char)(n * 31 + i);
	memcpy(body, &n, sizeof(n));
	spool_add(rig.s, &row);
	return spool_commit(rig.s);
}

static bool get(enum evidence_class cls, uint32_t *n, struct spool_pos *pos)
{
	struct spool_row r;

	if (!spool_next(rig.s, cls, &r))
		return false;
	memcpy(n, r.rec.row.body.p, sizeof(*n));
	for (size_t i = sizeof(*n); i < r.rec.row.body.len; i++)
		cr_assert_eq(r.rec.row.body.p[i], (char)(*n * 31 + i));
	*pos = r.pos;
	return true;
}

static uint64_t file_bytes(const char *name)
{
	char path[512];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", rig.dir, name);
	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static int open_file(const char *name)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", rig.dir, name);
	fd = open(path, O_RDWR);
	cr_assert_geq(fd, 0, "%s", path);
	return fd;
}

#define FIRST "error-00000001.seg"

Test(spool, crc_is_castagnoli)
{
	cr_assert_eq(spool_crc32c(0, "123456789", 9), 0xe3069283u);
}

Test(spool, rows_come_back_in_order)
{
	struct spool_pos pos;
	uint32_t n;

	open_spool();
	for (uint32_t i = 0; i < 2000; i++) {
		size_t len = 4 + i * 37 % 9000;

		if (i % 500 == 0)
			len = EV_ROW_MAX;
		cr_assert_eq(put(EV_ERROR, i, len), 0);
		cr_assert_eq(put(EV_AUDIT, i, 40), 0);
	}
	for (uint32_t i = 0; i < 1000; i++) {
		cr_assert(get(EV_ERROR, &n, &pos));
		cr_assert_eq(n, i);
		spool_done(rig.s, EV_ERROR, pos);
	}
	spool_trim(rig.s);
	/* read and not done: comes again */
	cr_assert(get(EV_ERROR, &n, &pos));
	open_spool();
	cr_assert_eq(spool_rows(rig.s, EV_ERROR), 1000);
	cr_assert_eq(spool_rows(rig.s, EV_AUDIT), 2000);
	for (uint32_t i = 1000; i < 2000; i++) {
		cr_assert(get(EV_ERROR, &n, &pos));
		cr_assert_eq(n, i);
		spool_done(rig.s, EV_ERROR, pos);
	}
	cr_assert_not(get(EV_ERROR, &n, &pos));
	spool_trim(rig.s);
	open_spool();
	cr_assert_eq(spool_rows(rig.s, EV_ERROR), 0);
	cr_assert_eq(spool_damage(rig.s), 0);
}

Test(spool, segments_are_bounded_and_removed)
{
	struct spool_pos pos;
	uint32_t n;

	rig.conf.bytes_max = 16u << 20; /* segments of 1 MiB */
	open_spool();
	for (uint32_t i = 0; i < 900; i++)
		cr_assert_eq(put(EV_ERROR, i, 10000), 0);
	cr_assert_leq(file_bytes(FIRST), 1u << 20);
	cr_assert_gt(file_bytes("error-00000005.seg"), 0);
	for (uint32_t i = 0; i < 500; i++) {
		cr_assert(get(EV_ERROR, &n, &pos));
		spool_done(rig.s, EV_ERROR, pos);
	}
	spool_trim(rig.s);
	cr_assert_eq(file_bytes(FIRST), 0, "a segment that is done goes");
	open_spool();
	cr_assert_eq(spool_rows(rig.s, EV_ERROR), 400);
	cr_assert(get(EV_ERROR, &n, &pos));
	cr_assert_eq(n, 500);
}

Test(spool, has_one_owner)
{
	struct err err;
	struct spool *other;

	open_spool();
	rig.conf.lock_wait_ms = 50;
	other = spool_open(&rig.conf, &err);
	cr_assert_null(other);
	cr_assert_eq(err.code, ERR_CONFLICT);
}

Test(spool, a_tail_torn_at_any_byte_is_cut)
{
	uint32_t n, rows = 5, len = 60, rec = SPOOL_REC_HEAD + len;
	struct spool_pos pos;

	for (uint32_t cut = 0; cut <= 16 + rows * rec; cut++) {
		uint32_t whole = cut < 16 ? 0 : (cut - 16) / rec;
		int fd;

		spool_close(&rig.s);
		each_file(remove_file, NULL);
		open_spool();
		for (uint32_t i = 0; i < rows; i++)
			cr_assert_eq(put(EV_ERROR, i, len), 0);
		spool_close(&rig.s);
		fd = open_file(FIRST);
		cr_assert_eq(ftruncate(fd, cut), 0);
		close(fd);
		open_spool();
		cr_assert_eq(
			spool_rows(rig.s, EV_ERROR), whole, "cut at %u", cut);
		cr_assert_eq(put(EV_ERROR, whole, len), 0);
		open_spool();
		for (uint32_t i = 0; i <= whole; i++) {
			cr_assert(get(EV_ERROR, &n, &pos), "cut at %u", cut);
			cr_assert_eq(n, i);
		}
		cr_assert_not(get(EV_ERROR, &n, &pos));
	}
}

/* One row is lost at most; the head of the segment costs none. */
Test(spool, a_flipped_byte_costs_one_row)
{
	uint32_t n, rows = 5, len = 60, rec = SPOOL_REC_HEAD + len;
	struct spool_pos pos;

	for (uint32_t at = 0; at < 16 + rows * rec; at++) {
		uint32_t hit = at < 16 ? rows : (at - 16) / rec;
		char byte;
		int fd;

		spool_close(&rig.s);
		each_file(remove_file, NULL);
		open_spool();
		for (uint32_t i = 0; i < rows; i++)
			cr_assert_eq(put(EV_ERROR, i, len), 0);
		spool_close(&rig.s);
		fd = open_file(FIRST);
		cr_assert_eq(pread(fd, &byte, 1, at), 1);
		byte ^= 0x41;
		cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
		close(fd);
		open_spool();
		for (uint32_t i = 0; i < rows; i++) {
			if (i == hit)
				continue;
			cr_assert(get(EV_ERROR, &n, &pos), "byte %u", at);
			cr_assert_eq(n, i, "byte %u: row %u", at, n);
			spool_done(rig.s, EV_ERROR, pos);
		}
		cr_assert_not(get(EV_ERROR, &n, &pos));
		cr_assert_eq(spool_rows(rig.s, EV_ERROR), 0);
	}
}

Test(spool, damage_while_running_is_counted)
{
	uint64_t before = metric_evidence_dropped_slot(0, EV_ERROR);
	struct spool_pos pos;
	char byte = 'x';
	uint32_t n;
	int fd;

	open_spool();
	for (uint32_t i = 0; i < 3; i++)
		cr_assert_eq(put(EV_ERROR, i, 60), 0);
	open_spool(); /* nothing is at hand in memory */
	fd = open_file(FIRST);
	cr_assert_eq(pwrite(fd, &byte, 1, 16 + 80 + 50), 1);
	close(fd);
	cr_assert_eq(spool_rows(rig.s, EV_ERROR), 3);
	cr_assert(get(EV_ERROR, &n, &pos));
	spool_done(rig.s, EV_ERROR, pos);
	cr_assert(get(EV_ERROR, &n, &pos));
	cr_assert_eq(n, 2);
	spool_done(rig.s, EV_ERROR, pos);
	cr_assert_not(get(EV_ERROR, &n, &pos));
	cr_assert_eq(spool_rows(rig.s, EV_ERROR), 0);
	cr_assert_eq(metric_evidence_dropped_slot(0, EV_ERROR) - before, 1);
}

/* From now on the kernel answers every pread(2) of this process with EIO. */
static int refuse_reads(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_pread64, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {NELEM(code), code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

/* 0: nothing is lost for a process whose reads fail; it goes on writing. */
static int open_unreadable(void)
{
	uint64_t unreadable = metric_slot(0, M_SPOOL_UNREADABLE);
	struct err err;

	log_set_fd(-1);
	if (refuse_reads() < 0)
		return 1;
	rig.s = spool_open(&rig.conf, &err);
	if (rig.s == NULL)
		return 2;
	if (spool_rows(rig.s, EV_ERROR) != 0 ||
		spool_away(rig.s, EV_ERROR) != 3)
		return 3;
	if (metric_slot(0, M_SPOOL_UNREADABLE) - unreadable != 3 ||
		spool_damage(rig.s) != 0)
		return 4;
	return put(EV_ERROR, 300, 10000) == 0 ? 0 : 5;
}

Test(spool, a_segment_that_reads_as_eio_stays)
{
	struct spool_pos pos;
	int status = -1;
	uint32_t n;
	pid_t pid;

	rig.conf.bytes_max = 16u << 20; /* segments of 1 MiB */
	open_spool();
	for (uint32_t i = 0; i < 300; i++)
		cr_assert_eq(put(EV_ERROR, i, 10000), 0);
	spool_close(&rig.s);
	pid = fork();
	if (pid == 0)
		_exit(open_unreadable());
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0, "%d", WEXITSTATUS(status));
	open_spool();
	cr_assert_eq(spool_damage(rig.s), 0);
	for (uint32_t i = 0; i <= 300; i++) {
		cr_assert(get(EV_ERROR, &n, &pos));
		cr_assert_eq(n, i);
	}
	cr_assert_not(get(EV_ERROR, &n, &pos));
}

static void move_file(const char *from, const char *to)
{
	char a[512], b[512];

	snprintf(a, sizeof(a), "%s/%s", rig.dir, from);
	snprintf(b, sizeof(b), "%s/%s", rig.dir, to);
	cr_assert_eq(rename(a, b), 0);
}

/* A link to itself can be opened by nobody, not even by root. */
static void make_unreadable(const char *name)
{
	char path[512];

	move_file(name, "kept");
	snprintf(path, sizeof(path), "%s/%s", rig.dir, name);
	cr_assert_eq(symlink(name, path), 0);
}

static void await_reclaim(void)
{
	unsigned back = 0;

	for (int i = 0; i < 3000 && back == 0; i++) {
		back = spool_reclaim(rig.s);
		usleep(10000);
	}
	cr_assert_eq(back, 1u << EV_ERROR);
}

Test(spool, a_segment_that_cannot_be_opened_comes_back)
{
	bool seen[400] = {false};
	struct spool_pos pos;
	uint32_t n;

	rig.conf.bytes_max = 16u << 20;
	open_spool();
	for (uint32_t i = 0; i < 300; i++)
		cr_assert_eq(put(EV_ERROR, i, 10000), 0);
	for (uint32_t i = 0; i < 10; i++) {
		cr_assert(get(EV_ERROR, &n, &pos));
		spool_done(rig.s, EV_ERROR, pos);
	}
	spool_trim(rig.s);
	spool_close(&rig.s);
	make_unreadable(FIRST);
	open_spool();
	cr_assert_eq(spool_away(rig.s, EV_ERROR), 1);
	cr_assert_eq(spool_rows(rig.s, EV_ERROR), 300 - 104);
	for (uint32_t i = 104; i < 250; i++) {
		cr_assert(get(EV_ERROR, &n, &pos));
		cr_assert_eq(n, i);
		spool_done(rig.s, EV_ERROR, pos);
	}
	spool_trim(rig.s);
	move_file("kept", FIRST);
	await_reclaim();
	cr_assert_eq(spool_away(rig.s, EV_ERROR), 0);
	cr_assert_eq(spool_rows(rig.s, EV_ERROR), 94 + 50);
	for (uint32_t i = 300; i < 400; i++)
		cr_assert_eq(put(EV_ERROR, i, 10000), 0);
	for (unsigned i = 0; i < 244; i++) {
		cr_assert(get(EV_ERROR, &n, &pos));
		cr_assert(n < 400 && !seen[n]);
		cr_assert((n >= 10 && n < 104) || n >= 250, "row %u", n);
		seen[n] = true;
		spool_done(rig.s, EV_ERROR, pos);
	}
	cr_assert_not(get(EV_ERROR, &n, &pos));
	spool_trim(rig.s);
	open_spool();
	cr_assert_eq(spool_rows(rig.s, EV_ERROR), 0);
	cr_assert_eq(spool_damage(rig.s), 0);
}

Test(spool, a_segment_that_is_removed_is_forgotten)
{
	char path[512];

	open_spool();
	cr_assert_eq(put(EV_ERROR, 1, 10000), 0);
	spool_close(&rig.s);
	make_unreadable(FIRST);
	open_spool();
	cr_assert_eq(spool_away(rig.s, EV_ERROR), 1);
	snprintf(path, sizeof(path), "%s/%s", rig.dir, FIRST);
	cr_assert_eq(unlink(path), 0);
	await_reclaim();
	cr_assert_eq(spool_away(rig.s, EV_ERROR), 0);
	cr_assert_eq(spool_bytes(rig.s), 0);
}

/* The descriptor of a file of the spool that is open. */
static int open_fd(const char *name)
{
	char fd_path[64], target[512], path[512];

	snprintf(path, sizeof(path), "%s/%s", rig.dir, name);
	for (int fd = 3; fd < 256; fd++) {
		ssize_t len;

		snprintf(fd_path, sizeof(fd_path), "/proc/self/fd/%d", fd);
		len = readlink(fd_path, target, sizeof(target) - 1);
		if (len < 0)
			continue;
		target[len] = '\0';
		if (strcmp(target, path) == 0)
			return fd;
	}
	cr_assert_fail("%s is not open", path);
	return -1;
}

/* The segment is on no descriptor that may be read. */
Test(spool, a_read_that_fails_while_running_is_no_damage)
{
	uint64_t before = metric_evidence_dropped_slot(0, EV_ERROR);
	struct spool_pos pos;
	char path[512];
	uint32_t n;
	int fd;

	open_spool();
	for (uint32_t i = 0; i < 200; i++)
		cr_assert_eq(put(EV_ERROR, i, 10000), 0);
	open_spool(); /* nothing is at hand in memory */
	cr_assert(get(EV_ERROR, &n, &pos));
	snprintf(path, sizeof(path), "%s/%s", rig.dir, FIRST);
	fd = open(path, O_WRONLY);
	cr_assert_geq(fd, 0);
	cr_assert_geq(dup2(fd, open_fd(FIRST)), 0);
	while (get(EV_ERROR, &n, &pos))
		;
	cr_assert_lt(n, 199, "not all of it is at hand");
	cr_assert_eq(spool_rows(rig.s, EV_ERROR), 200, "it waits");
	for (uint32_t i = 0; i <= n; i++)
		spool_done(rig.s, EV_ERROR, pos);
	cr_assert_not(get(EV_ERROR, &n, &pos));
	cr_assert_eq(spool_away(rig.s, EV_ERROR), 1);
	cr_assert_eq(metric_evidence_dropped_slot(0, EV_ERROR), before);
	await_reclaim();
	cr_assert_eq(spool_rows(rig.s, EV_ERROR), 200 - n - 1);
	for (uint32_t i = n + 1; i < 200; i++) {
		cr_assert(get(EV_ERROR, &n, &pos));
		cr_assert_eq(n, i);
	}
}

static void count_bad(const char *path, void *arg)
{
	size_t n = strlen(path);

	*(unsigned *)arg += n > 4 && strcmp(path + n - 4, ".bad") == 0;
}

Test(spool, a_segment_of_garbage_is_set_aside)
{
	static char garbage[900000];
	struct spool_pos pos;
	unsigned bad = 0;
	uint32_t n;
	int fd;

	rig.conf.bytes_max = 16u << 20;
	open_spool();
	for (uint32_t i = 0; i < 300; i++)
		cr_assert_eq(put(EV_ERROR, i, 10000), 0);
	spool_close(&rig.s);
	fd = open_file("error-00000002.seg");
	memset(garbage, 0x5a, sizeof(garbage));
	cr_assert_eq(ftruncate(fd, 0), 0);
	cr_assert_eq(pwrite(fd, garbage, sizeof(garbage), 0),
		(ssize_t)sizeof(garbage));
	close(fd);
	open_spool();
	cr_assert_gt(spool_damage(rig.s), 0);
	each_file(count_bad, &bad);
	cr_assert_eq(bad, 1);
	cr_assert_eq(spool_rows(rig.s, EV_ERROR), 300 - 104);
	for (uint32_t i = 0; i < 300; i++) {
		if (i >= 104 && i < 208)
			continue;
		cr_assert(get(EV_ERROR, &n, &pos));
		cr_assert_eq(n, i);
	}
}

Test(spool, the_cap_holds_and_errors_outlive_samples)
{
	uint64_t dropped = metric_evidence_dropped_slot(0, EV_SAMPLE);
	uint32_t samples = 0, errors = 0;

	rig.conf.bytes_max = 4u << 20;
	open_spool();
	while (put(EV_SAMPLE, samples, 10000) == 0)
		samples++;
	cr_assert_gt(samples, 400);
	cr_assert_leq(spool_bytes(rig.s), rig.conf.bytes_max);
	while (put(EV_ERROR, errors, 10000) == 0) {
		errors++;
		cr_assert_leq(spool_bytes(rig.s), rig.conf.bytes_max);
		cr_assert_eq(
			spool_rows(rig.s, EV_SAMPLE) +
				metric_evidence_dropped_slot(0, EV_SAMPLE) -
				dropped,
			samples);
	}
	cr_assert_gt(errors, 400, "errors drove out the samples");
	cr_assert_eq(spool_rows(rig.s, EV_SAMPLE), 0);
	cr_assert_eq(spool_rows(rig.s, EV_ERROR), errors);
	open_spool();
	cr_assert_eq(spool_rows(rig.s, EV_ERROR), errors);
}

/* Each class drives out those below it, and no other. */
Test(spool, the_cap_is_for_the_highest_rank)
{
	static const enum evidence_class rank[] = {
		EV_REQUEST, EV_SAMPLE, EV_ERROR, EV_AUDIT};
	uint64_t dropped[EV_CLASS_CNT];
	uint32_t put_cnt[EV_CLASS_CNT] = {0};

	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		dropped[c] = metric_evidence_dropped_slot(0, c);
	rig.conf.bytes_max = 4u << 20;
	open_spool();
	for (size_t i = 0; i < NELEM(rank); i++) {
		enum evidence_class c = rank[i];

		while (put(c, put_cnt[c], 10000) == 0)
			put_cnt[c]++;
		cr_assert_gt(put_cnt[c], 400);
		cr_assert_eq(spool_rows(rig.s, c), put_cnt[c]);
		for (size_t k = 0; k < i; k++) {
			cr_assert_eq(spool_rows(rig.s, rank[k]), 0);
			cr_assert_eq(metric_evidence_dropped_slot(0, rank[k]) -
					     dropped[rank[k]],
				put_cnt[rank[k]]);
			cr_assert_neq(put(rank[k], 0, 10000), 0);
		}
	}
}

Test(spool, a_row_that_was_read_is_not_driven_out)
{
	struct spool_pos pos;
	uint32_t n = 0, samples = 0;

	rig.conf.bytes_max = 4u << 20;
	open_spool();
	while (put(EV_SAMPLE, samples, 10000) == 0)
		samples++;
	cr_assert(get(EV_SAMPLE, &n, &pos));
	for (uint32_t i = 0; put(EV_ERROR, i, 10000) == 0; i++)
		;
	cr_assert_eq(spool_rows(rig.s, EV_SAMPLE), 1);
	spool_done(rig.s, EV_SAMPLE, pos);
	cr_assert_eq(spool_rows(rig.s, EV_SAMPLE), 0);
	spool_trim(rig.s);
}

Test(spool, a_disk_that_refuses_costs_rows_and_comes_back)
{
	struct rlimit was, small;
	struct spool_pos pos;
	uint32_t n, kept = 0;

	open_spool();
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	small = (struct rlimit){50000, was.rlim_max};
	setrlimit(RLIMIT_FSIZE, &small);
	while (put(EV_ERROR, kept, 3000) == 0)
		kept++;
	cr_assert_eq(kept, 16);
	setrlimit(RLIMIT_FSIZE, &was);
	cr_assert_eq(put(EV_ERROR, kept, 3000), 0, "resumes by itself");
	open_spool();
	for (uint32_t i = 0; i <= kept; i++) {
		cr_assert(get(EV_ERROR, &n, &pos));
		cr_assert_eq(n, i);
	}
	cr_assert_not(get(EV_ERROR, &n, &pos));
}

/* Its rows are all stored, and still no other would find room. */
Test(spool, at_the_cap_a_done_segment_makes_room, .timeout = 60)
{
	struct spool_pos pos;
	uint32_t n = 0, samples = 0;

	rig.conf.bytes_max = 4u << 20;
	open_spool();
	while (put(EV_SAMPLE, samples, 1000) == 0)
		samples++;
	while (get(EV_SAMPLE, &n, &pos))
		spool_done(rig.s, EV_SAMPLE, pos);
	spool_trim(rig.s);
	cr_assert_eq(spool_bytes(rig.s), 0);
	for (uint32_t i = 0; i < samples; i++)
		cr_assert_eq(put(EV_SAMPLE, i, 1000), 0);
	for (uint32_t i = 0; i < samples; i++) {
		cr_assert(get(EV_SAMPLE, &n, &pos));
		cr_assert_eq(n, i);
	}
}

Test(spool, least_free_space_is_left)
{
	open_spool();
	cr_assert_eq(put(EV_ERROR, 1, 100), 0);
	rig.conf.free_min_bytes = UINT64_MAX;
	open_spool();
	cr_assert_eq(put(EV_ERROR, 2, 100), 1u << EV_ERROR);
	cr_assert_eq(spool_rows(rig.s, EV_ERROR), 1);
}
