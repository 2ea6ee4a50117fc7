//! Writes dead letters to a file, sealed as they are.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt;

use plumbing::kafka::Record;
use serde::Serialize;

use super::options::Export;
use super::{DlqError, Site, read};

/// A dead letter as a line of JSON; bytes are hex.
#[derive(Serialize)]
struct Line {
    at: String,
    append_time_ms: i64,
    key: Option<String>,
    value: String,
    headers: Vec<(String, String)>,
}

impl From<Record> for Line {
    fn from(record: Record) -> Self {
        Self {
            at: record.position.to_string(),
            append_time_ms: record.append_time_ms,
            key: record.key.map(hex::encode),
            value: hex::encode(&record.value),
            headers: record.headers.into_iter().map(|(name, value)| (name, hex::encode(value))).collect(),
        }
    }
}

pub(super) async fn run(export: &Export) -> Result<String, DlqError> {
    let site = Site::load(&export.config)?;
    let lines = read::read(&site.kafka, &site.topics, &export.select, Line::from).await?;
    let path = &export.out;
    let written = || {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut file = BufWriter::new(file);
        for line in &lines {
            serde_json::to_writer(&mut file, line)?;
            file.write_all(b"\n")?;
        }
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
    };
    written().map_err(|source| DlqError::Unwritable { path: path.clone(), source })?;
    Ok(format!(
        "{}: {} dead letters, sealed as they are; nothing deletes this file but you: it must be gone before the queries' day \
         of erasure",
        path.display(),
        lines.len()
    ))
}
