//! Compiles the proto files with protox, so that no `protoc` is needed.

use std::error::Error;
use std::fs;

/// Messages whose content must not reach a log: their `Debug` is written by hand in `src/redact.rs`.
const REDACTED: [&str; 5] = [
    "cardquery.v1.Identity",
    "cardquery.v1.Contact",
    "cardquery.v1.Answer",
    "cardquery.v1.Card",
    "cardquery.v1.Dormancy",
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir("proto/cardquery/v1")? {
        files.push(entry?.path());
    }
    files.sort();
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(&files, ["proto"])?;
    prost_build::Config::new().bytes(["."]).skip_debug(REDACTED).compile_fds(descriptors)?;
    Ok(())
}
