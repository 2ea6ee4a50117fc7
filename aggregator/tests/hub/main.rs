//! The aggregator on the in-process broker: records in, records and reports out.

mod asking;
mod asking_often;
mod erasing;
mod finalising;
mod holding;
mod http;

mod joining;
mod logging;
mod parties;
#[expect(unreachable_pub, reason = "the same file is part of a library")]
#[path = "../../../tests/src/audit_log.rs"]
mod published;
#[path = "../../../schemas/tests/refused_entries/mod.rs"]
mod refused_entries;
mod registering;
mod rejecting;
mod replying;
mod restarting;
mod rotating;
mod stand;
mod suspending;
mod withdrawing;
