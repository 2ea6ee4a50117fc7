//! A Redis of a test's own, which it may flush, starve, freeze and kill.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Client, FromRedisValue, RedisResult};
use tempfile::TempDir;

use crate::log_file;
use crate::owned_process::{Launch, NOT_FOUND, OwnedProcess};

const UP_WITHIN: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);
/// A free port is found by asking and letting go, so another process may take it before the server does.
const PORT_ATTEMPTS: usize = 3;
const LOG_LINES: usize = 20;
const PASSWORD: &str = "a password of the tests";

/// A running server that keeps nothing on disk: started again, it is empty.
///
/// The process ends with this value, and also when the test process ends in any other way, SIGKILL included.
pub struct RedisServer {
    /// `None` while it is down.
    process: Option<OwnedProcess>,
    port: u16,
    // After `process`, so that the server is gone before its files are.
    directory: TempDir,
}

impl RedisServer {
    /// Starts a server and returns once it answers.
    ///
    /// # Panics
    /// If `redis-server` is missing or not up within 10 s.
    pub async fn start() -> Self {
        for _ in 0..PORT_ATTEMPTS {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let port = free.local_addr().expect("bound").port();
            drop(free);
            let directory = tempfile::Builder::new().prefix("cardquery-redis-").tempdir();
            let directory = directory.expect("the temporary directory is writable");
            let mut server = Self { process: None, port, directory };
            if server.restart().await {
                return server;
            }
        }
        panic!("redis-server found no free port");
    }

    /// Its URL, with the password.
    #[must_use]
    pub fn url(&self) -> String {
        // Percent-encoded, as a password in a URL is.
        format!("redis://:{}@127.0.0.1:{}/", PASSWORD.replace(' ', "%20"), self.port)
    }

    /// Starts it again on the same port, empty. `false`: the port was taken by another process.
    ///
    /// # Panics
    /// If it runs, `redis-server` is missing, or it is not up within 10 s.
    pub async fn restart(&mut self) -> bool {
        assert!(self.process.is_none(), "redis-server runs");
        let log = self.directory.path().join("log");
        let launch = Launch {
            program: Path::new("redis-server"),
            stdout: &log,
            stderr: &log,
            orphaned_directory: Some(self.directory.path()),
        };
        let port = self.port.to_string();
        let process = OwnedProcess::spawn(&launch, |command| {
            command.args(["--port", &port, "--bind", "127.0.0.1", "--requirepass", PASSWORD]);
            command.args(["--save", "", "--appendonly", "no"]).arg("--dir").arg(self.directory.path());
        });
        let mut process = process.expect("a shell");
        let deadline = Instant::now() + UP_WITHIN;
        loop {
            let ended = process.try_wait().expect("it can be waited for");
            if let Some(status) = ended {
                assert_ne!(status.code(), Some(NOT_FOUND), "redis-server is missing: install Redis 7");
                return false;
            }
            if self.try_ask::<String>(&["PING"]).await.is_ok() {
                self.process = Some(process);
                return true;
            }
            assert!(Instant::now() < deadline, "redis-server is not up: {}", self.log_tail());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Sends SIGKILL and reaps it. Does nothing when it is down.
    ///
    /// # Panics
    /// If the operating system refuses.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill_and_wait().expect("a process of ours can be killed");
        }
    }

    /// Stops it without a word: it keeps its connections and answers nothing until [`Self::thaw`].
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Ends [`Self::freeze`].
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let process = self.process.as_ref().expect("redis-server runs");
        let id = process.id().to_string();
        let status = Command::new("sh")
            .args(["-c", r#"kill -s "$1" "$2""#, "sh", name, &id])
            .stdin(Stdio::null())
            .status();
        assert!(status.expect("a shell").success(), "SIG{name}");
    }

    /// Asks one command over a connection of its own.
    ///
    /// # Panics
    /// If the server does not answer as `T`.
    pub async fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_ask(command)
            .await
            .unwrap_or_else(|error| panic!("{command:?}: {error}; {}", self.log_tail()))
    }

    async fn try_ask<T: FromRedisValue>(&self, command: &[&str]) -> RedisResult<T> {
        let mut connection = self.connect().await?;
        let mut asked = redis::Cmd::new();
        asked.arg(command);
        asked.query_async(&mut connection).await
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        Client::open(self.url())?.get_multiplexed_async_connection().await
    }

    fn log_tail(&self) -> String {
        log_file::tail(&self.directory.path().join("log"), LOG_LINES)
    }
}
