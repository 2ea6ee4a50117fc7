//! Looks for what must not be there: needles in named bytes, in every encoding in which bytes tend to travel.
//!
//! | to find | look in |
//! |---|---|
//! | what is looked for, and the rules of what counts | `needle.rs` |
//! | in which readings of the bytes | `view.rs` |
//! | how | `matcher.rs` |
//! | what it must find when planted | [`plant`] |
//! | everything that the hub sees of a run | [`run`] |
//!
//! A scan that finds nothing proves nothing until the same scan has found what was planted: see `canary.rs` of the
//! tests, and the tests beside this module.

mod matcher;
mod needle;
pub mod plant;
pub mod run;
mod view;

#[cfg(test)]
mod tests;

pub use self::matcher::{Finding, Scanner};
pub use self::needle::{Kind, Needles};
pub use self::view::Encoding;

/// Bytes with a name that tells where they come from.
#[derive(Clone)]
pub struct Item {
    /// For example `demo.reply.anhe.v1:0:3 value`.
    pub name: String,
    /// What was seen there.
    pub bytes: Vec<u8>,
}

impl Item {
    /// Bytes seen at a place.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Item({}, {} bytes)", self.name, self.bytes.len())
    }
}
