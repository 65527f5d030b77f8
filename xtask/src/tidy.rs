//! `cargo xtask tidy`: rules of the house that no lint knows.
//!
//! Each rule looks at the tracked files, or at what `cargo` says of the dependencies, and returns
//! its findings. A finding names the place and what to do there.

mod alerts;
mod dependencies;
#[cfg(test)]
mod tests;

use crate::{Outcome, codegen, world};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Larger files do not belong in a repository that everyone clones.
const TRACKED_FILE_BYTES_MAX: u64 = 1 << 20;

/// Names that say nothing about what is inside.
const FORBIDDEN_NAMES: [&str; 4] = ["utils", "helpers", "common", "misc"];

/// What must not stay in the code, written in pieces so that this file does not find itself.
const LEFTOVERS: [&str; 6] = [
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("dbg", "!("),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[ign", "ore"),
];

/// Beginnings of paths that exist on one person's machine only.
const PRIVATE_PATHS: [&str; 4] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
];

/// A tracked file: its path from the root of the checkout, its size, and its text if it is text.
struct Tracked {
    path: PathBuf,
    bytes: u64,
    text: Option<String>,
}

/// Prints every finding, and fails if there is one.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    if let [argument, ..] = arguments {
        return Err(format!("takes no argument, got {argument:?}"));
    }
    let tracked = tracked_files()?;
    let paths: BTreeSet<&Path> = tracked.iter().map(|file| file.path.as_path()).collect();
    let mut findings = dependencies::findings()?;
    findings.extend(dependencies::unexplained(
        text_of(&tracked, "Cargo.toml"),
        &member_manifests(&tracked),
        text_of(&tracked, dependencies::REASONS),
    ));
    findings.extend(alerts::without_runbook(
        text_of(&tracked, alerts::ALERTS),
        text_of(&tracked, alerts::RUNBOOKS),
    ));
    for place in [alerts::ALERTS, alerts::DASHBOARD] {
        let text = text_of(&tracked, place);
        findings.extend(alerts::unknown_metrics(place, text, &tracked));
    }
    for file in &tracked {
        findings.extend(file_findings(file, &paths));
    }
    if let Err(stale) = codegen::run(&["--check".to_owned()]) {
        findings.push(stale);
    }
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => Err("1 finding".into()),
        count => Err(format!("{count} findings")),
    }
}

fn tracked_files() -> Outcome<Vec<Tracked>> {
    let root = world::root();
    let mut git = std::process::Command::new("git");
    git.current_dir(&root).args(["ls-files", "-z"]);
    let mut tracked = Vec::new();
    for name in world::output_of(&mut git)?.split_terminator('\0') {
        let path = root.join(name);
        // A file deleted but not yet committed is still listed.
        if !path.is_file() {
            continue;
        }
        let content = world::read_bytes(&path)?;
        tracked.push(Tracked {
            path: PathBuf::from(name),
            bytes: content.len() as u64,
            text: String::from_utf8(content).ok(),
        });
    }
    Ok(tracked)
}

/// The text of one file; empty if it is not tracked.
fn text_of<'a>(tracked: &'a [Tracked], path: &str) -> &'a str {
    let file = tracked.iter().find(|file| file.path == Path::new(path));
    file.and_then(|file| file.text.as_deref()).unwrap_or("")
}

/// The manifests of the workspace's members.
fn member_manifests(tracked: &[Tracked]) -> Vec<&str> {
    let is_member = |path: &Path| {
        path.ends_with("Cargo.toml") && (path.starts_with("crates") || path.starts_with("xtask"))
    };
    let manifests = tracked.iter().filter(|file| is_member(&file.path));
    manifests.filter_map(|file| file.text.as_deref()).collect()
}

