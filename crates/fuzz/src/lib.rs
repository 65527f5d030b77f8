//! What every decoder must bear: any bytes.
//!
//! Each target takes bytes from somewhere that is not trusted (a disk, a client, another member, a
//! person), and panics if they do harm. `cargo xtask fuzz` makes them up with coverage in mind; the
//! bytes that once reached something new are kept in `seeds/`, a folder for each target, and run
//! through the targets with all other tests.

mod kept;
mod state;
mod texts;

#[cfg(test)]
mod tests;

/// A target: any bytes, which must not make it panic.
pub type Target = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("archive", state::archive),
    ("client_message", synod_server::fuzzing::message),
    ("command", state::command),
    ("engine_message", synod_raft::fuzzing::message),
    ("etcd_file", kept::etcd_file),
    ("history", texts::history),
    ("json", synod_server::fuzzing::json),
    ("log_file", kept::log_file),
    ("member_frame", synod_protocols::fuzzing::frame),
    ("member_message", synod_node::fuzzing::message),
    ("scenario", texts::scenario),
    ("snapshot", state::snapshot),
    ("snapshot_file", kept::snapshot_file),
];

/// Runs the target of that name.
///
/// # Panics
/// If there is none, or the bytes do harm.
pub fn run(name: &str, bytes: &[u8]) {
    let found = TARGETS.iter().find(|(other, _)| *other == name);
    let (_, target) = found.unwrap_or_else(|| panic!("no target is called {name}"));
    target(bytes);
}
