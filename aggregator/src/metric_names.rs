//! Names of the aggregator's metrics. Dashboards rest on them: a name never changes its meaning.

/// Queries by what became of their record; label `code`.
pub const QUERIES: &str = "cardquery_queries_total";
/// Requests produced; label `bank`.
pub const REQUESTS: &str = "cardquery_requests_total";
/// Replies by what became of them; labels `bank`, `outcome`.
pub const REPLIES: &str = "cardquery_replies_total";
/// Reports that became final; label `outcome`.
pub const REPORTS: &str = "cardquery_reports_total";
/// Reports that became final more than a minute after their deadline.
pub const DEADLINE_MISSED: &str = "cardquery_deadline_missed_total";
/// From acceptance to a bank's reply, seconds; label `bank`.
pub const BANK_REPLY: &str = "cardquery_bank_reply_seconds";
/// Views by code, `OK` for a shown report.
pub const VIEWS: &str = "cardquery_views_total";
/// Rows of sealed content that came for a day already erased, and were not kept.
pub const CONTENT_ERASED: &str = "cardquery_content_erased_total";
