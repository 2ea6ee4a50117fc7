//! What a process says about itself.
//!
//! | question | answered by | a "no" means |
//! |---|---|---|
//! | live? | the poll loops turn; nothing about Kafka, PostgreSQL, Redis or a bank | restart it |
//! | ready? | started, not stopping, and every registered check | send it no work |
//! | started? | the service has put its parts together | wait |
//!
//! Parts register what they know when they start. A check must answer at once: it looks at what a part has noted and
//! asks nobody.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// What a check sees: that all is well, or why not.
pub type Look = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The checks of a process. Clones share them.
#[derive(Clone, Default)]
pub struct Health(Arc<Inner>);

#[derive(Default)]
struct Inner {
    started: AtomicBool,
    stopping: AtomicBool,
    live: Mutex<Vec<(&'static str, Look)>>,
    ready: Mutex<Vec<(&'static str, Look)>>,
}

/// What a check said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Its name.
    pub name: &'static str,
    /// Whether all is well.
    pub ok: bool,
    /// Why not.
    pub detail: String,
}

impl Checked {
    fn new(name: &'static str, seen: Result<(), String>) -> Self {
        Self { name, ok: seen.is_ok(), detail: seen.err().unwrap_or_default() }
    }
}

impl Health {
    /// Adds a check that decides whether the process must be restarted. Never one about another process.
    pub fn live(&self, name: &'static str, look: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        add(&self.0.live, name, Box::new(look));
    }

    /// Adds a check that decides whether the process can do its work.
    pub fn ready(&self, name: &'static str, look: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        add(&self.0.ready, name, Box::new(look));
    }

    /// Adds a check whose answer its owner notes from time to time: for a dependency that has to be asked.
    pub fn noted(&self, name: &'static str) -> Note {
        let note = Note(Arc::new(Mutex::new(Err("not looked at yet".to_owned()))));
        let seen = note.clone();
        self.ready(name, move || seen.0.lock().unwrap_or_else(PoisonError::into_inner).clone());
        note
    }

    /// From here on the service has put its parts together.
    pub fn set_started(&self) {
        self.0.started.store(true, Ordering::SeqCst);
    }

    /// From here on the process is not ready.
    pub fn set_stopping(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
    }

    /// Whether the service has put its parts together.
    pub fn is_started(&self) -> bool {
        self.0.started.load(Ordering::SeqCst)
    }

    /// All checks that decide about a restart.
    pub fn look_live(&self) -> Vec<Checked> {
        ask(&self.0.live).collect()
    }

    /// All checks that decide about work.
    pub fn look_ready(&self) -> Vec<Checked> {
        let started = if self.is_started() { Ok(()) } else { Err("starting".to_owned()) };
        let stopping = self.0.stopping.load(Ordering::SeqCst);
        let running = if stopping { Err("stopping".to_owned()) } else { Ok(()) };
        let own = [Checked::new("started", started), Checked::new("running", running)];
        own.into_iter().chain(ask(&self.0.ready)).collect()
    }
}

fn add(checks: &Mutex<Vec<(&'static str, Look)>>, name: &'static str, look: Look) {
    checks.lock().unwrap_or_else(PoisonError::into_inner).push((name, look));
}

fn ask(checks: &Mutex<Vec<(&'static str, Look)>>) -> impl Iterator<Item = Checked> + use<> {
    let checks = checks.lock().unwrap_or_else(PoisonError::into_inner);
    checks.iter().map(|(name, look)| Checked::new(name, look())).collect::<Vec<_>>().into_iter()
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.look_ready()).finish()
    }
}

/// The owner's side of [`Health::noted`].
#[derive(Clone, Debug)]
pub struct Note(Arc<Mutex<Result<(), String>>>);

impl Note {
    /// Notes what was seen last.
    pub fn set(&self, seen: Result<(), String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(checks: &[Checked]) -> Vec<&'static str> {
        checks.iter().filter(|check| !check.ok).map(|check| check.name).collect()
    }

    #[test]
    fn a_process_is_ready_between_its_start_and_its_stop_while_every_check_agrees() {
        let health = Health::default();
        let note = health.noted("database");
        assert_eq!(failing(&health.look_ready()), ["started", "database"]);
        health.set_started();
        note.set(Ok(()));
        assert_eq!(failing(&health.look_ready()), [""; 0]);
        note.set(Err("refused".to_owned()));
        let ready = health.look_ready();
        assert_eq!(ready.last().map(|check| check.detail.as_str()), Some("refused"));
        note.set(Ok(()));
        health.set_stopping();
        assert_eq!(failing(&health.look_ready()), ["running"]);
    }

    #[test]
    fn a_dependency_that_is_away_makes_nobody_restart_the_process() {
        let health = Health::default();
        health.live("loop", || Ok(()));
        health.noted("database").set(Err("refused".to_owned()));
        assert_eq!(failing(&health.look_live()), [""; 0]);
    }
}
