//! The README's quickstart, as it stands there.

use crate::member::{Dir, Member, synod, text_of};
use std::process::Command;

/// How the README calls the binary.
const CARGO_RUN: &str = "cargo run --release -- ";

/// The commands of all fenced shell blocks.
fn commands() -> Vec<String> {
    let readme = include_str!("../../../../README.md");
    let mut commands = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match (inside, line) {
            (false, "```sh") => inside = true,
            (true, "```") => inside = false,
            (true, command) => commands.push(command.to_owned()),
            (false, _) => {}
        }
    }
    commands
}

/// The binary under test with that command's arguments.
fn command(line: &str, dir: &Dir) -> Option<Command> {
    let arguments = line.strip_prefix(CARGO_RUN)?;
    let mut command = synod();
    command
        .args(arguments.split_ascii_whitespace())
        .current_dir(dir.path());
    Some(command)
}

#[test]
fn the_quickstart_does_what_it_says() {
    let dir = Dir::new();
    let mut member: Option<Member> = None;
    let mut printed = String::new();
    let mut run = 0;
    for line in commands() {
        let Some(mut command) = command(&line, &dir) else {
            // The only other command is the one that runs this test.
            assert_eq!(line, "cargo test --workspace");
            continue;
        };
        run += 1;
        match &member {
            None => {
                assert_eq!(line, format!("{CARGO_RUN}serve"));
                // As it stands there, but for the port: tests have no fixed ones.
                command.env("SYNOD_LISTEN_CLIENT_URLS", "http://127.0.0.1:0");
                member = Some(Member::run(command, &dir.join("ports")));
            }
            Some(member) => {
                let output = command
                    .env("SYNOD_ENDPOINTS", &member.endpoint)
                    .output()
                    .unwrap();
                assert!(output.status.success(), "{line}: {}", text_of(&output));
                printed.push_str(&String::from_utf8(output.stdout).unwrap());
            }
        }
    }
    assert!(
        run >= 4,
        "the README has a start, a put, a get and a simulated run"
    );
    let simulated = printed.strip_prefix("OK\ngreeting\nhello\n");
    let simulated = simulated.unwrap_or_else(|| panic!("{printed}"));
    assert!(
        simulated.starts_with("seed 7 · 3 members · passed · "),
        "{simulated}"
    );
    // The README says where the data lies.
    assert!(dir.path().join("default.synod").is_dir());
}
