//! Whether what is sealed in a topic is gone before its report is erased.
//!
//! A record stays until its segment is closed, then for `retention.ms`, then until the broker looks, then until the file
//! goes. What it holds may be written some time after the query was accepted.

use std::time::Duration;

use schemas::topics::EARLIEST_ERASURE;

use super::diff::Difference;
use super::found::{Found, FoundTopic};
use super::wanted::Wanted;

/// How often a broker looks for segments that are over (`log.retention.check.interval.ms`), which is not a topic's
/// setting: what brokers do unless told otherwise.
const BROKER_LOOKS_EVERY: Duration = Duration::from_secs(5 * 60);

/// Topics that keep sealed content for too long.
pub(super) fn outliving(wanted: &Wanted, found: &Found) -> Vec<Difference> {
    let sealed = wanted.topics.iter().filter_map(|(name, topic)| Some((name, topic.sealed_until?)));
    let kept = sealed.filter_map(|(name, written)| {
        let kept = kept(found.topics.get(name)?).map(|kept| written + kept);
        kept.is_none_or(|kept| kept >= EARLIEST_ERASURE).then(|| Difference::OutlivesErasure {
            topic: name.clone(),
            kept_ms: kept.map(|kept| u64::try_from(kept.as_millis()).unwrap_or(u64::MAX)),
        })
    });
    kept.collect()
}

/// How long after it was written a record is in this topic at most; nothing when it may stay for ever, or the broker did
/// not say.
fn kept(topic: &FoundTopic) -> Option<Duration> {
    let setting = |key: &str| topic.settings.get(key).map(|setting| setting.value.as_str());
    let millis = |key| setting(key)?.parse().ok().map(Duration::from_millis);
    if setting("cleanup.policy") != Some("delete") {
        return None;
    }
    let file_delay = millis("file.delete.delay.ms").unwrap_or(Duration::from_secs(60));
    Some(millis("segment.ms")? + millis("retention.ms")? + BROKER_LOOKS_EVERY + file_delay)
}
