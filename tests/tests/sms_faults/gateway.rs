//! An SMS gateway that sends nothing and keeps a ledger of what it would have sent. It speaks HTTP over plain sockets, so
//! that it can cut a connection at any point.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use notifier::gateway::signature::{GatewaySecret, SIGNATURE, TIMESTAMP};
use schemas::time::UnixMillis;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

pub(crate) const PATH: &str = "/v1/sms";
const SECRET: [u8; 32] = [8; 32];

pub(crate) fn secret() -> GatewaySecret {
    GatewaySecret::new(Zeroizing::new(SECRET))
}

pub(crate) fn secret_text() -> String {
    hex::encode(SECRET)
}

pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    UnixMillis(i64::try_from(since.as_millis()).expect("soon enough"))
}

/// What goes wrong with one SMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It is sent, and the answer never comes.
    TimeoutButSent,
    /// It is not sent, no answer comes, and the gateway never knows it.
    TimeoutNotSent,
    /// The gateway says 500 and sends it later, after it was asked twice.
    ErrorThenSent,
    /// It is sent, and the connection is cut before the answer.
    CutAfterSending,
    /// It is sent, and the answer is no JSON.
    Garbled,
    /// The first call is told to come again, and is not taken.
    Busy,
    /// It is refused.
    Refused,
    /// It is sent without an answer, and whoever asks gets 500.
    SentAndMute,
    /// The answer waits until the test lets it go.
    Held,
}

impl Fault {
    pub(crate) const ALL: [Self; 10] = [
        Self::None,
        Self::TimeoutButSent,
        Self::TimeoutNotSent,
        Self::ErrorThenSent,
        Self::CutAfterSending,
        Self::Garbled,
        Self::Busy,
        Self::Refused,
        Self::SentAndMute,
        Self::Held,
    ];
}

/// What the gateway knows of one SMS.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    pub(crate) calls: usize,
    /// How many SMS the phone got.
    pub(crate) sent: usize,
    pub(crate) asked: usize,
}

#[derive(Default)]
struct Ledger {
    plan: HashMap<String, Fault>,
    known: HashMap<String, Known>,
    /// How often a fault struck.
    hits: HashMap<Fault, usize>,
    unsigned: usize,
}

#[derive(Clone)]
pub(crate) struct FakeGateway {
    ledger: Arc<Mutex<Ledger>>,
    /// Whether held answers may go.
    go: Arc<watch::Sender<bool>>,
    /// Counts requests that were read.
    read: Arc<watch::Sender<usize>>,
}

/// The gateway as long as it listens.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Listening {
    /// Nobody gets a connection from now on.
    pub(crate) async fn stop(self) {
        self.task.abort();
        let ended = self.task.await.expect_err("aborted");
        assert!(ended.is_cancelled(), "{ended}");
    }
}

enum Reply {
    Answer(u16, &'static str, String),
    Silence,
    Cut,
}

impl FakeGateway {
    pub(crate) fn new() -> Self {
        let (go, read) = (Arc::new(watch::Sender::new(false)), Arc::new(watch::Sender::new(0)));
        Self { ledger: Arc::default(), go, read }
    }

