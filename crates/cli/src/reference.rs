//! The page `docs/reference/cli.md`, printed from the commands' own definitions.

use crate::Cli;
use clap::{Arg, Command, CommandFactory as _};
use std::fmt::Write as _;

fn page() -> String {
    let mut page = String::from(
        "# Command line\n\
         \n\
         <!-- Printed from the definitions in crates/cli/src; `UPDATE=1 cargo test -p synod-cli` rewrites it. -->\n\
         \n\
         `synod` is one program: `synod serve` is a member, all other commands are clients and tools.\n\
         `synod COMMAND --help` prints what stands here.\n\
         How a command ends is in [exit codes](exit-codes.md).\n",
    );
    let mut synod = Cli::command();
    synod.build();
    for command in synod.get_subcommands() {
        section(&mut page, "synod", 2, command);
    }
    page
}

/// A command, then those below it.
fn section(page: &mut String, parent: &str, level: usize, command: &Command) {
    if command.is_hide_set() {
        return;
    }
    let name = format!("{parent} {}", command.get_name());
    writeln!(page, "\n{} {name}\n", "#".repeat(level)).unwrap();
    let about = command.get_long_about().or(command.get_about());
    if let Some(about) = about {
        writeln!(page, "{}", sentence(&about.to_string())).unwrap();
    }
    if name == "synod serve" {
        page.push_str("Its options are in [configuration](config.md).\n");
        return;
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    writeln!(page, "\n    {usage}").unwrap();
    let arguments: Vec<&Arg> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && argument.get_id() != "help")
        .collect();
    if !arguments.is_empty() {
        page.push_str("\n| option | value | default | meaning |\n|---|---|---|---|\n");
    }
    for argument in arguments {
        row(page, argument);
    }
    if let Some(more) = command.get_after_long_help().or(command.get_after_help()) {
        writeln!(page, "\n```text\n{more}\n```").unwrap();
    }
    for below in command.get_subcommands() {
        section(page, &name, level + 1, below);
    }
}

fn row(page: &mut String, argument: &Arg) {
    let takes_value = argument.get_action().takes_values();
    let values: Vec<String> = argument
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(|value| format!("<{value}>"))
        .collect();
    let values = values.join(" ");
    let (name, value) = match (argument.get_long(), argument.get_short()) {
        (Some(long), Some(short)) => (format!("`--{long}`, `-{short}`"), values),
        (Some(long), None) => (format!("`--{long}`"), values),
        (None, Some(short)) => (format!("`-{short}`"), values),
        (None, None) => (format!("`{values}`"), String::new()),
    };
    let possible: Vec<String> = argument
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect();
    let value = match (takes_value, possible.is_empty()) {
        (false, _) => String::new(),
        (true, false) => code(&possible.join("|")),
        (true, true) => code(&value),
    };
    let defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    let default = if takes_value {
        code(&defaults.join(","))
    } else {
        String::new()
    };
    let help = argument.get_long_help().or(argument.get_help());
    let help = help
        .map(|help| sentence(&help.to_string()))
        .unwrap_or_default();
    writeln!(page, "| {name} | {value} | {default} | {help} |").unwrap();
}

fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!("`{}`", text.replace('|', "\\|"))
}

/// On one line, with its full stop, and safe in a table.
fn sentence(text: &str) -> String {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if !text.ends_with(['.', ':']) {
        text.push('.');
    }
    text.replace('|', "\\|").replace('<', "\\<")
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the page lies beside the source, not in a member"
)]
fn the_reference_page_is_what_the_commands_take() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/cli.md");
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/cli.md is old: UPDATE=1 cargo test -p synod-cli"
    );
}
