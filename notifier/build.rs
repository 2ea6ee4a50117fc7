//! A migration that is added must be compiled in, too.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
