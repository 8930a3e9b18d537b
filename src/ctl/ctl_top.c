/*
 * ctl_top.c - `gamectl top`: processes, strategies and the way of evidence,
 * live, from the admin socket.  Works without HTTP and without Postgres.  On a
 * terminal it redraws; --batch prints frames, --json prints them as JSON.
 *
 * A server that stops answering is not the end: the last frame stays, with
 * the reason, and the server is asked again at each interval.
 */
#include "ctl/ctl.h"

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <math.h>
#include <ncurses.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <term.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "ctl/ctl_top_print.h"

#define USAGE                                                               \
	"top [-d seconds] [-s runs|errors|p99|name] [--batch [-n frames]] " \
	"[--json]"
#define DELAY_MIN_S 0.1
#define DELAY_MAX_S 3600.0
#define COLS_MIN    20
#define LINES_MIN   4

static struct {
	struct top_sample samples[2];
	struct top_sample *now; /* the one shown; NULL: none yet */
	uint64_t delay_ms;
	enum top_sort sort;
	enum top_pane pane;
	bool batch, paused;
	unsigned frames; /* 0: no end */
	/* The last question found no answer. */
	bool lost;
	struct err err;
} self = {.delay_ms = 2000};

/* ---- samples ------------------------------------------------------------ */

/* A new frame, or the old one and self.lost. */
static void refresh_frame(const struct conf *conf)
{
	struct top_sample *next = self.now == &self.samples[0]
					  ? &self.samples[1]
					  : &self.samples[0];

	self.lost = top_sample_take(conf, next, &self.err) < 0;
	if (self.lost)
		return;
	top_sample_rate(next, self.now);
	top_sample_sort(next, self.sort);
	self.now = next;
}

/* ---- batch -------------------------------------------------------------- */

static void print_frame(unsigned frame)
{
	struct top_look look = {.sort = self.sort};
	struct buf b;

	buf_init(&b, 0);
	if (ctl_json()) {
		top_print_json(&b, self.now, frame);
		fwrite(b.p, 1, b.len, stdout);
	} else {
		top_print_text(&b, self.now, &look);
		for (size_t i = 0; i < b.len; i++) {
			const char *nl = memchr(b.p + i, '\n', b.len - i);

			fwrite(b.p + i + 1, 1, (size_t)(nl - b.p) - i, stdout);
			i = (size_t)(nl - b.p);
		}
		putchar('\n');
	}
	buf_fini(&b);
	fflush(stdout);
}

