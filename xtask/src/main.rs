//! Developer commands: what needs more than `cargo` itself, and nothing that ships.
#![expect(
    clippy::print_stdout,
    reason = "what these commands print is what they are for"
)]
#![expect(
    clippy::print_stderr,
    reason = "failures and progress go beside the result"
)]

mod bench_etcd;
mod ci;
mod codegen;
mod compat;
mod fuzz;
mod hazards;
mod interop;
mod member;
mod process;
mod provision;
mod recorded;
mod tidy;
mod world;

use std::process::ExitCode;

/// What a command ends in: nothing to say, or a sentence that says what failed.
type Outcome<T = ()> = Result<T, String>;

/// One developer command.
struct Command {
    name: &'static str,
    summary: &'static str,
    run: fn(&[String]) -> Outcome,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "bench-etcd",
        summary: "Synod and etcd in one run, as ratios, against what Synod must reach",
        run: bench_etcd::run,
    },
    Command {
        name: "ci",
        summary: "format, lints, documentation and tidy: what a change must pass besides the tests",
        run: ci::run,
    },
    Command {
        name: "codegen",
        summary: "the Rust code of proto/; with --check, fails if the committed code differs",
        run: codegen::run,
    },
    Command {
        name: "compat",
        summary: "plays the compatibility cases against etcd; with --record, writes its answers down",
        run: compat::run,
    },
    Command {
        name: "fuzz",
        summary: "makes up bytes for every decoder; --seconds N each, --keep what is new",
        run: fuzz::run,
    },
    Command {
        name: "hazards",
        summary: "runs every command of docs/hazards.md and compares what it prints",
        run: hazards::run,
    },
    Command {
        name: "interop",
        summary: "clients that others wrote, against a member or (--against etcd) against etcd",
        run: interop::run,
    },
    Command {
        name: "tidy",
        summary: "rules that no lint knows: dependency directions, module docs, links, names",
        run: tidy::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", usage());
        return ExitCode::from(2);
    };
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprintln!("xtask has no command {name:?}\n\n{}", usage());
        return ExitCode::from(2);
    };
    match (command.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask {name}: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let mut text = String::from("usage: cargo xtask <command> [arguments]\n\n");
    for Command {
        name,
        summary,
        run: _,
    } in COMMANDS
    {
        text.push_str(&format!("  {name:<12}{summary}\n"));
    }
    text
}
