//! A plan as a person reads it.

use std::fmt;

use schemas::topics::EARLIEST_ERASURE;

use super::diff::{Difference, Plan, SettingChange, Shape, Summary, Unremovable};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        self.summary().fmt(f)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { create, change, remove, by_hand } = self;
        write!(f, "{create} to create, {change} to change, {remove} to remove")?;
        if *by_hand > 0 { write!(f, ", {by_hand} to change by hand") } else { Ok(()) }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateTopic { topic, partitions, replicas, settings } => {
                write!(f, "+ create topic {topic} (partitions {partitions}, replicas {replicas}")?;
                for (key, value) in settings {
                    write!(f, ", {key} {}", readable(key, value))?;
                }
                f.write_str(")")
            }
            Self::ChangeTopic { topic, settings } => {
                let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
                write!(f, "~ change {topic} ({})", settings.join(", "))
            }
            Self::CreateAcl { acl } => write!(f, "+ acl {acl}"),
            Self::RemoveAcl { acl } => write!(f, "- acl {acl} (not in the table)"),
            Self::CreateUser { user } => write!(f, "+ user {user}"),
            Self::Unchangeable { topic, shape, from, to } => {
                let (what, why) = match shape {
                    Shape::Partitions => ("partitions", "keys would move"),
                    Shape::Replicas => ("replicas", "that needs a reassignment"),
                };
                write!(f, "! cannot change {topic}: {what} {from} -> {to}, {why}")
            }
            Self::UnremovableAcl { acl, why } => {
                let why = match why {
                    Unremovable::ReachesBeyond => "it reaches beyond this prefix",
                    Unremovable::Inexpressible => "it has a part that this client does not know",
                };
                write!(f, "! cannot remove acl {acl} (not in the table): {why}")
            }
            Self::OutlivesErasure { topic, kept_ms } => {
                let kept = match kept_ms {
                    Some(kept) => format!("up to {} after a query", hours(*kept)),
                    None => "without an end".to_owned(),
                };
                let limit = u64::try_from(EARLIEST_ERASURE.as_millis()).unwrap_or(u64::MAX);
                write!(
                    f,
                    "! sealed content stays in {topic} {kept}: its report is erased after {}",
                    hours(limit)
                )
            }
            Self::UnknownTopic { topic } => {
                write!(f, "! unknown topic {topic}: not in the table, and never deleted")
            }
        }
    }
}

impl fmt::Display for SettingChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, from, to } = self;
        let side = |value: &Option<String>, none: &str| {
            value.as_ref().map_or_else(|| none.to_owned(), |value| readable(key, value))
        };
        write!(f, "{key} {} -> {}", side(from, "not told"), side(to, "the broker's default"))
    }
}

/// A time in hours, and minutes where there are some.
fn hours(millis: u64) -> String {
    let minutes = millis.div_ceil(60_000);
    match (minutes / 60, minutes % 60) {
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// Times and sizes in the largest unit that says them exactly.
fn readable(key: &str, value: &str) -> String {
    const TIMES: [(&str, u64); 4] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    const SIZES: [(&str, u64); 3] = [(" GiB", 1 << 30), (" MiB", 1 << 20), (" KiB", 1 << 10)];
    let units: &[(&str, u64)] = if key.ends_with(".ms") {
        &TIMES
    } else if key.ends_with(".bytes") {
        &SIZES
    } else {
        return value.to_owned();
    };
    let Some(number) = value.parse::<u64>().ok().filter(|number| *number > 0) else {
        return value.to_owned();
    };
    let unit = units.iter().find(|(_, size)| number.is_multiple_of(*size));
    match unit {
        Some((name, size)) => format!("{}{name}", number / size),
        None if key.ends_with(".ms") => format!("{number}ms"),
        None => format!("{number} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_said_exactly_in_their_largest_unit() {
        for (key, value, expected) in [
            ("retention.ms", "432000000", "5d"),
            ("retention.ms", "3600000", "1h"),
            ("retention.ms", "90000", "90s"),
            ("retention.ms", "1", "1ms"),
            ("retention.ms", "-1", "-1"),
            ("retention.ms", "0", "0"),
            ("max.message.bytes", "524288", "512 KiB"),
            ("max.message.bytes", "1048588", "1048588 B"),
            ("cleanup.policy", "delete", "delete"),
            ("min.insync.replicas", "2", "2"),
        ] {
            assert_eq!(readable(key, value), expected, "{key} {value}");
        }
    }
}
