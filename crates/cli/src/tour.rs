//! `synod tour`: a member is started, used, killed and started again, in a directory of its own.
//!
//! Every step shows the command that a person would type, runs that very command, and shows what
//! it printed. Only the burst of writes around the kill is done from here.

use crate::client;
use crate::exit::Failure;
use crate::outside::{self, ScratchDir};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use synod_api::etcdserverpb::{PutRequest, RangeRequest};
use synod_client::Error;

/// See a member write, watch, lease, die and come back
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Tour {
    /// End after the last step instead of leaving the member serving
    #[arg(long)]
    exit: bool,
}

/// How long a member may take to serve.
const START_WITHIN: Duration = Duration::from_secs(30);

/// How long a write or the reading may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Clients of the burst.
const WRITERS: u32 = 16;

/// How long the burst lasts before the kill.
const BURST: Duration = Duration::from_millis(500);

impl Tour {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let dir = ScratchDir::under(&std::env::temp_dir(), "tour")
            .map_err(|error| Failure::other(format!("cannot make a directory: {error}")))?;
        let stage = Stage { dir: &dir };

        heading("A member needs a directory and a port.");
        let (mut member, took) = stage.start("http://127.0.0.1:0")?;
        outside::say(format_args!("  served after {} ms", took.as_millis()));
        show(
            "export",
            &["SYNOD_ENDPOINTS=".to_owned() + &member.endpoint],
        );

        heading("A write that is answered is on disk.");
        member.command(&["put", "greeting", "hello"])?;
        member.command(&["get", "greeting"])?;

        heading("A watch sees every change from a revision on, past ones and those to come.");
        let watch = member.begin(&["watch", "greeting", "--rev", "2", "--count", "2"])?;
        member.command(&["put", "greeting", "hello again"])?;
        finish(watch)?;

        heading("A key on a lease lives as long as somebody renews the lease.");
        let granted = member.command(&["lease", "grant", "60"])?;
        let lease = granted
            .split_ascii_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        member.command(&["put", "workers/1", "alive", "--lease", &lease])?;

        heading("Now many writes at once, and in the middle of them the member is killed.");
        let burst = member.burst();
        let pid = member.child.id().to_string();
        show("kill", &["-9".to_owned(), pid]);
        member.kill()?;
        let acknowledged = burst.end()?;
        let Acknowledged { done, unknown } = &acknowledged;
        outside::say(format_args!(
            "  {} writes were acknowledged; {} had no answer, their outcome is unknown",
            done.len(),
            unknown.len()
        ));

        heading("The same directory, a new process.");
        let address = member.endpoint.clone();
        let (again, took) = stage.start(&address)?;
        member = again;
        outside::say(format_args!("  served again after {} ms", took.as_millis()));
        member.command(&["get", "greeting"])?;
        member.command(&["lease", "timetolive", &lease, "--keys"])?;
        member.command(&["get", "burst/", "--prefix", "--count-only"])?;
        acknowledged.check(&member)?;

        if self.exit {
            return member.stop();
        }
        heading("The member goes on serving.");
        outside::say(format_args!(
            "  {}\n  data in {}\n  Ctrl-C stops it and removes the data.",
            member.endpoint,
            dir.path().display()
        ));
        member.wait_for_interrupt()
    }
}

fn heading(text: &str) {
    outside::say(format_args!("\n{text}\n"));
}

/// A command as a person would type it.
fn show(program: &str, arguments: &[String]) {
    let mut line = program.to_owned();
    for argument in arguments {
        let quote = if argument.contains(' ') { "'" } else { "" };
        line = format!("{line} {quote}{argument}{quote}");
    }
    outside::say(format_args!("$ {line}"));
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments
        .iter()
        .map(|&argument| argument.to_owned())
        .collect()
}

fn synod() -> Result<Command, Failure> {
    std::env::current_exe()
        .map(Command::new)
        .map_err(|error| Failure::other(format!("cannot find this program: {error}")))
}

