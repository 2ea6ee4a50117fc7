//! The aggregator on the in-process broker: records in, records and reports out.

mod asking;
mod finalising;
mod http;
mod joining;
mod parties;
mod registering;
mod rejecting;
mod replying;
mod restarting;
mod stand;
mod withdrawing;
