//! Many queries at once, straight through the topics: signed submissions and replies as wallets and banks make them, without
//! the processes of either. The hub and its store are real.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aggregator::store::{Clock as _, SystemClock};
use bytes::Bytes;
use cardquery::local::plan::Part;
use cardquery::sample;
use futures::StreamExt as _;
use plumbing::kafka::{KafkaConfig, OutRecord, Position, Producer};
use producer::wallet::{self, Choice, Person};
use prost::Message as _;
use schemas::batch;
use schemas::ids::{BankId, Digest, Nonce, Reference, UpstreamId};
use schemas::keys::{OpeningKey, SigningKey};
use schemas::registry::PartyName;
use schemas::reply::{self, Unsigned, Word};
use schemas::request::Header;
use schemas::submission::{self, Draft};
use schemas::time::UnixMillis;
use schemas::topics::Topics;
use schemas::wire::{self, AnswerKind, DocumentType, Language, Refusal, query_record};
use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, PgConnection};

use crate::system::System;

const REGION: &str = "310000";
/// Records that wait for their acknowledgement.
const IN_FLIGHT: usize = 500;
/// Replies in a batch.
const BATCH: usize = 256;
/// The hub takes some thousand records in this time.
const WITHIN: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(100);

/// What the banks of a query say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plot {
    /// Every bank answers.
    AllAnswer,
    /// The first refuses, the others answer.
    OneRefuses,
    /// The first says nothing: the window closes without it.
    OneSilent,
    /// The first says RETRY_LATER and then answers, and repeats that.
    OneRepeats,
}

/// Makes queries at a system.
pub struct Mass {
    topics: Topics,
    upstream: UpstreamId,
    banks: Vec<BankId>,
    producer: Producer,
    keys: Arc<Keys>,
    database: String,
    made: usize,
    withheld: BTreeMap<Reference, (BankId, Unsigned)>,
}

struct Keys {
    upstream: SigningKey,
    banks: BTreeMap<BankId, (SigningKey, OpeningKey)>,
    notifier: OpeningKey,
}

/// A query and what will be said to it.
struct Made {
    number: usize,
    reference: Reference,
    record: Vec<u8>,
    replies: Vec<(BankId, Unsigned)>,
    withheld: Option<(BankId, Unsigned)>,
}

impl Mass {
    /// At a system whose aggregator runs; its banks need not.
    ///
    /// # Panics
    /// If the broker's client cannot be made.
    #[must_use]
    pub fn new(system: &System) -> Self {
        let local = &system.local;
        let kafka = KafkaConfig {
            properties: local.stack.client("admin").expect("the administrator's password"),
            ..KafkaConfig::new(&local.stack.brokers, "cardquery.test")
        };
        let (upstream, banks) = (local.plan.upstream().clone(), local.plan.banks());
        let of_bank = |bank: &BankId| {
            let party = PartyName::bank(bank);
            (bank.clone(), (sample::keys::signing(&party), sample::keys::opening(&party)))
        };
        let keys = Keys {
            upstream: sample::keys::signing(&PartyName::upstream(&upstream)),
            banks: banks.iter().map(of_bank).collect(),
            notifier: sample::keys::opening(&PartyName::notifier()),
        };
        let url = local.database_url(&Part::Aggregator).expect("it has a database");
        Self {
            topics: local.topics(),
            upstream,
            banks,
            producer: Producer::new(&kafka).expect("a producer"),
            keys: Arc::new(keys),
            database: url.expose_secret().to_owned(),
            made: 0,
            withheld: BTreeMap::new(),
        }
    }

