//! The cases of `testdata/compat`: what a real etcd answered, Synod must answer.
//!
//! `cargo xtask compat --record` writes the answers of etcd. `UPDATE=1 cargo test -p synod-server
//! compat` writes, in the cases that are marked with `differs:`, what Synod answers, and takes the
//! mark away from those in which nothing differs; until then a difference that has disappeared is a
//! failure.

use crate::member::{config, start_telling};
use futures_util::{StreamExt as _, stream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use synod_compat::file::{Case, File};
use synod_compat::judge;
use synod_compat::play::play;
use synod_compat::report;
use synod_compat::schema::Schema;
use synod_env::Limits;

/// Members of one group at a time: most of what a case takes is waiting.
const MEMBERS_MAX: usize = 4;

/// A test for each group of cases.
macro_rules! groups {
    ($($group:ident)*) => {
        $(
            #[tokio::test]
            async fn $group() {
                judge_group(stringify!($group)).await;
            }
        )*

        const GROUPS: &[&str] = &[$(stringify!($group),)*];
    };
}

groups! {
    auth cluster compact delete election gateway kube lease lock maintenance protocol put range stream txn watch
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/compat")
}

fn path(group: &str) -> PathBuf {
    folder().join(format!("{group}.txt"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test reads and rewrites its own files"
)]
async fn judge_group(group: &str) {
    let update = std::env::var_os("UPDATE").is_some();
    let path = path(group);
    let text = std::fs::read_to_string(&path).expect("the cases are there");
    let mut file = File::parse(&text).expect("the cases can be read");
    let schema = Schema::load().expect("proto/ compiles");
    let answers = file.cases.iter().map(|case| answers(&schema, case));
    let answers: Vec<_> = stream::iter(answers).buffered(MEMBERS_MAX).collect().await;

    let mut differences = Vec::new();
    for (case, answers) in file.cases.iter_mut().zip(answers) {
        let name = case.name.clone();
        let answers = match answers {
            Ok(answers) => answers,
            Err(why) => {
                differences.push(format!("{group}: {name}: {why}"));
                continue;
            }
        };
        if update && case.differs.is_some() {
            mark(case, answers);
        } else if let Some(difference) = difference(case, &answers) {
            differences.push(format!("{group}: {name}: {difference}"));
        }
    }
    if update {
        std::fs::write(&path, file.text()).expect("the cases can be written");
    }
    let (cases, differ) = (file.cases.len(), differences.len());
    let differences = differences.join("\n");
    assert!(differ == 0, "{differ} of {cases} cases:\n{differences}\n");
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test reads and rewrites its own files"
)]
fn every_file_is_a_group_and_is_counted() {
    let files = std::fs::read_dir(folder()).expect("the cases are there");
    let mut found: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    found.sort();
    let paths: Vec<PathBuf> = GROUPS.iter().map(|group| path(group)).collect();
    assert_eq!(found, paths);

    let group = |name: &&str| {
        let text = std::fs::read_to_string(path(name)).expect("the cases are there");
        let file = File::parse(&text).expect("the cases can be read");
        ((*name).to_owned(), file)
    };
    let groups: Vec<_> = GROUPS.iter().map(group).collect();
    let page = folder().join("../../../../docs/reference/compatibility.md");
    let written = std::fs::read_to_string(&page).expect("the page is there");
    let counted = report::rewrite(&written, &groups).expect("the page has a counted part");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&page, counted).expect("the page can be written");
    } else {
        assert!(
            written == counted,
            "compatibility.md is old: UPDATE=1 cargo test -p synod-server compat, twice if marks went"
        );
    }
}

/// What a member of its own, with an empty store, answers to a case.
async fn answers(schema: &Schema, case: &Case) -> Result<Vec<Vec<String>>, String> {
    let mut limits = Limits::default();
    let mut watch_progress_interval = Duration::from_secs(600);
    for (option, value) in &case.options {
        let number = || {
            value
                .parse::<usize>()
                .map_err(|_| format!("{value} is no number"))
        };
        match option.as_str() {
            "max_txn_ops" => limits.txn_ops_max = number()?,
            "max_request_bytes" => limits.request_bytes_max = number()?,
            "quota_backend_bytes" => limits.state_bytes_max = number()? as u64,
            "watch_progress_notify_interval" => {
                let interval = value
                    .strip_suffix("ms")
                    .and_then(|number| number.parse().ok());
                let interval = interval.ok_or_else(|| format!("{value} is no number of ms"))?;
                watch_progress_interval = Duration::from_millis(interval);
            }
            other => return Err(format!("there is no option {other}")),
        }
    }
    let member = start_telling(limits, config(), watch_progress_interval).await;
    play(schema, &member.address.to_string(), case).await
}

fn difference(case: &Case, answers: &[Vec<String>]) -> Option<String> {
    if case.differs.is_some() && case.steps().all(|step| step.synod.is_empty()) {
        return Some("is marked as different, and is not".into());
    }
    case.steps().zip(answers).find_map(|(step, answer)| {
        let difference = judge::difference(step.of_synod(), answer)?;
        let request = &step.request;
        Some(match judge::difference(&step.contract, answer) {
            None => format!("> {request}\n  no longer differs: UPDATE=1 takes the mark away"),
            Some(_) => format!("line {}: > {request}\n  {difference}", step.line),
        })
    })
}

/// Writes down what Synod answers otherwise, or that it no longer does.
fn mark(case: &mut Case, answers: Vec<Vec<String>>) {
    let mut is_other = false;
    for (step, answer) in case.steps_mut().zip(answers) {
        let differs = judge::difference(&step.contract, &answer).is_some();
        step.synod = if differs { answer } else { Vec::new() };
        is_other |= differs;
    }
    if !is_other {
        case.unmark();
    }
}
