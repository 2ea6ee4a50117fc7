//! What the operator's command is made of.
//!
//! | to find | look in |
//! |---|---|
//! | the audit log, copied, verified and proved from | [`audit`] |
//! | one query through the whole system, in one process | [`demo`] |
//! | the whole system on real servers, one process per service and bank | [`local`] |
//! | a query to a running system, followed to the opened report and the SMS | [`submit`] |
//! | making a cluster match the table of topics | [`topics`] |
//! | the table's access lists and topics in other tools' words | [`render`] |
//! | writing and reading registry entries | [`registry`] |
//! | one query's timeline; how banks answer, and pausing one | [`query`], [`bank`] |
//! | the hub at a glance; records as they pass | [`top`], [`tap`] |
//! | the settings | [`config`] |
//! | asking the hub | [`hub`] |
//! | the made-up banks, their keys and their registry entries | [`sample`] |

pub mod audit;
pub mod bank;
pub mod config;
pub mod demo;
pub mod hub;
pub mod local;
pub mod print;
pub mod query;
pub mod registry;
pub mod render;
pub mod sample;
pub mod submit;
pub mod tap;
pub mod top;
pub mod topics;
