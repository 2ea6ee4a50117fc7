//! The hub is away while banks answer punctually.

use std::time::Duration;

use aggregator::store::{Clock, SystemClock};
use cardquery::demo::wallet::Submitted;
use cardquery::sample;
use cardquery_tests::system::{Setup, System};
use plumbing::kafka::{KafkaConfig, Watermarks};
use schemas::ids::BankId;
use schemas::keys::SigningKey;
use schemas::registry::PartyName;
use schemas::time::UnixMillis;
use schemas::wire::BankOutcome;

const WINDOW: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
/// Never answers.
const SILENT: &str = "taihe";
/// Answers while the hub is away, with a key that the registry has had for a moment only.
const ROTATED: &str = "anhe";
/// Answers while the hub is away, and rotates its key behind its answer.
const ROTATES_LATER: &str = "beichuan";
/// Answers while the hub is away.
const PLAIN: &str = "changning";
/// Is asked by no query.
const IDLE: &str = "yunhe";

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_was_away_at_the_deadline_calls_no_punctual_bank_silent_or_invalid() {
    let away = ["bank-anhe", "bank-beichuan", "bank-changning", "bank-taihe"];
    let setup = Setup { window: WINDOW, without: away.into(), ..Setup::default() };
    let mut system = System::start(setup).await;
    let banks: Vec<BankId> =
        system.local.plan.banks().into_iter().filter(|bank| bank.as_str() != IDLE).collect();
    let mut queries = Vec::new();
    for person in ["wang", "li", "zhang"] {
        queries.push(system.ask_banks(person, &banks).await);
    }
    let mut deadline = UnixMillis(0);
    for query in &queries {
        deadline = deadline.max(answered(&system, query, banks.len() - away.len()).await);
    }
    assert_eq!(system.terminate("aggregator").await, 0);

    let rotated = rotate(&system, ROTATED).await;
    std::fs::write(key_file(&system, ROTATED), hex::encode(rotated))
        .expect("the system's folder is writable");
    for bank in [ROTATED, ROTATES_LATER, PLAIN] {
        system.spawn(&format!("bank-{bank}"));
    }
    for bank in [ROTATED, ROTATES_LATER, PLAIN] {
        replied(&system, bank, queries.len()).await;
    }
    rotate(&system, ROTATES_LATER).await;

    // As long after the deadline as it took to get there.
    until(deadline + WINDOW).await;
    system.spawn("aggregator");
    system.ready("aggregator").await;
    for query in &queries {
        assert_eq!(system.ended(query).await.state, "FINAL_PARTIAL");
        let report = system.open(query).await;
        assert_eq!(report.coverage.banks.len(), banks.len());
        for bank in &report.banks {
            let expected = if bank.bank.as_str() == SILENT {
                (BankOutcome::NoReply, None)
            } else {
                (BankOutcome::Answered, Some(Ok(())))
            };
            assert_eq!((bank.outcome, bank.verified), expected, "{}", bank.bank);
        }
    }
    system.finish();
}

/// Publishes a new signing key for a bank, and returns its seed.
async fn rotate(system: &System, bank: &str) -> [u8; 32] {
    let name = PartyName::bank(&bank.parse().expect("an id"));
    let seed: [u8; 32] = rand::random();
    let public = hex::encode(SigningKey::from_seed(&seed).public().to_wire().raw);
    let in_force = system.draft(name.as_str()).await;
    let draft = system.fresh("rotated.toml");
    let [from, out] = [&in_force, &draft].map(|path| path.to_str().expect("a name in UTF-8"));
    system.operator(&["registry", "draft", "rotate-key", from, "--sign", &public, "--out", out]).await;
    system.publish(&draft, Some(&sample::keys::signing_seed(&name))).await;
    seed
}

fn key_file(system: &System, bank: &str) -> std::path::PathBuf {
    system.local.plan.folder.join("keys").join(format!("bank-{bank}.signing.key"))
}

/// Waits until the hub has so many answers, and returns the query's deadline.
async fn answered(system: &System, query: &Submitted, banks: usize) -> UnixMillis {
    let wallet = system.wallet();
    let polled = async {
        loop {
            match wallet.status(query).await {
                Ok(status) if status.answered as usize >= banks => return status.deadline_at,
                _ => tokio::time::sleep(POLL).await,
            }
        }
    };
    let deadline = tokio::time::timeout(WINDOW, polled).await.expect("the banks that run answer");
    UnixMillis::parse(&deadline).expect("a time")
}

/// Waits until an instant has passed.
async fn until(instant: UnixMillis) {
    tokio::time::sleep(instant.since(SystemClock.now())).await;
}

/// Waits until so many replies are in a bank's topic.
async fn replied(system: &System, bank: &str, replies: usize) {
    let kafka = KafkaConfig {
        properties: system.local.stack.client("admin").expect("the administrator's password"),
        ..KafkaConfig::new(&system.local.stack.brokers, "cardquery.test")
    };
    let watermarks = Watermarks::new(&kafka).expect("a client");
    let topic = [system.local.topics().reply(&bank.parse().expect("an id"))];
    let polled = async {
        loop {
            let ends = watermarks.end_offsets(&topic).await;
            let count: i64 = ends.into_values().map(|end| end.expect("an end offset")).sum();
            if count >= i64::try_from(replies).expect("a few") {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(WINDOW, polled).await.expect("the bank answers before the deadline");
}
