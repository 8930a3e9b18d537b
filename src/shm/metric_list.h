/*
 * metric_list.h - what a slot counts, but for families with free labels and
 * those of requests, which are in shm.h.
 *
 * METRIC(id, kind, name, label, help): kind C counter (totals over all slots
 * and all time), G gauge (sum over live slots), M gauge (maximum over live
 * slots).  `label` is the label part of the series, "" for none; lines of one
 * family stand together and share the help of the first.
 *
 * LEVEL(id, queue): how much there is of something now and at most since the
 * last scrape; `queue` is the label of the queue families, NULL for what is
 * no queue.
 *
 * TIMER(id, name, label, help): a histogram of waits, edges SHM_WAIT_EDGES;
 * lines of one family stand together.
 *
 * All of them are undefined at the end.
 */
#ifndef METRIC
#define METRIC(id, kind, name, label, help)
#endif
#ifndef LEVEL
#define LEVEL(id, queue)
#endif
#ifndef TIMER
#define TIMER(id, name, label, help)
#endif

METRIC(M_EV_PRODUCED_AUDIT, C, "gamed_evidence_produced_total",
	"class=\"audit\"", "Evidence rows produced")
METRIC(M_EV_PRODUCED_ERROR, C, "gamed_evidence_produced_total",
	"class=\"error\"", "")
METRIC(M_EV_PRODUCED_SAMPLE, C, "gamed_evidence_produced_total",
	"class=\"sample\"", "")
METRIC(M_EV_PRODUCED_REQUEST, C, "gamed_evidence_produced_total",
	"class=\"request\"", "")
METRIC(M_EV_PRODUCED_SENTRY, C, "gamed_evidence_produced_total",
	"class=\"sentry\"", "")
METRIC(M_EV_STORED_AUDIT, C, "gamed_evidence_stored_total",
	"class=\"audit\"", "Evidence rows committed to Postgres")
METRIC(M_EV_STORED_ERROR, C, "gamed_evidence_stored_total",
	"class=\"error\"", "")
METRIC(M_EV_STORED_SAMPLE, C, "gamed_evidence_stored_total",
	"class=\"sample\"", "")
METRIC(M_EV_STORED_REQUEST, C, "gamed_evidence_stored_total",
	"class=\"request\"", "")
METRIC(M_EV_STORED_SENTRY, C, "gamed_evidence_stored_total",
	"class=\"sentry\"", "")
METRIC(M_EV_SPOOLED_AUDIT, G, "gamed_evidence_spooled_rows",
	"class=\"audit\"", "Evidence rows in the spool that are not stored yet")
METRIC(M_EV_SPOOLED_ERROR, G, "gamed_evidence_spooled_rows",
	"class=\"error\"", "")
METRIC(M_EV_SPOOLED_SAMPLE, G, "gamed_evidence_spooled_rows",
	"class=\"sample\"", "")
METRIC(M_EV_SPOOLED_REQUEST, G, "gamed_evidence_spooled_rows",
	"class=\"request\"", "")
METRIC(M_EV_SPOOLED_SENTRY, G, "gamed_evidence_spooled_rows",
	"class=\"sentry\"", "")
METRIC(M_SPOOL_BYTES, G, "gamed_spool_bytes", "",
	"Bytes of the segments of the spool")
METRIC(M_SPOOL_LIMIT, G, "gamed_spool_limit_bytes", "",
	"Bytes that the spool may have: evidence.spool_max_bytes")
METRIC(M_SPOOL_SEGMENTS, G, "gamed_spool_segments", "",
	"Segments of the spool")
METRIC(M_SPOOL_OPENED, C, "gamed_spool_opened_total", "",
	"Times a logger has opened the spool")
METRIC(M_SPOOL_ERRORS, C, "gamed_spool_errors_total", "",
	"Operations on the spool that the system refused")
METRIC(M_SPOOL_DAMAGED, C, "gamed_spool_damaged_total", "",
	"Damaged stretches of the spool that were skipped")
METRIC(M_SPOOL_UNREADABLE, C, "gamed_spool_unreadable_total", "",
	"Times a segment of the spool could not be read and was left alone")
