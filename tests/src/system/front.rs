//! The producer's interface as bytes, for what the wallet's own client would not send or not show.

use bytes::Bytes;
use cardquery::sample;
use producer::wallet::{self, Choice, Person, Prepared};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use schemas::http::{PROTOBUF, Problem, QueryStatus};
use schemas::ids::{KeyId, QueryId, Reference, UpstreamId};
use schemas::keys::SigningKey;
use schemas::registry::PartyName;
use schemas::time::UnixMillis;
use serde_json::{Value, json};

use super::System;

const REGION: &str = "310000";

/// Whoever holds a wallet's signing key, at its producer.
#[derive(Clone)]
pub struct Front {
    upstream: UpstreamId,
    key: SigningKey,
    queries: String,
    client: reqwest::Client,
}

/// A query that is not sent yet.
pub struct Planned {
    /// Which one it will be.
    pub reference: Reference,
    /// What the back end sends, and the device's key.
    pub prepared: Prepared,
    body: Value,
}

/// What came back, but for the headers that every response has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Media type, and the length that is announced.
    pub headers: [Option<String>; 2],
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// The code of a problem document.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn code(&self) -> String {
        let problem: Problem = serde_json::from_slice(&self.body).expect("a problem document");
        assert_eq!(problem.status, self.status);
        problem.code
    }

    /// The status of a query.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn query_status(&self) -> QueryStatus {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_slice(&self.body).expect("a status")
    }
}

impl Front {
    /// A query of `person` to these banks, consented to at `now`.
    ///
    /// # Panics
    /// If a bank's id is none.
    #[must_use]
    pub fn plan(&self, person: &Person, banks: &[impl ToString], now: UnixMillis) -> Planned {
        let choice = Choice {
            region: REGION.to_owned(),
            banks: banks.iter().map(|bank| bank.to_string().parse().expect("an id")).collect(),
            text: producer::consent_texts()[0],
            risk: wallet::no_risk(),
        };
        let prepared = wallet::prepare(person, &choice, now).expect("a sample person");
        let reference = Reference { upstream: self.upstream.clone(), query: prepared.request.query };
        let body = wallet::body(&prepared.request, person);
        Planned { reference, prepared, body }
    }

    /// Sends a query; returns when it is taken.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn send(&self, planned: &Planned) {
        let answer = answer(self.client.post(&self.queries).json(&planned.body)).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }

    /// Withdraws the consent to a query; returns when that is taken.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn withdraw(&self, query: QueryId) {
        let request = self.client.post(format!("{}/{query}/revocation", self.queries));
        let answer = answer(request.json(&json!({}))).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }

    /// Asks for the status of any id.
    pub async fn status(&self, query: QueryId) -> Answer {
        answer(self.client.get(format!("{}/{query}", self.queries))).await
    }

    /// A grant that was signed at `now`.
    #[must_use]
    pub fn grant(&self, query: QueryId, subject: &str, report_key: KeyId, now: UnixMillis) -> Bytes {
        let reference = Reference { upstream: self.upstream.clone(), query };
        wallet::grant_view(&reference, subject, report_key, now, &self.key)
    }

    /// Asks for the report of any id.
    pub async fn view(&self, query: QueryId, grant: Bytes) -> Answer {
        let request = self.client.post(format!("{}/{query}/report", self.queries));
        answer(request.header(CONTENT_TYPE, PROTOBUF).body(grant)).await
    }

    /// Asks for the report of a query that was planned here.
    pub async fn view_own(&self, planned: &Planned, now: UnixMillis) -> Answer {
        let (query, Prepared { request, report_key }) = (planned.reference.query, &planned.prepared);
        self.view(query, self.grant(query, &request.subject, report_key.id(), now)).await
    }
}

impl System {
    /// The interface of this system's producer.
    ///
    /// # Panics
    /// If there is no client.
    #[must_use]
    pub fn front(&self) -> Front {
        let upstream = self.local.plan.upstream().clone();
        Front {
            key: sample::keys::signing(&PartyName::upstream(&upstream)),
            upstream,
            queries: format!("http://{}/v1/queries", self.local.producer()),
            client: plumbing::http::client(None).expect("no file can be wrong"),
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("the producer answers");
    let header = |name| {
        let value = response.headers().get(name)?;
        Some(value.to_str().expect("a text").to_owned())
    };
    Answer {
        status: response.status().as_u16(),
        headers: [header(CONTENT_TYPE), header(CONTENT_LENGTH)],
        body: response.bytes().await.expect("a body"),
    }
}
