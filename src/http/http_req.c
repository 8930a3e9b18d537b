/* http_req.c - see http_req.h. Runs in workers. */
#include "http/http_req.h"

#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <strings.h>

#include "base/uuid.h"
#include "http/http_priv.h"

struct str http_req_header(const struct http_req *r, const char *name)
{
	const char *v;

	if (r->ev == NULL)
		return (struct str){NULL, 0};
	v = evhttp_find_header(evhttp_request_get_input_headers(r->ev), name);
	if (v == NULL)
		return (struct str){NULL, 0};
	return str_trim(str_from(v));
}

void http_req_each_header(const struct http_req *r,
	void (*fn)(void *arg, const char *name, const char *value), void *arg)
{
	const struct evkeyval *h;

	if (r->ev == NULL)
		return;
	TAILQ_FOREACH (h, evhttp_request_get_input_headers(r->ev), next)
		fn(arg, h->key, h->value);
}

struct str http_req_query(const struct http_req *r, const char *name)
{
	for (unsigned i = 0; i < r->query_cnt; i++)
		if (str_is(r->query[i].name, name))
			return r->query[i].value;
	return (struct str){NULL, 0};
}

struct str http_req_capture(const struct http_req *r, const char *name)
{
	size_t len = strlen(name);
	unsigned i = 0;

	for (const char *p = strchr(r->route->template, '{'); p != NULL;
		p = strchr(p + 1, '{')) {
		if (strncmp(p + 1, name, len) == 0 && p[1 + len] == '}')
			return r->captures[i];
		i++;
	}
	return (struct str){NULL, 0};
}

bool http_is_plain(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] <= 0x20 || s.p[i] == 0x7f)
			return false;
	return true;
}

bool http_req_wants_close(const struct http_req *r)
{
	struct str list = http_req_header(r, "Connection");

	while (list.len > 0) {
		const char *comma = memchr(list.p, ',', list.len);
		struct str token = {
			list.p, comma ? (size_t)(comma - list.p) : list.len};

		list.p += token.len + (comma != NULL);
		list.len -= token.len + (comma != NULL);
		token = str_trim(token);
		if (token.len == 5 && strncasecmp(token.p, "close", 5) == 0)
			return true;
	}
	return false;
}

static int hex_val(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Query text decoded once, '+' as a blank; -1 for bad escapes and NUL. */
static int decode_query(struct arena *a, struct str in, struct str *out_r)
{
	char *to = arena_strndup(a, in.p, in.len);
	size_t n = 0;

	if (to == NULL)
		return -1;
	for (size_t i = 0; i < in.len; i++) {
		char c = in.p[i] == '+' ? ' ' : in.p[i];

		if (c == '%') {
			int hi = i + 2 < in.len ? hex_val(in.p[i + 1]) : -1;
			int lo = i + 2 < in.len ? hex_val(in.p[i + 2]) : -1;

			if (hi < 0 || lo < 0 || (hi | lo) == 0)
				return -1;
			c = (char)(hi << 4 | lo);
			i += 2;
		}
		to[n++] = c;
	}
	to[n] = '\0';
	*out_r = (struct str){to, n};
	return str_is_utf8(*out_r) ? 0 : -1;
}

static int parse_query(struct http_req *r, struct str q)
{
	while (q.len > 0) {
		const char *amp = memchr(q.p, '&', q.len), *eq;
		struct str pair = {q.p, amp ? (size_t)(amp - q.p) : q.len};
		struct http_query *to;

		q.p += pair.len + (amp != NULL);
		q.len -= pair.len + (amp != NULL);
		if (pair.len == 0)
			continue;
		if (r->query_cnt == HTTP_QUERY_MAX)
			return -1;
		to = &r->query[r->query_cnt++];
		eq = memchr(pair.p, '=', pair.len);
		to->value = STR("");
		if (eq != NULL) {
			struct str val = {
				eq + 1, pair.len - (size_t)(eq + 1 - pair.p)};

			pair.len = (size_t)(eq - pair.p);
			if (decode_query(&r->arena, val, &to->value) < 0)
				return -1;
		}
		if (decode_query(&r->arena, pair, &to->name) < 0)
			return -1;
	}
	return 0;
}

int http_req_parse_target(struct http_req *r, struct str target)
{
	const char *mark = memchr(target.p, '?', target.len);

	if (!http_is_plain(target))
		return 400;
	r->path = (struct str){arena_strndup(&r->arena, target.p, target.len),
		mark ? (size_t)(mark - target.p) : target.len};
	if (r->path.p == NULL)
		return 500;
	if (mark != NULL)
		r->query_text = (struct str){r->path.p + r->path.len + 1,
			target.len - r->path.len - 1};
	return parse_query(r, r->query_text) < 0 ? 400 : 0;
}

static bool is_correlation(struct str s)
{
	if (s.len == 0 || s.len > HTTP_CORRELATION_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < 0x20 || s.p[i] > 0x7e)
			return false;
	return true;
}

int http_req_correlate(struct http_req *r)
{
	struct str given = http_req_header(r, "X-Correlation-ID");
	struct uuid u;

	if (!is_correlation(given)) {
		uuid_make_v4(&u);
		memcpy(r->correlation_id, "srv-", 4);
		uuid_print(&u, r->correlation_id + 4);
		return given.len == 0 ? 0 : -1;
	}
	memcpy(r->correlation_id, given.p, given.len);
	r->correlation_id[given.len] = '\0';
	r->correlation_given = true;
	return 0;
}
