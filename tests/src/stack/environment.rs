//! The file `env` of a stack: `KEY=VALUE` lines.

use std::collections::BTreeMap;
use std::path::PathBuf;

pub(super) struct Environment {
    pub(super) brokers: String,
    pub(super) ca_file: PathBuf,
    pub(super) passwords: PathBuf,
    pub(super) postgres: String,
    pub(super) redis: String,
    pub(super) kafka_jars: PathBuf,
}

impl Environment {
    /// Keys that nobody asks for are left out; one that is missing is an error.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let values: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
        let value = |name: &str| {
            let key = format!("CARDQUERY_STACK_{name}");
            values.get(key.as_str()).map(|value| (*value).to_owned()).ok_or(format!("{key} is missing"))
        };
        Ok(Self {
            brokers: value("BROKERS")?,
            ca_file: value("CA")?.into(),
            passwords: value("PASSWORDS")?.into(),
            postgres: value("POSTGRES")?,
            redis: value("REDIS")?,
            kafka_jars: value("KAFKA_JARS")?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: &str = "\
CARDQUERY_STACK=/a stack
CARDQUERY_STACK_BROKERS=localhost:1,localhost:2
CARDQUERY_STACK_CA=/a stack/tls/ca.pem
CARDQUERY_STACK_PASSWORDS=/a stack/passwords
CARDQUERY_STACK_POSTGRES=postgres://u:p@127.0.0.1:3/postgres?a=b
CARDQUERY_STACK_REDIS=redis://:p@127.0.0.1:4/
CARDQUERY_STACK_KAFKA_JARS=/jars
";

    #[test]
    fn a_value_is_everything_behind_the_first_equals_sign() {
        let environment = Environment::parse(COMPLETE).expect("complete");

        assert_eq!(environment.brokers, "localhost:1,localhost:2");
        assert_eq!(environment.ca_file, PathBuf::from("/a stack/tls/ca.pem"));
        assert_eq!(environment.postgres, "postgres://u:p@127.0.0.1:3/postgres?a=b");
    }

    #[test]
    fn every_key_is_needed() {
        for line in COMPLETE.lines().skip(1) {
            let error = Environment::parse(&COMPLETE.replace(line, "")).err().expect("incomplete");
            let key = line.split_once('=').expect("a line has a key").0;
            assert_eq!(error, format!("{key} is missing"));
        }
    }
}
