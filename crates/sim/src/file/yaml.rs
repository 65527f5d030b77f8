//! YAML as a tree of scalars, lists and maps, each with its place.

use super::{FILE_BYTES_MAX, Mistake, Position};
use saphyr_parser::{Event, Marker, Parser, Span};

/// Lists and maps within each other, at most.
const DEPTH_MAX: usize = 16;

/// A value of the file.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A field: its name, and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: Position,
    pub(super) name: String,
    pub(super) value: Node,
}

impl Node {
    /// What it is, for a message to a person.
    pub(super) fn found(&self) -> String {
        match &self.value {
            Value::Scalar(text) if text.is_empty() => "nothing".to_owned(),
            Value::Scalar(text) => format!("`{}`", shortened(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a group of fields".to_owned(),
        }
    }
}

/// A text as a message can carry it.
pub(super) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.replace(['\n', '\r'], " ")
}

fn position(marker: &Marker) -> Position {
    Position {
        line: marker.line().max(1),
        column: marker.col() + 1,
    }
}

/// Reads one document.
///
/// # Errors
/// What is not YAML, and what of YAML a scenario has no use for: anchors, tags, several documents.
pub(super) fn parse(text: &str) -> Result<Node, Mistake> {
    let start = Position { line: 1, column: 1 };
    if text.len() > FILE_BYTES_MAX {
        let what = format!(
            "found {} bytes; possible: {FILE_BYTES_MAX} at most",
            text.len()
        );
        return Err(Mistake::new(start, what));
    }
    let mut tree = Tree {
        parser: Parser::new_from_str(text),
    };
    let mut root = None;
    loop {
        let (event, span) = tree.next()?;
        let at = position(&span.start);
        match event {
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            Event::StreamEnd => break,
            event @ (Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd) => {
                if root.is_some() {
                    return Err(Mistake::new(at, "found a second document; possible: one"));
                }
                root = Some(tree.node(event, at, 0)?);
            }
        }
    }
    root.ok_or_else(|| Mistake::new(start, "found nothing; possible: the fields of a scenario"))
}

struct Tree<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
}

impl<'a> Tree<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Mistake> {
        match self.parser.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let what = format!("found no YAML: {}", error.info());
                Err(Mistake::new(position(error.marker()), what))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, at: Position, depth: usize) -> Result<Node, Mistake> {
        let plain = |anchor: usize, tagged: bool| {
            if anchor != 0 || tagged {
                let what = "found an anchor or a tag; possible: plain values";
                return Err(Mistake::new(at, what));
            }
            Ok(())
        };
        if depth > DEPTH_MAX {
            let what = format!("found values {depth} deep; possible: {DEPTH_MAX} at most");
            return Err(Mistake::new(at, what));
        }
        let value = match event {
            Event::Scalar(text, _, anchor, tag) => {
                plain(anchor, tag.is_some())?;
                Value::Scalar(text.into_owned())
            }
            Event::SequenceStart(anchor, tag) => {
                plain(anchor, tag.is_some())?;
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        break;
                    }
                    items.push(self.node(event, position(&span.start), depth + 1)?);
                }
                Value::List(items)
            }
            Event::MappingStart(anchor, tag) => {
                plain(anchor, tag.is_some())?;
                Value::Map(self.entries(depth)?)
            }
            Event::Alias(_) => {
                let what = "found a reference to an anchor; possible: plain values";
                return Err(Mistake::new(at, what));
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => {
                return Err(Mistake::new(at, "found the end; possible: a value"));
            }
        };
        Ok(Node { at, value })
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, Mistake> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let name = self.node(event, position(&span.start), depth + 1)?;
            let at = name.at;
            let Value::Scalar(text) = name.value else {
                let what = format!("found {}; possible: the name of a field", name.found());
                return Err(Mistake::new(at, what));
            };
            if entries.iter().any(|it| it.name == text) {
                let what = format!("found `{}` a second time; possible: once", shortened(&text));
                return Err(Mistake::new(at, what));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, position(&span.start), depth + 1)?;
            let name = text;
            entries.push(Entry { at, name, value });
        }
    }
}
