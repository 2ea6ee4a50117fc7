//! Deletes dead letters from the front of partitions, for good.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use plumbing::kafka::{KafkaError, Position, Watermarks};
use rdkafka::admin::AdminOptions;
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;

use super::letter::{Letter, Summary};
use super::options::Drop;
use super::select::{Select, dead_letter_topics};
use super::{DlqError, Site, json};

const WITHIN: Duration = Duration::from_secs(30);

/// What would be deleted from a partition.
#[derive(Debug, Serialize)]
struct Cut {
    topic: String,
    partition: i32,
    /// The first offset that is there.
    from: i64,
    /// The first offset that stays.
    before: i64,
    what: Summary,
}

#[derive(Serialize)]
struct Told {
    cuts: Vec<Cut>,
    executed: bool,
}

pub(super) async fn run(options: &Drop) -> Result<String, DlqError> {
    let site = Site::load(&options.config)?;
    let cuts = plan(&site, options).await?;
    if options.execute {
        delete(&site, &cuts).await?;
    }
    let told = Told { cuts, executed: options.execute };
    if options.json { json(&told) } else { Ok(text(&told)) }
}

async fn plan(site: &Site, options: &Drop) -> Result<Vec<Cut>, DlqError> {
    let known = dead_letter_topics(&site.topics).map(|(_, topic)| topic);
    let mut wanted: BTreeMap<(String, i32), i64> = BTreeMap::new();
    for at in &options.before {
        let Position { topic, partition, offset } = &at.0;
        if !known.iter().any(|known| **known == **topic) {
            return Err(DlqError::NotDeadLetters(topic.to_string()));
        }
        let before = wanted.entry((topic.to_string(), *partition)).or_default();
        *before = (*before).max(*offset);
    }
    let topics: Vec<String> =
        known.into_iter().filter(|known| wanted.keys().any(|(topic, _)| topic == known)).collect();
    let mut ranges = Watermarks::new(&site.kafka)?.ranges(&topics).await;
    let letters = site.letters(&Select::default()).await?;
    let mut cuts = Vec::new();
    for ((topic, partition), before) in wanted {
        let range = ranges.remove(&(topic.clone(), partition));
        let (from, end) = range.unwrap_or_else(|| Err(KafkaError::UnknownTopic(topic.clone())))?;
        if before > end {
            return Err(DlqError::BehindTheEnd { topic, partition, end });
        }
        let gone: Vec<Letter> =
            letters.iter().filter(|letter| letter.lies_before(&topic, partition, before)).cloned().collect();
        cuts.push(Cut { topic, partition, from, before, what: Summary::of(&gone) });
    }
    Ok(cuts)
}

async fn delete(site: &Site, cuts: &[Cut]) -> Result<(), DlqError> {
    let sorted = |error: &rdkafka::error::KafkaError| KafkaError::sorted("delete records", error);
    let mut list = TopicPartitionList::new();
    for cut in cuts {
        list.add_partition_offset(&cut.topic, cut.partition, Offset::Offset(cut.before))
            .map_err(|error| sorted(&error))?;
    }
    let options = AdminOptions::new().request_timeout(Some(WITHIN)).operation_timeout(Some(WITHIN));
    let told = site.kafka.admin()?.delete_records(&list, &options).await.map_err(|error| sorted(&error))?;
    for partition in told.elements() {
        partition.error().map_err(|error| sorted(&error))?;
    }
    Ok(())
}

fn text(told: &Told) -> String {
    let mut text = String::new();
    for Cut { topic, partition, from, before, what } in &told.cuts {
        // Writing to a string never fails.
        let _ = writeln!(text, "- {topic}:{partition} from {from} to before {before}\n{what}");
    }
    text + if told.executed {
        "deleted"
    } else {
        "nothing was deleted: say --execute to delete them for good"
    }
}
