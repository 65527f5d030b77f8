//! Scenario files: prose, commands, and what etcd answered.
//!
//! A line that begins with `$` is a command, the `<` lines after it are its standard input, and the
//! `|` lines after those are what it must print: standard output, then standard error, then its
//! exit code if that is not zero. Everything else is prose. `UPDATE=1 cargo xtask interop --against
//! etcd` records the answers of a real etcd.
//!
//! A command is the client's, `etcdctl …` or `curl …`; and there are others for what happens beside
//! it:
//!
//! - `start NAME etcdctl …` runs a command in the background;
//! - `read NAME N` waits for N more lines of it;
//! - `stop NAME` interrupts it and takes what it still prints;
//! - `kill-member` kills the server as a power cut would, and starts it again on its data.
//!
//! A line that begins with `since:` says that the scenario is for a newer etcd than the one that is
//! fetched, against which it is not played.
//!
//! What differs from run to run is given a name before it is compared: long hexadecimal numbers
//! become `<id1>`, `<id2>` in their order of appearance (and may be used so in later commands),
//! addresses `<client>` and `<peer>`, the member's folder `<folder>`, and the values of the fields in [`UNSTEADY_FIELDS`] `<n>`. In
//! a recorded line `…` stands for any text, and stays when it fits.

mod background;
#[cfg(test)]
mod tests;

use super::Tally;
use crate::member::Member;
use crate::recorded::matches;
use crate::{Outcome, process, world};
use background::Background;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const COMMAND_WITHIN: Duration = Duration::from_secs(20);

/// Fields of the client's JSON and field output whose values belong to one run or one server.
const UNSTEADY_FIELDS: [&str; 7] = [
    "dbSize",
    "dbSizeInUse",
    "raftAppliedIndex",
    "raftIndex",
    "raftTerm",
    "raft_term",
    "version",
];

/// Shorter runs of hexadecimal digits are words and counts.
const ID_DIGITS_MIN: usize = 12;

/// The client that the commands of a scenario are for.
pub(super) struct Client {
    /// The first word of its commands.
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    /// Flags that each command begins with.
    pub(super) flags: &'static [&'static str],
}

/// A scenario file, in the order of its lines.
struct Scenario {
    parts: Vec<Part>,
}

enum Part {
    Prose(String),
    Step(Step),
}

/// One command with what it is given and what it must print.
struct Step {
    line: usize,
    command: String,
    input: Vec<String>,
    recorded: Vec<String>,
}

/// Runs one scenario against a member of its own.
///
/// # Errors
/// When the scenario cannot be run at all; a wrong answer is counted in `tally`.
pub(super) fn run(
    path: &Path,
    client: &Client,
    member: Member,
    update: bool,
    tally: &mut Tally,
) -> Outcome {
    let mut scenario = Scenario::parse(&world::read(path)?);
    let mut stage = Stage::new(client, member);
    for part in &mut scenario.parts {
        let Part::Step(step) = part else { continue };
        let printed = match stage.play(step) {
            Ok(printed) => printed,
            Err(failure) => vec![format!("[{failure}]")],
        };
        if update {
            step.record(printed);
        } else if let Some(difference) = step.difference(&printed) {
            let file = path.file_name().unwrap_or(path.as_os_str()).display();
            tally.fail(&format!("{file}:{}", step.line), &difference);
        } else {
            tally.passed += 1;
        }
    }
    stage.member.stop()?;
    if update {
        world::write(path, &scenario.text())
    } else {
        Ok(())
    }
}

impl Scenario {
    fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let mark = line.chars().next().unwrap_or(' ');
            let rest = line
                .get(1..)
                .unwrap_or("")
                .strip_prefix(' ')
                .unwrap_or("")
                .to_owned();
            match (mark, parts.last_mut()) {
                ('$', _) => parts.push(Part::Step(Step {
                    line: index + 1,
                    command: rest,
                    input: Vec::new(),
                    recorded: Vec::new(),
                })),
                ('<', Some(Part::Step(step))) => step.input.push(rest),
                ('|', Some(Part::Step(step))) => step.recorded.push(rest),
                (_, _) => parts.push(Part::Prose(line.to_owned())),
            }
        }
        Self { parts }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut push = |mark: &str, rest: &str| {
            text.push_str(format!("{mark} {rest}").trim());
            text.push('\n');
        };
        for part in &self.parts {
            match part {
                Part::Prose(line) => push("", line),
                Part::Step(Step {
                    line: _,
                    command,
                    input,
                    recorded,
                }) => {
                    push("$", command);
                    input.iter().for_each(|line| push("<", line));
                    recorded.iter().for_each(|line| push("|", line));
                }
            }
        }
        text
    }
}

impl Step {
    /// What is wrong with `printed`, as a person would want to read it; `None` when nothing is.
    fn difference(&self, printed: &[String]) -> Option<String> {
        let is_same = self.recorded.len() == printed.len()
            && self
                .recorded
                .iter()
                .zip(printed)
                .all(|(pattern, line)| matches(pattern, line));
        (!is_same).then(|| {
            let recorded = self.recorded.join("\n    ");
            let printed = printed.join("\n    ");
            format!(
                "$ {}\n  expected\n    {recorded}\n  got\n    {printed}",
                self.command
            )
        })
    }

    fn record(&mut self, printed: Vec<String>) {
        let keep = |(index, line): (usize, String)| match self.recorded.get(index) {
            Some(pattern) if matches(pattern, &line) => pattern.clone(),
            Some(_) | None => line,
        };
        self.recorded = printed.into_iter().enumerate().map(keep).collect();
    }
}

