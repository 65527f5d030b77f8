//! What an etcd holds, taken over: from the running server, and from what `etcdctl` saved.

use super::{Servers, Tally};
use crate::member::{Kind, Member};
use crate::provision::{self, Trouble};
use crate::{Outcome, process, world};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const COMMAND_WITHIN: Duration = Duration::from_secs(30);

/// Keys beside those that are written one by one: enough for branches and for several pages.
const KEYS: usize = 3_000;

/// Keys in one transaction.
const KEYS_AT_ONCE: usize = 100;

/// Has an etcd written to, takes what it holds over in both ways, and compares what the members
/// that begin with it answer.
pub(super) fn run(servers: &Servers, tally: &mut Tally) -> Result<(), Trouble> {
    match servers.kind {
        // There is nothing of etcd's to compare with.
        Kind::Etcd => return Ok(()),
        Kind::Synod => {}
    }
    let provision::Etcd { server, control } = provision::etcd()?;
    let folder = servers.folder.join("import");
    world::remove_dir(&folder).map_err(Trouble::Broken)?;
    let etcd = Member::start(Kind::Etcd, &server, &folder.join("etcd"));
    let stage = Stage {
        control: &control,
        synod: &servers.program,
        folder: &folder,
        etcd: etcd.map_err(Trouble::Broken)?,
    };
    stage.play(tally).map_err(Trouble::Broken)
}

struct Stage<'a> {
    control: &'a Path,
    synod: &'a Path,
    folder: &'a Path,
    etcd: Member,
}

impl Stage<'_> {
    fn play(self, tally: &mut Tally) -> Outcome {
        let etcd = self.etcd.endpoint();
        self.fill(&etcd)?;
        let meant = self.contents(&etcd)?;
        let saved = self.folder.join("saved.db").display().to_string();
        self.etcdctl(&etcd, &["snapshot", "save", &saved], "")?;
        let sources = [
            ("a running etcd", vec!["--from", &etcd]),
            ("what etcdctl saved", vec![saved.as_str()]),
        ];
        for (number, (name, source)) in sources.iter().enumerate() {
            let place = self.folder.join(format!("synod-{number}"));
            match self.import(&place, source) {
                Ok(found) if found == meant => tally.passed += 1,
                Ok(found) => tally.fail(name, &difference(&meant, &found)),
                Err(why) => tally.fail(name, &why),
            }
        }
        self.etcd.stop()
    }

    /// Takes over and says what a member that begins with it answers.
    fn import(&self, place: &Path, source: &[&str]) -> Outcome<Contents> {
        let mut import = Command::new(self.synod);
        import.arg("import").args(source);
        import.arg("--data-dir").arg(place.join("data"));
        run_to_end(&mut import, "")?;
        let member = Member::start(Kind::Synod, self.synod, place)?;
        let found = self.contents(&member.endpoint())?;
        let put = self.etcdctl(&member.endpoint(), &["put", "after", "1", "-w", "json"], "")?;
        let revision = parse(&put)?["header"]["revision"].as_i64();
        if revision < Some(1_000_000_000) {
            return Err(format!("the revision was not raised: {revision:?}"));
        }
        member.stop()?;
        Ok(found)
    }

    /// Everything that a key or a lease can go through.
    fn fill(&self, etcd: &str) -> Outcome {
        for arguments in [
            &["put", "a", "1"][..],
            &["put", "a", "2"],
            &["put", "gone", "1"],
            &["del", "gone"],
            &["put", "again", "1"],
            &["del", "again"],
            &["put", "again", "2"],
            &["put", "empty", ""],
        ] {
            self.etcdctl(etcd, arguments, "")?;
        }
        let large = "x".repeat(100_000);
        self.etcdctl(etcd, &["put", "large"], &large)?;
        for ttl in ["100", "2000"] {
            let granted = self.etcdctl(etcd, &["lease", "grant", ttl, "-w", "json"], "")?;
            let id = parse(&granted)?["ID"].as_i64().unwrap_or_default();
            let flag = format!("--lease={id:x}");
            for key in ["one", "two"] {
                self.etcdctl(
                    etcd,
                    &["put", &format!("leased/{ttl}/{key}"), "x", &flag],
                    "",
                )?;
            }
        }
        for first in (0..KEYS).step_by(KEYS_AT_ONCE) {
            let keys = first..first + KEYS_AT_ONCE;
            let puts: String = keys
                .map(|key| format!("put many/{key:05} value-{key}\n"))
                .collect();
            self.etcdctl(etcd, &["txn"], &format!("\n{puts}\n\n"))?;
        }
        self.etcdctl(etcd, &["compaction", "8"], "")?;
        self.etcdctl(etcd, &["del", "many/00000", "many/00500"], "")?;
        self.etcdctl(etcd, &["put", "many/00001", "once more"], "")?;
        Ok(())
    }

    /// What a server answers: its keys, and its leases without what is left of them.
    fn contents(&self, endpoint: &str) -> Outcome<Contents> {
        let keys = self.etcdctl(endpoint, &["get", "", "--prefix", "-w", "json"], "")?;
        let keys = parse(&keys)?["kvs"].as_array().cloned().unwrap_or_default();
        let listed = self.etcdctl(endpoint, &["lease", "list", "-w", "json"], "")?;
        let listed = parse(&listed)?["leases"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut leases = Vec::new();
        for lease in listed {
            let id = lease["id"].as_i64().unwrap_or_default();
            let hex = format!("{id:x}");
            let shown = ["lease", "timetolive", &hex, "--keys", "-w", "json"];
            let shown = parse(&self.etcdctl(endpoint, &shown, "")?)?;
            let mut keys = shown["keys"].as_array().cloned().unwrap_or_default();
            keys.sort_by_key(ToString::to_string);
            leases.push((id, shown["granted-ttl"].clone(), keys));
        }
        leases.sort_by_key(|(id, ..)| *id);
        Ok(Contents { keys, leases })
    }

    fn etcdctl(&self, endpoint: &str, arguments: &[&str], input: &str) -> Outcome<String> {
        let mut command = Command::new(self.control);
        command.args(arguments).env("ETCDCTL_ENDPOINTS", endpoint);
        run_to_end(&mut command, input)
    }
}

/// Keys as etcdctl shows them, and leases by number with granted time and keys.
#[derive(PartialEq)]
struct Contents {
    keys: Vec<Value>,
    leases: Vec<(i64, Value, Vec<Value>)>,
}

fn difference(meant: &Contents, found: &Contents) -> String {
    let key = meant.keys.iter().zip(&found.keys).find(|(a, b)| a != b);
    let lease = meant.leases.iter().zip(&found.leases).find(|(a, b)| a != b);
    format!(
        "{} keys and {} leases became {} and {}; first difference: {key:?} {lease:?}",
        meant.keys.len(),
        meant.leases.len(),
        found.keys.len(),
        found.leases.len()
    )
}

fn parse(json: &str) -> Outcome<Value> {
    serde_json::from_str(json).map_err(|error| format!("{error} in {json}"))
}

fn run_to_end(command: &mut Command, input: &str) -> Outcome<String> {
    let printed = process::run_within(command, input, COMMAND_WITHIN)?;
    if printed.status.success() {
        return Ok(printed.stdout);
    }
    Err(format!(
        "{command:?}: {}\n{}",
        printed.status, printed.stderr
    ))
}
