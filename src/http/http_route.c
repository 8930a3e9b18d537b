/*
 * http_route.c - see http_route.h.  Templates are kept as a tree of segments;
 * a literal child is tried before the capture, with a step back when the
 * literal leads nowhere, or to no route of the method: a task may be named
 * like a literal that takes POST only.
 */
#include "http/http_route.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"

#define METHODS_MAX 8

struct node {
	struct str literal;                           /* p NULL: a capture */
	struct node *child;                           /* first child */
	struct node *next;                            /* sibling */
	const struct http_route *routes[METHODS_MAX]; /* that end here */
	unsigned routes_cnt;
};

struct http_router {
	struct node root;
};

struct match {
	struct arena *a;
	const char *method; /* NULL: any */
	struct str captures[HTTP_CAPTURES_MAX];
	unsigned captures_cnt;
};

static void *xcalloc(size_t size)
{
	void *p = calloc(1, size);

	if (p == NULL)
		fatal("out of memory in the route table");
	return p;
}

/* Takes the next segment off *rest; false at the end. */
static bool next_segment(struct str *rest, struct str *seg_r)
{
	const char *slash;

	if (rest->len == 0)
		return false;
	assert(rest->p[0] == '/');
	rest->p++;
	rest->len--;
	slash = rest->len ? memchr(rest->p, '/', rest->len) : NULL;
	seg_r->p = rest->p;
	seg_r->len = slash ? (size_t)(slash - rest->p) : rest->len;
	rest->p += seg_r->len;
	rest->len -= seg_r->len;
	return true;
}

static struct node *child_of(struct node *n, struct str seg)
{
	bool capture = seg.len > 2 && seg.p[0] == '{';
	struct node **at;

	for (at = &n->child; *at != NULL; at = &(*at)->next)
		if (capture ? (*at)->literal.p == NULL
			    : (*at)->literal.p && str_eq((*at)->literal, seg))
			return *at;
	*at = xcalloc(sizeof(**at));
	if (!capture)
		(*at)->literal = seg;
	return *at;
}

struct http_router *http_router_new(const struct http_route *routes, size_t n)
{
	struct http_router *r = xcalloc(sizeof(*r));

	for (size_t i = 0; i < n; i++) {
		struct str rest = str_from(routes[i].template), seg;
		struct node *at = &r->root;

		assert(rest.len > 0 && rest.p[0] == '/');
		while (next_segment(&rest, &seg))
			at = child_of(at, seg);
		for (unsigned k = 0; k < at->routes_cnt; k++)
			assert(strcmp(at->routes[k]->method,
				       routes[i].method) != 0);
		assert(at->routes_cnt < METHODS_MAX);
		at->routes[at->routes_cnt++] = &routes[i];
	}
	return r;
}

static void node_free(struct node *n)
{
	while (n != NULL) {
		struct node *next = n->next;

		node_free(n->child);
		free(n);
		n = next;
	}
}

void http_router_free(struct http_router **r)
{
	if (*r == NULL)
		return;
	node_free((*r)->root.child);
	free(*r);
	*r = NULL;
}

static int hex_val(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One segment decoded once; -1 for what H12 refuses. */
static int decode_segment(struct arena *a, struct str in, struct str *out_r)
{
	char *to = arena_strndup(a, in.p, in.len);
	size_t n = 0;

	if (to == NULL || in.len == 0)
		return -1;
	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = (unsigned char)in.p[i];

		if (c == '%') {
			int hi = i + 2 < in.len ? hex_val(in.p[i + 1]) : -1;
			int lo = i + 2 < in.len ? hex_val(in.p[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return -1;
			c = (unsigned char)(hi << 4 | lo);
			i += 2;
			if (c == '/')
				return -1;
		}
		if (c < 0x20 || c == 0x7f)
			return -1;
		to[n++] = (char)c;
	}
	to[n] = '\0';
	*out_r = (struct str){to, n};
	if (str_is(*out_r, ".") || str_is(*out_r, "..") || !str_is_utf8(*out_r))
		return -1;
	return 0;
}

static const struct http_route *route_of(
	const struct node *n, const char *method)
{
	for (unsigned i = 0; i < n->routes_cnt; i++)
		if (method == NULL || strcmp(n->routes[i]->method, method) == 0)
			return n->routes[i];
	return NULL;
}

static struct node *walk(struct node *n, struct str rest, struct match *m)
{
	struct node *capture = NULL, *found;
	struct str raw, seg;

	if (!next_segment(&rest, &raw))
		return route_of(n, m->method) != NULL ? n : NULL;
	if (decode_segment(m->a, raw, &seg) < 0)
		return NULL;
	for (struct node *c = n->child; c != NULL; c = c->next) {
		if (c->literal.p == NULL)
			capture = c;
		else if (str_eq(c->literal, seg) &&
			 (found = walk(c, rest, m)) != NULL)
			return found;
	}
	if (capture == NULL || m->captures_cnt >= HTTP_CAPTURES_MAX)
		return NULL;
	m->captures[m->captures_cnt++] = seg;
	found = walk(capture, rest, m);
	if (found == NULL)
		m->captures_cnt--;
	return found;
}

static struct str allow_list(struct arena *a, const struct node *n)
{
	struct str s = STR("");

	for (unsigned i = 0; i < n->routes_cnt; i++)
		s = arena_printf(a, "%.*s%s%s", STR_ARG(s), i ? ", " : "",
			n->routes[i]->method);
	return s;
}

enum http_match http_router_match(const struct http_router *r, struct arena *a,
	const char *method, struct str path, const struct http_route **route_r,
	struct str captures_r[HTTP_CAPTURES_MAX], struct str *allow_r)
{
	/* the tree is not changed by a walk */
	struct node *root = (struct node *)(uintptr_t)&r->root, *n;
	struct match m = {.a = a, .method = method};

	if (path.len == 0 || path.p[0] != '/')
		return HTTP_MATCH_NOT_FOUND;
	n = walk(root, path, &m);
	if (n != NULL) {
		*route_r = route_of(n, method);
		memcpy(captures_r, m.captures, sizeof(m.captures));
		return HTTP_MATCH_OK;
	}
	m = (struct match){.a = a};
	n = walk(root, path, &m);
	if (n != NULL) {
		*allow_r = allow_list(a, n);
		return HTTP_MATCH_METHOD;
	}
	if (path.len == 1 || path.p[path.len - 1] != '/')
		return HTTP_MATCH_NOT_FOUND;
	path.len--;
	return walk(root, path, &m) != NULL ? HTTP_MATCH_SLASH
					    : HTTP_MATCH_NOT_FOUND;
}
