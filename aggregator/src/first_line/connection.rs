//! One connection to Redis that can be away. A call ends within its time with an answer or with `None`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ErrorKind, RedisError, RedisResult};

use super::breaker::{Breaker, Turn};
use super::config::{RedisConfig, RedisUrl};
use super::keys::Keys;
use crate::metric_names;

/// Redis, as far as it is there. Clones share the connection.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    client: Client,
    keys: Keys,
    timeout: Duration,
    state: Mutex<Line>,
}

struct Line {
    connection: ConnectionManager,
    breaker: Breaker,
}

impl Redis {
    /// A line to the server at `url`. Connects at the first call, so that a service starts without Redis. Must be
    /// called inside a runtime.
    ///
    /// # Errors
    /// When the URL is not one of Redis.
    pub fn new(url: &RedisUrl, config: &RedisConfig) -> RedisResult<Self> {
        let client = Client::open(url.expose())?;
        let timeout = Duration::from_millis(config.timeout_ms);
        let breaker = Breaker::new(config.breaker_failures, Duration::from_millis(config.breaker_pause_ms));
        let state = Mutex::new(Line { connection: connection(&client, timeout)?, breaker });
        Ok(Self(Arc::new(Inner { client, keys: Keys::new(&config.prefix), timeout, state })))
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Makes one call. `None` when it cannot be made, fails, or takes too long.
    pub(super) async fn call<T, F>(&self, call: impl FnOnce(ConnectionManager) -> F) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let connection = {
            let mut line = self.line();
            if !line.breaker.admits(Instant::now()) {
                drop(line);
                count("skipped");
                return None;
            }
            line.connection.clone()
        };
        match tokio::time::timeout(self.0.timeout, call(connection)).await {
            Ok(Ok(answer)) => {
                self.answered();
                count("answered");
                Some(answer)
            }
            Ok(Err(error)) if is_answer(&error) => {
                self.answered();
                count("refused");
                tracing::debug!(error = %error, "redis refused a call");
                None
            }
            Ok(Err(error)) => self.failed(&error),
            Err(elapsed) => self.failed(&elapsed),
        }
    }

    fn answered(&self) {
        if self.line().breaker.succeeded() == Some(Turn::Closed) {
            tracing::info!("redis answers");
        }
    }

    fn failed<T>(&self, error: &dyn std::fmt::Display) -> Option<T> {
        count("unavailable");
        let turn = {
            let mut line = self.line();
            let turn = line.breaker.failed(Instant::now());
            if line.breaker.is_open() {
                // A connection whose peer is gone without a word is found out by TCP after minutes: the probe gets one of
                // its own.
                if let Ok(fresh) = connection(&self.0.client, self.0.timeout) {
                    line.connection = fresh;
                }
            }
            turn
        };
        if turn == Some(Turn::Opened) {
            tracing::warn!(%error, "redis does not answer; going on without");
        }
        None
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The manager repeats nothing: the breaker decides when to try again.
fn connection(client: &Client, timeout: Duration) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

/// Whether the server answered, with something else than was asked for: a key of another type, no memory left, a
/// script that failed.
fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedReturnType | ErrorKind::Server(_) | ErrorKind::Extension)
        && !error.is_unrecoverable_error()
}

fn count(outcome: &'static str) {
    metrics::counter!(metric_names::REDIS_CALLS, "outcome" => outcome).increment(1);
}
