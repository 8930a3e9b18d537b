/*
 * ctl_apikey.c - `gamectl apikey create|list|revoke`.  The plaintext of a key
 * is printed once, when it is made, and stored nowhere.
 */
#include "ctl/ctl.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "db/db_sync.h"
#include "store/store_admin.h"

#define USAGE                                                          \
	"apikey create [--admin] --client name [--description text]\n" \
	"       gamectl apikey list\n"                                 \
	"       gamectl apikey revoke prefix"

struct create_args {
	const char *client;
	const char *description;
	bool admin;
};

static int parse_create(int argc, char **argv, struct create_args *a)
{
	static const struct option options[] = {
		{"admin", no_argument, NULL, 'a'},
		{"client", required_argument, NULL, 'n'},
		{"description", required_argument, NULL, 'd'},
		{NULL, 0, NULL, 0},
	};
	int c;

	memset(a, 0, sizeof(*a));
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'a':
			a->admin = true;
			break;
		case 'n':
			a->client = optarg;
			break;
		case 'd':
			a->description = optarg;
			break;
		default:
			return -1;
		}
	}
	return optind == argc && a->client && *a->client ? 0 : -1;
}

static int create(int argc, char **argv, struct db_sync *db)
{
	struct store_new_apikey key;
	struct create_args a;
	struct ctl_line l;
	struct json_out *o;
	struct err err;

	if (parse_create(argc, argv, &a) < 0)
		return ctl_usage(USAGE);
	if (!str_is_utf8(str_from(a.client)) ||
		!str_is_utf8(str_from(a.description))) {
		(void)err_set(&err, ERR_INVALID, "the text is not UTF-8");
		return ctl_fail(&err);
	}
	if (store_apikey_create(
		    db, a.client, a.description, a.admin, &key, &err) < 0)
		return ctl_fail(&err);
	if (!ctl_json()) {
		ctl_print("%s\n", key.key);
		return 0;
	}
	o = ctl_line_start(&l);
	json_out_kv_cstr(o, "prefix", key.prefix);
	json_out_kv_cstr(o, "key", key.key);
	json_out_kv_cstr(o, "client", a.client);
	json_out_kv_bool(o, "admin", a.admin);
	ctl_line_end(&l);
	return 0;
}

static void print_text(void *arg UNUSED, const struct store_apikey *k)
{
	ctl_print("%-24s %-8s %-6s %-28s %s\n", k->prefix ? k->prefix : "-",
		k->active ? "active" : "revoked", k->admin ? "admin" : "-",
		k->created_at ? k->created_at : "-",
		k->client ? k->client : "-");
}

static void print_json(void *arg UNUSED, const struct store_apikey *k)
{
	struct ctl_line l;
	struct json_out *o = ctl_line_start(&l);

	json_out_kv_str(o, "prefix", str_from(k->prefix));
	json_out_kv_str(o, "client", str_from(k->client));
	json_out_kv_str(o, "description", str_from(k->description));
	json_out_kv_bool(o, "active", k->active);
	json_out_kv_bool(o, "admin", k->admin);
	json_out_kv_str(o, "created_at", str_from(k->created_at));
	ctl_line_end(&l);
}

static int list(struct db_sync *db)
{
	struct err err;

	if (store_apikey_list(
		    db, ctl_json() ? print_json : print_text, NULL, &err) < 0)
		return ctl_fail(&err);
	return 0;
}

static int revoke(const char *prefix, struct db_sync *db)
{
	bool was_active = false;
	struct ctl_line l;
	struct json_out *o;
	struct err err;

	if (store_apikey_revoke(db, prefix, &was_active, &err) < 0)
		return ctl_fail(&err);
	if (!ctl_json()) {
		ctl_print("%s %s\n", prefix,
			was_active ? "revoked" : "was revoked before");
		return 0;
	}
	o = ctl_line_start(&l);
	json_out_kv_cstr(o, "prefix", prefix);
	json_out_kv_bool(o, "revoked", was_active);
	ctl_line_end(&l);
	return 0;
}

int ctl_apikey(int argc, char **argv, const struct conf *conf)
{
	const char *verb = argc > 1 ? argv[1] : "";
	bool is_create = strcmp(verb, "create") == 0;
	bool is_list = strcmp(verb, "list") == 0 && argc == 2;
	bool is_revoke = strcmp(verb, "revoke") == 0 && argc == 3;
	struct db_sync *db;
	int rc;

	if (!is_create && !is_list && !is_revoke)
		return ctl_usage(USAGE);
	db = ctl_db_open(conf);
	if (!db)
		return 1;
	if (is_create)
		rc = create(argc - 1, argv + 1, db);
	else if (is_list)
		rc = list(db);
	else
		rc = revoke(argv[2], db);
	db_sync_close(&db);
	return rc;
}
