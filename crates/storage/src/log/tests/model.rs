//! What the log must hold, kept beside it as plainly as possible.

use super::*;
use std::collections::BTreeMap;
use synod_env::Prng;

/// One record, as the log's caller asked for it.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Entry(Entry),
    Vote(Vote),
    Truncate(Option<Position>),
    Purge(Position),
}

/// The log's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<Position>,
    pub(super) last: Option<Position>,
    pub(super) entries: BTreeMap<u64, Entry>,
}

impl Content {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Entry(entry) => {
                self.last = Some(entry.position);
                self.entries.insert(entry.position.index, entry.clone());
            }
            Step::Vote(vote) => self.vote = Some(*vote),
            Step::Truncate(last) => {
                self.last = *last;
                self.entries
                    .split_off(&last.map_or(0, |last| last.index + 1));
            }
            Step::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                self.purged = Some(*upto);
                if self.last.is_none_or(|last| last.index < upto.index) {
                    self.last = Some(*upto);
                }
            }
        }
    }

    fn of(log: &Log, entries: Vec<Entry>) -> Self {
        Self {
            vote: log.vote(),
            purged: log.purged(),
            last: log.last(),
            entries: entries
                .into_iter()
                .map(|entry| (entry.position.index, entry))
                .collect(),
        }
    }
}

/// The steps so far, and how many of them the log has acknowledged.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// The content before `steps`.
    base: Content,
    steps: Vec<Step>,
    /// The content after `steps`.
    pub(super) now: Content,
    acknowledged: usize,
    /// The last committed position that was noted.
    committed: Option<Position>,
    /// An append or flush was answered with an error.
    pub(super) failed: bool,
}

/// A model that callbacks can reach.
pub(super) type Shared = Arc<Mutex<Model>>;

impl Model {
    fn push(&mut self, step: Step) {
        self.now.take(&step);
        self.steps.push(step);
    }

    /// What was truncated was never committed by a real engine; here it may have been, so the
    /// greatest position counts.
    fn note_committed(&mut self, upto: Position) {
        self.committed = self.committed.max(Some(upto));
    }

    fn acknowledge(&mut self, steps: usize) {
        self.acknowledged = self.acknowledged.max(steps);
    }

    /// Checks what a log holds after a restart: all steps that were acknowledged, then some of
    /// the others in their order, and nothing else. What it holds is the base from then on.
    pub(super) fn recovered(&mut self, log: &Log, entries: Vec<Entry>, recovered: &Recovered) {
        let found = Content::of(log, entries);
        let mut content = self.base.clone();
        let mut matches = content == found && self.acknowledged == 0;
        for (index, step) in self.steps.iter().enumerate() {
            if matches {
                break;
            }
            content.take(step);
            matches = content == found && index + 1 >= self.acknowledged;
        }
        assert!(
            matches,
            "after a restart the log holds {found:?}, which is none of the contents after step \
             {} of {:?}, which began with {:?}",
            self.acknowledged, self.steps, self.base
        );
        assert!(
            recovered.committed <= self.committed,
            "{recovered:?} but {:?}",
            self.committed
        );
        assert_eq!(recovered.last, found.last);
        assert_eq!(log.durable(), found.last.map(|last| last.index));
        *self = Self {
            base: found.clone(),
            now: found,
            committed: self.committed,
            ..Self::default()
        };
    }
}

/// Acts on a log at random and on the model alike.
pub(super) struct Actor {
    pub(super) log: Log,
    pub(super) env: Env,
    pub(super) model: Shared,
    pub(super) prng: Prng,
    pub(super) epoch: u64,
}

impl Actor {
    /// Does one thing. What it waits for may never come, when the member is gone.
    pub(super) async fn act(&mut self) {
        match self.prng.below(20) {
            0..=9 => self.append().await,
            10 => {
                self.epoch += 1;
                let vote = Vote {
                    term: self.epoch,
                    node: 7,
                    committed: self.prng.chance(1, 2),
                };
                let flush = self.log.save_vote(vote);
                self.control(Step::Vote(vote), flush).await;
            }
            11 => self.truncate().await,
            12..=14 => self.purge().await,
            15 => {
                let last = self.model().now.last;
                if let Some(last) = last {
                    self.model().note_committed(last);
                    self.log.save_committed(last);
                }
            }
            16 => self.read().await,
            17 => {
                self.env
                    .sleep(Duration::from_micros(self.prng.below(300_000)))
                    .await
            }
            _ => {
                self.env
                    .sleep(Duration::from_micros(self.prng.below(500)))
                    .await
            }
        }
    }

