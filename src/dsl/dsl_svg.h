/*
 * dsl_svg.h - draws the lines of a tree (dsl_tree.h) as SVG: a box a line,
 * joined to the box that it belongs to.
 */
#ifndef DSL_DSL_SVG_H
#define DSL_DSL_SVG_H

#include "base/str.h"

#define DSL_SVG_DEPTH_MAX 16

struct dsl_svg {
	struct buf boxes;
	unsigned rows;
	unsigned width;                     /* of the widest row, pixels */
	unsigned row_of[DSL_SVG_DEPTH_MAX]; /* newest row of each depth */
};

void dsl_svg_init(struct dsl_svg *g);
/* A dsl_tree_cb; arg is the struct.  Long lines are cut. */
void dsl_svg_line(void *arg, unsigned depth, struct str text);
/* Appends the whole document and frees what init made. */
void dsl_svg_end(struct dsl_svg *g, struct str title, struct buf *out);

#endif
