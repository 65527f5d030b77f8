//! `cargo xtask fuzz`: makes up bytes for the decoders, guided by what they reach.
//!
//! Wants a nightly compiler, a C++ compiler and `cargo install cargo-fuzz`. What is found goes to a
//! folder for each target beside the build, and with `--keep` what reaches something new becomes a
//! seed, which the tests run from then on.

use crate::{Outcome, world};
use std::path::PathBuf;
use std::process::Command;

/// What the command line asks for.
struct Request {
    /// For each target.
    seconds: u32,
    keep: bool,
    /// All, if none is named.
    targets: Vec<String>,
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let request = Request::parse(arguments)?;
    let known = targets()?;
    for name in &request.targets {
        if !known.contains(name) {
            return Err(format!(
                "there is no target {name}; there are {}",
                known.join(", ")
            ));
        }
    }
    let chosen = if request.targets.is_empty() {
        known
    } else {
        request.targets.clone()
    };
    for name in &chosen {
        println!("{name}: {} s", request.seconds);
        let limit = format!("-max_total_time={}", request.seconds);
        fuzz(
            name,
            [corpus(name), seeds(name)],
            &[&limit, "-timeout=10", "-print_final_stats=1"],
        )?;
        if request.keep {
            fuzz(
                name,
                [seeds(name), corpus(name)],
                &["-set_cover_merge=1", "-use_counters=0", "-timeout=10"],
            )?;
        }
    }
    println!("{} targets without a finding", chosen.len());
    Ok(())
}

/// Runs a target. New bytes are written into the first folder.
fn fuzz(name: &str, folders: [PathBuf; 2], options: &[&str]) -> Outcome {
    let found = scratch().join("found").join(name);
    world::create_dir(&found)?;
    for folder in &folders {
        world::create_dir(folder)?;
    }
    let mut command = Command::new("rustup");
    command
        .current_dir(world::root())
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env("CARGO_TARGET_DIR", scratch().join("target"))
        .env("SYNOD_FUZZ_TARGET", name)
        // Nothing here is unsafe, so the sanitizers would only cost time.
        .args([
            "run",
            "nightly",
            "cargo",
            "fuzz",
            "run",
            "--fuzz-dir",
            "fuzz",
            "-s",
            "none",
            "any",
        ])
        .args(folders)
        .arg("--")
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(options);
    world::run(&mut command).map_err(|why| {
        format!(
            "{name}: {why}; if it found something, that is in {}, and \
             if it did not start, it wants a nightly compiler, a C++ compiler and \
             `cargo install cargo-fuzz`",
            found.display()
        )
    })
}

impl Request {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let mut request = Self {
            seconds: 60,
            keep: false,
            targets: Vec::new(),
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--keep" => request.keep = true,
                "--seconds" => {
                    let given = arguments.next().ok_or("--seconds wants a number")?;
                    let number = given.parse();
                    request.seconds =
                        number.map_err(|error| format!("--seconds {given}: {error}"))?;
                }
                option if option.starts_with('-') => {
                    return Err(format!(
                        "takes --seconds N, --keep and names of targets, not {option}"
                    ));
                }
                name => request.targets.push(name.to_owned()),
            }
        }
        Ok(request)
    }
}

/// The names of all targets: each has a folder of seeds, which a test of theirs holds.
fn targets() -> Outcome<Vec<String>> {
    let folders = world::files(&world::root().join("crates/fuzz/seeds"), "")?;
    let names = folders.iter().filter_map(|folder| folder.file_name());
    Ok(names
        .map(|name| name.to_string_lossy().into_owned())
        .collect())
}

fn seeds(name: &str) -> PathBuf {
    world::root().join("crates/fuzz/seeds").join(name)
}

fn corpus(name: &str) -> PathBuf {
    scratch().join("corpus").join(name)
}

fn scratch() -> PathBuf {
    world::target_dir().join("fuzz")
}
