//! Where settings come from, and which of them wins: a file alone, or flag, `SYNOD_`, `ETCD_`.

use super::definition::{self, Definition, Standing, Value, find};
use super::{Dialect, file, values};
use std::collections::BTreeMap;
use std::fmt;
use std::io;

/// Everything outside the program that may configure it.
pub(crate) struct Sources<'a> {
    /// As what it was started.
    pub(crate) dialect: Dialect,
    /// The arguments behind `synod serve`, or behind `etcd`.
    pub(crate) arguments: &'a [String],
    /// The environment.
    pub(crate) environment: &'a [(String, String)],
    /// Reads the configuration file.
    pub(crate) read_file: &'a dyn Fn(&str) -> io::Result<String>,
}

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `--name`.
    Flag,
    /// This environment name.
    Environment(String),
    /// This line of this file.
    File(String, usize),
}

/// A value for an option, with its origin.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Which option.
    pub(crate) option: &'static Definition,
    /// As written.
    pub(crate) value: String,
    /// Where.
    pub(crate) origin: Origin,
}

/// Something that keeps the configuration from being valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem(String);

impl Problem {
    /// A problem with nothing particular.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Setting {
    /// How a message names it, so that a person finds the place to change.
    pub(crate) fn place(&self) -> String {
        match &self.origin {
            Origin::Flag => format!("--{}", self.option.name),
            Origin::Environment(name) => format!("{name} (environment)"),
            Origin::File(path, line) => format!("{path}:{line} ({})", self.option.name),
        }
    }

    /// A problem with this setting.
    pub(crate) fn problem(&self, what: impl fmt::Display) -> Problem {
        Problem(format!("{}: {what}", self.place()))
    }
}

/// What was found in all sources.
#[derive(Debug)]
pub(crate) struct Gathered {
    dialect: Dialect,
    settings: BTreeMap<&'static str, Setting>,
    /// What must be fixed.
    pub(crate) problems: Vec<Problem>,
    /// What should be known.
    pub(crate) notes: Vec<String>,
}

/// The environment prefixes, the winning one first.
const PREFIXES: [&str; 2] = ["SYNOD_", "ETCD_"];

impl Gathered {
    /// Reads all sources. A file excludes the others, as for etcd: what a member does is then
    /// written in one place. Otherwise settings of lower precedence fill only what is still open.
    pub(crate) fn from(sources: &Sources<'_>) -> Self {
        let mut gathered = Self {
            dialect: sources.dialect,
            settings: BTreeMap::new(),
            problems: Vec::new(),
            notes: Vec::new(),
        };
        gathered.add_flags(sources.arguments);
        for prefix in PREFIXES {
            gathered.add_environment(prefix, sources.environment);
        }
        if let Some(setting) = gathered.take("config-file") {
            gathered.forget_all_but(&setting.value);
            gathered.add_file(&setting, sources.read_file);
        }
        gathered.judge_standing();
        gathered
    }

    /// The setting of an option that has been set.
    pub(crate) fn take(&mut self, name: &str) -> Option<Setting> {
        self.settings.remove(name)
    }

    /// Adds a setting of lower precedence than those that are there. An empty one is none.
    fn put(&mut self, setting: Setting) {
        if !setting.value.is_empty() {
            self.settings.entry(setting.option.name).or_insert(setting);
        }
    }

    fn forget_all_but(&mut self, file: &str) {
        let ignored: Vec<String> = std::mem::take(&mut self.settings)
            .into_values()
            .map(|setting| setting.place())
            .collect();
        if !ignored.is_empty() {
            self.notes.push(format!(
                "`{file}` excludes flags and environment; ignored: {}",
                ignored.join(", ")
            ));
        }
    }

