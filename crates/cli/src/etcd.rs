//! The binary under the name `etcd`: what scripts, units and test frameworks of etcd start.
//!
//! It takes etcd's flags directly and prints what etcd's users look for. What differs is in
//! `docs/operate/moving-from-etcd.md`.

use crate::config::{Config, Dialect, Sources};
use crate::exit::{Exit, Failure};
use crate::{outside, serve};
use std::path::Path;
use std::{env, io};

/// Whether the program was started under this name.
pub(crate) fn is_name(program: &str) -> bool {
    Path::new(program)
        .file_name()
        .is_some_and(|name| name == "etcd")
}

/// Does what `etcd` would do with these arguments.
///
/// # Errors
/// As `serve`; and when asked for what Synod does not have.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if let Some(command @ ("gateway" | "grpc-proxy")) = arguments.first().map(String::as_str) {
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "`etcd {command}` is not there: let clients reach the member itself, or put a \
                 proxy for TCP in front of it"
            ),
        ));
    }
    let asks_version = |argument: &String| matches!(argument.as_str(), "--version" | "-version");
    if arguments.iter().any(asks_version) {
        let others: Vec<String> = arguments
            .iter()
            .filter(|argument| !asks_version(argument))
            .cloned()
            .collect();
        return version(&others);
    }
    serve::run(Dialect::Etcd, arguments)
}

/// Prints the version that clients are told, and then which program this really is. Flags are
/// checked, as etcd does; of the environment only the version counts.
fn version(arguments: &[String]) -> Result<(), Failure> {
    let mut environment = outside::environment();
    environment.retain(|(name, _)| name.ends_with("_API_VERSION"));
    let sources = Sources {
        dialect: Dialect::Etcd,
        arguments,
        environment: &environment,
        read_file: &|_| Err(io::ErrorKind::NotFound.into()),
    };
    let resolved = Config::from_sources(&sources).map_err(|problems| serve::usage(&problems))?;
    outside::say(format_args!(
        "etcd Version: {}\nSynod Version: {}\nOS/Arch: {}/{}",
        resolved.config.api_version,
        env!("CARGO_PKG_VERSION"),
        env::consts::OS,
        env::consts::ARCH
    ));
    Ok(())
}
