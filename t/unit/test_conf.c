/* Unit tests of src/conf: values, environment, connection strings. */
#define _GNU_SOURCE /* memmem, clearenv */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/str.h"
#include "conf/conf.h"
#include "conf/conf_dsn.h"

static struct conf c;
static struct err err;

static void setup(void)
{
	conf_init(&c);
	memset(&err, 0, sizeof(err));
	clearenv();
}

/* Reads text as a file; the path in the message is cut off. */
static int load(const char *text, const char **why_r)
{
	char path[] = "/tmp/test_conf.XXXXXX";
	int fd = mkstemp(path);
	int rc;

	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	rc = conf_load_yaml(&c, path, &err);
	unlink(path);
	if (rc < 0)
		*why_r = strstr(err.text, path) + strlen(path);
	return rc;
}

TestSuite(conf, .init = setup);

Test(conf, reads_every_type)
{
	const char *why = "";
	int rc = load("server:\n  workers: 7\n  env: stage\n"
		      "evidence:\n  sample_rate: 0.5\n  mask: [a, b]\n"
		      "http:\n  access_log: no\n"
		      "database: {password: \"x\\\"y\"}\n",
		&why);

	cr_assert_eq(rc, 0, "%s", why);
	cr_expect_eq(c.workers, 7);
	cr_expect_str_eq(c.env, "stage");
	cr_expect_eq(c.trace_sample_rate, 0.5);
	cr_expect_str_eq(c.trace_mask, "a,b");
	cr_expect_not(c.http_access_log);
	cr_expect_str_eq(c.db_password, "x\"y");
	cr_expect_eq(c.http_port, 8000);
}

Test(conf, accepts_files_without_settings)
{
	static const char *const texts[] = {
		"", "# nothing\n", "---\n", "server:\n", "{}\n"};
	const char *why = "";

	for (size_t i = 0; i < NELEM(texts); i++)
		cr_expect_eq(load(texts[i], &why), 0, "%s%s", texts[i], why);
}

Test(conf, refuses_with_line_and_column)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"server:\n  workers: 0\n", ":2:12: server.workers: \"0\", "
					    "expected an integer from "
					    "1 to 30"},
		{"server:\n  workers: \"2\"\n",
			":2:12: server.workers: quoted text, expected an "
			"integer"},
		{"server:\n  workers: [1]\n",
			":2:12: server.workers: list, expected an integer"},
		{"server:\n  workers: two\n",
			":2:12: server.workers: \"two\", expected an integer "
			"from 1 to 30"},
		{"server:\n  wokers: 2\n",
			":2:3: unknown setting \"server.wokers\", expected one "
			"of gamed.yaml(5)"},
		{"sever:\n  workers: 2\n",
			":1:1: unknown section \"sever\", expected one of "
			"gamed.yaml(5)"},
		{"server:\n  workers: 2\n  workers: 3\n",
			":3:3: server.workers is set twice, expected it once"},
		{"http:\n  port: 1\nserver:\nhttp:\n",
			":4:1: section \"http\" stands twice, expected it "
			"once"},
		{"server: &a\n  workers: 2\n",
			":1:9: anchor, expected a plain value"},
		{"server:\n  env: *a\n", ":2:8: alias, expected a plain value"},
		{"server:\n  env: !!str dev\n",
			":2:8: tag, expected a plain value"},
		{"server:\n---\nserver:\n",
			":2:1: second document, expected one"},
		{"- server\n", ":1:1: expected sections of settings"},
		{"server: 3\n",
			":1:9: section \"server\": expected settings below it"},
		{"http:\n  access_log: maybe\n",
			":2:15: http.access_log: \"maybe\", expected true or "
			"false"},
		{"evidence:\n  sample_rate: 1.5\n",
			":2:16: evidence.sample_rate: \"1.5\", expected a "
			"number from 0 to 1"},
		{"http:\n  address: localhost\n",
			":2:12: http.address: \"localhost\", expected a "
			"numeric "
			"address"},
		{"evidence:\n  mask: [[a]]\n",
			":2:10: evidence.mask: nested value, expected a text"},
	};

	for (size_t i = 0; i < NELEM(cases); i++) {
		const char *why = "";

		cr_expect_eq(
			load(cases[i].text, &why), -1, "%s", cases[i].text);
		cr_expect_str_eq(why, cases[i].why);
	}
}

Test(conf, never_shows_a_secret)
{
	const char *why = "";
	char text[700];
	struct buf out;

	snprintf(text, sizeof(text), "database:\n  password: %0600d\n", 7);
	cr_expect_eq(load(text, &why), -1);
	cr_expect_null(strstr(why, "0000"));
	cr_assert_eq(conf_set(&c, "database.password=geheim", &err), 0);
	buf_init(&out, 0);
	conf_print(&c, &out);
	cr_expect_null(memmem(out.p, out.len, "geheim", 6));
	buf_fini(&out);
}

