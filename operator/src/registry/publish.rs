//! Publishes an entry: looks at what readers have, says what would change, and does it when told to.

use plumbing::kafka::{KafkaError, OutRecord, Producer, Watermarks};
use schemas::codes::Code;

use super::entry_file::EntryFile;
use super::options::Publish;
use super::plan::Plan;
use super::topic::Topic;
use super::{RegistryCommandError, Settings, now, settings};

pub(super) async fn run(publish: &Publish) -> Result<String, RegistryCommandError> {
    let entry = EntryFile::read(&publish.entry)?;
    let settings = settings(publish.config.config.as_deref())?;
    let topic = Topic::read(&settings).await?;
    let Some(plan) = Plan::new(&topic.registry, entry.record(), entry.document(), now())? else {
        return Ok("the registry has this entry already: nothing to do".to_owned());
    };
    topics_are_there(&plan, &settings).await?;
    if !publish.execute {
        return Ok(format!("{plan}signatures hold\nnothing was changed: say --execute to publish"));
    }
    let record = OutRecord {
        topic: settings.topics.registry(),
        key: Some(plan.party.as_str().as_bytes().to_vec()),
        value: plan.record.clone(),
        headers: Vec::new(),
    };
    let position = Producer::new(&settings.kafka)?.send(record).await?;
    // Of two operators who publish at the same time, both are acknowledged and one is refused by readers.
    let after = Topic::read(&settings).await?;
    if after.registry.party(&plan.party).is_none_or(|party| party.record() != entry.record()) {
        let refused = after.refused.iter().find(|refused| refused.position == position);
        return Err(RegistryCommandError::Overtaken(
            refused.map_or(Code::REGISTRY_VERSION_OLD, |refused| refused.code),
        ));
    }
    Ok(format!("{plan}published: {position}"))
}

/// Topics and access lists first, then the entry: services subscribe as soon as they read it.
async fn topics_are_there(plan: &Plan, settings: &Settings) -> Result<(), RegistryCommandError> {
    let needed = plan.topics_to_begin(&settings.topics);
    if needed.is_empty() {
        return Ok(());
    }
    let mut missing = Vec::new();
    for ((topic, _), end) in Watermarks::new(&settings.kafka)?.end_offsets(&needed).await {
        match end {
            Ok(_) => {}
            Err(KafkaError::UnknownTopic(_)) => missing.push(topic),
            Err(error) => return Err(error.into()),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(RegistryCommandError::TopicsMissing { party: plan.party.clone(), topics: missing })
}
