//! What the documents of the two HTTP interfaces share (OpenAPI 3.1).

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::security::{SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response, ResponseBuilder};

use crate::codes::Code;
use crate::http::{PROBLEM_JSON, Problem};

/// Name of the one security scheme.
const MUTUAL_TLS: &str = "mutual_tls";

/// An encoded protobuf message, as a body.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct Encoded(pub Vec<u8>);

/// The problem documents that an operation can end with, by status, with an example of each.
pub fn problems(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status()).or_default().push(*code);
    }
    by_status.into_iter().map(|(status, codes)| (status.to_string(), response(&codes).into())).collect()
}

fn response(codes: &[Code]) -> Response {
    let lines: Vec<_> = codes.iter().map(|code| format!("- `{code}`: {}", code.help())).collect();
    let examples = codes.iter().map(|code| {
        let document = serde_json::to_value(Problem::of(*code)).unwrap_or_default();
        (code.as_str(), ExampleBuilder::new().value(Some(document)).build())
    });
    let schema = Ref::from_schema_name("Problem");
    let content = Content::builder().schema(Some(schema)).examples_from_iter(examples).build();
    ResponseBuilder::new().description(lines.join("\n")).content(PROBLEM_JSON, content).build()
}

/// The document as it is published: every operation for callers with a certificate, which `certificate` describes.
pub fn published(mut document: OpenApi, certificate: &str) -> Value {
    let scheme = SecurityScheme::MutualTls { description: Some(certificate.to_owned()), extensions: None };
    let components = document.components.get_or_insert_default();
    components.security_schemes.insert(MUTUAL_TLS.to_owned(), scheme);
    document.security = Some(vec![SecurityRequirement::new(MUTUAL_TLS, Vec::<String>::new())]);
    serde_json::to_value(document).unwrap_or_default()
}

/// The text of a document, as it is committed, printed and served.
pub fn text(document: &Value) -> String {
    format!("{document:#}\n")
}
