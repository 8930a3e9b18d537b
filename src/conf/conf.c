/*
 * conf.c - the table of settings: defaults, ranges, printing, comparing.
 * Runs in the master and in gamectl.
 */
#include "conf/conf.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/cidr.h"
#include "base/log.h"
#include "base/num.h"
#include "conf/conf_dsn.h"
#include "conf/conf_table.h"

#define ROW(f, s, k, e, ty, se, re, lo, hi, nd, sd, h) \
	{.section = (s),                               \
		.key = (k),                            \
		.env = (e),                            \
		.help = (h),                           \
		.type = (ty),                          \
		.secret = (se),                        \
		.reload = (re),                        \
		.offset = offsetof(struct conf, f),    \
		.min = (double)(lo),                   \
		.max = (double)(hi),                   \
		.num_def = (double)(nd),               \
		.str_def = (sd)},

static const struct conf_key table[] = {
#define CONF_INT(f, s, k, e, d, lo, hi, re, h) \
	ROW(f, s, k, e, CONF_T_INT, false, re, lo, hi, d, "", h)
#define CONF_NUM(f, s, k, e, d, lo, hi, re, h) \
	ROW(f, s, k, e, CONF_T_NUM, false, re, lo, hi, d, "", h)
#define CONF_BOOL(f, s, k, e, d, re, h) \
	ROW(f, s, k, e, CONF_T_BOOL, false, re, 0, 1, d, "", h)
#define CONF_STR(f, s, k, e, d, re, h) \
	ROW(f, s, k, e, CONF_T_STR, false, re, 0, 0, 0, d, h)
#define CONF_LIST(f, s, k, e, d, re, h) \
	ROW(f, s, k, e, CONF_T_LIST, false, re, 0, 0, 0, d, h)
#define CONF_SECRET(f, s, k, e, d, re, h) \
	ROW(f, s, k, e, CONF_T_STR, true, re, 0, 0, 0, d, h)
#include "conf/conf_list.h"
#undef CONF_INT
#undef CONF_NUM
#undef CONF_BOOL
#undef CONF_STR
#undef CONF_LIST
#undef CONF_SECRET
};

const struct conf_key *conf_table(unsigned *cnt_r)
{
	*cnt_r = NELEM(table);
	return table;
}

const struct conf_key *conf_find(struct str section, struct str key)
{
	for (size_t i = 0; i < NELEM(table); i++)
		if (str_is(section, table[i].section) &&
			str_is(key, table[i].key))
			return &table[i];
	return NULL;
}

bool conf_has_section(struct str section)
{
	for (size_t i = 0; i < NELEM(table); i++)
		if (str_is(section, table[i].section))
			return true;
	return false;
}

static void *field(struct conf *c, const struct conf_key *k)
{
	return (char *)c + k->offset;
}

static const void *cfield(const struct conf *c, const struct conf_key *k)
{
	return (const char *)c + k->offset;
}

static size_t field_bytes(const struct conf_key *k)
{
	switch (k->type) {
	case CONF_T_INT:
		return sizeof(int64_t);
	case CONF_T_NUM:
		return sizeof(double);
	case CONF_T_BOOL:
		return sizeof(bool);
	case CONF_T_STR:
	case CONF_T_LIST:
		break;
	}
	return CONF_STR_MAX;
}

void conf_init(struct conf *c)
{
	memset(c, 0, sizeof(*c)); /* so that text compares by memcmp */
	for (size_t i = 0; i < NELEM(table); i++) {
		const struct conf_key *k = &table[i];

		switch (k->type) {
		case CONF_T_INT:
			*(int64_t *)field(c, k) = (int64_t)k->num_def;
			break;
		case CONF_T_NUM:
			*(double *)field(c, k) = k->num_def;
			break;
		case CONF_T_BOOL:
			*(bool *)field(c, k) = k->num_def != 0;
			break;
		case CONF_T_STR:
		case CONF_T_LIST:
			snprintf(field(c, k), CONF_STR_MAX, "%s", k->str_def);
			break;
		}
	}
}

static int store_int(struct conf *c, const struct conf_key *k, struct str text,
	bool lax, struct err *err_r)
{
	int64_t v;

	if (lax) {
		text = str_trim(text);
		if (text.len > 2 && memcmp(text.p + text.len - 2, ".0", 2) == 0)
			text.len -= 2;
	}
	if (num_parse_i64(text, &v) < 0 || (double)v < k->min ||
		(double)v > k->max)
		return err_set(err_r, ERR_INVALID,
			"expected an integer from %.0f to %.0f", k->min,
			k->max);
	*(int64_t *)field(c, k) = v;
	return 0;
}

