//! The whole system on a running stack.

pub mod databases;
pub mod secret_file;
pub mod stack;
