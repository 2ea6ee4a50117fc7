//! `cardquery dlq`: looks at dead letters, and puts them back, out or away.
//!
//! ```text
//!  dead-letter topics ─▶ select ─▶ ls, show, export
//!                          │
//!                          ├─▶ plan ─▶ text, JSON, file with a hash
//!                          │    └────▶ redrive, with --execute ─▶ the topic that the headers name
//!                          └─▶ drop, with --execute
//! ```
//!
//! | file | role |
//! |---|---|
//! | `origin.rs` | pure: where a dead letter came from, by the headers of whoever wrote it |
//! | `letter.rs` | pure: what may be told of a dead letter |
//! | `select.rs` | pure: which dead letters are meant; `read.rs`: reads them |
//! | `plan.rs` | pure: what goes back, what not and why; the record that goes back |
//! | `plan_file.rs`, `progress.rs` | a plan as a file, and how far it was carried out |
//! | `redrive.rs`, `export.rs`, `drop.rs` | the commands that do something |
//! | `text.rs` | how a person reads it |
//! | `options.rs` | the command line |
//!
//! What must never happen here: a payload is printed; a record is written to another topic than the one that its headers
//! name and that its dead letters belong to; a record is published twice by one plan without being told to.

mod drop;
mod error;
mod export;
pub mod letter;
pub mod options;
pub mod origin;
pub mod plan;
mod plan_file;
mod progress;
mod read;
mod redrive;
pub mod select;
mod text;

use std::io::Write;

use plumbing::exit::{Exit, Failure};
use plumbing::kafka::KafkaConfig;
use schemas::topics::Topics;

pub use self::error::DlqError;
use self::letter::{Letter, Summary};
use self::options::{Command, ConfigPath, Options};
use crate::config::Config;

/// The settings file that stands for its folder: this command has a broker user of its own.
const FILE: &str = "redrive.toml";

/// Runs the command and prints.
///
/// # Errors
/// With the exit code of what stands in the way.
pub async fn run(options: Options) -> Result<(), Failure> {
    let told = match options.command {
        Command::Ls(reading) => {
            let site = Site::load(&reading.config);
            async {
                let letters = site?.letters(&reading.select).await?;
                let summary = Summary::of(&letters);
                if reading.json { json(&summary) } else { Ok(summary.to_string()) }
            }
            .await
        }
        Command::Show(reading) => {
            let site = Site::load(&reading.config);
            async {
                let letters = site?.letters(&reading.select).await?;
                if reading.json { json(&letters) } else { Ok(text::letters(&letters)) }
            }
            .await
        }
        Command::Export(export) => export::run(&export).await,
        Command::Redrive(redrive) => redrive::run(&redrive).await,
        Command::Drop(drop) => drop::run(&drop).await,
    };
    say(&told.map_err(|error| error.exit().because(error))?)
}

/// Where the dead letters are.
struct Site {
    kafka: KafkaConfig,
    topics: Topics,
}

impl Site {
    fn load(path: &ConfigPath) -> Result<Self, DlqError> {
        let config = Config::load_file(path.config.as_deref(), FILE)?;
        let topics = config.estate()?.topics;
        // A reader that assigns itself partitions uses the group of this name, which is the one that the user has.
        let kafka = KafkaConfig { client_id: topics.group("redrive"), ..config.kafka };
        Ok(Self { kafka, topics })
    }

    async fn letters(&self, select: &select::Select) -> Result<Vec<Letter>, DlqError> {
        let topics = self.topics.clone();
        read::read(&self.kafka, &self.topics, select, move |record| Letter::of(&record, &topics)).await
    }
}

fn json(document: &impl serde::Serialize) -> Result<String, DlqError> {
    serde_json::to_string_pretty(document).map_err(|error| DlqError::Form(error.to_string()))
}

fn say(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{}", text.trim_end()).map_err(|error| Exit::CannotCreate.because(error))
}
