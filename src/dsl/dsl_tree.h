/*
 * dsl_tree.h - a checked program as lines for people: rules, conditions in
 * infix form, what each branch does.  The one tree that `gamectl strategy
 * show` prints and that the graph draws.
 */
#ifndef DSL_DSL_TREE_H
#define DSL_DSL_TREE_H

#include "json/json_val.h"

/* One line; text lives inside the call. */
typedef void (*dsl_tree_cb)(void *arg, unsigned depth, struct str text);

/* ast: normalised by dsl_check, which bounds its depth. */
void dsl_tree_walk(const struct jv *ast, dsl_tree_cb cb, void *arg);
/* Lines indented by tabs, as the built-ins describe themselves. */
void dsl_tree_walk_text(const char *lines, dsl_tree_cb cb, void *arg);

#endif
