//! The broker's process: format, start, wait, kill, start again.

use std::fmt::Display;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use tempfile::TempDir;

use super::topics::{self, TopicSpec};
use super::{jars, programs, properties};
use crate::log_file;
use crate::owned_process::OwnedProcess;
use crate::ports;

const UP_WITHIN: Duration = Duration::from_secs(60);
const DOWN_WITHIN: Duration = Duration::from_secs(30);

/// A running broker with its own ports and its own empty data directory.
///
/// The process ends with this value, and also when the test process ends in any other way, SIGKILL included;
/// so a static that is never dropped leaves nothing behind.
///
/// Starting, killing and restarting block the calling thread for seconds. None of them needs a runtime, so a
/// test may call them from async code; if other tasks of that test have to go on meanwhile, use
/// [`tokio::task::block_in_place`] on a multi-threaded runtime.
pub struct KafkaServer {
    /// `None` while the broker is down between [`Self::kill`] or [`Self::stop`] and [`Self::restart`].
    process: Option<OwnedProcess>,
    admin: AdminClient<DefaultClientContext>,
    bootstrap: String,
    jars: PathBuf,
    // After `process`, so that the broker is gone before its files are.
    directory: TempDir,
}

impl KafkaServer {
    /// Starts a server and returns once it answers with its metadata. Blocks, typically for 3 to 5 seconds;
    /// the very first start on a machine also fetches Kafka's jars.
    ///
    /// # Panics
    /// If Java or Maven is missing, or the broker is not up within 60 s; the message says what to do, or has
    /// the end of the broker's log.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        or_panic(Self::try_start())
    }

    /// The one server of this test process, started by the first caller. It is never dropped, but ends with
    /// the process; tests that kill or restart it, or fill it, should [`Self::start`] their own. Topic names
    /// are up to the tests that share it.
    ///
    /// # Panics
    /// As [`Self::start`]; after a failure every further call panics at once with the same message.
    #[track_caller]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<KafkaServer, String>> = OnceLock::new();
        or_panic(SHARED.get_or_init(Self::try_start).as_ref())
    }

    /// The broker's address for `bootstrap.servers`. Stays the same across [`Self::restart`].
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The directory with Kafka's jars, for programs that need Java clients or Kafka's own tools.
    #[must_use]
    pub fn jars(&self) -> &Path {
        &self.jars
    }

    /// The broker's process id, or `None` while it is down.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(OwnedProcess::id)
    }

    /// The directory with the broker's settings, log and data. It goes when the server goes.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The last lines that the broker logged: warnings and errors, over all its restarts.
    #[must_use]
    pub fn log_tail(&self) -> String {
        programs::log_tail(self.directory.path())
    }

    /// Creates topics, and returns once each of their partitions has a leader.
    ///
    /// # Panics
    /// If a topic exists, the broker refuses it, or it has no leaders within 30 s.
    pub async fn create_topics(&self, topics: &[TopicSpec<'_>]) {
        if let Err(reason) = topics::create(&self.admin, topics).await {
            panic!("{reason}; {}", self.log_tail());
        }
    }

    /// Sends SIGKILL and reaps the broker; what it acknowledged is in the page cache and survives. Does
    /// nothing if it is down already.
    ///
    /// # Panics
    /// If the operating system refuses.
    #[track_caller]
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            or_panic(process.kill_and_wait().map_err(|error| format!("cannot kill the broker: {error}")));
        }
    }

    /// Sends SIGTERM and waits until the broker has shut down cleanly. Does nothing if it is down already.
    ///
    /// # Panics
    /// If it has not ended within 30 s.
    #[track_caller]
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        or_panic(process.terminate().map_err(|error| format!("cannot stop the broker: {error}")));
        let deadline = Instant::now() + DOWN_WITHIN;
        while process.try_wait().is_ok_and(|status| status.is_none()) {
            assert!(
                Instant::now() < deadline,
                "the broker has not stopped in {DOWN_WITHIN:?}; {}",
                self.log_tail()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts the broker again on the same ports and the same data, killing it first if it is up, and returns
    /// once it answers with its metadata.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        or_panic(self.launch().map_err(StartError::into_message));
    }

    fn try_start() -> Result<Self, String> {
        let jars = jars::ensure()?;
        let mut attempt = 1;
        loop {
            match Self::start_on_free_ports(&jars) {
                Err(StartError::PortTaken(_)) if attempt < ports::ATTEMPTS => attempt += 1,
                result => return result.map_err(StartError::into_message),
            }
        }
    }

    fn start_on_free_ports(jars: &Path) -> Result<Self, StartError> {
        let directory = tempfile::Builder::new()
            .prefix("cardquery-kafka-")
            .tempdir()
            .map_err(failed("create a directory"))?;
        let [broker_port, controller_port] = ports::free().map_err(failed("find free ports"))?;
        let bootstrap = format!("{}:{broker_port}", Ipv4Addr::LOCALHOST);
        let settings = properties::render(broker_port, controller_port, &directory.path().join("data"));
        fs::write(programs::settings_path(directory.path()), settings)
            .map_err(failed("write the broker's settings"))?;
        programs::format_storage(jars, directory.path()).map_err(StartError::Failed)?;

        let admin = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap)
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "200")
            .create()
            .map_err(failed("create an admin client"))?;
        let mut server = Self { process: None, admin, bootstrap, jars: jars.to_path_buf(), directory };
        server.launch()?;
        Ok(server)
    }

    /// Starts the process and waits until it serves. On an error the process is gone.
    fn launch(&mut self) -> Result<(), StartError> {
        let process = programs::start_broker(&self.jars, self.directory.path());
        let process = self.process.insert(process.map_err(failed("start the broker"))?);

        let deadline = Instant::now() + UP_WITHIN;
        loop {
            // Waits for the answer, or for its time to run out; that paces the loop. An unready broker is not
            // listed.
            let metadata = self.admin.inner().fetch_metadata(None, Duration::from_millis(250));
            if metadata.is_ok_and(|metadata| !metadata.brokers().is_empty()) {
                return Ok(());
            }
            let ended = process.try_wait().map_err(failed("ask for the broker's state"))?;
            let reason = match ended {
                Some(status) => format!("the broker ended while starting, {status}"),
                None if Instant::now() > deadline => {
                    format!("the broker is not up after {UP_WITHIN:?}")
                }
                None => continue,
            };
            self.process = None;
            let message = format!("{reason}; {}", self.log_tail());
            let log = log_file::read(&programs::log_path(self.directory.path()));
            let port_taken = log.contains("Socket server failed to bind");
            return Err(if port_taken {
                StartError::PortTaken(message)
            } else {
                StartError::Failed(message)
            });
        }
    }
}

/// Why a start failed: only a port that someone else took is worth another try.
enum StartError {
    PortTaken(String),
    Failed(String),
}

impl StartError {
    fn into_message(self) -> String {
        match self {
            Self::PortTaken(message) | Self::Failed(message) => message,
        }
    }
}

fn failed<E: Display>(what: &'static str) -> impl FnOnce(E) -> StartError {
    move |error| StartError::Failed(format!("cannot {what}: {error}"))
}

#[track_caller]
fn or_panic<T>(result: Result<T, impl Display>) -> T {
    match result {
        Ok(value) => value,
        Err(reason) => panic!("{reason}"),
    }
}
