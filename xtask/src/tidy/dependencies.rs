//! Who may depend on whom: the map of ARCHITECTURE.md, held by what `cargo` resolves.

use crate::{Outcome, world};
use std::collections::{BTreeMap, BTreeSet};

/// The crates of the left column, `raft` and `sim`, with the crates of the workspace that each may reach.
const ALLOWED: [(&str, &[&str]); 11] = [
    ("env", &[]),
    ("state", &["env"]),
    ("storage", &["env"]),
    ("log", &["env"]),
    ("protocols", &["env"]),
    ("import", &["env", "state"]),
    ("session", &["env"]),
    ("checker", &["env"]),
    ("node", &["env", "log", "protocols", "state", "storage"]),
    ("raft", &["env", "log", "protocols", "storage"]),
    (
        "sim",
        &[
            "checker",
            "env",
            "log",
            "node",
            "protocols",
            "raft",
            "session",
            "state",
            "storage",
        ],
    ),
];

/// Crates that run the real engine, and what it brings along.
const WITH_ENGINE: [&str; 2] = ["raft", "sim"];
const ENGINE: [&str; 2] = ["openraft", "rand"];

/// Runtimes and engines: code of the left column must run without any of them.
const RUNTIMES: [&str; 6] = ["hyper", "openraft", "prost", "rand", "tokio", "tonic"];

/// What `cargo` resolved for one crate, with the build and test dependencies left out.
struct Resolved {
    /// Short name, as in the folder.
    name: &'static str,
    /// Every package in its tree, itself excluded, as name and version.
    packages: BTreeSet<(String, String)>,
}

/// Every dependency that the map forbids.
///
/// # Errors
/// When `cargo tree` cannot say what a crate depends on.
pub(super) fn findings() -> Outcome<Vec<String>> {
    let mut findings = Vec::new();
    for (name, allowed) in ALLOWED {
        let resolved = Resolved {
            name,
            packages: tree(name)?,
        };
        findings.extend(resolved.findings(allowed));
    }
    Ok(findings)
}

/// The page that says of each third-party crate why it is there.
pub(super) const REASONS: &str = "docs/decisions/0003-dependencies.md";

/// Crates of the root manifest that no member uses, or that [`REASONS`] does not name.
///
/// `members` are the manifests of the members, and `reasons` is the text of the page.
pub(super) fn unexplained(root: &str, members: &[&str], reasons: &str) -> Vec<String> {
    let table = root
        .split_once("[workspace.dependencies]\n")
        .map_or("", |(_, table)| table);
    let lines = table.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split_once(" = ").map(|(name, _)| name));
    let mut findings = Vec::new();
    for name in names.filter(|name| !name.starts_with("synod-")) {
        let named = [
            format!("{name}.workspace"),
            format!("{name} = {{ workspace"),
        ];
        let is_used = members.iter().any(|manifest| {
            manifest
                .lines()
                .any(|line| named.iter().any(|named| line.starts_with(named)))
        });
        if !is_used {
            findings.push(format!("Cargo.toml: no member uses {name}"));
        } else if !reasons.contains(&format!("`{name}`")) {
            findings.push(format!("{REASONS}: say why {name} is there"));
        }
    }
    findings
}

impl Resolved {
    fn findings(&self, allowed: &[&str]) -> Vec<String> {
        let mut findings = Vec::new();
        let has_engine = WITH_ENGINE.contains(&self.name);
        for (package, version) in &self.packages {
            let is_forbidden = if let Some(short) = package.strip_prefix("synod-") {
                !allowed.contains(&short)
            } else if RUNTIMES.contains(&package.as_str()) {
                !(has_engine && ENGINE.contains(&package.as_str()))
            } else {
                // It takes entropy from the machine behind the simulator's back.
                package == "getrandom" && version.starts_with("v0.2.")
            };
            if is_forbidden {
                findings.push(format!(
                    "crates/{} must not reach {package} {version}",
                    self.name
                ));
            }
        }
        findings
    }
}

/// The packages that `synod-<name>` is built from.
fn tree(name: &str) -> Outcome<BTreeSet<(String, String)>> {
    let package = format!("synod-{name}");
    let tree = [
        "tree",
        "--locked",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--package",
        &package,
    ];
    let text = world::output_of(world::cargo().args(tree))?;
    let packages = parse(&text);
    if !packages.contains_key(&package) {
        return Err(format!(
            "cargo tree does not list {package} itself:\n{text}"
        ));
    }
    Ok(packages
        .into_iter()
        .filter(|(found, _)| *found != package)
        .flat_map(|(found, versions)| versions.into_iter().map(move |v| (found.clone(), v)))
        .collect())
}

/// Reads lines such as `tokio v1.50.0 (*)`.
fn parse(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            packages
                .entry(name.to_owned())
                .or_default()
                .insert(version.to_owned());
        }
    }
    packages
}

#[cfg(test)]
mod tests;
