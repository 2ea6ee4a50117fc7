//! How commands print what they report.

use std::io::Write;

use plumbing::exit::{Exit, Failure};
use serde::Serialize;

/// Prints a line or several on standard output.
///
/// # Errors
/// When it is closed.
pub fn say(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{}", text.trim_end()).map_err(|error| Exit::CannotCreate.because(error))
}

/// Prints one JSON document.
///
/// # Errors
/// When standard output is closed.
pub fn json(document: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(document).map_err(|error| Exit::Software.because(error))?;
    say(&text)
}