METRIC(M_SPOOL_AWAY, G, "gamed_spool_unreadable_segments", "",
	"Segments of the spool that cannot be read now")
METRIC(M_SPOOL_FSYNCS, C, "gamed_spool_fsyncs_total", "",
	"Segments of the spool put on disk by fsync")
METRIC(M_EV_LOGGER_ROWS, G, "gamed_evidence_logger_rows", "",
	"Evidence rows in the logger's memory")
METRIC(M_EV_LOGGER_BYTES, G, "gamed_evidence_logger_bytes", "",
	"Bytes of the evidence rows in the logger's memory")
METRIC(M_EV_LAG_MS, M, "gamed_evidence_lag_seconds", "",
	"Age of the oldest evidence row that the logger holds")
METRIC(M_EV_BATCHES, C, "gamed_evidence_batches_total", "result=\"stored\"",
	"COPY statements of the logger by result")
METRIC(M_EV_BATCHES_REFUSED, C, "gamed_evidence_batches_total",
	"result=\"refused\"", "")
METRIC(M_EV_BATCHES_LOST, C, "gamed_evidence_batches_total",
	"result=\"lost\"", "")
METRIC(M_EV_BAD_FRAMES, C, "gamed_evidence_bad_frames_total", "",
	"Messages to the logger that could not be read")
METRIC(M_TAIL_READERS, G, "gamed_tail_readers", "",
	"Readers of the tail socket, those of the API's streams among them")
METRIC(M_TAIL_SERIALISED, C, "gamed_tail_serialised_total", "",
	"Runs written out for readers of the tail")
METRIC(M_TAIL_SENT, C, "gamed_tail_rows_total", "result=\"sent\"",
	"Runs that a reader of the tail asked for, once for each of them")
METRIC(M_TAIL_MISSED, C, "gamed_tail_rows_total", "result=\"missed\"", "")
METRIC(M_TAIL_CUT, C, "gamed_tail_cut_total", "",
	"Readers of the tail that were cut off since they stayed behind")
METRIC(M_TAIL_STREAMS, G, "gamed_tail_streams", "",
	"Streams of kept runs that clients of the API have open")
METRIC(M_TAIL_STREAM_SENT, C, "gamed_tail_stream_rows_total",
	"result=\"sent\"", "Runs for the streams of the API")
METRIC(M_TAIL_STREAM_MISSED, C, "gamed_tail_stream_rows_total",
	"result=\"missed\"", "")
METRIC(M_TAIL_STREAMS_CUT, C, "gamed_tail_streams_cut_total", "",
	"Streams of the API that were ended since their client stayed behind")
METRIC(M_SENTRY_SENT, C, "gamed_sentry_envelopes_total", "outcome=\"sent\"",
	"Envelopes for Sentry by what became of them")
METRIC(M_SENTRY_RATELIMITED, C, "gamed_sentry_envelopes_total",
	"outcome=\"ratelimited\"", "")
METRIC(M_SENTRY_FAILED, C, "gamed_sentry_envelopes_total",
	"outcome=\"failed\"", "")
METRIC(M_SENTRY_QUEUE_FULL, C, "gamed_sentry_envelopes_total",
	"outcome=\"queue_full\"", "")
METRIC(M_SENTRY_UNSAMPLED, C, "gamed_sentry_unsampled_total", "",
	"Requests that were not drawn as transactions for Sentry")
METRIC(M_SENTRY_CRASHES_WORKER_EXIT, C, "gamed_sentry_crashes_total",
	"reason=\"exit\",role=\"worker\"", "Deaths of children that were reported to Sentry")
METRIC(M_SENTRY_CRASHES_WORKER_SIGNAL, C, "gamed_sentry_crashes_total",
	"reason=\"signal\",role=\"worker\"", "")
METRIC(M_SENTRY_CRASHES_WORKER_STUCK, C, "gamed_sentry_crashes_total",
	"reason=\"stuck\",role=\"worker\"", "")
