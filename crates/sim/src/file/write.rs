//! From a scenario to a file.

use super::values::{show_ppm, show_range, show_shift_ms, show_time};
use crate::scenario::{
    ClientPlan, ClockEffect, DiskEffect, DiskOperation, Effect, FailureModel, Fault, Link,
    LinkEffect, ProcessEffect, Scenario, Timing, Who,
};
use std::fmt::Write as _;

pub(super) const TIMINGS: [(&str, Timing); 3] = [
    ("synchronous", Timing::Synchronous),
    ("partially-synchronous", Timing::PartiallySynchronous),
    ("asynchronous", Timing::Asynchronous),
];

pub(super) const FAILURES: [(&str, FailureModel); 4] = [
    ("crash-stop", FailureModel::CrashStop),
    ("crash-recovery", FailureModel::CrashRecovery),
    ("omission", FailureModel::Omission),
    ("byzantine", FailureModel::Byzantine),
];

pub(super) const OPERATIONS: [(&str, DiskOperation); 3] = [
    ("read", DiskOperation::Read),
    ("write", DiskOperation::Write),
    ("sync", DiskOperation::Sync),
];

pub(super) const ROLES: [(&str, Who); 4] = [
    ("leader", Who::Leader),
    ("follower", Who::Follower),
    ("others", Who::OtherMembers),
    ("clients", Who::Clients),
];

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> &'static str {
    let (name, _) = names
        .iter()
        .find(|(_, it)| it == value)
        .expect("every value has a name");
    name
}

/// Writes a scenario so that [`super::read()`] gives the same one.
#[must_use]
pub fn write(scenario: &Scenario) -> String {
    let mut file = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        writeln!(file, "{text}").expect("a string takes whatever is written");
    };
    line(format_args!("experiment: {}", quoted(&scenario.name)));
    line(format_args!("format: 1"));
    line(format_args!("seed: {}", scenario.seed));
    line(format_args!("members: {}", scenario.members));
    line(format_args!(
        "model: {{timing: {}, failure: {}}}",
        name_of(&TIMINGS, &scenario.model.timing),
        name_of(&FAILURES, &scenario.model.failure)
    ));
    line(format_args!("run: {}", show_time(scenario.run)));
    if !scenario.limits.is_empty() {
        line(format_args!("limits:"));
        for (limit, value) in &scenario.limits {
            line(format_args!("  {}: {value}", limit.name()));
        }
    }
    line(format_args!("workload:"));
    line(format_args!("  seed: {}", scenario.workload.seed));
    if scenario.workload.clients.is_empty() {
        line(format_args!("  clients: []"));
    } else {
        line(format_args!("  clients:"));
        for client in &scenario.workload.clients {
            line(format_args!("    - {}", show_client(client)));
        }
    }
    if !scenario.faults.is_empty() {
        line(format_args!("faults:"));
        for fault in &scenario.faults {
            line(format_args!("  - {}", show_fault(fault)));
        }
    }
    let serve_within = show_time(scenario.expect.serve_within);
    line(format_args!("expect: {{serve_within: {serve_within}}}"));
    file
}

/// A text for people, in quotes only where YAML would misread it.
fn quoted(text: &str) -> String {
    let harmless = |c: char| c.is_alphanumeric() || " ,.;()/+_'-".contains(c);
    let plain = text.starts_with(|c: char| c.is_alphanumeric())
        && !text.ends_with(' ')
        && text.chars().all(harmless);
    if plain {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_ascii_graphic() || c == ' ' => quoted.push(c),
            c => write!(quoted, "\\U{:08x}", u32::from(c))
                .expect("a string takes whatever is written"),
        }
    }
    quoted.push('"');
    quoted
}

fn show_client(client: &ClientPlan) -> String {
    let ClientPlan {
        kind,
        operations,
        skip,
        pace,
    } = client;
    let mut fields = vec![
        format!("kind: {}", kind.name()),
        format!("operations: {operations}"),
    ];
    if !skip.is_empty() {
        let skip: Vec<String> = skip.iter().map(show_range).collect();
        fields.push(format!("skip: [{}]", skip.join(", ")));
    }
    if !pace.is_zero() {
        fields.push(format!("pace: {}", show_time(*pace)));
    }
    format!("{{{}}}", fields.join(", "))
}

