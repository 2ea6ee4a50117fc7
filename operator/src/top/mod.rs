//! `cardquery top`: the hub and its banks at a glance.
//!
//! ```text
//!  hub ─▶ snapshot ─┬─▶ view ─▶ terminal ◀─ keys
//!                   ├─▶ text (--once, or no terminal)
//!                   └─▶ JSON
//! ```
//!
//! | file | role |
//! |---|---|
//! | `options.rs` | the command line |
//! | `snapshot.rs` | pure: what is seen at a moment, and how bad it is |
//! | `view.rs` | pure: a snapshot on a screen, and what keys do |
//!
//! The terminal is given back as it was, however the command ends.

pub mod options;
pub mod snapshot;
pub mod view;

use std::io::IsTerminal;
use std::time::Duration;

use aggregator::edge::operations::{BanksFacts, Overview};
use plumbing::exit::{Exit, Failure};
use plumbing::lifecycle::Signals;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::options::Options;
use self::snapshot::Snapshot;
use self::view::{Asked, View, render};
use crate::config::Config;
use crate::hub::Hub;
use crate::print;

/// How long the reader of keys waits before it looks whether it is still wanted.
const POLL: Duration = Duration::from_millis(100);

/// Shows it.
///
/// # Errors
/// With the exit code of what stands in the way.
pub async fn run(options: Options) -> Result<(), Failure> {
    let (config, _) = Config::load_with_estate(options.config.config.as_deref())?;
    let hub = Hub::new(&config)?;
    // Before the terminal is taken: what stands in the way is told in plain text.
    let first = ask(&hub, options.since).await?;
    if options.json {
        return print::json(&first);
    }
    if options.once || !std::io::stdout().is_terminal() {
        return print::say(&format!(
            "{}\n\n{}",
            first.lines().join("\n"),
            crate::bank::text::list(&first.banks)
        ));
    }
    let mut signals = Signals::listen().map_err(|error| Exit::Software.because(error))?;
    // Also gives the terminal back before a panic's text.
    let mut terminal = ratatui::try_init().map_err(|error| Exit::CannotCreate.because(error))?;
    let shown = show(&mut terminal, &hub, first, &options, &mut signals).await;
    ratatui::restore();
    shown
}

async fn ask(hub: &Hub, since: Duration) -> Result<Snapshot, Failure> {
    let seconds = [("seconds", since.as_secs().to_string())];
    let (overview, banks): (Overview, BanksFacts) = futures::future::try_join(
        hub.get(&["operations", "overview"], &[]),
        hub.get(&["operations", "banks"], &seconds),
    )
    .await?;
    Ok(Snapshot::new(overview, banks))
}

async fn show(
    terminal: &mut DefaultTerminal,
    hub: &Hub,
    mut snapshot: Snapshot,
    options: &Options,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let mut events = keys(stop)?;
    let mut ticks = tokio::time::interval(options.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    let mut view = View::default();
    loop {
        terminal
            .draw(|frame| render(frame, &snapshot, &view))
            .map_err(|error| Exit::CannotCreate.because(error))?;
        let asked = tokio::select! {
            _ = signals.next() => Asked::Leave,
            _ = ticks.tick() => Asked::Refresh,
            event = events.recv() => match event {
                Some(Event::Key(key)) => view.press(key, snapshot.banks.banks.len()),
                // Another size, or another window in front.
                Some(_) => Asked::Draw,
                None => Asked::Leave,
            },
        };
        match asked {
            Asked::Draw => {}
            Asked::Leave => return Ok(()),
            Asked::Refresh => {
                ticks.reset();
                match ask(hub, options.since).await {
                    Ok(newer) => (snapshot, view.failed) = (newer, None),
                    Err(failure) => view.failed = Some(failure.to_string()),
                }
                view.selected = view.selected.min(snapshot.banks.banks.len().saturating_sub(1));
            }
        }
    }
}

/// Reads the terminal on a thread of its own: reading blocks.
fn keys(stop: CancellationToken) -> Result<mpsc::UnboundedReceiver<Event>, Failure> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let read = move || {
        while !stop.is_cancelled() {
            match event::poll(POLL) {
                Ok(false) => {}
                Ok(true) => {
                    let sent = event::read().ok().and_then(|event| sender.send(event).ok());
                    if sent.is_none() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    };
    std::thread::Builder::new()
        .name("keys".into())
        .spawn(read)
        .map_err(|error| Exit::Software.because(error))?;
    Ok(receiver)
}
