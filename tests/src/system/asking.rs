//! Plays the wallet and the device at a system.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aggregator::store::{Clock, SystemClock};
use cardquery::demo::wallet::{Submitted, Wallet, WalletError};
use cardquery::sample;
use schemas::http::QueryStatus;
use schemas::ids::UpstreamId;
use schemas::report::OpenedReport;

use super::System;

const REGION: &str = "310000";
/// After its deadline a query ends within this time.
const SLACK: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// The wallet of a system, for a task of its own.
#[derive(Clone, Debug)]
pub struct Asker {
    upstream: UpstreamId,
    producer: SocketAddr,
    window: Duration,
}

impl Asker {
    /// Submits a query of a sample person to these banks; returns when it is taken.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn ask(&self, person: &str, banks: &[impl ToString]) -> Submitted {
        let people = sample::core::people();
        let person = people.iter().find(|known| known.key == person).expect("a sample person");
        let banks = banks.iter().map(ToString::to_string).collect();
        let now = SystemClock.now();
        let submitted = self.wallet().submit(&person.into(), true, REGION, &banks, now).await;
        submitted.unwrap_or_else(|error| panic!("not accepted: {error}"))
    }

    /// Waits until a query has its final state.
    ///
    /// # Panics
    /// If it has none in time.
    pub async fn ended(&self, query: &Submitted) -> QueryStatus {
        self.reaches(query, |status| status.state != "COLLECTING").await
    }

    /// Waits until a query's day is over and its report is gone.
    ///
    /// # Panics
    /// If it is not in time.
    pub async fn erased(&self, query: &Submitted) -> QueryStatus {
        self.reaches(query, |status| status.state == "ERASED").await
    }

    /// Waits until so many banks have answered a query.
    ///
    /// # Panics
    /// If they have not in time.
    pub async fn answered(&self, query: &Submitted, banks: u32) -> QueryStatus {
        self.reaches(query, |status| status.answered >= banks).await
    }

    async fn reaches(&self, query: &Submitted, there: impl Fn(&QueryStatus) -> bool) -> QueryStatus {
        let wallet = self.wallet();
        let deadline = Instant::now() + self.window + SLACK;
        loop {
            match wallet.status(query).await {
                Ok(status) if there(&status) => return status,
                Ok(_) => {}
                // Not registered yet.
                Err(WalletError::Refused(problem)) if problem.status == 404 => {}
                Err(error) => panic!("{error}"),
            }
            assert!(Instant::now() < deadline, "{} waits for ever", query.reference.query);
            tokio::time::sleep(POLL).await;
        }
    }

    /// Fetches and opens the report of a query that has ended.
    ///
    /// # Panics
    /// If it is refused or does not open.
    pub async fn open(&self, query: &Submitted) -> OpenedReport {
        let wallet = self.wallet();
        let report = wallet.fetch(query, SystemClock.now()).await;
        let report = report.unwrap_or_else(|error| panic!("{error}"));
        wallet.open(query, report).unwrap_or_else(|error| panic!("{error}"))
    }

    fn wallet(&self) -> Wallet {
        Wallet::new(self.upstream.clone(), self.producer)
    }
}

impl System {
    /// The wallet, for a task of its own.
    #[must_use]
    pub fn asker(&self) -> Asker {
        Asker {
            upstream: self.local.plan.upstream().clone(),
            producer: self.local.producer(),
            window: self.local.plan.window,
        }
    }

    /// Submits a query of a sample person to every bank of the system; returns when it is taken.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn ask(&self, person: &str) -> Submitted {
        self.asker().ask(person, &self.local.plan.banks()).await
    }

    /// As [`Asker::ask`].
    ///
    /// # Panics
    /// If it is refused.
    pub async fn ask_banks(&self, person: &str, banks: &[impl ToString]) -> Submitted {
        self.asker().ask(person, banks).await
    }

    /// As [`Asker::ended`].
    ///
    /// # Panics
    /// If it does not end in time.
    pub async fn ended(&self, query: &Submitted) -> QueryStatus {
        self.asker().ended(query).await
    }

    /// As [`Asker::answered`].
    ///
    /// # Panics
    /// If they have not in time.
    pub async fn answered(&self, query: &Submitted, banks: u32) -> QueryStatus {
        self.asker().answered(query, banks).await
    }

    /// As [`Asker::open`].
    ///
    /// # Panics
    /// If it is refused or does not open.
    pub async fn open(&self, query: &Submitted) -> OpenedReport {
        self.asker().open(query).await
    }
}