    fn add_flags(&mut self, arguments: &[String]) {
        let mut arguments = arguments.iter().peekable();
        while let Some(argument) = arguments.next() {
            // Go programs take one dash as well as two, and units files use both.
            let Some(body) = argument
                .strip_prefix("--")
                .or_else(|| argument.strip_prefix('-'))
            else {
                let how = match argument.as_str() {
                    "true" | "false" => format!("--OPTION={argument}"),
                    _ => "--OPTION VALUE or --OPTION=VALUE".to_owned(),
                };
                self.problems
                    .push(Problem(format!("`{argument}`: not a flag; write {how}")));
                continue;
            };
            let (name, inline) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (body, None),
            };
            let option = self.option_named(name, &format!("--{name}"));
            let switch = option.is_some_and(|option| option.value == Value::Switch);
            let value = match inline {
                Some(value) => value,
                None if switch => "true".to_owned(),
                None => {
                    // An unknown flag takes its value along, so that it is not reported twice.
                    match arguments.next_if(|next| !next.starts_with("--")) {
                        Some(value) => value.clone(),
                        None if option.is_some() => {
                            self.problems
                                .push(Problem(format!("--{name}: needs a value")));
                            continue;
                        }
                        None => continue,
                    }
                }
            };
            let Some(option) = option else { continue };
            if let Some(earlier) = self.take(option.name)
                && earlier.value != value
            {
                self.notes.push(format!(
                    "--{name}: given as `{}` and as `{value}`: the last counts",
                    earlier.value
                ));
            }
            self.put(Setting {
                option,
                value,
                origin: Origin::Flag,
            });
        }
    }

    fn add_environment(&mut self, prefix: &str, environment: &[(String, String)]) {
        for (name, value) in environment {
            let Some(suffix) = name.strip_prefix(prefix) else {
                continue;
            };
            let flag = suffix.to_ascii_lowercase().replace('_', "-");
            match find(&flag) {
                Some(option) => self.put(Setting {
                    option,
                    value: value.clone(),
                    origin: Origin::Environment(name.clone()),
                }),
                // Kubernetes puts the addresses of a service called `synod` or `etcd` under these
                // very prefixes, so an unknown name cannot be an error.
                None if !OTHER_ENVIRONMENT.contains(&name.as_str()) => {
                    self.notes
                        .push(format!("{name} (environment): no such option; ignored"));
                }
                None => {}
            }
        }
    }

    fn add_file(&mut self, setting: &Setting, read_file: &dyn Fn(&str) -> io::Result<String>) {
        let path = setting.value.as_str();
        let text = match read_file(path) {
            Ok(text) => text,
            Err(error) => {
                self.problems
                    .push(setting.problem(format!("cannot read `{path}`: {error}")));
                return;
            }
        };
        let entries = match file::parse(path, &text) {
            Ok(entries) => entries,
            Err(error) => {
                self.problems.push(Problem(error));
                return;
            }
        };
        for file::Entry { key, value, line } in entries {
            if let Some(option) = self.option_named(&key, &format!("{path}:{line} ({key})")) {
                let origin = Origin::File(path.to_owned(), line);
                self.put(Setting {
                    option,
                    value,
                    origin,
                });
            }
        }
    }

    /// The option of that name; an unknown one becomes a problem with a suggestion.
    fn option_named(&mut self, name: &str, place: &str) -> Option<&'static Definition> {
        let known = find(name);
        if known.is_none() {
            let names = definition::all().map(|option| option.name);
            let advice = match values::closest(name, names) {
                Some(close) => format!("did you mean `{close}`?"),
                None => format!("see `{} --help`", self.dialect.command()),
            };
            self.problems
                .push(Problem(format!("{place}: no such option; {advice}")));
        }
        known
    }

    /// Refuses what asks for something that is not there, and notes what has no effect.
    fn judge_standing(&mut self) {
        let mut remaining = BTreeMap::new();
        for (name, setting) in std::mem::take(&mut self.settings) {
            let (option, value) = (setting.option, setting.value.as_str());
            let why = option.help;
            match option.standing {
                Standing::Works => {
                    remaining.insert(name, setting);
                }
                _ if is_same(option.value, value, option.default) => {}
                Standing::NoEffect => match values::check(option.value, value) {
                    Ok(()) => self
                        .notes
                        .push(format!("{}: no effect: {why}", setting.place())),
                    Err(what) => self.problems.push(setting.problem(what)),
                },
                Standing::OnlyAs(accepted) if accepted.contains(&value) => {}
                Standing::OnlyAs(_) => {
                    self.problems
                        .push(setting.problem(format!("`{value}` refused: {why}")));
                }
            }
        }
        self.settings = remaining;
    }
}

/// Whether two values of that form say the same.
fn is_same(form: Value, one: &str, other: &str) -> bool {
    if form == Value::Switch {
        values::switch(one) == values::switch(other)
    } else if form == Value::Duration {
        values::duration(one) == values::duration(other)
    } else {
        one == other
    }
}

/// Names under our prefixes that are not options of `serve`.
const OTHER_ENVIRONMENT: [&str; 2] = ["SYNOD_ENDPOINTS", "SYNOD_KILLS"];
