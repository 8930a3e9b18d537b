/*
 * random.c - runs a fuzz target over programs that are valid by construction,
 * from a fixed seed: what a fuzzer finds only by luck.  With RANDOM_BARE the
 * input is the program alone, else a whole event; RANDOM_PRINT in the
 * environment shows it.
 */
#include "fuzz.h"

#include "base/base.h"
#include "base/str.h"

#define ROUNDS 4000

static uint64_t rng;

static unsigned below(unsigned n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (unsigned)(rng >> 33) % n;
}

#define PICK(list) (list)[below(NELEM(list))]

static const char *const values[] = {"0", "1", "-7", "2.5", "-0.0", "1e15",
	"9007199254740993", "9223372036854775807", "true", "false", "null",
	"\"\"", "\"a\"", "\" 12 \"", "\"\\u00e9\\ud83d\\ude00\""};
static const char *const keys[] = {"a", "b", "list", "o", "none"};
static const char *const fields[] = {"externalUserId",
	"user.measurements_count", "task.measurements_count", "user.avg_time",
	"user.new_last_window_diff"};
static const char *const parents[] = {"default", "constantEffortStrategy",
	"socio_bee", "greengageStrategy", "greencrowdStrategy",
	"getis_ord_gi_star", "nobody"};

enum section { RULES, PRE, POST };

static void add_field(struct buf *b, enum section s)
{
	if (s == POST && below(3) == 0)
		buf_printf(b, "{\"type\":\"field\",\"path\":\"parent.%s\"}",
			below(2) ? "points" : "case_name");
	else if (below(3) == 0)
		buf_printf(b, "{\"type\":\"field\",\"path\":\"%s\"}",
			PICK(fields));
	else
		buf_printf(b, "{\"type\":\"field\",\"path\":\"data.%s\"}",
			PICK(keys));
}

static void add_literal(struct buf *b)
{
	buf_printf(b, "{\"type\":\"literal\",\"value\":%s}", PICK(values));
}

/* Depth of the language is bounded by 32; these stay far below. */
static void add_expr(struct buf *b, enum section s, unsigned depth)
{
	static const char *const ops[] = {"+", "-", "*", "/", "min", "max"};
	unsigned kind = depth == 0 ? below(2) : below(5);

	if (kind == 0) {
		add_literal(b);
	} else if (kind == 1) {
		add_field(b, s);
	} else if (kind == 2 || kind == 3) {
		buf_printf(b, "{\"type\":\"arith\",\"op\":\"%s\",\"left\":",
			PICK(ops));
		add_expr(b, s, depth - 1);
		buf_add_str(b, STR(",\"right\":"));
		add_expr(b, s, depth - 1);
		buf_add_char(b, '}');
	} else {
		unsigned arity = below(2) ? 1 : 3;

		buf_printf(b,
			"{\"type\":\"func_call\",\"name\":\"%s\",\"args\":[",
			arity == 1 ? "int" : "clamp");
		for (unsigned i = 0; i < arity; i++) {
			if (i > 0)
				buf_add_char(b, ',');
			add_expr(b, s, depth - 1);
		}
		buf_add_str(b, STR("]}"));
	}
}

static void add_cond(struct buf *b, enum section s, unsigned depth)
{
	static const char *const ops[] = {"<", "<=", "==", "!=", ">=", ">"};
	unsigned kind = depth == 0 ? below(2) : below(5);

	if (kind == 0) {
		add_literal(b);
	} else if (kind == 1) {
		add_field(b, s);
	} else if (kind == 2) {
		buf_printf(b, "{\"type\":\"compare\",\"op\":\"%s\",\"left\":",
			PICK(ops));
		add_expr(b, s, depth - 1);
		buf_add_str(b, STR(",\"right\":"));
		add_expr(b, s, depth - 1);
		buf_add_char(b, '}');
	} else if (kind == 3) {
		buf_add_str(b, STR("{\"type\":\"not\",\"arg\":"));
		add_cond(b, s, depth - 1);
		buf_add_char(b, '}');
	} else {
		unsigned cnt = 1 + below(3);

		buf_printf(b, "{\"type\":\"%s\",\"args\":[",
			below(2) ? "and" : "or");
		for (unsigned i = 0; i < cnt; i++) {
			if (i > 0)
				buf_add_char(b, ',');
			add_cond(b, s, depth - 1);
		}
		buf_add_str(b, STR("]}"));
	}
}

