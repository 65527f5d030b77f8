//! `synod limits`.

use super::{ClientArgs, failure, render};
use crate::config;
use crate::exit::{Exit, Failure};
use crate::outside;
use serde_json::{Value, json};
use std::time::Duration;
use synod_api::synodpb::{Limit, LimitChange, SetLimitRequest};
use synod_env::HistoryKeep;

/// Bounds of the whole cluster that can be changed while it runs. What was set
/// holds on all members and over restarts, whatever flags they are started with.
#[derive(clap::Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Limits {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Verb {
    /// Set bounds: quota-bytes=4GiB, max-request-bytes=1MiB, max-txn-ops=256,
    /// auto-compaction-period=1h or auto-compaction-revisions=10000 (0 for off)
    Set {
        #[command(flatten)]
        client: ClientArgs,
        /// Who does it, for the record [default: user and machine]
        #[arg(long, value_name = "TEXT")]
        by: Option<String>,
        /// What to set, one after the other
        #[arg(required = true, value_name = "NAME=VALUE", value_parser = assignment)]
        assignments: Vec<(String, u64)>,
    },
    /// Give bounds back: each member goes by its own flags again
    Reset {
        #[command(flatten)]
        client: ClientArgs,
        /// Who does it, for the record [default: user and machine]
        #[arg(long, value_name = "TEXT")]
        by: Option<String>,
        /// Which
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

const PERIOD: &str = "auto-compaction-period";
const REVISIONS: &str = "auto-compaction-revisions";

/// `quota-bytes=4GiB`, with the value in the units of the wire.
fn assignment(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "write NAME=VALUE".to_owned())?;
    let count = || {
        value
            .parse()
            .map_err(|_| format!("`{value}` is not a number"))
    };
    let number = match name {
        "quota-bytes" | "max-request-bytes" => config::bytes(value)?,
        PERIOD => match config::history_keep(value, false)? {
            HistoryKeep::For(period) => u64::try_from(period.as_millis()).unwrap_or(u64::MAX),
            HistoryKeep::Everything | HistoryKeep::Revisions(_) => 0,
        },
        // The service knows all names; those that are counts need nothing here.
        _ => count()?,
    };
    Ok((name.to_owned(), number))
}

impl Limits {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        match &self.verb {
            None => list(&self.client).await,
            Some(Verb::Set {
                client,
                by,
                assignments,
            }) => {
                let changes = assignments.iter().map(|(name, value)| (name, Some(*value)));
                change(client, by.as_ref(), changes).await
            }
            Some(Verb::Reset { client, by, names }) => {
                change(client, by.as_ref(), names.iter().map(|name| (name, None))).await
            }
        }
    }
}

/// Makes changes one after the other; the first that is not done ends it.
async fn change(
    args: &ClientArgs,
    by: Option<&String>,
    changes: impl Iterator<Item = (&String, Option<u64>)>,
) -> Result<(), Failure> {
    let client = args.connect()?;
    let by = by.cloned().unwrap_or_else(whoever);
    for (name, value) in changes {
        let request = SetLimitRequest {
            name: name.clone(),
            value,
            by: by.clone(),
        };
        client.set_limit(request).await.map_err(|error| {
            let Failure { exit, message } = failure(error);
            Failure::new(exit, format!("{name}: {message}"))
        })?;
    }
    list(args).await
}

/// The user and the machine, as far as they can be found out.
fn whoever() -> String {
    let user = outside::environment_value("USER").unwrap_or_else(|| "somebody".to_owned());
    match outside::read_file("/proc/sys/kernel/hostname") {
        Ok(machine) => format!("{user}@{}", machine.trim()),
        Err(_) => user,
    }
}

async fn list(args: &ClientArgs) -> Result<(), Failure> {
    let limits = args.connect()?.limits().await.map_err(failure)?.limits;
    let json = || limits.iter().map(as_json).collect();
    render::answer(
        args.form,
        || Value::Array(json()),
        || table(&limits).into_bytes(),
    );
    if limits.is_empty() {
        return Err(Failure::new(Exit::Failed, "the member knows no limits"));
    }
    Ok(())
}

fn as_json(limit: &Limit) -> Value {
    let change = limit
        .change
        .as_ref()
        .map(|change| json!({ "value": change.value, "wall_ms": change.wall_ms, "by": change.by }));
    json!({
        "name": limit.name,
        "value": limit.value,
        "default": limit.default,
        "started_with": limit.started_with,
        "origin": origin(limit),
        "last_change": change,
    })
}

/// Where the value comes from.
fn origin(limit: &Limit) -> &'static str {
    let set = limit.change.as_ref().and_then(|change| change.value);
    match set {
        Some(_) => "set",
        None if limit.started_with == limit.default => "default",
        None => "flag",
    }
}

fn table(limits: &[Limit]) -> String {
    let mut rows = vec![["NAME", "VALUE", "DEFAULT", "ORIGIN", "LAST CHANGE"].map(str::to_owned)];
    for limit in limits {
        rows.push([
            limit.name.clone(),
            shown(&limit.name, limit.value),
            shown(&limit.name, limit.default),
            origin(limit).to_owned(),
            limit
                .change
                .as_ref()
                .map_or_else(String::new, |change| last(&limit.name, change)),
        ]);
    }
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths);
        let line: String = cells
            .map(|(cell, width)| format!("{cell:width$}  "))
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn last(name: &str, change: &LimitChange) -> String {
    let LimitChange { value, wall_ms, by } = change;
    let what = value.map_or_else(|| "given back".to_owned(), |value| shown(name, value));
    format!("{what} at {} by {}", utc(*wall_ms), by.escape_default())
}

/// A value in the units of a person.
fn shown(name: &str, value: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    match (name, value) {
        (PERIOD | REVISIONS, 0) => "off".to_owned(),
        (PERIOD, ms) => {
            let unit = UNITS.into_iter().find(|(unit, _)| ms.is_multiple_of(*unit));
            unit.map_or_else(String::new, |(unit, letters)| {
                format!("{}{letters}", ms / unit)
            })
        }
        (_, number) => number.to_string(),
    }
}

/// Milliseconds since 1970 as a date and a time of day.
fn utc(wall_ms: i64) -> String {
    let seconds = Duration::from_millis(wall_ms.max(0).unsigned_abs()).as_secs();
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    let (mut year, mut left) = (1970, day);
    let days_of = |year: u64| if is_leap(year) { 366 } else { 365 };
    while left >= days_of(year) {
        left -= days_of(year);
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if left < days {
            break;
        }
        left -= days;
        month += 1;
    }
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!(
        "{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{:02}Z",
        left + 1,
        second % 60
    )
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests;
