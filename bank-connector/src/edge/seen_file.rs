//! The small file that outlives the process: the highest registry version seen per party, so that nobody who replays
//! the topic can bring an old entry back.

use std::io;
use std::path::{Path, PathBuf};

use plumbing::exit::Exit;
use schemas::registry::SeenVersions;
use tokio::io::AsyncWriteExt;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeenFileError {
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else. Taking it for an empty one would accept old entries.
    #[error("{}: not a list of registry versions: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl SeenFileError {
    /// The exit code of a process that ends with this error.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Io { .. } => Exit::CannotCreate,
            Self::Damaged { .. } => Exit::BadData,
        }
    }
}

/// What was seen before; nothing at the first start.
pub(super) async fn load(path: &Path) -> Result<SeenVersions, SeenFileError> {
    match tokio::fs::read(path).await {
        Ok(content) => serde_json::from_slice(&content)
            .map_err(|source| SeenFileError::Damaged { path: path.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(SeenVersions::default()),
        Err(source) => Err(SeenFileError::Io { path: path.to_owned(), source }),
    }
}

/// Replaces the file at once: a crash leaves the old or the new one.
pub(super) async fn save(path: &Path, seen: &SeenVersions) -> Result<(), SeenFileError> {
    write(path, seen).await.map_err(|source| SeenFileError::Io { path: path.to_owned(), source })
}

async fn write(path: &Path, seen: &SeenVersions) -> io::Result<()> {
    let content = serde_json::to_vec(seen).map_err(io::Error::other)?;
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let mut file = tokio::fs::File::create(&fresh).await?;
    file.write_all(&content).await?;
    file.sync_all().await?;
    tokio::fs::rename(&fresh, path).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_file_is_a_first_start_and_a_damaged_one_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("seen.json");
        assert_eq!(load(&path).await.expect("a first start"), SeenVersions::default());
        let seen: SeenVersions = serde_json::from_str(r#"{"bank/alpha":7}"#).expect("versions");
        save(&path, &seen).await.expect("saved");
        assert_eq!(load(&path).await.expect("readable"), seen);
        std::fs::write(&path, "{\"bank/alpha\":").expect("written");
        assert!(matches!(load(&path).await, Err(SeenFileError::Damaged { .. })));
    }
}
