//! The notifier.

use std::process::ExitCode;

use notifier::{Config, Secrets};
use plumbing::admin::AdminConfig;
use plumbing::cli::{self, NoFlags};
use plumbing::exit::Failure;
use plumbing::lifecycle::Lifecycle;
use plumbing::trace::TelemetryConfig;

struct Notifier;

impl cli::Service for Notifier {
    const ABOUT: &'static str = "Turns notices into exactly one SMS per query";
    type Config = Config;
    type Flags = NoFlags;
    type Live = ();

    fn admin(config: &Config) -> &AdminConfig {
        &config.admin
    }

    fn telemetry(config: &Config) -> &TelemetryConfig {
        &config.telemetry
    }

    async fn start(config: Config, lifecycle: &mut Lifecycle) -> Result<(), Failure> {
        let secrets = Secrets::load(&config).map_err(|error| error.exit().because(error))?;
        let gateway =
            notifier::gateway(&config, &secrets).await.map_err(|error| error.exit().because(error))?;
        notifier::start(config, secrets, gateway, lifecycle)
            .await
            .map_err(|error| error.exit().because(error))?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::serve::<Notifier>().await
}
