//! Configuration in layers: compiled-in defaults < file < environment.
//!
//! The defaults are a commented TOML file, so that the documentation *is* the defaults. Unknown keys
//! are errors (the target type uses `deny_unknown_fields`). Nothing is interpolated into values.
//! Every error says where: file, line and column, or the variable of the environment.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat};
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use crate::exit::Exit;

/// Between the parts of a variable's name: `PREFIX__SECTION__KEY`.
const SEPARATOR: &str = "__";

/// Every rule that a configuration breaks, one line each: whoever mends one sees the others as well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Faults(Vec<String>);

impl Faults {
    /// A single one.
    pub fn one(fault: impl Into<String>) -> Self {
        Self(vec![fault.into()])
    }

    /// `Ok` when there are none.
    ///
    /// # Errors
    /// The faults.
    pub fn check(faults: Vec<String>) -> Result<(), Self> {
        if faults.is_empty() { Ok(()) } else { Err(Self(faults)) }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{place}: {text}")]
    Syntax {
        /// Where the mistake is.
        place: Place,
        /// What is wrong.
        text: String,
    },
    /// A key or value is wrong.
    #[error("{place}: {text}")]
    Value {
        /// The layer, and the spot in it.
        place: Place,
        /// What is wrong, with the dotted key.
        text: String,
    },
}

impl ConfigError {
    /// The exit code of a process that ends with this error.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Unreadable { .. } => Exit::NoInput,
            Self::Syntax { .. } | Self::Value { .. } => Exit::Config,
        }
    }
}

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The compiled-in defaults, or nowhere: the key is missing in all layers.
    Defaults,
    /// The file; line and column count from 1.
    File {
        /// The file.
        path: PathBuf,
        /// Line.
        line: usize,
        /// Column, in characters.
        column: usize,
    },
    /// A variable of the environment.
    Environment(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defaults => f.write_str("defaults"),
            Self::File { path, line, column } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
        }
    }
}

/// Loads a configuration: `defaults`, over them `file`, over both the variables of the environment
/// whose names are `env_prefix`, two underscores, and the key with two underscores for each dot.
pub fn load<T: DeserializeOwned>(
    defaults: &'static str,
    file: Option<&Path>,
    env_prefix: &str,
) -> Result<T, ConfigError> {
    load_with(
        defaults,
        file,
        env_prefix,
        std::env::vars_os()
            .filter_map(
                // A name that is not text cannot be one of ours; its value is nobody's business here.
                |(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)),
            )
            .collect(),
    )
}

fn load_with<T: DeserializeOwned>(
    defaults: &'static str,
    file: Option<&Path>,
    env_prefix: &str,
    env: HashMap<String, String>,
) -> Result<T, ConfigError> {
    let file = file.map(Source::read).transpose()?;
    let layers = Layers { file: file.as_ref(), env_prefix, env: &env };
    let mut builder = Config::builder().add_source(File::from_str(defaults, FileFormat::Toml));
    if let Some(file) = &file {
        builder = builder.add_source(File::from_str(&file.text, FileFormat::Toml));
    }
    builder
        .add_source(
            Environment::with_prefix(env_prefix)
                .prefix_separator(SEPARATOR)
                .separator(SEPARATOR)
                .try_parsing(true)
                .source(Some(env.clone())),
        )
        .build()
        .and_then(Config::try_deserialize)
        .map_err(|error| layers.explain(error))
}

/// The file's text, known to be TOML.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let file = Self { path: path.to_owned(), text };
        match DeTable::parse(&file.text) {
            Ok(_) => Ok(file),
            Err(error) => Err(ConfigError::Syntax {
                place: file.place(error.span().map_or(0, |span| span.start)),
                text: error.message().to_owned(),
            }),
        }
    }

    fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place::File {
            path: self.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// Where the dotted `key` stands in the file.
    fn find(&self, key: &str) -> Option<Place> {
        let root = DeTable::parse(&self.text).ok()?;
        let mut table = root.get_ref();
        let mut rest = key;
        loop {
            // A key may hold dots itself, so every prefix is tried, longest first.
            let (found, value, tail) = ends_of_parts(rest).rev().find_map(|end| {
                let (found, value) = table.get_key_value(&rest[..end])?;
                Some((found, value, rest[end..].trim_start_matches('.')))
            })?;
            if !tail.is_empty()
                && !tail.starts_with('[')
                && let DeValue::Table(inner) = value.get_ref()
            {
                table = inner;
                rest = tail;
            } else {
                return Some(self.place(found.span().start));
            }
        }
    }
}

/// The ends of `a`, `a.b` and `a.b.c` in `a.b.c`; an index in brackets ends a part as a dot does.
fn ends_of_parts(key: &str) -> impl DoubleEndedIterator<Item = usize> {
    key.match_indices(['.', '[']).map(|(index, _)| index).chain([key.len()]).collect::<Vec<_>>().into_iter()
}

struct Layers<'a> {
    file: Option<&'a Source>,
    env_prefix: &'a str,
    env: &'a HashMap<String, String>,
}

impl Layers<'_> {
    fn explain(&self, error: config::ConfigError) -> ConfigError {
        let (key, text) = describe(&error);
        match key {
            None => ConfigError::Value { place: Place::Defaults, text },
            Some(key) => ConfigError::Value { place: self.place_of(&key), text: format!("`{key}` {text}") },
        }
    }

    /// The topmost layer that has the key is the one that set it.
    fn place_of(&self, key: &str) -> Place {
        let variable = format!("{}.{key}", self.env_prefix).replace('.', SEPARATOR).to_lowercase();
        if let Some(name) = self.env.keys().find(|name| name.to_lowercase() == variable) {
            return Place::Environment(name.clone());
        }
        self.file.and_then(|file| file.find(key)).unwrap_or(Place::Defaults)
    }
}

/// The dotted key an error is about, and what is to be said of it.
fn describe(error: &config::ConfigError) -> (Option<String>, String) {
    use config::ConfigError as Error;
    if let Error::Type { unexpected, expected, key, .. } = error {
        return (key.clone(), format!("must be {expected}, not {unexpected}"));
    }
    if let Error::At { error, key, .. } = error {
        let (inner, text) = describe(error);
        let keys: Vec<String> = key.iter().cloned().chain(inner).collect();
        return ((!keys.is_empty()).then(|| keys.join(".")), text);
    }
    if let Error::NotFound(key) = error {
        return (Some(key.clone()), "is missing".to_owned());
    }
    let text = error.to_string();
    // Serde names an unknown or missing field in its text only.
    for (start, says) in [("unknown field `", "is unknown"), ("missing field `", "is missing")] {
        if let Some((key, rest)) = text.strip_prefix(start).and_then(|rest| rest.split_once('`')) {
            return (Some(key.to_owned()), format!("{says}{rest}"));
        }
    }
    (None, text)
}

#[cfg(test)]
mod tests;
