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
        self.start_program(service, &program)
    }

    fn start_program(&mut self, service: &Service, program: &Path) -> Result<(), ProcessError> {
        let launch = Launch { program, stdout: &service.log, stderr: &service.log, orphaned_directory: None };
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::local::plan::Part;

    const WITHIN: Duration = Duration::from_secs(10);

    /// A process that runs `script`.
    fn started(folder: &Path, processes: &mut Processes, script: &str) {
        let program = folder.join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("made a program");
        let service = Service {
            part: Part::Notifier,
            name: "notifier".to_owned(),
            settings: folder.join("notifier.toml"),
            flags: Vec::new(),
            env: BTreeMap::new(),
            admin: ([127, 0, 0, 1], 1).into(),
            log: folder.join("notifier.log"),
        };
        processes.start_program(&service, &program).expect("started");
    }

    async fn logged(folder: &Path, text: &str) {
        let deadline = Instant::now() + WITHIN;
        while !std::fs::read_to_string(folder.join("notifier.log")).is_ok_and(|log| log.contains(text)) {
            assert!(Instant::now() < deadline, "no {text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_process_that_ends_by_itself_is_told_once_and_then_not_waited_for() {
        let (folder, mut processes) = (tempfile::tempdir().expect("a folder"), Processes::default());
        started(folder.path(), &mut processes, "echo \"with $1\"; exit 3");
        let deadline = Instant::now() + WITHIN;
        let ended = loop {
            let ended = processes.ended().expect("watched");
            if !ended.is_empty() {
                break ended;
            }
            assert!(Instant::now() < deadline, "it does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!((ended[0].name.as_str(), ended[0].status.code()), ("notifier", Some(3)));
        assert_eq!(std::fs::read_to_string(&ended[0].log).expect("a log"), "with --config\n");
        assert!(processes.ended().expect("watched").is_empty());
        assert_eq!(processes.running(), 0);
        let (stopped, killed) = processes.stop(WITHIN).await.expect("stopped");
        assert!(stopped.is_empty() && killed.is_empty());
    }

    #[tokio::test]
    async fn a_process_may_end_in_its_own_way_and_one_that_does_not_in_time_is_killed_and_named() {
        let (folder, mut processes) = (tempfile::tempdir().expect("a folder"), Processes::default());
        let waits = "echo ready; while :; do sleep 0.01; done";
        started(folder.path(), &mut processes, &format!("trap 'exit 0' TERM; {waits}"));
        logged(folder.path(), "ready").await;
        let (stopped, killed) = processes.stop(WITHIN).await.expect("stopped");
        assert_eq!((stopped.len(), killed.len()), (1, 0));
        assert!(stopped[0].status.success());

        started(folder.path(), &mut processes, "trap '' TERM; echo deaf; while :; do sleep 0.01; done");
        logged(folder.path(), "deaf").await;
        let (stopped, killed) = processes.stop(Duration::from_millis(300)).await.expect("asked");
        assert_eq!((stopped.len(), killed), (0, vec!["notifier".to_owned()]));
    }
}
