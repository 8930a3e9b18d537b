/* api_audit.c - see api_audit.h. Runs in workers. */
#include "api/api_audit.h"

#include "api/api.h"
#include "api/api_auth.h"
#include "api/api_common.h"
#include "base/clock.h"
#include "base/num.h"
#include "conf/conf.h"
#include "ipc/trace_send.h"
#include "shm/shm_layout.h"
#include "svc/app.h"
#include "svc/svc_evidence.h"

#define V1        "/api/v1"
#define NOTES_MAX 12

/*
 * Keys of the details in their order, parted by blanks.  A value comes from
 * a note of the handler, else the path, the query, a member of the body, else
 * it is null.  Of these names the value is something else:
 *	body, schema	the whole body as it was sent
 *	query		the query's parameters, under the name `body`
 *	error		"<status>: <detail>"
 *	errorType	a word for the kind of failure
 *	traceback	null: there is none
 * `!` behind a key: with audit.details = full only, the keys of evidence.mask
 * hidden.
 */
struct audit_text {
	const char *message; /* NULL: no such row */
	const char *keys;
};

struct audit_spec {
	const char *method, *template;
	const char *module;
	struct audit_text begin;
	struct audit_text done;   /* SUCCESS */
	struct audit_text failed; /* ERROR */
	bool is_late; /* `begin` is written after the work, when it is done */
};

#define GAMES     V1 "/games"
#define GAME      GAMES "/{gameId}"
#define TASKS     GAME "/tasks"
#define TASK_ID   TASKS "/{taskId}"
#define TASK      TASKS "/{externalTaskId}"
#define BUILT_INS V1 "/strategies"
#define BUILT_IN  BUILT_INS "/{id}"
#define CUSTOMS   BUILT_INS "/custom"
#define CUSTOM    CUSTOMS "/{id}"
#define USER      V1 "/users/{externalUserId}"