static void pause_ms(uint64_t ms)
{
	struct timespec left = {
		(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

static int run_batch(const struct conf *conf)
{
	for (unsigned frame = 1;; frame++) {
		if (self.lost)
			(void)ctl_fail(&self.err);
		else
			print_frame(frame);
		if (ferror(stdout) || frame == self.frames)
			return self.lost;
		pause_ms(self.delay_ms);
		refresh_frame(conf);
	}
}

/* ---- screen ------------------------------------------------------------- */

static void draw_line(int y, struct str line)
{
	attr_t look = line.p[0] == TOP_HEADING ? A_REVERSE
		      : line.p[0] == TOP_ALARM ? A_BOLD
					       : A_NORMAL;

	attrset(look);
	mvaddnstr(y, 0, line.p + 1, (int)line.len - 1);
	if (look == A_REVERSE)
		for (int x = getcurx(stdscr); x < COLS && x > 0; x++)
			addch(' ');
	attrset(A_NORMAL);
}

static void draw(void)
{
	struct top_look look = {.pane = self.pane,
		.sort = self.sort,
		.width = (unsigned)COLS,
		.height = (unsigned)LINES - 1};
	struct str rest;
	struct buf b;
	int y = 0;

	erase();
	if (COLS < COLS_MIN || LINES < LINES_MIN) {
		mvaddnstr(0, 0, "too small", COLS);
		refresh();
		return;
	}
	if (self.lost)
		look.state = self.err.text;
	else if (self.paused)
		look.state = "paused; space goes on";
	buf_init(&b, 0);
	top_print_text(&b, self.now, &look);
	rest = buf_str(&b);
	while (rest.len > 0) {
		const char *nl = memchr(rest.p, '\n', rest.len);
		size_t len = (size_t)(nl - rest.p);

		draw_line(y++, (struct str){rest.p, len});
		rest.p += len + 1;
		rest.len -= len + 1;
	}
	buf_fini(&b);
	attrset(A_DIM);
	mvaddnstr(LINES - 1, 0, "q quit  s sort  space pause  tab pane",
		COLS - 1);
	attrset(A_NORMAL);
	refresh();
}

enum on_key { KEY_NOTHING, KEY_DRAW, KEY_QUIT };

static enum on_key take_key(int c)
{
	switch (c) {
	case 'q':
		return KEY_QUIT;
	case 's':
		self.sort = (self.sort + 1) % TOP_SORT_CNT;
		top_sample_sort(self.now, self.sort);
		return KEY_DRAW;
	case ' ':
		self.paused = !self.paused;
		return KEY_DRAW;
	case '\t':
		self.pane = (self.pane + 1) % TOP_PANES;
		return KEY_DRAW;
	case 12: /* ^L */
		clearok(stdscr, TRUE);
		return KEY_DRAW;
	case KEY_RESIZE:
		return KEY_DRAW;
	default:
		return KEY_NOTHING;
	}
}

/* The terminal is gone: getch would return at once for ever. */
static bool has_hung_up(void)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR | POLLNVAL);
}

/* Keys until the next frame is due; false: leave. */
static bool watch_keys(uint64_t until_ms)
{
	for (;;) {
		uint64_t now_ms = clock_mono_ms();
		int c;

		if (now_ms >= until_ms)
			return true;
		timeout((int)(until_ms - now_ms));
		c = getch();
		if (c == ERR && has_hung_up())
			return false;
		switch (take_key(c)) {
		case KEY_QUIT:
			return false;
		case KEY_DRAW:
			draw();
			break;
		case KEY_NOTHING:
			break;
		}
	}
}

static int run_screen(const struct conf *conf)
{
	SCREEN *screen = NULL;
	int unknown;

	setlocale(LC_ALL, "");
	/* newterm would leak when it fails */
	if (setupterm(NULL, STDOUT_FILENO, &unknown) == OK) {
		del_curterm(cur_term);
		screen = newterm(NULL, stdout, stdin);
	}
	if (screen == NULL)
		return ctl_fail(&(struct err){.text = "this terminal cannot be "
						      "drawn on; use --batch"});
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	draw();
	while (watch_keys(clock_mono_ms() + self.delay_ms)) {
		if (!self.paused)
			refresh_frame(conf);
		draw();
	}
	endwin();
	delscreen(screen);
	return 0;
}

/* ---- arguments ---------------------------------------------------------- */

static bool take_sort(const char *name)
{
	for (unsigned i = 0; i < TOP_SORT_CNT; i++)
		if (strcmp(name, top_sort_name(i)) == 0) {
			self.sort = i;
			return true;
		}
	return false;
}

static bool take_delay(const char *text)
{
	double s;

	if (num_parse_double(str_from(text), &s) < 0 ||
		!(s >= DELAY_MIN_S && s <= DELAY_MAX_S))
		return false;
	self.delay_ms = (uint64_t)llround(s * 1e3);
	return true;
}

static bool take_frames(const char *text)
{
	int64_t n;

	if (num_parse_i64(str_from(text), &n) < 0 || n < 1 || n > 1000000000)
		return false;
	self.frames = (unsigned)n;
	return true;
}

static bool take_options(int argc, char **argv)
{
	static const struct option options[] = {
		{"batch", no_argument, NULL, 'b'}, {NULL, 0, NULL, 0}};
	bool fine = true;
	int c;

	opterr = 0;
	while (fine &&
		(c = getopt_long(argc, argv, "bd:n:s:", options, NULL)) != -1) {
		switch (c) {
		case 'b':
			self.batch = true;
			break;
		case 'd':
			fine = take_delay(optarg);
			break;
		case 'n':
			fine = take_frames(optarg);
			break;
		case 's':
			fine = take_sort(optarg);
			break;
		default:
			fine = false;
		}
	}
	self.batch |= ctl_json();
	return fine && optind == argc && (self.batch || self.frames == 0);
}

int ctl_top(int argc, char **argv, const struct conf *conf)
{
	if (!take_options(argc, argv))
		return ctl_usage(USAGE);
	if (!self.batch && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
		return ctl_fail(&(struct err){
			.text = "top needs a terminal; use --batch"});
	refresh_frame(conf);
	if (self.lost)
		return ctl_fail(&self.err);
	return self.batch ? run_batch(conf) : run_screen(conf);
}
