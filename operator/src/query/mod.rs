//! `cardquery query show`: what became of one query.
//!
//! ```text
//!  hub (row, audit leaves) ─┐
//!                           ├─▶ timeline ─▶ text, JSON
//!  SMS topic ───────────────┘
//! ```
//!
//! | file | role |
//! |---|---|
//! | `options.rs` | the command line |
//! | `sms.rs` | the query's records in the SMS topic |
//! | `text.rs` | pure: the timeline for a person at a terminal |
//!
//! What must never happen here: a subject, or anything sealed, is printed.

pub mod options;
pub mod sms;
mod text;

use aggregator::edge::operations::Timeline;
use plumbing::exit::{Exit, Failure};
use schemas::ids::Reference;
use serde::Serialize;

use self::options::{Command, Name, Options};
use self::sms::SmsEvent;
use crate::config::{Config, Estate};
use crate::hub::Hub;
use crate::print;

/// What is printed with `--json`.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    timeline: &'a Timeline,
    sms: &'a [SmsEvent],
}

/// Asks and prints.
///
/// # Errors
/// With the exit code of what stands in the way; 66 with `QUERY_NOT_FOUND` when nothing is known of the query.
pub async fn run(options: Options) -> Result<(), Failure> {
    let Command::Show { config, query, json } = options.command;
    let (config, estate) = Config::load_with_estate(config.config.as_deref())?;
    let reference = reference(query, &estate)?;
    let (upstream, id) = (reference.upstream.as_str(), reference.query.to_string());
    let hub = Hub::new(&config)?;
    let timeline: Timeline = hub.get(&["operations", "queries", upstream, &id], &[]).await?;
    let sms = sms::of(&config.kafka, &estate.topics, &reference).await?;
    if json {
        print::json(&Printed { timeline: &timeline, sms: &sms })
    } else {
        print::say(&text::render(&timeline, &sms))
    }
}

fn reference(name: Name, estate: &Estate) -> Result<Reference, Failure> {
    let upstream = match (name.upstream, estate.upstreams.as_slice()) {
        (Some(upstream), _) => upstream,
        (None, [only]) => only.clone(),
        (None, several) => {
            let text =
                format!("the settings name {} upstreams: say <upstream>/{}", several.len(), name.query);
            return Err(Exit::Usage.because(text));
        }
    };
    Ok(Reference { upstream, query: name.query })
}
