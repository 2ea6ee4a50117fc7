//! The shipped rules in a shorter time, by one rule: every duration of a `for:`, of a range `[…]` and of an `offset` is
//! divided by [`SHORTER`], to whole seconds. Nothing else changes; times that a rule compares with stay.

/// What durations are divided by. 10 minutes become 20 seconds: still longer than the 15 seconds between two statistics of
/// a Kafka client.
pub const SHORTER: u64 = 30;

/// `rules` with shorter durations.
///
/// # Panics
/// If a duration is not whole seconds after it, so that no rule is changed by rounding.
#[must_use]
pub fn shortened(rules: &str) -> String {
    let mut shorter = String::new();
    for line in rules.split_inclusive('\n') {
        if line.trim_start().starts_with('#') {
            shorter.push_str(line);
            continue;
        }
        let line =
            ["for: ", "offset ", "["].iter().fold(line.to_owned(), |line, before| behind(&line, before));
        shorter.push_str(&line);
    }
    shorter
}

/// Shortens the durations that stand behind `before`.
fn behind(line: &str, before: &str) -> String {
    let mut parts = line.split(before);
    let mut shorter = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = part.split_at(digits);
        let unit = rest.chars().next().and_then(seconds);
        shorter.push_str(before);
        match (number.parse::<u64>(), unit) {
            (Ok(number), Some(unit)) => {
                let whole = number * unit;
                assert_eq!(whole % SHORTER, 0, "{number}{rest}: no whole seconds");
                shorter.push_str(&format!("{}s{}", whole / SHORTER, &rest[1..]));
            }
            _ => shorter.push_str(part),
        }
    }
    shorter
}

fn seconds(unit: char) -> Option<u64> {
    match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shortened_and_nothing_else_is() {
        let rules = "# [15m]\n  expr: sum(increase(a_total[15m])) > 24 * 3600 unless a_total{b=\"c\"} offset 1h\n  for: 2m\n";
        let shorter = "# [15m]\n  expr: sum(increase(a_total[30s])) > 24 * 3600 unless a_total{b=\"c\"} offset 120s\n  for: 4s\n";
        assert_eq!(shortened(rules), shorter);
    }
}
