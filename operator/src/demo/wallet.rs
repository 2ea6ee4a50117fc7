//! Plays the wallet: its back end over HTTP, and the device that opens the report.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;
use producer::wallet::{self, Choice, Person, Prepared};
use schemas::codes::Code;
use schemas::http::{PROTOBUF, Problem, QueryStatus};
use schemas::ids::{BankId, Reference, UpstreamId};
use schemas::keys::{SigningKey, VerifyingKey};
use schemas::registry::{PartyName, SeenVersions};
use schemas::report::{self, Device, OpenedReport};
use schemas::time::UnixMillis;
use schemas::wire::{DocumentType, RiskSignals};
use serde_json::Value;

use crate::sample;

/// Why the wallet does not get what it wants.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The producer says no.
    #[error("{}: {}{}", .0.code, .0.title, .0.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default())]
    Refused(Box<Problem>),
    /// The producer cannot be reached, or answers something that is not its interface.
    #[error("the producer does not answer as it should")]
    Http(#[from] reqwest::Error),
    /// The sample's person cannot be put into a query.
    #[error(transparent)]
    Person(#[from] producer::IdentityError),
    /// The report does not open.
    #[error("the report does not open: {0}")]
    Report(Code),
}

/// A wallet's back end.
pub struct Wallet {
    upstream: UpstreamId,
    key: SigningKey,
    roots: Vec<VerifyingKey>,
    producer: String,
    client: reqwest::Client,
}

/// A query that was submitted, as the device remembers it.
pub struct Submitted {
    /// Which one.
    pub reference: Reference,
    prepared: Prepared,
}

impl Wallet {
    /// The sample upstream, talking to a producer.
    pub fn new(upstream: UpstreamId, producer: SocketAddr) -> Self {
        Self::at(upstream, format!("http://{producer}"))
    }

    /// The same, by the producer's base address.
    pub fn at(upstream: UpstreamId, producer: String) -> Self {
        Self {
            key: sample::keys::signing(&PartyName::upstream(&upstream)),
            upstream,
            roots: sample::keys::roots(),
            producer,
            client: plumbing::http::client(None).expect("no file can be wrong"),
        }
    }

    /// Submits a query of `person` to `banks`, whose names nobody has checked yet.
    ///
    /// # Errors
    /// `Refused` with the producer's problem document; nothing was published then.
    pub async fn submit(
        &self,
        person: &Person,
        real_name: bool,
        region: &str,
        banks: &BTreeSet<String>,
        now: UnixMillis,
    ) -> Result<Submitted, WalletError> {
        self.submit_seen(person, real_name, region, banks, wallet::no_risk(), now).await
    }

    /// The same of a person who is seen as `risk` says.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn submit_seen(
        &self,
        person: &Person,
        real_name: bool,
        region: &str,
        banks: &BTreeSet<String>,
        risk: RiskSignals,
        now: UnixMillis,
    ) -> Result<Submitted, WalletError> {
        let choice = Choice {
            region: region.to_owned(),
            banks: banks.iter().filter_map(|bank| bank.parse().ok()).collect(),
            text: producer::consent_texts()[0],
            risk,
        };
        let prepared = wallet::prepare(person, &choice, now)?;
        let mut body = wallet::body(&prepared.request, person);
        // What was typed is sent as it was typed: it is for the producer to refuse.
        let typed: Value = banks.iter().cloned().collect();
        body["consent"]["banks"] = typed.clone();
        body["banks"] = typed;
        if !real_name {
            body["assurance"]["level"] = "SELF_DECLARED".into();
        }
        self.post(&body).await?;
        let reference = Reference { upstream: self.upstream.clone(), query: prepared.request.query };
        Ok(Submitted { reference, prepared })
    }

    /// `POST /v1/queries` with any body.
    ///
    /// # Errors
    /// `Refused` with the producer's problem document.
    pub async fn post(&self, body: &Value) -> Result<(), WalletError> {
        let response = self.client.post(format!("{}/v1/queries", self.producer)).json(body).send().await?;
        accepted(response).await.map(|_| ())
    }

    /// Releases a held query: the person was asked again at `now`, and seen as `risk` says.
    ///
    /// # Errors
    /// `Refused`, for example `HOLD_NOT_OVER`; the query is as it was.
    pub async fn release(
        &self,
        query: &mut Submitted,
        person: &Person,
        risk: RiskSignals,
        now: UnixMillis,
    ) -> Result<(), WalletError> {
        let request = wallet::release(&query.prepared.request, person, risk, now)?;
        let url = format!("{}/v1/queries/{}/release", self.producer, query.reference.query);
        let body = wallet::body(&request, person);
        accepted(self.client.post(url).json(&body).send().await?).await?;
        // The device opens what answers the release.
        query.prepared.request = request;
        Ok(())
    }

    /// Status of a query.
    ///
    /// # Errors
    /// `Refused`, for example `QUERY_NOT_FOUND` until the hub has registered it.
    pub async fn status(&self, query: &Submitted) -> Result<QueryStatus, WalletError> {
        let url = format!("{}/v1/queries/{}", self.producer, query.reference.query);
        Ok(accepted(self.client.get(url).send().await?).await?.json().await?)
    }

    /// Gets the sealed report: the payment password was entered at `now`.
    ///
    /// # Errors
    /// `Refused`, for example `REPORT_NOT_READY`.
    pub async fn fetch(&self, query: &Submitted, now: UnixMillis) -> Result<Bytes, WalletError> {
        let Prepared { request, report_key } = &query.prepared;
        let grant = wallet::grant_view(&query.reference, &request.subject, report_key.id(), now, &self.key);
        let url = format!("{}/v1/queries/{}/report", self.producer, query.reference.query);
        let request = self.client.post(url).header(reqwest::header::CONTENT_TYPE, PROTOBUF).body(grant);
        Ok(accepted(request.send().await?).await?.bytes().await?)
    }

    /// What the device does with it: verifies and opens.
    ///
    /// # Errors
    /// `Report` with the code of what does not fit.
    pub fn open(&self, query: &Submitted, report: Bytes) -> Result<OpenedReport, WalletError> {
        let Prepared { request, report_key } = &query.prepared;
        let device = Device {
            reference: &query.reference,
            report_key,
            banks: &request.banks,
            consent_expires_at: request.consent.expires_at,
            roots: &self.roots,
            seen: &SeenVersions::default(),
        };
        report::open(report, &device).map_err(WalletError::Report)
    }
}

impl Submitted {
    /// The chosen banks.
    pub fn banks(&self) -> &BTreeSet<BankId> {
        &self.prepared.request.banks
    }

    /// What the back end sent, and the device's key.
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }
}

impl From<&sample::core::Person> for Person {
    fn from(person: &sample::core::Person) -> Self {
        Self {
            subject: format!("sample-{}", person.key),
            name: person.name.clone(),
            document_type: DocumentType::ResidentId,
            document_number: person.document_number.clone(),
            phone: person.phone_e164(),
        }
    }
}

/// The response if it is a success, its problem document otherwise.
async fn accepted(response: reqwest::Response) -> Result<reqwest::Response, WalletError> {
    if response.status().is_success() {
        return Ok(response);
    }
    Err(WalletError::Refused(Box::new(response.json().await?)))
}
