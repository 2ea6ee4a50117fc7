//! What an insider has: eyes on every topic, a producer that may write anywhere, and the keys of one party at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bank_connector::domain::found::Found;
use bank_connector::domain::identity::Identity;
use bank_connector::source::{CardSource, SourceError};
use bytes::Bytes;
use cardquery::demo::world::Wrap;
use cardquery::sample;
use futures::future::BoxFuture;
use plumbing::kafka::{KafkaConfig, OutRecord, Position, Producer, Record, follow};
use prost::Message as _;
use schemas::batch;
use schemas::ids::{BankId, Nonce};
use schemas::keys::{OpeningKey, SigningKey};
use schemas::registry::{PartyName, Registry};
use schemas::reply::{self, Unsigned, Word};
use schemas::request::{self, Header, Opened};
use schemas::submission::BankQuery;
use schemas::time::UnixMillis;
use schemas::wire;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(25);
/// Age of a factor that a bank played by hand accepts.
const MAX_FACTOR_AGE: Duration = Duration::from_secs(300);

/// Looks until there is something.
///
/// # Panics
/// With `what` when there is nothing after 30 s.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// Reads along on topics, from their beginning.
pub struct Tap {
    records: Arc<Mutex<Vec<Record>>>,
    _stop: DropGuard,
}

impl Tap {
    /// Starts to read; what was there before is read when this returns.
    pub async fn on(kafka: &KafkaConfig, topics: Vec<String>) -> Self {
        let records: Arc<Mutex<Vec<Record>>> = Arc::default();
        let stop = CancellationToken::new();
        let seen = Arc::clone(&records);
        let each = move |record| seen.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        let follower = follow(kafka, topics, each, stop.clone()).expect("the topics can be followed");
        follower.caught_up().await.expect("the topics can be read");
        Self { records, _stop: stop.drop_guard() }
    }

    /// Everything read so far from `topic`, in the order of its partitions.
    pub fn of(&self, topic: &str) -> Vec<Record> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().filter(|record| &*record.position.topic == topic).cloned().collect()
    }

    /// Waits for a record of `topic` in which `find` finds something.
    pub async fn wait_for<T>(&self, topic: &str, find: impl Fn(&Record) -> Option<T>) -> T {
        eventually(topic, async || self.of(topic).iter().find_map(&find)).await
    }

    /// Waits until `topic` has more than `count` records, and returns the one after them.
    pub async fn after(&self, topic: &str, count: usize) -> Record {
        eventually(topic, async || self.of(topic).get(count).cloned()).await
    }
}

/// Writes whatever it likes wherever it likes.
pub struct Insider(Producer);

impl Insider {
    /// With a connection of its own.
    pub fn new(kafka: &KafkaConfig) -> Self {
        Self(Producer::new(kafka).expect("a producer"))
    }

    /// Writes one record; returns when the broker has it.
    pub async fn write(&self, topic: &str, key: &str, value: Vec<u8>) -> Position {
        let record = OutRecord {
            topic: topic.to_owned(),
            key: Some(key.as_bytes().to_vec()),
            value,
            headers: Vec::new(),
        };
        self.0.send(record).await.expect("the broker takes it")
    }
}

/// A bank that is played by hand, with the sample's keys.
#[derive(Clone)]
pub struct HandBank {
    /// Which one.
    pub id: BankId,
    /// What it signs with.
    pub signing: SigningKey,
    opening: OpeningKey,
}

/// A request that a bank played by hand has accepted.
#[derive(Clone)]
pub struct Asked {
    /// The hub's word.
    pub header: Header,
    /// The upstream's word.
    pub query: BankQuery,
}

impl HandBank {
    /// A sample bank.
    pub fn new(id: &BankId) -> Self {
        let party = PartyName::bank(id);
        Self {
            id: id.clone(),
            signing: sample::keys::signing(&party),
            opening: sample::keys::opening(&party),
        }
    }

    /// The same bank with another key: a rotated, a stolen or a made-up one.
    pub fn with_key(self, signing: SigningKey) -> Self {
        Self { signing, ..self }
    }

    /// Does everything that a connector does before it looks up.
    ///
    /// # Panics
    /// When the request is not one that a connector would accept.
    pub fn accept(&self, record: &Record, registry: &Registry) -> Asked {
        let hub = registry.hub().expect("the sample has a hub");
        let appended_at = UnixMillis(record.append_time_ms);
        let opened = request::open(&self.id, record.value.clone(), hub, appended_at);
        let Ok(Opened::Request(request)) = opened else { panic!("not the hub's request") };
        let keys = std::slice::from_ref(&self.opening);
        let accepted = request.accept(registry, keys, MAX_FACTOR_AGE).expect("an honest request");
        Asked { header: request.header, query: accepted.query }
    }

    /// Seals `answer` as this bank's.
    pub fn answered(&self, asked: &Asked, answer: &wire::Answer) -> Word {
        let sealed = reply::seal_answer(&asked.query, asked.header.statement_sha256, answer).expect("seals");
        Word::answered(&asked.query.terms.report_key, sealed)
    }

    /// Signs a word in a batch of one.
    pub fn reply(&self, asked: &Asked, word: Word, signed_at: UnixMillis) -> wire::CardReply {
        let unsigned = Unsigned::new(&asked.header, word);
        let proof = self.prove(&unsigned.header, signed_at);
        match unsigned.with_proof(proof).message {
            Some(wire::reply_record::Message::Reply(reply)) => reply,
            None => unreachable!("a reply"),
        }
    }

    /// A batch of one around any header, genuine or not.
    pub fn prove(&self, header: &Bytes, signed_at: UnixMillis) -> wire::BatchProof {
        let headers = std::slice::from_ref(header);
        let nonce = Nonce(*uuid::Uuid::now_v7().as_bytes());
        batch::sign_batch(&self.id, &self.signing, nonce, headers, signed_at)
            .expect("a batch of one")
            .remove(0)
    }
}

/// The record around a reply.
pub fn reply_record(reply: wire::CardReply) -> Vec<u8> {
    wire::ReplyRecord { message: Some(wire::reply_record::Message::Reply(reply)) }.encode_to_vec()
}

/// The record around a submission.
pub fn query_record(submitted: wire::QuerySubmitted) -> Vec<u8> {
    wire::QueryRecord { message: Some(wire::query_record::Message::Submitted(submitted)) }.encode_to_vec()
}

/// How often each bank's own system was asked.
#[derive(Clone, Default)]
pub struct Lookups(Arc<Mutex<BTreeMap<BankId, usize>>>);

impl Lookups {
    /// Lookups at `bank` so far.
    pub fn at(&self, bank: &BankId) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(bank).copied().unwrap_or_default()
    }

    /// Puts the counter before every bank's source.
    pub fn wrap(&self) -> Wrap {
        let lookups = self.clone();
        Wrap(Arc::new(move |bank, source| {
            Arc::new(Counted { bank: bank.clone(), source, lookups: lookups.clone() })
        }))
    }
}

struct Counted {
    bank: BankId,
    source: Arc<dyn CardSource>,
    lookups: Lookups,
}

impl CardSource for Counted {
    fn look_up<'a>(&'a self, identity: &'a Identity) -> BoxFuture<'a, Result<Found, SourceError>> {
        *self
            .lookups
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(self.bank.clone())
            .or_default() += 1;
        self.source.look_up(identity)
    }
}
