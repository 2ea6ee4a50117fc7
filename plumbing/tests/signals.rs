//! Signals reach the lifecycle. A file of its own, because a signal goes to the whole process.

use std::convert::Infallible;
use std::process::{Command, ExitCode};
use std::time::Duration;

use plumbing::lifecycle::Lifecycle;

#[tokio::test]
async fn a_signal_drains_all_parts_and_the_process_ends_in_order() {
    let mut life = Lifecycle::new();
    let token = life.token();
    life.spawn("drains", async move {
        token.cancelled().await;
        Ok::<_, Infallible>(())
    });
    // The first branch is polled first, so the handlers are in place when the signal comes.
    let (exit, ()) = tokio::join!(life.run_until_signal(Duration::from_secs(5)), async {
        let killed = Command::new("kill")
            .args(["-TERM", &std::process::id().to_string()])
            .status()
            .expect("kill runs");
        assert!(killed.success());
    });
    assert_eq!(exit, ExitCode::SUCCESS);
}
