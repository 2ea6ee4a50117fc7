//! Reads dead letters: to the ends found at the call, without committing anything.

use std::sync::mpsc;

use plumbing::kafka::{KafkaConfig, Record, read_to_end};
use schemas::topics::Topics;

use super::DlqError;
use super::select::Select;

/// Every dead letter that is meant, by topic, partition and offset, as `take` keeps it.
pub(super) async fn read<T: Send + 'static>(
    kafka: &KafkaConfig,
    topics: &Topics,
    select: &Select,
    take: impl Fn(Record) -> T + Send + 'static,
) -> Result<Vec<T>, DlqError> {
    let names = select.topics(topics);
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let (sender, receiver) = mpsc::channel();
    let select = select.clone();
    let each = move |record: Record| {
        if select.takes(&record) {
            let position = record.position.clone();
            // The receiver lives until the reader has ended.
            let _ = sender.send((position, take(record)));
        }
    };
    read_to_end(kafka, &names, each).await?;
    let mut found: Vec<_> = receiver.into_iter().collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found.into_iter().map(|(_, taken)| taken).collect())
}
