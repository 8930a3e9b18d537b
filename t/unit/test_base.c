/* Unit tests of src/base: tables of cases, one test per module. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cidr.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/ring.h"
#include "base/sha256.h"
#include "base/uuid.h"

Test(num, prints_doubles_as_the_language_does)
{
	static const struct {
		double v;
		const char *text;
	} cases[] = {{5, "5.0"}, {0.0001, "0.0001"},
		{1e15, "1000000000000000.0"}, {1e16, "1e+16"}, {1e-5, "1e-05"},
		{1.5e-7, "1.5e-07"}, {-0.0, "-0.0"},
		{0.1 + 0.2, "0.30000000000000004"}, {123.456, "123.456"},
		{1e300, "1e+300"}, {100, "100.0"}, {5e-324, "5e-324"},
		{1.7976931348623157e308, "1.7976931348623157e+308"}};

	for (size_t i = 0; i < NELEM(cases); i++) {
		char out[NUM_DOUBLE_MAX];
		size_t n = num_print_double(cases[i].v, out);

		cr_expect_str_eq(out, cases[i].text);
		cr_expect_eq(n, strlen(out));
		cr_expect_eq(strtod(out, NULL), cases[i].v);
	}
}

/* As many digits as the shortest of printf that reads as v. */
Test(num, is_shortest_for_decimals_and_neighbours)
{
	uint64_t seed = 1;

	for (int i = 0; i < 100000; i++) {
		char out[NUM_DOUBLE_MAX], ref[40];
		int prec = 0, digits = 0;
		double v;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		v = (double)(seed >> (14 + i % 45)) /
		    (double[]){1, 10, 1e2, 1e3, 1e5, 1e6, 1e8}[i % 7];
		if (i % 3 == 0)
			v = nextafter(v, INFINITY);
		if (v == 0)
			continue;
		do
			snprintf(ref, sizeof(ref), "%.*e", prec++, v);
		while (strtod(ref, NULL) != v);
		num_print_double(v, out);
		cr_assert_eq(strtod(out, NULL), v, "%s", out);
		for (const char *p = out; *p && *p != 'e'; p++)
			digits += *p >= '0' && *p <= '9';
		/* zeros that stand for the exponent do not count */
		for (const char *p = out; *p == '0' || *p == '.'; p++)
			digits -= *p == '0';
		for (const char *p = out + strcspn(out, "e");
			p > out && (p[-1] == '0' || p[-1] == '.'); p--)
			digits -= p[-1] == '0';
		cr_assert_leq(digits, prec, "%s is longer than %s", out, ref);
	}
}

Test(num, parses_strictly)
{
	static const struct {
		const char *text;
		int ok;
		int64_t v;
	} cases[] = {{"0", 1, 0}, {"-1", 1, -1}, {"+7", 1, 7},
		{"9223372036854775807", 1, INT64_MAX},
		{"-9223372036854775808", 1, INT64_MIN},
		{"9223372036854775808", 0, 0}, {"", 0, 0}, {"-", 0, 0},
		{" 1", 0, 0}, {"1 ", 0, 0}, {"1x", 0, 0}, {"0x1", 0, 0}};

	for (size_t i = 0; i < NELEM(cases); i++) {
		int64_t v = 0;
		int rc = num_parse_i64(str_from(cases[i].text), &v);

		cr_expect_eq(rc == 0, cases[i].ok, "%s", cases[i].text);
		cr_expect_eq(v, cases[i].v, "%s", cases[i].text);
	}
}

Test(uuid, accepts_the_documented_spellings_only)
{
	static const char want[] = "8c53b140-0000-4abc-8def-0123456789ab";
	static const struct {
		const char *text;
		int ok;
	} cases[] = {{"8c53b140-0000-4abc-8def-0123456789ab", 1},
		{"8C53B14000004ABC8DEF0123456789AB", 1},
		{"{8c53b140-0000-4abc-8def-0123456789ab}", 1},
		{"urn:uuid:8c53b140-0000-4abc-8def-0123456789ab", 1},
		{"8c53b140-0000-4abc-8def-0123456789a", 0},
		{"8c53b140-0000-4abc-8def-0123456789ag", 0},
		{"8c53b140+0000-4abc-8def-0123456789ab", 0}, {"", 0}};

	for (size_t i = 0; i < NELEM(cases); i++) {
		struct uuid u;
		char out[UUID_TEXT_LEN + 1];

		if (uuid_parse(str_from(cases[i].text), &u) < 0) {
			cr_expect_eq(cases[i].ok, 0, "%s", cases[i].text);
			continue;
		}
		uuid_print(&u, out);
		cr_expect_eq(cases[i].ok, 1, "%s", cases[i].text);
		cr_expect_str_eq(out, want);
	}
}