    fn model(&self) -> std::sync::MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    async fn append(&mut self) {
        let last = self.model().now.last;
        let first = last.map_or_else(|| self.prng.below(2), |last| last.index + 1);
        if self.prng.chance(1, 5) {
            self.epoch += 1;
        }
        let epoch = self.epoch.max(last.map_or(0, |last| last.epoch));
        let entries: Vec<_> = (0..self.prng.below(4) + 1)
            .map(|ahead| {
                let length = match self.prng.below(4) {
                    0 => self.prng.below(1_500),
                    1 => 0,
                    // Often of one length, so that records of different times stand at equal places.
                    _ => 100,
                };
                let fill = u8::try_from(self.prng.below(256)).unwrap();
                entry(
                    epoch,
                    first + ahead,
                    vec![fill; usize::try_from(length).unwrap()],
                )
            })
            .collect();
        let steps: Vec<_> = entries.iter().cloned().map(Step::Entry).collect();
        let priority = if self.prng.chance(1, 8) {
            Priority::Reserve
        } else {
            Priority::Ordinary
        };
        let (told, flush) = callback();
        let model = Arc::clone(&self.model);
        let done = Box::new(move |result: io::Result<()>| {
            let mut model = model.lock().unwrap();
            assert!(
                result.is_err() || !model.failed,
                "an acknowledgement after a failure"
            );
            model.failed |= result.is_err();
            drop(model);
            told(result);
        });
        match self.log.append(entries, priority, done) {
            Ok(()) => {
                let last = self.log.last();
                self.placed(steps, flush).await;
                assert!(
                    self.log.last() >= last,
                    "a waiting append lets nobody truncate"
                );
            }
            Err(Refused::Preparing | Refused::Busy | Refused::NoSpace) => {
                self.env.sleep(Duration::from_millis(1)).await;
            }
            Err(refused @ (Refused::TooLarge | Refused::Stopped)) => {
                assert!(self.model().failed, "{refused}");
            }
        }
    }

    async fn truncate(&mut self) {
        let last = self.model().now.last;
        let purged = self.model().now.purged;
        let Some(last) = last else { return };
        let keep = last.index.saturating_sub(self.prng.below(6));
        let position = self
            .model()
            .now
            .entries
            .get(&keep)
            .map(|entry| entry.position);
        let to = position.or(purged);
        let flush = self.log.truncate_after(to);
        self.control(Step::Truncate(to), flush).await;
    }

    async fn purge(&mut self) {
        let beyond = self.prng.chance(1, 20);
        let last = self.model().now.last;
        let entries: Vec<_> = self.model().now.entries.keys().copied().collect();
        let to = if beyond {
            self.epoch += 1;
            at(
                self.epoch,
                last.map_or(0, |last| last.index) + 1 + self.prng.below(50),
            )
        } else if entries.is_empty() {
            return;
        } else {
            let count = u64::try_from(entries.len()).unwrap();
            let index = entries[usize::try_from(self.prng.below(count)).unwrap()];
            self.model().now.entries[&index].position
        };
        let flush = self.log.purge(to);
        self.control(Step::Purge(to), flush).await;
    }

    /// Whatever is in the log reads as it was written, durable or not.
    async fn read(&mut self) {
        let entries: Vec<_> = self.model().now.entries.values().cloned().collect();
        let Some(first) = entries.first() else { return };
        let range = first.position.index..first.position.index + 1_000;
        let read = self.log.read(range, usize::MAX).await;
        match read {
            Ok(read) => assert_eq!(read, entries),
            Err(error) => assert!(matches!(error, StorageError::Io { .. }), "{error}"),
        }
    }

    /// Notes a step, unless it was refused for lack of room: then it has left no trace.
    async fn control(&mut self, step: Step, flush: Flush) {
        let mut expected = self.model().now.clone();
        expected.take(&step);
        let Content {
            vote,
            purged,
            last,
            entries: _,
        } = expected;
        let log = &self.log;
        if (vote, purged, last) == (log.vote(), log.purged(), log.last()) {
            self.placed(vec![step], flush).await;
        } else {
            let refused = flush
                .await
                .expect_err("what has no place is not acknowledged");
            let is_final = refused.kind() == io::ErrorKind::BrokenPipe;
            assert!(!is_final || self.model().failed, "{refused}");
        }
    }

    /// Notes steps that have their place, and their acknowledgement when it comes; sometimes waits
    /// for it.
    async fn placed(&mut self, steps: Vec<Step>, flush: Flush) {
        let count = {
            let mut model = self.model();
            steps.into_iter().for_each(|step| model.push(step));
            model.steps.len()
        };
        let model = Arc::clone(&self.model);
        let answered = async move {
            let result = flush.await;
            let mut model = model.lock().unwrap();
            match result {
                Ok(()) => model.acknowledge(count),
                // A step without effect may have been refused without being seen above.
                Err(error) => model.failed |= error.get_ref().is_none_or(|it| !it.is::<Refused>()),
            }
        };
        if self.prng.chance(1, 3) {
            answered.await;
        } else {
            self.env.spawn("waits for an acknowledgement", answered);
        }
    }
}