/// Where a scenario is played: a member, the client, what runs in the background, and the names
/// given so far.
struct Stage<'a> {
    client: &'a Client,
    member: Member,
    background: BTreeMap<String, Background>,
    names: Names,
}

impl<'a> Stage<'a> {
    fn new(client: &'a Client, member: Member) -> Self {
        let names = Names::new(&member);
        Self {
            client,
            member,
            background: BTreeMap::new(),
            names,
        }
    }

    /// Carries out one step and returns the lines it printed, with names in place of what varies.
    fn play(&mut self, step: &Step) -> Outcome<Vec<String>> {
        let words = words(&self.names.insert_into(&step.command));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let lines = match words.as_slice() {
            [client, arguments @ ..] if *client == self.client.name => {
                self.run_to_end(arguments, &step.input)?
            }
            ["start", name, client, arguments @ ..] if *client == self.client.name => {
                let background = Background::start(&mut self.control(arguments))?;
                self.background.insert((*name).to_owned(), background);
                Vec::new()
            }
            ["read", name, count] => {
                let count = count
                    .parse()
                    .map_err(|_| format!("read how many lines: {count:?}"))?;
                let background = self.background.get_mut(*name);
                background
                    .ok_or_else(|| format!("nothing runs as {name:?}"))?
                    .read(count)?
            }
            ["stop", name] => {
                let background = self.background.remove(*name);
                background
                    .ok_or_else(|| format!("nothing runs as {name:?}"))?
                    .stop()?
            }
            ["kill-member"] => {
                self.member.kill_and_restart()?;
                Vec::new()
            }
            other => return Err(format!("no such command: {other:?}")),
        };
        Ok(lines
            .iter()
            .map(|line| self.names.replace_in(line))
            .collect())
    }

    fn control(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.client.program);
        command
            .args(self.client.flags)
            .args(arguments)
            .env("ETCDCTL_ENDPOINTS", self.member.endpoint());
        command
    }

    fn run_to_end(&self, arguments: &[&str], input: &[String]) -> Outcome<Vec<String>> {
        let input: String = input.iter().map(|line| format!("{line}\n")).collect();
        let printed = process::run_within(&mut self.control(arguments), &input, COMMAND_WITHIN)?;
        let mut lines: Vec<String> = printed.stdout.lines().map(str::to_owned).collect();
        lines.extend(
            printed
                .stderr
                .lines()
                .filter(|line| !is_log(line))
                .map(str::to_owned),
        );
        if !printed.status.success() {
            lines.push(format!("[{}]", printed.status));
        }
        Ok(lines)
    }
}

/// The client's own log on standard error holds times and addresses of its memory; its complaints
/// follow as plain text.
fn is_log(line: &str) -> bool {
    line.starts_with("{\"level\":")
}

/// Names for what differs from run to run.
struct Names {
    client: String,
    peer: String,
    /// Where the member keeps its data and its log, and a scenario its files.
    folder: String,
    /// Numbers in the order of their appearance: the first is `<id1>`.
    ids: Vec<String>,
}

impl Names {
    fn new(member: &Member) -> Self {
        Self {
            client: member.endpoint(),
            peer: member.peer_endpoint(),
            folder: member.folder().display().to_string(),
            ids: Vec::new(),
        }
    }

    fn insert_into(&self, command: &str) -> String {
        let text = command.replace("<client>", &self.client);
        let mut text = text.replace("<folder>", &self.folder);
        for (index, id) in self.ids.iter().enumerate() {
            text = text.replace(&format!("<id{}>", index + 1), id);
        }
        text
    }

    fn replace_in(&mut self, line: &str) -> String {
        let line = line
            .replace(&self.client, "<client>")
            .replace(&self.folder, "<folder>")
            .replace(&self.peer, "<peer>");
        let mut line = replace_unsteady(&line);
        for id in ids(&line) {
            let known = self.ids.iter().position(|known| *known == id);
            let index = known.unwrap_or_else(|| {
                self.ids.push(id.clone());
                self.ids.len() - 1
            });
            line = line.replace(&id, &format!("<id{}>", index + 1));
        }
        line
    }
}

/// Runs of hexadecimal digits that stand alone and are long enough to be drawn by chance.
fn ids(line: &str) -> Vec<String> {
    line.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() >= ID_DIGITS_MIN)
        .filter(|word| word.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')))
        .map(str::to_owned)
        .collect()
}

/// Puts `<n>` for the values of unsteady fields, as `"field":1,` in JSON and `"Field" : 1` in field
/// output.
fn replace_unsteady(line: &str) -> String {
    let mut pieces = line.split_inclusive(':');
    let mut text = pieces.next().unwrap_or("").to_owned();
    for piece in pieces {
        let field = text
            .trim_end_matches([':', ' ', '"'])
            .rsplit('"')
            .next()
            .unwrap_or("");
        let is_unsteady = UNSTEADY_FIELDS
            .iter()
            .any(|name| name.eq_ignore_ascii_case(field));
        let value = piece.trim_start();
        let end = value.find([',', '}']).unwrap_or(value.len());
        // A key's version is its own affair; a server's has points in it.
        let is_key_version = field.eq_ignore_ascii_case("version") && !value[..end].contains('.');
        if is_unsteady && end > 0 && !is_key_version {
            text.push_str(&piece[..piece.len() - value.len()]);
            text.push_str("<n>");
            text.push_str(&value[end..]);
        } else {
            text.push_str(piece);
        }
    }
    text
}

/// Splits a command at spaces, except inside single or double quotes.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in command.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (_, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
