//! Where settings come from, and which of them wins: flag, `SYNOD_`, `ETCD_`, file, default.

use super::definition::{Definition, OPTIONS, Standing, find};
use super::{file, values};
use std::collections::BTreeMap;
use std::fmt;
use std::io;

/// Everything outside the program that may configure it.
pub(crate) struct Sources<'a> {
    /// The arguments behind `synod serve`.
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
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    settings: BTreeMap<&'static str, Setting>,
    /// What must be fixed.
    pub(crate) problems: Vec<Problem>,
    /// What should be known.
    pub(crate) notes: Vec<String>,
}

/// The environment prefixes, the winning one first.
const PREFIXES: [&str; 2] = ["SYNOD_", "ETCD_"];

impl Gathered {
    /// Reads all sources. Settings of lower precedence fill only what is still open.
    pub(crate) fn from(sources: &Sources<'_>) -> Self {
        let mut gathered = Self::default();
        gathered.add_flags(sources.arguments);
        for prefix in PREFIXES {
            gathered.add_environment(prefix, sources.environment);
        }
        if let Some(setting) = gathered.take("config-file") {
            gathered.add_file(&setting, sources.read_file);
        }
        gathered.judge_standing();
        gathered
    }

    /// The setting of an option that has been set.
    pub(crate) fn take(&mut self, name: &str) -> Option<Setting> {
        self.settings.remove(name)
    }

    fn put(&mut self, setting: Setting) {
        self.settings.entry(setting.option.name).or_insert(setting);
    }

    fn add_flags(&mut self, arguments: &[String]) {
        let mut seen = BTreeMap::new();
        let mut arguments = arguments.iter().peekable();
        while let Some(argument) = arguments.next() {
            // Go programs take one dash as well as two, and units files use both.
            let Some(body) = argument
                .strip_prefix("--")
                .or_else(|| argument.strip_prefix('-'))
            else {
                self.problems.push(Problem(format!(
                    "`{argument}`: not a flag; write --name VALUE or --name=VALUE"
                )));
                continue;
            };
            let (name, inline) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (body, None),
            };
            let option = self.option_named(name, &format!("--{name}"));
            let switch = option.is_some_and(Definition::is_switch);
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
            if let Some(earlier) = seen.insert(option.name, value.clone())
                && earlier != value
            {
                self.problems.push(Problem(format!(
                    "--{name}: given twice, as `{earlier}` and as `{value}`; keep one"
                )));
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
            let flag = flag.strip_prefix("experimental-").unwrap_or(&flag);
            match find(flag) {
                Some(option) => self.put(Setting {
                    option,
                    value: value.clone(),
                    origin: Origin::Environment(name.clone()),
                }),
                // Kubernetes puts the addresses of a service called `synod` or `etcd` under these
                // very prefixes, so an unknown name cannot be an error.
                None if !CLIENT_ENVIRONMENT.contains(&name.as_str()) => {
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
        // Until etcd 3.5 some options began with `experimental-`.
        let known = find(name).or_else(|| find(name.strip_prefix("experimental-")?));
        if known.is_none() {
            let names = OPTIONS.iter().map(|option| option.name);
            let advice = match values::closest(name, names) {
                Some(close) => format!("did you mean `{close}`?"),
                None => "see `synod serve --help`".to_owned(),
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
            match setting.option.standing {
                Standing::Works => {
                    remaining.insert(name, setting);
                }
                Standing::NoEffect => {
                    let why = setting.option.help;
                    self.notes
                        .push(format!("{}: no effect: {why}", setting.place()));
                }
                Standing::OnlyAs(accepted) if accepted.contains(&setting.value.as_str()) => {}
                Standing::OnlyAs(_) => {
                    let (value, why) = (&setting.value, setting.option.help);
                    self.problems
                        .push(setting.problem(format!("`{value}` refused: {why}")));
                }
            }
        }
        self.settings = remaining;
    }
}

/// Names under our prefixes that are not options of `serve`.
const CLIENT_ENVIRONMENT: [&str; 2] = ["SYNOD_ENDPOINTS", "SYNOD_KILLS"];