Test(uuid, version_7_ascends)
{
	struct uuid a, b;

	uuid_make_v7(&a);
	for (int i = 0; i < 20000; i++) {
		uuid_make_v7(&b);
		cr_assert(memcmp(a.b, b.b, 16) < 0);
		cr_assert_eq(b.b[6] >> 4, 7);
		cr_assert_eq(b.b[8] >> 6, 2);
		a = b;
	}
}

Test(ring, keeps_order_and_refuses_what_does_not_fit)
{
	struct ring r;
	uint32_t in = 0, out = 0;
	unsigned seed = 1;

	ring_init(&r, 512);
	for (int i = 0; i < 20000; i++) {
		char rec[100] = {0};
		struct str s;

		seed = seed * 1103515245 + 12345;
		if ((seed >> 16) % 3) {
			size_t len = 4 + (seed >> 18) % 90;

			memcpy(rec, &in, 4);
			if (ring_push(&r, rec, len) == 0)
				in++;
			else
				cr_assert_gt(r.rows_cnt, 0);
		} else if (ring_peek(&r, &s) == 0) {
			uint32_t v;

			memcpy(&v, s.p, 4);
			cr_assert_eq(v, out);
			out++;
			ring_pop(&r);
		}
		cr_assert_eq(r.rows_cnt, in - out);
		cr_assert_leq(r.used, r.cap);
	}
	cr_assert_eq(ring_push(&r, "", 513), -1);
	ring_fini(&r);
}

Test(arena, honours_its_limit_and_alignment)
{
	struct arena a;
	struct str s;

	arena_init(&a, 10000);
	for (int i = 1; i < 20; i++) {
		void *p = arena_alloc(&a, (size_t)i);

		cr_assert_not_null(p);
		cr_assert_eq((uintptr_t)p % 16, 0);
	}
	cr_assert_null(arena_alloc(&a, 20000));
	cr_assert_null(arena_calloc(&a, SIZE_MAX / 2, 4));
	arena_reset(&a);
	s = arena_printf(&a, "%s-%d", "x", 7);
	cr_assert_str_eq(s.p, "x-7");
	cr_assert_not_null(arena_alloc(&a, 9000));
	cr_assert_null(arena_alloc(&a, 2000));
	arena_fini(&a);
}

Test(str, shows_control_characters)
{
	struct buf b;

	buf_init(&b, 0);
	buf_add_visible(&b, STR("a\x1b]0;x\a\n\t\0\x7f"));
	cr_expect(str_eq(buf_str(&b), STR("a\\u001b]0;x\\u0007\\u000a\\u0009"
					  "\\u0000\\u007f")));
	buf_reset(&b);
	buf_add_visible(
		&b, STR("\xc2\x80\xc2\x9b\xc2\xa0\xc3\xa9\xe2\x82\xac"));
	cr_expect(str_eq(buf_str(&b),
		STR("\\u0080\\u009b\xc2\xa0\xc3\xa9\xe2\x82\xac")));
	buf_reset(&b);
	/* C1 as one byte, and a sequence that was cut */
	buf_add_visible(&b, STR("\x9b\xe2\x82"));
	cr_expect(str_eq(
		buf_str(&b), STR("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd")));
	buf_fini(&b);
}

Test(str, tells_utf8_from_other_bytes)
{
	cr_expect(str_is_utf8(STR("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")));
	cr_expect_not(str_is_utf8(STR("\xc0\x80")));
	cr_expect_not(str_is_utf8(STR("\xed\xa0\x80")));
	cr_expect_not(str_is_utf8(STR("\xf4\x90\x80\x80")));
	cr_expect_not(str_is_utf8(STR("\xe2\x82")));
	cr_expect_eq(str_utf8_cnt(STR("\xc3\xa9x")), 2);
}

