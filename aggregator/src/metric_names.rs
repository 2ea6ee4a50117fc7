//! Names of the aggregator's metrics. Dashboards rest on them: a name never changes its meaning.

/// Queries by what became of their record; label `code`.
pub const QUERIES: &str = "cardquery_queries_total";
/// Submissions and releases by what their risk signals decided; label `decision` (`ALLOW`, `WARN`, `HOLD`).
pub const RISK: &str = "cardquery_risk_total";
/// Requests produced; label `bank`.
pub const REQUESTS: &str = "cardquery_requests_total";
/// Replies by what became of them; labels `bank`, `outcome` (`valid`, `invalid`, `refused`). What did not count has an
/// `outcome` alone (`duplicate`, `conflict`, `late`, …).
pub const REPLIES: &str = "cardquery_replies_total";
/// Reports that became final; label `outcome`.
pub const REPORTS: &str = "cardquery_reports_total";
/// Reports that became final more than a minute after their deadline.
pub const DEADLINE_MISSED: &str = "cardquery_deadline_missed_total";
/// From acceptance to a bank's reply, seconds; label `bank`.
pub const BANK_REPLY: &str = "cardquery_bank_reply_seconds";
/// Calls to Redis; label `outcome` (`answered`, `refused`, `unavailable`, `skipped` while it is left alone).
pub const REDIS_CALLS: &str = "cardquery_redis_calls_total";
/// Statuses looked for in the cache; label `outcome` (`hit`, `miss`, `unknown` when Redis did not answer).
pub const STATUS_CACHE: &str = "cardquery_status_cache_total";
/// Views denied before the store was asked; label `code`.
pub const QUICK_DENIALS: &str = "cardquery_quick_denials_total";
/// Requests over the limit of their upstream; label `outcome` (`here` in this process, `shared` in Redis).
pub const RATE_LIMITED: &str = "cardquery_rate_limited_total";
/// Views by code, `OK` for a shown report.
pub const VIEWS: &str = "cardquery_views_total";
/// Leaves that were published to the audit log.
pub const AUDIT_LEAVES: &str = "cardquery_audit_leaves_total";
/// Leaves that are not published yet.
pub const AUDIT_UNPUBLISHED: &str = "cardquery_audit_unpublished_leaves";
/// Since the last checkpoint of the audit log was signed, seconds.
pub const AUDIT_CHECKPOINT_AGE: &str = "cardquery_audit_checkpoint_age_seconds";
/// Replies of reports whose signed bytes the audit log could not keep; label `bank`.
pub const AUDIT_UNPROVEN: &str = "cardquery_audit_unproven_replies_total";
/// Rows of sealed content that came for a day already erased, and were not kept.
pub const CONTENT_ERASED: &str = "cardquery_content_erased_total";
/// Age of the oldest query that collects answers, seconds; 0 when there is none. Every instance says the same.
pub const QUERY_AGE: &str = "cardquery_query_age_seconds";
/// Queries that have not ended; label `code` (`COLLECTING`, `HELD`). Every instance says the same.
pub const OPEN_QUERIES: &str = "cardquery_open_queries";
/// Outbox rows that wait to be produced. Every instance says the same.
pub const OUTBOX_PENDING: &str = "cardquery_outbox_pending_rows";
/// Outbox rows that can never be produced and were put aside. Every instance says the same.
pub const OUTBOX_PARKED: &str = "cardquery_outbox_parked_rows";
/// 1 while the operator has paused a bank, 0 after it; label `bank`. Every instance says the same.
pub const BANK_PAUSED: &str = "cardquery_bank_paused";

/// All of the above, for tests that compare dashboards with reality.
pub const ALL: &[&str] = &[
    QUERIES,
    RISK,
    REQUESTS,
    REPLIES,
    REPORTS,
    DEADLINE_MISSED,
    BANK_REPLY,
    REDIS_CALLS,
    STATUS_CACHE,
    QUICK_DENIALS,
    RATE_LIMITED,
    VIEWS,
    CONTENT_ERASED,
    QUERY_AGE,
    OPEN_QUERIES,
    OUTBOX_PENDING,
    OUTBOX_PARKED,
    BANK_PAUSED,
    AUDIT_LEAVES,
    AUDIT_UNPUBLISHED,
    AUDIT_CHECKPOINT_AGE,
    AUDIT_UNPROVEN,
];

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn names_are_the_published_ones() {
        assert_eq!(
            ALL,
            [
                "cardquery_queries_total",
                "cardquery_risk_total",
                "cardquery_requests_total",
                "cardquery_replies_total",
                "cardquery_reports_total",
                "cardquery_deadline_missed_total",
                "cardquery_bank_reply_seconds",
                "cardquery_redis_calls_total",
                "cardquery_status_cache_total",
                "cardquery_quick_denials_total",
                "cardquery_rate_limited_total",
                "cardquery_views_total",
                "cardquery_content_erased_total",
                "cardquery_query_age_seconds",
                "cardquery_open_queries",
                "cardquery_outbox_pending_rows",
                "cardquery_outbox_parked_rows",
                "cardquery_bank_paused",
                "cardquery_audit_leaves_total",
                "cardquery_audit_unpublished_leaves",
                "cardquery_audit_checkpoint_age_seconds",
                "cardquery_audit_unproven_replies_total",
            ]
        );
    }
}
