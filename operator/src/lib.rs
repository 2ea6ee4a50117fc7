//! What the operator's command is made of.
//!
//! | to find | look in |
//! |---|---|
//! | one query through the whole system, in one process | [`demo`] |
//! | the whole system on real servers, one process per service and bank | [`local`] |
//! | the made-up banks, their keys and their registry entries | [`sample`] |

pub mod demo;
pub mod local;
pub mod sample;
