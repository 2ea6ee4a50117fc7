use std::time::Duration;

use plumbing::kafka::{OutRecord, ProduceError, Refusal};

use crate::stand::{Stand, soon};

fn record(bytes: usize) -> OutRecord {
    OutRecord {
        topic: "things".into(),
        key: Some(b"key".to_vec()),
        value: vec![0; bytes],
        headers: vec![("name".into(), b"value".to_vec())],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_record_has_a_position() {
    let stand = Stand::new(&[("things", 1)]);
    let first = soon("the report", stand.producer.send(record(10))).await;
    assert_eq!(first.expect("acknowledged").to_string(), "things:0:0");
    let second = soon("the report", stand.producer.send(record(10))).await;
    assert_eq!(second.expect("acknowledged").to_string(), "things:0:1");
    stand.producer.flush(Duration::from_secs(10)).await.expect("nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_large_is_refused_for_good() {
    let stand = Stand::new(&[("things", 1)]);
    let error = soon("the report", stand.producer.send(record(2 << 20))).await.expect_err("too large");
    assert!(matches!(error, ProduceError::Permanent(Refusal::TooLarge(_))), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_times_out_is_ambiguous() {
    let stand = Stand::new(&[("things", 1)]);
    let mut kafka = stand.kafka();
    kafka.properties.insert("message.timeout.ms".into(), "1000".into());
    let producer = plumbing::kafka::Producer::new(&kafka).expect("producer");
    stand.cluster.partition_leader("things", 0, None).expect("leader removed");
    let error = soon("the report", producer.send(record(10))).await.expect_err("nobody answers");
    assert_eq!(error.kind(), "ambiguous");
}
