//! Makes what a local system needs. What is there already is left as it is, so that a system can be started again.

use std::fs::File;
use std::path::Path;

use plumbing::exit::{Exit, Failure};
use plumbing::kafka::{OutRecord, Producer, Record, read_to_end};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc;

use super::http_tls;
use super::plan::Part;
use super::secret_file;
use super::settings::{self, Files, Site};
use super::{Local, Told};
use crate::config::Config;
use crate::sample;
use crate::topics::cluster::Cluster;
use crate::topics::wanted::Wanted;

/// One step, as it is told.
pub(super) type Tell<'a> = &'a mut (dyn FnMut(&str) + Send);

impl Local {
    /// Writes settings and keys, makes databases, topics, access lists and users, and publishes the registry.
    ///
    /// # Errors
    /// With the exit code of what stands in the way.
    pub async fn prepare(&self, tell: Tell<'_>) -> Result<(), Failure> {
        self.write_files()?;
        tell("topics, access lists and users; databases and the sample banks' rows");
        futures::future::try_join(self.apply_topics(), self.make_databases()).await?;
        tell("registry entries");
        self.publish_registry().await
    }

    fn write_files(&self) -> Result<(), Failure> {
        let files = Files(&self.plan.folder);
        for folder in files.folders() {
            secret_file::folder(&folder).map_err(cannot_create)?;
        }
        let site = Site { plan: &self.plan, stack: &self.stack, addresses: &self.addresses };
        for service in &self.services {
            let (name, party) = (&service.name, service.part.party());
            write(&service.settings, &site.of(&service.part))?;
            if service.part.signs() {
                write(&files.signing_key(name), &hex::encode(sample::keys::signing_seed(&party)))?;
            }
            if service.part.opens() {
                let key = sample::keys::opening(&party).to_raw();
                write(&files.opening_key(name), &hex::encode(key.as_ref()))?;
            }
            if let Some(url) = self.service_url(&service.part) {
                write(&files.database_url(name), url.expose_secret())?;
            }
        }
        write(&files.redis_url(), self.stack.redis.expose_secret())?;
        write(&files.subject_key(), &hex::encode(rand::random::<[u8; 32]>()))?;
        http_tls::Certificates::make(self.plan.upstream())
            .and_then(|made| made.write(&files))
            .map_err(cannot_create)?;
        let Self { plan, stack, addresses, .. } = self;
        write(&files.settings(settings::OPERATOR), &settings::operator(plan, stack, addresses))?;
        write(&files.settings(settings::AUDITOR), &settings::auditor(plan, stack, addresses))?;
        write(&files.settings(settings::REDRIVE), &settings::redrive(plan, stack))?;
        let told =
            serde_json::to_string_pretty(&self.told()).map_err(|error| Exit::Software.because(error))?;
        write(&self.plan.folder.join(Told::FILE), &told)
    }

    /// A connector reads its bank's database and cannot write to it.
    fn service_url(&self, part: &Part) -> Option<SecretString> {
        let databases = &self.databases;
        match part {
            Part::Connector(_) => Some(databases.banks.get(part)?.reader_url(&databases.server)),
            Part::Aggregator | Part::Notifier | Part::Producer(_) => self.database_url(part),
        }
    }

    /// Users belong to the whole cluster: two systems that are made at the same time must not both make one.
    async fn apply_topics(&self) -> Result<(), Failure> {
        let lock = File::create(self.stack.folder.join("users.lock")).map_err(cannot_create)?;
        let locked = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
        let _lock = locked.await.map_err(|error| Exit::Software.because(error))?.map_err(cannot_create)?;
        let (mut config, estate) = Config::load_with_estate(Some(&self.plan.folder))?;
        config.kafka.properties = self.stack.client("admin").map_err(|error| Exit::NoInput.because(error))?;
        let wanted = Wanted::new(&estate);
        let cluster = Cluster::new(&config.kafka, &config.users.passwords_dir)
            .map_err(|error| error.exit().because(error))?;
        let plan = cluster.plan(&wanted).await.map_err(|error| error.exit().because(error))?;
        let rest = cluster.apply(&wanted, &plan).await.map_err(|error| error.exit().because(error))?;
        if rest.is_empty() {
            return Ok(());
        }
        Err(Exit::BadData.because(format!("the cluster does not match the table of topics:\n{rest}")))
    }

    async fn make_databases(&self) -> Result<(), Failure> {
        let databases = &self.databases;
        databases.server.ensure(&databases.all()).await.map_err(|error| Exit::Unavailable.because(error))?;
        for (part, database) in &databases.banks {
            if let Part::Connector(bank) = part {
                let url = database.owner_url(&databases.server);
                sample::core::fill_database(url.expose_secret(), bank, self.plan.seed)
                    .await
                    .map_err(|error| Exit::Unavailable.because(error))?;
            }
        }
        Ok(())
    }

    /// Publishes the entries that the topic lacks: a party that has moved on keeps what it has.
    async fn publish_registry(&self) -> Result<(), Failure> {
        let kafka = self.operator()?;
        let topic = self.topics().registry();
        let (sender, mut keys) = mpsc::unbounded_channel();
        let each = move |record: Record| {
            // The receiver lives until the reader has ended.
            let _ = sender.send(record.key.unwrap_or_default());
        };
        read_to_end(&kafka, std::slice::from_ref(&topic), each)
            .await
            .map_err(|error| error.exit().because(error))?;
        let mut known = Vec::new();
        while let Ok(key) = keys.try_recv() {
            known.push(key);
        }
        let producer = Producer::new(&kafka).map_err(|error| error.exit().because(error))?;
        let records = self.plan.sample.records().map_err(|code| Exit::Software.because(code))?;
        for (key, value) in records {
            let key = key.into_bytes();
            if known.iter().any(|known| known[..] == key[..]) {
                continue;
            }
            let record = OutRecord { topic: topic.clone(), key: Some(key), value, headers: Vec::new() };
            producer.send(record).await.map_err(|error| Exit::of(&error).because(error))?;
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    secret_file::write(path, text).map_err(cannot_create)
}

fn cannot_create(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Exit::CannotCreate.because(error)
}
