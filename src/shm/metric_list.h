/*
 * metric_list.h - the plain counters and gauges of a slot.
 *
 * METRIC(id, kind, name, label, help): kind C counter (totals over all slots
 * and all time), G gauge (sum over live slots), M gauge (maximum over live
 * slots).  `label` is the label part of the series, "" for none; lines of one
 * family stand together and share the help of the first.  Families with
 * histograms or free labels are in shm.h.
 */
METRIC(M_EV_PRODUCED_AUDIT, C, "gamed_evidence_produced_total",
	"class=\"audit\"", "Evidence rows produced")
METRIC(M_EV_PRODUCED_ERROR, C, "gamed_evidence_produced_total",
	"class=\"error\"", "")
METRIC(M_EV_PRODUCED_SAMPLE, C, "gamed_evidence_produced_total",
	"class=\"sample\"", "")
METRIC(M_AWARDS, C, "gamed_awards_total", "result=\"awarded\"",
	"Award requests by result")
METRIC(M_AWARD_REPLAYS, C, "gamed_awards_total", "result=\"replayed\"", "")
METRIC(M_AWARD_SIMULATED, C, "gamed_awards_total", "result=\"simulated\"", "")
METRIC(M_AWARD_FAILED, C, "gamed_awards_total", "result=\"failed\"", "")
METRIC(M_AWARD_BATCHES, C, "gamed_award_batches_total", "",
	"Award statements sent")
METRIC(M_AWARD_SPLITS, C, "gamed_award_batch_splits_total", "",
	"Award statements that failed and were split")
