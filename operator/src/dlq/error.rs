//! Why a command about dead letters does nothing, or stops.

use std::io;
use std::path::PathBuf;

use plumbing::config::{ConfigError, Faults};
use plumbing::exit::Exit;
use plumbing::kafka::{KafkaError, ProduceError, Refusal};

/// Why a command about dead letters does nothing, or stops.
#[derive(Debug, thiserror::Error)]
pub enum DlqError {
    /// The settings cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The settings are wrong.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// The brokers.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written. An existing one is never overwritten.
    #[error("{}: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else than it should.
    #[error("{}: {text}", path.display())]
    WrongFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        text: String,
    },
    /// The plan and the dead letters differ by now. Nothing was published.
    #[error("PLAN_STALE: {at}: {why}; nothing was published, make a new plan")]
    PlanStale {
        /// The first dead letter that differs.
        at: String,
        /// How.
        why: &'static str,
    },
    /// Another process carries out the same plan.
    #[error("{}: another process carries out this plan", .0.display())]
    InUse(PathBuf),
    /// A record was not published for sure; what was published before stays, and the same command goes on from there.
    #[error("stopped: {sent} published, {left} left, {at} in doubt; say the same again to go on")]
    Stopped {
        /// Published by now, earlier runs included.
        sent: usize,
        /// Not tried yet.
        left: usize,
        /// The dead letter whose record may have been published.
        at: String,
        /// Why.
        #[source]
        source: ProduceError,
    },
    /// All but these are published.
    #[error(
        "in doubt: {} may have been published when a run was interrupted; --resend-in-doubt publishes them again, and \
         services tell the same record twice",
        .0.join(", ")
    )]
    InDoubt(Vec<String>),
    /// Nothing but dead letters is dropped.
    #[error("{0} is no dead-letter topic of this prefix")]
    NotDeadLetters(String),
    /// A partition does not reach so far.
    #[error("{topic}:{partition} ends at {end}")]
    BehindTheEnd {
        /// The topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// The offset of the next record to come.
        end: i64,
    },
    /// A text cannot be written as JSON.
    #[error("cannot be written: {0}")]
    Form(String),
}

impl DlqError {
    /// The exit code of a command that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(error) => error.exit(),
            Self::Faults(_) => Exit::Config,
            Self::Kafka(error) => error.exit(),
            Self::Unreadable { .. } => Exit::NoInput,
            Self::Unwritable { .. } => Exit::CannotCreate,
            Self::WrongFile { .. } | Self::PlanStale { .. } => Exit::BadData,
            Self::Stopped { source: ProduceError::Permanent(Refusal::Denied(_)), .. } => Exit::Denied,
            Self::Stopped { source: ProduceError::Permanent(_), .. } => Exit::BadData,
            Self::Stopped { source: ProduceError::Ambiguous(_) | ProduceError::Fatal(_), .. }
            | Self::InUse(_)
            | Self::InDoubt(_) => Exit::TryAgain,
            Self::NotDeadLetters(_) | Self::BehindTheEnd { .. } => Exit::Usage,
            Self::Form(_) => Exit::Software,
        }
    }
}
