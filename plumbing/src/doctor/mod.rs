//! What the `doctor` commands share: checks that only look, and a report to paste into a ticket.
//!
//! ```text
//!  settings ─▶ network ─▶ tls ─▶ session ─▶ access, clock ─▶ what the service adds ─▶ Report ─▶ text, JSON, exit code
//! ```
//!
//! A check adds its lines to the [`Report`] and returns what later ones need; what needs something that failed says
//! `skipped`. Every question to the outside has a time limit, so that a run ends within a minute whatever is dead.
//!
//! What must never happen here: a record is written, a group is joined, an offset is changed, a secret is printed.
//!
//! | file | role |
//! |---|---|
//! | `report.rs` | pure: lines, summary, which exit code wins |
//! | `text.rs` | pure: how a person reads it |
//! | `settings.rs` | mistakes in the settings |
//! | `network.rs` | names and ports of the brokers |
//! | `tls.rs` | the brokers' certificates and the client's own |
//! | `session.rs` | logging in at a broker |
//! | `access.rs` | what this client may do there, and should |
//! | `clock.rs` | this machine's clock against the brokers' |
//! | `secret_file.rs` | who may read a file of secrets |

use std::time::Duration;

use tokio::time::timeout;

use crate::exit::Exit;

mod access;
mod clock;
mod network;
mod report;
mod secret_file;
mod session;
mod settings;
mod text;
mod tls;

pub use kafka_native::AclOperation;

pub use self::access::{Need, access, overreach};
pub use self::clock::{clock, skew};
pub use self::network::{Endpoint, reach};
pub use self::report::{Document, Finding, Report, State, Summary};
pub use self::secret_file::secret_files;
pub use self::session::{Session, build, librdkafka, log_in};
pub use self::settings::settings;
pub use self::tls::tls;

/// Every question has a limit of its own; this one is for many slow answers together.
const RUN_WITHIN: Duration = Duration::from_secs(45);

/// Looks for so long; returns whether it came to its end.
pub async fn bounded(report: &mut Report, look: impl AsyncFnOnce(&mut Report)) -> bool {
    let over = timeout(RUN_WITHIN, look(report)).await.is_ok();
    if !over {
        let fix = "mend what answers slowly above, and look again";
        let what = format!("not looked at: {RUN_WITHIN:?} are over");
        report.add("the rest", what, State::failed(Exit::Unavailable, fix));
    }
    over
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_run_ends_whatever_hangs_and_keeps_what_it_saw() {
        let mut report = Report::default();
        let over = bounded(&mut report, async |report| {
            report.ok("config", "seen");
            std::future::pending().await
        });
        assert!(!over.await);
        assert_eq!((report.summary().ok, report.summary().failed), (1, 1));
        assert_eq!(report.exit(), Exit::Unavailable);
    }
}
