//! Mistakes in the settings, a line each.

use super::report::{Report, State};
use crate::config::ConfigError;
use crate::exit::Exit;

/// The settings, if nothing is wrong with them; `seen` says what was read, `explain` is the command that tells where a
/// value comes from, where there is one.
pub fn settings<T>(
    read: Result<T, ConfigError>,
    seen: impl Into<String>,
    explain: Option<&str>,
    report: &mut Report,
) -> Option<T> {
    match read {
        Ok(settings) => {
            report.ok("config", seen);
            Some(settings)
        }
        Err(ConfigError::Invalid(faults)) => {
            for fault in faults {
                let fix = match explain {
                    Some(explain) if !fault.key.is_empty() => {
                        format!("correct it there; {explain} {} tells what set it", fault.key)
                    }
                    Some(_) | None => "correct it there".to_owned(),
                };
                report.add("config", fault.to_string(), State::failed(Exit::Config, fix));
            }
            None
        }
        Err(error @ ConfigError::Unreadable { .. }) => {
            let fix = "name a file or folder that this user may read with --config";
            report.add("config", error.to_string(), State::failed(error.exit(), fix));
            None
        }
    }
}
