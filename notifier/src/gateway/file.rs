//! Writes one line of JSON per SMS to a file, with the number masked. For development only.

use std::io;
use std::path::{Path, PathBuf};

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;

use super::{Gateway, GatewayOutcome, Inquiries, OutgoingSms};
use crate::domain::evidence::Said;
use crate::domain::text::TEMPLATE;

/// The gateway.
#[derive(Debug)]
pub struct FileGateway {
    file: Mutex<File>,
}

/// Why there is no file gateway.
#[derive(Debug, thiserror::Error)]
pub enum FileGatewayError {
    /// It would swallow real people's messages.
    #[error("`gateway.file` is for development: set `dev = true`, or configure a real gateway")]
    NotInDevelopment,
    /// The file cannot be opened.
    #[error("{}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[derive(Serialize)]
struct Line<'a> {
    out_id: String,
    to: String,
    template: &'a str,
    language: &'a str,
    text: String,
}

impl FileGateway {
    /// Opens `path` for appending, and creates it.
    ///
    /// # Errors
    /// Outside development, and when the file cannot be opened.
    pub async fn open(path: &Path, dev: bool) -> Result<Self, FileGatewayError> {
        if !dev {
            return Err(FileGatewayError::NotInDevelopment);
        }
        let file = OpenOptions::new().create(true).append(true).open(path).await;
        match file {
            Ok(file) => Ok(Self { file: Mutex::new(file) }),
            Err(source) => Err(FileGatewayError::Open { path: path.to_owned(), source }),
        }
    }

    async fn append(&self, sms: &OutgoingSms) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line {
            out_id: sms.out_id.to_string(),
            to: sms.to.masked(),
            template: TEMPLATE,
            language: sms.language.tag(),
            text: sms.text(),
        })?;
        line.push(b'\n');
        let mut file = self.file.lock().await;
        file.write_all(&line).await?;
        // tokio's file answers a write before it is done; an error would show only here.
        file.flush().await
    }
}

impl Gateway for FileGateway {
    fn send<'a>(&'a self, sms: &'a OutgoingSms) -> BoxFuture<'a, GatewayOutcome> {
        async {
            match self.append(sms).await {
                Ok(()) => GatewayOutcome::Accepted { gateway_id: format!("file-{}", sms.out_id) },
                Err(error) => {
                    tracing::warn!(%error, "the file of the SMS gateway cannot be written");
                    GatewayOutcome::Unknown { said: Said::Cut }
                }
            }
        }
        .boxed()
    }

    fn idempotent(&self) -> bool {
        false
    }

    fn inquiries(&self) -> Option<&dyn Inquiries> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::tests::sms;

    #[tokio::test]
    async fn outside_development_there_is_no_file_gateway_and_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sms.jsonl");
        let refused = FileGateway::open(&path, false).await;
        assert!(matches!(refused, Err(FileGatewayError::NotInDevelopment)));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn every_sms_is_one_line_without_the_number() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sms.jsonl");
        let gateway = FileGateway::open(&path, true).await.expect("opened");
        let messages = [sms(), sms()];
        for sms in &messages {
            let accepted = GatewayOutcome::Accepted { gateway_id: format!("file-{}", sms.out_id) };
            assert_eq!(gateway.send(sms).await, accepted);
        }
        let written = std::fs::read_to_string(&path).expect("readable");
        assert_eq!(written.lines().count(), 2);
        for (line, sms) in written.lines().zip(&messages) {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(line["out_id"], sms.out_id.to_string());
            assert_eq!(line["to"], "138****0001");
            assert_eq!(line["template"], "report-ready");
            assert_eq!(line["language"], "en");
            assert_eq!(line["text"], sms.text());
        }
        assert!(!written.contains("13800000001"));
    }
}