/* clang-format off */
static const struct audit_spec specs[] = {
	{"GET", GAMES, "game",
		{"Game list retrieval",
			"platform ordering page page_size externalGameId"},
		{0}, {0}, false},
	{"GET", GAME, "game",
		{"Game retrieval by ID", "gameId"}, {0}, {0}, false},
	{"POST", GAMES, "game",
		{"Game creation",
			"externalGameId! platform! strategyId! params! "
			"apiKey_used! oauth_user_id!"},
		{"Game creation successful", "body! gameId"},
		{"Game creation failed", "error"}, false},
	{"PATCH", GAME, "game",
		{"Game update by ID", "gameId body!"},
		{"Game update successful", "gameId body!"},
		{"Game update failed", "error"}, false},
	{"DELETE", GAME, "game",
		{"Game deletion by ID", "gameId"},
		{"Game deletion successful", "gameId"},
		{"Game deletion failed", "error"}, false},
	{"POST", GAME "/duplicate", "game",
		{"Game duplication", "gameId body!"},
		{"Game duplication successful", "gameId newGameId body!"},
		{"Game duplication failed", "error"}, false},
	{"GET", GAME "/points", "game",
		{"Points retrieval by game ID", "gameId"}, {0}, {0}, false},
	{"GET", GAME "/points/details", "game",
		{"Points retrieval by game ID with details", "gameId"},
		{0}, {0}, false},
	{"GET", GAME "/users/{externalUserId}/points", "game",
		{"User points retrieval by game ID", "gameId externalUserId"},
		{0}, {0}, false},
	{"GET", GAME "/users/{externalUserId}/points/simulated", "game",
		{"Simulated user points retrieval by game ID",
			"gameId externalUserId response!"},
		{0}, {0}, true},
	{"GET", GAME "/strategy", "game",
		{"Strategy retrieval by game ID", "gameId"}, {0}, {0}, false},
	{"GET", GAME "/users", "game",
		{"Users retrieval by game ID", "gameId"}, {0}, {0}, false},
	{"GET", TASKS, "game",
		{"Task list retrieval", "gameId query"}, {0}, {0}, false},
	{"POST", TASKS, "game",
		{"Task creation", "gameId body!"},
		{"Task creation successful", "gameId body!"},
		{"Task creation failed", "error"}, false},
	/* its two other rows are written by the handler: there may be both */
	{"POST", TASKS "/bulk", "game",
		{"Bulk task creation", "gameId body!"}, {0}, {0}, false},
	{"GET", TASK, "game",
		{"Task retrieval by game ID and external task ID",
			"gameId externalTaskId"},
		{0}, {0}, false},
	{"PATCH", TASK_ID, "game",
		{"Task update by ID", "gameId taskId body!"},
		{"Task update successful", "gameId taskId body!"},
		{"Task update failed", "error"}, false},
	{"DELETE", TASK_ID, "task",
		{"Task deletion by ID", "gameId taskId"},
		{"Task deletion successful", "gameId taskId"},
		{"Task deletion failed", "error"}, false},
	{"POST", TASK_ID "/duplicate", "task",
		{"Task duplication", "gameId taskId body!"},
		{"Task duplication successful", "gameId taskId body!"},
		{"Task duplication failed", "error"}, false},
	{"POST", TASK "/action", "game",
		{"User action in task", "gameId externalTaskId body!"},
		{0},
		{"User action in task failed",
			"gameId externalTaskId externalUserId errorType error "
			"traceback!"}, false},
	{"POST", TASK "/points", "game",
		{"Points assignment to user",
			"gameId externalTaskId idempotencyKey body!"},
		{0},
		{"Points assignment to user failed",
			"gameId externalTaskId externalUserId idempotencyKey "
			"errorType error traceback!"}, false},
	{"GET", TASK "/points", "game",
		{"Points retrieval by task ID", "gameId externalTaskId"},
		{0}, {0}, false},
	{"GET", TASK "/points/details", "game",
		{"Detailed points retrieval by task ID",
			"gameId externalTaskId"},
		{0}, {0}, false},
	{"GET", TASK "/users/{externalUserId}/points", "game",
		{"User points retrieval by task ID",
			"gameId externalTaskId externalUserId"},
		{0}, {0}, false},

	{"GET", BUILT_INS, "strategies",
		{"Get all strategies", ""}, {0},
		{"Get all strategies failed", "error"}, false},
	{"GET", BUILT_IN, "strategies",
		{"Get strategy by ID", "id"}, {0},
		{"Get strategy by ID failed", "id error"}, false},
	{"GET", BUILT_IN "/schema", "strategies",
		{"Get strategy schema by ID", "id"}, {0},
		{"Get strategy schema by ID failed", "id error"}, false},
	{"GET", BUILT_IN "/graph", "strategies",
		{"Get strategy graph by ID", "id"}, {0},
		{"Get strategy graph by ID failed", "id error"}, false},
	{"POST", CUSTOMS, "strategies_custom",
		{"Create custom strategy", "name type"}, {0},
		{"Create custom strategy failed", "name error"}, false},
	{"POST", CUSTOMS "/import", "strategy_import",
		{"Import custom strategy", "name type"}, {0},
		{"Import custom strategy failed", "name error"}, false},
	{"POST", CUSTOMS "/simulate", "strategies_custom",
		{"Simulate inline strategy", "externalUserId"}, {0},
		{"Simulate inline strategy failed", "error"}, false},
	{"PUT", CUSTOM, "strategies_custom",
		{"Update custom strategy", "id"}, {0},
		{"Update custom strategy failed", "id error"}, false},
	{"POST", CUSTOM "/publish", "strategies_custom",
		{"Publish custom strategy", "id"}, {0},
		{"Publish custom strategy failed", "id error"}, false},
	{"POST", CUSTOM "/archive", "strategies_custom",
		{"Archive custom strategy", "id"}, {0},
		{"Archive custom strategy failed", "id error"}, false},
	{"POST", CUSTOM "/rollback/{version}", "strategies_custom",
		{"Rollback custom strategy", "id target_version"},
		{"Rollback custom strategy successful",
			"id target_version promoted_id games_reassigned "
			"tasks_reassigned"},
		{"Rollback custom strategy failed", "id target_version error"},
		false},
	{"POST", CUSTOM "/simulate", "strategies_custom",
		{"Simulate custom strategy", "id externalUserId"}, {0},
		{"Simulate custom strategy failed", "id error"}, false},

	{"POST", V1 "/users/points/query", "users",
		{"Query user points", "externalUserIds"}, {0},
		{"Query user points failed", "error"}, false},
	{"GET", USER "/points", "users",
		{"Get user points", "externalUserId"}, {0},
		{"Get user points failed", "error"}, false},
	{"GET", USER "/wallet", "users",
		{"Get user wallet", "externalUserId"}, {0},
		{"Get user wallet failed", "error"}, false},
	{"POST", V1 "/users/external/{externalUserId}/points", "users",
		{"Assign points by externalUserId", "externalUserId schema!"},
		{0},
		{"Assign points by externalUserId failed", "error"}, false},
	{"GET", USER "/convert/preview", "users",
		{"Preview points to coins conversion",
			"externalUserId points"},
		{0},
		{"Preview points to coins conversion failed", "error"}, false},
	{"POST", USER "/convert", "users",
		{"Convert points to coins", "externalUserId schema!"}, {0},
		{"Convert points to coins failed", "error"}, false},
	{"POST", USER "/actions", "users",
		{"Add action to user", "externalUserId schema!"}, {0},
		{"Add action to user failed", "error"}, false},

	{"POST", V1 "/apikey/create", "api_key",
		{"Creating API key", "client description"},
		{"API key created successfully", "client description apiKey"},
		{"Error creating API key", "client description error"}, false},
	{"GET", V1 "/apikey", "api_key",
		{"Getting all API keys", ""}, {0},
		{"Error getting all API keys", "error"}, true},
	{"DELETE", V1 "/apikey/{prefix}", "api_key",
		{0},
		{"API key revoked successfully", "prefix"},
		{"Error revoking API key", "prefix error"}, false},
	{"GET", V1 "/dashboard/summary", "dashboard",
		{"Get dashboard summary",
			"length_new_users length_games_opened "
			"length_points_earned length_actions_performed"},
		{0}, {0}, true},
	{"GET", V1 "/dashboard/summary/logs", "dashboard",
		{"Get dashboard summary logs",
			"length_info length_success length_error"},
		{0}, {0}, true},
#define EXPORT(set)                                                       \
	{"GET", V1 "/exports/" set, "exports",                            \
		{"Export started", "auditId datasetType format filters"}, \
		{"Export completed", "auditId rowCount"},                 \
		{"Export failed", "auditId error"}, false}
	EXPORT("users"),
	EXPORT("user-points"),
	EXPORT("user-interactions"),
	EXPORT("wallet-transactions"),
#undef EXPORT
};
/* clang-format on */