/// One line: when, for how long, what.
pub(crate) fn show_fault(fault: &Fault) -> String {
    let mut fields = vec![format!("at: {}", show_time(fault.at))];
    if let Some(lasts) = fault.lasts {
        fields.push(format!("for: {}", show_time(lasts)));
    }
    let (name, what) = (fault.effect.name(), show_effect(&fault.effect));
    fields.push(format!("{name}: {{{what}}}"));
    format!("{{{}}}", fields.join(", "))
}

/// The fields of an effect.
pub(crate) fn show_effect(effect: &Effect) -> String {
    match effect {
        Effect::Process { who, effect } => with(show_who(*who), show_process(*effect)),
        Effect::Link { link, effect } => {
            let Link { from, to, one_way } = link;
            let mut fields = vec![
                format!("from: {}", show_side(from)),
                format!("to: {}", show_side(to)),
            ];
            if *one_way {
                fields.push("one_way: true".to_owned());
            }
            fields.extend(show_link(*effect));
            fields.join(", ")
        }
        Effect::Disk { who, effect } => with(show_who(*who), show_disk(*effect)),
        Effect::Clock { who, effect } => with(show_who(*who), show_clock(*effect)),
    }
}

fn with(who: String, rest: Option<String>) -> String {
    let rest = rest.map_or_else(String::new, |rest| format!(", {rest}"));
    format!("who: {who}{rest}")
}

fn show_who(who: Who) -> String {
    match who {
        Who::Member(number) => number.to_string(),
        Who::Client(number) => format!("{{client: {number}}}"),
        Who::Leader | Who::Follower | Who::OtherMembers | Who::Clients => {
            format!("{{role: {}}}", name_of(&ROLES, &who))
        }
    }
}

fn show_side(side: &[Who]) -> String {
    match side {
        [one] => show_who(*one),
        several => {
            let several: Vec<String> = several.iter().map(|who| show_who(*who)).collect();
            format!("[{}]", several.join(", "))
        }
    }
}

fn show_process(effect: ProcessEffect) -> Option<String> {
    match effect {
        ProcessEffect::Crash { disk_operation: 0 }
        | ProcessEffect::Kill
        | ProcessEffect::Pause
        | ProcessEffect::Freeze
        | ProcessEffect::Restart
        | ProcessEffect::Reformat => None,
        ProcessEffect::Crash { disk_operation } => {
            Some(format!("disk_operation: {disk_operation}"))
        }
    }
}

fn show_link(effect: LinkEffect) -> Option<String> {
    match effect {
        LinkEffect::Cut => None,
        LinkEffect::Delay { min, max } => {
            Some(format!("min: {}, max: {}", show_time(min), show_time(max)))
        }
        LinkEffect::Loss { ppm }
        | LinkEffect::Duplicate { ppm }
        | LinkEffect::Reorder { ppm }
        | LinkEffect::Corrupt { ppm } => Some(format!("share: {}", show_ppm(ppm.into()))),
        LinkEffect::Slow { bytes_per_s } => Some(format!("bytes_per_s: {bytes_per_s}")),
    }
}

fn show_disk(effect: DiskEffect) -> Option<String> {
    match effect {
        DiskEffect::Stall => None,
        DiskEffect::Full { room_bytes } => Some(format!("room_bytes: {room_bytes}")),
        DiskEffect::Error { operation, ppm } => Some(format!(
            "operation: {}, share: {}",
            name_of(&OPERATIONS, &operation),
            show_ppm(ppm.into())
        )),
        DiskEffect::Rot {
            file,
            position_ppm,
            mask,
        } => Some(format!(
            "file: {file}, position: {}, mask: 0x{mask:02x}",
            show_ppm(position_ppm.into())
        )),
    }
}

fn show_clock(effect: ClockEffect) -> Option<String> {
    match effect {
        ClockEffect::Rate {
            boot_ppm,
            raw_ppm,
            wall_ppm,
        } => {
            let off = [("boot", boot_ppm), ("raw", raw_ppm), ("wall", wall_ppm)];
            let off = off.iter().filter(|(_, ppm)| *ppm != 0);
            let off: Vec<String> = off
                .map(|(name, ppm)| format!("{name}: {}", show_ppm((*ppm).into())))
                .collect();
            (!off.is_empty()).then(|| off.join(", "))
        }
        ClockEffect::Step { by_ms } => Some(format!("by: {}", show_shift_ms(by_ms))),
        ClockEffect::Jump { ahead } => Some(format!("ahead: {}", show_time(ahead))),
        ClockEffect::Strobe { by_ms, period } => Some(format!(
            "by: {}, every: {}",
            show_shift_ms(by_ms),
            show_time(period)
        )),
        ClockEffect::Leap => None,
    }
}
