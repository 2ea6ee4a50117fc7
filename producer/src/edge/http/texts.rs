//! `GET /v1/texts/{lang}`: what a person reads about every code, for a wallet to keep.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use schemas::ids::Digest;
use schemas::texts::{LANGUAGES, Words, families};
use schemas::wire::Language;
use serde::Serialize;
use utoipa::ToSchema;

use super::JSON;

/// How long a wallet may keep the texts without asking: they change with a release.
const KEPT: &str = "max-age=3600";

/// The texts of one language.
#[derive(Serialize, ToSchema)]
pub(super) struct TextsDocument {
    /// BCP 47 tag.
    language: &'static str,
    /// By family (`problem`, `query_state`, `bank_outcome`, …), then by code.
    texts: BTreeMap<&'static str, BTreeMap<&'static str, Words>>,
}

struct Published {
    tag: &'static str,
    etag: HeaderValue,
    document: Bytes,
}

static PUBLISHED: LazyLock<Vec<Published>> =
    LazyLock::new(|| LANGUAGES.iter().map(|(language, tag)| publish(*language, tag)).collect());

fn publish(language: Language, tag: &'static str) -> Published {
    let in_language = |family: schemas::texts::Family| {
        family.into_iter().map(|(code, told)| (code, told.in_language(language))).collect()
    };
    let texts = families().into_iter().map(|(name, family)| (name, in_language(family))).collect();
    let document = serde_json::to_vec(&TextsDocument { language: tag, texts }).unwrap_or_default();
    // Hex digits and quotes are a header's.
    let etag = HeaderValue::from_str(&format!("\"{}\"", Digest::of(&document)));
    Published { tag, etag: etag.unwrap_or(HeaderValue::from_static("\"\"")), document: document.into() }
}

/// The texts in the language called `tag`; only that they have not changed, to a caller who has them.
pub(super) fn texts(tag: &str, headers: &HeaderMap) -> Option<Response> {
    let published = PUBLISHED.iter().find(|published| published.tag == tag)?;
    let cached = [(ETAG, published.etag.clone()), (CACHE_CONTROL, HeaderValue::from_static(KEPT))];
    if has(headers, &published.etag) {
        return Some((StatusCode::NOT_MODIFIED, cached).into_response());
    }
    Some((cached, [(CONTENT_TYPE, JSON)], published.document.clone()).into_response())
}

/// Tags are compared weakly (RFC 9110, 13.1.2).
fn has(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let said = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = said.flat_map(|line| line.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
