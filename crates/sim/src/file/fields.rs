//! Groups of fields, read by name.

use super::yaml::{Entry, Node, Value, shortened};
use super::{Mistake, Position};

/// The fields of one group. Those that it cannot have were refused when it was made.
pub(super) struct Fields<'a> {
    at: Position,
    of: &'static str,
    entries: &'a [Entry],
}

impl<'a> Fields<'a> {
    /// # Errors
    /// If the value is no group of fields, or has one that is not among `names`.
    pub(super) fn new(
        node: &'a Node,
        of: &'static str,
        names: &[&'static str],
    ) -> Result<Self, Mistake> {
        let Value::Map(entries) = &node.value else {
            return Err(wrong(node, format!("the fields of {of}: {}", or(names))));
        };
        for entry in entries {
            if !names.contains(&entry.name.as_str()) {
                let meant = nearest(&entry.name, names)
                    .map_or_else(String::new, |name| format!("did you mean `{name}`? "));
                let found = shortened(&entry.name);
                let what = format!(
                    "found the unknown field `{found}` of {of}; {meant}possible: {}",
                    or(names)
                );
                return Err(Mistake::new(entry.at, what));
            }
        }
        let at = node.at;
        Ok(Self { at, of, entries })
    }

    /// A field that may be left out.
    pub(super) fn get(&self, name: &str) -> Option<&'a Node> {
        let entry = self.entries.iter().find(|it| it.name == name)?;
        Some(&entry.value)
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// If it is not.
    pub(super) fn need(&self, name: &str) -> Result<&'a Node, Mistake> {
        let missing = || {
            let what = format!("found no field `{name}` of {}; it must be there", self.of);
            Mistake::new(self.at, what)
        };
        self.get(name).ok_or_else(missing)
    }

    /// The fields with their names, in the order of the file.
    pub(super) fn entries(&self) -> &'a [Entry] {
        self.entries
    }
}

/// A value that cannot stand where it stands.
pub(super) fn wrong(node: &Node, possible: impl std::fmt::Display) -> Mistake {
    Mistake::new(
        node.at,
        format!("found {}; possible: {possible}", node.found()),
    )
}

/// Names for a person.
pub(super) fn or(names: &[&str]) -> String {
    names.join(", ")
}

/// The items of a list.
pub(super) fn list<'a>(node: &'a Node, of: &str) -> Result<&'a [Node], Mistake> {
    match &node.value {
        Value::List(items) => Ok(items),
        Value::Scalar(_) | Value::Map(_) => Err(wrong(node, format!("a list of {of}"))),
    }
}

/// The text of a scalar.
pub(super) fn text<'a>(node: &'a Node, possible: &str) -> Result<&'a str, Mistake> {
    match &node.value {
        Value::Scalar(text) => Ok(text),
        Value::List(_) | Value::Map(_) => Err(wrong(node, possible)),
    }
}

/// The name that a person may have meant: at most two letters away, and fewer than half of them.
fn nearest<'n>(found: &str, names: &[&'n str]) -> Option<&'n str> {
    let found: Vec<char> = found.chars().take(40).collect();
    let scored = names.iter().map(|name| (distance(&found, name), *name));
    let (away, name) = scored.min_by_key(|(away, _)| *away)?;
    (away <= 2 && away * 2 < found.len()).then_some(name)
}

/// How many letters have to be changed, added or taken away (Levenshtein, 1966).
fn distance(found: &[char], name: &str) -> usize {
    let name: Vec<char> = name.chars().collect();
    let mut row: Vec<usize> = (0..=name.len()).collect();
    for (i, a) in found.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in name.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[name.len()]
}
