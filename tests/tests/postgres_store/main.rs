//! The aggregator's store on a real PostgreSQL.

mod begin;
mod contract;
mod days;
mod deadline;
mod erasing;
mod logging;
mod outbox;
mod races;
mod stand;
mod views;
