/* Unit tests of src/json: what is taken, what is refused, exact edges. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "json/json_in.h"
#include "json/json_out.h"
#include "json/json_yaml.h"

/* Parses and prints; NULL when refused (the fault is in *fault_r). */
static char *round_trip(struct str text, enum json_fault *fault_r)
{
	struct json_err err = {.fault = JSON_FAULT_NONE};
	char *out = NULL;
	struct json_out o;
	struct arena a;
	struct buf b;
	struct jv v;

	arena_init(&a, 0);
	buf_init(&b, 0);
	if (json_parse(&a, text, &json_limits_default, &v, &err) == 0) {
		json_out_init(&o, &b);
		json_out_val(&o, &v);
		out = strndup(b.p, b.len);
	}
	*fault_r = err.fault;
	buf_fini(&b);
	arena_fini(&a);
	return out;
}

Test(json, takes_and_prints)
{
	static const struct {
		const char *in, *out;
	} cases[] = {{"-0", "0"}, {"-0.0", "-0.0"}, {"1e2", "100.0"},
		{" [ 1 , 2.50 ] ", "[1,2.5]"}, {"1e-400", "0.0"},
		{"9223372036854775807", "9223372036854775807"},
		{"-9223372036854775808", "-9223372036854775808"},
		{"{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}"},
		{"\"\\u00e9\\ud83d\\ude00\"", "\"\xc3\xa9\xf0\x9f\x98\x80\""},
		{"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
			"\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
		{"\"\\u0001\\u007f\"", "\"\\u0001\x7f\""}, {"null", "null"},
		{"[]", "[]"}, {"{}", "{}"}, {"[[],{}]", "[[],{}]"},
		{"1152921504606846977", "1152921504606846977"},
		{"0.30000000000000004", "0.30000000000000004"}};

	for (size_t i = 0; i < NELEM(cases); i++) {
		enum json_fault fault;
		char *out = round_trip(str_from(cases[i].in), &fault);

		cr_assert_not_null(out, "%s", cases[i].in);
		cr_expect_str_eq(out, cases[i].out);
		free(out);
	}
}

Test(json, refuses)
{
	static const struct {
		const char *in;
		enum json_fault fault;
	} cases[] = {{"", JSON_FAULT_SYNTAX}, {"01", JSON_FAULT_SYNTAX},
		{"-01", JSON_FAULT_SYNTAX}, {"1.", JSON_FAULT_SYNTAX},
		{".5", JSON_FAULT_SYNTAX}, {"1e", JSON_FAULT_SYNTAX},
		{"+1", JSON_FAULT_SYNTAX}, {"NaN", JSON_FAULT_SYNTAX},
		{"Infinity", JSON_FAULT_SYNTAX},
		{"-Infinity", JSON_FAULT_SYNTAX}, {"nul", JSON_FAULT_SYNTAX},
		{"'a'", JSON_FAULT_SYNTAX}, {"[1,]", JSON_FAULT_SYNTAX},
		{"[,1]", JSON_FAULT_SYNTAX}, {"{\"a\":1,}", JSON_FAULT_SYNTAX},
		{"{a:1}", JSON_FAULT_SYNTAX}, {"{\"a\"}", JSON_FAULT_SYNTAX},
		{"[1}", JSON_FAULT_SYNTAX}, {"[1", JSON_FAULT_SYNTAX},
		{"1 2", JSON_FAULT_SYNTAX}, {"\"a", JSON_FAULT_SYNTAX},
		{"\"\t\"", JSON_FAULT_SYNTAX}, {"\"\\x\"", JSON_FAULT_SYNTAX},
		{"\"\\u12g4\"", JSON_FAULT_SYNTAX},
		{"\"\\u0000\"", JSON_FAULT_TEXT},
		{"\"\\ud800\"", JSON_FAULT_TEXT},
		{"\"\\ud800\\u0041\"", JSON_FAULT_TEXT},
		{"\"\\udc00\"", JSON_FAULT_TEXT}, {"\"\xff\"", JSON_FAULT_UTF8},
		{"\"\xed\xa0\x80\"", JSON_FAULT_UTF8},
		{"1e400", JSON_FAULT_NUMBER},
		{"9223372036854775808", JSON_FAULT_NUMBER},
		{"-9223372036854775809", JSON_FAULT_NUMBER}};

	for (size_t i = 0; i < NELEM(cases); i++) {
		enum json_fault fault;
		char *out = round_trip(str_from(cases[i].in), &fault);

		cr_expect_null(out, "%s", cases[i].in);
		cr_expect_eq(
			fault, cases[i].fault, "%s: %d", cases[i].in, fault);
		free(out);
	}
}

/* `n` copies of open, the middle, `n` copies of close. */
static struct str nested(
	size_t n, const char *open, const char *mid, const char *close)
{
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < n; i++)
		buf_add_str(&b, str_from(open));
	buf_add_str(&b, str_from(mid));
	for (size_t i = 0; i < n; i++)
		buf_add_str(&b, str_from(close));
	return buf_str(&b);
}

