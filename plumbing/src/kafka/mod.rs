//! Kafka, the way this system uses it: at least once, classic groups, no transactions.
//!
//! ```text
//!             poll thread                     tokio tasks
//!  broker ──▶ BaseConsumer::poll ─▶ ledger ─▶ lane queue ─▶ Handler ─▶ verdicts
//!                     ▲                take                    │
//!                     └── commit ◀─ frontier ◀─ complete ◀─────┤ Done, or dead letter acknowledged
//! ```
//!
//! What must never happen here: an offset is committed although a record before it is unfinished.
//! [`ledger`](self) cannot express that, whatever the lanes report.
//!
//! | file | role |
//! |---|---|
//! | `config.rs` | settings of every client, reserved properties |
//! | `record.rs` | plain values: position, record in, record out |
//! | `handler.rs` | what a service implements: handler, verdicts, lanes |
//! | `ledger.rs` | pure: the contiguous frontier of one partition |
//! | `assignment.rs` | pure: partitions of one epoch, their ledgers, what to commit |
//! | `lane.rs` | batches, retries, dead letters of one lane; `held.rs`: what waits in it |
//! | `breaker.rs` | pure: when dead letters are a flood; `breakers.rs`: one per topic |
//! | `rebalance.rs` | librdkafka's callbacks, turned into events |
//! | `consumer.rs` | the handle; `consumer_loop.rs`: the poll thread |
//! | `follow.rs` | tail reader without a group |
//! | `fold.rs` | state folded from a topic |
//! | `record_reader.rs` | one record by its position |
//! | `watermarks.rs` | end offsets |
//! | `signs.rs` | signs of life for health checks |
//! | `producer.rs`, `dead_letter.rs` | the way out |

mod assignment;
mod breaker;
mod breakers;
mod config;
mod consumer;
mod consumer_loop;
mod dead_letter;
mod error;
mod fold;
mod follow;
mod group_offsets;
mod handler;
mod held;
mod lane;
mod ledger;
mod logs;
mod producer;
mod rebalance;
mod record;
mod record_reader;
mod signs;
mod watermarks;

pub use breaker::BreakerConfig;
pub use breakers::WhenOpen;
pub use config::{AppendTime, KafkaConfig};
pub use consumer::{Consumer, ConsumerConfig, ConsumerHandle, Subscription};
pub use dead_letter::{DeadLetters, Disposition, TopicFor};
pub use error::{ConsumerError, KafkaError, ProduceError, Refusal};
pub use fold::{Changes, Fold};
pub use follow::{Follower, Next, TapFrom, follow, read_from, read_ranges, read_to_end, tap};
pub use group_offsets::GroupOffsets;
pub use handler::{Commit, ErrorClass, Handler, Lanes, Verdict};
pub use logs::PlainContext;
pub use producer::Producer;
pub use record::{OutRecord, Position, Record};
pub use record_reader::RecordReader;
pub use watermarks::Watermarks;
