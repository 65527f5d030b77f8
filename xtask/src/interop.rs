//! `cargo xtask interop`: clients that others wrote, against a member.
//!
//! With `--against etcd` the same checks run against a real etcd: what passes there and fails here
//! is Synod's fault, what fails there is a fault of the check.

mod import;
mod scenario;

use crate::member::{Kind, Member};
use crate::provision::{self, Trouble};
use crate::{Outcome, process, world};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// All checks of one client together.
const CLIENT_WITHIN: Duration = Duration::from_secs(180);

/// What the checks of one client came to.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    fn fail(&mut self, check: &str, why: &str) {
        self.failed += 1;
        println!("FAILED {check}\n  {why}");
    }
}

/// What the command line asks for.
struct Request {
    against: Kind,
    /// The program to run as the member, if not one built or fetched here.
    program: Option<PathBuf>,
    /// Only this client.
    only: Option<String>,
    /// Record what etcd answers instead of judging it.
    update: bool,
}

/// A client: its name, and what runs its checks against members started by the `Servers`.
type Client = (
    &'static str,
    fn(&Servers, &mut Tally) -> Result<(), Trouble>,
);

const CLIENTS: [Client; 6] = [
    ("etcdctl", run_etcdctl),
    ("curl", run_curl),
    ("node etcd3", run_node),
    ("rust etcd-client", run_rust),
    ("python etcd3", run_python),
    ("synod import", import::run),
];

/// Starts members, each in a fresh folder.
struct Servers {
    kind: Kind,
    program: PathBuf,
    folder: PathBuf,
    update: bool,
}

impl Servers {
    fn start(&self, name: &str) -> Result<Member, Trouble> {
        let folder = self.folder.join(name);
        world::remove_dir(&folder).map_err(Trouble::Broken)?;
        Member::start(self.kind, &self.program, &folder).map_err(Trouble::Broken)
    }
}

/// Runs the clients one after the other and prints a table of what they found.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let request = Request::parse(arguments)?;
    let program = match (&request.program, request.against) {
        (Some(program), Kind::Etcd | Kind::Synod) => program.clone(),
        (None, Kind::Etcd) => provision::etcd().map_err(Trouble::why)?.server,
        (None, Kind::Synod) => build_synod()?,
    };
    let folder = provision::folder().join("members");
    let servers = Servers {
        kind: request.against,
        program,
        folder,
        update: request.update,
    };

    let mut rows = Vec::new();
    let mut total = Tally::default();
    for (name, check) in CLIENTS {
        if request
            .only
            .as_deref()
            .is_some_and(|only| !name.contains(only))
        {
            continue;
        }
        let begun = world::now();
        let mut tally = Tally::default();
        let note = match check(&servers, &mut tally) {
            Ok(()) => String::new(),
            Err(Trouble::Missing(why)) if !world::is_ci() => format!("skipped: {why}"),
            Err(Trouble::Missing(why) | Trouble::Broken(why)) => {
                tally.fail(name, &why);
                String::new()
            }
        };
        let Tally { passed, failed } = tally;
        let seconds = begun.elapsed().as_secs();
        rows.push(format!(
            "{name:<18}{passed:>8}{failed:>8}{seconds:>6} s  {note}"
        ));
        total.passed += passed;
        total.failed += failed;
    }
    world::remove_dir(&servers.folder)?;

    println!(
        "\n{:<18}{:>8}{:>8}{:>8}",
        "client", "passed", "failed", "time"
    );
    rows.iter().for_each(|row| println!("{}", row.trim_end()));
    println!("{} passed, {} failed", total.passed, total.failed);
    match total {
        Tally {
            failed: 0,
            passed: 1..,
        } => Ok(()),
        Tally {
            failed: 0,
            passed: 0,
        } if request.update => Ok(()),
        Tally {
            failed: 0,
            passed: 0,
        } => Err("no check ran".into()),
        Tally { failed, .. } => Err(format!("{failed} checks failed")),
    }
}

