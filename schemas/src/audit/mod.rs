//! The audit log: what proves, years later and without any content, what happened to a query.
//!
//! ```text
//!  change ──encode──▶ leaf ──SHA-256(0x00 ‖ leaf)──▶ RFC 9162 tree ──root──▶ checkpoint, signed by the hub
//! ```
//!
//! | file | role |
//! |---|---|
//! | `leaf.rs` | the bytes of every kind of leaf, and back |
//! | `proof.rs` | what stays of a bank's reply: what it signed |
//! | `frontier.rs` | the root of a log that only grows, without its leaves |
//! | `paths.rs` | proofs that a leaf is in the log, and that a log goes on from an earlier one |
//! | `checkpoint.rs` | the signed word on size and root, as C2SP tlog-checkpoint |
//!
//! What must never happen here: content, or anything derived from a card or an identity, in a leaf. A leaf's form is never
//! changed: leaves are evidence for years.

pub mod checkpoint;
pub mod frontier;
pub mod leaf;
pub mod paths;
pub mod proof;

pub use self::checkpoint::Checkpoint;
pub use self::frontier::Frontier;
pub use self::leaf::{Change, Leaf};
pub use self::proof::{Proof, Proven};
