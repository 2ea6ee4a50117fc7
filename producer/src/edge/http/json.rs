//! JSON, read field by field: every refusal names a path, and none repeats what was sent.

use std::collections::BTreeMap;
use std::fmt;

use schemas::codes::Code;
use schemas::http::Problem;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

/// A JSON value whose texts are wiped when dropped. Numbers are not kept: no field of this interface is one.
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number,
    Text(Zeroizing<String>),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// # Errors
    /// `MALFORMED_JSON` with line and column; also for a name that occurs twice in one object, of which readers would
    /// see different ones.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Problem> {
        serde_json::from_slice(body).map_err(|error| {
            // serde_json's own text can hold what was sent.
            let place = format!("line {} column {}", error.line(), error.column());
            Problem::of(Code::MALFORMED_JSON).with_detail(place)
        })
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = BTreeMap::new();
        while let Some((name, value)) = members.next_entry::<String, Json>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name occurs twice"));
            }
        }
        Ok(Json::Object(object))
    }
}

/// A place in the document, and what stands there.
pub(crate) struct Field {
    path: String,
    value: Json,
}

impl Field {
    /// The whole document.
    pub(crate) fn document(value: Json) -> Self {
        Self { path: String::new(), value }
    }

    /// The members called `names`, in that order; `null` for those that are absent.
    ///
    /// # Errors
    /// `FIELD_INVALID` for anything but an object, `UNKNOWN_FIELD` for any other member.
    pub(crate) fn members<const N: usize>(self, names: [&'static str; N]) -> Result<[Self; N], Problem> {
        let Json::Object(mut object) = self.value else { return Err(invalid(&self.path, "an object")) };
        let fields = names.map(|name| Self {
            path: if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) },
            value: object.remove(name).unwrap_or(Json::Null),
        });
        match object.keys().next() {
            None => Ok(fields),
            Some(name) => Err(unknown(&self.path, name)),
        }
    }

    /// The items of a list.
    ///
    /// # Errors
    /// `FIELD_INVALID`.
    pub(crate) fn items(self) -> Result<Vec<Self>, Problem> {
        let Json::List(list) = self.value else { return Err(invalid(&self.path, "a list")) };
        let item = |(index, value)| Self { path: format!("{}[{index}]", self.path), value };
        Ok(list.into_iter().enumerate().map(item).collect())
    }

    /// A text.
    ///
    /// # Errors
    /// `FIELD_INVALID`.
    pub(crate) fn text(self) -> Result<Zeroizing<String>, Problem> {
        let Json::Text(text) = self.value else { return Err(invalid(&self.path, "a text")) };
        Ok(text)
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// `FIELD_INVALID`.
    pub(crate) fn flag(self) -> Result<bool, Problem> {
        let Json::Bool(flag) = self.value else { return Err(invalid(&self.path, "true or false")) };
        Ok(flag)
    }

    /// A text that `parse` understands.
    ///
    /// # Errors
    /// `FIELD_INVALID`, saying what is `expected`.
    pub(crate) fn parse<T>(
        self,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Problem> {
        let path = self.path.clone();
        parse(&self.text()?).ok_or_else(|| invalid(&path, expected))
    }

    /// Nothing for `null`.
    pub(crate) fn optional(self) -> Option<Self> {
        (!matches!(self.value, Json::Null)).then_some(self)
    }

    /// Where this is in the document.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

/// `FIELD_INVALID` at `path`.
pub(crate) fn invalid(path: &str, expected: impl fmt::Display) -> Problem {
    let detail = match path {
        "" => format!("the body must be {expected}"),
        path => format!("`{path}` must be {expected}"),
    };
    Problem::of(Code::FIELD_INVALID).with_detail(detail)
}

/// A name is repeated only if it looks like one: it could also be a value in the wrong place.
fn unknown(path: &str, name: &str) -> Problem {
    let name = match name {
        name if name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') => {
            format!("`{name}`")
        }
        _ => "a field".to_owned(),
    };
    let place = if path.is_empty() { "the body".to_owned() } else { format!("`{path}`") };
    Problem::of(Code::UNKNOWN_FIELD).with_detail(format!("{name} in {place}"))
}
