//! The whole system as processes on the stack, for one test.
//!
//! It has topics, databases and ports of its own. Dropping it stops it, and fails the test when something is left that the
//! system should have dealt with: rows in an outbox, records that a group has not finished, dead letters, a process that
//! ended by itself.

mod asking;
mod auditing;
mod estate;
mod front;
mod joining;
mod registry;
mod remains;
mod strangers;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use aggregator::store::{Clock as _, SystemClock};
use cardquery::demo::wallet::Wallet;
use cardquery::local::Local;
use cardquery::local::plan::{Part, Plan};
use cardquery::local::ready::{Ask, Readiness};
use cardquery::local::service::Service;
use cardquery::local::stack::Stack;
use schemas::acls::User;
use secrecy::ExposeSecret;
use tempfile::TempDir;

pub use self::asking::Asker;
pub use self::front::{Answer, Front, Planned};
use self::remains::Remains;
pub use self::strangers::Stranger;
use crate::console_consumer::{ConsoleRecord, console_records, java_properties};
use crate::process::ChildProcess;

const READY_WITHIN: Duration = Duration::from_secs(90);
const ENDED_WITHIN: Duration = Duration::from_secs(65);
/// How long everything that is under way may take when a test is over.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// Joining a group and the first fetch take less.
const CONSOLE_PATIENCE: Duration = Duration::from_secs(8);
const HOW_TO_START: &str = "run `make test`, or eval \"$(deploy/stack up && deploy/stack env)\"";

/// What a test wants of its system.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Stands for the 24 hours.
    pub window: Duration,
    /// How long a day of the hub's calendar is; dates when nothing is said.
    pub day: Option<Duration>,
    /// The banks that take part; all of the sample when empty.
    pub banks: BTreeSet<&'static str>,
    /// Processes that are not started, by name, for example `bank-taihe`.
    pub without: BTreeSet<&'static str>,
    /// A Redis of the test's own, in the place of the stack's.
    pub redis: Option<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(20),
            day: None,
            banks: BTreeSet::new(),
            without: BTreeSet::new(),
            redis: None,
        }
    }
}

/// A running system.
pub struct System {
    /// What it is made of.
    pub local: Local,
    processes: BTreeMap<String, ChildProcess>,
    expected_dead_letters: i64,
    ask: Ask,
    // After `processes`, so that they are gone before their files are.
    folder: TempDir,
}

impl System {
    /// Makes a system and starts it; returns when every process is ready.
    ///
    /// # Panics
    /// When there is no stack, or a process is not ready in time.
    pub async fn start(setup: Setup) -> Self {
        let stack = Stack::from_variables(|name| std::env::var(name).ok());
        let mut stack = stack.unwrap_or_else(|error| panic!("{error}: {HOW_TO_START}"));
        if let Some(redis) = setup.redis {
            stack.redis = redis.into();
        }
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let mut plan = Plan {
            prefix: format!("t{:012x}", rand::random::<u64>() >> 16),
            window: setup.window,
            ..Plan::new(folder.path().to_owned())
        };
        if !setup.banks.is_empty() {
            plan.sample.banks.retain(|bank| setup.banks.contains(bank.id.as_str()));
            assert_eq!(plan.sample.banks.len(), setup.banks.len(), "all of them are sample banks");
        }
        let mut local = Local::new(stack, plan).unwrap_or_else(|failure| panic!("{failure}"));
        if let Some(day) = setup.day {
            count_days(&mut local, day);
        }
        sign_often(&mut local);
        local.prepare(&mut |_| {}).await.unwrap_or_else(|failure| panic!("{failure}"));
        let mut system = Self {
            local,
            processes: BTreeMap::new(),
            expected_dead_letters: 0,
            ask: Ask::new().expect("a client"),
            folder,
        };
        let names: Vec<String> =
            system.names().filter(|name| !setup.without.contains(name.as_str())).collect();
        for name in &names {
            system.spawn(name);
        }
        for name in &names {
            system.ready(name).await;
        }
        system
    }

