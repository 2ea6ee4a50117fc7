use std::process::Command;

use plumbing::exit::Exit;
use producer::StartError;

use crate::stand::{Stand, request};

#[tokio::test(flavor = "multi_thread")]
async fn without_dev_or_off_loopback_nothing_starts() {
    let stand = Stand::new().await;
    let mut config = stand.config.clone();
    config.dev = false;
    let error = stand.try_start(config).await.err().expect("refused");
    assert_eq!(error.exit(), Exit::Config);
    let mut config = stand.config.clone();
    config.http.listen = "0.0.0.0:0".parse().expect("an address");
    assert!(matches!(stand.try_start(config).await.err(), Some(StartError::Config(_))));
}

#[test]
fn the_command_ends_with_78_without_dev_and_with_64_for_a_wrong_command_line() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_producer")).args(args).output().expect("run");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = run(&[]);
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("--dev") && text.contains("http.tls"), "{text}");
    assert_eq!(run(&["--production"]).0, Some(64));
    assert_eq!(run(&["--version"]).0, Some(0));
    let (code, text) = run(&["--config", "/nonexistent/producer.toml", "--dev"]);
    assert_eq!(code, Some(66), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_topic_that_is_not_there_is_told_at_the_start() {
    let stand = Stand::new().await;
    let mut config = stand.config.clone();
    config.upstream = "another".parse().expect("an id");
    let error = stand.try_start(config).await.err().expect("refused");
    assert!(matches!(error, StartError::Kafka(_)), "{error:?}");
    assert_eq!(error.exit(), Exit::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_older_than_one_seen_before_is_not_taken_back() {
    let stand = Stand::new().await;
    let seen_file = stand.config.registry.seen_file.as_ref().expect("configured");
    let service = stand.start().await;
    assert_eq!(service.submit(&request(&["alpha"])).await.status, 202);
    let seen = std::fs::read_to_string(seen_file).expect("written at the start");
    assert!(seen.contains("\"bank/alpha\":1"), "{seen}");
    service.lifecycle.stop(std::time::Duration::from_secs(30)).await;

    std::fs::write(seen_file, seen.replace("\"bank/alpha\":1", "\"bank/alpha\":2")).expect("written");
    let service = stand.start().await;
    assert_eq!(service.submit(&request(&["alpha"])).await.code(), "BANK_UNKNOWN");
    assert_eq!(service.submit(&request(&["beta"])).await.status, 202);
    let seen = std::fs::read_to_string(seen_file).expect("kept");
    assert!(seen.contains("\"bank/alpha\":2"), "{seen}");
}
