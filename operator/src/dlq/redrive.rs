//! Puts dead letters back: looks at what lies there, says what would go back, and does it when told to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use plumbing::kafka::{Producer, Record};
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use super::options::Redrive;
use super::plan::{self, Plan, Step};
use super::progress::Progress;
use super::select::Select;
use super::{DlqError, Site, json, plan_file, read};

/// What a run has done.
#[derive(Serialize)]
struct Told<'a> {
    plan: &'a Plan,
    sha256: String,
    file: Option<&'a Path>,
    published: usize,
}

pub(super) async fn run(options: &Redrive) -> Result<String, DlqError> {
    let site = Site::load(&options.config)?;
    let (plan, file) = match &options.execute {
        Some(Some(path)) => (plan_file::read(path, &site.topics)?, Some(path.clone())),
        alone => {
            let plan = make(&site, options).await?;
            let by_itself = || PathBuf::from(format!("redrive-{}.json", plan.run));
            let file = options.out.clone().or_else(|| alone.is_some().then(by_itself));
            if let Some(path) = &file {
                plan_file::write(path, &plan)?;
            }
            (plan, file)
        }
    };
    let sha256 = plan.sha256().map_err(|error| DlqError::Form(error.to_string()))?;
    let published = match (&options.execute, &file) {
        (Some(_), Some(file)) => Some(execute(&site, &plan, file, &sha256, options.resend_in_doubt).await?),
        (Some(_), None) | (None, _) => None,
    };
    if options.json {
        return json(&Told { plan: &plan, sha256, file: file.as_deref(), published: published.unwrap_or(0) });
    }
    let place = file.map_or_else(|| sha256.clone(), |file| format!("{}, {sha256}", file.display()));
    Ok(match published {
        Some(published) => format!("{plan}\nplan {place}\npublished: {published} of {}", plan.steps.len()),
        None => format!("{plan}\nplan {place}\nnothing was published: say --execute to put them back"),
    })
}

async fn make(site: &Site, options: &Redrive) -> Result<Plan, DlqError> {
    let run = uuid::Uuid::now_v7().to_string();
    let plan = Plan::new(run, &site.topics, options.rate.get(), options.max_replays);
    let letters = read::read(&site.kafka, &site.topics, &options.select, |record| record).await?;
    Ok(letters.iter().fold(plan, |mut plan, record| {
        plan.add(record, &site.topics);
        plan
    }))
}

/// Carries out what is left of a plan; returns how many of its records are published then.
async fn execute(
    site: &Site,
    plan: &Plan,
    file: &Path,
    sha256: &str,
    resend_in_doubt: bool,
) -> Result<usize, DlqError> {
    let mut progress = Progress::open(file, sha256)?;
    let is_left = |step: &&Step| {
        let done = &progress.done;
        !done.sent.contains(&step.at) && (resend_in_doubt || !done.in_doubt.contains(&step.at))
    };
    let steps: Vec<&Step> = plan.steps.iter().filter(is_left).collect();
    let found = look_up(site, &steps).await?;
    for step in &steps {
        plan.check(step, found.get(&step.at), &site.topics)
            .map_err(|why| DlqError::PlanStale { at: step.at.clone(), why })?;
    }
    let producer = Producer::new(&site.kafka)?;
    let mut tick = tokio::time::interval(Duration::from_secs(1) / plan.rate.max(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for (index, step) in steps.iter().enumerate() {
        let Some(record) = found.get(&step.at) else { continue };
        tick.tick().await;
        progress.sending(&step.at)?;
        // One at a time: records of one key keep their order, and only one can be in doubt.
        let sent = producer.send(plan::replayed(record, &plan.run, step.to.clone(), step.replay)).await;
        sent.map_err(|source| DlqError::Stopped {
            sent: progress.done.sent.len(),
            left: steps.len() - index - 1,
            at: step.at.clone(),
            source,
        })?;
        progress.sent(&step.at)?;
    }
    if progress.done.in_doubt.is_empty() {
        Ok(progress.done.sent.len())
    } else {
        Err(DlqError::InDoubt(progress.done.in_doubt.into_iter().collect()))
    }
}

/// What lies by now where the plan has dead letters.
async fn look_up(site: &Site, steps: &[&Step]) -> Result<BTreeMap<String, Record>, DlqError> {
    if steps.is_empty() {
        return Ok(BTreeMap::new());
    }
    // Found in a set, not in a selection's list of places: a plan may have many thousands.
    let wanted: BTreeSet<String> = steps.iter().map(|step| step.at.clone()).collect();
    let keep = move |record: Record| {
        let at = record.position.to_string();
        wanted.contains(&at).then_some((at, record))
    };
    let found = read::read(&site.kafka, &site.topics, &Select::default(), keep).await?;
    Ok(found.into_iter().flatten().collect())
}
