//! A Redis for one test, which may flush it, kill it and start it again.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use redis::{FromRedisValue, RedisError};
use tempfile::TempDir;

use crate::log_file;
use crate::owned_process::{Launch, OwnedProcess};
use crate::ports;

const UP_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);
const LOG_LINES: usize = 20;

/// A running Redis without a password on a port of its own. It keeps nothing on disk, so a kill loses every key.
///
/// The process ends with this value, and also when the test process ends in any other way.
pub struct RedisServer {
    /// `None` between [`Self::kill`] and [`Self::restart`].
    process: Option<OwnedProcess>,
    port: u16,
    // After `process`, so that the process is gone before its files are.
    directory: TempDir,
}

impl RedisServer {
    /// Starts a server and returns once it answers.
    ///
    /// # Panics
    /// If `redis-server` is missing or does not answer within 20 s.
    pub async fn start() -> Self {
        let mut attempt = 1;
        loop {
            let [port] = ports::free().expect("the operating system has free ports");
            let directory = tempfile::Builder::new()
                .prefix("cardquery-redis-")
                .tempdir()
                .expect("the temporary directory is writable");
            let mut server = Self { process: None, port, directory };
            match server.launch().await {
                Ok(()) => return server,
                Err(_) if attempt < ports::ATTEMPTS && server.log().contains("Address already in use") => {
                    attempt += 1;
                }
                Err(reason) => panic!("{reason}"),
            }
        }
    }

    /// Where it listens; the same across [`Self::restart`].
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}:{}/", Ipv4Addr::LOCALHOST, self.port)
    }

    /// Sends SIGKILL and reaps the process. Does nothing if it is down already.
    ///
    /// # Panics
    /// If the operating system refuses.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill_and_wait().expect("a child can be killed");
        }
    }

    /// Starts the server again on its port, empty, killing it first if it is up, and returns once it answers.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn restart(&mut self) {
        self.kill();
        if let Err(reason) = self.launch().await {
            panic!("{reason}");
        }
    }

    /// Stops it without a word: it keeps its connections and answers nothing until [`Self::thaw`].
    ///
    /// # Panics
    /// If it is down.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Ends [`Self::freeze`].
    ///
    /// # Panics
    /// If it is down.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let process = self.process.as_ref().expect("redis-server runs");
        let id = process.id().to_string();
        let status = Command::new("sh").args(["-c", r#"kill -s "$1" "$2""#, "sh", name, &id]).status();
        assert!(status.expect("a shell").success(), "SIG{name}");
    }

    /// Asks one command over a connection of its own.
    ///
    /// # Panics
    /// If the server does not answer as `T`.
    pub async fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        let asked = async {
            let client = redis::Client::open(self.url())?;
            let mut connection = client.get_multiplexed_async_connection().await?;
            redis::Cmd::new().arg(command).query_async(&mut connection).await
        };
        asked.await.unwrap_or_else(|error: RedisError| {
            panic!("{command:?}: {error}; {}", log_file::tail(&self.log_path(), LOG_LINES))
        })
    }

    async fn launch(&mut self) -> Result<(), String> {
        let log = self.log_path();
        let launch = Launch {
            program: Path::new("redis-server"),
            stdout: &log,
            stderr: &log,
            orphaned_directory: Some(self.directory.path()),
        };
        let process = OwnedProcess::spawn(&launch, |command| {
            command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", ""]);
            command.arg("--dir").arg(self.directory.path());
        });
        let process =
            self.process.insert(process.map_err(|error| format!("cannot start redis-server: {error}"))?);

        let client = redis::Client::open((Ipv4Addr::LOCALHOST.to_string(), self.port))
            .map_err(|error| format!("cannot create a client: {error}"))?;
        let deadline = Instant::now() + UP_WITHIN;
        while client.get_multiplexed_async_connection().await.is_err() {
            let ended =
                process.try_wait().map_err(|error| format!("cannot wait for redis-server: {error}"))?;
            let reason = match ended {
                Some(status) => format!("redis-server ended while starting, {status}"),
                None if Instant::now() > deadline => format!("redis-server is not up after {UP_WITHIN:?}"),
                None => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
            };
            self.process = None;
            return Err(format!("{reason}; {}", log_file::tail(&log, LOG_LINES)));
        }
        Ok(())
    }

    fn log(&self) -> String {
        log_file::read(&self.log_path())
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("redis.log")
    }
}
