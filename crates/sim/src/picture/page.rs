//! A story as a page: one HTML file that needs nothing else.

use super::story::Story;
use crate::Machine;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// The page, complete: styles, script and data are inside, and it asks nobody for anything.
#[must_use]
pub fn html(story: &Story) -> String {
    let mut facts = String::new();
    for (name, value) in &story.facts {
        let (name, value) = (escape(name), escape(value));
        put(
            &mut facts,
            format_args!("<span>{name} <b>{value}</b></span>"),
        );
    }
    let verdict = story.violation.as_ref().map_or_else(String::new, |it| {
        format!(
            "<div class=\"verdict\"><b>Does not hold: {}</b><pre>{}</pre></div>\n",
            escape(&it.property),
            escape(&it.witness)
        )
    });
    let left_out = if story.left_out.is_empty() {
        String::new()
    } else {
        format!("<p class=\"left-out\">{}</p>\n", escape(&story.left_out))
    };
    let scenario = if story.scenario.is_empty() {
        String::new()
    } else {
        format!(
            "<details><summary>The scenario</summary><pre>{}</pre></details>\n",
            escape(&story.scenario)
        )
    };
    let filled: [(&str, &str); 8] = [
        ("title", &escape(&story.title)),
        ("style", include_str!("page.css")),
        ("facts", &facts),
        ("verdict", &verdict),
        ("left_out", &left_out),
        ("scenario", &scenario),
        ("story", &data(story)),
        ("script", include_str!("page.js")),
    ];
    fill(include_str!("page.html"), &filled)
}

/// Puts each text at the place that names it; texts are not searched for places.
fn fill(page: &str, texts: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut pieces = page.split("{{");
    filled.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").expect("the page closes its places");
        let (_, text) = texts
            .iter()
            .find(|(known, _)| *known == name)
            .expect("the page names known places");
        filled.push_str(text);
        filled.push_str(rest);
    }
    filled
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what)
        .expect("a string takes whatever is written");
}

/// A JSON string that can stand inside a script element.
fn quoted(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            // Nothing inside may look like the end of the element.
            '<' => json.push_str("\\u003c"),
            c if c < ' ' || c == '\u{2028}' || c == '\u{2029}' => {
                put(&mut json, format_args!("\\u{:04x}", u32::from(c)));
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

/// Texts, each once: most messages say what others said before.
#[derive(Default)]
struct Texts {
    places: BTreeMap<String, usize>,
    order: Vec<String>,
}

impl Texts {
    fn place(&mut self, text: &str) -> usize {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = self.order.len();
        self.places.insert(text.to_owned(), place);
        self.order.push(text.to_owned());
        place
    }
}

fn time(at: Duration) -> String {
    at.as_nanos().to_string()
}

fn maybe(at: Option<Duration>) -> String {
    at.map_or_else(|| "-1".to_owned(), time)
}

/// One array per kind of thing, in the order in which `page.js` takes its items apart.
fn data(story: &Story) -> String {
    let lane = |machine: Machine| story.lanes.iter().position(|it| *it == machine);
    let mut texts = Texts::default();
    let mut say = |text: &str| texts.place(text);

    let messages = story.messages.iter().filter_map(|it| {
        Some(format!(
            "[{},{},{},{},\"{}\",\"{}\",{},{}]",
            lane(it.from)?,
            lane(it.to)?,
            time(it.sent),
            maybe(it.arrived),
            it.kind.name(),
            it.fate.name(),
            say(&it.what),
            say(&it.detail)
        ))
    });
    let messages = list(messages);
    let bands = story.bands.iter().filter_map(|it| {
        Some(format!(
            "[{},{},{},\"{}\",{},{}]",
            lane(it.lane)?,
            time(it.from),
            maybe(it.to),
            it.kind.name(),
            say(&it.what),
            say(&it.detail)
        ))
    });
    let bands = list(bands);
    let reigns = story.reigns.iter().filter_map(|it| {
        let lane = lane(Machine::Member(it.member))?;
        let (from, to) = (time(it.from), maybe(it.to));
        Some(format!("[{lane},{from},{to},{}]", it.epoch))
    });
    let reigns = list(reigns);
    let marks = story.marks.iter().filter_map(|it| {
        Some(format!(
            "[{},{},\"{}\",{},{}]",
            lane(it.lane)?,
            time(it.at),
            it.kind.name(),
            say(&it.what),
            say(&it.detail)
        ))
    });
    let marks = list(marks);
    let operations = story.operations.iter().filter_map(|it| {
        Some(format!(
            "[{},{},{},\"{}\",{},{},{}]",
            lane(Machine::Client(it.client))?,
            time(it.from),
            maybe(it.to),
            it.outcome.name(),
            u8::from(it.witness),
            say(&it.what),
            say(&it.detail)
        ))
    });
    let operations = list(operations);
    let phases = story.phases.iter();
    let phases = list(phases.map(|(at, what)| format!("[{},{}]", time(*at), say(what))));
    let violation = story.violation.as_ref().map_or_else(
        || "null".to_owned(),
        |it| {
            let (property, witness) = (say(&it.property), say(&it.witness));
            format!("[{},{property},{witness}]", time(it.at))
        },
    );
    let lanes = list(story.lanes.iter().map(|machine| match machine {
        Machine::Member(number) => format!("[\"member\",\"Member {number}\"]"),
        Machine::Client(number) => format!("[\"client\",\"Client {number}\"]"),
    }));
    let (from, to) = (time(story.from), time(story.to));
    let texts = list(texts.order.iter().map(|text| quoted(text)));
    format!(
        "{{\"from\":{from},\"to\":{to},\"lanes\":{lanes},\n\"texts\":{texts},\n\
         \"messages\":{messages},\n\"bands\":{bands},\n\"reigns\":{reigns},\n\"marks\":{marks},\n\
         \"operations\":{operations},\n\"phases\":{phases},\n\"violation\":{violation}}}"
    )
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    format!("[{}]", items.join(","))
}

#[cfg(test)]
mod tests;