static enum json_fault fault_of(struct str text)
{
	enum json_fault fault;
	char *out = round_trip(text, &fault);

	free(out);
	free((char *)text.p);
	return fault;
}

Test(json, limits_hold_at_their_edges)
{
	cr_expect_eq(fault_of(nested(128, "[", "1", "]")), JSON_FAULT_NONE);
	cr_expect_eq(fault_of(nested(129, "[", "1", "]")), JSON_FAULT_LIMIT);
	cr_expect_eq(
		fault_of(nested(128, "{\"a\":", "1", "}")), JSON_FAULT_NONE);
	cr_expect_eq(fault_of(nested(1000000, "[", "", "")), JSON_FAULT_LIMIT);
}

Test(json, string_of_exactly_the_limit_passes)
{
	char *text = malloc(65536 + 3);

	memset(text, 'x', 65536 + 3);
	text[0] = '"';
	text[65537] = '"';
	cr_expect_eq(fault_of((struct str){text, 65538}), JSON_FAULT_NONE);
	text = malloc(65537 + 3);
	memset(text, 'x', 65537 + 3);
	text[0] = '"';
	text[65538] = '"';
	cr_expect_eq(fault_of((struct str){text, 65539}), JSON_FAULT_LIMIT);
}

Test(json, number_of_values_is_bounded)
{
	struct buf b;

	/* the array is a value too */
	for (int extra = 0; extra < 2; extra++) {
		buf_init(&b, 0);
		buf_add_str(&b, STR("[1"));
		for (int i = 1; i < 99999 + extra; i++)
			buf_add_str(&b, STR(",1"));
		buf_add_str(&b, STR("]"));
		cr_expect_eq(fault_of(buf_str(&b)),
			extra ? JSON_FAULT_LIMIT : JSON_FAULT_NONE);
	}
}

/* Mutated documents: an answer, never a crash; accepted ones print again. */
Test(json, survives_mutations)
{
	static const char seed[] = "{\"a\":[1,-2.5e3,\"x\\u00e9\\n\",null,"
				   "{\"b\":true}],\"c\":\"\xc3\xa9\"}";
	unsigned rnd = 7;

	for (int i = 0; i < 50000; i++) {
		char text[sizeof(seed)];
		enum json_fault f1, f2;
		char *out, *again;

		memcpy(text, seed, sizeof(seed));
		for (int k = 0; k < 2; k++) {
			rnd = rnd * 1103515245 + 12345;
			text[(rnd >> 8) % (sizeof(seed) - 1)] =
				(char)(rnd >> 20);
		}
		out = round_trip((struct str){text, sizeof(seed) - 1}, &f1);
		if (out == NULL)
			continue;
		again = round_trip(str_from(out), &f2);
		cr_assert_not_null(again, "%s", out);
		cr_assert_str_eq(out, again);
		free(out);
		free(again);
	}
}

/* ---- yaml ------------------------------------------------------------------ */

static int yaml(
	struct arena *a, const char *text, struct buf *out, struct err *err_r)
{
	static const struct json_limits lim = {4, 12, 20};
	struct json_out o;
	struct jv v;

	if (json_yaml_parse(a, str_from(text), &lim, &v, err_r) < 0)
		return -1;
	buf_reset(out);
	json_out_init(&o, out);
	json_out_val(&o, &v);
	buf_add_char(out, '\0');
	return 0;
}

