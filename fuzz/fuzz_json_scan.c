/* fuzz_json_scan.c - the strict scanner and the reader agree, and what was
 * read is written and read back the same. */
#include "fuzz.h"

#include "json/json_in.h"
#include "json/json_out.h"

static void write_value(struct buf *b, const struct jv *v)
{
	struct json_out o;

	buf_init(b, 0);
	json_out_init(&o, b);
	json_out_val(&o, v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct str text = {(const char *)data, size};
	struct json_err err;
	struct buf first, second;
	struct arena a;
	struct jv v;
	int rc;

	rc = json_scan(text, &json_limits_default, &err);
	MUST(rc == 0 || (err.offset <= size && err.text[0] != '\0'));
	arena_init(&a, 0);
	MUST(json_parse(&a, text, &json_limits_default, &v, &err) == rc);
	if (rc == 0) {
		write_value(&first, &v);
		MUST(json_parse(&a, buf_str(&first), &json_limits_default, &v,
			     &err) == 0);
		write_value(&second, &v);
		MUST(str_eq(buf_str(&first), buf_str(&second)));
		buf_fini(&first);
		buf_fini(&second);
	}
	arena_fini(&a);
	return 0;
}
