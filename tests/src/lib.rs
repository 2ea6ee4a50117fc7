//! What end-to-end, fault and interoperability tests run on: real servers and the workspace's own binaries.
//!
//! Everything here fails by panicking with the reason and the last lines of the log that explains it; a test
//! has nothing better to do with an error. No process that the harness starts outlives the test process,
//! however that ends.

pub mod attacker;
pub mod audit_log;
pub mod backup;
pub mod console_consumer;
pub mod hub_process;
pub mod hub_stage;
pub mod java;
pub mod kafka;
pub mod logged_client;
pub mod process;
pub mod redis_server;
pub mod scan;
pub mod stack;
pub mod system;

mod log_file;
mod ports;

use cardquery::local::owned_process;
