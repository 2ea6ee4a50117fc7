//! How a person reads it.

use std::fmt;
use std::fmt::Write as _;

use super::letter::{Letter, Summary};
use super::plan::Plan;

fn or_dash(text: Option<&String>) -> &str {
    text.map_or("-", String::as_str)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in &self.groups {
            let (from, code, class) =
                (or_dash(group.from.as_ref()), or_dash(group.code.as_ref()), or_dash(group.class.as_ref()));
            write!(f, "{:>7}  {}  from {from}  {code} ({class})", group.records, group.topic)?;
            if group.replayed > 0 {
                write!(f, "  put back before: {}", group.replayed)?;
            }
            writeln!(f, "  {} to {}", group.oldest, group.newest)?;
        }
        write!(f, "{:>7}  dead letters", self.records)
    }
}

pub(super) fn letters(letters: &[Letter]) -> String {
    let mut text = String::new();
    for letter in letters {
        // Writing to a string never fails.
        let _ = write!(text, "{letter}");
    }
    let _ = write!(text, "{} dead letters", letters.len());
    text
}

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  written {}", self.at, self.written)?;
        let number = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let (partition, offset) = (number(self.from_partition.map(i64::from)), number(self.from_offset));
        writeln!(f, "  from     {}:{partition}:{offset}", or_dash(self.from.as_ref()))?;
        writeln!(f, "  because  {} ({})", or_dash(self.code.as_ref()), or_dash(self.class.as_ref()))?;
        writeln!(f, "  query    {}", or_dash(self.query.as_ref()))?;
        let key = self.key_bytes.map_or_else(|| "none".to_owned(), |bytes| format!("{bytes} bytes"));
        writeln!(f, "  message  {}, key {key}, value {} bytes", self.message, self.value_bytes)?;
        for (name, value) in &self.headers {
            writeln!(f, "    {name}: {value}")?;
        }
        writeln!(f)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(
                f,
                "> {} to {}, {}, replay {}",
                step.at,
                step.to,
                or_dash(step.code.as_ref()),
                step.replay
            )?;
        }
        for refused in &self.refused {
            writeln!(f, "! {} stays: {}, {}", refused.at, refused.code.as_str(), refused.code.help())?;
        }
        write!(
            f,
            "run {}: {} to put back at {} a second at most, {} refused",
            self.run,
            self.steps.len(),
            self.rate,
            self.refused.len()
        )
    }
}
