//! Tells the linker which functions to put side by side; `bench/function-order` says why and makes the list.

use std::env;

/// The toolchain brings its own linker for this target alone, LLD; others do not know the option.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    println!("cargo::rerun-if-changed=function-order.txt");
    let is = |name, value| env::var(name).is_ok_and(|found| found == value);
    if is("TARGET", TARGET) && is("PROFILE", "release") && !has_a_linker_of_its_own() {
        // A function that no longer exists is no reason for a warning. Cargo links in the workspace's root.
        let order = "--symbol-ordering-file=crates/posthaste/function-order.txt,--no-warn-symbol-ordering";
        println!("cargo::rustc-link-arg-bins=-Wl,{order}");
    }
}

/// Whether whoever builds has configured another linker.
fn has_a_linker_of_its_own() -> bool {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    env::var("RUSTC_LINKER").is_ok() || flags.contains("linker") || flags.contains("fuse-ld")
}