/// Where members are started.
struct Stage<'a> {
    dir: &'a ScratchDir,
}

impl Stage<'_> {
    /// Starts a member and waits until it serves. Gives it with the time that took.
    fn start(&self, listen: &str) -> Result<(Member, Duration), Failure> {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let (ports, log) = (path("ports"), path("log"));
        let visible = owned(&[
            "serve",
            "--data-dir",
            &path("data"),
            "--listen-client-urls",
            listen,
        ]);
        outside::say(format_args!("$ synod {} &", visible.join(" ")));
        // A file of an earlier start would be taken for this one's.
        outside::remove_file(Path::new(&ports));
        let failed = |error: io::Error| Failure::other(format!("cannot start a member: {error}"));
        let stderr = outside::create_file(Path::new(&log)).map_err(failed)?;
        let begun = outside::now();
        let mut child = synod()?
            .args(&visible)
            .args(["--ports-file", &ports])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(failed)?;
        loop {
            let written = outside::read_file(&ports).unwrap_or_default();
            if let Some(endpoint) = written
                .lines()
                .find_map(|line| line.strip_prefix("client="))
            {
                let endpoint = endpoint.to_owned();
                return Ok((Member { child, endpoint }, outside::now() - begun));
            }
            let ended = child.try_wait().map_err(failed)?;
            if ended.is_some() || outside::now() - begun > START_WITHIN {
                drop(child.kill());
                let said = outside::read_file(&log).unwrap_or_default();
                return Err(Failure::other(format!("the member did not start:\n{said}")));
            }
            outside::sleep_blocking(Duration::from_millis(1));
        }
    }
}

/// A running member; killed when dropped.
struct Member {
    child: Child,
    endpoint: String,
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Member {
    /// Shows a command, runs it, shows and gives its output.
    fn command(&self, arguments: &[&str]) -> Result<String, Failure> {
        finish(self.begin(arguments)?)
    }

    /// Shows a command and begins it.
    fn begin(&self, arguments: &[&str]) -> Result<Child, Failure> {
        show("synod", &owned(arguments));
        synod()?
            .args(arguments)
            .env("SYNOD_ENDPOINTS", &self.endpoint)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::other(format!("cannot run synod: {error}")))
    }

    fn kill(&mut self) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::other(format!("cannot kill: {error}"));
        self.child.kill().map_err(failed)?;
        self.child.wait().map(drop).map_err(failed)
    }

    /// Asks it to stop and waits.
    fn stop(mut self) -> Result<(), Failure> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // If it has ended already, the wait below says how.
            kill_process(pid, Signal::TERM).ok();
        }
        self.ended()
    }

    fn ended(&mut self) -> Result<(), Failure> {
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::other(format!("the member ended with {status}"))),
            Err(error) => Err(Failure::other(format!(
                "cannot wait for the member: {error}"
            ))),
        }
    }

    /// Waits for Ctrl-C. The terminal sends it to the member as well.
    fn wait_for_interrupt(self) -> Result<(), Failure> {
        runtime()?.block_on(async {
            tokio::signal::ctrl_c()
                .await
                .map_err(|error| Failure::other(format!("cannot wait for Ctrl-C: {error}")))
        })?;
        outside::say("");
        self.stop()
    }

    /// Begins many writes, which end with the member, and lets them run for a while.
    fn burst(&self) -> Burst {
        outside::say(format_args!(
            "  ({WRITERS} clients put keys burst/CLIENT/NUMBER)"
        ));
        let endpoint = self.endpoint.clone();
        let writers = outside::spawn_thread(move || write_until_killed(&endpoint));
        outside::sleep_blocking(BURST);
        Burst { writers }
    }
}