static int store_num(struct conf *c, const struct conf_key *k, struct str text,
	struct err *err_r)
{
	double v;

	if (num_parse_double(text, &v) < 0 || v < k->min || v > k->max)
		return err_set(err_r, ERR_INVALID,
			"expected a number from %g to %g", k->min, k->max);
	*(double *)field(c, k) = v;
	return 0;
}

static int store_bool(struct conf *c, const struct conf_key *k, struct str text,
	struct err *err_r)
{
	/* even places are true */
	static const char *const words[] = {"true", "false", "yes", "no", "on",
		"off", "1", "0", "t", "f", "y", "n"};

	for (size_t i = 0; i < NELEM(words); i++)
		if (strlen(words[i]) == text.len &&
			strncasecmp(words[i], text.p, text.len) == 0) {
			*(bool *)field(c, k) = i % 2 == 0;
			return 0;
		}
	return err_set(err_r, ERR_INVALID, "expected true or false");
}

static bool is_env(const char *v)
{
	return strcmp(v, "dev") == 0 || strcmp(v, "test") == 0 ||
	       strcmp(v, "stage") == 0 || strcmp(v, "prod") == 0;
}

static bool is_level(const char *v)
{
	enum log_level level;

	return log_parse_level(v, &level) == 0;
}

/* Numeric only: a name would make the start wait for a resolver. */
static bool is_address(const char *v)
{
	unsigned char a[16];

	return inet_pton(AF_INET, v, a) == 1 || inet_pton(AF_INET6, v, a) == 1;
}

static bool is_absolute(const char *v)
{
	return v[0] == '/';
}

static bool is_log_file(const char *v)
{
	return *v == '\0' || strcmp(v, "-") == 0 || is_absolute(v);
}

static bool is_details(const char *v)
{
	return strcmp(v, "minimal") == 0 || strcmp(v, "full") == 0;
}

static bool is_dsn(const char *v)
{
	struct conf_dsn dsn;

	return *v == '\0' || conf_dsn_parse(v, &dsn, NULL) == 0;
}

