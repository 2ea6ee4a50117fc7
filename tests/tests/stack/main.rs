//! The local stack as `deploy/stack` starts it: who gets in, who does not, and what the servers are set to.

mod certificates;
mod kafka;
mod stores;
