/* tail_line.c - see tail_line.h. */
#include "ipc/tail_line.h"

#include <stddef.h>

#include "base/uuid.h"
#include "ipc/run_rec.h"
#include "json/json_in.h"
#include "json/json_out.h"

static const struct {
	const char *name;
	size_t at; /* of the text in struct run_rec */
} keys[TAIL_KEY_CNT] = {
	[TAIL_STRATEGY] = {"strategyId", offsetof(struct run_rec, strategy_id)},
	[TAIL_REALM] = {"realmId", offsetof(struct run_rec, realm)},
	[TAIL_GAME] = {"externalGameId", offsetof(struct run_rec, game)},
	[TAIL_TASK] = {"externalTaskId", offsetof(struct run_rec, task)},
	[TAIL_USER] = {"externalUserId", offsetof(struct run_rec, user)},
	[TAIL_STATUS] = {"status", offsetof(struct run_rec, status)},
	[TAIL_CASE] = {"caseName", offsetof(struct run_rec, case_name)},
	[TAIL_CORRELATION] = {"correlationId",
		offsetof(struct run_rec, correlation_id)},
};

const char *tail_key_name(enum tail_key k)
{
	return keys[k].name;
}

bool tail_filter_matches(const struct tail_filter *f, const struct run_rec *r)
{
	for (unsigned k = 0; k < TAIL_KEY_CNT; k++) {
		struct str is;

		if (f->want[k].p == NULL)
			continue;
		memcpy(&is, (const char *)r + keys[k].at, sizeof(is));
		if (is.p == NULL || !str_eq(f->want[k], is))
			return false;
	}
	return true;
}

void tail_filter_write(struct buf *b, const struct tail_filter *f)
{
	struct json_out o;

	json_out_init(&o, b);
	json_out_obj(&o);
	for (unsigned k = 0; k < TAIL_KEY_CNT; k++)
		if (f->want[k].p != NULL)
			json_out_kv_str(&o, keys[k].name, f->want[k]);
	json_out_obj_end(&o);
	buf_add_char(b, '\n');
}

static struct str *find(struct tail_filter *f, struct str name)
{
	for (unsigned k = 0; k < TAIL_KEY_CNT; k++)
		if (str_is(name, keys[k].name))
			return &f->want[k];
	return NULL;
}

int tail_filter_read(struct arena *a, struct str line, struct tail_filter *f_r,
	const char **code_r, struct err *err_r)
{
	struct json_err json_err;
	struct jv v;

	memset(f_r, 0, sizeof(*f_r));
	*code_r = "json_invalid";
	if (json_parse(a, line, &json_limits_default, &v, &json_err) < 0)
		return err_set(err_r, ERR_INVALID, "the filter is no JSON: %s",
			json_err.text);
	*code_r = "filter_not_object";
	if (v.type != JV_OBJ)
		return err_set(err_r, ERR_INVALID, "the filter is no object");
	for (uint32_t i = 0; i < v.n; i++) {
		const struct jv_member *m = &v.u.obj[i];
		struct str *want = find(f_r, m->key);

		*code_r = "unknown_member";
		if (want == NULL)
			return err_set(err_r, ERR_INVALID,
				"the filter has an unknown member %.*s",
				STR_ARG(m->key));
		*code_r = "member_not_string";
		if (m->val.type != JV_STR)
			return err_set(err_r, ERR_INVALID,
				"the filter's member %.*s is no string",
				STR_ARG(m->key));
		*want = m->val.u.s;
	}
	return 0;
}

enum tail_line tail_line_kind(struct str line)
{
	static const struct {
		const char *start;
		enum tail_line kind;
	} starts[] = {
		{"{\"ready\":", TAIL_LINE_READY},
		{"{\"missed\":", TAIL_LINE_MISSED},
		{"{\"end\":", TAIL_LINE_END},
		{"{\"error\":", TAIL_LINE_ERROR},
	};

	for (size_t i = 0; i < NELEM(starts); i++)
		if (str_starts_with(line, starts[i].start))
			return starts[i].kind;
	return TAIL_LINE_RUN;
}

struct str tail_line_id(struct str line)
{
	struct str start = STR("{\"id\":\"");

	if (!str_starts_with(line, start.p) ||
		line.len < start.len + UUID_TEXT_LEN)
		return (struct str){NULL, 0};
	return (struct str){line.p + start.len, UUID_TEXT_LEN};
}
