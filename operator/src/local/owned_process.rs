//! A process that does not outlive its owner, however the owner ends: services of a local system, and everything that
//! tests start.
//!
//! `Drop` is not enough: a static is never dropped, and nothing runs after SIGKILL. So beside each process
//! stands a watchdog, a shell that reads a pipe whose other end only the owner holds:
//!
//! 1. the watchdog starts and waits for a process id;
//! 2. a second shell writes its own id to the pipe and then *becomes* the program (`exec` keeps the id and
//!    drops the pipe), so there is no instant at which the program runs unwatched;
//! 3. the kernel closes the owner's end when the owner ends: the watchdog reads end-of-file and sends SIGKILL;
//! 4. an owner that has reaped the process itself writes `released` first, because the id may then belong to
//!    another.
//!
//! Both have process groups of their own, so that Ctrl-C in a terminal reaches the owner and nothing else.

use std::io::{self, PipeWriter, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// Reads the id, then waits for the owner. A signal to the watchdog itself counts as the owner's end. `$1`,
/// if not empty, is a directory that only the process used; it goes once the process has left the process
/// table.
const WATCHDOG: &str = r#"
trap : HUP INT TERM
read -r pid
case $pid in '' | *[!0-9]*) exit 0 ;; esac
read -r word && [ "$word" = released ] && exit 0
kill -s KILL "$pid" 2>/dev/null
tries=0
while kill -s 0 "$pid" 2>/dev/null && [ "$tries" -lt 50 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
if [ -n "$1" ]; then rm -rf -- "$1"; fi
"#;

/// `$1` and `$2` are the files for stdout and stderr; the rest is the program and its arguments.
const BECOME: &str = r#"
out=$1 err=$2
shift 2
echo "$$" || exit 125
exec "$@" </dev/null >>"$out" 2>>"$err"
"#;

/// The exit code that a shell gives for a program that it cannot find.
pub const NOT_FOUND: i32 = 127;

/// How to start a process: the program, and where what it prints goes.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// A path, or a name to look up in `PATH`. If it is missing, the exit code is [`NOT_FOUND`].
    pub program: &'a Path,
    /// The file that stdout is appended to.
    pub stdout: &'a Path,
    /// The file that stderr is appended to.
    pub stderr: &'a Path,
    /// A directory that is removed if the owner ends without having ended the process.
    pub orphaned_directory: Option<&'a Path>,
}

/// A running process and its watchdog.
#[derive(Debug)]
pub struct OwnedProcess {
    child: Child,
    /// `None` once the process was reaped and the watchdog sent home.
    watchdog: Option<(Child, PipeWriter)>,
}

impl OwnedProcess {
    /// Starts the program; `configure` adds its arguments and its environment.
    ///
    /// # Errors
    /// When there is no shell, or no process can be made.
    pub fn spawn(launch: &Launch<'_>, configure: impl FnOnce(&mut Command)) -> io::Result<Self> {
        let (orders, owner_end) = io::pipe()?;
        let watchdog = shell(WATCHDOG)
            .arg(launch.orphaned_directory.unwrap_or(Path::new("")))
            .stdin(orders)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;

        let mut command = shell(BECOME);
        command.args([launch.stdout, launch.stderr, launch.program]);
        configure(&mut command);
        let child = command.stdin(Stdio::null()).stdout(owner_end.try_clone()?).stderr(Stdio::null()).spawn();
        Ok(Self { child: child?, watchdog: Some((watchdog, owner_end)) })
    }

    /// The id of the process; it is the program's own, the shells before it are gone.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status if the process has ended. Never blocks.
    ///
    /// # Errors
    /// The operating system's.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        if status.is_some() {
            self.release();
        }
        Ok(status)
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// The operating system's.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.release();
        Ok(status)
    }

    /// Sends SIGTERM, unless the process has already ended.
    ///
    /// # Errors
    /// The operating system's.
    pub fn terminate(&mut self) -> io::Result<()> {
        if self.try_wait()?.is_none() {
            shell(r#"kill -s TERM "$1""#).arg(self.id().to_string()).stderr(Stdio::null()).status()?;
        }
        Ok(())
    }

    /// Sends SIGKILL, unless the process has already ended, and reaps it.
    ///
    /// # Errors
    /// The operating system's.
    pub fn kill_and_wait(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.wait()
    }

    /// Tells the watchdog that the process was reaped, and waits for it to leave.
    fn release(&mut self) {
        if let Some((mut watchdog, mut owner_end)) = self.watchdog.take() {
            // A watchdog that has gone cannot be told, and need not be.
            let _gone = owner_end.write_all(b"released\n");
            drop(owner_end);
            let _status = watchdog.wait();
        }
    }
}

impl Drop for OwnedProcess {
    fn drop(&mut self) {
        // On failure the watchdog still holds the id, and reads end-of-file as soon as its pipe is dropped
        // below.
        let _status = self.kill_and_wait();
    }
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).process_group(0);
    command
}
