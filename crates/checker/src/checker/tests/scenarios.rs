//! Runs `testdata/*.txt`: prose, histories, recorded verdicts. `UPDATE=1` rewrites the verdicts.
//!
//! A block is lines that begin with `> `, then `---`, then the verdict. A block of events is a
//! history. A block of other commands changes the history before it, whose lines are counted from
//! 1 on as they stood there; what comes out is put in the order of time:
//!
//! ```text
//! drop N              without that event
//! repeat N            with that event twice
//! swap N M            the two events happen in the other order
//! change N OLD => NEW with other words in it
//! after N EVENT       with one more
//! set NAME=VALUE      with other settings: lease-ends-within=MS sessions=no states=N
//! ```

use super::{Settings, judge};
use crate::text::{parse, parse_line};
use std::fmt::Write as _;
use std::path::Path;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test reads and rewrites its own files"
)]
fn histories_get_the_verdicts_that_were_recorded() {
    let update = std::env::var_os("UPDATE").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let files = folder.read_dir().expect("testdata is there");
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no history is in testdata");
    for file in files {
        let recorded = std::fs::read_to_string(&file).unwrap();
        let printed = run(&recorded, &file.display().to_string());
        if update {
            std::fs::write(&file, &printed).unwrap();
        } else {
            assert_eq!(
                recorded,
                printed,
                "{} has other verdicts; UPDATE=1 records them",
                file.display()
            );
        }
    }
}

fn run(text: &str, file: &str) -> String {
    let mut printed = String::new();
    let mut base: Vec<String> = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        writeln!(printed, "{line}").unwrap();
        let Some(first) = line.strip_prefix("> ") else {
            continue;
        };
        let mut block = vec![first];
        while let Some((_, line)) = lines.next_if(|(_, line)| line.starts_with("> ")) {
            writeln!(printed, "{line}").unwrap();
            block.push(&line[2..]);
        }
        // What was recorded goes, and what is true takes its place.
        while lines.next_if(|(_, line)| !line.is_empty()).is_some() {}
        let mut settings = Settings::default();
        let mutated = if first.starts_with(|c: char| c.is_ascii_digit()) {
            base = block.iter().map(|line| (*line).to_owned()).collect();
            base.clone()
        } else {
            let place = format!("{file}:{}", number + 1);
            mutate(&base, &block, &mut settings, &place)
        };
        let history = parse(&mutated.join("\n"))
            .unwrap_or_else(|malformed| panic!("{file}: block at {}: {malformed}", number + 1));
        writeln!(printed, "---\n{}", judge(settings, &history)).unwrap();
    }
    printed
}

fn mutate(base: &[String], block: &[&str], settings: &mut Settings, place: &str) -> Vec<String> {
    let mut lines: Vec<Vec<String>> = base.iter().map(|line| vec![line.clone()]).collect();
    for command in block {
        let (verb, rest) = command.split_once(' ').expect("a command has an argument");
        let mut words = rest.splitn(2, ' ');
        let mut number = || -> usize {
            let word = words.next().expect("a command names a line");
            word.parse::<usize>().expect("a line is a number") - 1
        };
        match verb {
            "drop" => lines[number()].clear(),
            "repeat" => {
                let line = &mut lines[number()];
                line.push(line[0].clone());
            }
            "swap" => {
                let (one, other) = (number(), number());
                let split = |line: &str| {
                    let (time, what) = line.split_once(' ').expect("an event has a time");
                    (time.to_owned(), what.to_owned())
                };
                let (one_at, one_what) = split(&lines[one][0]);
                let (other_at, other_what) = split(&lines[other][0]);
                lines[one][0] = format!("{one_at} {other_what}");
                lines[other][0] = format!("{other_at} {one_what}");
            }
            "change" => {
                let line = number();
                let (old, new) = words
                    .next()
                    .and_then(|rest| rest.split_once(" => "))
                    .expect("a change is OLD => NEW");
                assert!(
                    lines[line][0].contains(old),
                    "{place}: no {old:?} in {:?}",
                    lines[line][0]
                );
                lines[line][0] = lines[line][0].replacen(old, new, 1);
            }
            "after" => {
                let line = number();
                lines[line].push(words.next().expect("an event follows").to_owned());
            }
            "set" => {
                let (name, value) = rest.split_once('=').expect("a setting has a value");
                match name {
                    "lease-ends-within" => {
                        let ms: u64 = value.parse().expect("a number of milliseconds");
                        settings.leases.ends_within_ns = Some(ms * 1_000_000);
                    }
                    "sessions" => settings.store.sessions = value == "yes",
                    "states" => settings.linear.states_max = value.parse().expect("a number"),
                    _ => panic!("{place}: there is no setting {name:?}"),
                }
            }
            _ => panic!("{place}: there is no command {verb:?}"),
        }
    }
    let mut lines = lines.concat();
    lines.sort_by_key(|line| {
        let event = parse_line(line).unwrap_or_else(|reason| panic!("{place}: {line}: {reason}"));
        event.map(|event| event.at)
    });
    lines
}
