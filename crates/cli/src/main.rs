//! The binary `synod`: a member, and everything a person does with it from a terminal.
//!
//! Each command is a module that ends in success or in a [`exit::Failure`]; here they are only
//! told apart.

mod bench;
mod client;
mod config;
mod etcd;
mod exit;
mod fill;
mod import;
mod outside;
mod progress;
#[cfg(test)]
mod reference;
mod serve;
mod sim;
mod snapshot;
mod tour;

use clap::Parser as _;
use exit::{Exit, Failure};
use std::process::ExitCode;

/// A coordination service for etcd clients. `synod serve` starts a member.
#[derive(clap::Parser, Debug)]
#[command(
    name = "synod",
    version,
    max_term_width = 80,
    disable_help_subcommand = true
)]
#[command(
    after_help = "Exit codes: 0 done, 2 usage, 3 refused, 4 unknown (may or may not have\n\
                  happened), 5 unreachable; docs/reference/exit-codes.md lists all."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Start a member and serve clients
    #[command(disable_help_flag = true)]
    Serve {
        /// See `synod serve --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        arguments: Vec<String>,
    },
    Put(client::Put),
    Get(client::Get),
    Del(client::Del),
    Watch(client::Watch),
    Txn(client::Txn),
    Lease(client::Lease),
    Compact(client::Compact),
    Status(client::Status),
    Alarm(client::Alarm),
    Limits(client::Limits),
    Snapshot(snapshot::Snapshot),
    Import(import::Import),
    Tour(tour::Tour),
    Bench(bench::Bench),
    Sim(sim::Sim),
}

fn main() -> ExitCode {
    let mut arguments = outside::arguments();
    let named_etcd = arguments.first().is_some_and(|name| etcd::is_name(name));
    let (name, done) = if named_etcd {
        ("etcd", etcd::run(&arguments.split_off(1)))
    } else {
        match Cli::try_parse() {
            Ok(cli) => ("synod", run(cli.command)),
            Err(error) => error.exit(),
        }
    };
    match done {
        Ok(()) => ExitCode::from(Exit::Done.code()),
        Err(Failure { exit, message }) => {
            outside::note(format_args!("{name}: {message}"));
            ExitCode::from(exit.code())
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve { arguments } => serve::run(config::Dialect::Synod, &arguments),
        Command::Put(put) => wait(put.run()),
        Command::Get(get) => wait(get.run()),
        Command::Del(del) => wait(del.run()),
        Command::Watch(watch) => wait(watch.run()),
        Command::Txn(txn) => wait(txn.run()),
        Command::Lease(lease) => wait(lease.run()),
        Command::Compact(compact) => wait(compact.run()),
        Command::Status(status) => wait(status.run()),
        Command::Alarm(alarm) => wait(alarm.run()),
        Command::Limits(limits) => wait(limits.run()),
        Command::Snapshot(snapshot) => wait(snapshot.run()),
        Command::Import(import) => wait(import.run()),
        Command::Tour(tour) => tour.run(),
        Command::Bench(bench) => bench.run(),
        Command::Sim(sim) => sim.run(),
    }
}

/// Runs a client command on this thread.
fn wait(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start: {error}")))?;
    runtime.block_on(command)
}
