/*
 * engine_impl.h - one built-in strategy, inside engine/ only.  A new one is a
 * file engine_<name>.c with a struct like this and a row in engine.c.
 */
#ifndef ENGINE_ENGINE_IMPL_H
#define ENGINE_ENGINE_IMPL_H

#include "engine/engine.h"

struct engine_builtin {
	struct engine_info info;
	uint32_t fields; /* 1 << enum dsl_field */
	/* What it needs besides; may be NULL, as vars may. */
	void (*needs)(const struct jv *vars, struct engine_needs *needs);
	/* NULL: listed only.  vars may be NULL. */
	enum dsl_status (*score)(const struct engine_event *ev,
		const struct jv *vars, struct engine_result *res_r,
		struct dsl_error *err_r);
};

#define ENGINE_NEED(f) (UINT32_C(1) << DSL_F_##f)
#define ENGINE_READ(r) (UINT32_C(1) << ENGINE_R_##r)

extern const struct engine_builtin engine_default;
extern const struct engine_builtin engine_socio_bee;
extern const struct engine_builtin engine_constant_effort;
extern const struct engine_builtin engine_greengage;
extern const struct engine_builtin engine_greencrowd;

/* DSL_PARENT_FAILED: the built-in cannot score the event, `why`. */
enum dsl_status engine_fail(
	struct dsl_error *err_r, const char *parent, const char *why);

/* DSL_PARENT_FAILED at a variable that cannot be used. */
enum dsl_status engine_fail_var(struct dsl_error *err_r, const char *parent,
	const char *variable, const char *why);
/*
 * Variable `name`: the override if there is one, else def.  Numbers only; a
 * bool counts as 0 or 1.
 */
enum dsl_status engine_var(const struct jv *vars, const char *parent,
	const char *name, int64_t def, struct jv *v_r,
	struct dsl_error *err_r) MUST_CHECK;
/*
 * The variable `name`, minutes, as microseconds from 0 to 300 years; what
 * engine_var refuses counts as 0.
 */
int64_t engine_var_minutes_us(
	const struct jv *vars, const char *name, int64_t def);

#endif
