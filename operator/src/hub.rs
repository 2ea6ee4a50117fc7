//! A client of the hub's HTTP interface, for commands that need what only the hub knows.

use std::time::Duration;

use plumbing::exit::{Exit, Failure};
use plumbing::http;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use schemas::codes::Code;
use schemas::http::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::Config;

/// An operator waits for an answer no longer; figures of a day are added up in less.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Largest answer in bytes: figures of 500 banks are a fraction of it.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// The way to the hub.
#[derive(Clone, Debug)]
pub struct Hub {
    client: Client,
    base: Url,
}

impl Hub {
    /// The hub that the settings name.
    ///
    /// # Errors
    /// Exit code 78 when they name none or contradict themselves; that of a file that cannot be used.
    pub fn new(config: &Config) -> Result<Self, Failure> {
        let hub = config.hub.as_ref().ok_or_else(|| {
            Exit::Config.because("hub: this command asks the hub, and the settings have no section [hub]")
        })?;
        let wrong = |text: String| Exit::Config.because(format!("hub.url: `{}` {text}", hub.url));
        let base: Url = hub.url.parse().map_err(|error| wrong(format!("is no address: {error}")))?;
        let scheme = if hub.tls.is_some() { "https" } else { "http" };
        if base.scheme() != scheme {
            return Err(wrong("must be https:// with [hub.tls], and http:// without".to_owned()));
        }
        let client = http::client(hub.tls.as_ref()).map_err(|error| error.exit().because(error))?;
        Ok(Self { client, base })
    }

    /// Asks for a document at the path of `segments` below `/v1`.
    ///
    /// # Errors
    /// As `failure` sorts the hub's refusals; 69 when it does not answer.
    pub async fn get<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, Failure> {
        self.answer(self.request(Method::GET, segments, query)?).await
    }

    /// Sends `body` to the path of `segments` below `/v1` with `method`, and returns the document that comes back.
    ///
    /// # Errors
    /// As with [`Hub::get`].
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        segments: &[&str],
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.answer(self.request(method, segments, &[])?.json(body)).await
    }

    fn request(
        &self,
        method: Method,
        segments: &[&str],
        query: &[(&str, String)],
    ) -> Result<RequestBuilder, Failure> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Exit::Config.because("hub.url: has no path"))?
            .pop_if_empty()
            .push("v1")
            .extend(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.client.request(method, url).timeout(ANSWER_WITHIN))
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let response = request.send().await.map_err(|error| self.silent(error.without_url()))?;
        let status = response.status();
        let body = self.body(response).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                Exit::Unavailable.because(format!("{}: no answer of a hub: {error}", self.base))
            });
        }
        let problem: Problem = serde_json::from_slice(&body).map_err(|_| {
            Exit::Unavailable.because(format!("{}: answers {status} and no reason", self.base))
        })?;
        Err(failure(status, &problem))
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.silent(error.without_url()))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(Exit::Unavailable.because(format!("{}: the answer is too large", self.base)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn silent(&self, error: reqwest::Error) -> Failure {
        let text = format!("{}: the hub does not answer: {}", self.base, plumbing::cli::causes(&error));
        Exit::Unavailable.because(text)
    }
}

/// A refusal as a command's end: the text begins with the code.
fn failure(status: StatusCode, problem: &Problem) -> Failure {
    let exit = match status.as_u16() {
        404 if problem.code == Code::ROUTE_UNKNOWN.as_str() => {
            let text = format!(
                "{}: to the name in this certificate the hub has no such address: it must be that of the operator, \
                 or of the auditor for what is the auditor's",
                problem.code
            );
            return Exit::Denied.because(text);
        }
        404 | 410 => Exit::NoInput,
        401 | 403 => Exit::Denied,
        429 => Exit::TryAgain,
        500.. => Exit::Unavailable,
        _ => Exit::BadData,
    };
    let detail = problem.detail.as_ref().map(|detail| format!(" {detail}")).unwrap_or_default();
    exit.because(format!("{}: {}{detail}", problem.code, problem.title))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("operator.toml");
        std::fs::write(&path, text).expect("written");
        Config::load(Some(&path)).expect("settings")
    }

    #[test]
    fn a_way_to_the_hub_is_needed_only_by_who_goes_it_and_is_encrypted_exactly_with_certificates() {
        let none = Hub::new(&config("")).expect_err("no section");
        assert_eq!(none.exit(), Exit::Config);
        for (text, said) in [
            ("[hub]\nurl = \"https://127.0.0.1:1\"\n", "must be https"),
            ("[hub]\nurl = \"nonsense\"\n", "is no address"),
        ] {
            let error = Hub::new(&config(text)).expect_err("wrong");
            assert_eq!(error.exit(), Exit::Config);
            assert!(error.to_string().contains(said), "{error}");
        }
        assert!(Hub::new(&config("[hub]\nurl = \"http://127.0.0.1:1\"\n")).is_ok());
    }

    #[test]
    fn names_are_parts_of_a_path_and_nothing_else() {
        let hub = Hub::new(&config("[hub]\nurl = \"http://127.0.0.1:1/hub/\"\n")).expect("a hub");
        let request = hub
            .request(Method::GET, &["queries", "../a?b#c"], &[("since", "1 h".to_owned())])
            .and_then(|request| request.build().map_err(|error| Exit::Software.because(error)))
            .expect("a request");
        assert_eq!(request.url().as_str(), "http://127.0.0.1:1/hub/v1/queries/..%2Fa%3Fb%23c?since=1+h");
    }

    #[test]
    fn refusals_end_with_the_code_of_what_is_wrong() {
        for (code, exit) in [
            (Code::QUERY_NOT_FOUND, Exit::NoInput),
            (Code::ROUTE_UNKNOWN, Exit::Denied),
            (Code::RATE_LIMITED, Exit::TryAgain),
            (Code::INTERNAL, Exit::Unavailable),
        ] {
            let status = StatusCode::from_u16(code.status()).expect("a status");
            let failure = failure(status, &Problem::of(code));
            assert_eq!(failure.exit(), exit, "{code}");
            assert!(failure.to_string().starts_with(code.as_str()));
        }
    }
}
