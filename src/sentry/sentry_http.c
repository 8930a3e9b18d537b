/* sentry_http.c - see sentry_http.h.  Logger process. */
#include "sentry/sentry_http.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/log.h"

#define TIMEOUT_MS 30000L
#define AGENT      "game-c/" GAMED_VERSION
#define HEADER_MAX 1024

struct sentry_http {
	struct event_base *base;
	CURLM *multi;
	CURL *easy;
	struct curl_slist *headers;
	struct event *ev_timer;
	struct buf body; /* on its way */
	bool is_busy;
	char rate_limits[HEADER_MAX], retry_after[128], reason[256];
	bool has_rate_limits, has_retry_after;
	char error[CURL_ERROR_SIZE];
	void (*on_answer)(void *arg, const struct sentry_answer *a);
	void *arg;
};

static void finish(struct sentry_http *h, CURLcode code)
{
	struct sentry_answer a = {.error = h->error};
	long status = 0;

	curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_multi_remove_handle(h->multi, h->easy);
	h->is_busy = false;
	if (code == CURLE_OK)
		a.status = (unsigned)status;
	else if (*h->error == '\0')
		a.error = curl_easy_strerror(code);
	if (h->has_rate_limits)
		a.rate_limits = str_from(h->rate_limits);
	if (h->has_retry_after)
		a.retry_after = str_from(h->retry_after);
	a.reason = str_from(h->reason);
	h->on_answer(h->arg, &a); /* may post the next one */
}

static void look_for_end(struct sentry_http *h)
{
	const CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(h->multi, &left)) != NULL)
		if (m->msg == CURLMSG_DONE)
			finish(h, m->data.result);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct sentry_http *h = arg;
	int running, flags = (what & EV_READ ? CURL_CSELECT_IN : 0) |
			     (what & EV_WRITE ? CURL_CSELECT_OUT : 0);

	curl_multi_socket_action(h->multi, fd, flags, &running);
	look_for_end(h);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct sentry_http *h = arg;
	int running;

	(void)fd;
	(void)what;
	curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	look_for_end(h);
}

/* libcurl wants another timer. */
static int set_timer(CURLM *multi, long ms, void *arg)
{
	struct sentry_http *h = arg;
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};

	(void)multi;
	if (ms < 0)
		evtimer_del(h->ev_timer);
	else
		evtimer_add(h->ev_timer, &tv);
	return 0;
}

/* libcurl wants to know of a socket; its event hangs on the socket. */
static int set_socket(
	CURL *easy, curl_socket_t fd, int what, void *arg, void *sock)
{
	struct sentry_http *h = arg;
	struct event *ev = sock;
	short events = EV_PERSIST;

	(void)easy;
	if (ev != NULL)
		event_free(ev);
	ev = NULL;
	if (what != CURL_POLL_REMOVE) {
		if (what & CURL_POLL_IN)
			events |= EV_READ;
		if (what & CURL_POLL_OUT)
			events |= EV_WRITE;
		ev = event_new(h->base, fd, events, on_socket, h);
		if (ev == NULL || event_add(ev, NULL) < 0)
			fatal("cannot watch the socket to Sentry");
	}
	curl_multi_assign(h->multi, fd, ev);
	return 0;
}

static bool take(struct str line, const char *name, char *to, size_t size)
{
	size_t len = strlen(name);

	if (line.len <= len || line.p[len] != ':' ||
		strncasecmp(line.p, name, len) != 0)
		return false;
	line = str_trim((struct str){line.p + len + 1, line.len - len - 1});
	snprintf(to, size, "%.*s", STR_ARG(line));
	return true;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct sentry_http *h = arg;
	struct str line = {p, size * n};

	h->has_rate_limits |= take(line, "X-Sentry-Rate-Limits", h->rate_limits,
		sizeof(h->rate_limits));
	h->has_retry_after |= take(
		line, "Retry-After", h->retry_after, sizeof(h->retry_after));
	(void)take(line, "X-Sentry-Error", h->reason, sizeof(h->reason));
	return line.len;
}

