//! Settings of every Kafka client. What correctness rests on is fixed here and not configurable.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::config::RDKafkaLogLevel;
use serde::{Deserialize, Deserializer};

use super::error::KafkaError;
use super::logs::PlainContext;
use crate::config::{is_secret, redacted};

/// How to reach Kafka.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Bootstrap servers, `host:port` separated by commas.
    pub brokers: String,
    /// Name of this client at the broker: `<prefix>.<role>[.<party>]`. Quotas and broker metrics are keyed on it, so
    /// it must be bounded. A service derives it when nobody sets it.
    #[serde(default)]
    pub client_id: String,
    /// Whose clock the records carry.
    #[serde(default)]
    pub append_time: AppendTime,
    /// How long the group waits for a silent member before it gives its partitions away.
    #[serde(default = "default_session_timeout_ms")]
    pub session_timeout_ms: u32,
    /// How long a batch, or one turn of the poll thread, may take before the consumer gives up and
    /// ends with an error. Generous: it catches what would otherwise hang for ever.
    #[serde(default = "default_stall_timeout_ms")]
    pub stall_timeout_ms: u64,
    /// Any other property of librdkafka, by its own name. In a variable of the environment, which
    /// cannot hold dots, an underscore stands for each dot.
    #[serde(default, deserialize_with = "properties")]
    pub properties: BTreeMap<String, String>,
    /// Files whose content, without white space around it, is the value of a property: for passwords. Read whenever a
    /// client is created.
    #[serde(default)]
    pub property_files: BTreeMap<String, PathBuf>,
}

/// librdkafka takes texts; numbers and truth values may stand without quotes.
fn properties<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text, a number, true or false")]
    enum Property {
        Text(String),
        Number(i64),
        Fraction(f64),
        Truth(bool),
    }
    let read = BTreeMap::<String, Property>::deserialize(deserializer)?;
    let texts = read.into_iter().map(|(key, value)| {
        let text = match value {
            Property::Text(text) => text,
            Property::Number(number) => number.to_string(),
            Property::Fraction(number) => number.to_string(),
            Property::Truth(truth) => truth.to_string(),
        };
        (key, text)
    });
    Ok(texts.collect())
}

/// Whose clock a record's time must come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppendTime {
    /// The broker's. A record with its writer's time is an error: deadlines are computed from this.
    #[default]
    Broker,
    /// The writer's time is accepted: only for the in-process mock broker, which never sets
    /// LogAppendTime.
    InProcess,
}

const fn default_session_timeout_ms() -> u32 {
    45_000
}

const fn default_stall_timeout_ms() -> u64 {
    300_000
}

/// Properties that this module sets itself, and why nobody else may.
const RESERVED: &[(&str, &str)] = &[
    ("acks", OURS_BY_DURABILITY),
    ("allow.auto.create.topics", "topics are created by the operator, never by a typo"),
    ("auto.offset.reset", "anything but earliest would skip records"),
    ("bootstrap.servers", "use `brokers`"),
    ("check.crcs", "a damaged record must not pass"),
    ("client.id", "use `client_id`"),
    ("enable.auto.commit", OURS_BY_OFFSETS),
    ("enable.auto.offset.store", OURS_BY_OFFSETS),
    ("enable.idempotence", OURS_BY_DURABILITY),
    ("enable.partition.eof", "the tail reader sets it where it needs it"),
    ("group.id", "each consumer names its own group"),
    ("group.protocol", "only the classic protocol is safe with this librdkafka"),
    ("group.remote.assignor", "only the classic protocol is safe with this librdkafka"),
    ("metadata.broker.list", "use `brokers`"),
    ("partition.assignment.strategy", "members must agree on it"),
    ("partitioner", "writers must agree on it, Java clients included"),
    ("request.required.acks", OURS_BY_DURABILITY),
    ("session.timeout.ms", "use `session_timeout_ms`"),
    ("topic.partitioner", "writers must agree on it"),
    ("transactional.id", "this system does not use transactions"),
];
const OURS_BY_OFFSETS: &str = "an offset completes only after the effect of its record";
const OURS_BY_DURABILITY: &str = "an acknowledged record must be durable and written once";