impl Request {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let update = world::variable("UPDATE").is_some_and(|value| value == "1");
        let mut request = Self {
            against: Kind::Synod,
            program: None,
            only: None,
            update,
        };
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{argument} wants a value"))?;
            match (argument, value) {
                ("--against", "etcd") => request.against = Kind::Etcd,
                ("--against", "synod") => request.against = Kind::Synod,
                ("--program", path) => request.program = Some(PathBuf::from(path)),
                ("--only", client) => request.only = Some(client.to_owned()),
                (_, _) => {
                    return Err(format!(
                        "takes --against synod|etcd, --program PATH and --only CLIENT, not \
                         {argument} {value}"
                    ));
                }
            }
        }
        if request.update && request.against != Kind::Etcd {
            return Err("UPDATE=1 records what etcd answers: add --against etcd".into());
        }
        Ok(request)
    }
}

/// Builds `synod` as it ships.
pub(crate) fn build_synod() -> Outcome<PathBuf> {
    let build = [
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--bin",
        "synod",
    ];
    world::run(world::cargo().args(build))?;
    Ok(world::target_dir().join("release/synod"))
}

fn run_etcdctl(servers: &Servers, tally: &mut Tally) -> Result<(), Trouble> {
    let client = scenario::Client {
        name: "etcdctl",
        program: provision::etcd()?.control,
        flags: &[],
    };
    run_scenarios(servers, &client, tally)
}

fn run_curl(servers: &Servers, tally: &mut Tally) -> Result<(), Trouble> {
    world::output_of(Command::new("curl").arg("--version")).map_err(Trouble::Missing)?;
    let client = scenario::Client {
        name: "curl",
        program: "curl".into(),
        flags: &[
            "--silent",
            "--show-error",
            "--no-buffer",
            "--max-time",
            "60",
        ],
    };
    run_scenarios(servers, &client, tally)
}

/// Plays the scenarios in the folder of a client's name, each against a member of its own.
fn run_scenarios(
    servers: &Servers,
    client: &scenario::Client,
    tally: &mut Tally,
) -> Result<(), Trouble> {
    let folder = world::root().join("interop").join(client.name);
    for path in world::files(&folder, ".txt").map_err(Trouble::Broken)? {
        let text = world::read(&path).map_err(Trouble::Broken)?;
        // The etcd that can be fetched is too old for some.
        if servers.kind == Kind::Etcd && text.lines().any(|line| line.starts_with("since: ")) {
            continue;
        }
        let member = servers.start(client.name)?;
        scenario::run(&path, client, member, servers.update, tally).map_err(Trouble::Broken)?;
    }
    Ok(())
}

fn run_node(servers: &Servers, tally: &mut Tally) -> Result<(), Trouble> {
    let folder = provision::node_client()?;
    let checks = folder.join("checks.js");
    run_program(servers, "node", Command::new("node").arg(checks), tally)
}

fn run_rust(servers: &Servers, tally: &mut Tally) -> Result<(), Trouble> {
    let client = provision::rust_client()?;
    run_program(servers, "rust", &mut Command::new(client), tally)
}

fn run_python(servers: &Servers, tally: &mut Tally) -> Result<(), Trouble> {
    let python = provision::python()?;
    let checks = world::root().join("interop/python/checks.py");
    run_program(servers, "python", Command::new(python).arg(checks), tally)
}

/// Runs a program that is given the member's address and prints `ok NAME` or `failed NAME: why` for
/// each check, and `done N` at its end.
fn run_program(
    servers: &Servers,
    name: &str,
    program: &mut Command,
    tally: &mut Tally,
) -> Result<(), Trouble> {
    let member = servers.start(name)?;
    program.arg(member.endpoint());
    let printed = process::run_within(program, "", CLIENT_WITHIN).map_err(Trouble::Broken)?;
    let mut done = None;
    for line in printed.stdout.lines() {
        match line.split_once(' ') {
            Some(("ok", _)) => tally.passed += 1,
            Some(("failed", check)) => tally.fail(name, check),
            Some(("done", count)) => done = count.parse().ok(),
            Some((_, _)) | None => println!("{name}: {line}"),
        }
    }
    if done != Some(tally.passed + tally.failed) {
        let why = format!(
            "ended with {} before its last check:\n{}",
            printed.status, printed.stderr
        );
        return Err(Trouble::Broken(why));
    }
    member.stop().map_err(Trouble::Broken)
}
