//! What becomes of a failing run: it is told, made small, written and drawn.

use super::runs;
use super::stop::Stop;
use crate::exit::{Exit, Failure};
use crate::outside;
use std::path::{Path, PathBuf};
use std::time::Duration;
use synod_sim::minimise::{Effort, Minimised, Progress, Size, minimise};
use synod_sim::picture::{Bounds, Gatherer, html};
use synod_sim::{Report, Scenario, Verdict, file};

/// How often the search for a smaller scenario tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// How small a failure is made, and where it goes.
#[derive(Clone, Debug)]
pub(super) struct Shrinking {
    pub(super) out: PathBuf,
    pub(super) within: Duration,
}

/// What was built: the commit if the build was told, else the version.
pub(super) fn build() -> String {
    match option_env!("SYNOD_COMMIT") {
        Some(commit) => format!("commit {commit}"),
        None => format!("version {}", env!("CARGO_PKG_VERSION")),
    }
}

/// How the process ends for a run.
pub(super) fn verdict(scenario: &Scenario, report: &Report) -> Result<(), Failure> {
    let (name, members) = (&scenario.name, scenario.members);
    match &report.verdict {
        Verdict::Passed => Ok(()),
        Verdict::Violation { property, witness } => Err(Failure::new(
            Exit::Violation,
            format!(
                "{name} ({members} members, {}): {property} does not hold\n{witness}",
                build()
            ),
        )),
        Verdict::Unknown { why } => Err(Failure::new(
            Exit::Undecided,
            format!("{name} ({members} members): cannot be decided: {why}"),
        )),
    }
}

/// Tells a failure, makes it small, and writes scenario and picture.
pub(super) fn handle(
    scenario: &Scenario,
    report: &Report,
    shrinking: &Shrinking,
    stop: &Stop,
) -> Result<(), Failure> {
    let told = verdict(scenario, report);
    let Verdict::Violation { property, .. } = &report.verdict else {
        return told;
    };
    let small = shrunk(scenario, property, shrinking.within, stop);
    let stem = format!("{}-members-{}", stem(&scenario.name), scenario.members);
    let path = shrinking.out.join(format!("{stem}.yaml"));
    let drawn = shrinking.out.join(format!("{stem}.html"));
    let again = runs::timed(&small, true);
    let text = format!(
        "{}{}",
        heading(scenario, &again.report),
        file::write(&small)
    );
    outside::create_dir(&shrinking.out)
        .and_then(|()| outside::replace_file(&path, &text))
        .map_err(|error| Failure::other(format!("cannot write {}: {error}", path.display())))?;
    if let Some(gatherer) = &again.gatherer {
        draw(&drawn, &small, gatherer, &again.report, &path)?;
    }
    outside::note(format_args!("left: {}", Size::of(&small)));
    outside::note(format_args!(
        "replay with: synod sim replay {}",
        path.display()
    ));
    outside::note(format_args!("picture: {}", drawn.display()));
    told
}

/// A file's name for a scenario: its letters and digits.
fn stem(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).take(8).collect();
    if words.is_empty() {
        return "scenario".to_owned();
    }
    words.join("-").to_lowercase()
}

/// The comment at the top of a scenario file.
fn heading(original: &Scenario, report: &Report) -> String {
    let mut lines = vec![format!(
        "Found by {} ({} members, {}); made small.",
        original.name,
        original.members,
        build()
    )];
    if let Verdict::Violation { property, witness } = &report.verdict {
        lines.push(format!("Does not hold: {property}"));
        lines.extend(witness.lines().map(str::to_owned));
    }
    let lines = lines.into_iter().map(|line| format!("# {line}\n"));
    lines.collect::<String>() + "\n"
}

/// The smallest scenario that is found within the time; the given one if none is.
fn shrunk(scenario: &Scenario, property: &str, within: Duration, stop: &Stop) -> Scenario {
    if within.is_zero() {
        return scenario.clone();
    }
    outside::note(format_args!(
        "making it small, for {} s at most (Ctrl-C ends with the smallest so far); now: {}",
        within.as_secs(),
        Size::of(scenario)
    ));
    let begun = outside::now();
    let mut told = begun;
    let mut go_on = |progress: &Progress| {
        if told.elapsed() >= TELL_EVERY {
            told = outside::now();
            let Progress { step, runs, size } = progress;
            outside::note(format_args!("  {runs} runs, {step}: {size}"));
        }
        begun.elapsed() < within && !stop.asked()
    };
    let mut run = |scenario: &Scenario| match synod_sim::run(scenario).verdict {
        Verdict::Violation { property, .. } => Some(property),
        Verdict::Passed | Verdict::Unknown { .. } => None,
    };
    match minimise(scenario, property, Effort::default(), &mut run, &mut go_on) {
        Ok(Minimised { scenario, .. }) => scenario,
        Err(other) => {
            let instead = other.unwrap_or_else(|| "nothing".to_owned());
            outside::note(format_args!(
                "a second run violated {instead} instead: determinism is broken"
            ));
            scenario.clone()
        }
    }
}

/// Draws a run.
pub(super) fn draw(
    path: &Path,
    scenario: &Scenario,
    gatherer: &Gatherer,
    report: &Report,
    file: &Path,
) -> Result<(), Failure> {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let facts = vec![
        fact("schedule", scenario.seed.to_string()),
        fact("members", scenario.members.to_string()),
        fact("build", build()),
        fact("fingerprint", report.fingerprint.to_string()),
        fact("replay", format!("synod sim replay {}", file.display())),
    ];
    let story = gatherer.story(report, facts).within(Bounds::default());
    outside::replace_file(path, &html(&story))
        .map_err(|error| Failure::other(format!("cannot write {}: {error}", path.display())))
}
