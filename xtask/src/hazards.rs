//! `cargo xtask hazards`: every command of `docs/hazards.md` still shows what the page says.
//!
//! An entry is a heading of the second level with one fenced `console` block: a line `$ command`,
//! and lines of its output. The command must end within a minute and succeed, and its output must
//! have the recorded lines, in their order; other lines may stand between them, and `…` stands for
//! any text. What a command must build first is built before its minute begins.

#[cfg(test)]
mod tests;

use crate::{Outcome, interop, process, recorded, world};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const COMMAND_WITHIN: Duration = Duration::from_secs(60);
const ALL_WITHIN: Duration = Duration::from_secs(600);

/// One entry of the page.
#[derive(Debug, PartialEq, Eq)]
struct Hazard {
    line: usize,
    title: String,
    command: String,
    recorded: Vec<String>,
}

/// Runs all commands, or those of the entries whose title holds the argument.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let filter = match arguments {
        [] => "",
        [filter] => filter,
        [_, other, ..] => return Err(format!("takes one piece of a title, got also {other:?}")),
    };
    let page = world::root().join("docs/hazards.md");
    let mut hazards = parse(&world::read(&page)?)?;
    hazards.retain(|hazard| hazard.title.contains(filter));
    if hazards.is_empty() {
        return Err(format!(
            "docs/hazards.md has no entry with {filter:?} in its title"
        ));
    }
    let synod = interop::build_synod()?;
    for hazard in &hazards {
        hazard.build()?;
    }
    let begun = world::now();
    let mut failed = 0;
    for hazard in &hazards {
        let hazard_begun = world::now();
        let outcome = hazard.show(&synod);
        let seconds = hazard_begun.elapsed().as_secs_f64();
        let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("{verdict:<8}{seconds:>5.1} s  {}", hazard.title);
        if let Err(failure) = outcome {
            println!("docs/hazards.md:{}: {failure}", hazard.line);
            failed += 1;
        }
    }
    let took = begun.elapsed();
    println!(
        "{} passed, {failed} failed in {} s",
        hazards.len() - failed,
        took.as_secs()
    );
    if took > ALL_WITHIN {
        return Err(format!("all together may take {ALL_WITHIN:?}"));
    }
    if failed > 0 {
        Err(format!("{failed} of {} failed", hazards.len()))
    } else {
        Ok(())
    }
}

/// Reads the page; an entry without exactly one command is an error, so that none goes untried.
fn parse(page: &str) -> Outcome<Vec<Hazard>> {
    let mut hazards: Vec<Hazard> = Vec::new();
    let mut is_console = false;
    for (index, line) in page.lines().enumerate() {
        let place = format!("docs/hazards.md:{}", index + 1);
        if line.starts_with("```") {
            is_console = line == "```console";
        } else if let Some(title) = line.strip_prefix("## ") {
            hazards.push(Hazard {
                line: index + 1,
                title: title.to_owned(),
                command: String::new(),
                recorded: Vec::new(),
            });
        } else if is_console {
            let hazard = hazards
                .last_mut()
                .ok_or_else(|| format!("{place}: no title above"))?;
            match line.strip_prefix("$ ") {
                Some(command) if hazard.command.is_empty() => {
                    command.clone_into(&mut hazard.command)
                }
                Some(_) => return Err(format!("{place}: a second command under one title")),
                None if hazard.command.is_empty() => {
                    return Err(format!("{place}: output before a command"));
                }
                None if !line.trim().is_empty() => hazard.recorded.push(line.trim_end().to_owned()),
                None => {}
            }
        }
    }
    for Hazard {
        line,
        title,
        command,
        recorded,
    } in &hazards
    {
        if command.is_empty() || recorded.is_empty() {
            return Err(format!("docs/hazards.md:{line}: {title:?} shows nothing"));
        }
    }
    Ok(hazards)
}

impl Hazard {
    /// Builds what the command would build, if it is a test.
    fn build(&self) -> Outcome {
        let Some(arguments) = self.command.strip_prefix("cargo test ") else {
            return Ok(());
        };
        let before_filter = arguments.split(" -- ").next().unwrap_or(arguments);
        let mut build = world::cargo();
        build
            .arg("test")
            .args(before_filter.split_whitespace())
            .args(["--no-run", "--quiet"]);
        world::run(&mut build)
    }

    /// Runs the command and compares.
    fn show(&self, synod: &Path) -> Outcome {
        let folder = synod.parent().expect("a program lies in a folder");
        let path = world::variable("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell.args(["-c", &self.command]).current_dir(world::root());
        shell.env("PATH", format!("{}:{path}", folder.display()));
        let printed = process::run_within(&mut shell, "", COMMAND_WITHIN)?;
        let output = format!("{}{}", printed.stdout, printed.stderr);
        if !printed.status.success() {
            return Err(format!("ended with {}:\n{output}", printed.status));
        }
        match recorded::missing(&self.recorded, &output) {
            Some(line) => Err(format!("did not print {line:?} where it should:\n{output}")),
            None => Ok(()),
        }
    }
}