struct audit_note {
	const char *key;
	struct str json;
};

/* Of one request, in its arena. */
struct audit_call {
	const struct audit_spec *spec;
	bool is_begun, is_skipped;
	int status; /* of the answer; 0: not yet */
	unsigned notes_cnt;
	struct audit_note notes[NOTES_MAX];
};

/* Row of the table by index of the route, and whether it was looked up. */
static struct {
	const struct audit_spec *spec;
	bool is_known;
} by_route[SHM_ROUTES_MAX];

static const struct audit_spec *find_spec(const struct http_route *route)
{
	size_t at = (size_t)(route - api_routes);

	if (at >= NELEM(by_route))
		return NULL;
	if (by_route[at].is_known)
		return by_route[at].spec;
	by_route[at].is_known = true;
	for (size_t i = 0; i < NELEM(specs); i++)
		if (strcmp(specs[i].method, route->method) == 0 &&
			strcmp(specs[i].template, route->template) == 0)
			by_route[at].spec = &specs[i];
	return by_route[at].spec;
}

static const struct conf *conf_of(const struct http_req *req)
{
	const struct app *app = req->app;

	return app->conf;
}

/* ---- details ---------------------------------------------------------------- */

/* "404: game does not exist"; of an object, its text. */
static void put_error(
	struct json_out *o, struct http_req *req, const struct audit_call *c)
{
	struct str d = req->error_json;
	struct str whole;

	if (d.len >= 2 && d.p[0] == '"')
		whole = arena_printf(&req->arena, "\"%d: %.*s", c->status,
			(int)d.len - 1, d.p + 1);
	else if (d.p == NULL)
		whole = arena_printf(&req->arena, "\"%d\"", c->status);
	else {
		whole = arena_printf(
			&req->arena, "%d: %.*s", c->status, STR_ARG(d));
		json_out_str(o, whole);
		return;
	}
	if (whole.p == NULL)
		json_out_null(o);
	else
		json_out_raw(o, whole);
}

