//! Finds every mistake of keys and types.
//!
//! Serde stops at its first error. The settings' own types are the only description of what is allowed, so the tree is
//! read again and again: each mistake is noted and mended (an unknown key is taken out, a wrong value gets the default)
//! until the rest can be read.

use serde::de::DeserializeOwned;
use serde::de::value::Error;
use serde_path_to_error::Segment;

use super::fault::Fault;
use super::place::Place;
use super::secret::is_secret;
use super::tree::{Node, Path, Step, Value};

/// Mistakes after which looking for more is of no use.
const FAULTS_MAX: usize = 100;

/// What was found.
pub(super) struct Decoded<T> {
    /// The settings with every mistake mended, when that was possible.
    pub(super) settings: Option<T>,
    pub(super) faults: Vec<Fault>,
    /// What does not hold the value that was meant.
    pub(super) mended: Vec<Path>,
}

/// Reads `tree`; `defaults` mend what is wrong. With `incomplete` layers a missing key is no mistake.
pub(super) fn decode<T: DeserializeOwned>(mut tree: Node, defaults: &Node, incomplete: bool) -> Decoded<T> {
    let mut decoded = Decoded { settings: None, faults: Vec::new(), mended: Vec::new() };
    while decoded.mended.len() < FAULTS_MAX {
        let mistake = match read::<T>(&tree) {
            Ok(settings) => {
                decoded.settings = Some(settings);
                break;
            }
            Err(mistake) => mistake,
        };
        // What follows from another mistake is told by that one.
        let follows = decoded.mended.iter().any(|mended| mistake.path.is_below(mended));
        // What is missing may stand in the file that could not be read.
        let excused = incomplete && mistake.kind == Kind::Missing;
        if !(follows || excused) {
            decoded.faults.push(mistake.fault(&tree));
        }
        if !mend::<T>(&mut tree, defaults, &mistake, follows) {
            break;
        }
        decoded.mended.push(mistake.path);
    }
    decoded
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unknown,
    Missing,
    Value,
}

struct Mistake {
    kind: Kind,
    path: Path,
    text: String,
}

fn read<T: DeserializeOwned>(tree: &Node) -> Result<T, Mistake> {
    serde_path_to_error::deserialize(tree.clone()).map_err(|error| Mistake::new(&error))
}

impl Mistake {
    fn new(error: &serde_path_to_error::Error<Error>) -> Self {
        let steps = error.path().iter().filter_map(|segment| match segment {
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        let (path, text) = (Path(steps.collect()), error.inner().to_string());
        // Serde has no other way to tell these two from a wrong value.
        if text.starts_with("unknown field `") {
            return Self { kind: Kind::Unknown, path, text };
        }
        if let Some((key, _)) = text.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')) {
            return Self { kind: Kind::Missing, path: path.join(key), text };
        }
        Self { kind: Kind::Value, path, text }
    }

    fn fault(&self, tree: &Node) -> Fault {
        let key = self.path.to_string();
        let place = match self.kind {
            Kind::Missing => {
                let above = self.path.parent().unwrap_or_default();
                // The whole of the settings has no place.
                let named = if above.0.is_empty() { None } else { tree.at(&above.0) };
                named.map_or(Place::Defaults, |table| table.place.clone())
            }
            Kind::Unknown | Kind::Value => {
                tree.at(&self.path.0).map_or(Place::Defaults, |node| node.place.clone())
            }
        };
        let text = match self.kind {
            Kind::Unknown => self.unknown(&place),
            Kind::Missing => "is missing".to_owned(),
            Kind::Value if is_secret(&key) => {
                "has the wrong type or form (its value is not shown)".to_owned()
            }
            Kind::Value => self.text.clone(),
        };
        Fault { place, key, text }
    }

    fn unknown(&self, place: &Place) -> String {
        let Some(Step::Key(name)) = self.path.0.last() else { return "unknown key".to_owned() };
        // "unknown field `a`, expected `b` or `c`": every other part between backticks is a name.
        let known = self.text.split('`').skip(1).step_by(2).skip(1);
        let near = known
            .map(|known| (strsim::damerau_levenshtein(name, known), known))
            .filter(|(distance, known)| *distance <= known.len().max(name.len()) / 3 + 1)
            .min();
        match (near, place) {
            (Some((_, known)), _) => {
                let meant = self.path.parent().unwrap_or_default().join(known);
                format!("unknown key, did you mean `{meant}`?")
            }
            (None, Place::Environment(_)) => {
                "unknown key; a setting that not every service has goes by the service's own prefix"
                    .to_owned()
            }
            (None, _) => "unknown key".to_owned(),
        }
    }
}

/// Makes the tree readable beyond `mistake`; `false` when that is not possible.
fn mend<T: DeserializeOwned>(tree: &mut Node, defaults: &Node, mistake: &Mistake, again: bool) -> bool {
    let path = &mistake.path.0;
    if mistake.kind == Kind::Unknown {
        tree.remove(path);
        return true;
    }
    let default = defaults.at(path).cloned();
    for value in default.into_iter().chain(stand_ins()).filter(|_| !again) {
        let mut tried = tree.clone();
        tried.put(path, value);
        if read::<T>(&tried).map_or_else(|next| next.path != mistake.path, |_| true) {
            *tree = tried;
            return true;
        }
    }
    // Nothing fits: what holds the key goes, unless that is everything.
    let Some(above) = mistake.path.parent().filter(|above| !above.0.is_empty()) else { return false };
    let there = tree.at(&above.0).is_some();
    tree.remove(&above.0);
    there
}

/// Values for a key that has no default, only to look past it.
fn stand_ins() -> impl Iterator<Item = Node> {
    let texts = ["1", "a", "false", "127.0.0.1:1"].map(|text| Value::Text(text.to_owned()));
    let empty = [Value::Array(Vec::new()), Value::Table(std::collections::BTreeMap::new())];
    texts.into_iter().chain(empty).map(|value| Node { place: Place::Defaults, value })
}
