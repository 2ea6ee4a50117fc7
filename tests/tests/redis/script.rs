//! A fixed list of calls that meets every reason for a refusal, every state and both limits, in an order drawn from a
//! seed.

use std::time::Duration;

use aggregator::handler::Refused;
use aggregator::store::Store;
use bytes::Bytes;
use cardquery_tests::hub_stage::{Stage, TestHub, report_key};
use schemas::codes::Code;
use schemas::ids::{Digest, KeyId, Nonce};
use schemas::keys::SigningKey;
use schemas::view::{self, Grant};

pub(crate) const QUERIES: u8 = 6;
/// Those before this one have a report from the beginning.
const FINAL: u8 = 4;
const SUBJECTS: u8 = 3;
/// Requests that an upstream may send in a script: fewer than a script sends.
pub(crate) const BURST: u32 = 25;
const STEPS: usize = 220;

/// One call.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Status(u8),
    View(View),
    Admit,
    Withdraw(u8),
    /// The clock moves on, and what is due is done.
    Pass(Duration),
}

/// A grant that is presented.
#[derive(Clone, Debug)]
pub(crate) struct View {
    query: u8,
    kind: Kind,
    /// Makes the grant one of its own; a number that came before is the same grant again.
    number: u8,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Good,
    OtherDevice,
    Expired,
    OfTheFuture,
    /// The nonce of the good grant with this number.
    UsedNonce,
    OtherPerson,
    OtherPath,
    Forged,
}

const KINDS: [Kind; 12] = [
    Kind::Good,
    Kind::Good,
    Kind::Good,
    Kind::Good,
    Kind::OtherDevice,
    Kind::Expired,
    Kind::OfTheFuture,
    Kind::UsedNonce,
    Kind::UsedNonce,
    Kind::OtherPerson,
    Kind::OtherPath,
    Kind::Forged,
];

/// A small generator whose numbers stay the same for ever.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: u8) -> u8 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u8::try_from((mixed ^ (mixed >> 31)) % u64::from(end)).expect("below a u8")
    }
}

/// The script of a seed.
pub(crate) fn script(seed: u64) -> Vec<Step> {
    let mut numbers = Numbers::of(seed);
    let mut steps: Vec<Step> = (0..STEPS)
        .map(|_| {
            // One more than there are.
            let query = numbers.below(QUERIES + 1);
            match numbers.below(40) {
                0..=9 => Step::Status(query),
                10..=33 => {
                    let kind = KINDS[usize::from(numbers.below(12))];
                    Step::View(View { query, kind, number: numbers.below(12) })
                }
                34..=36 => Step::Admit,
                37 => Step::Withdraw(query),
                38 => Step::Pass(Duration::from_secs(10)),
                _ => Step::Pass(Duration::from_secs(1_500)),
            }
        })
        .collect();
    // Then the deadlines, and the erase instants.
    for days in [1, 8] {
        steps.push(Step::Pass(Duration::from_secs(days * 86_400)));
        for query in 0..QUERIES {
            let good = good(query, 20);
            steps.extend([Step::Status(query), Step::View(good.clone()), Step::View(good)]);
        }
    }
    steps.extend((0..BURST).map(|_| Step::Admit));
    steps
}

pub(crate) fn subject(query: u8) -> String {
    format!("subject-{}", query % SUBJECTS)
}

/// Queries at the start: some open, some final.
pub(crate) async fn furnish<S: Store>(stage: &Stage, hub: &TestHub<S>) {
    for query in 0..QUERIES {
        hub.register(&stage.reference(query), &subject(query), query < FINAL).await;
    }
}

/// A grant that is refused for its device.
pub(crate) fn other_device(query: u8, number: u8) -> View {
    View { query, kind: Kind::OtherDevice, number }
}

/// A grant that shows the report, if there is one.
pub(crate) fn good(query: u8, number: u8) -> View {
    View { query, kind: Kind::Good, number }
}