static void add_stmt(struct buf *b, enum section s)
{
	static const char *const own[][2] = {
		[RULES] = {"assign_points\",\"case_name\":\"Case",
			"assign_points\",\"case_name\":\"Other"},
		[PRE] = {"set_data\",\"key\":\"a", "set_data\",\"key\":\"new"},
		[POST] = {"set_points", "set_case_name"},
	};
	unsigned kind = below(6);

	if (kind == 0) {
		buf_add_str(b, STR("{\"type\":\"return\"}"));
		return;
	}
	if (kind == 1 && s == PRE) {
		buf_add_str(
			b, STR("{\"type\":\"veto\",\"case_name\":\"Veto\"}"));
		return;
	}
	if (kind < 4)
		buf_printf(b, "{\"type\":\"%s\",\"value\":", own[s][below(2)]);
	else
		buf_printf(b,
			"{\"type\":\"set_callback_data\",\"key\":\"%s\","
			"\"value\":",
			PICK(keys));
	add_expr(b, s, below(4));
	buf_add_char(b, '}');
}

static void add_body(struct buf *b, enum section s, const char *key)
{
	unsigned cnt = 1 + below(3);

	buf_printf(b, ",\"%s\":[", key);
	for (unsigned i = 0; i < cnt; i++) {
		if (i > 0)
			buf_add_char(b, ',');
		add_stmt(b, s);
	}
	buf_add_char(b, ']');
}

static void add_rule(struct buf *b, enum section s)
{
	buf_add_str(b, STR("{\"type\":\"rule\",\"when\":"));
	add_cond(b, s, below(4));
	add_body(b, s, "then");
	if (below(3) == 0) {
		buf_add_str(b, STR(",\"else_if\":[{\"when\":"));
		add_cond(b, s, below(3));
		add_body(b, s, "then");
		buf_add_str(b, STR("}]"));
	}
	if (below(3) == 0)
		add_body(b, s, "else");
	buf_add_char(b, '}');
}

static void add_section(struct buf *b, enum section s, const char *key)
{
	unsigned cnt = below(4);

	buf_printf(b, ",\"%s\":[", key);
	for (unsigned i = 0; i < cnt; i++) {
		if (i > 0)
			buf_add_char(b, ',');
		add_rule(b, s);
	}
	buf_add_char(b, ']');
}

static void add_program(struct buf *b)
{
	buf_add_str(b, STR("{\"type\":\"program\""));
	add_section(b, RULES, "rules");
	add_section(b, PRE, "pre_rules");
	add_section(b, POST, "post_rules");
	if (below(2)) {
		buf_add_str(b, STR(",\"default\":"));
		add_stmt(b, RULES);
	}
	if (below(2))
		buf_printf(b,
			",\"parent_variables\":{\"variable_basic_points\":%s,"
			"\"variable_max_points\":%s}",
			PICK(values), PICK(values));
	buf_add_char(b, '}');
}

static void add_event(struct buf *b)
{
	buf_printf(b, "{\"type\":\"%s\",\"parent\":\"%s\",\"data\":",
		below(4) ? "DSL_EXTEND" : "DSL_FULL", PICK(parents));
	buf_printf(b,
		"{\"a\":%s,\"b\":%s,\"list\":[1,%s],\"o\":{\"k\":%s},"
		"\"minutes\":%u},\"ast\":",
		PICK(values), PICK(values), PICK(values), PICK(values),
		below(70));
	add_program(b);
	buf_add_char(b, '}');
}

int main(void)
{
	struct buf b;

	buf_init(&b, 0);
	for (unsigned i = 1; i <= ROUNDS; i++) {
		rng = i * UINT64_C(0x9e3779b97f4a7c15);
		buf_reset(&b);
		if (RANDOM_BARE)
			add_program(&b);
		else
			add_event(&b);
		if (getenv("RANDOM_PRINT") != NULL)
			printf("%.*s\n", STR_ARG(buf_str(&b)));
		LLVMFuzzerTestOneInput((const uint8_t *)b.p, b.len);
	}
	buf_fini(&b);
	printf("%d random programs\n", ROUNDS);
	return 0;
}
