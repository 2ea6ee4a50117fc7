//! `cardquery bank`: how banks answer, and asking one no more for a while.
//!
//! | file | role |
//! |---|---|
//! | `options.rs` | the command line |
//! | `text.rs` | pure: banks for a person at a terminal |
//!
//! A pause is a row of the hub, in force in every instance within seconds. Replies are taken as ever.

pub mod options;
pub(crate) mod text;

use aggregator::edge::operations::{BankSummary, BanksFacts, Changed, Reason};
use plumbing::exit::{Exit, Failure};
use reqwest::Method;
use schemas::codes::Code;
use schemas::ids::BankId;
use serde::Serialize;

use self::options::{Change, Command, Figures, Options};
use crate::config::Config;
use crate::hub::Hub;
use crate::print;

/// What is printed of a change with `--json`.
#[derive(Serialize)]
struct Told<'a> {
    /// `pause` or `resume`.
    action: &'static str,
    bank: &'a str,
    /// Whether it was done; without, this is the plan.
    executed: bool,
    /// Whether it changes anything.
    changes: bool,
    /// The pause that holds, or that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pause: Option<&'a aggregator::edge::operations::PauseFacts>,
}

/// Runs the command and prints.
///
/// # Errors
/// With the exit code of what stands in the way; 66 for a bank that is not there.
pub async fn run(options: Options) -> Result<(), Failure> {
    match options.command {
        Command::Ls(figures) => {
            let facts = banks(&figures).await?;
            if figures.json { print::json(&facts) } else { print::say(&text::list(&facts)) }
        }
        Command::Show { bank, figures } => {
            let facts = banks(&figures).await?;
            let one = find(&bank, &facts)?;
            if figures.json {
                print::json(&BanksFacts { banks: vec![one.clone()], ..facts.clone() })
            } else {
                print::say(&text::show(one, &facts))
            }
        }
        Command::Pause { change, reason } => pause(&change, reason).await,
        Command::Resume(change) => resume(&change).await,
    }
}

async fn pause(change: &Change, reason: String) -> Result<(), Failure> {
    let hub = hub(change)?;
    let facts = summary(&hub).await?;
    let bank = find(&change.bank, &facts)?;
    if !change.execute {
        let told = match &bank.paused {
            Some(pause) => format!("{}: nothing to do", text::pause(pause)),
            None => format!(
                "would pause {} ({}): it is not asked until it is resumed, and what it says is taken as ever. A query whose \
                 time to ask is over meanwhile says NO_REPLY of a bank that was not heard.\nnothing was changed: say --execute \
                 to pause it",
                bank.bank, bank.state
            ),
        };
        return tell(change, "pause", bank.paused.is_none(), bank.paused.as_ref(), &told);
    }
    let path = ["operations", "banks", change.bank.as_str(), "pause"];
    let done: Changed = hub.send(Method::PUT, &path, &Reason { reason }).await?;
    let told = match (&done.pause, done.changed) {
        (Some(pause), true) => text::pause(pause),
        (Some(pause), false) => format!("{}: nothing was changed", text::pause(pause)),
        (None, _) => format!("{} is paused", change.bank),
    };
    tell(change, "pause", done.changed, done.pause.as_ref(), &told)
}

async fn resume(change: &Change) -> Result<(), Failure> {
    let hub = hub(change)?;
    let facts = summary(&hub).await?;
    let bank = find(&change.bank, &facts)?;
    if !change.execute {
        let told = match &bank.paused {
            Some(pause) => format!(
                "{}\nwould resume it: what waited for it is asked, where there is still time\nnothing was changed: say \
                 --execute to resume it",
                text::pause(pause)
            ),
            None => format!("{} is not paused: nothing to do", bank.bank),
        };
        return tell(change, "resume", bank.paused.is_some(), bank.paused.as_ref(), &told);
    }
    let path = ["operations", "banks", change.bank.as_str(), "pause"];
    let done: Changed = hub.send(Method::DELETE, &path, &()).await?;
    let told = match &done.pause {
        Some(pause) => format!("{} is asked again; it was paused since {}", change.bank, pause.since),
        None => format!("{} was not paused: nothing was changed", change.bank),
    };
    tell(change, "resume", done.changed, done.pause.as_ref(), &told)
}

fn tell(
    change: &Change,
    action: &'static str,
    changes: bool,
    pause: Option<&aggregator::edge::operations::PauseFacts>,
    text: &str,
) -> Result<(), Failure> {
    if change.json {
        let bank = change.bank.as_str();
        return print::json(&Told { action, bank, executed: change.execute, changes, pause });
    }
    print::say(text)
}

fn hub(change: &Change) -> Result<Hub, Failure> {
    let (config, _) = Config::load_with_estate(change.config.config.as_deref())?;
    Hub::new(&config)
}

async fn banks(figures: &Figures) -> Result<BanksFacts, Failure> {
    let (config, _) = Config::load_with_estate(figures.config.config.as_deref())?;
    let seconds = figures.since.as_secs().to_string();
    Hub::new(&config)?.get(&["operations", "banks"], &[("seconds", seconds)]).await
}

/// State and pause of every bank, at the price of the shortest span of figures.
async fn summary(hub: &Hub) -> Result<BanksFacts, Failure> {
    hub.get(&["operations", "banks"], &[("seconds", "1".to_owned())]).await
}

fn find<'a>(id: &BankId, facts: &'a BanksFacts) -> Result<&'a BankSummary, Failure> {
    facts.banks.iter().find(|bank| bank.bank == id.as_str()).ok_or_else(|| {
        let text = format!("{}: neither the registry nor a report has a bank `{id}`", Code::BANK_UNKNOWN);
        Exit::NoInput.because(text)
    })
}
