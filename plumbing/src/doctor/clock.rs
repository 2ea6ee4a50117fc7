//! This machine's clock against the brokers'.
//!
//! No request of Kafka's protocol asks for the time, and a record that asks for it would lie in somebody's mailbox. What
//! there is are the append times of records: a record that was appended in this machine's future proves that its clock
//! is behind. A clock that is ahead shows in records that came a moment ago, and otherwise not.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::report::{Report, State};
use crate::exit::Exit;
use crate::kafka::{KafkaConfig, KafkaError, Position, RecordReader, Watermarks};

const CHECK: &str = "clock";
const READ_WITHIN: Duration = Duration::from_secs(15);
/// A second is what clocks of machines differ by that nobody cares for.
const NOTICED_MS: i64 = 1_000;
/// Statements of banks and hub are refused when their times are impossible; their tolerance is of this order.
const HARMFUL_MS: i64 = 30_000;

/// Compares this machine's clock with the newest records of `topics`; one line.
pub async fn clock(kafka: &KafkaConfig, topics: &[String], now_ms: impl Fn() -> i64, report: &mut Report) {
    let newest = timeout(READ_WITHIN, newest(kafka, topics)).await;
    let (what, state) = match newest {
        Ok(Ok(newest)) => judged(newest, now_ms()),
        Ok(Err(error)) => (
            format!("no record can be read: {error}"),
            State::failed(error.exit(), "mend what is denied or unavailable above"),
        ),
        Err(_) => (
            format!("no record was read in {READ_WITHIN:?}"),
            State::failed(
                Exit::Unavailable,
                "try again; if it stays so, ask the operator how the brokers are",
            ),
        ),
    };
    report.add(CHECK, what, state);
}

/// The newest append time in `topics`.
async fn newest(kafka: &KafkaConfig, topics: &[String]) -> Result<Option<i64>, KafkaError> {
    let reader = RecordReader::new(kafka)?;
    let mut newest = None;
    for ((topic, partition), range) in Watermarks::new(kafka)?.ranges(topics).await {
        let (low, end) = range?;
        if low == end {
            continue;
        }
        let last = Position { topic: Arc::from(topic), partition, offset: end - 1 };
        if let Some(record) = reader.read(last).await? {
            newest = newest.max(Some(record.append_time_ms));
        }
    }
    Ok(newest)
}

fn judged(newest: Option<i64>, now: i64) -> (String, State) {
    let Some(newest) = newest else {
        let needs = "a record in one of its topics".to_owned();
        return ("nothing to compare with".to_owned(), State::Skipped { needs });
    };
    let behind = newest - now;
    if behind > 0 {
        let what = format!("at least {} behind the brokers", seconds(behind));
        return (what, skew(behind));
    }
    (format!("not behind the brokers: their newest record came {} ago", seconds(-behind)), State::Ok)
}

/// What a difference of so many milliseconds between this clock and another one means.
pub fn skew(ms: i64) -> State {
    let fix = "set this machine's clock by NTP: timedatectl";
    let ms = ms.abs();
    if ms <= NOTICED_MS {
        State::Ok
    } else if ms <= HARMFUL_MS {
        State::warning(fix)
    } else {
        State::failed(Exit::Config, fix)
    }
}

fn seconds(ms: i64) -> String {
    if ms < 60_000 {
        return format!("{}.{} s", ms / 1000, ms % 1000 / 100);
    }
    let minutes = ms / 60_000;
    if minutes < 120 {
        format!("{minutes} min")
    } else if minutes < 2_880 {
        format!("{} h", minutes / 60)
    } else {
        format!("{} d", minutes / 1_440)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_from_the_future_says_that_the_clock_is_behind() {
        let now = 1_790_000_000_000;
        for (newest, what, exit) in [
            (now - 3_000, "not behind the brokers: their newest record came 3.0 s ago", 0),
            (now + 400, "at least 0.4 s behind the brokers", 0),
            (now + 30_001, "at least 30.0 s behind the brokers", 78),
            (now - 7_200_000, "not behind the brokers: their newest record came 2 h ago", 0),
        ] {
            let mut report = Report::default();
            let (told, state) = judged(Some(newest), now);
            assert_eq!(told, what);
            report.add(CHECK, told, state);
            assert_eq!(report.exit().code(), exit, "{what}");
        }
        assert!(matches!(judged(Some(now + 5_000), now).1, State::Warning { .. }));
        assert!(matches!(judged(None, now).1, State::Skipped { .. }));
    }
}
