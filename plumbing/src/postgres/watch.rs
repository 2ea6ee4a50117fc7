//! While a service runs: whether the server answers, for the readiness of the process.

use std::convert::Infallible;
use std::time::Duration;

use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};

use crate::health::Note;
use crate::lifecycle::Lifecycle;

/// Between two questions.
const EVERY: Duration = Duration::from_secs(5);

/// Asks the server every few seconds, as a part of `lifecycle`, and lets readiness tell of it. Liveness does not: a restart
/// does not bring a database back.
pub fn watch(pool: PgPool, lifecycle: &mut Lifecycle) {
    let (note, token) = (lifecycle.health().noted("postgresql"), lifecycle.token());
    lifecycle.spawn("postgresql watch", async move {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while token.run_until_cancelled(ticks.tick()).await.is_some() {
            ask(&pool, &note).await;
        }
        Ok::<_, Infallible>(())
    });
}

/// A full pool is no answer either: what the service asks would wait as well.
async fn ask(pool: &PgPool, note: &Note) {
    let answer = sqlx::query("SELECT 1").execute(pool).await;
    note.set(answer.map(drop).map_err(|error| error.to_string()));
}
