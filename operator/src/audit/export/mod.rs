//! `cardquery audit export`: the audit topic as files that anybody can verify.
//!
//! ```text
//!  registry topic ─▶ registry/entries.jsonl ─▶ hub's keys
//!                                                 │
//!  audit topic ──▶ leaves ─▶ bundles and tiles    ▼
//!             └──▶ checkpoints ─▶ is it the root of what is here? ─▶ checkpoints/, checkpoint
//! ```
//!
//! | file | role |
//! |---|---|
//! | `writer.rs` | leaves and checkpoints into files, 256 leaves in memory |
//! | `registry.rs` | registry entries into lines |
//!
//! An export goes on where the last one ended. What is there is never overwritten with anything else: a topic that says
//! something else of an entry than the folder is refused.

mod registry;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::mpsc;

use plumbing::exit::{Exit, Failure};
use plumbing::kafka::{KafkaError, Record, read_from, read_to_end};
use prost::Message as _;
use schemas::registry::Registry;
use schemas::wire::{AuditRecord, audit_record};

pub use self::writer::Writer;
use super::codes::Code;
use super::finding::Finding;
use crate::config::Config;

/// Why an export stops.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The topic does not go on from the folder.
    #[error("{} {}", .0.code, place(.0))]
    Found(Finding),
    /// A record is none of the contract.
    #[error("the record at offset {0} is no audit record")]
    Malformed(i64),
    /// A topic cannot be read.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The files of the last export do not fit together.
    #[error("the folder is damaged: {0}; `cardquery audit verify` says more, an empty folder heals it")]
    Damaged(String),
}

fn place(finding: &Finding) -> String {
    let entry = finding.entry.map(|entry| format!("entry {entry}: ")).unwrap_or_default();
    format!("{entry}{}", finding.text)
}

impl ExportError {
    /// The exit code of a process that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Found(_) | Self::Malformed(_) | Self::Damaged(_) => Exit::BadData,
            Self::Kafka(error) => error.exit(),
            Self::File(_) => Exit::CannotCreate,
        }
    }
}

impl From<Finding> for ExportError {
    fn from(finding: Finding) -> Self {
        Self::Found(finding)
    }
}

/// What an export did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Exported {
    /// Entries under the largest checkpoint.
    pub signed: u64,
    /// Entries that were new.
    pub new: u64,
    /// Entries behind the largest checkpoint, which wait for the next one.
    pub unsigned: u64,
    /// Checkpoints that were new.
    pub checkpoints: u64,
    /// Registry entries that were new.
    pub registry: usize,
    /// Offsets of checkpoints that the hub did not sign, which are left out.
    pub strange: Vec<i64>,
}

/// Exports.
///
/// # Errors
/// With the exit code of what stands in the way.
pub async fn run(config: Option<&Path>, out: &Path) -> Result<Exported, Failure> {
    let (config, estate) = Config::load_with_estate(config)?;
    let roots = config.registry.roots().map_err(|error| Exit::Config.because(error))?;
    let export = async {
        let records = records(&config, &estate.topics.registry()).await?;
        let (registry, lines) = registry::take(out, &roots, &records)?;
        let topic = estate.topics.audit();
        let mut exported = log(&config, topic, out, &registry).await?;
        exported.registry = lines;
        Ok::<_, ExportError>(exported)
    };
    export.await.map_err(|error| error.exit().because(error))
}

async fn records(config: &Config, topic: &str) -> Result<Vec<Record>, ExportError> {
    let (sender, records) = mpsc::channel();
    let each = move |record| {
        // The receiver lives until the reader has ended.
        let _ = sender.send(record);
    };
    read_to_end(&config.kafka, &[topic.to_owned()], each).await?;
    Ok(records.into_iter().collect())
}

/// Records between the thread that reads and the one that writes.
const BETWEEN: usize = 64;

async fn log(
    config: &Config,
    topic: String,
    out: &Path,
    registry: &Registry,
) -> Result<Exported, ExportError> {
    let hub = registry.hub().map(|hub| hub.keys().to_vec()).unwrap_or_default();
    let writer = Writer::open(out, &topic, hub.clone())?;
    let from = writer.next_offset();
    match copy(config, topic.clone(), writer).await {
        // A topic that was made anew has other offsets.
        Err(ExportError::Found(finding)) if finding.code == Code::LOG_GAP && from > 0 => {
            let writer = Writer::open(out, &topic, hub)?.from_beginning();
            copy(config, topic, writer).await
        }
        copied => copied,
    }
}

async fn copy(config: &Config, topic: String, mut writer: Writer) -> Result<Exported, ExportError> {
    let from = BTreeMap::from([(0, writer.next_offset())]);
    let (sender, records) = mpsc::sync_channel::<Record>(BETWEEN);
    let mut writing = tokio::task::spawn_blocking(move || {
        for record in records {
            take(&mut writer, &record)?;
        }
        writer.finish()
    });
    let each = move |record| {
        // A writer that has ended says why.
        let _ = sender.send(record);
    };
    let reading = read_from(&config.kafka, topic, from, each);
    let written = tokio::select! {
        read = reading => {
            read?;
            writing.await
        }
        written = &mut writing => written,
    };
    written.unwrap_or_else(|error| Err(io::Error::other(error).into()))
}

fn take(writer: &mut Writer, record: &Record) -> Result<(), ExportError> {
    let offset = record.position.offset;
    let message = AuditRecord::decode(record.value.clone()).ok().and_then(|record| record.message);
    match message.ok_or(ExportError::Malformed(offset))? {
        audit_record::Message::Leaves(leaves) => writer.leaves(leaves.first, &leaves.leaves, offset),
        audit_record::Message::Checkpoint(checkpoint) => writer.checkpoint(&checkpoint.note, offset),
    }
}

/// A record of the registry topic as a line.
fn line(record: &Record) -> Option<super::registry_file::Line> {
    let key = String::from_utf8(record.key.as_deref()?.to_vec()).ok()?;
    Some(super::registry_file::Line {
        offset: record.position.offset,
        append_time_ms: record.append_time_ms,
        key,
        value: record.value.to_vec(),
    })
}
