//! `cardquery registry`: who takes part, with which keys, as entries that two offline root keys sign.
//!
//! ```text
//!  topic ─▶ show --draft ─▶ draft ─▶ sign (root 1) ─▶ sign (root 2) ─▶ publish ─▶ topic
//!                             a file that a person reads      a file whose signed bytes never change
//! ```
//!
//! | file | role |
//! |---|---|
//! | `document.rs` | pure: an entry as a person reads it |
//! | `draft.rs` | pure: the next entry after a change |
//! | `entry_file.rs` | an entry with its signatures, as a file |
//! | `key.rs` | new keys, and files of secret keys |
//! | `topic.rs` | the topic, read as every service reads it |
//! | `plan.rs` | pure: what an entry would change, and why it must not be published |
//! | `publish.rs` | whether topics are there, and the record |
//! | `text.rs` | how a person and a program read all that |
//! | `options.rs` | the command line |
//!
//! What must never happen here: an entry is published that a reader refuses, or signed bytes are encoded again.

pub mod document;
pub mod draft;
pub mod entry_file;
mod error;
mod files;
mod key;
pub mod options;
mod plan;
mod publish;
mod text;
mod topic;

use std::io::Write;

use plumbing::exit::{Exit, Failure};
use schemas::time::UnixMillis;

pub use self::error::RegistryCommandError;
use self::options::{Command, KeyCommand, Options, Show};
use self::topic::Topic;
use crate::config::Config;

/// Runs the command and prints.
///
/// # Errors
/// With the exit code of what stands in the way.
pub async fn run(options: Options) -> Result<(), Failure> {
    let told = match options.command {
        Command::Key(KeyCommand::New { kind, out }) => key::create(kind, &out),
        Command::Draft(draft) => draft.write(),
        Command::Sign(sign) => sign.write(),
        Command::Publish(publish) => publish::run(&publish).await,
        Command::Show(show) => show_topic(&show).await,
    };
    say(&told.map_err(|error| error.exit().because(error))?)
}

async fn show_topic(show: &Show) -> Result<String, RegistryCommandError> {
    let topic = Topic::read(&settings(show.config.config.as_deref())?).await?;
    if show.draft {
        // The command line asks for a party with it.
        let party = show.party.iter().next().ok_or(RegistryCommandError::NoParty)?;
        return topic.document(party)?.to_toml();
    }
    text::topic(&topic, show.party.as_ref(), show.json, now())
}

/// Where the registry is, and who signs it.
struct Settings {
    kafka: plumbing::kafka::KafkaConfig,
    topics: schemas::topics::Topics,
    roots: Vec<schemas::keys::VerifyingKey>,
}

fn settings(path: Option<&std::path::Path>) -> Result<Settings, RegistryCommandError> {
    let config = Config::load(path)?;
    let topics = config.estate()?.topics;
    Ok(Settings { topics, roots: config.registry.roots()?, kafka: config.kafka })
}

fn now() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}

fn say(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{}", text.trim_end()).map_err(|error| Exit::CannotCreate.because(error))
}
