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

const struct dsl_field_ref *dsl_ent_field(
	const struct dsl_trace *t, const struct dsl_trace_ent *e)
{
	const struct dsl_node *node = &t->prog->nodes[e->node];

	return node->kind == DSL_N_FIELD ? &t->prog->fields[node->at] : NULL;
}

const struct dsl_taint dsl_taint_unknown = {true, UINT16_MAX};

/* Operands come before what is made of them, which is less deep. */
bool dsl_taint_step(struct dsl_taint *taint, const struct dsl_trace *t,
	const struct dsl_trace_ent *e, bool is_secret)
{
	const struct dsl_node *node = &t->prog->nodes[e->node];

	if (is_secret) {
		*taint = (struct dsl_taint){true, node->depth};
		return true;
	}
	if (!taint->is_on || node->depth >= taint->depth ||
		node->kind == DSL_N_LITERAL || node->kind == DSL_N_FIELD)
		return false;
	taint->depth = node->depth;
	taint->is_on = false;
	if (e->value.type == JV_BOOL)
		return false;
	/* these are the result of the run, but where it failed at them */
	if ((node->kind == DSL_N_ASSIGN_POINTS ||
		    node->kind == DSL_N_SET_POINTS ||
		    node->kind == DSL_N_SET_CASE_NAME) &&
		e->branch != DSL_BR_FAILED)
		return false;
	taint->is_on = dsl_shapes[node->kind].groups & DSL_G_EXPR;
	return true;
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
