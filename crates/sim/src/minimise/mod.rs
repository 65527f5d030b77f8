//! Making a failing scenario small: delta debugging (Zeller, Hildebrandt, IEEE TSE 28, 2002).
//!
//! Parts are taken away as long as the same property is violated: faults, operations, clients,
//! members, limits. Then what is left is made shorter and rounder. Taking something away changes
//! the schedule too, so that a candidate which passes is tried again under a few other schedules
//! before it is given up. What comes out was run, and failed, as it is.

mod search;
mod simpler;

use self::search::Search;
use crate::Scenario;
use std::time::Duration;

/// How far the search may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Runs, at most.
    pub runs_max: u32,
    /// Schedules under which each candidate is tried, at least one.
    pub schedules: u32,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            runs_max: 2_000,
            schedules: 3,
        }
    }
}

/// What a scenario consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Members.
    pub members: u32,
    /// Clients that ask anything.
    pub clients: usize,
    /// Operations that are not left out.
    pub operations: usize,
    /// Faults.
    pub faults: usize,
    /// How long until everything heals.
    pub run: Duration,
}

impl Size {
    /// Of a scenario.
    #[must_use]
    pub fn of(scenario: &Scenario) -> Self {
        let operations = simpler::kept(scenario);
        let clients: std::collections::BTreeSet<u32> =
            operations.iter().map(|(_, client)| *client).collect();
        Self {
            members: scenario.members,
            clients: clients.len(),
            operations: operations.len(),
            faults: scenario.faults.len(),
            run: scenario.run,
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            members,
            clients,
            operations,
            faults,
            run,
        } = self;
        write!(
            f,
            "{members} members, {clients} clients, {operations} operations, {faults} faults, {:.1} s",
            run.as_secs_f64()
        )
    }
}

/// How far the search has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being made smaller.
    pub step: &'static str,
    /// Runs so far.
    pub runs: u32,
    /// The smallest that fails so far.
    pub size: Size,
}

/// The smallest scenario that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minimised {
    /// It fails by itself.
    pub scenario: Scenario,
    /// Runs it took.
    pub runs: u32,
    /// False if the search was stopped before nothing more could be taken away.
    pub complete: bool,
}

/// Makes a scenario smaller that violates `property`.
///
/// `run` says which property a scenario violates, if any. `go_on` is asked before each run, with
/// the progress so far, and ends the search by false: that is where a deadline belongs.
///
/// # Errors
/// If the scenario as given does not violate the property: what it violates instead.
pub fn minimise(
    scenario: &Scenario,
    property: &str,
    effort: Effort,
    run: &mut dyn FnMut(&Scenario) -> Option<String>,
    go_on: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Minimised, Option<String>> {
    let violated = run(scenario);
    if violated.as_deref() != Some(property) {
        return Err(violated);
    }
    let mut search = Search::new(scenario.clone(), property, effort, run, go_on);
    loop {
        let before = search.best().clone();
        simpler::round(&mut search);
        if search.stopped() || *search.best() == before {
            break;
        }
    }
    Ok(search.end())
}

#[cfg(test)]
mod tests;
