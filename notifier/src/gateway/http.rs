//! An SMS gateway behind HTTP. What it must answer is docs/sms-gateway.md; what it answers besides is no outcome.
//!
//! In: one SMS, or one out-id. Out: what the gateway said, as far as this interface knows it. What must never happen here:
//! an answer that is not certain counts as one that is.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use plumbing::http::{MutualTls, TlsError};
use reqwest::header::{CONNECTION, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use schemas::codes::Code;
use schemas::ids::MessageId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::signature::{GatewaySecret, SIGNATURE, TIMESTAMP};
use super::{Gateway, GatewayOutcome, Inquired, Inquiries, OutgoingSms};
use crate::domain::evidence::Said;
use crate::domain::sms::Outcome;
use crate::domain::text::TEMPLATE;
use crate::edge::now;

/// Largest answer in bytes that is read.
const MAX_ANSWER: usize = 16 * 1024;
/// Longest id of a message that is taken from a gateway.
const MAX_ID: usize = 128;

/// The gateway.
#[derive(Debug)]
pub struct HttpGateway {
    client: Client,
    url: Url,
    secret: GatewaySecret,
    declared: Declared,
    /// How long one of `places` is waited for. Whoever gets none has sent nothing.
    place_within: Duration,
    answer_within: Duration,
    places: Semaphore,
}

/// What the gateway's operator says it does.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// It sends nothing twice under one out-id.
    pub idempotent: bool,
    /// It can be asked what became of an out-id.
    pub inquiries: bool,
}

#[derive(Serialize)]
struct Order<'a> {
    out_id: String,
    to: &'a str,
    template_id: &'static str,
    language: &'static str,
    parameters: BTreeMap<&'static str, String>,
    text: String,
}

#[derive(Deserialize)]
struct Taken {
    id: String,
}

#[derive(Deserialize)]
struct NotTaken {
    taken: bool,
}

/// What became of an SMS, in the words of this interface.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
enum Fate {
    Open,
    Accepted { id: String },
    Delivered,
    Failed,
    Refused,
}

impl HttpGateway {
    /// A gateway at `url`. A call takes `timeout` at most: a quarter of it to wait for one of `connections`, the rest for
    /// the gateway's answer.
    ///
    /// # Errors
    /// When the files of `tls` cannot be used.
    pub fn new(
        url: Url,
        tls: Option<&MutualTls>,
        secret: GatewaySecret,
        declared: Declared,
        timeout: Duration,
        connections: usize,
    ) -> Result<Self, TlsError> {
        Ok(Self {
            client: plumbing::http::client(tls)?,
            url,
            secret,
            declared,
            place_within: timeout / 4,
            answer_within: timeout / 4 * 3,
            places: Semaphore::new(connections),
        })
    }

    /// `request` with its signature.
    fn signed(&self, method: Method, url: Url, body: Vec<u8>) -> RequestBuilder {
        let at = now();
        let signature = self.secret.sign(at, method.as_str(), url.path(), &body);
        self.client
            .request(method, url)
            .timeout(self.answer_within)
            .header(TIMESTAMP, at.0)
            .header(SIGNATURE, signature)
            .body(body)
    }

    async fn order(&self, sms: &OutgoingSms) -> GatewayOutcome {
        let order = Order {
            out_id: sms.out_id.to_string(),
            to: sms.to.expose(),
            template_id: TEMPLATE,
            language: sms.language.tag(),
            parameters: sms.message.parameters().into(),
            text: sms.text(),
        };
        let body = serde_json::to_vec(&order).expect("texts are JSON");
        let Ok(Ok(_place)) = tokio::time::timeout(self.place_within, self.places.acquire()).await else {
            return GatewayOutcome::NotTaken { retry_after: None };
        };
        let request = self.signed(Method::POST, self.url.clone(), body);
        // A connection of its own: one that is used again may end under the order, and nobody knows then whether it arrived.
        let request = request.header(CONTENT_TYPE, "application/json").header(CONNECTION, "close");
        let response = match request.send().await {
            Ok(response) => response,
            // Not one byte of the SMS left without a connection.
            Err(error) if error.is_connect() => return GatewayOutcome::NotTaken { retry_after: None },
            Err(error) => return GatewayOutcome::Unknown { said: said(&error) },
        };
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        match body_of(response).await {
            Ok(answer) => ordered(status, retry_after, &answer, sms),
            Err(said) => GatewayOutcome::Unknown { said },
        }
    }