static const char *error_type(int status)
{
	switch (status) {
	case 400:
		return "BadRequestError";
	case 403:
		return "ForbiddenError";
	case 404:
		return "NotFoundError";
	case 409:
		return "ConflictError";
	case 422:
		return "ValidationError";
	case 503:
		return "UnavailableError";
	case 504:
		return "TimeoutError";
	default:
		return "InternalError";
	}
}

static void put_query(struct json_out *o, const struct http_req *req)
{
	json_out_obj(o);
	for (unsigned i = 0; i < req->query_cnt; i++) {
		json_out_key_str(o, req->query[i].name);
		json_out_str(o, req->query[i].value);
	}
	json_out_obj_end(o);
}

static const struct str *find_note(const struct audit_call *c, const char *key)
{
	for (unsigned i = 0; i < c->notes_cnt; i++)
		if (strcmp(c->notes[i].key, key) == 0)
			return &c->notes[i].json;
	return NULL;
}

static void put_value(struct json_out *o, struct http_req *req,
	const struct audit_call *c, const char *key)
{
	const struct str *note = find_note(c, key);
	const struct jv *member;
	struct str s;

	if (note != NULL) {
		json_out_raw(o, *note);
		return;
	}
	s = http_req_capture(req, key);
	if (s.p == NULL)
		s = http_req_query(req, key);
	if (s.p != NULL) {
		json_out_str(o, s);
		return;
	}
	member = req->has_json ? jv_member(&req->json, key) : NULL;
	if (member != NULL)
		json_out_val(o, member);
	else
		json_out_null(o);
}

static void put_masked(
	struct json_out *o, const struct http_req *req, const struct jv *v)
{
	const struct app *app = req->app;

	json_out_raw(o, svc_evidence_text(app->evidence, v));
}

static void put_key(struct json_out *o, struct http_req *req,
	const struct audit_call *c, const char *key)
{
	if (strcmp(key, "query") == 0) {
		json_out_key(o, "body");
		put_query(o, req);
		return;
	}
	json_out_key(o, key);
	if (strcmp(key, "error") == 0 && find_note(c, key) == NULL)
		put_error(o, req, c);
	else if (strcmp(key, "errorType") == 0)
		json_out_cstr(o, error_type(c->status));
	else if (strcmp(key, "traceback") == 0)
		json_out_null(o);
	else if ((strcmp(key, "body") == 0 || strcmp(key, "schema") == 0) &&
		 req->has_json)
		put_masked(o, req, &req->json);
	else
		put_value(o, req, c, key);
}

/* What a caller sent keeps to evidence.mask. */
static void put_caller_text(struct json_out *o, struct http_req *req,
	const struct audit_call *c, const char *key)
{
	const struct app *app = req->app;
	const struct jv *member =
		req->has_json ? jv_member(&req->json, key) : NULL;

	if (member == NULL || find_note(c, key) != NULL) {
		put_key(o, req, c, key);
		return;
	}
	json_out_key(o, key);
	if (svc_evidence_is_masked(app->evidence, str_from(key)))
		json_out_cstr(o, "***");
	else
		put_masked(o, req, member);
}

static void put_details(struct buf *b, struct http_req *req,
	const struct audit_call *c, const char *keys, bool is_full)
{
	struct json_out o;
	char key[40];

	json_out_init(&o, b);
	json_out_obj(&o);
	while (*keys != '\0') {
		size_t n = strcspn(keys, " ");
		bool is_caller_text = n > 0 && keys[n - 1] == '!';
		size_t len = n - (is_caller_text ? 1 : 0);

		if (len >= sizeof(key))
			len = sizeof(key) - 1;
		memcpy(key, keys, len);
		key[len] = '\0';
		if (!is_caller_text)
			put_key(&o, req, c, key);
		else if (is_full)
			put_caller_text(&o, req, c, key);
		keys += n + (keys[n] == ' ');
	}
	json_out_obj_end(&o);
}

/* ---- rows ------------------------------------------------------------------- */

