//! The aggregator's store on a real PostgreSQL.

mod begin;
mod contract;
mod races;
mod stand;
