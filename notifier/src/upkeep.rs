//! Keeps the store small and a start short: forgets old rows, and notes how far the rows reflect the SMS topic, so that
//! nothing before is read again.
//!
//! While the service runs nothing need be read for it: every record of the topic was written after its row. So the rows
//! reflect the topic up to any end that was seen, as long as they are the rows of the start, and not those of a backup
//! that somebody restored meanwhile. Such rows have the progress of long ago beside them; then the process ends, and its
//! next start reads what they lost.

use std::future::Future;
use std::time::Duration;

use plumbing::kafka::Watermarks;

use crate::store::{Progress, Store, StoreError};

/// How often. What stands in the topic since the last round is read at the next start.
const EVERY: Duration = Duration::from_secs(60);
/// What no topic tells of any more: the SMS topic keeps 30 days, the notice topic two.
const FORGET_AFTER: Duration = Duration::from_secs(45 * 24 * 3_600);
/// Rows forgotten in one round: some million a day.
const FORGET_MAX: u32 = 5_000;

/// The rows went back in time while the service ran.
#[derive(Debug, thiserror::Error)]
#[error(
    "the SMS store was restored from a backup while the service ran: it must start again to read what was lost"
)]
pub struct Rewound;

/// Works until `stopping`. `known` is the progress that was noted last.
///
/// # Errors
/// [`Rewound`].
pub(crate) async fn keep<S: Store>(
    store: S,
    ends: Watermarks,
    topic: String,
    mut known: Progress,
    stopping: impl Future<Output = ()>,
) -> Result<(), Rewound> {
    let mut stopping = std::pin::pin!(stopping);
    loop {
        // Not in the middle of a round: its transaction would be cut off.
        tokio::select! {
            () = &mut stopping => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
        let next = seen(&ends, &topic).await;
        match advance(&store, &topic, &known, next).await {
            Ok(Some(advanced)) => known = advanced,
            Ok(None) => return Err(Rewound),
            Err(error) => tracing::warn!(%error, "progress in the SMS topic is not noted"),
        }
        if let Err(error) = store.forget(FORGET_AFTER, FORGET_MAX).await {
            tracing::warn!(%error, "old rows are not forgotten");
        }
    }
}

/// The ends of those partitions that can be read.
async fn seen(ends: &Watermarks, topic: &str) -> Progress {
    let ends = ends.end_offsets(&[topic.to_owned()]).await;
    ends.into_iter().filter_map(|((_, partition), end)| Some((partition, end.ok()?))).collect()
}

/// The progress that is known afterwards; `None` when the rows are not those that reached `known`.
pub(crate) async fn advance<S: Store>(
    store: &S,
    topic: &str,
    known: &Progress,
    next: Progress,
) -> Result<Option<Progress>, StoreError> {
    if !store.advance(topic, known, &next).await? {
        return Ok(None);
    }
    let mut advanced = known.clone();
    for (partition, next) in next {
        let offset = advanced.entry(partition).or_default();
        *offset = (*offset).max(next);
    }
    Ok(Some(advanced))
}
