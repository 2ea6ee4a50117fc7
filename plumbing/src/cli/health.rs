//! `<service> health`: the admin listener's answer as an exit code, for supervisors that run a command and have no HTTP
//! client beside it (a container without a shell).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::ValueEnum;

use super::causes;
use crate::admin::AdminConfig;
use crate::exit::{Exit, Failure};
use crate::http;

/// Health checks look at what was noted and ask nobody: an answer that takes longer is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What to ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Question {
    /// Do its poll loops turn?
    Live,
    /// Can it do its work?
    #[default]
    Ready,
    /// Has it put its parts together?
    Startup,
}

impl Question {
    const fn path(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Ready => "ready",
            Self::Startup => "startup",
        }
    }
}

/// Asks the process behind `admin`.
///
/// # Errors
/// With the exit code of a dependency that is away when the answer is no, or there is none.
pub(super) async fn ask(admin: &AdminConfig, question: Question) -> Result<(), Failure> {
    let url = format!("http://{}/health/{}", from_here(admin.listen), question.path());
    let client = http::client(None).map_err(|error| Exit::Software.because(error))?;
    let response = client.get(&url).timeout(ANSWER_WITHIN).send().await;
    let response =
        response.map_err(|error| Exit::Unavailable.because(format!("no answer: {}", causes(&error))))?;
    if response.status().is_success() {
        return Ok(());
    }
    let status = response.status().as_u16();
    let checks = response.text().await.unwrap_or_default();
    Err(Exit::Unavailable.because(format!("{url} answers {status} {checks}")))
}

/// Who listens on every address is reached on loopback.
fn from_here(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        named @ (IpAddr::V4(_) | IpAddr::V6(_)) => named,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_no_and_no_answer_are_exit_code_69_and_a_no_says_why() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let admin = AdminConfig { listen: listener.local_addr().expect("an address") };
        let no = (StatusCode::SERVICE_UNAVAILABLE, r#"[{"name":"registry","ok":false}]"#);
        let router =
            Router::new().route("/health/live", get("[]")).route("/health/ready", get(async move || no));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });

        assert!(ask(&admin, Question::Live).await.is_ok());
        let failure = ask(&admin, Question::Ready).await.expect_err("not ready");
        assert_eq!(failure.exit(), Exit::Unavailable);
        assert!(failure.to_string().contains("registry"), "{failure}");

        server.abort();
        assert!(server.await.expect_err("stopped").is_cancelled());
        let failure = ask(&admin, Question::Live).await.expect_err("nobody there");
        assert_eq!(failure.exit(), Exit::Unavailable);
    }

    #[test]
    fn who_listens_on_every_address_is_asked_on_loopback() {
        let asked = |listen: &str| from_here(listen.parse().expect("an address")).to_string();
        assert_eq!(asked("0.0.0.0:8491"), "127.0.0.1:8491");
        assert_eq!(asked("[::]:8491"), "[::1]:8491");
        assert_eq!(asked("127.0.0.2:8491"), "127.0.0.2:8491");
    }
}
