//! The counts of the cases and the list of what differs, for the page that tells of them.

use crate::Outcome;
use crate::file::{Case, File};

const BEGIN: &str =
    "<!-- Counted from the cases: `UPDATE=1 cargo test -p synod-server compat` rewrites it. -->";
const END: &str = "<!-- End of what is counted. -->";

/// A file of cases by its name.
pub type Group = (String, File);

/// The page with its counted part as the cases now are.
///
/// # Errors
/// When the page has no such part.
pub fn rewrite(page: &str, groups: &[Group]) -> Outcome<String> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or("the page has no counted part")?;
    Ok(format!(
        "{before}{BEGIN}\n\n{}\n{END}{after}",
        counted(groups)
    ))
}

/// The counts and the list, in Markdown.
///
/// A case that differs is not counted as answered alike, and one whose contract is not what the
/// recorded etcd answered is counted apart.
fn counted(groups: &[Group]) -> String {
    let mut text = String::from(
        "| group | cases | answered alike, as recorded | answered alike, by the source of a newer \
         etcd | answered otherwise |\n|---|---|---|---|---|\n",
    );
    let (mut all, mut differing) = ([0; 4], Vec::new());
    for (name, file) in groups {
        let counts = counts(file);
        text.push_str(&row(name, &counts));
        all.iter_mut()
            .zip(counts)
            .for_each(|(all, count)| *all += count);
        let cases = file.cases.iter().map(|case| (name, case));
        differing.extend(cases.filter(|(_, case)| case.differs.is_some()));
    }
    text.push_str(&row("all", &all));
    text.push_str("\nAnswered otherwise:\n\n");
    for (group, Case { name, differs, .. }) in differing {
        let reason = differs.as_deref().unwrap_or_default();
        text.push_str(&format!("- {group}, *{name}*: {reason}.\n"));
    }
    text.push_str("\nBy the source of a newer etcd:\n\n");
    for (group, file) in groups {
        for Case { name, since, .. } in &file.cases {
            if let Some(source) = since {
                text.push_str(&format!("- {group}, *{name}*: {source}.\n"));
            }
        }
    }
    text
}

/// All, alike as recorded, alike by the source, otherwise.
fn counts(file: &File) -> [usize; 4] {
    let count = |is: fn(&Case) -> bool| file.cases.iter().filter(|case| is(case)).count();
    [
        file.cases.len(),
        count(|case| case.differs.is_none() && case.since.is_none()),
        count(|case| case.differs.is_none() && case.since.is_some()),
        count(|case| case.differs.is_some()),
    ]
}

fn row(name: &str, [all, recorded, newer, otherwise]: &[usize; 4]) -> String {
    format!("| {name} | {all} | {recorded} | {newer} | {otherwise} |\n")
}
