//! Every metric name that this crate uses. Names are an interface: dashboards and alerts point at
//! them, and a test pins the list.

/// Records handed to a handler and completed; label `role`, the group.
pub const RECORDS_HANDLED: &str = "cardquery_records_handled_total";
/// Verdicts that asked for another attempt; label `code`.
pub const RECORDS_RETRIED: &str = "cardquery_records_retried_total";
/// Records that ended as dead letters; labels `code` and `outcome` (`copied`, `counted`).
pub const DLQ_RECORDS: &str = "cardquery_dlq_records_total";
/// Times that the dead letters of a topic became too many; labels `code` of the last one, and `outcome` (`paused`: the
/// topic waits; `counted`: they are counted and not copied).
pub const DLQ_BREAKER_TRIPS: &str = "cardquery_dlq_breaker_trips_total";
/// Topics whose dead letters are too many now; label `outcome`, as above.
pub const DLQ_BREAKERS_OPEN: &str = "cardquery_dlq_breakers_open";
/// Commits that the broker refused or never answered.
pub const COMMIT_ERRORS: &str = "cardquery_commit_errors_total";
/// Positions that the broker reset although something had been committed.
pub const OFFSET_RESETS: &str = "cardquery_offset_resets_total";
/// Assignments and revocations; label `outcome` (`assigned`, `revoked`, `lost`).
pub const REBALANCES: &str = "cardquery_rebalances_total";
/// Times that a full lane paused its partitions.
pub const LANE_PAUSES: &str = "cardquery_lane_pauses_total";
/// Errors that a Kafka client reported and survives; label `code`.
pub const CLIENT_ERRORS: &str = "cardquery_kafka_client_errors_total";
/// Records between what a group has committed and the end of the partitions that this process has of it; label `role`, the
/// group.
pub const CONSUMER_LAG: &str = "cardquery_consumer_lag_records";
/// Outcomes of produced records; label `outcome` (`acknowledged`, `ambiguous`, `permanent`, `fatal`).
pub const RECORDS_PRODUCED: &str = "cardquery_records_produced_total";
/// Outbox rows by what became of them; label `outcome` (`published`, `parked`, `released`).
pub const OUTBOX_ROWS: &str = "cardquery_outbox_rows_total";
/// Failed calls to the outbox store.
pub const OUTBOX_ERRORS: &str = "cardquery_outbox_errors_total";
/// Batches of spans by what became of them; label `outcome` (`exported`, `failed`).
pub const TRACE_EXPORTS: &str = "cardquery_trace_exports_total";
/// Always 1; labels `role` and `version` say what runs.
pub const BUILD_INFO: &str = "cardquery_build_info";

/// All of the above, for tests that compare dashboards with reality.
pub const ALL: &[&str] = &[
    RECORDS_HANDLED,
    RECORDS_RETRIED,
    DLQ_RECORDS,
    DLQ_BREAKER_TRIPS,
    DLQ_BREAKERS_OPEN,
    COMMIT_ERRORS,
    OFFSET_RESETS,
    REBALANCES,
    LANE_PAUSES,
    CLIENT_ERRORS,
    CONSUMER_LAG,
    RECORDS_PRODUCED,
    OUTBOX_ROWS,
    OUTBOX_ERRORS,
    TRACE_EXPORTS,
    BUILD_INFO,
];

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn names_are_the_published_ones() {
        // A renamed metric breaks dashboards silently: change this list only with a release note.
        assert_eq!(
            ALL,
            [
                "cardquery_records_handled_total",
                "cardquery_records_retried_total",
                "cardquery_dlq_records_total",
                "cardquery_dlq_breaker_trips_total",
                "cardquery_dlq_breakers_open",
                "cardquery_commit_errors_total",
                "cardquery_offset_resets_total",
                "cardquery_rebalances_total",
                "cardquery_lane_pauses_total",
                "cardquery_kafka_client_errors_total",
                "cardquery_consumer_lag_records",
                "cardquery_records_produced_total",
                "cardquery_outbox_rows_total",
                "cardquery_outbox_errors_total",
                "cardquery_trace_exports_total",
                "cardquery_build_info",
            ]
        );
    }
}
