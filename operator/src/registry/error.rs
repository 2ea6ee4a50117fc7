//! Why a command about the registry does nothing.

use std::path::PathBuf;

use plumbing::config::{ConfigError, Faults};
use plumbing::exit::Exit;
use plumbing::kafka::{KafkaError, ProduceError, Refusal};
use plumbing::key_file::KeyFileError;
use plumbing::registry::RootsError;
use schemas::codes::Code;
use schemas::registry::PartyName;

use super::draft::DraftError;
use super::plan::NotPublishable;

/// Why a command about the registry does nothing.
#[derive(Debug, thiserror::Error)]
pub enum RegistryCommandError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written. An existing one is never overwritten.
    #[error("{}: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds something else than it should.
    #[error("{}: {text}", path.display())]
    WrongFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        text: String,
    },
    /// A secret key cannot be had.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A draft breaks rules.
    #[error("the entry cannot be like this:\n{0}")]
    Document(#[from] Faults),
    /// A change makes no sense.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// An entry that is signed cannot be shown whole, so nobody can know what was signed.
    #[error("the signed bytes hold something that this command cannot show")]
    NotShowable,
    /// This key signed already.
    #[error("{0} has signed this entry already")]
    SignedAlready(schemas::ids::KeyId),
    /// A rotation is signed with a key that the party has.
    #[error("{0} is no signing key in this entry: a rotation is signed with a key that the party had before")]
    ForeignKey(schemas::ids::KeyId),
    /// Nothing to sign with.
    #[error("--root-key or --party-key is needed")]
    NoKey,
    /// A text cannot be written as TOML or JSON.
    #[error("cannot be written: {0}")]
    Form(String),
    /// The settings cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The roots cannot be used.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// No party was named.
    #[error("--party is needed")]
    NoParty,
    /// The registry lacks this party.
    #[error("{0} is not in the registry")]
    PartyUnknown(PartyName),
    /// Readers would refuse it, or it would harm.
    #[error(transparent)]
    NotPublishable(#[from] NotPublishable),
    /// Whoever joins must be able to work at once.
    #[error("{party} would join without its topics: {} missing; create them first: cardquery topics apply --execute", topics.join(", "))]
    TopicsMissing {
        /// Who joins.
        party: PartyName,
        /// What is missing.
        topics: Vec<String>,
    },
    /// The brokers.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The record was not acknowledged.
    #[error("not acknowledged: {0}; look with `cardquery registry show` before publishing again")]
    Produce(#[from] ProduceError),
    /// It was acknowledged and is not what readers have.
    #[error("published, and readers do not take it ({0}): somebody else published at the same time")]
    Overtaken(Code),
}

impl RegistryCommandError {
    /// The exit code of a command that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreadable { .. } => Exit::NoInput,
            Self::Unwritable { .. } => Exit::CannotCreate,
            Self::KeyFile(KeyFileError::Unreadable(..)) => Exit::NoInput,
            Self::KeyFile(
                KeyFileError::NotSet(_) | KeyFileError::NotAKey(_) | KeyFileError::NotAKeyText(_),
            )
            | Self::WrongFile { .. }
            | Self::Document(_)
            | Self::Draft(_)
            | Self::NotShowable
            | Self::SignedAlready(_)
            | Self::ForeignKey(_)
            | Self::PartyUnknown(_)
            | Self::NotPublishable(_)
            | Self::Overtaken(_) => Exit::BadData,
            Self::NoKey | Self::NoParty => Exit::Usage,
            Self::Form(_) => Exit::Software,
            Self::Config(error) => error.exit(),
            Self::Roots(_) => Exit::Config,
            Self::TopicsMissing { .. } => Exit::Unavailable,
            Self::Kafka(error) => error.exit(),
            Self::Produce(ProduceError::Permanent(Refusal::Denied(_))) => Exit::Denied,
            Self::Produce(ProduceError::Permanent(_)) => Exit::BadData,
            Self::Produce(ProduceError::Ambiguous(_) | ProduceError::Fatal(_)) => Exit::Unavailable,
        }
    }
}
