//! What `cardquery doctor` can be asked.

use clap::Args;

use crate::local::run::options::StackFolder;
use crate::topics::options::ConfigPath;

/// Looks at everything that the hub needs, and says for each how to mend it. Changes nothing.
///
/// Exit code 0 when nothing failed, else that of the weightiest failure: 78 settings, 77 permission, 65 data, 69 something
/// is unavailable.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigPath,
    /// Ends with a query of this sample person to the banks of a local system, in the place of the rehearsal. Refused
    /// where the sample's roots are not allowed: a hub of real people is never sent a query.
    #[arg(long)]
    pub person: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub stack: StackFolder,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
}
