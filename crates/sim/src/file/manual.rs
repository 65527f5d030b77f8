//! The page about scenarios is written from here, so that it cannot say what is not so.

use super::read;
use crate::scenario::Effect;

/// An effect as a file has it, and what it does.
struct Line {
    example: &'static str,
    meaning: &'static str,
}

const LINES: [Line; 22] = [
    Line {
        example: "process.kill: {who: 2}",
        meaning: "The process dies; page cache and clocks live on. Started again when the fault ends.",
    },
    Line {
        example: "process.crash: {who: {role: leader}, disk_operation: 3}",
        meaning: "Power is lost with that disk operation from then on (0, the default: at once); what was not synced is kept, lost or torn. Started again when the fault ends.",
    },
    Line {
        example: "process.pause: {who: 1}",
        meaning: "Nothing of it runs, its clocks do, as after SIGSTOP or a long collection of garbage.",
    },
    Line {
        example: "process.freeze: {who: 1}",
        meaning: "Nothing of it runs, its clocks neither, and they do not catch up.",
    },
    Line {
        example: "process.restart: {who: {client: 0}}",
        meaning: "Killed and started again at once.",
    },
    Line {
        example: "process.reformat: {who: 3}",
        meaning: "The machine comes back with an empty disk; the cluster refuses it from then on.",
    },
    Line {
        example: "link.cut: {from: {role: leader}, to: {role: others}, one_way: true}",
        meaning: "Nothing gets through; in both directions unless `one_way`.",
    },
    Line {
        example: "link.delay: {from: 1, to: [2, 3], min: 5ms, max: 80ms}",
        meaning: "Messages take between the two times.",
    },
    Line {
        example: "link.loss: {from: {role: clients}, to: 1, share: 20%}",
        meaning: "Some messages are lost.",
    },
    Line {
        example: "link.duplicate: {from: 1, to: {role: others}, share: 5%}",
        meaning: "Some messages arrive twice.",
    },
    Line {
        example: "link.reorder: {from: 1, to: {role: others}, share: 30%}",
        meaning: "Some messages overtake others.",
    },
    Line {
        example: "link.corrupt: {from: 2, to: 3, share: 2%}",
        meaning: "Some messages are altered on their way: up to eight bits flip.",
    },
    Line {
        example: "link.slow: {from: 1, to: {role: others}, bytes_per_s: 20000}",
        meaning: "Messages wait for each other, at so many bytes in a second.",
    },
    Line {
        example: "disk.stall: {who: {role: leader}}",
        meaning: "Nothing reaches the disk or is read from it before the fault ends; writes into the cache go on.",
    },
    Line {
        example: "disk.full: {who: 2, room_bytes: 4096}",
        meaning: "Room for so many bytes more than are there.",
    },
    Line {
        example: "disk.error: {who: 2, operation: sync, share: 10%}",
        meaning: "Some operations (read, write, sync) report an input/output error; after a failed sync nobody knows what is on the disk.",
    },
    Line {
        example: "disk.rot: {who: 3, file: 1, position: 50%, mask: 0x10}",
        meaning: "Bits of one byte of a file change: the `file`th by name, so far into what was written of it.",
    },
    Line {
        example: "clock.rate: {who: {role: leader}, boot: 5%, raw: -150ppm}",
        meaning: "Clocks run wrong by that much: the timer clock (`boot`), the raw oscillator, the `wall` clock.",
    },
    Line {
        example: "clock.step: {who: 1, by: -3s}",
        meaning: "The wall clock is set, forth or back.",
    },
    Line {
        example: "clock.jump: {who: {client: 0}, ahead: 30s}",
        meaning: "Timer and raw clock jump ahead though no time has passed, as after a suspend.",
    },
    Line {
        example: "clock.strobe: {who: 1, by: 2s, every: 100ms}",
        meaning: "The wall clock is set forth and back again and again.",
    },
    Line {
        example: "clock.leap: {who: 1}",
        meaning: "The wall clock repeats a second.",
    },
];

/// The effects as a table of the page.
fn table() -> String {
    let mut table = String::from("| in a scenario file | what it does |\n|---|---|\n");
    for Line { example, meaning } in &LINES {
        table.push_str(&format!("| `{example}` | {meaning} |\n"));
    }
    table
}

#[test]
fn every_effect_has_a_line_that_a_file_can_hold() {
    let mut names = Vec::new();
    for Line { example, .. } in &LINES {
        let text = format!(
            "experiment: one line of the manual\nformat: 1\nseed: 1\nmembers: 3\nrun: 10s\n\
             workload: {{seed: 1, clients: [{{kind: registers, operations: 1}}]}}\n\
             faults:\n  - {{at: 1s, {example}}}\n"
        );
        let scenario = read(&text).unwrap_or_else(|mistake| panic!("{example}: {mistake}"));
        let effect = &scenario.faults[0].effect;
        names.push(effect.name());
        let written = super::write::show_effect(effect);
        assert_eq!(format!("{}: {{{written}}}", effect.name()), *example);
    }
    assert_eq!(names, Effect::NAMES);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the page lies beside the source")]
fn the_page_has_the_table() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/internals/simulator.md"
    );
    let page = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- effects -->\n", "<!-- effects end -->");
    let (before, rest) = page.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let printed = format!("{before}{begin}{}{end}{after}", table());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &printed).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap();
    assert!(
        page == printed,
        "simulator.md is old: UPDATE=1 cargo test -p synod-sim"
    );
}

#[test]
fn the_example_of_the_page_is_a_scenario() {
    let page = include_str!("../../../../docs/internals/simulator.md");
    let (_, rest) = page.split_once("```yaml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let scenario = read(example).unwrap();
    assert_eq!(scenario.faults.len(), 2);
    assert_eq!(super::prose(example), "Prose: what this scenario is about.");
}
