//! Reads the layers: files, environment, command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{ConfigError, Fault};
use super::place::Place;
use super::secret::is_secret;
use super::tree::{Node, Step, Value};

/// Between the parts of a variable's name: `PREFIX__SECTION__KEY`.
const SEPARATOR: &str = "__";
/// Tables of librdkafka's properties: their keys are names with dots.
const PROPERTY_TABLES: &[[&str; 2]] = &[PROPERTIES, ["kafka", "property_files"]];
const PROPERTIES: [&str; 2] = ["kafka", "properties"];

/// The files of `config`: itself, or `<service>.toml` in it when it is a folder, then the `conf.d/*.toml` beside it by
/// name.
pub(super) fn files(config: &Path, service: &str) -> Result<Vec<PathBuf>, ConfigError> {
    let (first, folder) = if config.is_dir() {
        (config.join(format!("{service}.toml")), config.to_owned())
    } else {
        (config.to_owned(), config.parent().unwrap_or(Path::new("")).to_owned())
    };
    let further = folder.join("conf.d");
    let mut files = vec![first];
    match std::fs::read_dir(&further) {
        Ok(entries) => {
            let mut found = entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|source| ConfigError::Unreadable { path: further, source })?;
            found.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
            found.sort();
            files.append(&mut found);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(ConfigError::Unreadable { path: further, source }),
    }
    Ok(files)
}

/// A file as a layer, or every mistake of its syntax.
pub(super) fn file(path: &Path) -> Result<Result<Node, Vec<Fault>>, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    Ok(parse(&text, |offset| place_in(path, &text, offset)))
}

/// The compiled-in defaults.
pub(super) fn defaults(text: &str) -> Result<Node, Vec<Fault>> {
    parse(text, |_| Place::Defaults)
}

fn place_in(path: &Path, text: &str, offset: usize) -> Place {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Place::File {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}

fn parse(text: &str, place: impl Fn(usize) -> Place) -> Result<Node, Vec<Fault>> {
    let fault = |error: &toml::de::Error| Fault {
        place: place(error.span().map_or(0, |span| span.start)),
        key: String::new(),
        text: error.message().replace('\n', ", "),
    };
    let (spans, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors.iter().map(fault).collect());
    }
    let table: toml::Table = toml::from_str(text).map_err(|error| vec![fault(&error)])?;
    Ok(Node { place: Place::Defaults, value: table_node(table, spans.get_ref(), &place) })
}

/// The values know their types and the spans their places, so both are walked side by side.
fn table_node(mut table: toml::Table, spans: &DeTable<'_>, place: &impl Fn(usize) -> Place) -> Value {
    let entries = spans.iter().filter_map(|(key, span)| {
        let value = table.remove(key.get_ref().as_ref())?;
        let node = Node { place: place(key.span().start), value: value_node(value, span, place) };
        Some((key.get_ref().to_string(), node))
    });
    Value::Table(entries.collect())
}

fn value_node(value: toml::Value, span: &Spanned<DeValue<'_>>, place: &impl Fn(usize) -> Place) -> Value {
    match (value, span.get_ref()) {
        (toml::Value::Table(table), DeValue::Table(spans)) => table_node(table, spans, place),
        (toml::Value::Array(items), DeValue::Array(spans)) => {
            let items = items.into_iter().zip(spans.iter()).map(|(item, span)| Node {
                place: place(span.span().start),
                value: value_node(item, span, place),
            });
            Value::Array(items.collect())
        }
        (scalar, _) => Value::Scalar(scalar),
    }
}

/// The variables `<prefix>__SECTION__KEY`, and `<prefix>_X_SASL__USERNAME` for librdkafka's `sasl.username`.
pub(super) fn environment(prefix: &str, env: &BTreeMap<String, String>) -> Node {
    let (settings, properties) = (format!("{prefix}{SEPARATOR}"), format!("{prefix}_X_"));
    let mut layer = Node::empty();
    for (name, value) in env {
        let path = if let Some(rest) = name.strip_prefix(&settings) {
            let rest = rest.to_lowercase();
            let parts: Vec<&str> = rest.split(SEPARATOR).collect();
            in_property_table(&parts, |property| property.join(".").replace('_', "."))
                .unwrap_or_else(|| keys(&parts))
        } else if let Some(rest) = name.strip_prefix(&properties) {
            let property = rest.to_lowercase().replace(SEPARATOR, ".");
            keys(&[PROPERTIES[0], PROPERTIES[1], &property])
        } else {
            continue;
        };
        layer.put(&path, Node::text(Place::Environment(name.clone()), value));
    }
    layer
}

/// The settings of the command line: dotted keys with their values.
pub(super) fn flags(set: &[(String, String)]) -> (Node, Vec<Fault>) {
    let mut layer = Node::empty();
    let mut faults = Vec::new();
    for (key, value) in set {
        let flag = match key.strip_prefix("kafka.properties.") {
            Some(property) => format!("-X {property}"),
            None => format!("--set {key}"),
        };
        let place = Place::Flag(flag);
        if is_secret(key) {
            let text = "a secret does not belong on the command line, where others see it".to_owned();
            faults.push(Fault { place, key: key.clone(), text });
            continue;
        }
        let parts: Vec<&str> = key.split('.').collect();
        let path = in_property_table(&parts, |property| property.join(".")).unwrap_or_else(|| keys(&parts));
        layer.put(&path, Node::text(place, value));
    }
    (layer, faults)
}

fn in_property_table(parts: &[&str], name: impl Fn(&[&str]) -> String) -> Option<Vec<Step>> {
    let (table, property) = parts.split_at_checked(2)?;
    (PROPERTY_TABLES.iter().any(|known| known == table) && !property.is_empty())
        .then(|| keys(&[table[0], table[1], &name(property)]))
}

fn keys(parts: &[&str]) -> Vec<Step> {
    parts.iter().map(|part| Step::Key((*part).to_owned())).collect()
}
