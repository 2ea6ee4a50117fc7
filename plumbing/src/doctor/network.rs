//! Whether the brokers' names lead anywhere, and whether anybody listens there.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::report::{Report, State};
use crate::exit::Exit;

const CHECK: &str = "dns/tcp";
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A broker that takes connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name, as the settings have it.
    pub host: String,
    /// An address that it was reached at.
    pub address: SocketAddr,
}

enum Unreached {
    NoPort,
    Name(String),
    Closed(String),
}

/// Reaches every broker of `kafka.brokers`; one line each. Returns those that take connections.
pub async fn reach(brokers: &str, report: &mut Report) -> Vec<Endpoint> {
    let names: Vec<&str> = brokers.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let tried = join_all(names.iter().map(async |name| {
        let begun = Instant::now();
        (connect(name).await, begun.elapsed())
    }))
    .await;
    let mut reached = Vec::new();
    for (name, (endpoint, took)) in names.into_iter().zip(tried) {
        let (what, state) = match endpoint {
            Ok(endpoint) => {
                let what = format!("{name} → {}", endpoint.address.ip());
                reached.push(endpoint);
                (what, State::Ok)
            }
            Err(Unreached::NoPort) => {
                (format!("{name} has no port"), State::failed(Exit::Config, "kafka.brokers: write host:port"))
            }
            Err(Unreached::Name(error)) => (
                format!("{name}: no such name: {error}"),
                State::failed(
                    Exit::Unavailable,
                    format!(
                        "kafka.brokers: correct the name, or ask for a DNS entry: getent hosts {}",
                        host(name)
                    ),
                ),
            ),
            Err(Unreached::Closed(error)) => (
                format!("{name}: {error}"),
                State::failed(
                    Exit::Unavailable,
                    "kafka.brokers: correct the port, or have the firewall opened for outbound TCP to it",
                ),
            ),
        };
        report.timed(CHECK, what, state, took);
    }
    reached
}

async fn connect(name: &str) -> Result<Endpoint, Unreached> {
    let port = name.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none() {
        return Err(Unreached::NoPort);
    }
    let found = timeout(ANSWER_WITHIN, lookup_host(name)).await;
    let addresses: Vec<SocketAddr> = match found {
        Err(_) => return Err(Unreached::Name(format!("no answer in {ANSWER_WITHIN:?}"))),
        Ok(Err(error)) => return Err(Unreached::Name(error.to_string())),
        Ok(Ok(found)) => found.collect(),
    };
    let connected = timeout(ANSWER_WITHIN, TcpStream::connect(addresses.as_slice())).await;
    match connected {
        Err(_) => Err(Unreached::Closed(format!("no answer in {ANSWER_WITHIN:?}"))),
        Ok(Err(error)) => Err(Unreached::Closed(error.to_string())),
        Ok(Ok(stream)) => match stream.peer_addr() {
            Ok(address) => Ok(Endpoint { host: host(name).to_owned(), address }),
            Err(error) => Err(Unreached::Closed(error.to_string())),
        },
    }
}

/// The name without its port, and without the brackets of an IPv6 address.
fn host(name: &str) -> &str {
    let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
    host.trim_matches(['[', ']'])
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn every_broker_has_a_line_and_only_those_that_listen_are_returned() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let open = listener.local_addr().expect("bound");
        let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let shut = closed.local_addr().expect("bound");
        drop(closed);
        let mut report = Report::default();
        let brokers = format!("{open}, {shut},no-such-host.invalid:9092,localhost");
        let reached = reach(&brokers, &mut report).await;
        assert_eq!(reached, [Endpoint { host: "127.0.0.1".to_owned(), address: open }]);
        let exits: Vec<u8> = report
            .findings()
            .iter()
            .map(|finding| match finding.state {
                State::Failed { exit, .. } => exit.code(),
                State::Ok | State::Warning { .. } | State::Skipped { .. } => 0,
            })
            .collect();
        assert_eq!(exits, [0, 69, 69, 78]);
    }

    #[test]
    fn the_brackets_of_an_ipv6_address_are_no_part_of_the_name() {
        assert_eq!(host("[::1]:9092"), "::1");
        assert_eq!(host("kafka-1.example:9094"), "kafka-1.example");
    }
}