/* The body of the answer says nothing that we need. */
static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	(void)p;
	(void)arg;
	return size * n;
}

static void add_header(struct sentry_http *h, const char *line)
{
	struct curl_slist *list = curl_slist_append(h->headers, line);

	if (list == NULL)
		fatal("out of memory for Sentry");
	h->headers = list;
}

static void set_headers(struct sentry_http *h, const struct conf_dsn *dsn)
{
	char auth[2 * CONF_STR_MAX + 128];

	snprintf(auth, sizeof(auth),
		"X-Sentry-Auth: Sentry sentry_version=7, sentry_key=%s, "
		"sentry_client=%s%s%s",
		dsn->key, AGENT, *dsn->secret ? ", sentry_secret=" : "",
		dsn->secret);
	add_header(h, "Content-Type: application/x-sentry-envelope");
	add_header(h, auth);
	add_header(h, "Expect:"); /* no 100-continue */
	curl_easy_setopt(h->easy, CURLOPT_HTTPHEADER, h->headers);
}

static void set_options(struct sentry_http *h, const struct conf_dsn *dsn)
{
	curl_easy_setopt(h->easy, CURLOPT_URL, dsn->url);
	curl_easy_setopt(h->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h->easy, CURLOPT_USERAGENT, AGENT);
	curl_easy_setopt(h->easy, CURLOPT_POST, 1L);
	curl_easy_setopt(h->easy, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	curl_easy_setopt(h->easy, CURLOPT_NOSIGNAL, 1L);
	/* a resolver that hangs must not hold up the end of the process */
	curl_easy_setopt(h->easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(h->easy, CURLOPT_ERRORBUFFER, h->error);
	curl_easy_setopt(h->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(h->easy, CURLOPT_HEADERDATA, h);
	curl_easy_setopt(h->easy, CURLOPT_WRITEFUNCTION, on_body);
	set_headers(h, dsn);
}

struct sentry_http *sentry_http_new(struct event_base *base,
	const struct conf_dsn *dsn,
	void (*on_answer)(void *arg, const struct sentry_answer *a), void *arg)
{
	struct sentry_http *h = calloc(1, sizeof(*h));

	if (h == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
		fatal("cannot start libcurl");
	if (dsn->is_https && !(curl_version_info(CURLVERSION_NOW)->features &
				     CURL_VERSION_SSL))
		fatal_stay("sentry.dsn is https and libcurl has no TLS");
	h->base = base;
	h->on_answer = on_answer;
	h->arg = arg;
	buf_init(&h->body, 0);
	h->multi = curl_multi_init();
	h->easy = curl_easy_init();
	h->ev_timer = evtimer_new(base, on_timer, h);
	if (h->multi == NULL || h->easy == NULL || h->ev_timer == NULL)
		fatal("cannot start libcurl");
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	set_options(h, dsn);
	return h;
}

void sentry_http_post(struct sentry_http *h, struct buf *body)
{
	buf_reset(&h->body);
	buf_add_str(&h->body, buf_str(body));
	buf_reset(body);
	h->has_rate_limits = h->has_retry_after = false;
	h->reason[0] = h->error[0] = '\0';
	h->is_busy = true;
	curl_easy_setopt(h->easy, CURLOPT_POSTFIELDS, h->body.p);
	curl_easy_setopt(
		h->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)h->body.len);
	if (curl_multi_add_handle(h->multi, h->easy) != CURLM_OK)
		fatal("cannot send to Sentry");
}

bool sentry_http_is_busy(const struct sentry_http *h)
{
	return h->is_busy;
}

void sentry_http_free(struct sentry_http **hp)
{
	struct sentry_http *h = *hp;

	if (h == NULL)
		return;
	*hp = NULL;
	if (h->is_busy)
		curl_multi_remove_handle(h->multi, h->easy);
	curl_easy_cleanup(h->easy);
	curl_multi_cleanup(h->multi); /* closes what it keeps open */
	curl_slist_free_all(h->headers);
	event_free(h->ev_timer);
	buf_fini(&h->body);
	free(h);
	curl_global_cleanup();
}
