//! The outermost layer of every service's `main`: command line in, exit code out.
//!
//! | command | does |
//! |---|---|
//! | none | runs the service until a signal |
//! | `config check` | prints every mistake of the settings, or what was checked; asks no server |
//! | `config explain <key>` | the value, and every layer that set it |
//! | `config show` | what is in force, as TOML |
//! | `doctor` | looks at everything it depends on and says how to mend what is wrong, where it has a doctor |
//! | `health` | asks the process that runs with the same settings how it is |
//! | `openapi` | the document of its HTTP interface, where it has one for others |
//!
//! No secret is printed by any of them, and none but the service itself writes anything.

mod health;

use std::error::Error;
use std::fmt::Debug;
use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::admin::{self, AdminConfig};
use crate::config::{ConfigError, Effective, Settings, Sources};
use crate::doctor::{self, Report};
use crate::exit::{Exit, Failure};
use crate::lifecycle::{self, Lifecycle, Signals};
use crate::telemetry;
use crate::trace::{self, TelemetryConfig};

/// A service, as its process sees it.
pub trait Service {
    /// What it does, in a line.
    const ABOUT: &'static str;
    /// Its settings.
    type Config: Settings + Debug;
    /// Flags of its own; [`NoFlags`] for none.
    type Flags: Args;
    /// What of it may change while it runs; `()` for nothing.
    type Live;

    /// Takes over what only the command line says.
    fn adjust(_config: &mut Self::Config, _flags: &Self::Flags) {}

    /// Where its admin listener listens.
    fn admin(config: &Self::Config) -> &AdminConfig;

    /// Where its traces go.
    fn telemetry(config: &Self::Config) -> &TelemetryConfig;

    /// The OpenAPI document of its interface, if it has one for others.
    fn openapi() -> Option<&'static str> {
        None
    }

    /// Whether it has a doctor.
    const HAS_DOCTOR: bool = false;

    /// Looks at everything that it depends on, by settings that break no rule. Writes nothing, joins no group, and does not
    /// mind that the service runs.
    fn examine(_config: Self::Config, _report: &mut Report) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Starts it with settings that break no rule; returns when it does its work. When a signal to stop comes before
    /// that, the future is dropped.
    fn start(
        config: Self::Config,
        lifecycle: &mut Lifecycle,
    ) -> impl Future<Output = Result<Self::Live, Failure>> + Send;

    /// Takes over what may change from settings that were read again and break no rule.
    fn reload(_live: &Self::Live, _config: &Self::Config) {
        lifecycle::nothing_to_reload();
    }
}

/// A service without flags of its own.
#[derive(Clone, Copy, Debug, Args)]
pub struct NoFlags {}

#[derive(Parser)]
#[command(version)]
struct Line<F: Args> {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    flags: F,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Looks at the settings; starts nothing.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Asks the process that runs with the same settings on this machine: exit code 0 for yes, 69 for no or no answer.
    Health {
        /// What to ask.
        #[arg(value_enum, default_value_t)]
        question: health::Question,
    },
    /// Looks at everything that it depends on, and says for each how to mend it. Changes nothing; the service may run.
    ///
    /// Exit code 0 when nothing failed, else that of the weightiest failure: 78 settings, 77 permission, 65 data, 69
    /// something is unavailable.
    Doctor {
        /// Prints one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Prints the OpenAPI document of its HTTP interface.
    Openapi,
}

const OPENAPI: &str = "openapi";
const DOCTOR: &str = "doctor";

#[derive(Subcommand)]
enum ConfigCommand {
    /// Prints every mistake with its file, line and column.
    Check,
    /// Prints a setting, or all below a section, and every layer that set it.
    Explain {
        /// Dotted key.
        key: String,
    },
    /// Prints the settings in force as TOML, without secrets.
    Show,
}

/// What every service's command line takes.
#[derive(Clone, Debug, clap::Args)]
pub struct ServiceArgs {
    /// Settings that differ from the defaults: a file, or a folder with one named after the service. The files in
    /// conf.d beside it go over it.
    #[arg(short, long, value_name = "PATH", global = true)]
    pub config: Option<PathBuf>,
    /// One setting by its dotted key.
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment, global = true)]
    pub set: Vec<(String, String)>,
    /// A property of librdkafka.
    #[arg(short = 'X', value_name = "PROPERTY=VALUE", value_parser = assignment, global = true)]
    pub properties: Vec<(String, String)>,
    /// Seconds to finish what is in flight after a signal to stop.
    #[arg(long, default_value = "60", value_parser = seconds, global = true)]
    pub grace: Duration,
}

