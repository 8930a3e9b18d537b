/* dsl_node.c - see dsl_node.h. */
#include "dsl/dsl_node.h"

#define ROOT DSL_G_ROOT
#define COND DSL_G_COND
#define EXPR DSL_G_EXPR
#define STMT DSL_G_STMT

const struct dsl_shape dsl_shapes[DSL_N_CNT] = {
	[DSL_N_PROGRAM] = {"program", ROOT, 0, {"rules"},
		{"pre_rules", "post_rules", "default", "parent_variables"}},
	[DSL_N_RULE] = {"rule", ROOT, 0, {"when", "then"}, {"else_if", "else"}},
	[DSL_N_AND] = {"and", COND, 0, {"args"}, {0}},
	[DSL_N_OR] = {"or", COND, 0, {"args"}, {0}},
	[DSL_N_NOT] = {"not", COND, 0, {"arg"}, {0}},
	[DSL_N_COMPARE] = {"compare", COND, 0, {"op", "left", "right"}, {0}},
	[DSL_N_LITERAL] = {"literal", COND | EXPR, 0, {"value"}, {0}},
	[DSL_N_FIELD] = {"field", COND | EXPR, 0, {"path"}, {0}},
	[DSL_N_ARITH] = {"arith", EXPR, 0, {"op", "left", "right"}, {0}},
	[DSL_N_FUNC_CALL] = {"func_call", EXPR, 0, {"name", "args"}, {0}},
	[DSL_N_ASSIGN_POINTS] = {"assign_points", STMT,
		DSL_S_RULE | DSL_S_DEFAULT, {"value", "case_name"}, {0}},
	[DSL_N_SET_CALLBACK_DATA] = {"set_callback_data", STMT,
		DSL_S_RULE | DSL_S_DEFAULT | DSL_S_PRE | DSL_S_POST,
		{"key", "value"}, {0}},
	[DSL_N_RETURN] = {"return", STMT,
		DSL_S_RULE | DSL_S_DEFAULT | DSL_S_PRE | DSL_S_POST, {0}, {0}},
	[DSL_N_SET_DATA] = {"set_data", STMT, DSL_S_PRE, {"key", "value"}, {0}},
	[DSL_N_VETO] = {"veto", STMT, DSL_S_PRE, {"case_name"}, {0}},
	[DSL_N_SET_POINTS] = {"set_points", STMT, DSL_S_POST, {"value"}, {0}},
	[DSL_N_SET_CASE_NAME] = {"set_case_name", STMT, DSL_S_POST, {"value"},
		{0}},
	[DSL_N_ELSE_IF] = {"else_if", 0, 0, {"when", "then"}, {0}},
};

const char *const dsl_cmp_names[DSL_CMP_CNT] = {
	"<", "<=", "==", "!=", ">=", ">"};
const char *const dsl_arith_names[DSL_ARITH_CNT] = {
	"+", "-", "*", "/", "min", "max"};
const char *const dsl_func_names[DSL_FN_CNT] = {"int", "clamp"};
const uint8_t dsl_func_arity[DSL_FN_CNT] = {1, 3};

static const char *const field_names[DSL_F_CNT] = {
	[DSL_F_GAME] = "externalGameId",
	[DSL_F_TASK] = "externalTaskId",
	[DSL_F_USER] = "externalUserId",
	[DSL_F_USER_COUNT] = "user.measurements_count",
	[DSL_F_USER_RECENT] = "user.recent_measurements_count",
	[DSL_F_TASK_COUNT] = "task.measurements_count",
	[DSL_F_USER_AVG] = "user.avg_time",
	[DSL_F_ALL_AVG] = "all.avg_time",
	[DSL_F_LAST_DIFF] = "user.last_window_diff",
	[DSL_F_NEW_LAST_DIFF] = "user.new_last_window_diff",
	[DSL_F_PARENT_POINTS] = "parent.points",
	[DSL_F_PARENT_CASE] = "parent.case_name",
	[DSL_F_DATA] = "data.",
};

const char *dsl_field_name(enum dsl_field f)
{
	return field_names[f];
}

enum dsl_kind dsl_kind_of(const struct jv *type)
{
	if (type == NULL || type->type != JV_STR)
		return DSL_N_CNT;
	for (int k = 0; k < DSL_N_CNT; k++)
		if (dsl_shapes[k].groups != 0 &&
			str_is(type->u.s, dsl_shapes[k].type))
			return (enum dsl_kind)k;
	return DSL_N_CNT;
}

unsigned dsl_name_index(
	const struct jv *v, const char *const *names, unsigned cnt)
{
	if (v->type != JV_STR)
		return cnt;
	for (unsigned i = 0; i < cnt; i++)
		if (str_is(v->u.s, names[i]))
			return i;
	return cnt;
}

/* One or more of A-Z a-z 0-9 _ */
static bool is_data_key(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];
		unsigned char lower = c | 0x20;

		if (!(lower >= 'a' && lower <= 'z') &&
			!(c >= '0' && c <= '9') && c != '_')
			return false;
	}
	return s.len > 0;
}

int dsl_field_parse(struct str path, enum dsl_field *f_r, struct str *key_r)
{
	*key_r = (struct str){"", 0};
	if (str_starts_with(path, "data.")) {
		*f_r = DSL_F_DATA;
		*key_r = (struct str){path.p + 5, path.len - 5};
		return is_data_key(*key_r) ? 0 : -1;
	}
	for (int f = 0; f < DSL_F_DATA; f++)
		if (str_is(path, field_names[f])) {
			*f_r = (enum dsl_field)f;
			return 0;
		}
	return -1;
}