impl KafkaConfig {
    /// Settings for a real broker, with defaults for everything else.
    pub fn new(brokers: impl Into<String>, client_id: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            client_id: client_id.into(),
            append_time: AppendTime::Broker,
            session_timeout_ms: default_session_timeout_ms(),
            stall_timeout_ms: default_stall_timeout_ms(),
            properties: BTreeMap::new(),
            property_files: BTreeMap::new(),
        }
    }

    /// Settings for the in-process mock broker: its records carry no append time, a re-subscribe
    /// costs a session timeout, and an empty fetch waits its full time.
    pub fn in_process(brokers: impl Into<String>, client_id: impl Into<String>) -> Self {
        Self {
            append_time: AppendTime::InProcess,
            session_timeout_ms: 6_000,
            properties: BTreeMap::from([("fetch.wait.max.ms".into(), "50".into())]),
            ..Self::new(brokers, client_id)
        }
    }

    /// Checks the properties without connecting: reserved names, and librdkafka's own opinion.
    pub fn validate(&self) -> Result<(), KafkaError> {
        for config in [self.consumer("validate")?, self.producer()?] {
            config.create_native_config().map_err(|error| KafkaError::sorted("configuration", &error))?;
        }
        Ok(())
    }

    /// Everything that is wrong with the settings, with dotted keys, without connecting or reading a file.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (key, value) in [("brokers", &self.brokers), ("client_id", &self.client_id)] {
            if value.is_empty() {
                faults.push(format!("kafka.{key}: is empty"));
            }
        }
        for (key, value) in [
            ("session_timeout_ms", self.session_timeout_ms.into()),
            ("stall_timeout_ms", self.stall_timeout_ms),
        ] {
            if value == 0 {
                faults.push(format!("kafka.{key}: must be at least 1"));
            }
        }
        for (key, value) in &self.properties {
            faults.extend(property_fault(key, value).map(|fault| format!("kafka.properties.{key}: {fault}")));
        }
        for key in self.property_files.keys() {
            if let Some(reason) = reserved(&key.replace('_', ".")) {
                faults.push(format!("kafka.property_files.{key}: reserved: {reason}"));
            }
        }
        faults
    }

    /// What is wrong with the files of properties, without a word of their content.
    pub fn secret_faults(&self) -> Vec<String> {
        let unreadable = |(key, path): (&String, &PathBuf)| {
            let error = std::fs::read_to_string(path).err()?;
            Some(format!("kafka.property_files.{key}: {}: {error}", path.display()))
        };
        self.property_files.iter().filter_map(unreadable).collect()
    }

    /// See [`KafkaConfig::stall_timeout_ms`].
    pub fn stall_timeout(&self) -> Duration {
        Duration::from_millis(self.stall_timeout_ms)
    }

    /// The value of a property of librdkafka, where the settings give it.
    ///
    /// # Errors
    /// [`KafkaError::PropertyFile`].
    pub(crate) fn property(&self, name: &str) -> Result<Option<String>, KafkaError> {
        let named = |key: &String| key.replace('_', ".") == name;
        if let Some((key, path)) = self.property_files.iter().find(|(key, _)| named(key)) {
            return property_file(key, path).map(Some);
        }
        Ok(self.properties.iter().find(|(key, _)| named(key)).map(|(_, value)| value.clone()))
    }

    /// librdkafka's own word for a property, whether the settings give it or not: `builtin.features` among others.
    ///
    /// # Errors
    /// [`KafkaError`]: a property that is refused, or one that librdkafka does not know.
    pub(crate) fn native_property(&self, name: &str) -> Result<String, KafkaError> {
        let native = self.client()?.create_native_config();
        let value = native.and_then(|native| native.get(name));
        value.map_err(|error| KafkaError::sorted("configuration", &error))
    }

    /// A client that manages topics, access lists and users.
    ///
    /// # Errors
    /// [`KafkaError`]: a property that is refused.
    pub fn admin(&self) -> Result<AdminClient<PlainContext>, KafkaError> {
        let client = self.client()?.create_with_context(PlainContext);
        client.map_err(|error| KafkaError::sorted("admin client", &error))
    }

    /// A client that only asks: metadata and watermarks.
    pub(super) fn client(&self) -> Result<ClientConfig, KafkaError> {
        self.with_defaults(&[])
    }

    /// A member of a group, or a reader that assigns itself.
    pub(super) fn consumer(&self, group_id: &str) -> Result<ClientConfig, KafkaError> {
        let mut config = self.with_defaults(&[
            // Prefetch counts against memory for every consumer; librdkafka's 64 MiB is per client.
            ("queued.max.messages.kbytes", "16384"),
            ("statistics.interval.ms", "15000"),
        ])?;
        config
            .set("group.id", group_id)
            // KIP-848 stalls and loses commits with librdkafka 2.12 (Blizzard/node-rdkafka#1146).
            .set("group.protocol", "classic")
            // `range` works per topic and idles members when topics have few partitions.
            .set("partition.assignment.strategy", "roundrobin")
            .set("session.timeout.ms", self.session_timeout_ms.to_string())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // `error` stops a new group for good, the default `largest` skips records.
            .set("auto.offset.reset", "earliest")
            .set("check.crcs", "true");
        Ok(config)
    }

    /// A tail reader: it assigns itself and never joins the group that it names.
    pub(super) fn follower(&self) -> Result<ClientConfig, KafkaError> {
        // librdkafka refuses `assign` without a group id. A party's access list knows its own
        // names only, so the client's name serves.
        let mut config = self.consumer(&self.client_id)?;
        config.set("enable.partition.eof", "true");
        Ok(config)
    }

    /// A producer whose acknowledgement means durable and written once.
    pub(super) fn producer(&self) -> Result<ClientConfig, KafkaError> {
        let mut config = self.with_defaults(&[
            ("compression.codec", "zstd"),
            ("linger.ms", "5"),
            // The broker holds a whole batch against the topic's max.message.bytes, which is 64 KiB on most topics. A
            // single larger record still makes a batch of its own.
            ("batch.size", "61440"),
            ("message.max.bytes", "1048576"),
            // Long, because every timeout in flight is a possible duplicate.
            ("message.timeout.ms", "120000"),
        ])?;
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // librdkafka's default is CRC32; Java clients use murmur2.
            .set("partitioner", "murmur2_random");
        Ok(config)
    }

    /// `defaults`, then the passthrough over them, then what is reserved.
    fn with_defaults(&self, defaults: &[(&str, &str)]) -> Result<ClientConfig, KafkaError> {
        let mut config = ClientConfig::new();
        // rdkafka asks the `log` crate for its level; ours is decided by the tracing filter.
        config.set_log_level(if tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG) {
            RDKafkaLogLevel::Debug
        } else {
            RDKafkaLogLevel::Info
        });
        for (key, value) in defaults {
            config.set(*key, *value);
        }
        let mut set = |key: &str, value: &str| {
            // No property of librdkafka has an underscore in its name.
            let key = key.replace('_', ".");
            match reserved(&key) {
                Some(reason) => Err(KafkaError::ReservedProperty { key, reason }),
                None => {
                    config.set(key, value);
                    Ok(())
                }
            }
        };
        for (key, value) in &self.properties {
            set(key, value)?;
        }
        for (key, path) in &self.property_files {
            set(key, &property_file(key, path)?)?;
        }
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            .set("allow.auto.create.topics", "false");
        Ok(config)
    }
}