    pub(crate) async fn listen(&self, address: SocketAddr) -> Listening {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let gateway = self.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accepted");
                let gateway = gateway.clone();
                tokio::spawn(async move { gateway.serve(stream).await });
            }
        });
        Listening { address, task }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("not poisoned")
    }

    pub(crate) fn plan(&self, out_id: String, fault: Fault) {
        self.ledger().plan.insert(out_id, fault);
    }

    pub(crate) fn known(&self, out_id: &str) -> Known {
        self.ledger().known.get(out_id).copied().unwrap_or_default()
    }

    pub(crate) fn hits(&self, fault: Fault) -> usize {
        self.ledger().hits.get(&fault).copied().unwrap_or_default()
    }

    pub(crate) fn unsigned(&self) -> usize {
        self.ledger().unsigned
    }

    /// Lets held answers go.
    pub(crate) fn let_go(&self) {
        self.go.send_replace(true);
    }

    /// Until one more SMS than `before` was ordered.
    pub(crate) async fn ordered_after(&self, before: usize) {
        self.read.subscribe().wait_for(|read| *read > before).await.expect("the gateway lives");
    }

    pub(crate) fn ordered(&self) -> usize {
        *self.read.borrow()
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        while let Some(request) = Request::read(&mut stream, &mut buffer).await {
            let reply = self.reply(&request).await;
            match reply {
                Reply::Answer(status, headers, body) => {
                    let length = body.len();
                    let answer =
                        format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
                // Until the other side has enough of it.
                Reply::Silence => {
                    let _ = stream.read(&mut [0; 1]).await;
                    return;
                }
                Reply::Cut => return,
            }
        }
    }

    async fn reply(&self, request: &Request) -> Reply {
        if !request.is_signed() {
            self.ledger().unsigned += 1;
            return Reply::Answer(401, "", String::new());
        }
        match request.method.as_str() {
            "POST" => {
                let order: Value = serde_json::from_slice(&request.body).expect("JSON");
                assert_eq!(order["to"], "+8613800000001");
                let out_id = order["out_id"].as_str().expect("an out-id").to_owned();
                let fault = self.ledger().plan[&out_id];
                self.read.send_modify(|read| *read += 1);
                if fault == Fault::Held {
                    self.go.subscribe().wait_for(|go| *go).await.expect("the gateway lives");
                }
                self.order(&out_id, fault)
            }
            _ => self.tell(request.path.rsplit('/').next().expect("an out-id")),
        }
    }

    fn order(&self, out_id: &str, fault: Fault) -> Reply {
        let mut ledger = self.ledger();
        *ledger.hits.entry(fault).or_default() += 1;
        let known = ledger.known.entry(out_id.to_owned()).or_default();
        known.calls += 1;
        let accepted = json!({ "id": format!("g-{out_id}") }).to_string();
        let (sends, reply) = match fault {
            Fault::None | Fault::Held => (true, Reply::Answer(200, "", accepted)),
            Fault::TimeoutButSent | Fault::SentAndMute => (true, Reply::Silence),
            Fault::TimeoutNotSent => (false, Reply::Silence),
            Fault::ErrorThenSent => (false, Reply::Answer(500, "", String::new())),
            Fault::CutAfterSending => (true, Reply::Cut),
            Fault::Garbled => (true, Reply::Answer(200, "", "OK".to_owned())),
            Fault::Busy if known.calls == 1 => {
                (false, Reply::Answer(429, "retry-after: 1\r\n", json!({ "taken": false }).to_string()))
            }
            Fault::Busy => (true, Reply::Answer(200, "", accepted)),
            Fault::Refused => (false, Reply::Answer(422, "", json!({ "code": "BLOCKED" }).to_string())),
        };
        known.sent += usize::from(sends);
        reply
    }

    fn tell(&self, out_id: &str) -> Reply {
        let mut ledger = self.ledger();
        let fault = ledger.plan[out_id];
        let known = ledger.known.entry(out_id.to_owned()).or_default();
        known.asked += 1;
        if fault == Fault::ErrorThenSent && known.asked == 3 {
            known.sent += 1;
        }
        let accepted = json!({ "state": "accepted", "id": format!("g-{out_id}") });
        let (status, answer) = match fault {
            Fault::SentAndMute => (500, json!({})),
            Fault::Refused if known.calls > 0 => (200, json!({ "state": "refused" })),
            Fault::ErrorThenSent if known.asked < 3 => (200, json!({ "state": "open" })),
            Fault::None
            | Fault::TimeoutButSent
            | Fault::TimeoutNotSent
            | Fault::ErrorThenSent
            | Fault::CutAfterSending
            | Fault::Garbled
            | Fault::Busy
            | Fault::Refused
            | Fault::Held => {
                if known.sent > 0 {
                    (200, accepted)
                } else {
                    (404, json!({}))
                }
            }
        };
        Reply::Answer(status, "", answer.to_string())
    }
}

struct Request {
    method: String,
    path: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    /// The next one of the connection, if it comes as a whole.
    async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Self> {
        let head = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break buffer.drain(..end + 4).collect::<Vec<u8>>();
            }
            more(stream, buffer).await?;
        };
        let head = String::from_utf8(head).expect("ASCII");
        let mut lines = head.split("\r\n");
        let mut first = lines.next().expect("a line").split(' ');
        let (method, path) =
            (first.next().expect("a method").to_owned(), first.next().expect("a path").to_owned());
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length = headers.get("content-length").map_or(0, |length| length.parse().expect("a length"));
        while buffer.len() < length {
            more(stream, buffer).await?;
        }
        let body = buffer.drain(..length).collect();
        Some(Self { method, path, headers, body })
    }

    fn is_signed(&self) -> bool {
        let at = self.headers.get(TIMESTAMP).and_then(|at| at.parse().ok()).map(UnixMillis);
        let signature = self.headers.get(SIGNATURE);
        signature.zip(at).is_some_and(|(signature, at)| {
            secret().verifies(signature, at, now(), &self.method, &self.path, &self.body)
        })
    }
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(buffer).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(()),
    }
}
