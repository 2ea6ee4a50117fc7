//! What can be wrong with a configuration.

use std::fmt;
use std::path::PathBuf;

use super::place::Place;
use crate::exit::Exit;

/// Every rule that a configuration breaks, one line each: whoever mends one sees the others as well. A line begins with
/// its dotted key and a colon where it is about one key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Faults(Vec<String>);

impl Faults {
    /// A single one.
    pub fn one(fault: impl Into<String>) -> Self {
        Self(vec![fault.into()])
    }

    /// `Ok` when there are none.
    ///
    /// # Errors
    /// The faults.
    pub fn check(faults: Vec<String>) -> Result<(), Self> {
        if faults.is_empty() { Ok(()) } else { Err(Self(faults)) }
    }

    /// The lines.
    pub fn into_lines(self) -> Vec<String> {
        self.0
    }
}

/// One mistake, with the layer that made it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The layer, and the spot in it.
    pub place: Place,
    /// Dotted key; empty for a mistake of syntax and a rule about no single key.
    pub key: String,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, key, text } = self;
        if key.is_empty() { write!(f, "{place}: {text}") } else { write!(f, "{place}: {key}: {text}") }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Keys or values are wrong: all mistakes of all layers.
    #[error("{}", lines(.0))]
    Invalid(Vec<Fault>),
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

impl ConfigError {
    /// The exit code of a process that ends with this error.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Unreadable { .. } => Exit::NoInput,
            Self::Invalid(_) => Exit::Config,
        }
    }
}
