//! `synod sim`: whole members and clients in a hostile world, from a seed.

mod campaign;
mod failure;
mod nightly;
mod planted;
mod runs;
mod stop;

#[cfg(test)]
mod tests;

use crate::exit::{Exit, Failure};
use crate::outside;
use campaign::Seeds;
use failure::Shrinking;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use stop::Stop;
use synod_sim::Scenario;

/// Run members and clients in a simulated world with every fault
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Sim {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum What {
    /// Run seeds; the first that fails is made small, written to a file and drawn
    Run(RunArgs),
    /// Run a scenario file again
    Replay(ReplayArgs),
    /// Make a failing scenario small
    Shrink(ShrinkArgs),
    /// Run new seeds for a time, and report what they covered
    Nightly(nightly::NightlyArgs),
    /// How many seeds it takes to find each of the bugs planted on purpose
    Planted(planted::PlantedArgs),
}

/// What several commands share.
#[derive(clap::Args, Clone, Debug)]
struct OutArgs {
    /// Where scenario and picture of a failure are written
    #[arg(long, default_value = ".", value_name = "DIR")]
    out: PathBuf,
    /// How long a failure may be made smaller
    #[arg(long, default_value = "2m", value_name = "TIME", value_parser = crate::config::duration)]
    shrink_for: Duration,
}

impl OutArgs {
    fn shrinking(&self) -> Shrinking {
        Shrinking {
            out: self.out.clone(),
            within: self.shrink_for,
        }
    }
}

#[derive(clap::Args, Clone, Debug)]
struct RunArgs {
    /// The seed [default: one drawn now]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Several seeds, the last one not included
    #[arg(long, value_name = "A..B", conflicts_with = "seed")]
    seeds: Option<Seeds>,
    #[command(flatten)]
    members: MembersArgs,
    #[command(flatten)]
    jobs: JobsArgs,
    /// Go on after a failure; only the first is made small
    #[arg(long)]
    keep_going: bool,
    #[command(flatten)]
    out: OutArgs,
}

#[derive(clap::Args, Clone, Debug)]
struct MembersArgs {
    /// Members of a cluster: 1, 3, 5, or several of them, one run for each
    #[arg(
        long,
        default_value = "3",
        value_name = "COUNT,…",
        value_delimiter = ',',
        value_parser = members
    )]
    members: Vec<u32>,
}

#[derive(clap::Args, Clone, Debug)]
struct JobsArgs {
    /// Threads, one world on each [default: as many as cores]
    #[arg(long, value_name = "COUNT")]
    jobs: Option<NonZeroUsize>,
}

impl JobsArgs {
    fn count(&self) -> usize {
        self.jobs.unwrap_or_else(cores).get()
    }
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

#[derive(clap::Args, Clone, Debug)]
struct ReplayArgs {
    /// A scenario file
    file: PathBuf,
    /// Draw the run, even if it passes
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

#[derive(clap::Args, Clone, Debug)]
#[group(id = "what", required = true, multiple = false, args = ["file", "seed"])]
struct ShrinkArgs {
    /// A scenario file
    file: Option<PathBuf>,
    /// The seed of a failing run
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Members of the failing run: 1, 3 or 5
    #[arg(long, default_value = "3", value_name = "COUNT", value_parser = members)]
    members: u32,
    #[command(flatten)]
    out: OutArgs,
}

fn members(text: &str) -> Result<u32, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(5),
        other => Err(format!(
            "`{other}` members are not simulated: write 1, 3 or 5"
        )),
    }
}

impl Sim {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let stop = Stop::on_interrupt()?;
        stop::say_where_a_run_panics();
        match &self.what {
            What::Run(args) => args.run(&stop),
            What::Replay(args) => args.run(),
            What::Shrink(args) => args.run(&stop),
            What::Nightly(args) => args.run(&stop),
            What::Planted(args) => args.run(&stop),
        }
    }
}

impl RunArgs {
    fn run(&self, stop: &Stop) -> Result<(), Failure> {
        let seeds = match (self.seed, self.seeds) {
            (Some(seed), _) => Seeds::one(seed),
            (None, Some(seeds)) => seeds,
            (None, None) => Seeds::one(drawn_seed()),
        };
        campaign::run(
            &campaign::Plan {
                seeds,
                members: self.members.members.clone(),
                jobs: self.jobs.count(),
                keep_going: self.keep_going,
                shrinking: self.out.shrinking(),
            },
            stop,
        )
    }
}

/// A seed short enough to be typed.
fn drawn_seed() -> u64 {
    u64::try_from(outside::wall_ns() / 1_000_000 % 1_000_000_000).expect("nine digits fit")
}

impl ReplayArgs {
    fn run(&self) -> Result<(), Failure> {
        let scenario = read(&self.file)?;
        let run = runs::timed(&scenario, self.picture.is_some());
        outside::say(runs::line(&scenario, &run));
        if let (Some(path), Some(gatherer)) = (&self.picture, &run.gatherer) {
            failure::draw(path, &scenario, gatherer, &run.report, &self.file)?;
        }
        failure::verdict(&scenario, &run.report)
    }
}

impl ShrinkArgs {
    fn run(&self, stop: &Stop) -> Result<(), Failure> {
        let scenario = match (&self.file, self.seed) {
            (Some(file), _) => read(file)?,
            (None, Some(seed)) => Scenario::from_seed(seed, self.members),
            (None, None) => return Err(Failure::new(Exit::Usage, "give a file or --seed")),
        };
        let run = runs::timed(&scenario, false);
        outside::say(runs::line(&scenario, &run));
        if run.report.verdict.passed() {
            return Err(Failure::other("it passes: there is nothing to make small"));
        }
        failure::handle(&scenario, &run.report, &self.out.shrinking(), stop)
    }
}

/// Reads a scenario file.
fn read(path: &Path) -> Result<Scenario, Failure> {
    let text = outside::read_file(path)
        .map_err(|error| Failure::other(format!("cannot read {}: {error}", path.display())))?;
    synod_sim::file::read(&text)
        .map_err(|mistake| Failure::new(Exit::Usage, format!("{}:{mistake}", path.display())))
}
