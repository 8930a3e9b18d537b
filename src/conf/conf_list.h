/*
 * conf_list.h - the one list of settings.  conf.h, the parsers, `gamed -T`
 * and the tests of etc/gamed.yaml and gamed.yaml(5) expand it.
 *
 * CONF_INT(field, section, key, env, default, min, max, reload, help)
 * CONF_NUM  the same for doubles, CONF_BOOL and CONF_STR without a range.
 * CONF_STR values are "" when unset.  `env` is the variable that overrides
 * the file, "" for none.  `reload` is 1 when SIGHUP applies a new value.
 * CONF_LIST is a CONF_STR of words joined by commas; the file may hold a YAML
 * list.  Secrets (CONF_SECRET) are never printed.  The master and new workers
 * take reloaded values; logger and stats keep what they started with.
 */
CONF_STR(env, "server", "env", "ENV", "dev", 0,
	"dev, test, stage or prod; the last two log JSON and arm the checks")
CONF_STR(log_level, "server", "log_level", "LOG_LEVEL", "INFO", 1,
	"lowest level written: DEBUG, INFO, WARNING, ERROR")
CONF_STR(log_file, "server", "log_file", "ERROR_LOG", "", 0,
	"file for all log lines but those of requests; empty or -: stdout")
CONF_INT(workers, "server", "workers", "WEB_CONCURRENCY", 2, 1, 30, 1,
	"number of HTTP worker processes")
CONF_STR(run_dir, "server", "run_dir", "", "/run/gamed", 0,
	"directory of the admin and tail sockets")
CONF_STR(state_dir, "server", "state_dir", "", "/var/lib/gamed", 0,
	"directory of the spool and of quarantined rows")
CONF_INT(drain_timeout_s, "server", "drain_timeout_s", "GRACEFUL_TIMEOUT", 30,
	1, 3600, 1, "seconds a worker may take to finish requests at shutdown")
CONF_INT(start_timeout_s, "server", "start_timeout_s", "", 30, 1, 3600, 0,
	"seconds after start until the first worker must be ready")
CONF_INT(watchdog_s, "server", "watchdog_s", "", 10, 2, 3600, 1,
	"seconds without a sign of life until a process is replaced")
CONF_BOOL(dumpable, "server", "dumpable", "", true, 0,
	"allow core dumps and tracing of the processes")

CONF_STR(http_address, "http", "address", "HOST", "0.0.0.0", 0,
	"address the API listens on")
CONF_INT(http_port, "http", "port", "PORT", 8000, 0, 65535, 0,
	"port the API listens on")
CONF_INT(http_backlog, "http", "backlog", "", 1024, 16, 65535, 0,
	"queue of connections not yet accepted")
CONF_INT(http_max_connections, "http", "max_connections", "", 1024, 1, 65535,
	1, "open connections per worker")
CONF_INT(http_max_header_bytes, "http", "max_header_bytes", "", 16384, 1024,
	1048576, 1, "request line and headers together")
CONF_INT(http_max_body_bytes, "http", "max_body_bytes", "", 1048576, 1024,
	67108864, 1, "request body, ordinary routes")
CONF_INT(http_max_strategy_bytes, "http", "max_strategy_bytes", "", 8388608,
	1024, 67108864, 1, "request body, strategy routes")
CONF_INT(http_idle_timeout_s, "http", "idle_timeout_s", "KEEP_ALIVE", 30, 1,
	3600, 1, "seconds an idle or stalled connection is kept")
CONF_INT(http_handler_timeout_ms, "http", "handler_timeout_ms", "", 5000, 100,
	600000, 1, "milliseconds a request may wait for its answer")
CONF_BOOL(http_access_log, "http", "access_log", "", true, 1,
	"one line for each request")
CONF_STR(access_log_file, "http", "access_log_file", "ACCESS_LOG", "", 0,
	"file for these lines; empty or -: stdout")

CONF_STR(metrics_address, "metrics", "address", "", "127.0.0.1", 0,
	"address of the metrics listener")
CONF_INT(metrics_port, "metrics", "port", "", 9464, 0, 65535, 0,
	"port of the metrics listener")
CONF_BOOL(metrics_enabled, "metrics", "enabled", "METRICS_ENABLED", true, 0,
	"serve /metrics at all")
CONF_BOOL(metrics_on_api, "metrics", "on_api", "", false, 0,
	"serve /metrics on the API listener too")
CONF_SECRET(metrics_token, "metrics", "token", "METRICS_TOKEN", "", 0,
	"bearer token that /metrics asks for; empty: none")
CONF_LIST(metrics_allow, "metrics", "allow", "METRICS_ALLOW", "", 0,
	"networks that may have /metrics, comma-separated; empty: all")
CONF_STR(strategy_metrics, "metrics", "strategies", "STRATEGY_METRICS_SOURCE",
	"counters", 1,
	"what the figures of a strategy come from: counters or rows")

CONF_INT(kpi_flush_s, "kpi", "flush_s", "", 60, 1, 3600, 0,
	"seconds between two writes of the counters of requests")