impl ServiceArgs {
    /// The layers of settings that the command line names, and the environment of the process.
    pub fn sources(&self) -> Sources {
        let properties =
            self.properties.iter().map(|(key, value)| (format!("kafka.properties.{key}"), value.clone()));
        Sources {
            set: self.set.iter().cloned().chain(properties).collect(),
            ..Sources::new(self.config.as_deref())
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|_| "a whole number of seconds".to_owned())
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a key, an equals sign and a value")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Runs the service `S` as its command line says: all that a service's `main` does.
pub async fn serve<S: Service>() -> ExitCode {
    let name = <S::Config as Settings>::SERVICE;
    let command = Line::<S::Flags>::command().name(name).about(S::ABOUT);
    let command = command.mut_subcommand(OPENAPI, |command| command.hide(S::openapi().is_none()));
    let command = command.mut_subcommand(DOCTOR, |command| command.hide(!S::HAS_DOCTOR));
    let line = command.try_get_matches().and_then(|matches| Line::<S::Flags>::from_arg_matches(&matches));
    end(name, line, async |line| match &line.command {
        None => run::<S>(&line).await,
        Some(Command::Config(command)) => look::<S>(&line, command).map(|()| ExitCode::SUCCESS),
        Some(Command::Health { question }) => {
            // Types alone: what rules say is the running process's business, and the probe may lack its flags.
            let config: S::Config = effective::<S>(&line)?
                .settings()
                .map_err(|error: ConfigError| error.exit().because(error))?;
            health::ask(S::admin(&config), *question).await.map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Doctor { json }) => diagnose::<S>(&line, *json).await,
        Some(Command::Openapi) => {
            let none = || Exit::Usage.because("this service has no HTTP interface for others".to_owned());
            print(S::openapi().ok_or_else(none)?).map(|()| ExitCode::SUCCESS)
        }
    })
    .await
}

/// Parses the command line, runs a program, and says on standard error why it failed, with all causes.
///
/// Logs may not be set up when a program fails to start, and whoever starts it by hand reads standard error.
pub async fn main<A, F>(name: &str, run: impl FnOnce(A) -> F) -> ExitCode
where
    A: Parser,
    F: Future<Output = Result<ExitCode, Failure>>,
{
    end(name, A::try_parse(), run).await
}

async fn end<A, F>(name: &str, line: Result<A, clap::Error>, run: impl FnOnce(A) -> F) -> ExitCode
where
    F: Future<Output = Result<ExitCode, Failure>>,
{
    let line = match line {
        Ok(line) => line,
        Err(told) => {
            let exit = if told.use_stderr() { Exit::Usage } else { Exit::Ok };
            return told.print().map_or(Exit::Software, |()| exit).into();
        }
    };
    match run(line).await {
        Ok(code) => code,
        Err(failure) => {
            let text = causes(&failure);
            // A mistake in the settings begins with its own place.
            let text = if failure.exit() == Exit::Config { text } else { format!("{name}: {text}") };
            // Nobody is left to be told when standard error is closed.
            let _ = writeln!(std::io::stderr(), "{text}");
            Exit::of(&failure).into()
        }
    }
}

async fn run<S: Service>(line: &Line<S::Flags>) -> Result<ExitCode, Failure> {
    let service = <S::Config as Settings>::SERVICE;
    let config = checked::<S>(line)?;
    let log = telemetry::init_logs("info").map_err(|error| Exit::Config.because(error))?;
    let metrics = telemetry::install_metrics().map_err(|error| Exit::Software.because(error))?;
    telemetry::say_build(service);
    let traces =
        trace::export(S::telemetry(&config), service).map_err(|error| Exit::Config.because(error))?;
    tracing::info!(?config, "starting");

    let mut signals = Signals::listen().map_err(|error| Exit::Software.because(error))?;
    let mut lifecycle = Lifecycle::new();
    let process = admin::Process { service, metrics, log };
    admin::start(S::admin(&config), process, &mut lifecycle)
        .await
        .map_err(|error| Exit::CannotCreate.because(error))?;
    let live = tokio::select! {
        started = S::start(config, &mut lifecycle) => started?,
        name = signals.next_reloading(|| tracing::warn!("settings not reloaded: the start is not over")) => {
            tracing::info!(signal = name, "stopping before the start was over");
            return Ok(lifecycle.drain(signals, line.service.grace).await);
        }
    };
    lifecycle.health().set_started();
    tracing::info!("started");
    let reload = || match checked::<S>(line) {
        Ok(config) => S::reload(&live, &config),
        Err(failure) => {
            for fault in causes(&failure).lines() {
                tracing::error!(fault, "settings not reloaded: all that was in force stays");
            }
        }
    };
    let ended = lifecycle.run(signals, line.service.grace, reload).await;
    traces.end().await;
    Ok(ended)
}

fn checked<S: Service>(line: &Line<S::Flags>) -> Result<S::Config, Failure> {
    let settings = effective::<S>(line)?.checked(|config| S::adjust(config, &line.flags));
    settings.map_err(|error| error.exit().because(error))
}

fn effective<S: Service>(line: &Line<S::Flags>) -> Result<Effective, Failure> {
    Effective::of::<S::Config>(&line.service.sources()).map_err(|error| error.exit().because(error))
}

fn look<S: Service>(line: &Line<S::Flags>, command: &ConfigCommand) -> Result<(), Failure> {
    let effective = effective::<S>(line)?;
    let text = match command {
        ConfigCommand::Check => {
            effective
                .checked_with_secrets::<S::Config>(|config| S::adjust(config, &line.flags))
                .map_err(|error| error.exit().because(error))?;
            format!(
                "{}: keys, types, rules, librdkafka's properties and files of secrets are right; files read: {}, \
                 servers asked: none\n",
                <S::Config as Settings>::SERVICE,
                effective.files()
            )
        }
        ConfigCommand::Explain { key } => effective
            .explain(key)
            .ok_or_else(|| Exit::BadData.because(format!("{key}: no layer sets such a key")))?,
        ConfigCommand::Show => effective.show(),
    };
    print(&text)
}

async fn diagnose<S: Service>(line: &Line<S::Flags>, json: bool) -> Result<ExitCode, Failure> {
    if !S::HAS_DOCTOR {
        return Err(Exit::Usage.because("this service has no doctor"));
    }
    // The report tells what its reader wants to know; RUST_LOG shows the rest.
    telemetry::init_logs("off").map_err(|error| Exit::Config.because(error))?;
    let mut report = Report::default();
    doctor::build(&mut report);
    let sources = line.service.sources();
    let file =
        sources.config.as_ref().map_or_else(|| "defaults".to_owned(), |path| path.display().to_string());
    let mut seen = String::new();
    let read = Effective::of::<S::Config>(&sources).and_then(|effective| {
        seen = format!("{file}  (files {}, variables {})", effective.files(), effective.variables());
        effective.checked(|config| S::adjust(config, &line.flags))
    });
    let explain = format!("{} config explain", <S::Config as Settings>::SERVICE);
    match doctor::settings(read, seen, Some(&explain), &mut report) {
        Some(config) => {
            doctor::bounded(&mut report, async |report| S::examine(config, report).await).await;
        }
        None => report.skip("the rest", "not looked at", "config"),
    }
    print_report(&report, json)
}

/// Prints a doctor's report on standard output, and returns its exit code.
///
/// # Errors
/// When standard output cannot be written to.
pub fn print_report(report: &Report, json: bool) -> Result<ExitCode, Failure> {
    let text = if json {
        serde_json::to_string_pretty(&report.document()).map_err(|error| Exit::Software.because(error))?
    } else {
        report.to_string()
    };
    print(&format!("{text}\n"))?;
    Ok(report.exit().into())
}

fn print(text: &str) -> Result<(), Failure> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| Exit::Software.because(error))
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
