//! What a member says once it serves: to people, to scripts, to systemd.

use super::Listening;
use crate::config::{Address, Config, Dialect};
use crate::exit::{Exit, Failure};
use crate::outside;
use std::path::Path;
use synod_storage::Identity;

/// The words that scripts and test frameworks of etcd wait for.
const READY: &str = "ready to serve client requests";

/// Says where the member is, what to try, and that it is ready.
///
/// # Errors
/// When somebody waits for a file that cannot be written.
pub(super) fn announce(
    config: &Config,
    listening: &Listening,
    identity: &Identity,
    begun: std::time::Instant,
) -> Result<(), Failure> {
    let clients = texts(&listening.clients);
    let monitors = texts(&listening.monitors);
    let dir = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    tracing::info!(
        name = config.name,
        clients = clients.join(","),
        metrics = (!monitors.is_empty()).then(|| monitors.join(",")),
        data_dir = %dir.display(),
        start = identity.incarnation,
        "serving after {} ms", (outside::now() - begun).as_millis()
    );
    if let Some(path) = &config.ports_file {
        write_ports(path, &clients, &monitors)?;
    }
    if config.dialect == Dialect::Synod && !config.log.json {
        outside::note(introduction(config, &clients, &dir));
    }
    // Those who wait for this line wait for these words, whatever the log level.
    if tracing::enabled!(tracing::Level::INFO) {
        tracing::info!("{READY}");
    } else if config.log.json {
        outside::note(format_args!(r#"{{"level":"info","msg":"{READY}"}}"#));
    } else {
        outside::note(READY);
    }
    if let Err(error) = outside::notify_supervisor("READY=1") {
        tracing::warn!("cannot tell systemd that the member serves (NOTIFY_SOCKET): {error}");
    }
    Ok(())
}

fn texts(addresses: &[Address]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

/// Where everything is, and three commands to try.
fn introduction(config: &Config, urls: &[String], dir: &Path) -> String {
    let chosen = if config.data_dir_is_default {
        " (--data-dir chooses another)"
    } else {
        ""
    };
    let endpoint = match urls.first().map(String::as_str) {
        None | Some("http://localhost:2379" | "http://127.0.0.1:2379") => String::new(),
        Some(url) => format!(" --endpoints {url}"),
    };
    format!(
        "\n  Data: {}{chosen}\n  Try in another terminal:\n\n    synod put greeting hello{endpoint}\n    \
         synod get greeting{endpoint}\n    synod watch greeting{endpoint}\n",
        dir.display()
    )
}

fn write_ports(path: &Path, clients: &[String], monitors: &[String]) -> Result<(), Failure> {
    let lines = |role: &str, urls: &[String]| -> String {
        urls.iter().map(|url| format!("{role}={url}\n")).collect()
    };
    let text = lines("client", clients) + &lines("metrics", monitors);
    outside::replace_file(path, &text).map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!(
                "--ports-file {}: {error}; name a file in a directory that can be written",
                path.display()
            ),
        )
    })
}