fn property_file(key: &str, path: &Path) -> Result<String, KafkaError> {
    let value = std::fs::read_to_string(path).map_err(|error| KafkaError::PropertyFile {
        key: key.to_owned(),
        path: path.to_owned(),
        error: error.to_string(),
    })?;
    Ok(value.trim().to_owned())
}

fn reserved(key: &str) -> Option<&'static str> {
    RESERVED.iter().find(|(reserved, _)| *reserved == key).map(|(_, reason)| *reason)
}

fn property_fault(key: &str, value: &str) -> Option<String> {
    let key = key.replace('_', ".");
    if let Some(reason) = reserved(&key) {
        return Some(format!("reserved: {reason}"));
    }
    let refused = ClientConfig::new().set(&key, value).create_native_config().err()?;
    let refused = KafkaError::sorted("configuration", &refused);
    let text = if let KafkaError::Property { text, .. } = refused { text } else { refused.to_string() };
    // librdkafka repeats a value that it does not understand.
    let tells = is_secret(&key) && text.contains(value);
    Some(if tells { "librdkafka refuses the value".to_owned() } else { text })
}

impl fmt::Debug for KafkaConfig {
    /// Prints properties that can hold a secret by name only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: BTreeMap<_, _> =
            self.properties.iter().map(|(key, value)| (key, redacted(key, value))).collect();
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("client_id", &self.client_id)
            .field("append_time", &self.append_time)
            .field("session_timeout_ms", &self.session_timeout_ms)
            .field("stall_timeout_ms", &self.stall_timeout_ms)
            .field("properties", &properties)
            .field("property_files", &self.property_files)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> KafkaConfig {
        let mut config = KafkaConfig::new("localhost:9092", "test");
        config.properties.insert(key.into(), value.into());
        config
    }