METRIC(M_SENTRY_CRASHES_LOGGER_EXIT, C, "gamed_sentry_crashes_total",
	"reason=\"exit\",role=\"logger\"", "")
METRIC(M_SENTRY_CRASHES_LOGGER_SIGNAL, C, "gamed_sentry_crashes_total",
	"reason=\"signal\",role=\"logger\"", "")
METRIC(M_SENTRY_CRASHES_LOGGER_STUCK, C, "gamed_sentry_crashes_total",
	"reason=\"stuck\",role=\"logger\"", "")
METRIC(M_SENTRY_CRASHES_STATS_EXIT, C, "gamed_sentry_crashes_total",
	"reason=\"exit\",role=\"stats\"", "")
METRIC(M_SENTRY_CRASHES_STATS_SIGNAL, C, "gamed_sentry_crashes_total",
	"reason=\"signal\",role=\"stats\"", "")
METRIC(M_SENTRY_CRASHES_STATS_STUCK, C, "gamed_sentry_crashes_total",
	"reason=\"stuck\",role=\"stats\"", "")
METRIC(M_AWARDS, C, "gamed_awards_total", "result=\"awarded\"",
	"Award requests by result")
METRIC(M_AWARD_REPLAYS, C, "gamed_awards_total", "result=\"replayed\"", "")
METRIC(M_AWARD_SIMULATED, C, "gamed_awards_total", "result=\"simulated\"", "")
METRIC(M_AWARD_FAILED, C, "gamed_awards_total", "result=\"failed\"", "")
METRIC(M_AWARD_BATCHES, C, "gamed_award_batches_total", "",
	"Award statements sent")
METRIC(M_AWARD_SPLITS, C, "gamed_award_batch_splits_total", "",
	"Award statements that failed and were split")
METRIC(M_DEATHS_WORKER_EXIT, C, "gamed_child_restarts_total",
	"reason=\"exit\",role=\"worker\"", "Children that died while they were wanted")
METRIC(M_DEATHS_WORKER_SIGNAL, C, "gamed_child_restarts_total",
	"reason=\"signal\",role=\"worker\"", "")
METRIC(M_DEATHS_WORKER_STUCK, C, "gamed_child_restarts_total",
	"reason=\"stuck\",role=\"worker\"", "")
METRIC(M_DEATHS_LOGGER_EXIT, C, "gamed_child_restarts_total",
	"reason=\"exit\",role=\"logger\"", "")
METRIC(M_DEATHS_LOGGER_SIGNAL, C, "gamed_child_restarts_total",
	"reason=\"signal\",role=\"logger\"", "")
METRIC(M_DEATHS_LOGGER_STUCK, C, "gamed_child_restarts_total",
	"reason=\"stuck\",role=\"logger\"", "")
METRIC(M_DEATHS_STATS_EXIT, C, "gamed_child_restarts_total",
	"reason=\"exit\",role=\"stats\"", "")
METRIC(M_DEATHS_STATS_SIGNAL, C, "gamed_child_restarts_total",
	"reason=\"signal\",role=\"stats\"", "")
METRIC(M_DEATHS_STATS_STUCK, C, "gamed_child_restarts_total",
	"reason=\"stuck\",role=\"stats\"", "")
METRIC(M_RELOADS_BEGUN, C, "gamed_reloads_begun_total", "",
	"Reloads of the configuration that were begun")
METRIC(M_RELOADS_OK, C, "gamed_reloads_total", "result=\"done\"",
	"Reloads of the configuration by result")
METRIC(M_RELOADS_REFUSED, C, "gamed_reloads_total", "result=\"refused\"", "")
METRIC(M_RELOADS_FAILED, C, "gamed_reloads_total", "result=\"failed\"", "")
METRIC(M_RELOAD_OK, G, "gamed_config_in_force", "",
	"1 when the last reload was taken, 0 when the file was refused")
METRIC(M_GENERATION, G, "gamed_generation", "",
	"Generation of workers, one more for every reload")
METRIC(M_HTTP_CONNECTIONS, G, "gamed_http_connections", "",
	"Open connections of the API")
