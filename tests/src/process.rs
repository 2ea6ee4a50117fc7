//! The workspace's own binaries, run as an operator would run them.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::log_file;
use crate::owned_process::{Launch, OwnedProcess};

const LOG_LINES: usize = 40;
const POLL: Duration = Duration::from_millis(10);

/// What a child keeps of this process's environment: a developer's own settings must not change a test.
const INHERITED: [&str; 7] =
    ["HOME", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE", "PATH", "RUST_BACKTRACE", "TMPDIR", "TZ"];

/// A running binary of this workspace.
///
/// It is killed when this value is dropped, and also when the test process ends in any other way, SIGKILL
/// included. If the test is failing as it is dropped, the end of the binary's stderr goes into the test's
/// output.
///
/// What waits is async and needs a tokio runtime, so that servers which the test itself plays go on
/// meanwhile.
pub struct ChildProcess {
    name: String,
    process: OwnedProcess,
    // After `process`, so that the process is gone before its files are.
    output: TempDir,
}

impl ChildProcess {
    /// Starts the binary `name` that Cargo built beside the current test executable; `cargo test` does not
    /// rebuild it. Of this process's environment it sees little more than `PATH`; whatever configures it has
    /// to be in `env`. Its stdin is empty.
    ///
    /// # Panics
    /// If the binary is missing or cannot be started.
    #[must_use]
    #[track_caller]
    pub fn spawn(name: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let program = binaries().join(name);
        assert!(
            program.is_file(),
            "{} is missing: run `cargo build --workspace --bins` first",
            program.display()
        );
        Self::spawn_program(name, &program, |command| {
            command.env_clear();
            command.envs(INHERITED.into_iter().filter_map(|key| Some((key, env::var_os(key)?))));
            command.args(args).envs(env.iter().copied());
        })
    }

    /// Starts a program that `PATH` leads to, with this process's environment. Its stdin is empty.
    ///
    /// # Panics
    /// If it cannot be started; one that is missing ends at once with the shell's exit code 127.
    #[must_use]
    #[track_caller]
    pub fn spawn_external(program: &str, args: &[&str]) -> Self {
        Self::spawn_program(program, Path::new(program), |command| {
            command.args(args);
        })
    }

    #[track_caller]
    fn spawn_program(name: &str, program: &Path, configure: impl FnOnce(&mut Command)) -> Self {
        let output = tempfile::Builder::new()
            .prefix(&format!("cardquery-{name}-"))
            .tempdir()
            .expect("the temporary directory is writable");
        let launch = Launch {
            program,
            stdout: &output.path().join("stdout"),
            stderr: &output.path().join("stderr"),
            orphaned_directory: Some(output.path()),
        };
        let process = OwnedProcess::spawn(&launch, configure);
        let process = process.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { name: name.to_owned(), process, output }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Everything on stdout so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        log_file::read(&self.output.path().join("stdout"))
    }

    /// Everything on stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        log_file::read(&self.stderr_path())
    }

    /// Waits for a complete line on stderr that contains `text`, and returns the first such line. Lines from
    /// before the call count.
    ///
    /// # Panics
    /// If the time is up or the process ends first; the message has the end of its stderr.
    pub async fn wait_for_line(&mut self, text: &str, within: Duration) -> String {
        let deadline = Instant::now() + within;
        loop {
            // State before output: what a process wrote just before it ended still counts.
            let ended = self.try_wait();
            if let Some(line) = self.stderr().split_inclusive('\n').find(|line| is_complete_with(line, text))
            {
                return line.trim_end().to_owned();
            }
            if let Some(status) = ended {
                self.accuse(&format!("ended ({status}) without a line with {text:?}"));
            }
            if Instant::now() > deadline {
                self.accuse(&format!("printed no line with {text:?} in {within:?}"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the process ends by itself, and returns its exit code: 128 and the signal's number if a
    /// signal ended it.
    ///
    /// # Panics
    /// If the time is up; the message has the end of its stderr.
    pub async fn wait(&mut self, within: Duration) -> i32 {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.try_wait() {
                return exit_code(status);
            }
            if Instant::now() > deadline {
                self.accuse(&format!("still runs after {within:?}"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Sends SIGTERM, then does as [`Self::wait`].
    ///
    /// # Panics
    /// If the process has not ended in time.
    pub async fn terminate_and_wait(&mut self, within: Duration) -> i32 {
        if let Err(error) = self.process.terminate() {
            self.accuse(&format!("cannot be sent SIGTERM: {error}"));
        }
        self.wait(within).await
    }

    /// Sends SIGKILL and reaps the process. Does nothing if it has ended already.
    ///
    /// # Panics
    /// If the operating system refuses.
    #[track_caller]
    pub fn kill_9(&mut self) {
        if let Err(error) = self.process.kill_and_wait() {
            self.accuse(&format!("cannot be killed: {error}"));
        }
    }

    /// Whether the process has not ended yet.
    #[must_use]
    #[track_caller]
    pub fn is_running(&mut self) -> bool {
        self.try_wait().is_none()
    }

    #[track_caller]
    fn try_wait(&mut self) -> Option<ExitStatus> {
        match self.process.try_wait() {
            Ok(status) => status,
            Err(error) => self.accuse(&format!("cannot be waited for: {error}")),
        }
    }

    #[track_caller]
    fn accuse(&self, what: &str) -> ! {
        panic!("{} {what}", self.name)
    }

    fn stderr_path(&self) -> PathBuf {
        self.output.path().join("stderr")
    }
}

impl Drop for ChildProcess {
    #[expect(clippy::print_stderr, reason = "the output of a failing test is where its reader looks")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}: {}", self.name, log_file::tail(&self.stderr_path(), LOG_LINES));
        }
    }
}

/// The directory Cargo puts binaries into: test executables are in `deps/` below it.
///
/// # Panics
/// When the operating system does not know the test executable.
pub fn binaries() -> PathBuf {
    let executable = env::current_exe().expect("the operating system knows the test executable");
    let directory = executable.parent().expect("an executable is in a directory");
    if directory.ends_with("deps") || directory.ends_with("examples") {
        directory.parent().map(Path::to_path_buf).expect("deps/ is in the profile's directory")
    } else {
        directory.to_path_buf()
    }
}

fn is_complete_with(line: &str, text: &str) -> bool {
    line.ends_with('\n') && line.contains(text)
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(10);

    fn script(text: &str) -> ChildProcess {
        ChildProcess::spawn_program("script", Path::new("sh"), |command| {
            command.args(["-c", text]);
        })
    }

    #[tokio::test]
    async fn output_and_exit_code_are_the_programs_own() {
        let mut process = script("echo out; echo err >&2; exit 7");

        assert_eq!(process.wait(WITHIN).await, 7);

        assert_eq!((process.stdout().as_str(), process.stderr().as_str()), ("out\n", "err\n"));
        assert!(!process.is_running());
    }

    #[tokio::test]
    async fn a_line_is_found_whether_it_came_before_or_after_the_call() {
        let mut process =
            script("echo 'the first line' >&2; echo 'the second line' >&2; read -r _ < /dev/zero");

        assert_eq!(process.wait_for_line("second", WITHIN).await, "the second line");
        assert_eq!(process.wait_for_line("first", WITHIN).await, "the first line");
        assert!(process.is_running());
    }

    #[tokio::test]
    #[should_panic(expected = "ended (exit status: 3) without a line with \"ready\"")]
    async fn a_process_that_ends_before_its_line_is_accused() {
        script("echo 'not quite re' >&2; exit 3").wait_for_line("ready", WITHIN).await;
    }

    #[tokio::test]
    async fn sigterm_lets_a_process_choose_its_exit_code() {
        let mut process = script("trap 'exit 5' TERM; echo ready >&2; while :; do sleep 0.01; done");
        process.wait_for_line("ready", WITHIN).await;

        assert_eq!(process.terminate_and_wait(WITHIN).await, 5);
    }

    #[tokio::test]
    async fn sigkill_gives_a_process_no_choice() {
        let mut process = script("trap '' TERM; echo ready >&2; while :; do sleep 0.01; done");
        process.wait_for_line("ready", WITHIN).await;

        process.kill_9();

        assert_eq!(process.wait(WITHIN).await, 128 + 9);
    }

    #[test]
    #[should_panic(expected = "run `cargo build --workspace --bins` first")]
    fn a_binary_that_was_not_built_is_named() {
        let _never = ChildProcess::spawn("no-such-binary", &[], &[]);
    }
}
