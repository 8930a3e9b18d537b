/* stats_serve.c - see stats_serve.h.  Runs in stats and in workers. */
#include "stats/stats_serve.h"

#include <assert.h>
#include <strings.h>

#include "base/cidr.h"
#include "base/sha256.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "shm/shm.h"
#include "stats/stats_prom.h"

#define SCHEME "Bearer "

static struct {
	struct cidr_list allow; /* empty: everybody */
	bool has_token;
	uint8_t token[32]; /* its digest */
} self;

void stats_serve_init(const struct conf *conf)
{
	int rc = cidr_list_parse(str_from(conf->metrics_allow), &self.allow);

	assert(rc == 0); /* conf has looked at it */
	(void)rc;
	self.has_token = *conf->metrics_token != '\0';
	sha256(str_from(conf->metrics_token), self.token);
}

/* Digests are compared: time tells nothing of the token, nor of its length. */
static bool is_token(struct str header)
{
	const size_t scheme_len = sizeof(SCHEME) - 1;
	uint8_t digest[32];

	if (header.p == NULL || header.len < scheme_len ||
		strncasecmp(header.p, SCHEME, scheme_len) != 0)
		return false;
	sha256(str_trim((struct str){
		       header.p + scheme_len, header.len - scheme_len}),
		digest);
	return sha256_eq(digest, self.token);
}

void stats_serve(struct http_req *req)
{
	const char *type;
	struct buf b;

	if (self.allow.cnt && !cidr_list_has(&self.allow, req->peer)) {
		http_reply_error(req, 403, "Forbidden");
		return;
	}
	if (self.has_token &&
		!is_token(http_req_header(req, "Authorization"))) {
		http_reply_header(
			req, "WWW-Authenticate", "Bearer realm=\"metrics\"");
		http_reply_error(req, 401, "Unauthorized");
		return;
	}
	metric_inc(M_SCRAPES);
	buf_init(&b, 0);
	type = stats_render_for(&b, http_req_header(req, "Accept"));
	http_reply_text(req, 200, type, buf_str(&b));
	buf_fini(&b);
}