CONF_BOOL(uptime_enabled, "kpi", "uptime", "UPTIME_SAMPLING_ENABLED", true, 0,
	"write samples of uptime")
CONF_INT(uptime_sample_s, "kpi", "uptime_sample_s", "UPTIME_SAMPLE_SECONDS",
	60, 5, 86400, 0, "seconds between two samples of uptime")

CONF_INT(keep_logs_days, "retention", "logs_days", "RETENTION_LOGS_DAYS", 180,
	0, 36500, 0, "days that rows of logs are kept, 0: for ever")
CONF_INT(keep_api_requests_days, "retention", "api_requests_days",
	"RETENTION_API_REQUESTS_DAYS", 180, 0, 36500, 0,
	"days that rows of apirequests are kept, 0: for ever")
CONF_INT(keep_traces_days, "retention", "traces_days", "RETENTION_TRACES_DAYS",
	180, 0, 36500, 0,
	"days that rows of strategyexecutionlog are kept, 0: for ever")
CONF_INT(keep_uptime_days, "retention", "uptime_days", "RETENTION_UPTIME_DAYS",
	400, 0, 36500, 0, "days that rows of uptimelogs are kept, 0: for ever")
CONF_INT(keep_request_minutes_days, "retention", "request_minutes_days",
	"RETENTION_REQUEST_MINUTES_DAYS", 90, 0, 36500, 0,
	"days that counters of requests by the minute are kept, 0: for ever")

CONF_SECRET(db_uri, "database", "uri", "DATABASE_URI", "", 0,
	"libpq connection string or URI; instead of the parts below")
CONF_STR(db_host, "database", "host", "DB_HOST", "", 0,
	"socket directory or numeric address of Postgres")
CONF_INT(db_port, "database", "port", "DB_PORT", 5432, 1, 65535, 0,
	"port of Postgres")
CONF_STR(db_name, "database", "name", "DB_NAME", "", 0,
	"database; when empty game_dev_db, or test_game_dev_db where env is test")
CONF_STR(db_user, "database", "user", "DB_USER", "", 0, "role")
CONF_SECRET(db_password, "database", "password", "DB_PASSWORD", "", 0,
	"password of the role")
CONF_INT(db_read_connections, "database", "read_connections", "", 2, 1, 16, 1,
	"connections of a worker that carry reads")
CONF_INT(db_write_connections, "database", "write_connections", "", 2, 1, 2, 1,
	"connections of a worker that carry awards and edits")
CONF_INT(db_long_connections, "database", "long_connections", "", 2, 1, 16, 1,
	"connections of a worker that carry long listings and deletions")
CONF_INT(db_pipeline_depth, "database", "pipeline_depth", "", 32, 1, 512, 1,
	"reads in flight on one connection")
CONF_INT(db_queue_max, "database", "queue_max", "", 4096, 1, 1000000, 1,
	"requests of a worker that may wait for a connection")
CONF_INT(db_deadline_ms, "database", "deadline_ms", "", 3000, 100, 600000, 1,
	"milliseconds from a statement's start to its answer")
CONF_INT(db_statement_timeout_ms, "database", "statement_timeout_ms", "", 2000,
	0, 600000, 1,
	"statement_timeout of the workers' sessions; a rollback has nine tenths "
	"of http.handler_timeout_ms")
CONF_INT(db_lock_timeout_ms, "database", "lock_timeout_ms", "", 1000, 0,
	600000, 1, "lock_timeout of the workers' sessions")
CONF_BOOL(db_log_statements, "database", "log_statements", "SQLALCHEMY_ECHO",
	false, 1, "log the text of each statement, without its values")

CONF_INT(award_batch_max, "award", "batch_max", "", 64, 1, 64, 1,
	"awards in one statement")
CONF_INT(conversion_rate, "award", "points_per_coin",
	"DEFAULT_CONVERTION_RATE_POINTS_TO_COIN", 100, 1, 1000000000, 1,
	"conversion rate of new wallets")

CONF_STR(realm, "auth", "realm", "KEYCLOAK_REALM", "master", 0,
	"tenant of bearer callers and of strategies made with an admin key")
CONF_INT(apikey_cache_ttl_s, "auth", "apikey_cache_ttl_s",
	"API_KEY_HEADER_CACHE_TTL_SECONDS", 5, 0, 3600, 1,
	"seconds a checked key is remembered, 0: not at all")

CONF_INT(dsl_max_nodes, "dsl", "max_nodes", "DSL_MAX_NODES", 1000, 1, 100000,
	1, "nodes of a program, checked on save and on run")
CONF_INT(dsl_max_depth, "dsl", "max_depth", "DSL_MAX_DEPTH", 32, 1, 256, 1,
	"depth of a program, checked on save and on run")
CONF_INT(dsl_timeout_ms, "dsl", "timeout_ms", "DSL_EXECUTION_TIMEOUT_MS", 500,
	1, 600000, 1, "milliseconds a phase of a run may take")
CONF_INT(dsl_max_string_bytes, "dsl", "max_string_bytes",
	"DSL_MAX_STRING_BYTES", 65536, 16, 1048576, 1,
	"bytes of a text made while running")
