//! The layers of a service, one over the other.

use std::fmt::Write as _;

use serde::de::DeserializeOwned;

use super::decode::{Decoded, decode};
use super::fault::{ConfigError, Fault};
use super::place::Place;
use super::secret::{REDACTED, is_secret, redacted};
use super::tree::{Node, Path, Step, Value};
use super::{SHARED_PREFIX, Settings, Sources, layers};

/// The settings in force, before anybody has asked whether they make sense. Does not print: it holds secrets.
pub struct Effective {
    /// From the bottom to the top.
    layers: Vec<Node>,
    tree: Node,
    /// Mistakes that leave a layer out, or a part of it.
    faults: Vec<Fault>,
    incomplete: bool,
    files: usize,
}

impl Effective {
    /// Reads the layers of the service with the settings `S`.
    ///
    /// # Errors
    /// When a file cannot be read. Mistakes in a file are told by [`Effective::settings`].
    pub fn of<S: Settings>(sources: &Sources) -> Result<Self, ConfigError> {
        let own = format!("{SHARED_PREFIX}_{}", S::SERVICE.replace('-', "_").to_uppercase());
        let prefixes = [SHARED_PREFIX.to_owned(), own];
        let mut effective = Self::layered(S::DEFAULTS, S::SERVICE, &prefixes, sources)?;
        effective.derive_client_id(S::CLIENT_ID);
        effective.refuse_in_files(S::SECRETS);
        Ok(effective)
    }

    pub(super) fn layered(
        defaults: &str,
        service: &str,
        prefixes: &[String],
        sources: &Sources,
    ) -> Result<Self, ConfigError> {
        let mut layers = vec![layers::defaults(defaults).map_err(ConfigError::Invalid)?];
        let mut faults = Vec::new();
        let files = match &sources.config {
            Some(config) => layers::files(config, service)?,
            None => Vec::new(),
        };
        for file in &files {
            match layers::file(file)? {
                Ok(layer) => layers.push(layer),
                Err(mut mistakes) => faults.append(&mut mistakes),
            }
        }
        let incomplete = !faults.is_empty();
        layers.extend(prefixes.iter().map(|prefix| layers::environment(prefix, &sources.env)));
        let (flags, mut mistakes) = layers::flags(&sources.set);
        layers.push(flags);
        faults.append(&mut mistakes);
        let mut tree = Node::empty();
        for layer in &layers {
            tree.merge(layer.clone());
        }
        Ok(Self { layers, tree, faults, incomplete, files: files.len() })
    }

    fn derive_client_id(&mut self, template: &str) {
        let mut name = String::new();
        for part in template.split_inclusive('}') {
            let (text, key) = part.split_once('{').unwrap_or((part, ""));
            name.push_str(text);
            // A key that is missing is told by itself.
            let value = self.tree.find(key.trim_end_matches('}')).map(|node| &node.value);
            if let Some(Value::Text(value) | Value::Scalar(toml::Value::String(value))) = value {
                name.push_str(value);
            }
        }
        let path = ["kafka", "client_id"].map(|key| Step::Key(key.to_owned()));
        // A section that is no table is told by itself.
        let holds = self.tree.at(&path[..1]).is_none_or(|section| matches!(section.value, Value::Table(_)));
        if holds && self.tree.at(&path).is_none() {
            let mut layer = Node::empty();
            layer.put(&path, Node::text(Place::Derived, name));
            self.tree.merge(layer.clone());
            self.layers.insert(1, layer);
        }
    }

    fn refuse_in_files(&mut self, secrets: &[&str]) {
        for key in secrets {
            let Some(Node { place: place @ Place::File { .. }, .. }) = self.tree.find(key) else { continue };
            let text = "a secret does not belong in a file of settings: name a file that holds it, or use the environment";
            self.faults.push(Fault { place: place.clone(), key: (*key).to_owned(), text: text.to_owned() });
        }
    }

    /// How many files were read.
    pub fn files(&self) -> usize {
        self.files
    }

    /// How many variables of the environment set something.
    pub fn variables(&self) -> usize {
        let mut leaves = Vec::new();
        leaves_of(&self.tree, "", &mut leaves);
        let set = leaves.iter().filter_map(|key| self.tree.find(key));
        set.filter(|node| matches!(node.place, Place::Environment(_))).count()
    }

