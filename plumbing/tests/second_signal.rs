//! The second signal. It ends its process, so the process is another one: this test's executable again.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use plumbing::lifecycle::Lifecycle;

const FOLDER: &str = "SECOND_SIGNAL_FOLDER";
const WITHIN: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once_with_exit_code_1() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return never_ends(folder.into()).await;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = Command::new(std::env::current_exe().expect("this executable"))
        .args(["--exact", "a_second_signal_ends_the_process_at_once_with_exit_code_1"])
        .env(FOLDER, folder.path())
        .spawn()
        .expect("started");
    for sign in ["running", "stopping"] {
        appears(&folder.path().join(sign)).await;
        terminate(&child);
    }
    assert_eq!(ended(&mut child).await, Some(1));
}

/// A part that does not end when it is told to.
async fn never_ends(folder: PathBuf) {
    let mut life = Lifecycle::new();
    let token = life.token();
    life.spawn("never ends", async move {
        std::fs::write(folder.join("running"), "").expect("written");
        token.cancelled().await;
        std::fs::write(folder.join("stopping"), "").expect("written");
        std::future::pending::<Result<(), Infallible>>().await
    });
    life.run_until_signal(WITHIN).await;
}

async fn appears(file: &Path) {
    let start = Instant::now();
    while !file.exists() {
        assert!(start.elapsed() < WITHIN, "{} does not appear", file.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn terminate(child: &Child) {
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    assert!(killed.success());
}

async fn ended(child: &mut Child) -> Option<i32> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("waited for") {
            return status.code();
        }
        if start.elapsed() > WITHIN / 2 {
            let _ = child.kill();
            panic!("still runs");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
