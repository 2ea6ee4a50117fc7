//! The whole system on a running stack: one process per service and bank.
//!
//! ```text
//!  deploy/stack ─▶ stack ─┐                 ┌─▶ topics, access lists, users
//!                         ├─▶ Local ─prepare┼─▶ databases and roles, sample banks' rows
//!  sample ───────▶ plan ──┘     │           ├─▶ settings, keys, passwords
//!                               │           └─▶ registry entries
//!                               └─▶ services ─▶ `cardquery run`, end-to-end tests
//! ```
//!
//! | file | role |
//! |---|---|
//! | `stack.rs` | where the servers are |
//! | `plan.rs`, `service.rs` | pure: what there is to be, and what starts a process |
//! | `addresses.rs` | where processes listen: on this machine, or each in a container |
//! | `http_tls.rs` | certificates for the way between producer and hub |
//! | `settings.rs` | pure: the settings file of every process |
//! | `databases.rs`, `ports.rs`, `secret_file.rs` | what a system takes of the machine |
//! | `prepare.rs` | does it |
//! | `ready.rs` | asks a process whether it is ready |
//! | `owned_process.rs` | a process that ends with its owner |
//! | `run/` | `cardquery run` |
//! | `containers/` | `cardquery prepare` |

mod addresses;
pub mod containers;
pub mod databases;
mod http_tls;
pub mod owned_process;
pub mod plan;
mod ports;
mod prepare;
pub mod ready;
pub mod run;
pub mod secret_file;
pub mod service;
mod settings;
pub mod stack;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use plumbing::exit::{Exit, Failure};
use plumbing::kafka::KafkaConfig;
use schemas::topics::Topics;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use self::addresses::Addresses;
use self::databases::{Database, Server};
use self::plan::{Part, Plan};
use self::service::Service;
use self::settings::Files;
use self::stack::Stack;

/// A system that is about to run on a stack.
pub struct Local {
    /// What it is.
    pub plan: Plan,
    /// The servers below it.
    pub stack: Stack,
    /// The four services and the connectors.
    pub services: Vec<Service>,
    addresses: Addresses,
    databases: Databases,
}

/// What others have to know of a running system; it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// First part of the names of topics and groups.
    pub prefix: String,
    /// Where the wallet's interface is.
    pub producer: String,
    /// Stands for the 24 hours, in milliseconds.
    pub window_ms: u64,
    /// Where SMS go.
    pub sms_file: PathBuf,
}

struct Databases {
    server: Server,
    aggregator: Database,
    notifier: Database,
    banks: BTreeMap<Part, Database>,
}

impl Databases {
    fn all(&self) -> Vec<Database> {
        [&self.aggregator, &self.notifier].into_iter().chain(self.banks.values()).cloned().collect()
    }
}

impl Local {
    /// Decides names, ports and the databases' passwords; touches nothing but ports.
    ///
    /// # Errors
    /// With the exit code of what stands in the way.
    pub fn new(stack: Stack, plan: Plan) -> Result<Self, Failure> {
        let addresses = Addresses::here(&plan).map_err(|error| Exit::Unavailable.because(error))?;
        Self::at(addresses, stack, plan)
    }

    /// As [`Local::new`], with each process in a container of its own.
    ///
    /// # Errors
    /// With the exit code of what stands in the way.
    pub fn in_containers(stack: Stack, plan: Plan) -> Result<Self, Failure> {
        Self::at(Addresses::in_containers(&plan), stack, plan)
    }

    fn at(addresses: Addresses, stack: Stack, plan: Plan) -> Result<Self, Failure> {
        let databases = databases(&plan, &stack).map_err(|error| Exit::Config.because(error))?;
        let services = plan.parts().into_iter().map(|part| service(&plan, &addresses, part)).collect();
        Ok(Self { plan, stack, services, addresses, databases })
    }

    /// Where the wallet's interface is.
    pub fn producer(&self) -> SocketAddr {
        self.addresses.producer
    }

    /// Where the hub's interface is.
    pub fn hub(&self) -> SocketAddr {
        self.addresses.hub
    }

    /// Names of topics and groups.
    pub fn topics(&self) -> Topics {
        self.plan.topics()
    }

    /// The file that the file gateway writes SMS to.
    pub fn sms_file(&self) -> PathBuf {
        Files(&self.plan.folder).sms()
    }

    /// The folder of the processes' logs.
    pub fn logs(&self) -> PathBuf {
        self.plan.folder.join("log")
    }

    /// The owner's address of the database of a part; the producer has none.
    pub fn database_url(&self, part: &Part) -> Option<SecretString> {
        let databases = &self.databases;
        let database = match part {
            Part::Aggregator => &databases.aggregator,
            Part::Notifier => &databases.notifier,
            Part::Producer(_) => return None,
            Part::Connector(_) => databases.banks.get(part)?,
        };
        Some(database.owner_url(&databases.server))
    }

