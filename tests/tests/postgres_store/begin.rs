//! A begin that is cancelled half-way (sqlx#4385).
//!
//! The pools here have none of the care that `plumbing::postgres` takes when a connection comes back: what is tested is
//! that the store does not need it.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use aggregator::store::{Clock, Store, Tx as _};
use futures::FutureExt as _;
use futures::future::poll_fn;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::stand::{self, Stand, until};

const NOTE: &str = "INSERT INTO note DEFAULT VALUES";

/// Long enough for nothing: the answer is held back.
const IMPATIENCE: Duration = Duration::from_millis(50);

/// A proxy in front of the server that can hold back what the server says.
struct Proxy {
    port: u16,
    held: watch::Sender<bool>,
}

impl Proxy {
    async fn to(server: (String, u16)) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (held, holds) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.expect("the server");
                let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                let mut holds = holds.clone();
                tokio::spawn(async move {
                    let mut buffer = [0; 16 * 1024];
                    while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
                        if holds.wait_for(|held| !held).await.is_err()
                            || to_client.write_all(&buffer[..length]).await.is_err()
                        {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, held }
    }

    fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }
}

/// One connection through a proxy, and notes to be written.
struct Slow {
    stand: Stand,
    proxy: Proxy,
    pool: PgPool,
}

impl Slow {
    async fn new() -> Self {
        let stand = Stand::new().await;
        sqlx::raw_sql("CREATE TABLE note ()").execute(&stand.pool).await.expect("a table");
        let options = stand.database.options();
        let proxy = Proxy::to((options.get_host().to_owned(), options.get_port())).await;
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .connect_with(options.host("127.0.0.1").port(proxy.port))
            .await
            .expect("a connection");
        Self { stand, proxy, pool }
    }

    /// Runs `begin`, and stops waiting for it while its answer is under way.
    async fn cancel<T>(&self, begin: impl Future<Output = T>) {
        // Only then is it BEGIN that has no answer, and not the way back of the connection.
        until("a connection at rest", async || self.pool.num_idle() == 1).await;
        self.proxy.hold(true);
        assert!(timeout(IMPATIENCE, begin).await.is_err(), "there is no answer");
        self.proxy.hold(false);
    }

    /// Writes a note as the next borrower of the connection; returns how many anybody else can see.
    async fn note(&self) -> i64 {
        sqlx::query(NOTE).execute(&self.pool).await.expect("it seems to be written");
        sqlx::query_scalar("SELECT count(*) FROM note").fetch_one(&self.stand.pool).await.expect("a count")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_begin_that_is_cancelled_swallows_the_next_borrowers_write() {
    let slow = Slow::new().await;
    assert_eq!(slow.note().await, 1);
    slow.cancel(slow.pool.begin()).await;
    assert_eq!(slow.note().await, 1, "written into a transaction that nobody knows of");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_begin_of_the_store_that_is_cancelled_leaves_nothing_behind() {
    let slow = Slow::new().await;
    let store =
        stand::store(&slow.pool, slow.stand.keys.path(), Arc::clone(&slow.stand.clock) as Arc<dyn Clock>)
            .await;
    assert_eq!(slow.note().await, 1);
    slow.cancel(store.begin()).await;
    assert_eq!(slow.note().await, 2);
}

/// Polls `future` at most `times` times, and drops it.
async fn cancel_after(times: u32, future: impl Future) {
    let mut future = pin!(future);
    for _ in 0..times {
        if poll_fn(|context| Poll::Ready(future.poll_unpin(context).is_ready())).await {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cancelled_begins_leave_no_transaction_open() {
    const ROUNDS: i64 = 1_000;
    let stand = Stand::new().await;
    sqlx::raw_sql("CREATE TABLE note ()").execute(&stand.pool).await.expect("a table");
    let options = stand.database.options().application_name("careless");
    let pool = PgPoolOptions::new().max_connections(2).connect_with(options).await.expect("a pool");
    let store = stand::store(&pool, stand.keys.path(), Arc::clone(&stand.clock) as Arc<dyn Clock>).await;
    for round in 0..ROUNDS {
        // Odd steps through all numbers of polls that a begin may take.
        let times = u32::try_from(round * 7 % 13).expect("small");
        cancel_after(times, async {
            let tx = store.begin().await.expect("begun");
            tx.commit().await
        })
        .await;
        sqlx::query(NOTE).execute(&pool).await.expect("written");
    }
    let notes: i64 =
        sqlx::query_scalar("SELECT count(*) FROM note").fetch_one(&stand.pool).await.expect("a count");
    assert_eq!(notes, ROUNDS);
    const OPEN: &str = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'careless' AND state <> 'idle'";
    until("connections at rest", async || {
        let open: i64 = sqlx::query_scalar(OPEN).fetch_one(&stand.pool).await.expect("a count");
        open == 0
    })
    .await;
}