Test(json, yaml_gives_the_values_of_json)
{
	static const struct {
		const char *text, *json;
	} cases[] = {
		{"", "null"},
		{"# nothing\n", "null"},
		{"a: 1\nb: [x, 'y', \"z\\n\"]\n",
			"{\"a\":1,\"b\":[\"x\",\"y\",\"z\\n\"]}"},
		{"[~, null, true, false, yes]",
			"[null,null,true,false,\"yes\"]"},
		{"[1, -1, +1, 007, '1']", "[1,-1,1,7,\"1\"]"},
		{"[1.0, 1e3, .5, -2.5]", "[1.0,1000.0,0.5,-2.5]"},
		{"[nan, inf, '.inf', 1_000, 1-2, e, '']",
			"[\"nan\",\"inf\",\".inf\",\"1_000\",\"1-2\",\"e\","
			"\"\"]"},
		{"[Null, NULL, nULL, True, TRUE, tRUE, False, FALSE, 'True']",
			"[null,null,\"nULL\",true,true,\"tRUE\",false,false,"
			"\"True\"]"},
		{"[0x10, 0xfF, 0o17, 0x7fffffffffffffff, -1]",
			"[16,255,15,9223372036854775807,-1]"},
		{"[0x, 0xg, 0o8, -0x10, 0X10, 0x-1, 0b1]",
			"[\"0x\",\"0xg\",\"0o8\",\"-0x10\",\"0X10\",\"0x-1\","
			"\"0b1\"]"},
		{"[1., +.5, -1E+2, 1e-400]", "[1.0,0.5,-100.0,0.0]"},
		{"[., -, 1e, 1e+, 1.2.3, +-1]",
			"[\".\",\"-\",\"1e\",\"1e+\",\"1.2.3\",\"+-1\"]"},
		{"{}", "{}"},
		{"a:\n  b:\n    c:\n      d: 1\n",
			"{\"a\":{\"b\":{\"c\":{\"d\":1}}}}"},
		{"a: |\n  two\n  lines\n", "{\"a\":\"two\\nlines\\n\"}"},
	};
	struct arena a;
	struct buf out;
	struct err err;

	arena_init(&a, 0);
	buf_init(&out, 0);
	for (size_t i = 0; i < NELEM(cases); i++) {
		cr_assert_eq(yaml(&a, cases[i].text, &out, &err), 0, "%s: %s",
			cases[i].text, err.text);
		cr_assert_str_eq(out.p, cases[i].json);
	}
	buf_fini(&out);
	arena_fini(&a);
}

Test(json, yaml_refuses_with_line_and_column)
{
	static const struct {
		const char *text, *at;
	} cases[] = {
		{"a: &x 1\nb: *x\n", "1:4:"},
		{"b: *x\n", "1:4:"},
		{"a: !!str 1\n", "1:4:"},
		{"a: 1\nb: 2\na: 3\n", "3:1:"},
		{"[[[[[1]]]]]", "1:5:"},
		{"[1,2,3,4,5,6,7,8,9,10,11,12]", ""},
		{"a: aaaaaaaaaaaaaaaaaaaaa\n", "1:4:"},
		{"a: \"\\0\"\n", "1:4:"},
		{"a: 9223372036854775808\n", "1:4:"},
		{"a: 0x8000000000000000\n", "1:4: integer past 64 bits"},
		{"a: 0o7777777777777777777777\n", "1:4: integer past"},
		{"a:\n  - 1\n  - .inf\n", "3:5: .inf, expected a finite"},
		{"a: -.Inf\n", "1:4: -.Inf, expected"},
		{"a: .NaN\n", "1:4: .NaN, expected"},
		{"a: 1e999\n", "1:4: number outside"},
		{"a: -1.5E999\n", "1:4: number outside"},
		{"a: 1\n---\nb: 2\n", "2:1:"},
		{"? [a]\n: 1\n", "1:3:"},
		{"a: [1\n", ""},
		{"\xff", ""},
	};
	struct arena a;
	struct buf out;
	struct err err;

	arena_init(&a, 0);
	buf_init(&out, 0);
	for (size_t i = 0; i < NELEM(cases); i++) {
		cr_assert_eq(yaml(&a, cases[i].text, &out, &err), -1, "%s",
			cases[i].text);
		cr_assert_eq(
			strncmp(err.text, cases[i].at, strlen(cases[i].at)), 0,
			"%s: %s", cases[i].text, err.text);
	}
	buf_fini(&out);
	arena_fini(&a);
}
