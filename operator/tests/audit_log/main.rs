//! The audit log as files: exported, verified, spoiled in every way, and proved from.

#![allow(clippy::unwrap_used)]

mod command;
mod content;
mod exporting;
mod other_verifier;
mod proving;
mod spoiling;
mod world;