/// Shows and gives what a command prints.
fn finish(child: Child) -> Result<String, Failure> {
    let output = child
        .wait_with_output()
        .map_err(|error| Failure::other(format!("cannot run synod: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in text.lines() {
        outside::say(format_args!("  {line}"));
    }
    if !output.status.success() {
        return Err(Failure::other(format!(
            "that command ended with {}",
            output.status
        )));
    }
    Ok(text)
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start: {error}")))
}

/// Writes that are under way.
struct Burst {
    writers: std::thread::JoinHandle<Result<Acknowledged, Failure>>,
}

impl Burst {
    /// What became of the writes.
    fn end(self) -> Result<Acknowledged, Failure> {
        self.writers
            .join()
            .map_err(|_| Failure::other("the writers panicked"))?
    }
}

/// Keys by the outcome of their writes.
#[derive(Default)]
struct Acknowledged {
    done: BTreeSet<String>,
    unknown: BTreeSet<String>,
}

impl Acknowledged {
    /// Says whether every acknowledged key is there.
    fn check(&self, member: &Member) -> Result<(), Failure> {
        let present = runtime()?.block_on(keys(&member.endpoint, "burst/"))?;
        let lost: Vec<_> = self.done.difference(&present).collect();
        if let Some(first) = lost.first() {
            return Err(Failure::other(format!(
                "{} acknowledged writes are lost, {first} among them",
                lost.len()
            )));
        }
        let happened = self.unknown.intersection(&present).count();
        outside::say(format_args!(
            "  all {} acknowledged writes are there; of the {} unknown ones {happened} happened",
            self.done.len(),
            self.unknown.len()
        ));
        Ok(())
    }
}

/// All keys with a prefix.
async fn keys(endpoint: &str, prefix: &str) -> Result<BTreeSet<String>, Failure> {
    let client = client::client(vec![endpoint.to_owned()], ANSWER_WITHIN)?;
    let mut range_end = prefix.as_bytes().to_vec();
    // The prefix ends in `/`, and `0` is the next byte.
    range_end.pop();
    range_end.push(b'0');
    let request = RangeRequest {
        key: prefix.to_owned().into(),
        range_end: range_end.into(),
        keys_only: true,
        ..RangeRequest::default()
    };
    let reply = client.get(request).await.map_err(|error| {
        let why = client::failure(error).message;
        Failure::other(format!("cannot read the keys back: {why}"))
    })?;
    let keys = reply.kvs.into_iter();
    Ok(keys
        .map(|kv| String::from_utf8_lossy(&kv.key).into_owned())
        .collect())
}

/// Writes ever new keys until the member is gone: each client ends with the first write that is
/// not acknowledged.
fn write_until_killed(endpoint: &str) -> Result<Acknowledged, Failure> {
    let outcome = Arc::new(Mutex::new(Acknowledged::default()));
    runtime()?.block_on(async {
        let client = client::client(vec![endpoint.to_owned()], ANSWER_WITHIN)?;
        client.connect().await.map_err(client::failure)?;
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let (client, outcome) = (client.clone(), Arc::clone(&outcome));
            writers.push(outside::spawn(async move {
                for number in 0_u64.. {
                    let key = format!("burst/{writer:02}/{number:06}");
                    let put = PutRequest {
                        key: key.clone().into(),
                        value: "x".repeat(64).into(),
                        ..PutRequest::default()
                    };
                    let answer = client.put(put).await;
                    let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
                    match answer {
                        Ok(_) => outcome.done.insert(key),
                        Err(Error::Unknown { .. }) => {
                            outcome.unknown.insert(key);
                            return;
                        }
                        // Certainly not done.
                        Err(
                            Error::Refused { .. }
                            | Error::NoAnswer { .. }
                            | Error::Unreachable { .. },
                        ) => return,
                    };
                }
            }));
        }
        for writer in writers {
            writer
                .await
                .map_err(|_| Failure::other("a writer panicked"))?;
        }
        Ok::<(), Failure>(())
    })?;
    let outcome = Arc::try_unwrap(outcome).unwrap_or_default();
    Ok(outcome.into_inner().unwrap_or_else(PoisonError::into_inner))
}
