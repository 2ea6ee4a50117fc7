//! `cardquery run`: the whole system on the local stack.
//!
//! A process that ends by itself is told with the end of its log, and the others go on: so it would be in production, and
//! so one can stop a bank by hand and see what happens.

pub mod options;
mod processes;

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use plumbing::exit::{Exit, Failure};
use plumbing::lifecycle::Signals;

use self::options::Options;
use self::processes::{Ended, Processes};
use super::plan::Plan;
use super::ready::Ask;
use super::secret_file;
use super::stack::Stack;
use super::{Local, Told};

/// Eighteen processes of a debug build on a small machine.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// A service drains for at most 60 s.
const STOPPED_WITHIN: Duration = Duration::from_secs(65);
const POLL: Duration = Duration::from_millis(200);
/// So many of those that are waited for are named.
const NAMED: usize = 4;
const LOG_LINES: usize = 15;

/// Runs until a signal.
///
/// # Errors
/// With the exit code of what stands in the way; 69 when a process had ended by itself.
pub async fn run(options: &Options) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(|error| Exit::Software.because(error))?;
    let stack = Stack::read(&options.stack.folder).map_err(|error| Exit::Unavailable.because(error))?;
    let plan = Plan {
        prefix: options.prefix.clone(),
        window: options.window,
        seed: options.seed,
        ..Plan::new(stack.system())
    };
    secret_file::folder(&plan.folder).map_err(|error| Exit::CannotCreate.because(error))?;
    let lock = plan.folder.join("lock");
    let lock = File::create(&lock).map_err(|error| Exit::CannotCreate.because(error))?;
    // Held until this process ends.
    lock.try_lock().map_err(|_| Exit::TryAgain.because("another `cardquery run` uses this stack"))?;

    let say = Say::new();
    say.line(&format!("cardquery {} on the stack in {}", env!("CARGO_PKG_VERSION"), stack.folder.display()));
    let local = Local::new(stack, plan)?;
    let mut processes = Processes::default();
    let started = tokio::select! {
        started = start(&local, &mut processes, &say) => started,
        signal = signals.next() => {
            say.step("stopping", signal);
            Ok(())
        }
    };
    match started {
        Ok(()) if processes.running() == local.services.len() => {}
        started => {
            stop(&mut processes, &say).await?;
            return started;
        }
    }
    watch(local, processes, &mut signals, &say).await
}

/// Prepares, starts, and returns once every process is ready.
async fn start(local: &Local, processes: &mut Processes, say: &Say) -> Result<(), Failure> {
    local.prepare(&mut |step| say.step("prepare", step)).await?;
    for service in &local.services {
        processes.start(service).map_err(|error| Exit::CannotCreate.because(error))?;
    }
    say.step("start", &format!("{} processes, logs in {}", local.services.len(), local.logs().display()));
    let ask = Ask::new().map_err(|error| Exit::Software.because(error))?;
    let deadline = Instant::now() + READY_WITHIN;
    let mut told = String::new();
    loop {
        if let Some(ended) = software(processes.ended())?.first() {
            return Err(Exit::Unavailable.because(accusation(ended)));
        }
        let waiting = processes.waiting(&ask).await;
        if waiting.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(
                Exit::Unavailable.because(format!("not ready in time: {}", summary(&waiting, usize::MAX)))
            );
        }
        let summary = summary(&waiting, NAMED);
        if summary != told {
            say.step("wait", &summary);
            told = summary;
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn watch(
    local: Local,
    mut processes: Processes,
    signals: &mut Signals,
    say: &Say,
) -> Result<(), Failure> {
    let Told { producer, sms_file, .. } = local.told();
    say.step("ready", &format!("window {} s for the 24 hours", local.plan.window.as_secs()));
    say.line(&format!("  producer    {producer}"));
    say.line(&format!("  hub         http://{}", local.hub()));
    for service in &local.services {
        say.line(&format!("  {:<15} {}", service.name, service.ready()));
    }
    say.line(&format!("  SMS         {}", sms_file.display()));
    say.line("Next, in another terminal: cardquery submit --person wang --region 310000");
    say.line("Ctrl-C stops everything but the stack.");
    let mut by_itself = Vec::new();
    loop {
        tokio::select! {
            signal = signals.next() => {
                say.step("stopping", signal);
                break;
            }
            () = tokio::time::sleep(POLL) => {}
        }
        for ended in software(processes.ended())? {
            say.line(&accusation(&ended));
            say.line(&format!("  {} processes go on", processes.running()));
            by_itself.push(ended.name);
        }
    }
    tokio::select! {
        stopped = stop(&mut processes, say) => stopped?,
        signal = signals.next() => {
            say.step("leaving", &format!("second {signal}"));
            return Err(Exit::TryAgain.because("processes were killed"));
        }
    }
    if by_itself.is_empty() {
        return Ok(());
    }
    Err(Exit::Unavailable.because(format!("ended by themselves: {}", by_itself.join(", "))))
}

async fn stop(processes: &mut Processes, say: &Say) -> Result<(), Failure> {
    let (stopped, killed) = software(processes.stop(STOPPED_WITHIN).await)?;
    for ended in stopped.iter().filter(|ended| !ended.status.success()) {
        say.line(&accusation(ended));
    }
    for name in &killed {
        say.line(&format!("  {name} had not stopped after {STOPPED_WITHIN:?} and was killed"));
    }
    say.step("stopped", &format!("{} processes", stopped.len()));
    if killed.is_empty() { Ok(()) } else { Err(Exit::TryAgain.because("processes were killed")) }
}

fn software<T>(result: Result<T, processes::ProcessError>) -> Result<T, Failure> {
    result.map_err(|error| Exit::Software.because(error))
}

/// That a process has ended, with the end of its log.
fn accusation(ended: &Ended) -> String {
    let log = std::fs::read_to_string(&ended.log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
    format!(
        "{} ended ({}); the end of {}:\n{}",
        ended.name,
        ended.status,
        ended.log.display(),
        tail.join("\n")
    )
}

/// What is waited for, naming so many at most.
fn summary(waiting: &[(String, String)], named: usize) -> String {
    let mut texts: Vec<String> =
        waiting.iter().take(named).map(|(name, what)| format!("{name} ({what})")).collect();
    if waiting.len() > named {
        texts.push(format!("{} more", waiting.len() - named));
    }
    texts.join(", ")
}

/// Tells a person what happens, on standard error.
struct Say {
    started: Instant,
}

impl Say {
    fn new() -> Self {
        Self { started: Instant::now() }
    }

    fn step(&self, label: &str, text: &str) {
        self.line(&format!("  {label:<11} {text}  {:.1} s", self.started.elapsed().as_secs_f64()));
    }

    fn line(&self, text: &str) {
        // Nobody is left to be told when standard error is closed.
        drop(writeln!(std::io::stderr(), "{text}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_named_and_the_others_counted() {
        let waiting: Vec<_> = (0..6).map(|n| (format!("bank-{n}"), "registry".to_owned())).collect();
        assert_eq!(summary(&waiting, 2), "bank-0 (registry), bank-1 (registry), 4 more");
        assert_eq!(summary(&waiting[..1], 2), "bank-0 (registry)");
    }
}
