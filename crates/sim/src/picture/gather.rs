//! From what an observer sees to a story.

use super::story::{
    Band, BandKind, Fate, Mark, MarkKind, Message, MessageKind, Operation, Outcome, Reign, Story,
    Violation,
};
use crate::file::{show_effect, write};
use crate::observer::Said;
use crate::report::{Report, Verdict};
use crate::scenario::{ClockEffect, DiskEffect, Effect, ProcessEffect};
use crate::{Machine, Observer, Phase, Scenario, Sight};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use synod_env::Lane;
use synod_env::sim::What;
use synod_protocols::{Glance, Service, glance};
use synod_raft::Topic;

/// Messages that are kept at most; of a longer run the last ones.
const MESSAGES_MAX: usize = 400_000;

/// Questions that are remembered until they are answered, at most.
const QUESTIONS_MAX: usize = 10_000;

/// Gathers what happens in one run of a scenario.
#[derive(Clone, Debug)]
pub struct Gatherer(Arc<Mutex<Gathered>>);

#[derive(Debug)]
struct Gathered {
    scenario: Scenario,
    story: Story,
    /// By the number of a message, its place among the messages.
    underway: BTreeMap<u64, usize>,
    /// By the number of an operation, its place among the operations.
    asked: BTreeMap<u64, usize>,
    /// By fault, the places of its bands.
    bands: BTreeMap<usize, Vec<usize>>,
    /// By member, the place of its reign.
    reigns: BTreeMap<u32, usize>,
    /// What the next message says.
    said: Option<(u64, Said)>,
    /// By asker, asked and the asker's number: what was asked.
    questions: BTreeMap<(Machine, Machine, u64), (MessageKind, String)>,
    now: Duration,
}

impl Gatherer {
    /// A gatherer for one run.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let clients = u32::try_from(scenario.workload.clients.len()).unwrap_or(u32::MAX);
        let busy = (0_u32..).zip(&scenario.workload.clients);
        let busy = busy.filter(|(_, plan)| plan.operations > 0);
        let busy: Vec<Machine> = busy.map(|(number, _)| Machine::Client(number)).collect();
        // Members first: what went wrong went wrong there, and clients may be many.
        let mut lanes: Vec<Machine> = (1..=scenario.members).map(Machine::Member).collect();
        if busy.is_empty() {
            lanes.extend((0..clients).map(Machine::Client));
        } else {
            lanes.extend(busy);
        }
        let story = Story {
            title: scenario.name.clone(),
            lanes,
            scenario: write(scenario),
            ..Story::default()
        };
        Self(Arc::new(Mutex::new(Gathered {
            scenario: scenario.clone(),
            story,
            underway: BTreeMap::new(),
            asked: BTreeMap::new(),
            bands: BTreeMap::new(),
            reigns: BTreeMap::new(),
            said: None,
            questions: BTreeMap::new(),
            now: Duration::ZERO,
        })))
    }

    /// What the run is to be observed by.
    #[must_use]
    pub fn observer(&self) -> Box<dyn Observer> {
        let gathered = Arc::clone(&self.0);
        Box::new(move |at: Duration, sight: &Sight| {
            let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
            gathered.see(at, sight);
        })
    }

    /// The story, once the run has ended. `facts` are names and values for its head.
    #[must_use]
    pub fn story(&self, report: &Report, facts: Vec<(String, String)>) -> Story {
        let gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut story = gathered.story.clone();
        story.to = gathered.now;
        // What stops as the world ends did not stop in it.
        story
            .marks
            .retain(|mark| mark.kind != MarkKind::Stopped || mark.at < gathered.now);
        story.facts = facts;
        match &report.verdict {
            Verdict::Violation { property, witness } => {
                let at = story.violation.as_ref().map_or(story.to, |it| it.at);
                let (property, witness) = (property.clone(), witness.clone());
                story.title = format!("{}: {property} does not hold", story.title);
                story.violation = Some(Violation {
                    at,
                    property,
                    witness,
                });
            }
            Verdict::Passed | Verdict::Unknown { .. } => story.violation = None,
        }
        let witness = story.violation.as_ref().map(|it| it.witness.clone());
        if let Some(witness) = witness {
            for number in operations_named(&witness) {
                if let Some(place) = gathered.asked.get(&number) {
                    story.operations[*place].witness = true;
                }
            }
        }
        story
    }
}

