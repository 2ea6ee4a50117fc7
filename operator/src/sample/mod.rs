//! Made-up parties for the demo and the local stack. Nothing here may ever be trusted by a real service.

pub mod core;
pub mod keys;
pub mod registry;
