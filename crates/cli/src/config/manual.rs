//! Help text and reference page, printed from the definition.

use super::Dialect;
#[cfg(test)]
use super::definition::{Definition, Group, Standing};
#[cfg(test)]
use super::options::OF_ETCD;
use super::options::OPTIONS;
use std::fmt::Write as _;

/// Width of a help line.
const COLUMNS: usize = 80;

/// The text of `synod serve --help`, or of `etcd --help`.
pub(crate) fn help(dialect: Dialect) -> String {
    let command = dialect.command();
    let mut text = format!(
        "Start a member and serve clients.\n\
         \n\
         Usage: {command} [--OPTION VALUE]...\n\
         \n\
         Each option may also stand in the environment (SYNOD_DATA_DIR, ETCD_DATA_DIR):\n\
         a flag wins over SYNOD_, that over ETCD_. Or all of them stand in the file named\n\
         by --config-file (data-dir: ...), which excludes flags and environment.\n",
    );
    if dialect == Dialect::Etcd {
        text.push_str(
            "\n\
             This is synod under the name etcd: the log is JSON unless --log-format says\n\
             otherwise, and --data-dir is <name>.etcd by default.\n",
        );
    }
    let mut group = None;
    for option in OPTIONS {
        if group != Some(option.group) {
            group = Some(option.group);
            put(&mut text, format_args!("\n{}:\n", option.group.title()));
        }
        put(
            &mut text,
            format_args!("  --{} {}\n", option.name, option.value),
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
         <!-- Printed from crates/cli/src/config/options.rs; `UPDATE=1 cargo test -p synod-cli` rewrites it. -->\n\
         \n\
         Every option has one name, and is set in one of four places:\n\
         \n\
         1. the flag `--data-dir`, or with one dash as for etcd;\n\
         2. the environment name `SYNOD_DATA_DIR`;\n\
         3. the environment name `ETCD_DATA_DIR`;\n\
         4. the key `data-dir` in the file named by `--config-file` (TOML if its name ends in `.toml`, else YAML as etcd's).\n\
         \n\
         Of the first three the first that has it wins.\n\
         A file excludes the other three, as for etcd: what they say is ignored, and the start names what was.\n\
         \n\
         An empty value is the same as none.\n\
         `experimental-` in front of a name, as etcd had it until 3.6, changes nothing.\n\
         Lengths of time are written `300ms`, `10m`, `1h30m`; in the file a bare number means nanoseconds, as for etcd.\n\
         Sizes are bytes, or written `512MiB`.\n\
         In the file, the sections `client-transport-security`, `peer-transport-security`, `socket-options` and `discovery-config` are read as etcd's.\n\
         An option that is not known is refused, in the file too; of the environment it is only reported, because Kubernetes puts the addresses of its services there.\n\
         All problems are reported together, and the member does not start: exit code 2.\n\
         \n\
         Started under the name `etcd`, by a link or a copy, the binary takes these options directly, without `serve`.\n\
         Then `log-format` is `json` and `data-dir` is `<name>.etcd` by default, and nothing but the log is printed.\n\
         See [moving from etcd](../operate/moving-from-etcd.md).\n",
    );
    let mut group = None;
    for option in OPTIONS {
        if group != Some(option.group) {
            group = Some(option.group);
            put(&mut page, format_args!("\n## {}\n\n", option.group.title()));
            page.push_str(
                "| option | environment | value | default | meaning |\n|---|---|---|---|---|\n",
            );
        }
        let Definition {
            name,
            value,
            default,
            help,
            ..
        } = option;
        let environment = option.environment();
        let form = code(&value.to_string());
        let default = code(default);
        put(
            &mut page,
            format_args!("| `{name}` | `{environment}` | {form} | {default} | {help} |\n"),
        );
    }
    put(&mut page, format_args!("\n## {}\n\n", Group::Etcd.title()));
    page.push_str(
        "An option without effect may be set to any value of its form.\n\
         The start says so, unless the value is etcd's default, which asks for what happens anyway.\n\
         \n\
         | option | environment | value | etcd's default | accepted | why |\n|---|---|---|---|---|---|\n",
    );
    for option in OF_ETCD {
        let default = code(option.default);
        let accepted = match option.standing {
            Standing::Works => unreachable!("{} does something", option.name),
            Standing::NoEffect => "any, without effect".to_owned(),
            Standing::OnlyAs([]) => "the default".to_owned(),
            Standing::OnlyAs(values) => {
                let quoted: Vec<String> = values.iter().map(|value| code(value)).collect();
                format!("the default, {}", quoted.join(", "))
            }
        };
        put(
            &mut page,
            format_args!(
                "| `{}` | `{}` | {} | {default} | {accepted} | {} |\n",
                option.name,
                option.environment(),
                code(&option.value.to_string()),
                option.help
            ),
        );
    }
    page
}

/// As code in a cell of a table; nothing stays nothing.
#[cfg(test)]
fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!("`{}`", text.replace('|', "\\|"))
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
