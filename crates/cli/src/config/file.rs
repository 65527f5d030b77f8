//! The configuration file: YAML or TOML, reduced to keys with values and their lines.

use super::definition::Value;
use saphyr_parser::{Event, Parser, ScalarStyle};
use std::fmt::Display;
use toml::de::{DeTable, DeValue};

/// One key of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The option's name.
    pub(crate) key: String,
    /// Its value as a flag would have it; a list is joined with commas.
    pub(crate) value: String,
    /// Where it stands, from 1.
    pub(crate) line: usize,
}

/// Reads a file by the ending of its name.
///
/// # Errors
/// A sentence that begins with the file and, if known, the line.
pub(crate) fn parse(path: &str, text: &str) -> Result<Vec<Entry>, String> {
    let toml = std::path::Path::new(path)
        .extension()
        .is_some_and(|ending| ending == "toml");
    if toml {
        parse_toml(path, text)
    } else {
        parse_yaml(path, text)
    }
}

/// etcd's file has sections; most of their keys are flags with a prefix.
fn flag_name(section: &str, key: &str) -> String {
    match (section, key) {
        ("", key) => key.to_owned(),
        ("client-transport-security", "allowed-cn" | "allowed-hostname") => {
            format!("client-cert-{key}")
        }
        ("peer-transport-security", "allowed-cn" | "allowed-hostname") => {
            format!("peer-cert-{key}")
        }
        ("client-transport-security", key) => key.to_owned(),
        ("peer-transport-security", key) => format!("peer-{key}"),
        ("socket-options", key) => format!("socket-{key}"),
        ("discovery-config", key) => format!("discovery-{key}"),
        (other, key) => format!("{other}.{key}"),
    }
}

/// etcd's file gives lengths of time as nanoseconds without a unit; flags never do.
fn with_unit(key: &str, value: String) -> String {
    let timed = super::definition::find(key).is_some_and(|option| option.value == Value::Duration);
    let bare = !value.is_empty() && value != "0" && value.bytes().all(|b| b.is_ascii_digit());
    if timed && bare {
        format!("{value}ns")
    } else {
        value
    }
}

fn broken(path: &str, line: usize, what: impl Display) -> String {
    format!("{path}:{line}: {what}")
}

fn parse_toml(path: &str, text: &str) -> Result<Vec<Entry>, String> {
    let line_at = |offset: usize| 1 + text[..offset].matches('\n').count();
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(span.start));
        broken(path, line, error.message())
    })?;
    let mut entries = Vec::new();
    let mut add = |section: &str, table: &DeTable<'_>| -> Result<(), String> {
        for (key, value) in table {
            let line = line_at(key.span().start);
            let key = flag_name(section, key.get_ref());
            if let DeValue::Table(_) = value.get_ref() {
                continue;
            }
            let value = toml_text(value.get_ref())
                .ok_or_else(|| broken(path, line, format_args!("{key}: not a plain value")))?;
            entries.push(Entry {
                value: with_unit(&key, value),
                key,
                line,
            });
        }
        Ok(())
    };
    add("", table.get_ref())?;
    for (key, value) in table.get_ref() {
        if let DeValue::Table(section) = value.get_ref() {
            add(key.get_ref(), section)?;
        }
    }
    Ok(entries)
}

fn toml_text(value: &DeValue<'_>) -> Option<String> {
    Some(match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.as_str().replace('_', ""),
        DeValue::Float(number) => number.as_str().replace('_', ""),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Array(items) => {
            let items: Option<Vec<String>> =
                items.iter().map(|item| toml_text(item.get_ref())).collect();
            items?.join(",")
        }
        DeValue::Datetime(_) | DeValue::Table(_) => return None,
    })
}

/// The events of a YAML file with the lines on which they begin.
struct Yaml<'a> {
    path: &'a str,
    events: std::vec::IntoIter<(Event<'a>, usize)>,
}

fn parse_yaml(path: &str, text: &str) -> Result<Vec<Entry>, String> {
    let mut events = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| broken(path, error.marker().line(), error.info()))?;
        match event {
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::Nothing => {}
            Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd => events.push((event, span.start.line())),
        }
    }
    let mut yaml = Yaml {
        path,
        events: events.into_iter(),
    };
    match yaml.events.next() {
        None => Ok(Vec::new()),
        Some((Event::MappingStart(..), _)) => yaml.mapping(""),
        Some((Event::Scalar(text, ..), _)) if text.is_empty() => Ok(Vec::new()),
        Some((_, line)) => Err(broken(
            path,
            line,
            "expected lines of the form `key: value`",
        )),
    }
}

impl Yaml<'_> {
    fn mapping(&mut self, section: &str) -> Result<Vec<Entry>, String> {
        let mut entries = Vec::new();
        while let Some((event, line)) = self.events.next() {
            let Event::Scalar(key, ..) = event else { break };
            match self.events.next() {
                Some((Event::MappingStart(..), _)) if section.is_empty() => {
                    entries.extend(self.mapping(&key)?);
                }
                Some((value, _)) => {
                    let key = flag_name(section, &key);
                    let value = self.value(value).ok_or_else(|| {
                        broken(self.path, line, format_args!("{key}: not a plain value"))
                    })?;
                    entries.push(Entry {
                        value: with_unit(&key, value),
                        key,
                        line,
                    });
                }
                None => break,
            }
        }
        Ok(entries)
    }

    /// A scalar, or the scalars of a list joined with commas.
    fn value(&mut self, event: Event<'_>) -> Option<String> {
        if let Event::SequenceStart(..) = event {
            let mut items = Vec::new();
            loop {
                let (event, _) = self.events.next()?;
                if event == Event::SequenceEnd {
                    return Some(items.join(","));
                }
                items.push(scalar(event)?);
            }
        }
        scalar(event)
    }
}

fn scalar(event: Event<'_>) -> Option<String> {
    let Event::Scalar(text, style, ..) = event else {
        return None;
    };
    let empty = style == ScalarStyle::Plain && (text == "~" || text == "null");
    Some(if empty {
        String::new()
    } else {
        text.into_owned()
    })
}
