//! The life of a process: parts with names, one signal to stop them, a grace limit to drain.
//!
//! Everything that runs for long is a part. A part ends when the shared token is cancelled; a part
//! that ends with an error, or panics, cancels the token for all others and decides the exit code.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;
use crate::health::Health;

type PartError = Box<dyn Error + Send + Sync>;

/// The parts of a process.
#[derive(Debug)]
pub struct Lifecycle {
    token: CancellationToken,
    parts: JoinSet<(&'static str, Result<(), PartError>)>,
    running: Vec<&'static str>,
    attendants: JoinSet<()>,
    health: Health,
    exit: Exit,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// No parts yet.
    pub fn new() -> Self {
        Self {
            token: CancellationToken::new(),
            parts: JoinSet::new(),
            running: Vec::new(),
            attendants: JoinSet::new(),
            health: Health::default(),
            exit: Exit::Ok,
        }
    }

    /// The token that every part watches.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Where parts say how they are.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Runs something beside the parts until all of them have ended. Nothing waits for it.
    pub fn attend(&mut self, attendant: impl Future<Output = ()> + Send + 'static) {
        self.attendants.spawn(attendant);
    }

    /// Starts a part. Its name appears in logs, also when it has not ended within the grace.
    pub fn spawn<E>(&mut self, name: &'static str, part: impl Future<Output = Result<(), E>> + Send + 'static)
    where
        E: Error + Send + Sync + 'static,
    {
        self.running.push(name);
        self.parts.spawn(async move { (name, part.await.map_err(PartError::from)) });
    }

    /// Runs until SIGTERM, SIGINT, the end of all parts or the failure of one; then drains for at
    /// most `grace`. A second signal ends the process at once with exit code 1.
    pub async fn run_until_signal(self, grace: Duration) -> ExitCode {
        match Signals::listen() {
            Ok(signals) => self.run(signals, grace, nothing_to_reload).await,
            Err(error) => {
                tracing::error!(%error, "signals cannot be received");
                Exit::Software.into()
            }
        }
    }

    /// As [`Lifecycle::run_until_signal`], with signals that are listened to already. SIGHUP calls `reload`.
    pub(crate) async fn run(
        mut self,
        mut signals: Signals,
        grace: Duration,
        reload: impl FnMut(),
    ) -> ExitCode {
        let token = self.token();
        tokio::select! {
            name = signals.next_reloading(reload) => tracing::info!(signal = name, "stopping"),
            () = token.cancelled() => {}
            () = self.all_ended() => {}
        }
        self.drain(signals, grace).await
    }

    /// Stops, and listens for a second signal meanwhile.
    pub(crate) async fn drain(self, mut signals: Signals, grace: Duration) -> ExitCode {
        tokio::select! {
            exit = self.stop(grace) => exit.into(),
            name = signals.next() => {
                tracing::error!(signal = name, "second signal, leaving at once");
                std::process::exit(1);
            }
        }
    }

    /// Cancels all parts and waits for them, at most `grace`. For programs that host several
    /// services in one process.
    pub async fn stop(mut self, grace: Duration) -> Exit {
        self.health.set_stopping();
        self.token.cancel();
        if tokio::time::timeout(grace, self.all_ended()).await.is_err() {
            tracing::error!(parts = ?self.running, "not ended within the grace");
            self.failed(Exit::TryAgain);
        }
        self.exit
    }

    async fn all_ended(&mut self) {
        while let Some(ended) = self.parts.join_next().await {
            self.ended(ended);
        }
    }

    fn ended(&mut self, ended: Result<(&'static str, Result<(), PartError>), JoinError>) {
        match ended {
            Ok((name, result)) => {
                if let Some(index) = self.running.iter().position(|running| *running == name) {
                    self.running.swap_remove(index);
                }
                match result {
                    Ok(()) => tracing::debug!(part = name, "ended"),
                    Err(error) => {
                        tracing::error!(part = name, error = %Chain(&*error), "failed");
                        self.failed(Exit::of(&*error));
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "a part panicked");
                self.failed(Exit::Software);
            }
        }
    }

    /// The first failure decides; what follows is usually its consequence.
    fn failed(&mut self, exit: Exit) {
        if self.exit == Exit::Ok {
            self.exit = exit;
        }
        self.token.cancel();
    }
}

/// The signals that a process listens to.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Receives them from now on; they do not end the process any more.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal to stop, and returns its name.
    pub async fn next(&mut self) -> &'static str {
        self.next_reloading(nothing_to_reload).await
    }

    /// The same, and calls `reload` at every SIGHUP meanwhile.
    pub(crate) async fn next_reloading(&mut self, mut reload: impl FnMut()) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => reload(),
            }
        }
    }
}

/// What SIGHUP does to a process that reads its settings at start only.
pub(crate) fn nothing_to_reload() {
    tracing::info!("nothing to reload: settings are read at start, PUT /admin/log changes the log level");
}

/// An error with all its sources on one line.
struct Chain<'a>(&'a (dyn Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(source) = next {
            write!(f, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::exit::Failure;

    const GRACE: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn stopping_waits_for_parts_that_drain() {
        let mut life = Lifecycle::new();
        let drained = Arc::new(AtomicBool::new(false));
        let (token, flag) = (life.token(), Arc::clone(&drained));
        life.spawn("drains", async move {
            token.cancelled().await;
            tokio::time::sleep(Duration::from_secs(4)).await;
            flag.store(true, Ordering::SeqCst);
            Ok::<_, Infallible>(())
        });
        assert_eq!(life.stop(GRACE).await, Exit::Ok);
        assert!(drained.load(Ordering::SeqCst));
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_does_not_end_is_left_behind_after_the_grace() {
        let mut life = Lifecycle::new();
        life.spawn("hangs", std::future::pending::<Result<(), Infallible>>());
        assert_eq!(life.stop(GRACE).await, Exit::TryAgain);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_fails_stops_the_others_and_decides_the_exit_code() {
        let mut life = Lifecycle::new();
        let token = life.token();
        life.spawn("waits", async move {
            token.cancelled().await;
            Ok::<_, Infallible>(())
        });
        life.spawn("fails", async { Err::<(), Failure>(Exit::Unavailable.because("database is down")) });
        assert_eq!(life.run_until_signal(GRACE).await, Exit::Unavailable.into());
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_panics_is_a_bug() {
        let mut life = Lifecycle::new();
        life.spawn("panics", async {
            assert!(std::hint::black_box(false), "on purpose");
            Ok::<_, Infallible>(())
        });
        assert_eq!(life.run_until_signal(GRACE).await, Exit::Software.into());
    }

    #[tokio::test(start_paused = true)]
    async fn the_process_ends_when_all_parts_have_ended() {
        let mut life = Lifecycle::new();
        life.spawn("once", async { Ok::<_, Infallible>(()) });
        assert_eq!(life.run_until_signal(GRACE).await, Exit::Ok.into());
    }
}
