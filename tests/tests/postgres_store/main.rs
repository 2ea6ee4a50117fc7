//! The aggregator's store on a real PostgreSQL.

mod contract;
mod stand;