    #[test]
    fn every_reserved_property_is_refused_with_its_reason() {
        for (key, reason) in RESERVED {
            assert_eq!(
                with(key, "x").validate(),
                Err(KafkaError::ReservedProperty { key: (*key).to_owned(), reason })
            );
        }
    }

    #[test]
    fn an_unknown_property_is_reported_in_librdkafkas_own_words() {
        let error = with("no.such.thing", "1").validate().expect_err("unknown property").to_string();
        assert_eq!(
            error,
            "kafka property `no.such.thing`: No such configuration property: \"no.such.thing\""
        );
    }

    #[test]
    fn a_property_from_the_environment_may_use_underscores_for_dots() {
        let config = with("security_protocol", "ssl");
        assert_eq!(config.validate(), Ok(()));
        let client = config.client().expect("valid");
        assert_eq!(client.get("security.protocol"), Some("ssl"));
        assert!(with("enable_idempotence", "false").validate().is_err());
    }

    #[test]
    fn defaults_can_be_tuned_but_what_correctness_needs_is_set() {
        let producer = with("linger.ms", "0").producer().expect("valid");
        assert_eq!(producer.get("linger.ms"), Some("0"));
        assert_eq!(producer.get("enable.idempotence"), Some("true"));
        assert_eq!(producer.get("partitioner"), Some("murmur2_random"));
        let consumer = with("linger.ms", "0").consumer("g").expect("valid");
        assert_eq!(consumer.get("auto.offset.reset"), Some("earliest"));
        assert_eq!(consumer.get("enable.auto.commit"), Some("false"));
        assert_eq!(consumer.get("partition.assignment.strategy"), Some("roundrobin"));
    }

    #[test]
    fn all_faults_are_told_at_once_and_no_secret_with_them() {
        let mut config = with("acks", "0");
        config.client_id = String::new();
        config.properties.insert("no.such.thing".into(), "1".into());
        config.properties.insert("ssl.key.password".into(), "hunter2".into());
        config.properties.insert("linger.ms".into(), "soon".into());
        config.property_files.insert("group.id".into(), "/no/such/file".into());
        let faults = config.faults();
        let expected = [
            "kafka.client_id: is empty",
            "kafka.properties.acks: reserved: an acknowledged record",
            "kafka.properties.linger.ms: ",
            "kafka.properties.no.such.thing: No such configuration property",
            "kafka.property_files.group.id: reserved: each consumer names its own group",
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        for (fault, expected) in faults.iter().zip(expected) {
            assert!(fault.starts_with(expected), "{fault}");
        }
        assert!(config.secret_faults()[0].starts_with("kafka.property_files.group.id: /no/such/file: "));
    }

    #[test]
    fn a_password_comes_from_its_file_without_the_line_end() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "hunter2\n").expect("written");
        let mut config = with("security.protocol", "sasl_ssl");
        config.property_files.insert("sasl.password".into(), file.path().to_owned());
        assert_eq!(config.client().expect("valid").get("sasl.password"), Some("hunter2"));
        assert!(!format!("{config:?}").contains("hunter2"));
        drop(file);
        assert!(matches!(config.client(), Err(KafkaError::PropertyFile { .. })));
    }

    #[test]
    fn debug_output_redacts_secrets() {
        let printed = format!("{:?}", with("sasl.password", "hunter2"));
        assert!(!printed.contains("hunter2"), "{printed}");
        let printed = format!("{:?}", with("security.protocol", "ssl"));
        assert!(printed.contains("ssl"), "{printed}");
    }
}