/// The numbers of the operations that a witness names, as `#17`.
fn operations_named(witness: &str) -> Vec<u64> {
    let pieces = witness.split('#').skip(1);
    let numbers = pieces.map(|piece| {
        let end = piece.find(|c: char| !c.is_ascii_digit());
        piece[..end.unwrap_or(piece.len())].parse()
    });
    numbers.filter_map(Result::ok).collect()
}

impl Gathered {
    fn see(&mut self, at: Duration, sight: &Sight) {
        self.now = self.now.max(at);
        match sight {
            Sight::World { machine, what } => {
                if let Some(machine) = *machine {
                    self.world(at, machine, what);
                }
            }
            Sight::Said { number, said } => self.said = Some((*number, said.clone())),
            Sight::Phase(phase) => {
                let name = match phase {
                    Phase::Faults => "faults come and go",
                    Phase::Serve => "healed: serve again",
                    Phase::Scan => "read everything back",
                };
                self.story.phases.push((at, name.to_owned()));
            }
            Sight::FaultBegan { fault, machines } => self.fault_began(at, *fault, machines),
            Sight::FaultEnded { fault } => {
                for place in self.bands.remove(fault).unwrap_or_default() {
                    self.story.bands[place].to = Some(at);
                }
            }
            Sight::Invoked {
                client,
                operation,
                request,
            } => {
                self.asked.insert(*operation, self.story.operations.len());
                self.story.operations.push(Operation {
                    client: *client,
                    from: at,
                    to: None,
                    outcome: Outcome::Unknown,
                    witness: false,
                    what: request.clone(),
                    detail: format!("operation #{operation}"),
                });
            }
            Sight::Returned {
                client: _,
                operation,
                outcome,
            } => self.returned(at, *operation, outcome),
            Sight::Role {
                member,
                role,
                epoch,
            } => self.role(at, *member, role, *epoch),
            Sight::Applied {
                member,
                index,
                hash,
            } => {
                let (index, hash) = (index.to_string(), format!("state hash {hash:032x}"));
                let lane = Machine::Member(*member);
                self.mark(lane, at, MarkKind::Applied, &index, &hash);
            }
            Sight::Snapshot {
                member,
                index,
                received,
            } => {
                let how = if *received { "received" } else { "written" };
                let lane = Machine::Member(*member);
                let index = format!("up to {index}");
                self.mark(lane, at, MarkKind::Snapshot, &index, how);
            }
            Sight::Stopped { member, reason } => {
                let machine = Machine::Member(*member);
                self.mark(machine, at, MarkKind::Stopped, "by itself", reason);
            }
            Sight::Violation { property, witness } => {
                let (property, witness) = (property.clone(), witness.clone());
                self.story.violation.get_or_insert(Violation {
                    at,
                    property,
                    witness,
                });
            }
        }
    }

    fn mark(&mut self, lane: Machine, at: Duration, kind: MarkKind, what: &str, detail: &str) {
        self.story.marks.push(Mark {
            lane,
            at,
            kind,
            what: what.to_owned(),
            detail: detail.to_owned(),
        });
    }

    fn returned(&mut self, at: Duration, operation: u64, outcome: &str) {
        let Some(place) = self.asked.get(&operation) else {
            return;
        };
        let it = &mut self.story.operations[*place];
        it.to = Some(at);
        it.outcome = if outcome.starts_with("done") {
            Outcome::Done
        } else if outcome.starts_with("refused") {
            Outcome::Refused
        } else {
            Outcome::Unknown
        };
        let told = outcome.strip_prefix("done ").unwrap_or(outcome);
        it.what = format!("{} → {told}", it.what);
    }

