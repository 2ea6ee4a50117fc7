//! The processes of a system: started, watched, stopped.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::local::owned_process::{Launch, OwnedProcess};
use crate::local::ready::{Ask, Readiness};
use crate::local::service::Service;

const POLL: Duration = Duration::from_millis(100);

/// A process that was started.
struct Process {
    service: Service,
    running: OwnedProcess,
    /// Set once it has ended.
    ended: bool,
}

/// All of them.
#[derive(Default)]
pub(super) struct Processes(Vec<Process>);

/// A process that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) name: String,
    pub(super) status: ExitStatus,
    pub(super) log: PathBuf,
}

/// A process cannot be started or watched.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {source}")]
pub(super) struct ProcessError {
    name: String,
    source: io::Error,
}

fn failed(service: &Service) -> impl FnOnce(io::Error) -> ProcessError {
    move |source| ProcessError { name: service.name.clone(), source }
}

impl Processes {
    /// Starts `service` with the program beside this one.
    pub(super) fn start(&mut self, service: &Service) -> Result<(), ProcessError> {
        let program = beside_this(service.part.binary()).map_err(failed(service))?;
        let launch = Launch {
            program: &program,
            stdout: &service.log,
            stderr: &service.log,
            orphaned_directory: None,
        };
        let running = OwnedProcess::spawn(&launch, |command| {
            command.args(service.args());
            command.envs(&service.env);
        });
        let running = running.map_err(failed(service))?;
        self.0.push(Process { service: service.clone(), running, ended: false });
        Ok(())
    }

    /// Those that have ended since the last call.
    pub(super) fn ended(&mut self) -> Result<Vec<Ended>, ProcessError> {
        let mut ended = Vec::new();
        for process in self.0.iter_mut().filter(|process| !process.ended) {
            if let Some(status) = process.running.try_wait().map_err(failed(&process.service))? {
                process.ended = true;
                let Service { name, log, .. } = process.service.clone();
                ended.push(Ended { name, status, log });
            }
        }
        Ok(ended)
    }

    /// Those that are not ready, and what they wait for.
    pub(super) async fn waiting(&self, ask: &Ask) -> Vec<(String, String)> {
        let asked = self.0.iter().filter(|process| !process.ended).map(async |process| {
            match ask.service(&process.service).await {
                Readiness::Ready => None,
                Readiness::Waiting(what) => Some((process.service.name.clone(), what)),
            }
        });
        futures::future::join_all(asked).await.into_iter().flatten().collect()
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.0.iter().filter(|process| !process.ended).count()
    }

    /// Asks all of them to stop, and waits until they have. Returns how they ended, and the names of those that were
    /// killed because they had not in time.
    pub(super) async fn stop(&mut self, within: Duration) -> Result<(Vec<Ended>, Vec<String>), ProcessError> {
        for process in self.0.iter_mut().filter(|process| !process.ended) {
            process.running.terminate().map_err(failed(&process.service))?;
        }
        let deadline = Instant::now() + within;
        let mut stopped = self.ended()?;
        while self.running() > 0 && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
            stopped.extend(self.ended()?);
        }
        let left = self.0.drain(..).filter(|process| !process.ended).map(|process| process.service.name);
        Ok((stopped, left.collect()))
    }
}

/// The program `name` in the folder of this one.
fn beside_this(name: &str) -> io::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let program = this.parent().unwrap_or(Path::new("")).join(name);
    if program.is_file() {
        return Ok(program);
    }
    let text = format!("{} is missing: run `make build`", program.display());
    Err(io::Error::new(io::ErrorKind::NotFound, text))
}
