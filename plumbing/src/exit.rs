//! Process exit codes, the way `sysexits.h` numbers them.

use std::error::Error;
use std::fmt;
use std::io::ErrorKind;
use std::process::{ExitCode, Termination};

use crate::config::ConfigError;
use crate::kafka::{ConsumerError, KafkaError, ProduceError};
use crate::postgres::{self, PostgresError};

/// Why a process ends. The number is an interface: supervisors and scripts branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// 0: everything was done.
    Ok = 0,
    /// 64: the command line is wrong.
    Usage = 64,
    /// 65: input data is wrong.
    BadData = 65,
    /// 66: an input file is missing or unreadable.
    NoInput = 66,
    /// 69: something this process depends on is unavailable; restarting later may help.
    Unavailable = 69,
    /// 70: a bug, or a state that should not exist.
    Software = 70,
    /// 73: an output cannot be created.
    CannotCreate = 73,
    /// 75: try the same again.
    TryAgain = 75,
    /// 77: permission denied, by the operating system or by an access list of the broker.
    Denied = 77,
    /// 78: the configuration is wrong.
    Config = 78,
}

impl Exit {
    /// The number itself.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Attaches this exit code to `error`, for errors that [`Exit::of`] cannot know.
    pub fn because(self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure { exit: self, error: error.into() }
    }

    /// The code for `error`: the first error in its chain of sources that says something about the
    /// process, else [`Exit::Software`].
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(exit) = own_code(error) {
                return exit;
            }
            next = error.source();
        }
        Self::Software
    }
}

fn own_code(error: &(dyn Error + 'static)) -> Option<Exit> {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Some(failure.exit);
    }
    if let Some(error) = error.downcast_ref::<KafkaError>() {
        return Some(error.exit());
    }
    if let Some(error) = error.downcast_ref::<ConsumerError>() {
        return Some(error.exit());
    }
    if let Some(error) = error.downcast_ref::<ConfigError>() {
        return Some(error.exit());
    }
    if let Some(error) = error.downcast_ref::<PostgresError>() {
        return Some(error.exit());
    }
    if let Some(error) = error.downcast_ref::<sqlx::Error>() {
        return postgres::exit(error);
    }
    if error.is::<ProduceError>() {
        return Some(Exit::Unavailable);
    }
    let kind = error.downcast_ref::<std::io::Error>()?.kind();
    if kind == ErrorKind::PermissionDenied {
        Some(Exit::Denied)
    } else if matches!(kind, ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable) {
        Some(Exit::CannotCreate)
    } else if matches!(
        kind,
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
            | ErrorKind::TimedOut
    ) {
        Some(Exit::Unavailable)
    } else {
        None
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

/// An error that carries its exit code; made by [`Exit::because`].
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// The exit code of a process that ends with this error.
    pub const fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Failure {
    /// Stands in the place of the error itself, so that nothing is said twice.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Failure);

    #[test]
    fn the_first_error_in_the_chain_that_knows_its_code_decides() {
        let error = Outer(Exit::Unavailable.because("database is down"));
        assert_eq!(Exit::of(&error), Exit::Unavailable);
    }

    #[test]
    fn an_error_that_nobody_knows_is_a_bug() {
        assert_eq!(Exit::of(&std::fmt::Error), Exit::Software);
    }

    #[test]
    fn a_port_in_use_cannot_be_created() {
        let error = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        assert_eq!(Exit::of(&error).code(), 73);
    }
}
