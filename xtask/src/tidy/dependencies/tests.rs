//! The map holds, and what breaks it is named.

use super::*;

fn resolved(name: &'static str, tree: &str) -> Resolved {
    let packages = parse(tree);
    let packages = packages
        .into_iter()
        .flat_map(|(name, versions)| {
            versions
                .into_iter()
                .map(move |version| (name.clone(), version))
        })
        .collect();
    Resolved { name, packages }
}

#[test]
fn a_core_crate_reaches_no_runtime() {
    let tree = "synod-env v0.1.0 (crates/env)\nbytes v1.12.1\ntokio v1.54.1 (*)";
    assert_eq!(
        resolved("state", tree).findings(&["env"]),
        ["crates/state must not reach tokio v1.54.1"]
    );
}

#[test]
fn raft_alone_may_reach_the_engine() {
    let tree = "openraft v0.10.0-alpha.37\nsynod-env v0.1.0\nsynod-state v0.1.0";
    assert_eq!(
        resolved("raft", tree).findings(&["env", "log", "storage"]),
        ["crates/raft must not reach synod-state v0.1.0"]
    );
}

#[test]
fn only_the_old_getrandom_is_refused() {
    let tree = "getrandom v0.2.16\ngetrandom v0.3.4";
    assert_eq!(
        resolved("node", tree).findings(&[]),
        ["crates/node must not reach getrandom v0.2.16"]
    );
}

#[test]
fn a_crate_in_the_root_manifest_is_used_and_explained() {
    let root = "[workspace]\n\n[workspace.dependencies]\nsynod-env = { path = \"x\" }\nbytes = \"1\"\n\
                tokio = { version = \"1\" }\ntower = \"1\"\n\n[profile.dev]\nopt-level = 1\n";
    let members = [
        "[dependencies]\nbytes.workspace = true\n",
        "tokio = { workspace = true }\n",
    ];
    let findings = unexplained(root, &members, "| `bytes` | why |");
    assert_eq!(
        findings,
        [
            "docs/decisions/0003-dependencies.md: say why tokio is there",
            "Cargo.toml: no member uses tower"
        ]
    );
}