fn file_findings(file: &Tracked, tracked: &BTreeSet<&Path>) -> Vec<String> {
    let place = file.path.display();
    let mut findings = Vec::new();
    if file.bytes > TRACKED_FILE_BYTES_MAX {
        findings.push(format!(
            "{place}: {} bytes are too many to track",
            file.bytes
        ));
    }
    if let Some(name) = forbidden_name(&file.path) {
        findings.push(format!("{place}: {name:?} says nothing: name the subject"));
    }
    let Some(text) = &file.text else {
        return findings;
    };
    for (line, path) in private_paths(text) {
        findings.push(format!("{place}:{line}: {path} exists on one machine only"));
    }
    if file
        .path
        .extension()
        .is_some_and(|extension| extension == "rs")
    {
        // The subject of `tests.rs` is the module it stands beside.
        let is_subject = !file.path.ends_with("tests.rs") && !is_generated(text);
        if is_subject && !text.starts_with("//!") {
            findings.push(format!(
                "{place}: say in a first line `//! …` what the module is for"
            ));
        }
        for (line, leftover) in leftovers(text) {
            findings.push(format!("{place}:{line}: {leftover} must not stay"));
        }
    }
    if file.path.ends_with("Cargo.toml") && file.path.starts_with("crates") && !inherits_lints(text)
    {
        findings.push(format!("{place}: add `[lints]` with `workspace = true`"));
    }
    if file
        .path
        .extension()
        .is_some_and(|extension| extension == "md")
    {
        for (line, target) in broken_links(&file.path, text, tracked) {
            findings.push(format!("{place}:{line}: {target} leads nowhere"));
        }
    }
    findings
}

fn forbidden_name(path: &Path) -> Option<String> {
    path.components().find_map(|component| {
        let Component::Normal(name) = component else {
            return None;
        };
        let name = name.to_str()?;
        let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
        FORBIDDEN_NAMES.contains(&stem).then(|| stem.to_owned())
    })
}

/// Generated code says so in its first line and is judged where it comes from.
fn is_generated(text: &str) -> bool {
    text.starts_with("// Generated") || text.starts_with("// @generated")
}

fn leftovers(text: &str) -> Vec<(usize, &'static str)> {
    numbered(text)
        .flat_map(|(number, line)| {
            LEFTOVERS
                .into_iter()
                .filter(|word| line.contains(word))
                .map(move |word| (number, word))
        })
        .collect()
}

/// Paths of one machine: a private beginning that does not itself stand inside a longer path.
fn private_paths(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (number, line) in numbered(text) {
        for beginning in PRIVATE_PATHS {
            let stands_alone = line.match_indices(beginning).any(|(at, _)| {
                !line[..at].ends_with(|before: char| {
                    before.is_alphanumeric() || matches!(before, '.' | '_' | '-' | '>' | '}' | '*')
                })
            });
            if stands_alone {
                found.push((number, beginning));
            }
        }
    }
    found
}

fn inherits_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim);
    lines.any(|line| line == "[lints]")
        && lines
            .take_while(|line| !line.starts_with('['))
            .any(|line| line == "workspace = true")
}

/// Relative links of a Markdown file whose file is not tracked or whose heading does not exist in
/// this file.
fn broken_links(page: &Path, text: &str, tracked: &BTreeSet<&Path>) -> Vec<(usize, String)> {
    let folder = page.parent().unwrap_or(Path::new(""));
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    let anchors: BTreeSet<String> = headings
        .map(|(_, line)| anchor(line.trim_start_matches('#')))
        .collect();
    let mut broken = Vec::new();
    for (number, line) in prose(text) {
        for target in link_targets(line) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let leads_somewhere = if target.contains("://") || target.starts_with("mailto:") {
                true
            } else if file.is_empty() {
                anchors.contains(heading)
            } else {
                let path = resolve(folder, Path::new(file));
                tracked.iter().any(|tracked| tracked.starts_with(&path))
            };
            if !leads_somewhere {
                broken.push((number, target.to_owned()));
            }
        }
    }
    broken
}

/// The lines of a Markdown file that are not inside a fenced block.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    numbered(text).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    })
}

fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

/// The name that a rendered heading gets: lower case, hyphens for spaces, no punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading
        .trim()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| {
        if c == ' ' {
            '-'
        } else {
            c.to_ascii_lowercase()
        }
    })
    .collect()
}

/// `folder/target` with every `..` carried out.
fn resolve(folder: &Path, target: &Path) -> PathBuf {
    let mut path = folder.to_path_buf();
    for component in target.components() {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                path.push(component);
            }
        }
    }
    path
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}