    /// The settings.
    ///
    /// # Errors
    /// Every mistake of syntax, keys and types.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let mut decoded = self.decoded();
        self.finished(decoded.settings.take(), decoded.faults)
    }

    /// The settings of a service after `adjust` (flags of the command line that no file has).
    ///
    /// # Errors
    /// Every mistake: of syntax, keys and types, and the rules of [`Settings::validate`] that are broken.
    pub fn checked<S: Settings>(&self, adjust: impl FnOnce(&mut S)) -> Result<S, ConfigError> {
        self.check_with(adjust, |settings| {
            settings.validate().err().map_or_else(Vec::new, |f| f.into_lines())
        })
    }

    /// As [`Effective::checked`], and also looks at the files of secrets.
    ///
    /// # Errors
    /// Every mistake.
    pub fn checked_with_secrets<S: Settings>(&self, adjust: impl FnOnce(&mut S)) -> Result<S, ConfigError> {
        self.check_with(adjust, |settings| {
            let mut lines = settings.validate().err().map_or_else(Vec::new, |faults| faults.into_lines());
            lines.extend(settings.secret_faults());
            lines
        })
    }

    fn check_with<S: Settings>(
        &self,
        adjust: impl FnOnce(&mut S),
        rules: impl FnOnce(&S) -> Vec<String>,
    ) -> Result<S, ConfigError> {
        let mut decoded: Decoded<S> = self.decoded();
        if let Some(settings) = &mut decoded.settings {
            adjust(settings);
            // A rule cannot be judged by a file that could not be read.
            let broken = if self.incomplete { Vec::new() } else { rules(settings) };
            for line in broken {
                let fault = self.placed(&line);
                if !decoded.mended.iter().any(|mended| is_about(&fault.key, mended)) {
                    decoded.faults.push(fault);
                }
            }
        }
        self.finished(decoded.settings, decoded.faults)
    }

    fn decoded<T: DeserializeOwned>(&self) -> Decoded<T> {
        decode(self.tree.clone(), &self.layers[0], self.incomplete)
    }

    fn finished<T>(&self, settings: Option<T>, mut faults: Vec<Fault>) -> Result<T, ConfigError> {
        faults.extend(self.faults.iter().cloned());
        faults.sort();
        faults.dedup();
        match settings {
            Some(settings) if faults.is_empty() => Ok(settings),
            _ => Err(ConfigError::Invalid(faults)),
        }
    }

    /// A broken rule with the layer that set the value.
    fn placed(&self, line: &str) -> Fault {
        let (key, text) = line.split_once(": ").filter(|(key, _)| !key.contains(' ')).unwrap_or(("", line));
        let place = if key.is_empty() { Place::Defaults } else { self.tree.place_of(key) };
        Fault { place, key: key.to_owned(), text: text.to_owned() }
    }

    /// What is in force, as TOML, without secrets.
    pub fn show(&self) -> String {
        let shown = self.plain(&self.tree, &Path::default());
        // Tables of plain values are always TOML.
        toml::to_string_pretty(&shown).unwrap_or_default()
    }

    /// The value of a dotted key, or all below it, and which layers set it, topmost first; `None` when no layer does.
    pub fn explain(&self, key: &str) -> Option<String> {
        let node = self.tree.find(key)?;
        let mut leaves = Vec::new();
        leaves_of(node, key, &mut leaves);
        let mut text = String::new();
        for key in leaves {
            let mut setters = self.layers.iter().rev().filter_map(|layer| {
                let node = layer.find(&key)?;
                Some((&node.place, self.printed(node, &key)))
            });
            // Writing to a String cannot fail.
            if let Some((place, value)) = setters.next() {
                let _ = writeln!(text, "{key} = {value}\n  set by {place}");
            }
            for (place, value) in setters {
                let _ = writeln!(text, "  instead of {value} by {place}");
            }
        }
        Some(text)
    }

    /// The value of a key in the lowest layer that knows its type.
    fn typed(&self, key: &str) -> Option<&Value> {
        let mut values = self.layers.iter().filter_map(|layer| layer.find(key)).map(|node| &node.value);
        values.find(|value| !matches!(value, Value::Text(_)))
    }

    fn printed(&self, node: &Node, key: &str) -> String {
        self.plain(node, &Path(vec![Step::Key(key.to_owned())])).to_string()
    }

    fn plain(&self, node: &Node, path: &Path) -> toml::Value {
        let key = path.to_string();
        match &node.value {
            Value::Table(table) => toml::Value::Table(
                table.iter().map(|(key, node)| (key.clone(), self.plain(node, &path.join(key)))).collect(),
            ),
            Value::Array(items) => toml::Value::Array(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| {
                        let mut steps = path.0.clone();
                        steps.push(Step::Index(index));
                        self.plain(item, &Path(steps))
                    })
                    .collect(),
            ),
            Value::Scalar(toml::Value::String(text)) => redacted(&key, text).into(),
            Value::Scalar(_) if is_secret(&key) => REDACTED.into(),
            Value::Scalar(scalar) => scalar.clone(),
            Value::Text(text) => like(self.typed(&key), &redacted(&key, text)),
        }
    }
}

/// A text of the environment with the type that `model` has.
fn like(model: Option<&Value>, text: &str) -> toml::Value {
    let typed = match model {
        Some(Value::Scalar(toml::Value::Integer(_))) => text.parse().ok().map(toml::Value::Integer),
        Some(Value::Scalar(toml::Value::Float(_))) => text.parse().ok().map(toml::Value::Float),
        Some(Value::Scalar(toml::Value::Boolean(_))) => text.parse().ok().map(toml::Value::Boolean),
        Some(Value::Array(_)) => {
            Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect::<Vec<_>>().into())
        }
        Some(Value::Scalar(_) | Value::Text(_) | Value::Table(_)) | None => None,
    };
    typed.unwrap_or_else(|| text.into())
}

/// Whether a rule is about something that was mended, or a part of it.
fn is_about(key: &str, mended: &Path) -> bool {
    let mended = mended.to_string();
    key.strip_prefix(&mended).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn leaves_of(node: &Node, key: &str, leaves: &mut Vec<String>) {
    match &node.value {
        Value::Table(table) => {
            for (name, node) in table {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                leaves_of(node, &key, leaves);
            }
        }
        Value::Array(_) | Value::Scalar(_) | Value::Text(_) => leaves.push(key.to_owned()),
    }
}

#[cfg(test)]
#[path = "effective_tests.rs"]
mod tests;
