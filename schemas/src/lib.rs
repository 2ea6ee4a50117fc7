//! The wire contract: messages, topics, ids, codes, sealing and signing. No I/O, no clock.
//!
//! What banks, wallets and the hub agree on lives here and nowhere else. Time is always an argument.
//!
//! | to find | look in |
//! |---|---|
//! | the messages themselves | `proto/cardquery/v1/*.proto`, generated into [`wire`] |
//! | which topic carries what, for how long, and who may touch it | [`topics`], [`acls`] |
//! | what a code such as `REGION_NOT_OPEN` means | [`codes`] |
//! | what a person reads about every code that they can meet | [`texts`] |
//! | how a query is sealed and signed, and checked again | [`submission`], [`rules`] |
//! | how a bank is asked and answers | [`request`], [`reply`], [`batch`] |
//! | how a device opens its report | [`report`] |
//! | whose key counts, and when | [`registry`] |
//! | what proves years later what happened | [`audit`], [`erasure`] |

pub mod acls;
pub mod audit;
pub mod batch;
pub mod cloud_events;
pub mod codes;
pub mod erasure;
pub mod fields;
pub mod http;
pub mod identity;
pub mod ids;
pub mod keys;
pub mod merkle;
pub mod notice;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod redact;
pub mod registry;
pub mod reply;
pub mod report;
pub mod request;
pub mod rules;
pub mod seal;
pub mod sign;
pub mod submission;
pub mod texts;
pub mod time;
pub mod topics;
pub mod view;

/// Messages generated from `proto/`, as they travel. Everything else in this crate turns them into checked types.
#[allow(missing_docs, clippy::all, clippy::wildcard_enum_match_arm)]
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/cardquery.v1.rs"));
}
