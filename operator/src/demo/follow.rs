//! Follows a query to its end, as a wallet's back end does.

use std::time::{Duration, Instant};

use plumbing::exit::{Exit, Failure};
use schemas::http::QueryStatus;

use super::progress::Progress;
use super::wallet::{Submitted, Wallet, WalletError};

const POLL: Duration = Duration::from_millis(100);

/// Follows a query until it has ended.
pub(crate) async fn follow(
    wallet: &Wallet,
    query: &Submitted,
    within: Duration,
    progress: &mut Progress,
) -> Result<QueryStatus, Failure> {
    let deadline = Instant::now() + within;
    loop {
        match wallet.status(query).await {
            Ok(status) if status.state == "COLLECTING" => progress.answered(status.answered, status.banks),
            Ok(status) if status.code.is_some() => {
                return Err(Exit::BadData.because(status.code.unwrap_or_default()));
            }
            Ok(status) => return Ok(status),
            // Not registered yet.
            Err(WalletError::Refused(problem)) if problem.status == 404 => {}
            Err(error) => return Err(failure(error)),
        }
        if Instant::now() > deadline {
            return Err(Exit::Software.because("the report did not become final in time"));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The exit code for what a wallet was told.
pub(crate) fn failure(error: WalletError) -> Failure {
    let exit = match &error {
        WalletError::Refused(problem) if problem.status < 500 => Exit::BadData,
        WalletError::Refused(_) | WalletError::Http(_) => Exit::Unavailable,
        WalletError::Person(_) => Exit::BadData,
        WalletError::Report(_) => Exit::Software,
    };
    exit.because(error)
}
