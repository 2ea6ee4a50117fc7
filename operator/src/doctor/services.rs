//! What the hub's processes say of themselves, by their admin listeners.
//!
//! The operator reaches no database: that PostgreSQL is away is a failing check of the service that needs it. Redis is
//! nobody's condition, so it is in no check.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use jiff::fmt::rfc2822;
use plumbing::doctor::{self, Report, State};
use plumbing::exit::Exit;
use plumbing::http;
use plumbing::metric_names::CONSUMER_LAG;
use reqwest::{Client, StatusCode, header};
use serde::Deserialize;

use crate::config::ServicesConfig;

const CHECK: &str = "services";
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// More than this waits at nobody's peak for long.
const NOTICED_LAG: u64 = 10_000;
/// A Date header has whole seconds.
const DATE_STEP_MS: i64 = 1_000;

/// Asks every process of the settings.
pub(super) async fn look(services: &ServicesConfig, report: &mut Report) {
    let Ok(client) = http::client(None) else {
        report.skip(CHECK, "not asked", "a client for HTTP");
        return;
    };
    let kinds = [
        ("aggregator", &services.aggregator),
        ("notifier", &services.notifier),
        ("producer", &services.producer),
    ];
    for (service, _) in kinds.iter().filter(|(_, addresses)| addresses.is_empty()) {
        report.skip(CHECK, format!("{service}: not asked"), format!("services.{service} in the settings"));
    }
    let all = kinds
        .iter()
        .flat_map(|(service, addresses)| addresses.iter().map(move |address| (*service, address)));
    let asked =
        join_all(all.map(async |(service, address)| (service, address, Told::ask(&client, address).await)));
    for (service, address, told) in asked.await {
        match told {
            Ok(told) => told.tell(service, address, report),
            Err(why) => {
                let fix = format!("start it, or correct services.{service}; its log says why it ended");
                let what = format!("{service} {address}: {why}");
                report.add(CHECK, what, State::failed(Exit::Unavailable, fix));
            }
        }
    }
}

/// What a process told.
struct Told {
    version: Version,
    failing: Vec<Check>,
    lag: u64,
    /// How far its clock is ahead of this one, as far as whole seconds can tell.
    ahead_ms: Option<i64>,
    took: Duration,
}

#[derive(Clone, Debug, Deserialize)]
struct Version {
    service: String,
    version: String,
    librdkafka: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Check {
    name: String,
    ok: bool,
    #[serde(default)]
    detail: String,
}

impl Told {
    async fn ask(client: &Client, address: &str) -> Result<Self, String> {
        let plain = |error: reqwest::Error| {
            if error.is_timeout() {
                format!("no answer in {ANSWER_WITHIN:?}")
            } else if error.is_connect() {
                "nobody listens there".to_owned()
            } else {
                error.without_url().to_string()
            }
        };
        let get = |path: &str| {
            client.get(format!("{}{path}", address.trim_end_matches('/'))).timeout(ANSWER_WITHIN).send()
        };
        let begun = Instant::now();
        let response = get("/version").await.map_err(plain)?;
        let took = begun.elapsed();
        let ahead_ms =
            response.headers().get(header::DATE).and_then(|date| ahead(date.to_str().ok()?, now_ms()));
        if response.status() != StatusCode::OK {
            return Err(format!("answers /version with {}: is it an admin listener?", response.status()));
        }
        let version: Version = response.json().await.map_err(plain)?;
        let checks: Vec<Check> = get("/health/ready").await.map_err(plain)?.json().await.map_err(plain)?;
        let metrics = get("/metrics").await.map_err(plain)?.text().await.map_err(plain)?;
        let failing = checks.into_iter().filter(|check| !check.ok).collect();
        Ok(Self { version, failing, lag: lag(&metrics), ahead_ms, took })
    }