Test(clock, prints_the_spellings_of_the_api)
{
	char out[CLOCK_TEXT_MAX];

	clock_print(1763858520929601, CLOCK_TS_Z, out);
	cr_expect_str_eq(out, "2025-11-23T00:42:00.929601Z");
	clock_print(1763858520000000, CLOCK_TS_Z, out);
	cr_expect_str_eq(out, "2025-11-23T00:42:00Z");
	clock_print(1763858520640637, CLOCK_TS_SP, out);
	cr_expect_str_eq(out, "2025-11-23 00:42:00.640637+00:00");
}

Test(sha256, differs_by_any_bit)
{
	uint8_t a[32], b[32];

	sha256(STR("abc"), a);
	sha256(STR("abc"), b);
	cr_expect(sha256_eq(a, b));
	for (unsigned i = 0; i < 8 * sizeof(a); i++) {
		b[i / 8] ^= 1u << i % 8;
		cr_expect_not(sha256_eq(a, b), "bit %u", i);
		b[i / 8] ^= 1u << i % 8;
	}
}

Test(sha256, known_answer)
{
	char hex[SHA256_HEX_LEN + 1];

	sha256_hex(STR("abc"), hex);
	cr_expect_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223"
			      "b00361a396177a9cb410ff61f20015ad");
}

Test(cidr, knows_who_is_in_a_list)
{
	static const struct {
		const char *list, *in, *out;
	} cases[] = {
		{"10.0.0.0/8", "10.255.0.1", "11.0.0.0"},
		{"10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"},
		{"192.0.2.7", "192.0.2.7", "192.0.2.6"},
		{"0.0.0.0/0", "255.255.255.255", "::1"},
		{"::/0", "1.2.3.4", "host"},
		{" fd00::/8 , ::1 ", "fdff::1%eth0", "fe00::"},
		{"10.0.0.128/25,127.0.0.1/32", "10.0.0.200", "10.0.0.127"},
		{"::ffff:10.0.0.0/104", "10.1.1.1", ""},
	};
	struct cidr_list l;

	for (size_t i = 0; i < NELEM(cases); i++) {
		cr_assert_eq(cidr_list_parse(str_from(cases[i].list), &l), 0);
		cr_expect(cidr_list_has(&l, cases[i].in), "%s", cases[i].in);
		cr_expect_not(
			cidr_list_has(&l, cases[i].out), "%s", cases[i].out);
	}
	cr_assert_eq(cidr_list_parse(STR(" "), &l), 0);
	cr_expect_eq(l.cnt, 0);
	cr_expect_not(cidr_list_has(&l, "127.0.0.1"));
}

Test(cidr, refuses_what_is_no_network)
{
	static const char *const bad[] = {",", "10.0.0.0/8,", "10.0.0.1/8",
		"10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0",
		"localhost", "10.0.0.0/8 10.0.0.0/8",
		"1111111111111111111111111111111111111111111111"};
	struct cidr_list l;
	struct buf many;

	for (size_t i = 0; i < NELEM(bad); i++)
		cr_expect_eq(cidr_list_parse(str_from(bad[i]), &l), -1, "%s",
			bad[i]);
	buf_init(&many, 0);
	for (unsigned i = 0; i < CIDR_LIST_MAX; i++)
		buf_printf(&many, "%s::1", i ? "," : "");
	cr_expect_eq(cidr_list_parse(buf_str(&many), &l), 0);
	buf_add_str(&many, STR(",::1"));
	cr_expect_eq(cidr_list_parse(buf_str(&many), &l), -1);
	buf_fini(&many);
}

/* ---- log ---------------------------------------------------------------- */

Test(log, a_storm_that_is_over_is_told)
{
	char text[1000] = "";
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	log_set_fd(fds[1]);
	for (int i = 0; i < 5; i++)
		log_warnx_limited("it rains drop=%d", i);
	log_end();
	log_end();
	log_set_fd(STDOUT_FILENO);
	close(fds[1]);
	cr_assert_gt(read(fds[0], text, sizeof(text) - 1), 0);
	close(fds[0]);
	cr_expect_not_null(strstr(text, "it rains drop=0 suppressed=0\n"));
	cr_expect_not_null(strstr(text, "it rains drop=1 suppressed=4\n"));
	cr_expect_null(strstr(text, "drop=2"));
}