METRIC(M_HTTP_IN_HAND, G, "gamed_http_requests_in_hand", "",
	"Requests of the API that are not answered yet")
METRIC(M_HTTP_UNROUTED, C, "gamed_http_unrouted_total", "",
	"Requests that no route took: unknown path or method")
METRIC(M_DB_IDLE, G, "gamed_db_connections", "state=\"idle\"",
	"Connections of the workers to Postgres by state")
METRIC(M_DB_BUSY, G, "gamed_db_connections", "state=\"busy\"", "")
METRIC(M_DB_DOWN, G, "gamed_db_connections", "state=\"down\"", "")
METRIC(M_DB_QUEUED, G, "gamed_db_queued", "",
	"Database jobs that wait for a connection")
METRIC(M_DB_IN_FLIGHT, G, "gamed_db_in_flight", "",
	"Database jobs sent and not answered")
METRIC(M_DB_JOBS_READ_OK, C, "gamed_db_jobs_total",
	"lane=\"read\",outcome=\"ok\"", "Database jobs of workers and stats by outcome")
METRIC(M_DB_JOBS_READ_SQL_ERROR, C, "gamed_db_jobs_total",
	"lane=\"read\",outcome=\"sql_error\"", "")
METRIC(M_DB_JOBS_READ_TIMEOUT, C, "gamed_db_jobs_total",
	"lane=\"read\",outcome=\"timeout\"", "")
METRIC(M_DB_JOBS_READ_LOST, C, "gamed_db_jobs_total",
	"lane=\"read\",outcome=\"lost\"", "")
METRIC(M_DB_JOBS_READ_UNAVAILABLE, C, "gamed_db_jobs_total",
	"lane=\"read\",outcome=\"unavailable\"", "")
METRIC(M_DB_JOBS_WRITE_OK, C, "gamed_db_jobs_total",
	"lane=\"write\",outcome=\"ok\"", "")
METRIC(M_DB_JOBS_WRITE_SQL_ERROR, C, "gamed_db_jobs_total",
	"lane=\"write\",outcome=\"sql_error\"", "")
METRIC(M_DB_JOBS_WRITE_TIMEOUT, C, "gamed_db_jobs_total",
	"lane=\"write\",outcome=\"timeout\"", "")
METRIC(M_DB_JOBS_WRITE_LOST, C, "gamed_db_jobs_total",
	"lane=\"write\",outcome=\"lost\"", "")
METRIC(M_DB_JOBS_WRITE_UNAVAILABLE, C, "gamed_db_jobs_total",
	"lane=\"write\",outcome=\"unavailable\"", "")
METRIC(M_DB_JOBS_LONG_OK, C, "gamed_db_jobs_total",
	"lane=\"long\",outcome=\"ok\"", "")
METRIC(M_DB_JOBS_LONG_SQL_ERROR, C, "gamed_db_jobs_total",
	"lane=\"long\",outcome=\"sql_error\"", "")
METRIC(M_DB_JOBS_LONG_TIMEOUT, C, "gamed_db_jobs_total",
	"lane=\"long\",outcome=\"timeout\"", "")
METRIC(M_DB_JOBS_LONG_LOST, C, "gamed_db_jobs_total",
	"lane=\"long\",outcome=\"lost\"", "")
METRIC(M_DB_JOBS_LONG_UNAVAILABLE, C, "gamed_db_jobs_total",
	"lane=\"long\",outcome=\"unavailable\"", "")
METRIC(M_DB_CONNECTS, C, "gamed_db_connects_total", "result=\"up\"",
	"Attempts of workers and stats to connect to Postgres by result")
METRIC(M_DB_CONNECTS_FAILED, C, "gamed_db_connects_total",
	"result=\"failed\"", "")
METRIC(M_DB_CONNECTIONS_LOST, C, "gamed_db_connections_lost_total", "",
	"Connections to Postgres that were up and broke")
METRIC(M_CACHE_PROGRAM_HIT, C, "gamed_cache_lookups_total",
	"cache=\"program\",result=\"hit\"",
	"Look-ups in the caches of the workers; a miss waits for Postgres")
