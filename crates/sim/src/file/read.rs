//! From a file to a scenario.

use super::Mistake;
use super::fields::{Fields, list, text, wrong};
use super::values::{mask, number, one_of, range, rate, share, shift_ms, time};
use super::write::{FAILURES, OPERATIONS, TIMINGS};
use super::yaml::{self, Node, Value};
use crate::scenario::{
    ClientKind, ClientPlan, ClockEffect, DiskEffect, Effect, Expect, Fault, Limit, Link,
    LinkEffect, Model, ProcessEffect, Scenario, Who, Workload,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most operations of one client that a file can ask for.
const OPERATIONS_MAX: u32 = 10_000_000;

/// Reads a scenario.
///
/// # Errors
/// The first thing in the file that is not understood, or that cannot be.
pub fn read(text: &str) -> Result<Scenario, Mistake> {
    let root = yaml::parse(text)?;
    let names = [
        "experiment",
        "format",
        "seed",
        "members",
        "model",
        "limits",
        "workload",
        "run",
        "faults",
        "expect",
    ];
    let fields = Fields::new(&root, "an experiment", &names)?;
    let format = fields.need("format")?;
    number(format, 1..=1)?;
    let members = fields.need("members")?;
    let members = one_of(members, &[("1", 1), ("3", 3), ("5", 5)])?;
    let workload = workload(fields.need("workload")?)?;
    let run = positive_time(fields.need("run")?)?;
    let clients = u32::try_from(workload.clients.len()).expect("a file of a mebibyte has fewer");
    let cluster = Cluster { members, clients };
    let mut faults = Vec::new();
    if let Some(node) = fields.get("faults") {
        for node in list(node, "faults")? {
            faults.push(fault(node, cluster, run)?);
        }
    }
    Ok(Scenario {
        name: name(fields.need("experiment")?)?,
        seed: number(fields.need("seed")?, 0..=u64::MAX)?,
        members,
        model: fields.get("model").map_or(Ok(MODEL), model)?,
        limits: fields.get("limits").map_or(Ok(BTreeMap::new()), limits)?,
        workload,
        faults,
        run,
        expect: fields.get("expect").map_or(Ok(Expect::default()), expect)?,
    })
}

/// What is known where a file says nothing.
const MODEL: Model = Model {
    timing: crate::scenario::Timing::PartiallySynchronous,
    failure: crate::scenario::FailureModel::CrashRecovery,
};

/// Whom a file can name.
#[derive(Clone, Copy)]
struct Cluster {
    members: u32,
    clients: u32,
}

fn name(node: &Node) -> Result<String, Mistake> {
    text(node, "what the experiment is about").map(str::to_owned)
}

fn positive_time(node: &Node) -> Result<Duration, Mistake> {
    let time = time(node)?;
    if time.is_zero() {
        return Err(wrong(node, "a time longer than nothing"));
    }
    Ok(time)
}

fn model(node: &Node) -> Result<Model, Mistake> {
    let fields = Fields::new(node, "a model", &["timing", "failure"])?;
    Ok(Model {
        timing: fields
            .get("timing")
            .map_or(Ok(MODEL.timing), |node| one_of(node, &TIMINGS))?,
        failure: fields
            .get("failure")
            .map_or(Ok(MODEL.failure), |node| one_of(node, &FAILURES))?,
    })
}

fn limits(node: &Node) -> Result<BTreeMap<Limit, u64>, Mistake> {
    let names = Limit::ALL.map(Limit::name);
    let fields = Fields::new(node, "the limits", &names)?;
    let mut limits = BTreeMap::new();
    for limit in Limit::ALL {
        if let Some(node) = fields.get(limit.name()) {
            limits.insert(limit, number(node, 1..=u64::from(u32::MAX))?);
        }
    }
    Ok(limits)
}

fn workload(node: &Node) -> Result<Workload, Mistake> {
    let fields = Fields::new(node, "a workload", &["seed", "clients"])?;
    let seed = number(fields.need("seed")?, 0..=u64::MAX)?;
    let nodes = fields.need("clients")?;
    let mut clients = Vec::new();
    for node in list(nodes, "clients")? {
        clients.push(client(node)?);
    }
    Ok(Workload { seed, clients })
}

fn client(node: &Node) -> Result<ClientPlan, Mistake> {
    let names = ["kind", "operations", "skip", "pace"];
    let fields = Fields::new(node, "a client", &names)?;
    let kinds = ClientKind::ALL.map(|kind| (kind.name(), kind));
    let operations = number(fields.need("operations")?, 0..=OPERATIONS_MAX)?;
    let mut skip = Vec::new();
    if let Some(node) = fields.get("skip") {
        for node in list(node, "operations' numbers")? {
            skip.push(range(node, operations)?);
        }
    }
    Ok(ClientPlan {
        kind: one_of(fields.need("kind")?, &kinds)?,
        operations,
        skip,
        pace: fields.get("pace").map_or(Ok(Duration::ZERO), time)?,
    })
}

fn expect(node: &Node) -> Result<Expect, Mistake> {
    let fields = Fields::new(node, "what is expected", &["serve_within"])?;
    let default = Expect::default();
    Ok(Expect {
        serve_within: fields
            .get("serve_within")
            .map_or(Ok(default.serve_within), positive_time)?,
    })
}

fn fault(node: &Node, cluster: Cluster, run: Duration) -> Result<Fault, Mistake> {
    let mut names = vec!["at", "for"];
    names.extend(Effect::NAMES);
    let fields = Fields::new(node, "a fault", &names)?;
    let begins = fields.need("at")?;
    let at = time(begins)?;
    if at >= run {
        let possible = format!(
            "a time before everything heals at {}",
            super::values::show_time(run)
        );
        return Err(wrong(begins, possible));
    }
    let mut effects = fields.entries().iter();
    let mut effects = effects
        .by_ref()
        .filter(|entry| entry.name != "at" && entry.name != "for");
    let Some(entry) = effects.next() else {
        let possible = super::fields::or(&Effect::NAMES);
        let what = format!("found a fault without an effect; possible: {possible}");
        return Err(Mistake::new(node.at, what));
    };
    if let Some(second) = effects.next() {
        let what = format!(
            "found a second effect, `{}`; possible: one in each fault",
            second.name
        );
        return Err(Mistake::new(second.at, what));
    }
    Ok(Fault {
        at,
        lasts: fields.get("for").map(positive_time).transpose()?,
        effect: effect(&entry.name, &entry.value, cluster)?,
    })
}

fn effect(name: &str, node: &Node, cluster: Cluster) -> Result<Effect, Mistake> {
    let process = |effect| {
        let fields = Fields::new(node, "this effect", &["who"])?;
        let who = who(fields.need("who")?, cluster)?;
        Ok(Effect::Process { who, effect })
    };
    let shared = |make: fn(u32) -> LinkEffect| {
        let (link, fields) = link(node, &["share"], cluster)?;
        let effect = make(share(fields.need("share")?)?);
        Ok(Effect::Link { link, effect })
    };
    match name {
        "process.kill" => process(ProcessEffect::Kill),
        "process.pause" => process(ProcessEffect::Pause),
        "process.freeze" => process(ProcessEffect::Freeze),
        "process.restart" => process(ProcessEffect::Restart),
        "process.reformat" => process(ProcessEffect::Reformat),
        "process.crash" => {
            let fields = Fields::new(node, "this effect", &["who", "disk_operation"])?;
            let disk_operation = fields
                .get("disk_operation")
                .map_or(Ok(0), |node| number(node, 0..=u32::MAX))?;
            Ok(Effect::Process {
                who: who(fields.need("who")?, cluster)?,
                effect: ProcessEffect::Crash { disk_operation },
            })
        }
        "link.cut" => {
            let (link, _) = link(node, &[], cluster)?;
            let effect = LinkEffect::Cut;
            Ok(Effect::Link { link, effect })
        }
        "link.delay" => delay(node, cluster),
        "link.loss" => shared(|ppm| LinkEffect::Loss { ppm }),
        "link.duplicate" => shared(|ppm| LinkEffect::Duplicate { ppm }),
        "link.reorder" => shared(|ppm| LinkEffect::Reorder { ppm }),
        "link.corrupt" => shared(|ppm| LinkEffect::Corrupt { ppm }),
        "link.slow" => {
            let (link, fields) = link(node, &["bytes_per_s"], cluster)?;
            let bytes_per_s = number(fields.need("bytes_per_s")?, 1..=u64::from(u32::MAX))?;
            let effect = LinkEffect::Slow { bytes_per_s };
            Ok(Effect::Link { link, effect })
        }
        "disk.stall" | "disk.full" | "disk.error" | "disk.rot" => disk(name, node, cluster),
        "clock.rate" | "clock.step" | "clock.jump" | "clock.strobe" | "clock.leap" => {
            clock(name, node, cluster)
        }
        name => unreachable!("{name} is not a name of an effect"),
    }
}

fn delay(node: &Node, cluster: Cluster) -> Result<Effect, Mistake> {
    let (link, fields) = link(node, &["min", "max"], cluster)?;
    let (least, most) = (fields.need("min")?, fields.need("max")?);
    let (min, max) = (time(least)?, time(most)?);
    if max < min {
        return Err(wrong(
            most,
            format!("at least `min`, {}", super::values::show_time(min)),
        ));
    }
    let effect = LinkEffect::Delay { min, max };
    Ok(Effect::Link { link, effect })
}

fn disk(name: &str, node: &Node, cluster: Cluster) -> Result<Effect, Mistake> {
    let names: &[&str] = match name {
        "disk.full" => &["who", "room_bytes"],
        "disk.error" => &["who", "operation", "share"],
        "disk.rot" => &["who", "file", "position", "mask"],
        _ => &["who"],
    };
    let fields = Fields::new(node, "this effect", names)?;
    let effect = match name {
        "disk.full" => DiskEffect::Full {
            room_bytes: number(fields.need("room_bytes")?, 0..=u64::from(u32::MAX))?,
        },
        "disk.error" => DiskEffect::Error {
            operation: one_of(fields.need("operation")?, &OPERATIONS)?,
            ppm: share(fields.need("share")?)?,
        },
        "disk.rot" => DiskEffect::Rot {
            file: number(fields.need("file")?, 0..=u32::MAX)?,
            position_ppm: share(fields.need("position")?)?,
            mask: mask(fields.need("mask")?)?,
        },
        _ => DiskEffect::Stall,
    };
    let who = who(fields.need("who")?, cluster)?;
    Ok(Effect::Disk { who, effect })
}

fn clock(name: &str, node: &Node, cluster: Cluster) -> Result<Effect, Mistake> {
    let names: &[&str] = match name {
        "clock.rate" => &["who", "boot", "raw", "wall"],
        "clock.step" => &["who", "by"],
        "clock.jump" => &["who", "ahead"],
        "clock.strobe" => &["who", "by", "every"],
        _ => &["who"],
    };
    let fields = Fields::new(node, "this effect", names)?;
    let off = |name| fields.get(name).map_or(Ok(0), rate);
    let effect = match name {
        "clock.rate" => ClockEffect::Rate {
            boot_ppm: off("boot")?,
            raw_ppm: off("raw")?,
            wall_ppm: off("wall")?,
        },
        "clock.step" => ClockEffect::Step {
            by_ms: shift_ms(fields.need("by")?)?,
        },
        "clock.jump" => ClockEffect::Jump {
            ahead: time(fields.need("ahead")?)?,
        },
        "clock.strobe" => ClockEffect::Strobe {
            by_ms: shift_ms(fields.need("by")?)?,
            period: positive_time(fields.need("every")?)?,
        },
        _ => ClockEffect::Leap,
    };
    let who = who(fields.need("who")?, cluster)?;
    Ok(Effect::Clock { who, effect })
}

fn link<'a>(
    node: &'a Node,
    more: &[&'static str],
    cluster: Cluster,
) -> Result<(Link, Fields<'a>), Mistake> {
    let mut names = vec!["from", "to", "one_way"];
    names.extend(more);
    let fields = Fields::new(node, "this effect", &names)?;
    let truth = [("true", true), ("false", false)];
    let link = Link {
        from: side(fields.need("from")?, cluster)?,
        to: side(fields.need("to")?, cluster)?,
        one_way: fields
            .get("one_way")
            .map_or(Ok(false), |node| one_of(node, &truth))?,
    };
    Ok((link, fields))
}

/// One machine, or a list of them.
fn side(node: &Node, cluster: Cluster) -> Result<Vec<Who>, Mistake> {
    match &node.value {
        Value::List(nodes) if !nodes.is_empty() => {
            nodes.iter().map(|node| who(node, cluster)).collect()
        }
        Value::List(_) | Value::Scalar(_) | Value::Map(_) => Ok(vec![who(node, cluster)?]),
    }
}

fn who(node: &Node, cluster: Cluster) -> Result<Who, Mistake> {
    let Cluster { members, clients } = cluster;
    let possible = format!(
        "a member's number (1 to {members}), {{role: leader}}, {{role: follower}}, \
         {{role: others}}, {{client: 0}} or {{role: clients}}"
    );
    match &node.value {
        Value::Scalar(text) => {
            let number: Option<u32> = text.parse().ok();
            let known = number.filter(|it| (1..=members).contains(it));
            known.map(Who::Member).ok_or_else(|| wrong(node, possible))
        }
        Value::List(_) => Err(wrong(node, possible)),
        Value::Map(_) => {
            let fields = Fields::new(node, "a machine", &["role", "client"])?;
            match (fields.get("role"), fields.get("client")) {
                (Some(role), None) => one_of(role, &super::write::ROLES),
                (None, Some(client)) if clients > 0 => {
                    number(client, 0..=clients - 1).map(Who::Client)
                }
                (None, Some(client)) => Err(wrong(client, "none: the workload has no clients")),
                (Some(_), Some(_)) | (None, None) => Err(wrong(node, possible)),
            }
        }
    }
}
