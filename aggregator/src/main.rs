//! `aggregator`: the hub's service that assembles reports.

use std::process::ExitCode;

use aggregator::{Config, Secrets};
use plumbing::admin::AdminConfig;
use plumbing::cli::{self, NoFlags};
use plumbing::exit::Failure;
use plumbing::lifecycle::Lifecycle;

struct Aggregator;

impl cli::Service for Aggregator {
    const ABOUT: &'static str = "Registers queries, asks banks, assembles reports";
    type Config = Config;
    type Flags = NoFlags;

    fn admin(config: &Config) -> &AdminConfig {
        &config.admin
    }

    fn openapi() -> Option<&'static str> {
        Some(aggregator::edge::api::document())
    }

    async fn start(config: Config, lifecycle: &mut Lifecycle) -> Result<(), Failure> {
        let secrets = Secrets::load(&config).map_err(|error| error.exit().because(error))?;
        let listen = aggregator::start(config, secrets, lifecycle)
            .await
            .map_err(|error| error.exit().because(error))?;
        tracing::info!(%listen, "ready");
        Ok(())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::serve::<Aggregator>().await
}
