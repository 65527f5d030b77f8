//! The format of a file of cases: text in which some lines mean something.
//!
//! | line | what it is |
//! |---|---|
//! | `## name` | a case begins; it is played on a server of its own, whose store is empty |
//! | `with: option=value …` | options the server is started with |
//! | `since: …` | the recorded etcd answers otherwise than the contract; which version, and the source |
//! | `differs: …` | Synod answers otherwise than the contract, and why |
//! | `> …` | a request; a line `>   …` goes on with it |
//! | `\| …` | a line of the answer: the contract |
//! | `~ …` | a line of what the recorded etcd answered, where it is not the contract |
//! | `! …` | a line of what Synod answers, where it is not the contract |
//!
//! All other lines are prose.

use crate::Outcome;

const DIFFERS: &str = "differs: ";

/// One file.
#[derive(Clone, Debug)]
pub struct File {
    /// What stands before the first case.
    pub preface: Vec<String>,
    /// The cases, in their order.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, which no other case of the file has.
    pub name: String,
    /// Options the server is started with, as name and value.
    pub options: Vec<(String, String)>,
    /// Why and since when the contract is not what the recorded etcd answered.
    pub since: Option<String>,
    /// Why Synod's answer is not the contract.
    pub differs: Option<String>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    /// Prose and options, as they stand.
    Line(String),
    Step(Step),
}

/// A request and its answers.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// The line on which it stands.
    pub line: usize,
    /// The request, on one line.
    pub request: String,
    /// The request as it stands in the file.
    written: Vec<String>,
    /// What must be answered.
    pub contract: Vec<String>,
    /// What the recorded etcd answered, if that is something else.
    pub recorded: Vec<String>,
    /// What Synod answers, if that is something else.
    pub synod: Vec<String>,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// When a line stands where it means nothing, or a case is marked as different and is not, or
    /// the reverse.
    pub fn parse(text: &str) -> Outcome<Self> {
        let (mut preface, mut cases) = (Vec::new(), Vec::<Case>::new());
        for (number, line) in (1..).zip(text.lines()) {
            let place = |why: &str| format!("line {number}: {why}");
            if let Some(name) = line.strip_prefix("## ") {
                if cases.iter().any(|case| case.name == name) {
                    return Err(place("another case has this name"));
                }
                cases.push(Case::new(name));
                continue;
            }
            match cases.last_mut() {
                Some(case) => case.read(number, line).map_err(|why| place(&why))?,
                None if is_marked(line) => return Err(place("no case has begun")),
                None => preface.push(line.to_owned()),
            }
        }
        for case in &cases {
            case.check()
                .map_err(|why| format!("{:?}: {why}", case.name))?;
        }
        Ok(Self { preface, cases })
    }

    /// The text of the file, with one empty line between cases.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = self.preface.clone();
        for case in &self.cases {
            lines.push(format!("## {}", case.name));
            for part in &case.parts {
                match part {
                    Part::Line(line) => lines.push(line.clone()),
                    Part::Step(step) => {
                        lines.extend(step.written.iter().map(|line| format!("> {line}")));
                        lines.extend(step.contract.iter().map(|line| format!("| {line}")));
                        lines.extend(step.recorded.iter().map(|line| format!("~ {line}")));
                        lines.extend(step.synod.iter().map(|line| format!("! {line}")));
                    }
                }
            }
        }
        lines.join("\n") + "\n"
    }
}

impl Case {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            options: Vec::new(),
            since: None,
            differs: None,
            parts: Vec::new(),
        }
    }

    fn read(&mut self, number: usize, line: &str) -> Outcome {
        let step = match self.parts.last_mut() {
            Some(Part::Step(step)) => Some(step),
            Some(Part::Line(_)) | None => None,
        };
        let (mark, rest) = line.split_at_checked(2).unwrap_or((line, ""));
        match (mark, step) {
            ("> ", Some(step)) if rest.starts_with("  ") && step.contract.is_empty() => {
                step.request.push(' ');
                step.request.push_str(rest.trim_start());
                step.written.push(rest.to_owned());
            }
            ("> ", _) => self.parts.push(Part::Step(Step {
                line: number,
                request: rest.to_owned(),
                written: vec![rest.to_owned()],
                ..Step::default()
            })),
            ("| ", Some(step)) => step.contract.push(rest.to_owned()),
            ("~ ", Some(step)) => step.recorded.push(rest.to_owned()),
            ("! ", Some(step)) => step.synod.push(rest.to_owned()),
            ("| " | "~ " | "! ", None) => return Err("an answer without a request".into()),
            (_, _) => {
                self.parts.push(Part::Line(line.to_owned()));
                self.read_directive(line)?;
            }
        }
        Ok(())
    }

    fn read_directive(&mut self, line: &str) -> Outcome {
        if let Some(options) = line.strip_prefix("with: ") {
            for option in options.split_whitespace() {
                let option = option.split_once('=');
                let (name, value) = option.ok_or("an option is name=value")?;
                self.options.push((name.to_owned(), value.to_owned()));
            }
        } else if let Some(source) = line.strip_prefix("since: ") {
            self.since = Some(source.to_owned());
        } else if let Some(reason) = line.strip_prefix(DIFFERS) {
            self.differs = Some(reason.to_owned());
        }
        Ok(())
    }

    /// The steps, in their order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.parts.iter().filter_map(|part| match part {
            Part::Step(step) => Some(step),
            Part::Line(_) => None,
        })
    }

    /// The steps, to write down what was answered.
    pub fn steps_mut(&mut self) -> impl Iterator<Item = &mut Step> {
        self.parts.iter_mut().filter_map(|part| match part {
            Part::Step(step) => Some(step),
            Part::Line(_) => None,
        })
    }

    /// Takes away the mark that Synod answers otherwise.
    pub fn unmark(&mut self) {
        self.differs = None;
        self.parts.retain(|part| match part {
            Part::Line(line) => !line.starts_with(DIFFERS),
            Part::Step(_) => true,
        });
    }

    /// What is marked must differ, and what differs must be marked.
    fn check(&self) -> Outcome {
        if self.steps().next().is_none() {
            return Err("a case has a request".into());
        }
        if self.steps().any(|step| !step.recorded.is_empty()) && self.since.is_none() {
            return Err("etcd answers otherwise: say `since:`, and the source".into());
        }
        if self.steps().any(|step| !step.synod.is_empty()) && self.differs.is_none() {
            return Err("Synod answers otherwise: say `differs:`, and why".into());
        }
        let same = |step: &&Step| step.contract == step.recorded || step.contract == step.synod;
        match self
            .steps()
            .find(|step| same(step) && !step.contract.is_empty())
        {
            Some(step) => Err(format!(
                "line {}: a marked answer is the contract",
                step.line
            )),
            None => Ok(()),
        }
    }
}

impl Step {
    /// What the recorded etcd answered.
    #[must_use]
    pub fn of_etcd(&self) -> &[String] {
        if self.recorded.is_empty() {
            &self.contract
        } else {
            &self.recorded
        }
    }

    /// What Synod is known to answer.
    #[must_use]
    pub fn of_synod(&self) -> &[String] {
        if self.synod.is_empty() {
            &self.contract
        } else {
            &self.synod
        }
    }
}

fn is_marked(line: &str) -> bool {
    ["> ", "| ", "~ ", "! "]
        .iter()
        .any(|mark| line.starts_with(mark))
}