    async fn ask(&self, out_id: MessageId) -> Inquired {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{out_id}", self.url.path().trim_end_matches('/')));
        let Ok(Ok(_place)) = tokio::time::timeout(self.place_within, self.places.acquire()).await else {
            return Inquired::Open(Said::Timeout);
        };
        let response = match self.signed(Method::GET, url, Vec::new()).send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Inquired::Open(Said::Unreachable),
            Err(error) => return Inquired::Open(said(&error)),
        };
        let status = response.status();
        match body_of(response).await {
            Ok(answer) => inquired(status, &answer),
            Err(said) => Inquired::Open(said),
        }
    }
}

fn ordered(
    status: StatusCode,
    retry_after: Option<Duration>,
    answer: &[u8],
    sms: &OutgoingSms,
) -> GatewayOutcome {
    let unknown = GatewayOutcome::Unknown { said: Said::Status(status.as_u16()) };
    match status {
        _ if status.is_success() => match serde_json::from_slice(answer) {
            Ok(Taken { id }) if is_id(&id) => {
                // Its id goes into the SMS topic, where no number may stand.
                let named = id.contains(sms.to.expose().trim_start_matches('+'));
                GatewayOutcome::Accepted { gateway_id: if named { sms.out_id.to_string() } else { id } }
            }
            Ok(_) | Err(_) => GatewayOutcome::Unknown { said: Said::Unreadable },
        },
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            // That there is a code is what counts; the gateway's own words stay behind.
            match serde_json::from_slice::<Value>(answer) {
                Ok(refusal) if refusal["code"].is_string() => {
                    GatewayOutcome::Refused { code: Code::GATEWAY_REFUSED }
                }
                Ok(_) | Err(_) => unknown,
            }
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            match (retry_after, serde_json::from_slice(answer)) {
                (Some(_), Ok(NotTaken { taken: false })) => GatewayOutcome::NotTaken { retry_after },
                (None, _) | (_, Ok(NotTaken { taken: true }) | Err(_)) => unknown,
            }
        }
        _ => unknown,
    }
}

fn inquired(status: StatusCode, answer: &[u8]) -> Inquired {
    if status != StatusCode::OK {
        return Inquired::Open(Said::Status(status.as_u16()));
    }
    match serde_json::from_slice(answer) {
        Ok(Fate::Accepted { id }) if is_id(&id) => Inquired::Known(Outcome::Sent { gateway_id: id }),
        Ok(Fate::Delivered) => Inquired::Known(Outcome::Delivered),
        Ok(Fate::Failed) => Inquired::Known(Outcome::Undelivered),
        Ok(Fate::Refused) => Inquired::Known(Outcome::Failed { code: Code::GATEWAY_REFUSED }),
        Ok(Fate::Open) => Inquired::Open(Said::Open),
        Ok(Fate::Accepted { .. }) | Err(_) => Inquired::Open(Said::Unreadable),
    }
}

fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

fn said(error: &reqwest::Error) -> Said {
    if error.is_timeout() { Said::Timeout } else { Said::Cut }
}

/// Only the form in seconds: a date would need the gateway's clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

async fn body_of(mut response: Response) -> Result<Vec<u8>, Said> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| said(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Said::Unreadable);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

impl Gateway for HttpGateway {
    fn send<'a>(&'a self, sms: &'a OutgoingSms) -> BoxFuture<'a, GatewayOutcome> {
        self.order(sms).boxed()
    }

    fn idempotent(&self) -> bool {
        self.declared.idempotent
    }

    fn inquiries(&self) -> Option<&dyn Inquiries> {
        self.declared.inquiries.then_some(self)
    }
}

impl Inquiries for HttpGateway {
    fn inquire(&self, out_id: MessageId) -> BoxFuture<'_, Inquired> {
        self.ask(out_id).boxed()
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