    /// A client of the brokers as the operator.
    ///
    /// # Errors
    /// When the operator's password cannot be read.
    pub fn operator(&self) -> Result<KafkaConfig, Failure> {
        operator(&self.stack, &self.topics()).map_err(|error| Exit::NoInput.because(error))
    }

    /// A second process with the settings of the one called `name`, on ports of its own.
    ///
    /// # Errors
    /// When there is no such process, or there are no free ports.
    pub fn another(&self, name: &str) -> Result<Service, Failure> {
        let of_kind = || self.services.iter().filter(|service| service.part.name() == name);
        let first = of_kind().next().ok_or_else(|| Exit::Usage.because(format!("no process `{name}`")))?;
        let ports = ports::free(2).map_err(|error| Exit::Unavailable.because(error))?;
        let name = format!("{name}-{}", of_kind().count() + 1);
        let mut another =
            Service { log: Files(&self.plan.folder).log(&name), name, admin: ports[0], ..first.clone() };
        let mut set = |key: &str, value: String| another.env.insert(key.to_owned(), value);
        set("CARDQUERY__ADMIN__LISTEN", ports[0].to_string());
        match first.part {
            Part::Aggregator => {
                set("CARDQUERY__LISTEN", ports[1].to_string());
            }
            Part::Producer(_) => {
                set("CARDQUERY__HTTP__LISTEN", ports[1].to_string());
            }
            Part::Notifier | Part::Connector(_) => {}
        }
        Ok(another)
    }

    /// Drops the databases and their roles, and ends whatever uses them.
    ///
    /// # Errors
    /// When the server does not do it.
    pub async fn remove_databases(&self) -> Result<(), Failure> {
        let databases = &self.databases;
        databases.server.remove(&databases.all()).await.map_err(|error| Exit::Unavailable.because(error))
    }

    /// What others have to know.
    pub fn told(&self) -> Told {
        Told {
            prefix: self.plan.prefix.clone(),
            producer: format!("http://{}", self.addresses.producer),
            window_ms: u64::try_from(self.plan.window.as_millis()).unwrap_or(u64::MAX),
            sms_file: self.sms_file(),
        }
    }
}

impl Told {
    const FILE: &str = "system.json";

    /// What the system in `folder` says of itself.
    ///
    /// # Errors
    /// When none was started there.
    pub fn read(folder: &std::path::Path) -> Result<Self, Failure> {
        let path = folder.join(Self::FILE);
        let unreadable = |error: std::io::Error| {
            let text = format!("no system in {}: start one with `cardquery run` ({error})", folder.display());
            Exit::NoInput.because(text)
        };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        serde_json::from_str(&text).map_err(|error| Exit::BadData.because(error))
    }

    /// The window.
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }
}

/// A client of the stack's brokers as the operator.
///
/// # Errors
/// When the password cannot be read.
pub fn operator(stack: &Stack, topics: &Topics) -> Result<KafkaConfig, stack::StackError> {
    Ok(KafkaConfig {
        properties: stack.client("operator")?,
        ..KafkaConfig::new(&stack.brokers, topics.group("operator"))
    })
}

fn databases(plan: &Plan, stack: &Stack) -> Result<Databases, databases::DatabaseError> {
    let bank = |bank| {
        let name = plan.database(&format!("bank_{bank}"));
        Database::named(&name)
            .and_then(Database::with_reader)
            .map(|database| (Part::Connector(bank), database))
    };
    Ok(Databases {
        server: Server::new(&stack.postgres)?,
        aggregator: Database::named(&plan.database("aggregator"))?,
        notifier: Database::named(&plan.database("notifier"))?,
        banks: plan.banks().into_iter().map(bank).collect::<Result<_, _>>()?,
    })
}

fn service(plan: &Plan, addresses: &Addresses, part: Part) -> Service {
    let (name, files) = (part.name(), Files(&plan.folder));
    let flags = match part {
        Part::Producer(_) => vec!["--dev"],
        Part::Aggregator | Part::Notifier | Part::Connector(_) => Vec::new(),
    };
    // A connector waits for others nearly always, and fourteen share a machine.
    let threads = match part {
        Part::Connector(_) => "1",
        Part::Aggregator | Part::Notifier | Part::Producer(_) => "2",
    };
    Service {
        settings: files.settings(&name),
        flags,
        env: [("TOKIO_WORKER_THREADS".to_owned(), threads.to_owned())].into(),
        admin: addresses.admin[&name],
        log: files.log(&name),
        name,
        part,
    }
}