Test(conf, prints_what_it_can_read)
{
	const char *why = "";
	struct conf first;
	struct buf out;

	cr_assert_eq(conf_set(&c, "evidence.sample_rate=0.25", &err), 0);
	cr_assert_eq(conf_set(&c, "database.user=a\"b\\c", &err), 0);
	first = c;
	buf_init(&out, 0);
	conf_print(&c, &out);
	buf_add_char(&out, '\0');
	conf_init(&c);
	cr_expect_eq(load(out.p, &why), 0, "%s", why);
	cr_expect_eq(memcmp(&first, &c, sizeof(c)), 0);
	buf_fini(&out);
}

Test(conf, takes_the_environment_as_the_reference_does)
{
	static const struct {
		const char *name, *value;
		int rc;
	} cases[] = {{"WEB_CONCURRENCY", " 4.0 ", 0},
		{"web_concurrency", "4", 0}, {"WEB_CONCURRENCY", "", -1},
		{"WEB_CONCURRENCY", "4.5", -1}, {"METRICS_ENABLED", "F", 0},
		{"METRICS_ENABLED", "", -1}, {"METRICS_ENABLED", " true", -1},
		{"DSL_EXECUTION_LOG_SAMPLE_RATE", "nan", -1},
		{"DSL_EXECUTION_LOG_QUEUE_MAXSIZE", "-1", 0},
		{"DSL_EXECUTION_LOG_QUEUE_MAXSIZE", "many", -1},
		{"DSL_EXECUTION_LOG_TRACE_LIMIT", "-5", 0},
		{"ENV", "production", -1}, {"DB_ENGINE", "mysql", -1},
		{"BIND", "127.0.0.1:81", 0}, {"BIND", "[::1]:81", 0},
		{"BIND", "81", -1}, {"BIND", "host:81", -1}};

	for (size_t i = 0; i < NELEM(cases); i++) {
		clearenv();
		setenv(cases[i].name, cases[i].value, 1);
		cr_expect_eq(conf_load_env(&c, &err), cases[i].rc, "%s=%s",
			cases[i].name, cases[i].value);
	}
	cr_expect_eq(c.workers, 4);
	cr_expect_not(c.metrics_enabled);
	cr_expect_str_eq(c.http_address, "::1");
	cr_expect_eq(c.http_port, 81);
}

Test(conf, sets_from_the_command_line)
{
	static const struct {
		const char *text;
		int rc;
	} cases[] = {{"http.port=81", 0}, {"http.port=", -1}, {"http.port", -1},
		{"port=81", -1}, {"http.prt=81", -1}, {"database.uri=a=b.c", 0},
		{"http.port=70000", -1}};

	for (size_t i = 0; i < NELEM(cases); i++)
		cr_expect_eq(conf_set(&c, cases[i].text, &err), cases[i].rc,
			"%s", cases[i].text);
	cr_expect_eq(c.http_port, 81);
	cr_expect_str_eq(c.db_uri, "a=b.c");
}

Test(conf, arms_the_guards_in_production_and_names_all)
{
	cr_expect_eq(conf_check(&c, &err), 0);
	cr_assert_eq(conf_set(&c, "server.env=prod", &err), 0);
	cr_expect_eq(conf_check(&c, &err), -1);
	cr_expect(strstr(err.text, "DB_NAME"));
	cr_expect(strstr(err.text, "DB_HOST"));
	cr_expect(strstr(err.text, "DB_USER"));
	cr_assert_eq(conf_set(&c, "database.name=g", &err), 0);
	cr_assert_eq(conf_set(&c, "database.uri=host=/x", &err), 0);
	cr_expect_eq(conf_check(&c, &err), 0, "%s", err.text);
}

#define NET "tcp_user_timeout=5000"

Test(conf, builds_connection_strings)
{
	static const struct {
		const char *set, *start, *end;
	} cases[] = {
		{"database.uri=postgresql+psycopg2://u:p@h/db",
			"postgresql://u:p@h/db?connect_timeout=5&" NET,
			"fallback_application_name=gamed"},
		{"database.uri=postgres://h/db?a=b",
			"postgresql://h/db?connect_timeout=5&" NET, "&a=b"},
		{"database.uri=host=/run connect_timeout=9",
			"connect_timeout=5 " NET,
			" host=/run connect_timeout=9"},
		{"database.uri=", "connect_timeout=5 " NET,
			"port=5432 dbname='game_dev_db' "},
		{"database.password=a'b\\c", "connect_timeout=5 ",
			"password='a\\'b\\\\c' "},
	};

	for (size_t i = 0; i < NELEM(cases); i++) {
		size_t end_len = strlen(cases[i].end);
		struct buf out;

		cr_assert_eq(conf_set(&c, cases[i].set, &err), 0);
		buf_init(&out, 0);
		conf_db_conninfo(&c, &out);
		cr_expect(str_starts_with(buf_str(&out), cases[i].start),
			"%.*s", STR_ARG(buf_str(&out)));
		cr_expect(out.len > end_len &&
				  memcmp(out.p + out.len - end_len,
					  cases[i].end, end_len) == 0,
			"%.*s", STR_ARG(buf_str(&out)));
		cr_expect_eq(out.p[out.len], '\0');
		buf_fini(&out);
	}
}