    /// A process has ended, and so has its reign: the dead tell nobody that they lead no more.
    fn ended(&mut self, machine: Machine, at: Duration, how: &str) {
        if let Machine::Member(member) = machine {
            self.end_reign(at, member);
        }
        self.mark(machine, at, MarkKind::Stopped, how, "");
    }

    fn end_reign(&mut self, at: Duration, member: u32) {
        if let Some(place) = self.reigns.remove(&member) {
            self.story.reigns[place].to = Some(at);
        }
    }

    fn role(&mut self, at: Duration, member: u32, role: &str, epoch: u64) {
        self.end_reign(at, member);
        if role == "leader" {
            self.reigns.insert(member, self.story.reigns.len());
            self.story.reigns.push(Reign {
                member,
                from: at,
                to: None,
                epoch,
            });
        }
    }

    fn fault_began(&mut self, at: Duration, index: usize, machines: &[Machine]) {
        let Some(fault) = self.scenario.faults.get(index) else {
            return;
        };
        let effect = fault.effect.clone();
        let (what, detail) = (effect.name(), show_effect(&effect));
        let kind = match &effect {
            Effect::Process { .. } => BandKind::Process,
            Effect::Link { .. } => BandKind::Link,
            Effect::Disk { .. } => BandKind::Disk,
            Effect::Clock { .. } => BandKind::Clock,
        };
        for machine in machines {
            if of_a_moment(&effect) {
                self.mark(*machine, at, MarkKind::Fault, what, &detail);
                continue;
            }
            let open = self.bands.entry(index).or_default();
            open.push(self.story.bands.len());
            self.story.bands.push(Band {
                lane: *machine,
                from: at,
                to: None,
                kind,
                what: format!("{what} {}", brief(&effect)),
                detail: detail.clone(),
            });
        }
    }

    fn world(&mut self, at: Duration, machine: Machine, what: &What) {
        match *what {
            What::Sent {
                to,
                port,
                lane,
                number,
                bytes,
                content: _,
                copies,
            } => {
                if self.story.messages.len() == MESSAGES_MAX {
                    self.forget_half();
                }
                self.underway.insert(number, self.story.messages.len());
                let to = Machine::of(to);
                let said = self.said.take().filter(|(said, _)| *said == number);
                let (kind, what) = match said {
                    Some((_, said)) => self.words(machine, to, lane, said),
                    None => of_lane(lane),
                };
                self.story.messages.push(Message {
                    from: machine,
                    to,
                    sent: at,
                    arrived: None,
                    kind,
                    fate: if copies == 0 { Fate::Lost } else { Fate::Whole },
                    what,
                    detail: format!("message {number}, {bytes} bytes, port {port}"),
                });
            }
            What::Arrived {
                number, altered, ..
            } => {
                let Some(place) = self.underway.get(&number).copied() else {
                    return;
                };
                let message = &mut self.story.messages[place];
                let fate = if altered { Fate::Altered } else { message.fate };
                if message.arrived.is_none() {
                    message.arrived = Some(at);
                    message.fate = fate;
                } else {
                    let mut again = message.clone();
                    again.arrived = Some(at);
                    again.fate = if altered { Fate::Altered } else { Fate::Again };
                    self.story.messages.push(again);
                }
            }
            What::Dropped { number, .. } => {
                if let Some(place) = self.underway.get(&number) {
                    let message = &mut self.story.messages[*place];
                    if message.arrived.is_none() {
                        message.fate = Fate::Refused;
                    }
                }
            }
            What::Started => self.mark(machine, at, MarkKind::Started, "", ""),
            What::Killed => self.ended(machine, at, "killed"),
            What::Crashed => self.ended(machine, at, "without power"),
            What::Ran { .. }
            | What::Rang
            | What::Disk { .. }
            | What::Paused
            | What::Resumed
            | What::Frozen
            | What::Thawed
            | What::ClockChanged
            | What::LinkChanged { .. }
            | What::DiskChanged => {}
        }
    }

