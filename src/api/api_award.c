/*
 * api_award.c - POST /api/v1/games/{gameId}/tasks/{externalTaskId}/points
 * (api.md 11; DESIGN 3, 7): body -> svc_award -> answer.  Runs in workers.
 */
#include "api/api.h"
#include "api/api_audit.h"
#include "api/api_auth.h"
#include "api/api_common.h"
#include "api/api_valid.h"
#include "db/db_sqlstate.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "json/json_out.h"
#include "svc/svc_award.h"

struct award_call {
	struct http_req *req;
	struct svc_award award;
};

static void reply_award(struct http_req *req, const struct svc_award *a)
{
	struct json_out o;
	struct buf b;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_kv_int(&o, "points", a->points);
	json_out_kv_str(&o, "caseName", a->case_name);
	json_out_kv_bool(&o, "isACreatedUser", a->made_user);
	json_out_key(&o, "gameId");
	json_out_uuid(&o, &a->game_id);
	json_out_kv_str(&o, "externalTaskId", a->task);
	json_out_key(&o, "created_at");
	json_out_time(&o, a->created_us, CLOCK_TS_SP);
	json_out_obj_end(&o);
	http_reply_json(req, 200, &b);
	buf_fini(&b);
}

/* What the database said of this award alone (api.md 11, failures). */
static void reply_sql_error(struct http_req *req, const struct svc_award *a)
{
	struct str state = str_from(a->sqlstate);

	if (db_sqlstate_class(a->sqlstate) == DB_SQL_FOREIGN_KEY)
		http_reply_error(req, 404, "task %.*s does not exist any more",
			STR_ARG(a->task));
	else if (str_starts_with(state, "22"))
		http_reply_error(req, 422,
			"the award holds a value that cannot be stored");
	else if (str_starts_with(state, "23"))
		http_reply_error(
			req, 409, "the award collides with a stored one");
	else
		http_reply_error(req, 500,
			"the award could not be stored correlationId=%s",
			req->correlation_id);
}

static void fill_access_line(struct http_req *req, const struct svc_award *a)
{
	req->read_span = a->read_span;
	req->eval_span = a->eval_span;
	req->write_span = a->write_span;
	req->log_strategy = api_keep(req, a->strategy).p;
	req->log_case = api_keep(req, a->case_name).p;
	if (a->strategy_def != NULL)
		req->log_version = a->strategy_def->version;
	req->has_log_points = a->result == SVC_AWARD_STORED ||
			      a->result == SVC_AWARD_REPLAYED ||
			      a->result == SVC_AWARD_SIMULATED;
	req->log_points = a->points;
	req->has_user_id = a->has_user_id;
	req->user_id = a->user_id;
}

static void reply_result(struct http_req *req, const struct svc_award *a)
{
	switch (a->result) {
	case SVC_AWARD_STORED:
	case SVC_AWARD_REPLAYED:
	case SVC_AWARD_SIMULATED:
		reply_award(req, a);
		break;
	case SVC_AWARD_KEY_TOO_LONG:
		http_reply_error(req, 422,
			"the idempotency key is longer than %d bytes",
			SVC_KEY_BYTES_MAX);
		break;
	case SVC_AWARD_NO_GAME:
		http_reply_error(req, 404, "game does not exist");
		break;
	case SVC_AWARD_NOT_OWNER:
		http_reply_error(req, 403, "the game belongs to somebody else");
		break;
	case SVC_AWARD_NO_TASK:
		http_reply_error(req, 404,
			"task %.*s does not exist in this game",
			STR_ARG(a->task));
		break;
	case SVC_AWARD_NO_STRATEGY:
		http_reply_error(req, 404, "strategy %.*s does not exist",
			STR_ARG(a->strategy));
		break;
	case SVC_AWARD_BAD_USER:
		http_reply_error(req, 422,
			"externalUserId of a new user must be 3 to 60 of "
			"A-Z a-z 0-9 _ -");
		break;
	case SVC_AWARD_RUN_ERROR:
		api_reply_dsl_error(req, 400, &a->err, true);
		break;
	case SVC_AWARD_RUN_LIMIT:
	case SVC_AWARD_UNSTORABLE:
		api_reply_dsl_error(req, 422, &a->err, true);
		break;
	case SVC_AWARD_REFUSED:
		http_reply_error(req, 422, "%.*s", STR_ARG(a->case_name));
		break;
	case SVC_AWARD_UNEXPECTED:
		http_reply_error(req, 500,
			"the event could not be scored correlationId=%s",
			req->correlation_id);
		break;
	case SVC_AWARD_DB_REFUSED:
		reply_sql_error(req, a);
		break;
	case SVC_AWARD_UNAVAILABLE:
		http_reply_unavailable(
			req, 1, "the database is not available, try again");
		break;
	}
}

static void award_done(struct svc_award *a)
{
	struct award_call *c = a->arg;
	char id[UUID_TEXT_LEN + 1];

	fill_access_line(c->req, a);
	if (a->is_kept) {
		uuid_print(&a->trace_id, id);
		http_reply_header(c->req, "X-Trace-Id", id);
	}
	reply_result(c->req, a);
}

/* Idempotency-Key, else X-Idempotency-Key; blank is none. */
static struct str idempotency_header(struct http_req *req)
{
	struct str s = http_req_header(req, "Idempotency-Key");

	if (s.p == NULL)
		s = http_req_header(req, "X-Idempotency-Key");
	return s.len ? api_keep(req, s) : (struct str){NULL, 0};
}

void api_award_post(struct http_req *req)
{
	const struct auth_principal *who = api_principal(req);
	struct award_call *c = api_alloc(req, sizeof(*c));
	struct svc_award *a = &c->award;
	struct api_valid v;

	c->req = req;
	a->app = req->app;
	a->arena = &req->arena;
	a->caller.key_prefix = api_principal_key(who);
	a->caller.subject = api_principal_subject(who);
	a->caller.is_admin = who->is_admin;
	a->correlation_id = str_from(req->correlation_id);
	a->method = req->method;
	a->handler = req->route->template;
	a->correlation_given = req->correlation_given;
	a->header_key = idempotency_header(req);
	a->task = http_req_capture(req, "externalTaskId");
	a->done = award_done;
	a->arg = c;
	api_valid_init(&v, req);
	api_valid_uuid(&v, "gameId", &a->game_id);
	a->user = api_valid_index_str(&v, "externalUserId", API_REQUIRED);
	a->data = api_valid_object(&v, "data", API_NULLABLE);
	a->is_simulated = api_valid_bool(&v, "isSimulated", false);
	if (a->is_simulated)
		api_audit_skip(req); /* costs no write (DESIGN 3) */
	else
		api_audit_note(req, "idempotencyKey", svc_award_key(a));
	if (!api_valid_done(&v))
		return;
	if (!str_is_utf8(a->header_key))
		http_reply_error(req, 422, "Idempotency-Key must be UTF-8");
	else if (a->task.len > SVC_KEY_BYTES_MAX)
		http_reply_error(req, 422,
			"externalTaskId is longer than %d bytes",
			SVC_KEY_BYTES_MAX);
	else
		svc_award_start(a);
}