    fn tell(&self, service: &str, address: &str, report: &mut Report) {
        let Self { version, failing, lag, ahead_ms, took } = self;
        let name = format!("{service} {address}");
        if version.service != service {
            let fix = format!("correct services.{service}");
            let what = format!("{name}: is a {}", version.service);
            report.add(CHECK, what, State::failed(Exit::Config, fix));
            return;
        }
        for Check { name: check, detail, .. } in failing {
            let state = State::failed(Exit::Unavailable, mend(service, check));
            report.add(CHECK, format!("{name}: not ready: {check}: {detail}"), state);
        }
        if failing.is_empty() {
            let what = format!("{name}: ready, version {}, lag {lag}", version.version);
            report.timed(CHECK, what, if *lag > NOTICED_LAG { lagging(service) } else { State::Ok }, *took);
        }
        if let Some(fix) = other_build(version) {
            report.add(CHECK, format!("{name}: version {}", version.version), State::warning(fix));
        }
        if let Some(ms) = ahead_ms.filter(|ms| *ms != 0) {
            let what = format!("{name}: its clock differs from this one by {} s", ms / 1000);
            report.add("clock", what, doctor::skew(ms));
        }
    }
}

fn lagging(service: &str) -> State {
    State::warning(format!("start another {service}, or see in its log what holds it up"))
}

fn other_build(told: &Version) -> Option<String> {
    let (own, librdkafka) = (env!("CARGO_PKG_VERSION"), plumbing::doctor::librdkafka());
    (told.version != own || told.librdkafka != librdkafka).then(|| {
        format!("this command is {own} with librdkafka {librdkafka}: bring all to one version when the upgrade is over")
    })
}

fn mend(service: &str, check: &str) -> String {
    match check {
        "postgresql" => format!("start PostgreSQL, or correct [postgres] in the settings of the {service}"),
        "registry" => format!("see above whether the registry can be read; then the log of the {service}"),
        "started" => format!("wait; if it stays so, the log of the {service} says what it waits for"),
        "running" => format!("it was told to stop: start the {service} again"),
        _ => format!("see above whether the brokers are well; then the log of the {service}"),
    }
}

/// The sum over all consumers of a process.
fn lag(metrics: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with(CONSUMER_LAG));
    let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    // Records are whole numbers, and far fewer than a float holds.
    values.sum::<f64>() as u64
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How far `date` lies from `now_ms` beyond what its whole seconds explain.
fn ahead(date: &str, now_ms: i64) -> Option<i64> {
    let date = rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?.as_millisecond();
    let (earliest, latest) = (date - now_ms, date + DATE_STEP_MS - now_ms);
    Some(if earliest > DATE_STEP_MS {
        earliest
    } else if latest < -DATE_STEP_MS {
        latest
    } else {
        0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        let version = Version {
            service: "aggregator".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            librdkafka: plumbing::doctor::librdkafka(),
        };
        Told { version, failing: Vec::new(), lag: 0, ahead_ms: Some(0), took: Duration::ZERO }
    }

    fn report_of(told: &Told) -> Report {
        let mut report = Report::default();
        told.tell("aggregator", "http://h:1", &mut report);
        report
    }

    #[test]
    fn a_process_of_another_kind_version_or_clock_is_named() {
        assert_eq!(report_of(&told()).summary().ok, 1);
        let mut other = told();
        other.version.service = "notifier".to_owned();
        assert_eq!(report_of(&other).exit(), Exit::Config);
        let mut older = told();
        older.version.version = "0.0.9".to_owned();
        assert!(report_of(&older).to_string().contains("version 0.0.9"), "{}", report_of(&older));
        assert_eq!(report_of(&older).summary().warnings, 1);
        let late = Told { ahead_ms: Some(-40_000), ..told() };
        assert_eq!(report_of(&late).exit(), Exit::Config, "{}", report_of(&late));
        let slow = Told { lag: NOTICED_LAG + 1, ..told() };
        assert_eq!(report_of(&slow).summary().warnings, 1);
    }

    #[test]
    fn every_failing_check_is_a_line_with_its_own_fix() {
        let check = |name: &str| Check { name: name.to_owned(), ok: false, detail: "refused".to_owned() };
        let report =
            report_of(&Told { failing: vec![check("postgresql"), check("query consumer")], ..told() });
        let text = report.to_string();
        assert!(
            text.contains("not ready: postgresql: refused") && text.contains("start PostgreSQL"),
            "{text}"
        );
        assert_eq!((report.summary().failed, report.exit()), (2, Exit::Unavailable));
    }

    #[test]
    fn the_whole_seconds_of_a_date_are_no_difference() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let at = 784_111_777_000;
        for (now, expected) in [
            (at, 0),
            (at + 999, 0),
            (at + 1_900, 0),
            (at - 800, 0),
            (at + 9_000, -8_000),
            (at - 5_000, 5_000),
        ] {
            assert_eq!(ahead(date, now), Some(expected), "{now}");
        }
        assert_eq!(ahead("yesterday", 0), None);
    }

    #[test]
    fn lag_is_the_sum_over_consumers() {
        let text = format!(
            "# TYPE {CONSUMER_LAG} gauge\n{CONSUMER_LAG}{{role=\"a\"}} 3\n{CONSUMER_LAG}{{role=\"b\"}} 4\n"
        );
        assert_eq!(lag(&text), 7);
        assert_eq!(lag(""), 0);
    }
}