    /// What a message belongs to, and what it says. Answers say what they answer.
    fn words(
        &mut self,
        from: Machine,
        to: Machine,
        lane: Lane,
        said: Said,
    ) -> (MessageKind, String) {
        let frame = match said {
            Said::Client(words) => return (MessageKind::Request, words),
            Said::Members(frame) => frame,
        };
        match glance(&frame) {
            None => of_lane(lane),
            Some(Glance::Hello) => (MessageKind::Link, "hello".to_owned()),
            Some(Glance::Refusal(reason)) => (MessageKind::Link, format!("go away: {reason}")),
            Some(Glance::Tell(service, body)) => words_of(service, lane, &body),
            Some(Glance::Ask(service, number, body)) => {
                let (kind, words) = words_of(service, lane, &body);
                if self.questions.len() == QUESTIONS_MAX {
                    self.questions.pop_first();
                }
                self.questions
                    .insert((from, to, number), (kind, words.clone()));
                (kind, words)
            }
            Some(Glance::Answer(service, number, body)) => {
                let Some((kind, question)) = self.questions.get(&(to, from, number)) else {
                    return words_of(service, lane, &body);
                };
                let answer = match service {
                    Some(Service::Node) => synod_node::describe(&body),
                    Some(Service::Engine) if *kind == MessageKind::Append => {
                        synod_raft::describe_appended(&body)
                    }
                    Some(Service::Engine) | None => None,
                };
                let answer = answer.unwrap_or_else(|| "answer".to_owned());
                (*kind, format!("{answer} ← {question}"))
            }
        }
    }

    /// Lets go of the first half of the messages.
    fn forget_half(&mut self) {
        let half = self.story.messages.len() / 2;
        self.story.messages.drain(..half);
        self.underway
            .retain(|_, place| match place.checked_sub(half) {
                Some(left) => {
                    *place = left;
                    true
                }
                None => false,
            });
    }
}

fn of_lane(lane: Lane) -> (MessageKind, String) {
    let kind = match lane {
        Lane::Control => MessageKind::Other,
        Lane::Append => MessageKind::Append,
        Lane::Bulk => MessageKind::Snapshot,
    };
    (kind, format!("{lane:?}").to_lowercase())
}

fn words_of(service: Option<Service>, lane: Lane, body: &Bytes) -> (MessageKind, String) {
    match service {
        Some(Service::Node) => {
            let words = synod_node::describe(body);
            (MessageKind::Forward, words.unwrap_or_default())
        }
        Some(Service::Engine) => match synod_raft::describe(body) {
            Some((topic, words)) => {
                let kind = match topic {
                    Topic::Replication => MessageKind::Append,
                    Topic::Election => MessageKind::Vote,
                    Topic::Snapshot => MessageKind::Snapshot,
                };
                (kind, words)
            }
            None => of_lane(lane),
        },
        None => of_lane(lane),
    }
}

/// True if the fault is over as soon as it begins.
fn of_a_moment(effect: &Effect) -> bool {
    match effect {
        Effect::Process { effect, .. } => matches!(effect, ProcessEffect::Restart),
        Effect::Disk { effect, .. } => matches!(effect, DiskEffect::Rot { .. }),
        Effect::Clock { effect, .. } => matches!(
            effect,
            ClockEffect::Step { .. } | ClockEffect::Jump { .. } | ClockEffect::Leap
        ),
        Effect::Link { .. } => false,
    }
}

/// What of an effect has room in a picture: all but whom it is for, which the lane says.
fn brief(effect: &Effect) -> String {
    match effect {
        Effect::Link { .. } => show_effect(effect),
        Effect::Process { .. } | Effect::Disk { .. } | Effect::Clock { .. } => {
            let shown = show_effect(effect);
            let rest = shown.split_once(", ").map(|(_, rest)| rest.to_owned());
            rest.unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests;
