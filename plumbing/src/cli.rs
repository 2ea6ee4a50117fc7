//! The outermost layer of every service's `main`: command line in, exit code out.

use std::error::Error;
use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::exit::{Exit, Failure};

/// What every service's command line takes.
#[derive(Clone, Debug, clap::Args)]
pub struct ServiceArgs {
    /// Settings that differ from the defaults.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Seconds to finish what is in flight after a signal to stop.
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub grace: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|_| "a whole number of seconds".to_owned())
}

/// Parses the command line, runs the service, and says on standard error why it failed, with all causes.
///
/// Logs may not be set up when a service fails to start, and whoever starts it by hand reads standard error.
pub async fn main<A, F>(name: &str, run: impl FnOnce(A) -> F) -> ExitCode
where
    A: Parser,
    F: Future<Output = Result<ExitCode, Failure>>,
{
    let args = match A::try_parse() {
        Ok(args) => args,
        Err(told) => {
            let exit = if told.use_stderr() { Exit::Usage } else { Exit::Ok };
            return told.print().map_or(Exit::Software, |()| exit).into();
        }
    };
    match run(args).await {
        Ok(code) => code,
        Err(failure) => {
            // Nobody is left to be told when standard error is closed.
            let _ = writeln!(std::io::stderr(), "{name}: {}", causes(&failure));
            Exit::of(&failure).into()
        }
    }
}

/// An error and everything that caused it, on one line.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