CONF_INT(dsl_program_cache_bytes, "dsl", "program_cache_bytes", "", 67108864,
	1048576, 1099511627776, 1,
	"bytes of compiled programs that a worker keeps")

CONF_BOOL(trace_enabled, "evidence", "enabled", "DSL_EXECUTION_LOG_ENABLED",
	true, 1, "keep runs in strategyexecutionlog")
CONF_NUM(trace_sample_rate, "evidence", "sample_rate",
	"DSL_EXECUTION_LOG_SAMPLE_RATE", 0.05, 0.0, 1.0, 1,
	"share of the successful runs that is kept")
CONF_INT(trace_limit, "evidence", "trace_limit", "DSL_EXECUTION_LOG_TRACE_LIMIT",
	200, -1000000000, 100000, 1, "entries kept of a trace, 0 or less: all")
CONF_INT(trace_queue_max, "evidence", "queue_max",
	"DSL_EXECUTION_LOG_QUEUE_MAXSIZE", 1000, -1000000000, 1000000, 1,
	"rows of a worker not yet taken by the logger, at least 1")
CONF_LIST(trace_mask, "evidence", "mask", "", "", 1,
	"keys of event data whose values are stored as ***, comma-separated")
CONF_INT(logger_queue_rows, "evidence", "logger_queue_rows", "", 50000, 100,
	10000000, 0, "rows the logger holds while Postgres is away")
CONF_INT(logger_batch_rows, "evidence", "batch_rows", "", 500, 1, 100000, 0,
	"rows of one COPY")
CONF_INT(logger_batch_ms, "evidence", "batch_ms", "", 200, 1, 60000, 0,
	"milliseconds a row may wait for its batch")
CONF_INT(logger_flush_timeout_s, "evidence", "flush_timeout_s", "", 10, 1,
	3600, 0, "seconds the logger may take to write out at shutdown")
CONF_INT(spool_max_bytes, "evidence", "spool_max_bytes", "", 1073741824,
	4194304, 1099511627776, 0, "bytes of the spool on disk")
CONF_INT(spool_min_free_bytes, "evidence", "spool_min_free_bytes", "", 67108864,
	0, 1099511627776, 0, "bytes of the file system that the spool leaves free")
CONF_INT(spool_fsync_ms, "evidence", "fsync_ms", "", 1000, -1, 60000, 0,
	"milliseconds between two fsyncs of the spool, 0: each message, -1: never")

CONF_BOOL(audit_enabled, "audit", "enabled", "AUDIT_ENABLED", true, 1,
	"keep an audit row of each step in logs")
CONF_STR(audit_details, "audit", "details", "AUDIT_DETAILS", "minimal", 1,
	"minimal, or full: with the bodies that callers sent")
CONF_INT(audit_queue_max, "audit", "queue_max", "AUDIT_QUEUE_MAXSIZE", 500000,
	1,
	10000000, 1, "audit rows of a worker not yet taken by the logger")

CONF_BOOL(request_log_enabled, "requests", "enabled",
	"API_REQUEST_LOG_ENABLED", true, 1,
	"keep a row of each request in apirequests")
CONF_NUM(request_sample_rate, "requests", "sample_rate",
	"API_REQUEST_LOG_SAMPLE_RATE", 1.0, 0.0, 1.0, 1,
	"share of the requests that is kept; all that answered 5xx are")
CONF_INT(request_queue_max, "requests", "queue_max",
	"API_REQUEST_LOG_QUEUE_MAXSIZE", 10000, 1, 10000000, 1,
	"request rows of a worker not yet taken by the logger")

CONF_SECRET(sentry_dsn, "sentry", "dsn", "SENTRY_DSN", "", 0,
	"where errors are sent; empty: nowhere")
CONF_STR(sentry_environment, "sentry", "environment", "SENTRY_ENVIRONMENT",
	"dev", 0, "environment of every event")
CONF_STR(sentry_release, "sentry", "release", "SENTRY_RELEASE", "0.0.0", 0,
	"release of every event")
CONF_STR(sentry_server_name, "sentry", "server_name", "SENTRY_SERVER_NAME", "",
	0, "server name of every event; empty: the name of the host")
CONF_NUM(sentry_traces_sample_rate, "sentry", "traces_sample_rate",
	"SENTRY_TRACES_SAMPLE_RATE", 0.1, 0.0, 1.0, 0,
	"share of the requests that is sent as transactions")
CONF_BOOL(sentry_send_default_pii, "sentry", "send_default_pii",
	"SENTRY_SEND_DEFAULT_PII", false, 1,
	"send and log the caller's address; send its headers, query and body")
CONF_BOOL(sentry_profiling_enabled, "sentry", "profiling_enabled",
	"SENTRY_PROFILING_ENABLED", false, 0,
	"taken for the reference's sake; there is no profiling")
CONF_INT(sentry_group_interval_s, "sentry", "group_interval_s", "", 60, 1,
	86400, 0, "seconds between two events of the same error")
