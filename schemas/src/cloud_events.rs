//! Record headers in CloudEvents 1.0 binary mode (Kafka protocol binding). Nothing that is signed travels here.

use crate::ids::{MessageId, Reference};
use crate::time::UnixMillis;

/// What the headers of one record say.
#[derive(Clone, Debug)]
pub struct CloudEvent<'a> {
    /// Derived from (reference, kind), so that a re-emission is recognised.
    pub id: MessageId,
    /// Message name, for example `CardRequest`.
    pub kind: &'static str,
    /// Who wrote it, for example `hub`.
    pub source: &'a str,
    /// When it was written.
    pub time: UnixMillis,
    /// The query.
    pub reference: &'a Reference,
    /// After this the record is of no use.
    pub expires_at: Option<UnixMillis>,
}

impl CloudEvent<'_> {
    /// The headers, UTF-8.
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let mut headers = vec![
            header("ce_specversion", "1.0"),
            header("ce_id", self.id),
            header("ce_type", format_args!("cardquery.{}.v1", self.kind)),
            header("ce_source", format_args!("/cardquery/{}", self.source)),
            header("ce_time", self.time),
            header("ce_correlationid", self.reference.query),
            header("content-type", "application/protobuf"),
        ];
        headers.extend(self.expires_at.map(|at| header("ce_expirytime", at)));
        headers
    }
}

fn header(name: &str, value: impl ToString) -> (String, Vec<u8>) {
    (name.to_owned(), value.to_string().into_bytes())
}
