//! An export as it lies on a disk.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use schemas::ids::Digest;
use schemas::merkle;

use super::layout::{self, Row, WIDTH};

/// A folder with an export.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// A file in a row, as wide as there is one.
#[derive(Debug)]
pub struct Found {
    /// Path within the folder.
    pub path: String,
    /// Items that its name promises.
    pub width: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Folder {
    /// The folder at `path`.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file of it, if there is one.
    ///
    /// # Errors
    /// When it cannot be read, with its name.
    pub fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(named(&self.0.join(path), &error)),
        }
    }

    /// The widest file of `row` at `index`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn widest(&self, row: Row, index: u64) -> io::Result<Option<Found>> {
        let path = row.path(index, WIDTH);
        if let Some(bytes) = self.read(&path)? {
            return Ok(Some(Found { path, width: WIDTH, bytes }));
        }
        let Some(width) = self.partial_widths(row, index)?.pop() else { return Ok(None) };
        let path = row.path(index, width);
        Ok(self.read(&path)?.map(|bytes| Found { path, width, bytes }))
    }

    /// Whether there is any file of `row` at `index`.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn has(&self, row: Row, index: u64) -> io::Result<bool> {
        let full = self.0.join(row.path(index, WIDTH)).try_exists()?;
        Ok(full || !self.partial_widths(row, index)?.is_empty())
    }

    /// Widths of the partial files of `row` at `index`, ascending.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn partial_widths(&self, row: Row, index: u64) -> io::Result<Vec<u64>> {
        let mut widths: Vec<u64> = self
            .names(&row.partials(index))?
            .into_iter()
            .filter_map(|(name, _)| name.parse().ok().filter(|width| (1..WIDTH).contains(width)))
            .collect();
        widths.sort_unstable();
        Ok(widths)
    }

    /// The sizes of which there are checkpoints, ascending, and files in their folder that are not named after a size.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn checkpoint_sizes(&self) -> io::Result<(Vec<u64>, Vec<String>)> {
        let (mut sizes, mut strange) = (Vec::new(), Vec::new());
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for (name, is_folder) in self.names(&format!("{}/{folder}", layout::CHECKPOINTS))? {
                let path = format!("{folder}{name}");
                if is_folder {
                    folders.push(format!("{path}/"));
                } else if let Some(size) = layout::parse_number(&path) {
                    sizes.push(size);
                } else {
                    strange.push(format!("{}/{path}", layout::CHECKPOINTS));
                }
            }
        }
        sizes.sort_unstable();
        strange.sort_unstable();
        Ok((sizes, strange))
    }

    /// The leaf at `index`, and nothing when the export does not hold it.
    ///
    /// # Errors
    /// When its bundle cannot be read.
    pub fn leaf(&self, index: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(found) = self.widest(Row::Entries, index / WIDTH)? else { return Ok(None) };
        let entries = layout::entries(&found.bytes);
        let place = usize::try_from(index % WIDTH).unwrap_or(usize::MAX);
        Ok(entries.leaves.get(place).map(|(_, leaf)| leaf.to_vec()))
    }

    /// A perfect subtree of the log, from its tiles.
    ///
    /// # Errors
    /// When a tile is missing or too short.
    pub fn node(&self, height: u32, index: u64) -> io::Result<Digest> {
        let level = u8::try_from(height / 8).unwrap_or(u8::MAX);
        let width = 1u64 << (height % 8);
        let first = index * width;
        let row = Row::Tile(level);
        let missing = || {
            let path = row.path(first / WIDTH, WIDTH);
            io::Error::new(ErrorKind::NotFound, format!("{path}: missing or too short"))
        };
        let found = self.widest(row, first / WIDTH)?.ok_or_else(missing)?;
        let hashes = layout::hashes(&found.bytes).ok_or_else(missing)?;
        let range = (first % WIDTH)..(first % WIDTH + width);
        let range = usize::try_from(range.start).unwrap_or(usize::MAX)
            ..usize::try_from(range.end).unwrap_or(usize::MAX);
        hashes.get(range).map(merkle::root).ok_or_else(missing)
    }

    /// Names in a folder that may be missing, and which are folders.
    fn names(&self, path: &str) -> io::Result<Vec<(String, bool)>> {
        let folder = self.0.join(path);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(named(&folder, &error)),
        };
        entries
            .map(|entry| {
                let entry = entry?;
                Ok((entry.file_name().to_string_lossy().into_owned(), entry.file_type()?.is_dir()))
            })
            .collect()
    }
}

/// An error of the operating system with the file that it is about.
pub(super) fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
