//! Settings as a tree whose every node knows the layer that set it.

use std::collections::BTreeMap;
use std::fmt;

use super::place::Place;

/// A value and where it comes from. Does not print: it may be a secret.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Clone)]
pub(super) enum Value {
    Table(BTreeMap<String, Node>),
    Array(Vec<Node>),
    /// A value with a type: a truth value, number, date or text of a file.
    Scalar(toml::Value),
    /// Text of the environment or the command line: whoever reads it decides on its type.
    Text(String),
}

/// The way to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    pub(super) fn join(&self, key: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        Self(steps)
    }

    pub(super) fn parent(&self) -> Option<Self> {
        let (_, above) = self.0.split_last()?;
        Some(Self(above.to_vec()))
    }

    pub(super) fn is_below(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if index == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(position) => write!(f, "[{position}]")?,
            }
        }
        Ok(())
    }
}

impl Node {
    pub(super) fn text(place: Place, text: impl Into<String>) -> Self {
        Self { place, value: Value::Text(text.into()) }
    }

    pub(super) fn empty() -> Self {
        Self { place: Place::Defaults, value: Value::Table(BTreeMap::new()) }
    }

    /// Puts the layer `over` on top: tables are merged, everything else is replaced.
    pub(super) fn merge(&mut self, over: Node) {
        match (&mut self.value, over.value) {
            (Value::Table(under), Value::Table(over_table)) => {
                for (key, node) in over_table {
                    match under.get_mut(&key) {
                        Some(below) => below.merge(node),
                        None => drop(under.insert(key, node)),
                    }
                }
                // Faults of the table as a whole belong to whoever wrote some of it.
                if self.place == Place::Defaults {
                    self.place = over.place;
                }
            }
            (value, over_value) => {
                *value = over_value;
                self.place = over.place;
            }
        }
    }

    /// Puts `node` at `path`, with tables above it where there are none.
    pub(super) fn put(&mut self, path: &[Step], node: Node) {
        let Some((step, rest)) = path.split_first() else {
            *self = node;
            return;
        };
        match (step, &mut self.value) {
            (Step::Key(key), Value::Table(table)) => {
                let empty = Self { place: node.place.clone(), ..Self::empty() };
                table.entry(key.clone()).or_insert(empty).put(rest, node);
            }
            (Step::Index(index), Value::Array(items)) => {
                if let Some(item) = items.get_mut(*index) {
                    item.put(rest, node);
                }
            }
            (Step::Key(_), _) => {
                self.value = Value::Table(BTreeMap::new());
                self.put(path, node);
            }
            (Step::Index(_), _) => {}
        }
    }

    /// Takes the node at `path` out.
    pub(super) fn remove(&mut self, path: &[Step]) {
        let Some((step, rest)) = path.split_first() else { return };
        match (step, &mut self.value) {
            (Step::Key(key), Value::Table(table)) => {
                if rest.is_empty() {
                    table.remove(key);
                } else if let Some(node) = table.get_mut(key) {
                    node.remove(rest);
                }
            }
            (Step::Index(index), Value::Array(items)) if *index < items.len() => {
                if rest.is_empty() {
                    items.remove(*index);
                } else {
                    items[*index].remove(rest);
                }
            }
            _ => {}
        }
    }

    pub(super) fn at(&self, path: &[Step]) -> Option<&Node> {
        let Some((step, rest)) = path.split_first() else { return Some(self) };
        match (step, &self.value) {
            (Step::Key(key), Value::Table(table)) => table.get(key)?.at(rest),
            (Step::Index(index), Value::Array(items)) => items.get(*index)?.at(rest),
            _ => None,
        }
    }

    /// The node of a dotted key. A key may hold dots itself, so every reading is tried, the longest name first.
    pub(super) fn find(&self, key: &str) -> Option<&Node> {
        if key.is_empty() {
            return Some(self);
        }
        match &self.value {
            Value::Table(table) => ends_of_parts(key).rev().find_map(|end| {
                let rest = &key[end..];
                table.get(&key[..end])?.find(rest.strip_prefix('.').unwrap_or(rest))
            }),
            Value::Array(items) => {
                let (index, rest) = key.strip_prefix('[')?.split_once(']')?;
                items.get(index.parse::<usize>().ok()?)?.find(rest.strip_prefix('.').unwrap_or(rest))
            }
            Value::Scalar(_) | Value::Text(_) => None,
        }
    }

    /// The place of the node, or of the nearest one above it that is there.
    pub(super) fn place_of(&self, key: &str) -> Place {
        let mut key = key;
        loop {
            if let Some(node) = self.find(key) {
                return node.place.clone();
            }
            let Some(end) = key.rfind(['.', '[']) else { return Place::Defaults };
            key = &key[..end];
        }
    }
}

/// The ends of `a`, `a.b` and `a.b.c` in `a.b.c`; an index in brackets ends a part as a dot does.
fn ends_of_parts(key: &str) -> impl DoubleEndedIterator<Item = usize> {
    key.match_indices(['.', '[']).map(|(index, _)| index).chain([key.len()]).collect::<Vec<_>>().into_iter()
}