void api_audit_say(struct http_req *req, const char *level, const char *module,
	const char *message, const char *keys)
{
	static const struct audit_call nothing = {.spec = NULL};
	const struct audit_call *c = req->audit ? req->audit : &nothing;
	const struct auth_principal *who = api_principal(req);
	const struct conf *conf = conf_of(req);
	struct app *app = req->app;
	struct audit_rec rec = {.at_us = clock_wall_us(),
		.level = str_from(level),
		.module = str_from(module),
		.message = str_from(message),
		.correlation_id = str_from(req->correlation_id)};
	bool is_full = strcmp(conf->audit_details, "full") == 0;
	struct buf b;

	if (!conf->audit_enabled)
		return;
	buf_init(&b, 0);
	put_details(&b, req, c, keys, is_full);
	if (is_full && b.len > AUDIT_DETAILS_MAX) {
		/* what cannot be cut is left out */
		buf_reset(&b);
		put_details(&b, req, c, keys, false);
	}
	uuid_make_v7(&rec.id);
	rec.details_json = buf_str(&b);
	if (who != NULL) {
		rec.api_key = api_principal_key(who);
		rec.subject = api_principal_subject(who);
	}
	trace_send_audit(app->trace, &rec);
	buf_fini(&b);
}

static void say(struct http_req *req, const char *level,
	const struct audit_call *c, const struct audit_text *text)
{
	if (text->message != NULL)
		api_audit_say(
			req, level, c->spec->module, text->message, text->keys);
}

void api_audit_start(struct http_req *req)
{
	const struct audit_spec *spec = find_spec(req->route);
	struct audit_call *c;

	if (spec == NULL || !conf_of(req)->audit_enabled)
		return;
	c = arena_calloc(&req->arena, 1, sizeof(*c));
	if (c == NULL)
		return;
	c->spec = spec;
	req->audit = c;
}

void api_audit_begin(struct http_req *req)
{
	struct audit_call *c = req->audit;

	if (c == NULL || c->is_begun || c->is_skipped || c->spec->is_late)
		return;
	c->is_begun = true;
	say(req, "INFO", c, &c->spec->begin);
}

void api_audit_skip(struct http_req *req)
{
	struct audit_call *c = req->audit;

	if (c != NULL)
		c->is_skipped = true;
}

void api_audit_end(struct http_req *req, int status)
{
	struct audit_call *c = req->audit;
	bool is_failed = status >= 400;

	if (c == NULL || c->is_skipped || (status == 429 && !c->is_begun))
		return;
	api_audit_begin(req);
	c->status = status;
	if (c->spec->is_late && !is_failed)
		say(req, "INFO", c, &c->spec->begin);
	if (is_failed)
		say(req, "ERROR", c, &c->spec->failed);
	else
		say(req, "SUCCESS", c, &c->spec->done);
}

/* ---- notes ------------------------------------------------------------------ */

/* Takes the bytes of b. */
static void note(struct http_req *req, const char *key, struct buf *b)
{
	struct audit_call *c = req->audit;
	struct str *old = (struct str *)find_note(c, key);
	struct str json = {arena_strndup(&req->arena, b->p, b->len), b->len};

	buf_fini(b);
	if (json.p == NULL)
		return;
	if (old != NULL)
		*old = json;
	else if (c->notes_cnt < NOTES_MAX)
		c->notes[c->notes_cnt++] = (struct audit_note){key, json};
}

void api_audit_note(struct http_req *req, const char *key, struct str val)
{
	struct json_out o;
	struct buf b;

	if (req->audit == NULL)
		return;
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_str(&o, val);
	note(req, key, &b);
}

void api_audit_note_int(struct http_req *req, const char *key, int64_t val)
{
	struct json_out o;
	struct buf b;

	if (req->audit == NULL)
		return;
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_int(&o, val);
	note(req, key, &b);
}

void api_audit_note_uuid(
	struct http_req *req, const char *key, const struct uuid *val)
{
	char text[UUID_TEXT_LEN + 1];

	uuid_print(val, text);
	api_audit_note(req, key, str_from(text));
}

void api_audit_note_json(struct http_req *req, const char *key, struct str val)
{
	struct buf b;

	if (req->audit == NULL)
		return;
	buf_init(&b, 0);
	buf_add_str(&b, val);
	note(req, key, &b);
}
