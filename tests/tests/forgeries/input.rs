//! Bad input over HTTP: each refused with its own problem document, and nothing published.

use std::collections::BTreeSet;

use cardquery::demo::wallet::Submitted;
use cardquery_tests::attacker::eventually;
use producer::wallet::{self, Choice, Person};
use schemas::codes::Code;
use schemas::http::{Problem, QueryStatus};
use schemas::ids::BankId;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::stage::{Answer, REGION, Stage, bank_ids, now, person};

const JSON: &str = "application/json";
const TEN_MEGABYTES: usize = 10 * 1024 * 1024;

async fn post(stage: &Stage, body: &Value) -> Answer {
    stage.post("/v1/queries", JSON, body.to_string()).await
}

/// A body that would be taken.
fn good(person: &Person, banks: &BTreeSet<BankId>) -> Value {
    let choice = Choice {
        region: REGION.to_owned(),
        banks: banks.clone(),
        text: producer::consent_texts()[0],
        risk: wallet::no_risk(),
    };
    let prepared = wallet::prepare(person, &choice, now()).expect("a person of the sample");
    wallet::body(&prepared.request, person)
}

pub(crate) async fn bad_input_is_refused_and_changes_nothing(
    stage: &Stage,
    query: &Submitted,
    banks: BTreeSet<BankId>,
) {
    let before = stage.status(query).await;
    let topic = stage.topics().query(&stage.world.upstream);
    let count = stage.log.of(&topic).len();
    let asker = person("wang");
    let good = || good(&asker, &banks);

    let malformed = stage.post("/v1/queries", JSON, "{\"query_id\": ").await;
    malformed.is(Code::MALFORMED_JSON, "malformed JSON");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = good();
        change(&mut body);
        body
    };
    let too_large = too_large(stage).await;
    assert_eq!((too_large.status, too_large.code.as_str()), (413, "BODY_TOO_LARGE"), "a body of 10 MB");
    let silent = bank_ids().into_iter().next_back().expect("a bank").to_string();
    let refused = [
        ("an unknown field", with(&|body| body["id_number"] = "1".into()), Code::UNKNOWN_FIELD),
        (
            "an expired consent",
            with(&|body| {
                body["consent"]["issued_at"] = now().before(2 * super::WINDOW).to_string().into();
                body["consent"]["expires_at"] = now().before(super::WINDOW).to_string().into();
            }),
            Code::CONSENT_EXPIRED,
        ),
        (
            "a consent for other banks",
            with(&|body| body["consent"]["banks"] = json!([silent])),
            Code::CONSENT_BANKS_MISMATCH,
        ),
        (
            "a consent for fewer banks",
            with(&|body| drop(body["consent"]["banks"].as_array_mut().and_then(Vec::pop))),
            Code::CONSENT_BANKS_MISMATCH,
        ),
    ];
    for (what, body, code) in refused {
        post(stage, &body).await.is(code, what);
        let id = body["query_id"].as_str().expect("an id").to_owned();
        stage.get(&format!("/v1/queries/{id}")).await.is(Code::QUERY_NOT_FOUND, what);
    }

    // The same query again, and other content under its id.
    let asked = &query.prepared().request;
    let again = wallet::body(asked, &asker);
    post(stage, &again).await.is(Code::DUPLICATE_QUERY, "the same id again");
    let mut reused = good();
    reused["query_id"] = again["query_id"].clone();
    post(stage, &reused).await.is(Code::ID_REUSED, "the same id with other content");

    // The consent of the first query under a fresh id: only the hub remembers nonces.
    let mut used = good();
    used["consent"]["nonce"] = again["consent"]["nonce"].clone();
    let taken = post(stage, &used).await;
    assert_eq!(taken.status, 202, "the producer keeps no database");
    let path = format!("/v1/queries/{}", used["query_id"].as_str().expect("an id"));
    let rejected: QueryStatus = eventually("rejected", async || {
        let answer = stage.get(&path).await;
        (answer.status == 200).then(|| serde_json::from_slice(&answer.body).expect("a status"))
    })
    .await;
    assert_eq!(
        (rejected.state.as_str(), rejected.code.as_deref()),
        ("REJECTED", Some(Code::CONSENT_ALREADY_USED.as_str()))
    );

    // What was refused is not on its way either: its records would stand before these.
    assert_eq!(post(stage, &good()).await.status, 202, "the body that all were made from");
    stage.log.after(&topic, count + 1).await;
    assert_eq!(stage.log.of(&topic).len(), count + 2, "nothing refused was published");
    assert_eq!(stage.status(query).await, before, "the first query is as it was");
}

/// Sends 10 MB for as long as the producer listens. It answers as soon as it knows the length, and a client that
/// insists on sending everything first would lose the answer with the connection.
async fn too_large(stage: &Stage) -> Problem {
    let stream = TcpStream::connect(stage.world.producer).await.expect("the producer listens");
    let (mut reader, mut writer) = stream.into_split();
    let head = format!(
        "POST /v1/queries HTTP/1.1\r\nhost: producer\r\ncontent-type: {JSON}\r\ncontent-length: {TEN_MEGABYTES}\r\n\
         connection: close\r\n\r\n"
    );
    let sending = tokio::spawn(async move {
        writer.write_all(head.as_bytes()).await?;
        writer.write_all(&vec![b' '; TEN_MEGABYTES]).await
    });
    let mut response = Vec::new();
    let problem = eventually("an answer to 10 MB", async || {
        let mut chunk = [0; 4096];
        let read = reader.read(&mut chunk).await.unwrap_or_default();
        response.extend_from_slice(&chunk[..read]);
        let at = response.windows(4).position(|window| window == b"\r\n\r\n")?;
        serde_json::from_slice(&response[at + 4..]).ok()
    })
    .await;
    sending.abort();
    problem
}