/* What RFC 6750 has for a bearer token, and not to be guessed. */
static bool is_token(const char *v)
{
	static const char bytes[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
		"-._~+/";
	size_t len = strspn(v, bytes);

	len += strspn(v + len, "=");
	return *v == '\0' || (len >= 16 && v[len] == '\0');
}

static bool are_networks(const char *v)
{
	struct cidr_list l;

	return cidr_list_parse(str_from(v), &l) == 0;
}

/* Texts that are not free. */
static const struct {
	size_t offset;
	bool (*ok)(const char *v);
	const char *expected;
} texts[] = {
	{offsetof(struct conf, env), is_env, "dev, test, stage or prod"},
	{offsetof(struct conf, log_level), is_level,
		"DEBUG, INFO, WARNING or ERROR"},
	{offsetof(struct conf, http_address), is_address, "a numeric address"},
	{offsetof(struct conf, metrics_address), is_address,
		"a numeric address"},
	{offsetof(struct conf, metrics_token), is_token,
		"16 or more letters, digits and -._~+/"},
	{offsetof(struct conf, metrics_allow), are_networks,
		"numeric addresses and networks, 10.0.0.0/8"},
	{offsetof(struct conf, audit_details), is_details, "minimal or full"},
	{offsetof(struct conf, sentry_dsn), is_dsn,
		"http or https://key@host[:port][/path]/project"},
	{offsetof(struct conf, log_file), is_log_file,
		"an absolute path, - or nothing"},
	{offsetof(struct conf, access_log_file), is_log_file,
		"an absolute path, - or nothing"},
	{offsetof(struct conf, run_dir), is_absolute, "an absolute path"},
	{offsetof(struct conf, state_dir), is_absolute, "an absolute path"},
};

static int store_str(struct conf *c, const struct conf_key *k, struct str text,
	struct err *err_r)
{
	char v[CONF_STR_MAX] = "";

	if (text.len >= CONF_STR_MAX)
		return err_set(err_r, ERR_INVALID,
			"expected at most %d bytes of text", CONF_STR_MAX - 1);
	if (memchr(text.p, '\0', text.len) || !str_is_utf8(text))
		return err_set(err_r, ERR_INVALID, "expected UTF-8 text");
	memcpy(v, text.p, text.len);
	for (size_t i = 0; i < NELEM(texts); i++)
		if (texts[i].offset == k->offset && !texts[i].ok(v))
			return err_set(err_r, ERR_INVALID, "expected %s",
				texts[i].expected);
	memcpy(field(c, k), v, sizeof(v));
	return 0;
}

int conf_store(struct conf *c, const struct conf_key *k, struct str text,
	bool lax, struct err *err_r)
{
	if (text.p == NULL)
		text.p = "";
	switch (k->type) {
	case CONF_T_INT:
		return store_int(c, k, text, lax, err_r);
	case CONF_T_NUM:
		return store_num(c, k, lax ? str_trim(text) : text, err_r);
	case CONF_T_BOOL:
		return store_bool(c, k, text, err_r);
	case CONF_T_STR:
	case CONF_T_LIST:
		break;
	}
	return store_str(c, k, text, err_r);
}

int conf_set(struct conf *c, const char *assignment, struct err *err_r)
{
	const char *dot = strchr(assignment, '.');
	const char *eq = strchr(assignment, '=');
	const struct conf_key *k;
	struct err why;

	if (dot == NULL || eq == NULL || eq < dot)
		return err_set(err_r, ERR_INVALID,
			"option -o %s: expected section.key=value", assignment);
	k = conf_find((struct str){assignment, (size_t)(dot - assignment)},
		(struct str){dot + 1, (size_t)(eq - dot - 1)});
	if (k == NULL)
		return err_set(err_r, ERR_INVALID,
			"option -o %.*s: unknown setting",
			(int)(eq - assignment), assignment);
	/* there are short options for some */
	if (conf_store(c, k, str_from(eq + 1), false, &why) < 0)
		return err_set(err_r, ERR_INVALID, "command line: %s.%s: %s",
			k->section, k->key, why.text);
	return 0;
}

int conf_load(struct conf *c, const char *path, char *const *assignments,
	unsigned assignments_cnt, struct err *err_r)
{
	conf_init(c);
	if (path == NULL && access(CONF_DEFAULT_PATH, F_OK) == 0)
		path = CONF_DEFAULT_PATH;
	if (path && conf_load_yaml(c, path, err_r) < 0)
		return -1;
	if (conf_load_env(c, err_r) < 0)
		return -1;
	for (unsigned i = 0; i < assignments_cnt; i++)
		if (conf_set(c, assignments[i], err_r) < 0)
			return -1;
	return conf_check(c, err_r);
}

int conf_check(const struct conf *c, struct err *err_r)
{
	bool guarded =
		strcmp(c->env, "prod") == 0 || strcmp(c->env, "stage") == 0;
	struct {
		bool wrong;
		const char *text;
	} checks[] = {
		{guarded && !*c->db_name,
			"database.name (DB_NAME) must be set"},
		{guarded && !*c->db_uri && !*c->db_host,
			"database.host (DB_HOST) must be set"},
		{guarded && !*c->db_uri && !*c->db_user,
			"database.user (DB_USER) must be set"},
		{c->metrics_enabled && c->http_port != 0 &&
				c->http_port == c->metrics_port,
			"http.port and metrics.port must differ"},
		{strcmp(c->strategy_metrics, "counters") != 0 &&
				strcmp(c->strategy_metrics, "rows") != 0,
			"metrics.strategies must be counters or rows"},
		/* sun_path holds 108 bytes */
		{strlen(c->run_dir) > 90,
			"server.run_dir must be at most 90 bytes long"},
		{c->http_max_strategy_bytes < c->http_max_body_bytes,
			"http.max_strategy_bytes must not be below "
			"http.max_body_bytes"},
	};
	struct buf all;
	int rc = 0;

	buf_init(&all, 0);
	for (size_t i = 0; i < NELEM(checks); i++)
		if (checks[i].wrong) {
			buf_printf(&all, "%s%s%s", all.len ? "\n" : "",
				checks[i].text,
				i < 3 ? " where env is prod or stage" : "");
			rc = -1;
		}
	if (rc < 0)
		err_set(err_r, ERR_INVALID, "%.*s", STR_ARG(buf_str(&all)));
	buf_fini(&all);
	return rc;
}

/* As a YAML double-quoted scalar. */
static void print_text(const char *s, struct buf *out)
{
	buf_add_char(out, '"');
	for (; *s; s++) {
		unsigned char ch = (unsigned char)*s;

		if (ch == '"' || ch == '\\')
			buf_add_char(out, '\\');
		if (ch < 0x20 || ch == 0x7f)
			buf_printf(out, "\\x%02x", ch);
		else
			buf_add_char(out, *s);
	}
	buf_add_char(out, '"');
}

static void print_value(
	const struct conf *c, const struct conf_key *k, struct buf *out)
{
	char num[NUM_DOUBLE_MAX];
	const char *text;

	switch (k->type) {
	case CONF_T_INT:
		buf_printf(
			out, "%lld", (long long)*(const int64_t *)cfield(c, k));
		return;
	case CONF_T_NUM:
		num_print_double(*(const double *)cfield(c, k), num);
		buf_printf(out, "%s", num);
		return;
	case CONF_T_BOOL:
		buf_printf(out, "%s",
			*(const bool *)cfield(c, k) ? "true" : "false");
		return;
	case CONF_T_STR:
	case CONF_T_LIST:
		text = cfield(c, k);
		print_text(k->secret && *text ? "***" : text, out);
		return;
	}
}

void conf_print(const struct conf *c, struct buf *out)
{
	const char *section = "";

	for (size_t i = 0; i < NELEM(table); i++) {
		const struct conf_key *k = &table[i];

		if (strcmp(section, k->section) != 0)
			buf_printf(out, "%s%s:\n", i ? "\n" : "", k->section);
		section = k->section;
		buf_printf(out, "  %s: ", k->key);
		print_value(c, k, out);
		buf_add_char(out, '\n');
	}
}

static bool differs(
	const struct conf *a, const struct conf *b, const struct conf_key *k)
{
	return memcmp(cfield(a, k), cfield(b, k), field_bytes(k)) != 0;
}

void conf_diff_restart(
	const struct conf *a, const struct conf *b, struct buf *out)
{
	for (size_t i = 0; i < NELEM(table); i++)
		if (!table[i].reload && differs(a, b, &table[i]))
			buf_printf(out, "%s%s.%s", out->len ? ", " : "",
				table[i].section, table[i].key);
}

void conf_keep_restart(struct conf *c, const struct conf *old)
{
	for (size_t i = 0; i < NELEM(table); i++)
		if (!table[i].reload)
			memcpy(field(c, &table[i]), cfield(old, &table[i]),
				field_bytes(&table[i]));
}

/* ours=theirs, theirs win: libpq takes the last one of a name. */
static const char *const net_params[] = {"connect_timeout=5",
	"tcp_user_timeout=5000", "keepalives=1", "keepalives_idle=10",
	"keepalives_interval=5", "keepalives_count=3",
	"fallback_application_name=gamed"};

static void add_net_params(struct buf *out, char between)
{
	for (size_t i = 0; i < NELEM(net_params); i++)
		buf_printf(out, "%s%c", net_params[i], between);
}

/* A URI of the reference may name a driver: postgresql+psycopg2://. */
static void conninfo_uri(const char *uri, struct buf *out)
{
	const char *rest = strstr(uri, "://");
	const char *query = strchr(uri, '?');
	const char *end = query ? query : uri + strlen(uri);

	buf_printf(out, "postgresql");
	buf_add(out, rest, (size_t)(end - rest));
	buf_add_char(out, '?');
	add_net_params(out, '&');
	if (query && query[1])
		buf_printf(out, "%s", query + 1);
	else
		out->len--; /* the last & */
}

static void conninfo_part(struct buf *out, const char *name, const char *value)
{
	if (*value == '\0')
		return;
	buf_printf(out, "%s='", name);
	for (; *value; value++) {
		if (*value == '\'' || *value == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, *value);
	}
	buf_printf(out, "' ");
}

void conf_db_conninfo(const struct conf *c, struct buf *out)
{
	const char *name = c->db_name;

	if (*name == '\0')
		name = strcmp(c->env, "test") == 0 ? "test_game_dev_db"
						   : "game_dev_db";
	if (strncmp(c->db_uri, "postgres", 8) == 0 &&
		strstr(c->db_uri, "://")) {
		conninfo_uri(c->db_uri, out);
	} else {
		add_net_params(out, ' ');
		if (*c->db_uri) {
			buf_printf(out, "%s", c->db_uri);
		} else {
			conninfo_part(out, "host", c->db_host);
			buf_printf(out, "port=%lld ", (long long)c->db_port);
			conninfo_part(out, "dbname", name);
			conninfo_part(out, "user", c->db_user);
			conninfo_part(out, "password", c->db_password);
		}
	}
	buf_add_char(out, '\0'); /* libpq takes a C string */
	out->len--;
}
