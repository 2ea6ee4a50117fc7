//! The contract's own tests, from outside: published vectors, golden bytes, forgeries, sizes, hostile input.

mod forgeries;
mod golden;
mod golden_store;
mod hostile;
mod mutants;
#[path = "../refused_entries/mod.rs"]
mod refused_entries;
mod registry;
mod report;
mod sizes;
mod vectors;
mod world;
