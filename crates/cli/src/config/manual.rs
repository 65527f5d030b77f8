//! Help text and reference page, printed from the definition.

#[cfg(test)]
use super::definition::{Definition, Standing};
use super::definition::{Group, OPTIONS};
use std::fmt::Write as _;

/// Width of a help line.
const COLUMNS: usize = 80;

/// The text of `synod serve --help`.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "Start a member and serve clients.\n\
         \n\
         Usage: synod serve [--OPTION VALUE]...\n\
         \n\
         Each option may also stand in the environment (SYNOD_DATA_DIR, ETCD_DATA_DIR)\n\
         or in the file named by --config-file (data-dir: ...).\n\
         A flag wins over SYNOD_, that over ETCD_, that over the file.\n",
    );
    let mut group = None;
    for option in OPTIONS.iter().filter(|option| option.group != Group::Etcd) {
        if group != Some(option.group) {
            group = Some(option.group);
            put(&mut text, format_args!("\n{}:\n", option.group.title()));
        }
        put(
            &mut text,
            format_args!("  --{} {}\n", option.name, option.form),
        );
        let mut help = option.help.to_owned();
        if !option.default.is_empty() {
            put(&mut help, format_args!(" [{}]", option.default));
        }
        wrap(&mut text, &help, 10);
    }
    text.push_str(
        "\nOther options of etcd are accepted where they change nothing and refused with\n\
         the reason where they would: docs/reference/config.md lists them all.\n\
         Exit codes: docs/reference/exit-codes.md.\n",
    );
    text
}

/// The page `docs/reference/config.md`.
#[cfg(test)]
pub(super) fn reference_page() -> String {
    let mut page = String::from(
        "# Configuration of a member\n\
         \n\
         <!-- Printed from crates/cli/src/config/definition.rs; `UPDATE=1 cargo test -p synod-cli` rewrites it. -->\n\
         \n\
         Every option has one name and four places.\n\
         The first of them that has it wins:\n\
         \n\
         1. the flag `--data-dir`;\n\
         2. the environment name `SYNOD_DATA_DIR`;\n\
         3. the environment name `ETCD_DATA_DIR`;\n\
         4. the key `data-dir` in the file named by `--config-file` (TOML if its name ends in `.toml`, else YAML).\n\
         \n\
         etcd ignores flags and environment once it has a file; Synod does not.\n\
         Lengths of time are written `300ms`, `10m`, `1h30m`; in the file a bare number means nanoseconds, as for etcd.\n\
         Sizes are bytes, or written `512MiB`.\n\
         All problems are reported together, and the member does not start: exit code 2.\n",
    );
    let mut group = None;
    for option in OPTIONS.iter().filter(|option| option.group != Group::Etcd) {
        if group != Some(option.group) {
            group = Some(option.group);
            put(&mut page, format_args!("\n## {}\n\n", option.group.title()));
            page.push_str("| option | value | default | meaning |\n|---|---|---|---|\n");
        }
        let Definition {
            name,
            form,
            default,
            help,
            ..
        } = option;
        let form = form.replace('|', "\\|");
        put(
            &mut page,
            format_args!("| `{name}` | `{form}` | {default} | {help} |\n"),
        );
    }
    put(&mut page, format_args!("\n## {}\n\n", Group::Etcd.title()));
    page.push_str("| option | accepted | why |\n|---|---|---|\n");
    for option in OPTIONS.iter().filter(|option| option.group == Group::Etcd) {
        let accepted = match option.standing {
            Standing::Works | Standing::NoEffect => "any value, without effect".to_owned(),
            Standing::OnlyAs(values) => {
                let quoted: Vec<String> = values
                    .iter()
                    .map(|value| {
                        if value.is_empty() {
                            "unset".into()
                        } else {
                            format!("`{value}`")
                        }
                    })
                    .collect();
                quoted.join(", ")
            }
        };
        put(
            &mut page,
            format_args!("| `{}` | {accepted} | {} |\n", option.name, option.help),
        );
    }
    page
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what)
        .expect("writing to a string cannot fail");
}

fn wrap(text: &mut String, words: &str, indent: usize) {
    let mut column = 0;
    for word in words.split(' ') {
        if column > 0 && column + 1 + word.chars().count() > COLUMNS {
            text.push('\n');
            column = 0;
        }
        if column == 0 {
            text.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += word.chars().count();
    }
    text.push('\n');
}
