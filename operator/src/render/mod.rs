//! `cardquery render`: the table of topics, its access lists and its services in other tools' words. No cluster is asked.

mod acls;
pub mod kubernetes;
mod strimzi;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use plumbing::exit::{Exit, Failure};

use crate::config::Config;

/// Prints access lists, topics and users, or services in another tool's words.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// In whose words.
    #[command(subcommand)]
    pub form: Form,
}

/// In whose words.
#[derive(Clone, Debug, Subcommand)]
pub enum Form {
    /// Access lists as commands of Kafka's own kafka-acls.
    Acls {
        /// Settings that differ from the defaults: a file, or a folder with an operator.toml.
        #[arg(short, long, value_name = "PATH")]
        config: Option<PathBuf>,
        /// The client settings that kafka-acls is to use.
        #[arg(long, value_name = "FILE", default_value = "admin.properties")]
        command_config: String,
    },
    /// The services of hub, upstreams and banks as resources of Kubernetes.
    Kubernetes {
        /// Settings that differ from the defaults: a file, or a folder with an operator.toml.
        #[arg(short, long, value_name = "PATH")]
        config: Option<PathBuf>,
        #[command(flatten)]
        #[allow(missing_docs)]
        site: kubernetes::Site,
    },
    /// Topics, users and access lists as resources of the Strimzi operator, 0.49 or newer.
    Strimzi {
        /// Settings that differ from the defaults: a file, or a folder with an operator.toml.
        #[arg(short, long, value_name = "PATH")]
        config: Option<PathBuf>,
        /// The Kafka resource that they belong to.
        #[arg(long, value_name = "NAME", default_value = "cardquery")]
        cluster: String,
    },
}

/// Prints.
///
/// # Errors
/// With the exit code of wrong settings, or of an output that is closed.
pub fn run(options: &Options) -> Result<(), Failure> {
    let text = match &options.form {
        Form::Acls { config, command_config } => {
            let (config, estate) = Config::load_with_estate(config.as_deref())?;
            acls::commands(&estate, &config.kafka.brokers, command_config)
        }
        Form::Kubernetes { config, site } => {
            let (config, estate) = Config::load_with_estate(config.as_deref())?;
            kubernetes::documents(&config, &estate, site)
        }
        Form::Strimzi { config, cluster } => {
            let (_, estate) = Config::load_with_estate(config.as_deref())?;
            strimzi::documents(&estate, cluster)
        }
    };
    write!(std::io::stdout(), "{text}").map_err(|error| Exit::CannotCreate.because(error))
}

#[cfg(test)]
fn sample_estate() -> crate::config::Estate {
    crate::config::Estate {
        topics: schemas::topics::Topics::default(),
        upstreams: vec!["wallet".parse().expect("an id")],
        banks: vec!["alpha".parse().expect("an id"), "beta".parse().expect("an id")],
        cluster: crate::config::ClusterConfig { replication_factor: 3, min_insync_replicas: 2 },
    }
}
