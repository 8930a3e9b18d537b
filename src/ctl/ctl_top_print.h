/*
 * ctl_top_print.h - a frame of `gamectl top` as lines of text, the same for
 * --batch and for the screen, or as JSON lines.
 */
#ifndef CTL_CTL_TOP_PRINT_H
#define CTL_CTL_TOP_PRINT_H

#include "ctl/ctl_top_frame.h"

/* First byte of a line: how a screen shows it. */
#define TOP_PLAIN   ' '
#define TOP_HEADING '#'
#define TOP_ALARM   '!'

enum top_pane { TOP_ALL, TOP_WORKERS, TOP_STRATEGIES, TOP_PIPELINE };
#define TOP_PANES 4

struct top_look {
	enum top_pane pane; /* or all three */
	enum top_sort sort;
	unsigned width;    /* code points of a line, 0: as they come */
	unsigned height;   /* lines, 0: as many as there are */
	const char *state; /* "paused", why there is no answer, or NULL */
};

/* Lines, each with its first byte and a newline.  What does not fit is cut,
 * and a pane that is cut says how many lines are missing. */
void top_print_text(struct buf *out, const struct top_sample *s,
	const struct top_look *look);
/* One object a line: frame, process, strategy, pipeline, evidence. */
void top_print_json(
	struct buf *out, const struct top_sample *s, unsigned frame);

#endif