    /// So many queries, registered and answered; `plot` says of the n-th one how. Returns when the hub has registered them all and
    /// their replies are acknowledged.
    ///
    /// # Panics
    /// If the broker or the hub does not take them.
    pub async fn ask(&mut self, count: usize, plot: fn(usize) -> Plot) -> Vec<Reference> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let tasks = (0..threads).map(|thread| {
            let (keys, upstream) = (Arc::clone(&self.keys), self.upstream.clone());
            let (banks, first) = (self.banks.clone(), self.made);
            tokio::task::spawn_blocking(move || {
                let mine = (first..first + count).filter(|n| n % threads == thread);
                mine.map(|n| made(&keys, &upstream, &banks, n, plot(n))).collect::<Vec<_>>()
            })
        });
        let made = futures::future::join_all(tasks).await;
        let mut made: Vec<Made> = made.into_iter().flat_map(|made| made.expect("made")).collect();
        made.sort_by_key(|made| made.number);
        self.made += count;
        let topic = self.topics.query(&self.upstream);
        let (mut references, mut said, mut records) =
            (Vec::new(), BTreeMap::<BankId, Vec<_>>::new(), Vec::new());
        for Made { reference, record, replies, withheld, .. } in made {
            self.withheld.extend(withheld.map(|withheld| (reference.clone(), withheld)));
            records.push(out(&topic, &reference, record));
            for (bank, unsigned) in replies {
                said.entry(bank).or_default().push((reference.clone(), unsigned));
            }
            references.push(reference);
        }
        self.send(records).await;
        self.until("registered", "SELECT count(*) FROM query", self.made).await;
        for (bank, replies) in said {
            let records = self.signed(&bank, replies);
            self.send(records).await;
        }
        references
    }

    /// Sends what the silent bank of a query would have said; returns where it lies.
    ///
    /// # Panics
    /// If no bank is silent, or the broker does not take it.
    pub async fn break_silence(&mut self, reference: &Reference) -> (BankId, Position) {
        let (bank, unsigned) = self.withheld.remove(reference).expect("a silent bank");
        let record = self.signed(&bank, vec![(reference.clone(), unsigned)]).remove(0);
        (bank, self.producer.send(record).await.expect("the broker takes it"))
    }

    /// Waits until every query has its report.
    ///
    /// # Panics
    /// If they have not in time.
    pub async fn ended(&self) {
        self.until("final", "SELECT count(*) FROM query WHERE state = 'FINAL'", self.made).await;
        self.until("told", "SELECT (count(*) = 0)::int::bigint FROM outbox", 1).await;
    }

    async fn until(&self, what: &str, count: &'static str, wanted: usize) {
        let mut session = PgConnection::connect(&self.database).await.expect("connected");
        let reached = async {
            loop {
                let found: i64 = sqlx::query_scalar(count).fetch_one(&mut session).await.expect("counted");
                if usize::try_from(found).expect("a count") >= wanted {
                    return;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        assert!(
            tokio::time::timeout(WITHIN, reached).await.is_ok(),
            "{wanted} are not {what} within {WITHIN:?}"
        );
    }

    /// In batches, as a connector signs them. A reply that repeats another is in a later one.
    fn signed(&self, bank: &BankId, replies: Vec<(Reference, Unsigned)>) -> Vec<OutRecord> {
        let topic = self.topics.reply(bank);
        let (key, _) = &self.keys.banks[bank];
        let now = SystemClock.now();
        let mut records = Vec::with_capacity(replies.len());
        for batch in replies.chunks(BATCH) {
            let headers: Vec<Bytes> = batch.iter().map(|(_, unsigned)| unsigned.header.clone()).collect();
            let nonce = Nonce(*uuid::Uuid::now_v7().as_bytes());
            let proofs = batch::sign_batch(bank, key, nonce, &headers, now).expect("fits");
            for ((reference, unsigned), proof) in batch.iter().zip(proofs) {
                records.push(out(&topic, reference, unsigned.clone().with_proof(proof).encode_to_vec()));
            }
        }
        records
    }

    async fn send(&self, records: Vec<OutRecord>) {
        let sent = records.into_iter().map(|record| self.producer.send(record));
        let mut sent = futures::stream::iter(sent).buffered(IN_FLIGHT);
        while let Some(sent) = sent.next().await {
            sent.expect("the broker takes it");
        }
    }
}

fn out(topic: &str, reference: &Reference, value: Vec<u8>) -> OutRecord {
    OutRecord {
        topic: topic.to_owned(),
        key: Some(reference.query.to_string().into_bytes()),
        value,
        headers: Vec::new(),
    }
}

fn made(keys: &Keys, upstream: &UpstreamId, banks: &[BankId], n: usize, plot: Plot) -> Made {
    let person = Person {
        subject: format!("mass-{n}"),
        name: "王小明".to_owned(),
        document_type: DocumentType::ResidentId,
        document_number: "110101199003078718".to_owned(),
        phone: "+8613800000001".to_owned(),
    };
    let chosen: BTreeSet<BankId> = banks.iter().cloned().collect();
    let choice = Choice {
        region: REGION.to_owned(),
        banks: chosen,
        text: producer::consent_texts()[0],
        risk: wallet::no_risk(),
    };
    let request = wallet::prepare(&person, &choice, SystemClock.now()).expect("a person").request;
    let reference = Reference { upstream: upstream.clone(), query: request.query };
    let draft = Draft {
        reference: reference.clone(),
        terms: request.terms(),
        scam_warning_acknowledged: true,
        subject: request.subject.clone(),
        region: request.region.clone(),
        banks: banks.iter().map(|bank| (bank.clone(), keys.banks[bank].1.public())).collect(),
        notifier: keys.notifier.public(),
        identity: wire::Identity {
            name: person.name,
            document_type: person.document_type.into(),
            document_number: person.document_number,
            phone: person.phone.clone(),
        },
        contact: wire::Contact { phone: person.phone, language: Language::ZhCn.into() },
        risk: request.risk,
        releases: None,
    };
    let submitted = submission::submit(&draft, &keys.upstream).expect("seals");
    let said = banks.iter().zip(&submitted.banks).enumerate();
    let said = said.flat_map(|(at, (bank, part))| said_by(&reference, bank, part, at == 0, plot));
    let mut replies: Vec<(BankId, Unsigned)> = said.collect();
    let withheld = (plot == Plot::OneSilent).then(|| replies.remove(0));
    let message = Some(query_record::Message::Submitted(submitted));
    Made { number: n, reference, record: wire::QueryRecord { message }.encode_to_vec(), replies, withheld }
}

fn said_by(
    reference: &Reference,
    bank: &BankId,
    part: &wire::BankPart,
    first: bool,
    plot: Plot,
) -> Vec<(BankId, Unsigned)> {
    let statement = part.statement.as_ref().expect("signed");
    let statement_sha256 = Digest::of(&statement.body);
    let header = Header {
        reference: reference.clone(),
        bank: bank.clone(),
        statement_sha256,
        accepted_at: UnixMillis(0),
        reply_by: UnixMillis(0),
        attempt: 1,
    };
    let answered = || {
        let decoded = wire::BankStatement::decode(statement.body.clone()).expect("decodes");
        let query = submission::bank_query(decoded).expect("a bank's query");
        let answer = wire::Answer { kind: AnswerKind::NoCards.into(), as_of_ms: 1, ..Default::default() };
        let sealed = reply::seal_answer(&query, statement_sha256, &answer).expect("seals");
        Word::answered(&query.terms.report_key, sealed)
    };
    let words = match (first, plot) {
        (true, Plot::OneRefuses) => vec![Word::Refused(Refusal::ConsentNotValid)],
        (true, Plot::OneRepeats) => {
            let answer = answered();
            vec![Word::RetryLater, answer.clone(), answer]
        }
        (_, Plot::AllAnswer | Plot::OneRefuses | Plot::OneSilent | Plot::OneRepeats) => vec![answered()],
    };
    words.into_iter().map(|word| (bank.clone(), Unsigned::new(&header, word))).collect()
}