impl View {
    /// The grant's bytes, and the query in whose path it is presented. The same at the same time of the clock.
    pub(crate) async fn grant<S: Store>(&self, stage: &Stage, hub: &TestHub<S>) -> (u8, Bytes) {
        // Grants of one minute are the same ones when their numbers are.
        let minute = hub.now().await.0.div_euclid(60_000) * 60_000;
        let issued_at = schemas::time::UnixMillis(minute);
        let mut nonce = [self.number; 16];
        nonce[0] = self.query;
        nonce[8..].copy_from_slice(&minute.to_be_bytes());
        let mut grant = Grant {
            reference: stage.reference(self.query),
            subject: subject(self.query),
            report_key: report_key(),
            issued_at,
            expires_at: issued_at + Duration::from_secs(120),
            nonce: Nonce(nonce),
        };
        let mut path = self.query;
        let mut key = stage.upstream_key();
        match self.kind {
            Kind::Good => {}
            Kind::OtherDevice => grant.report_key = KeyId([self.number; 16]),
            Kind::Expired => {
                grant.issued_at = issued_at.before(Duration::from_secs(300));
                grant.expires_at = issued_at.before(Duration::from_secs(200));
            }
            Kind::OfTheFuture => {
                grant.issued_at = issued_at + Duration::from_secs(3_000);
                grant.expires_at = grant.issued_at;
            }
            Kind::UsedNonce => grant.expires_at = issued_at + Duration::from_secs(119),
            Kind::OtherPerson => grant.subject = subject(self.query + 1),
            Kind::OtherPath => path = (self.query + 1) % QUERIES,
            Kind::Forged => key = SigningKey::from_seed(&[self.number; 32]),
        }
        (path, view::grant(&grant, &key))
    }
}

/// Does one step and says how it ended.
pub(crate) async fn play<S: Store>(stage: &Stage, hub: &TestHub<S>, step: &Step) -> String {
    match step {
        Step::Status(query) => match hub.hub.status(&stage.reference(*query)).await {
            Ok(status) => serde_json::to_string(&status).expect("json"),
            Err(refused) => told(refused),
        },
        Step::View(view) => {
            let (path, grant) = view.grant(stage, hub).await;
            shown(hub.hub.view(&stage.reference(path), grant).await)
        }
        // The time to wait is one of the machine's clock.
        Step::Admit => match hub.hub.admit(&stage.reference(0).upstream).await {
            Ok(()) => "admitted".to_owned(),
            Err(refused) => refused.code.to_string(),
        },
        Step::Withdraw(query) => {
            hub.withdraw(&stage.reference(*query)).await;
            String::new()
        }
        Step::Pass(time) => {
            hub.clock.advance(*time);
            hub.sweep().await;
            String::new()
        }
    }
}

pub(crate) fn shown(outcome: Result<Bytes, Refused>) -> String {
    match outcome {
        Ok(report) => format!("report {}", Digest::of(&report)),
        Err(refused) => told(refused),
    }
}

fn told(refused: Refused) -> String {
    match refused.retry_after {
        Some(wait) => format!("{} for {wait:?}", refused.code),
        None => refused.code.to_string(),
    }
}

/// Every way in which the calls of a script are meant to end.
pub(crate) fn ends() -> Vec<&'static str> {
    let codes = [
        Code::RATE_LIMITED,
        Code::REPORT_NOT_READY,
        Code::QUERY_WITHDRAWN,
        Code::REPORT_ERASED,
        Code::QUERY_NOT_FOUND,
        Code::DEVICE_MISMATCH,
        Code::GRANT_EXPIRED,
        Code::GRANT_INVALID,
        Code::GRANT_USED,
        Code::KEY_UNKNOWN,
        Code::VIEW_LOCKED,
    ];
    let states = ["\"COLLECTING\"", "\"FINAL_EMPTY\"", "\"WITHDRAWN\""];
    codes.map(Code::as_str).into_iter().chain(states).chain(["admitted", "report "]).collect()
}