Test(conf, tells_what_needs_a_restart)
{
	struct conf b = c;
	struct buf out;

	cr_assert_eq(conf_set(&b, "http.port=81", &err), 0);
	cr_assert_eq(conf_set(&b, "server.workers=9", &err), 0);
	cr_assert_eq(conf_set(&b, "auth.realm=r", &err), 0);
	buf_init(&out, 0);
	conf_diff_restart(&c, &b, &out);
	cr_expect(str_is(buf_str(&out), "http.port, auth.realm"));
	conf_keep_restart(&b, &c);
	cr_expect_eq(b.http_port, 8000);
	cr_expect_eq(b.workers, 9);
	buf_fini(&out);
}

/* ---- the DSN of Sentry ----------------------------------------------------- */

Test(dsn, parts)
{
	static const struct {
		const char *text;
		bool is_https;
		const char *key, *secret, *url;
	} cases[] = {
		{"https://abc@o1.ingest.sentry.io/42", true, "abc", "",
			"https://o1.ingest.sentry.io/api/42/envelope/"},
		{"http://abc:def@h/1", false, "abc", "def",
			"http://h/api/1/envelope/"},
		{"http://k@h:9000/1", false, "k", "",
			"http://h:9000/api/1/envelope/"},
		{"http://k@h/a/b/1", false, "k", "",
			"http://h/a/b/api/1/envelope/"},
		{"http://k@[::1]:9000/1", false, "k", "",
			"http://[::1]:9000/api/1/envelope/"},
		{"http://k@[::1]/1", false, "k", "",
			"http://[::1]/api/1/envelope/"},
		{"http://k@127.0.0.1:65535/001", false, "k", "",
			"http://127.0.0.1:65535/api/001/envelope/"},
	};
	struct conf_dsn d;

	for (size_t i = 0; i < NELEM(cases); i++) {
		cr_assert_eq(conf_dsn_parse(cases[i].text, &d, &err), 0, "%s",
			cases[i].text);
		cr_expect_eq(d.is_https, cases[i].is_https);
		cr_expect_str_eq(d.key, cases[i].key);
		cr_expect_str_eq(d.secret, cases[i].secret);
		cr_expect_str_eq(d.url, cases[i].url);
	}
}

Test(dsn, refuses_and_keeps_the_key_to_itself)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"", "scheme"},
		{"hidden", "scheme"},
		{"hidden@h/1", "scheme"},
		{"ftp://hidden@h/1", "scheme"},
		{"HTTP://hidden@h/1", "scheme"},
		{"http://", "no key"},
		{"http://h/1", "no key"},
		{"http://@h/1", "no key"},
		{"http://h/hidden@1", "no key"},
		{"http://hid,den@h/1", "no key"},
		{"http://hid den@h/1", "no key"},
		{"http://hidden:@h/1", "secret"},
		{"http://k:hid:den@h/1", "secret"},
		{"http://hidden@h", "no project"},
		{"http://hidden@/1", "host"},
		{"http://hidden@h:/1", "host"},
		{"http://hidden@h:0/1", "host"},
		{"http://hidden@h:65536/1", "host"},
		{"http://hidden@h:-1/1", "host"},
		{"http://hidden@h:1:1/1", "host"},
		{"http://hidden@h h/1", "host"},
		{"http://hidden@[::1/1", "host"},
		{"http://hidden@[]/1", "host"},
		{"http://hidden@[::1]x/1", "host"},
		{"http://hidden@::1/1", "host"},
		{"http://hidden@h@h/1", "host"},
		{"http://hidden@h/", "integer"},
		{"http://hidden@h/one", "integer"},
		{"http://hidden@h/-1", "integer"},
		{"http://hidden@h/1/", "integer"},
		{"http://hidden@h/1?q", "integer"},
		{"http://hidden@h/a b/1", "path"},
		{"http://hidden@h/a\nb/1", "path"},
		{"http://hidden@h/a?b/1", "path"},
	};
	struct conf_dsn d;

	for (size_t i = 0; i < NELEM(cases); i++) {
		memset(&err, 0, sizeof(err));
		cr_expect_eq(conf_dsn_parse(cases[i].text, &d, &err), -1, "%s",
			cases[i].text);
		cr_expect_not_null(strstr(err.text, cases[i].why), "%s: %s",
			cases[i].text, err.text);
		cr_expect_null(strstr(err.text, "hid"), "%s", err.text);
	}
}