METRIC(M_CACHE_PROGRAM_MISS, C, "gamed_cache_lookups_total",
	"cache=\"program\",result=\"miss\"", "")
METRIC(M_CACHE_TASK_HIT, C, "gamed_cache_lookups_total",
	"cache=\"task\",result=\"hit\"", "")
METRIC(M_CACHE_TASK_MISS, C, "gamed_cache_lookups_total",
	"cache=\"task\",result=\"miss\"", "")
METRIC(M_CACHE_PROGRAM_ENTRIES, G, "gamed_cache_entries",
	"cache=\"program\"", "Entries in the caches of the workers")
METRIC(M_CACHE_TASK_ENTRIES, G, "gamed_cache_entries", "cache=\"task\"", "")
METRIC(M_CACHE_PROGRAM_BYTES, G, "gamed_cache_bytes", "cache=\"program\"",
	"Bytes of the programs in the caches of the workers")
METRIC(M_PROGRAM_COMPILES, C, "gamed_program_compiles_total", "",
	"Programs of strategies that were read, checked and compiled")
METRIC(M_LABEL_OVERFLOW_REALM, C, "gamed_metric_label_overflow_total",
	"family=\"realm\"",
	"Observations counted under _other since a label table was full")
METRIC(M_LABEL_OVERFLOW_CODE, C, "gamed_metric_label_overflow_total",
	"family=\"code\"", "")
METRIC(M_LABEL_OVERFLOW_SERIES, C, "gamed_metric_label_overflow_total",
	"family=\"dsl_execution_errors_total\"", "")
METRIC(M_LABEL_OVERFLOW_PROGRAM, C, "gamed_metric_label_overflow_total",
	"family=\"program\"", "")
METRIC(M_LABEL_OVERFLOW_ARM, C, "gamed_metric_label_overflow_total",
	"family=\"arm\"", "")
METRIC(M_LABEL_OVERFLOW_CASE, C, "gamed_metric_label_overflow_total",
	"family=\"case\"", "")
METRIC(M_LABEL_OVERFLOW_OUTCOME, C, "gamed_metric_label_overflow_total",
	"family=\"outcome\"", "")
METRIC(M_SCRAPES, C, "gamed_scrapes_total", "", "Answers given to GET /metrics")
METRIC(M_CACHE_NOTICES, C, "gamed_cache_notices_total", "",
	"Changes of cached objects heard from Postgres")
METRIC(M_TORN_READS, C, "gamed_metric_torn_total", "",
	"Values of the shared block that a reader refused")

LEVEL(L_QUEUE_AWARD, "award")
LEVEL(L_QUEUE_DB_READ, "db_read")
LEVEL(L_QUEUE_DB_WRITE, "db_write")
LEVEL(L_QUEUE_DB_LONG, "db_long")
LEVEL(L_QUEUE_EVIDENCE, "evidence")
LEVEL(L_QUEUE_AUDIT, "audit")
LEVEL(L_QUEUE_REQUEST, "request")
LEVEL(L_QUEUE_LOGGER, "logger")
LEVEL(L_LOOP_LAG_US, NULL)

TIMER(T_LOOP_LAG, "gamed_loop_lag_seconds", "",
	"How late the loop of a worker came to a timer")
TIMER(T_DB_WAIT_READ, "gamed_db_wait_seconds", "lane=\"read\"",
	"Time from the start of a database job until it was sent")
TIMER(T_DB_WAIT_WRITE, "gamed_db_wait_seconds", "lane=\"write\"", "")
TIMER(T_DB_WAIT_LONG, "gamed_db_wait_seconds", "lane=\"long\"", "")
TIMER(T_DB_JOB_READ, "gamed_db_job_seconds", "lane=\"read\"",
	"Time from the start of a database job to its answer")
TIMER(T_DB_JOB_WRITE, "gamed_db_job_seconds", "lane=\"write\"", "")
TIMER(T_DB_JOB_LONG, "gamed_db_job_seconds", "lane=\"long\"", "")

#undef METRIC
#undef LEVEL
#undef TIMER
