//! Who may read a report.

use schemas::codes::Code;
use schemas::time::UnixMillis;
use schemas::view::Grant;

use super::query::{Final, Query, State};
use super::window::Window;

/// Whether `grant` opens the report of `query` (`None` when there is no such query) at `now`. Missing and foreign are
/// alike.
///
/// # Errors
/// `QUERY_NOT_FOUND`, `QUERY_REJECTED`, `QUERY_WITHDRAWN`, `HOLD_EXPIRED`, `REPORT_NOT_READY`, `REPORT_ERASED`,
/// `DEVICE_MISMATCH`.
pub fn may_view<'a>(
    query: Option<&'a Query>,
    grant: &Grant,
    window: &Window,
    now: UnixMillis,
) -> Result<&'a Final, Code> {
    let query = query
        .filter(|query| query.reference == grant.reference && query.subject == grant.subject)
        .ok_or(Code::QUERY_NOT_FOUND)?;
    let report = match &query.state {
        State::Final(report) => report,
        State::Held(_) | State::Collecting(_) => return Err(Code::REPORT_NOT_READY),
        State::Withdrawn { .. } => return Err(Code::QUERY_WITHDRAWN),
        State::Rejected(_) => return Err(Code::QUERY_REJECTED),
        State::Cancelled { .. } => return Err(Code::HOLD_EXPIRED),
        State::Erased { .. } => return Err(Code::REPORT_ERASED),
    };
    // Views stop at the erase instant, whenever the content itself goes.
    if window.is_erased(&query.times, now) {
        return Err(Code::REPORT_ERASED);
    }
    if query.report_key != grant.report_key {
        return Err(Code::DEVICE_MISMATCH);
    }
    Ok(report)
}
