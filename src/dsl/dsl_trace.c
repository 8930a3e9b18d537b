/*
 * dsl_trace.c - reading what the evaluator recorded (dsl.md 11).  Writing is
 * in dsl_eval.c, inside its loop.
 */
#include "dsl/dsl_prog.h"

#include <stdio.h>

void dsl_trace_reset(struct dsl_trace *t)
{
	t->total = 0;
}

uint32_t dsl_trace_kept(const struct dsl_trace *t)
{
	uint32_t cap = t->head_cap + t->tail_cap;

	return t->total < cap ? t->total : cap;
}

const struct dsl_trace_ent *dsl_trace_at(const struct dsl_trace *t, uint32_t i)
{
	uint32_t past; /* entries that went into the tail ring */

	if (i >= dsl_trace_kept(t))
		return NULL;
	if (i < t->head_cap)
		return &t->ents[i];
	i -= t->head_cap;
	past = t->total - t->head_cap;
	if (past > t->tail_cap)
		i = (i + past % t->tail_cap) % t->tail_cap;
	return &t->ents[t->head_cap + i];
}

struct str dsl_ent_node_id(
	const struct dsl_trace *t, const struct dsl_trace_ent *e)
{
	return t->prog->nodes[e->node].id;
}

const char *dsl_ent_type(
	const struct dsl_trace *t, const struct dsl_trace_ent *e)
{
	return dsl_shapes[t->prog->nodes[e->node].kind].type;
}

const char *dsl_branch_text(const struct dsl_trace_ent *e, char out[32])
{
	switch ((enum dsl_branch)e->branch) {
	case DSL_BR_NONE:
		return NULL;
	case DSL_BR_MATCH:
		return "match";
	case DSL_BR_SKIP:
		return "skip";
	case DSL_BR_ELSE:
		return "else";
	case DSL_BR_ELSEIF:
		snprintf(out, 32, "elseif:%u", e->branch_idx);
		return out;
	case DSL_BR_SHORT_CIRCUIT:
		snprintf(out, 32, "short_circuit:%u", e->branch_idx);
		return out;
	case DSL_BR_VETO:
		return "veto";
	case DSL_BR_HALT:
		return "halt";
	case DSL_BR_FAILED:
		return "failed";
	}
	return NULL;
}
