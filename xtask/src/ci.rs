//! `cargo xtask ci`: what a change must pass besides the tests.

use crate::{Outcome, tidy, world};

/// Runs every check and reports all that failed, so that one run shows the whole list.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    if let [argument, ..] = arguments {
        return Err(format!("takes no argument, got {argument:?}"));
    }
    let steps: [(&str, fn() -> Outcome); 4] = [
        ("format", || {
            world::run(world::cargo().args(["fmt", "--all", "--check"]))
        }),
        ("lints", lints),
        ("documentation", documentation),
        ("tidy", || tidy::run(&[])),
    ];
    let mut failed = Vec::new();
    for (name, step) in steps {
        let begun = world::now();
        let outcome = step();
        let seconds = begun.elapsed().as_secs();
        match outcome {
            Ok(()) => println!("{name}: ok ({seconds} s)"),
            Err(failure) => {
                println!("{name}: FAILED ({seconds} s): {failure}");
                failed.push(name);
            }
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join(", ")))
    }
}

fn lints() -> Outcome {
    let clippy = [
        "clippy",
        "--quiet",
        "--locked",
        "--workspace",
        "--all-targets",
    ];
    world::run(
        world::cargo()
            .args(clippy)
            .args(["--", "--deny", "warnings"]),
    )
}

/// Pages are read with private items shown, so a link to one is sound.
const DOC_FLAGS: &str = "--deny warnings --allow rustdoc::private_intra_doc_links";

fn documentation() -> Outcome {
    let doc = [
        "doc",
        "--quiet",
        "--locked",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ];
    world::run(world::cargo().args(doc).env("RUSTDOCFLAGS", DOC_FLAGS))
}
