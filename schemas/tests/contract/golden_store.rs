//! Golden files: hex text in `schemas/golden`, made once and kept. `BLESS_GOLDEN=1` writes what is missing or differs,
//! except sealed parts, which are random: those are only made when their file is gone.

use std::collections::BTreeSet;
use std::path::PathBuf;

const COLUMNS: usize = 96;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/golden"))
}

pub(crate) fn blessing() -> bool {
    std::env::var_os("BLESS_GOLDEN").is_some()
}

/// The bytes of a golden file, if it is there.
pub(crate) fn find(name: &str) -> Option<Vec<u8>> {
    let text = std::fs::read_to_string(folder().join(format!("{name}.hex"))).ok()?;
    let digits: String = text.split_whitespace().collect();
    Some(hex::decode(digits).expect("a golden file is hex"))
}

/// The bytes of a golden file.
pub(crate) fn read(name: &str) -> Vec<u8> {
    find(name).unwrap_or_else(|| panic!("golden/{name}.hex is missing"))
}

pub(crate) fn write(name: &str, bytes: &[u8]) {
    assert!(blessing(), "golden files change only on purpose");
    let digits = hex::encode(bytes);
    let mut text = String::new();
    for line in digits.as_bytes().chunks(COLUMNS) {
        text.push_str(std::str::from_utf8(line).expect("hex is ASCII"));
        text.push('\n');
    }
    std::fs::write(folder().join(format!("{name}.hex")), text).expect("the folder can be written");
}

/// A golden that cannot be made again: from its file, or made now if it is gone and blessed.
pub(crate) fn once(name: &str, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    if let (None, true) = (find(name), blessing()) {
        write(name, &make());
    }
    read(name)
}

/// Names of the golden files that are there.
pub(crate) fn names() -> BTreeSet<String> {
    std::fs::read_dir(folder())
        .expect("the folder can be read")
        .filter_map(|entry| {
            let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
            name.strip_suffix(".hex").map(ToOwned::to_owned)
        })
        .collect()
}

pub(crate) fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap_or_default()
}

pub(crate) fn write_text(name: &str, text: &str) {
    assert!(blessing(), "golden files change only on purpose");
    std::fs::write(folder().join(name), text).expect("the folder can be written");
}