    /// The names of all processes of the plan.
    pub fn names(&self) -> impl Iterator<Item = String> + use<> {
        let names: Vec<String> = self.local.services.iter().map(|service| service.name.clone()).collect();
        names.into_iter()
    }

    /// The wallet.
    #[must_use]
    pub fn wallet(&self) -> Wallet {
        Wallet::new(self.local.plan.upstream().clone(), self.local.producer())
    }

    /// Starts a process that does not run, and does not wait for it.
    ///
    /// # Panics
    /// If it runs.
    pub fn spawn(&mut self, name: &str) {
        let running = self.processes.get_mut(name).is_some_and(|process| process.is_running());
        assert!(!running, "{name} runs already");
        let service = self.service(name).clone();
        self.processes.insert(name.to_owned(), start(&service));
    }

    /// Starts a second process of the same kind, with the same settings on ports of its own; returns its name.
    ///
    /// # Panics
    /// If there are no free ports.
    pub async fn start_another(&mut self, name: &str) -> String {
        let another = self.local.another(name).unwrap_or_else(|failure| panic!("{failure}"));
        let process = start(&another);
        let name = another.name.clone();
        self.processes.insert(name.clone(), process);
        self.local.services.push(another);
        self.ready(&name).await;
        name
    }

    /// Waits until a process is ready.
    ///
    /// # Panics
    /// If it ends, or is not ready in time; the end of its log is in the test's output.
    pub async fn ready(&mut self, name: &str) {
        let service = self.service(name).clone();
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let waits_for = match self.ask.service(&service).await {
                Readiness::Ready => return,
                Readiness::Waiting(what) => what,
            };
            assert!(self.process(name).is_running(), "{name} ended before it was ready");
            assert!(Instant::now() < deadline, "{name} is not ready: {waits_for}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Sends SIGTERM and returns the exit code.
    ///
    /// # Panics
    /// If it does not run, or does not end in time.
    pub async fn terminate(&mut self, name: &str) -> i32 {
        let mut process = self.taken(name);
        process.terminate_and_wait(ENDED_WITHIN).await
    }

    /// Sends SIGKILL and reaps the process.
    ///
    /// # Panics
    /// If it had ended by itself.
    pub fn kill_9(&mut self, name: &str) {
        self.taken(name).kill_9();
    }

    /// A process that runs.
    ///
    /// # Panics
    /// If it was not started.
    pub fn process(&mut self, name: &str) -> &mut ChildProcess {
        self.processes.get_mut(name).unwrap_or_else(|| panic!("{name} was not started"))
    }

    /// Says that a test makes so many dead letters, so that they do not fail it; fewer fail it too.
    pub fn expect_dead_letters(&mut self, count: i64) {
        self.expected_dead_letters = count;
    }

    /// What a process counts, as Prometheus reads it.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn metrics(&self, name: &str) -> String {
        let client = plumbing::http::client(None).expect("no file can be wrong");
        let url = format!("http://{}/metrics", self.service(name).admin);
        let response = client.get(url).send().await.expect("the process answers");
        response.text().await.expect("a text")
    }

    /// What is left to do.
    pub async fn remains(&self) -> Remains {
        remains::of(&self.local, &self.running_banks()).await
    }

    /// Waits until nothing is left to do.
    ///
    /// # Panics
    /// If something is when the time is over.
    pub async fn settle(&mut self) {
        if let Err(what) = self.settled().await {
            panic!("{what}");
        }
    }

    /// Everything in a topic, as Kafka's own Java client reads it in the name of `user`.
    ///
    /// # Panics
    /// If Java fails.
    pub fn console(&self, user: &User, topic: &str) -> Vec<ConsoleRecord> {
        let stack = &self.local.stack;
        let properties = self.folder.path().join(format!("{user}.properties"));
        let password = stack.password(&user.to_string()).expect("it has a password");
        let text = java_properties(&user.to_string(), password.expose_secret(), &stack.ca);
        std::fs::write(&properties, text).expect("the temporary directory is writable");
        let groups = user.groups(&self.local.topics());
        let group = groups.last().expect("every user has a group");
        console_records(&stack.jars, &stack.brokers, &properties, (topic, group), CONSOLE_PATIENCE)
    }

    /// Ends the system, and fails the test when something is left.
    ///
    /// # Panics
    /// As dropping does.
    pub fn finish(self) {}

    fn service(&self, name: &str) -> &Service {
        let mut named = self.local.services.iter().filter(|service| service.name == name);
        named.next().unwrap_or_else(|| panic!("there is no process `{name}`"))
    }

    fn taken(&mut self, name: &str) -> ChildProcess {
        let mut process = self.processes.remove(name).unwrap_or_else(|| panic!("{name} was not started"));
        assert!(process.is_running(), "{name} ended by itself:\n{}", process.stderr());
        process
    }

    /// Banks whose connector runs: what waits for another one is not left undone.
    fn running_banks(&self) -> BTreeSet<String> {
        self.processes.keys().filter_map(|name| name.strip_prefix("bank-")).map(str::to_owned).collect()
    }

    /// Waits until nothing is left, and says what is when the time is over.
    async fn settled(&mut self) -> Result<(), String> {
        let ended: Vec<String> = self
            .processes
            .iter_mut()
            .filter_map(|(name, process)| (!process.is_running()).then_some(name.clone()))
            .collect();
        if !ended.is_empty() {
            return Err(format!("ended by themselves: {}", ended.join(", ")));
        }
        let deadline = Instant::now() + SETTLED_WITHIN;
        loop {
            let remains = self.remains().await;
            if remains.is_nothing_but(self.expected_dead_letters) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{remains}; {} dead letters are expected", self.expected_dead_letters));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// On a thread of its own: a destructor cannot wait for a future.
    fn end(&mut self, check: bool) -> Result<(), String> {
        thread::scope(|scope| {
            let ended = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(async {
                    let settled = if check { self.settled().await } else { Ok(()) };
                    self.processes.clear();
                    estate::remove(&self.local).await;
                    settled
                })
            });
            ended.join().unwrap_or_else(|_| Err("the system cannot be examined".to_owned()))
        })
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // A test that fails has a reason already, and its system may be anywhere.
        let failing = thread::panicking();
        if failing {
            // On this thread: they show their logs only where a test is failing.
            self.processes.clear();
        }
        if let Err(what) = self.end(!failing) {
            assert!(failing, "the system leaves something behind: {what}");
        }
    }
}

/// Days of this length from now on, for every aggregator of the system.
fn count_days(local: &mut Local, day: Duration) {
    let hubs = local.services.iter_mut().filter(|service| service.part == Part::Aggregator);
    for hub in hubs {
        hub.env.insert("CARDQUERY_AGGREGATOR__WINDOW__DAY_SECONDS".to_owned(), day.as_secs_f64().to_string());
        hub.env.insert("CARDQUERY_AGGREGATOR__WINDOW__DAYS_FROM".to_owned(), SystemClock.now().to_string());
    }
}

/// A minute is long for a test that waits for a checkpoint.
fn sign_often(local: &mut Local) {
    let hubs = local.services.iter_mut().filter(|service| service.part == Part::Aggregator);
    for hub in hubs {
        hub.env.insert("CARDQUERY_AGGREGATOR__AUDIT__CHECKPOINT_SECONDS".to_owned(), "1".to_owned());
    }
}

fn start(service: &Service) -> ChildProcess {
    let args = service.args();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let env: Vec<(&str, &str)> =
        service.env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    ChildProcess::spawn(service.part.binary(), &args, &env)
}
