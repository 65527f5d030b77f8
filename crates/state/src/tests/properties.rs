//! The state and the model in lock-step, on random commands.

use super::audit;
use super::model::Model;
use crate::command::{
    Alarm, AlarmKind, Batch, Command, Compare, DeleteRange, LeaseId, Op, Operand, Order, Origin,
    Put, Range, Relation, Revision, Target, Txn,
};
use crate::limit::{LimitChange, LimitKind};
use crate::reply::{Event, Outcome};
use crate::{Chunk, Compacted, Dropped, Record, Root, State};
use bytes::Bytes;
use proptest::prelude::*;
use synod_env::MemberId;

/// Few keys, so that they meet; some are prefixes of others.
fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "aa", "ab", "b", "b\0", "c", "\u{7f}"]).prop_map(Bytes::from)
}

fn range_end() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => Just(Bytes::new()),
        1 => Just(Bytes::from_static(b"\0")),
        2 => key(),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["", "1", "2", "10", "a longer value"]).prop_map(Bytes::from)
}

fn lease() -> impl Strategy<Value = LeaseId> {
    prop_oneof![3 => Just(0), 4 => 1..4_i64]
}

fn revision() -> impl Strategy<Value = Revision> {
    prop_oneof![2 => Just(0), 3 => -1..40_i64]
}

fn any_put() -> impl Strategy<Value = Put> {
    (
        key(),
        value(),
        lease(),
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |(key, value, lease, prev_kv, ignore_value, ignore_lease)| Put {
                key,
                value: if ignore_value { Bytes::new() } else { value },
                lease: if ignore_lease { 0 } else { lease },
                prev_kv,
                ignore_value,
                ignore_lease,
            },
        )
}

fn any_delete() -> impl Strategy<Value = DeleteRange> {
    (key(), range_end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRange {
        key,
        range_end,
        prev_kv,
    })
}

fn any_range() -> impl Strategy<Value = Range> {
    let order = prop::sample::select(vec![Order::None, Order::Ascend, Order::Descend]);
    let target = prop::sample::select(vec![
        Target::Key,
        Target::Version,
        Target::Create,
        Target::Mod,
        Target::Value,
    ]);
    let bound = || prop_oneof![4 => Just(0), 1 => 1..30_i64];
    let bounds = (bound(), bound(), bound(), bound());
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    (
        key(),
        range_end(),
        -1..4_i64,
        revision(),
        (order, target),
        flags,
        bounds,
    )
        .prop_map(
            |(key, range_end, limit, revision, (order, target), flags, bounds)| Range {
                key,
                range_end,
                limit,
                revision,
                order,
                target,
                keys_only: flags.0,
                count_only: flags.1,
                min_mod_revision: bounds.0,
                max_mod_revision: bounds.1,
                min_create_revision: bounds.2,
                max_create_revision: bounds.3,
            },
        )
}

fn any_compare() -> impl Strategy<Value = Compare> {
    let relation = prop::sample::select(vec![
        Relation::Equal,
        Relation::Greater,
        Relation::Less,
        Relation::NotEqual,
    ]);
    let operand = prop_oneof![
        (0..4_i64).prop_map(Operand::Version),
        (0..20_i64).prop_map(Operand::Create),
        (0..20_i64).prop_map(Operand::Mod),
        value().prop_map(Operand::Value),
        lease().prop_map(Operand::Lease),
    ];
    (key(), range_end(), relation, operand).prop_map(|(key, range_end, relation, operand)| {
        Compare {
            key,
            range_end,
            relation,
            operand,
        }
    })
}

fn any_txn() -> impl Strategy<Value = Txn> {
    let leaf = prop_oneof![
        any_range().prop_map(Op::Range),
        any_put().prop_map(Op::Put),
        any_delete().prop_map(Op::DeleteRange),
    ];
    let op = leaf.prop_recursive(2, 12, 3, |op| {
        let ops = || prop::collection::vec(op.clone(), 0..3);
        (prop::collection::vec(any_compare(), 0..2), ops(), ops()).prop_map(
            |(compare, success, failure)| {
                Op::Txn(Txn {
                    compare,
                    success,
                    failure,
                })
            },
        )
    });
    let ops = || prop::collection::vec(op.clone(), 0..4);
    (prop::collection::vec(any_compare(), 0..3), ops(), ops()).prop_map(
        |(compare, success, failure)| Txn {
            compare,
            success,
            failure,
        },
    )
}

pub(crate) fn any_command() -> impl Strategy<Value = Command> {
    let leases = || prop::collection::vec(1..4_i64, 0..3);
    prop_oneof![
        8 => any_put().prop_map(Command::Put),
        3 => any_delete().prop_map(Command::DeleteRange),
        6 => any_txn().prop_map(Command::Txn),
        2 => (-1..40_i64).prop_map(|revision| Command::Compact { revision }),
        4 => (1..4_i64, 1..100_u64)
            .prop_map(|(lease, ttl_ms)| Command::LeaseGrant { lease, ttl_ms }),
        1 => (1..4_i64).prop_map(|lease| Command::LeaseRevoke { lease }),
        1 => leases().prop_map(|leases| Command::LeaseExpire { leases }),
        1 => leases().prop_map(|leases| Command::LeaseCheckpoint {
            remaining: leases.into_iter().map(|lease| (lease, 7)).collect(),
        }),
        1 => prop_oneof![Just(400), Just(1_000), Just(1 << 30)]
            .prop_map(|bytes| Command::SetQuota { bytes }),
        1 => (0..4_u64).prop_map(|events| Command::SetCompactionStep { events }),
        1 => (0..4_u32).prop_map(|level| Command::SetLevel { level }),
        1 => any_alarm().prop_map(|(alarm, raised)| Command::SetAlarm { alarm, raised }),
        1 => any_limit().prop_map(Command::SetLimit),
    ]
}

/// Mostly of the quota, the one that decides what is applied.
fn any_limit() -> impl Strategy<Value = LimitChange> {
    let kind = prop_oneof![
        3 => Just(LimitKind::QuotaBytes),
        2 => (0..LimitKind::ALL.len()).prop_map(|place| LimitKind::ALL[place]),
    ];
    let value = prop_oneof![Just(None), Just(Some(700)), Just(Some(1 << 30))];
    (kind, value, 0..3_u64).prop_map(|(kind, value, wall_ms)| LimitChange {
        kind,
        value,
        wall_ms,
        by: format!("person {wall_ms}").into(),
    })
}

/// Cleared more often than raised, or all else would be refused for most of a run. The member is
/// often the one that asks in these tests, whose own alarms are the ones to be cleared.
fn any_alarm() -> impl Strategy<Value = (Alarm, bool)> {
    let kind = prop_oneof![3 => Just(AlarmKind::NoSpace), 1 => Just(AlarmKind::Corrupt)];
    let member = prop_oneof![3 => Just(MemberId(7)), 1 => Just(MemberId(8))];
    (kind, member, prop::bool::weighted(0.3))
        .prop_map(|(kind, member, raised)| (Alarm { kind, member }, raised))
}

/// One step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<Command>),
    /// The last batch comes again, or one of another reign.
    Stray,
    NewReign,
    Read(Range),
    Replay(Revision, usize),
    /// Replay from the compact revision on.
    ReplayAll,
    /// Compact so many revisions before the present one.
    CompactBehind(Revision),
    /// Hold the present root until the end.
    Hold,
    /// Save a snapshot and go on with what was loaded from it.
    Reload(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => prop::collection::vec(any_command(), 0..5).prop_map(Step::Apply),
        1 => Just(Step::Stray),
        1 => Just(Step::NewReign),
        4 => any_range().prop_map(Step::Read),
        2 => (0..40_i64, 1..5_usize).prop_map(|(from, revisions)| Step::Replay(from, revisions)),
        3 => Just(Step::ReplayAll),
        2 => (0..4_i64).prop_map(Step::CompactBehind),
        1 => Just(Step::Hold),
        1 => (1..2_000_usize).prop_map(Step::Reload),
    ]
}

struct Run {
    state: State,
    model: Model,
    index: u64,
    held: Vec<(Root, Model)>,
}

impl Run {
    fn new(compaction_step: u64) -> Self {
        let (state, model) = (State::new(9), Model::new());
        let mut run = Self {
            state,
            model,
            index: 0,
            held: Vec::new(),
        };
        run.apply(vec![Command::SetCompactionStep {
            events: compaction_step,
        }]);
        run
    }

    fn batch(&self, commands: Vec<Command>) -> Batch {
        let origin = Origin {
            member: MemberId(7),
            incarnation: 1,
            sequence: self.index,
        };
        Batch {
            origin,
            reign: self.model.reign,
            time_ms: self.index,
            commands,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Apply(commands) => self.apply(commands),
            Step::Stray => self.stray(),
            Step::NewReign => {
                self.model.reign += 1;
                self.apply(vec![Command::Reign {
                    reign: self.model.reign,
                }]);
            }
            Step::Read(range) => read(&self.state.root(), &self.model, &range),
            Step::Replay(from, revisions) => {
                replay(&self.state.root(), &self.model, from, revisions);
            }
            Step::ReplayAll => {
                let from = self.model.compact_revision;
                replay(&self.state.root(), &self.model, from, usize::MAX);
            }
            Step::CompactBehind(behind) => {
                let revision = self.model.revision - behind;
                self.apply(vec![Command::Compact { revision }]);
            }
            Step::Hold => self.held.push((self.state.root(), self.model.clone())),
            Step::Reload(chunk_bytes) => self.reload(chunk_bytes),
        }
        audit::check(&self.state.root());
    }

    fn apply(&mut self, commands: Vec<Command>) {
        self.index += 1;
        let before = self.model.history.len();
        let expected: Vec<Outcome> = commands
            .iter()
            .map(|command| self.model.execute(MemberId(7), command))
            .collect();
        let applied = self.state.apply(self.index, &self.batch(commands));
        let root = self.state.root();
        assert_eq!(applied.dropped, None);
        assert_eq!(applied.outcomes, expected);
        assert_eq!(applied.events, self.model.history[before..]);
        assert_eq!(root.revision(), self.model.revision);
        assert_eq!(root.compact_revision(), self.model.compact_revision);
        assert!(root.alarms().eq(self.model.alarms.iter().copied()));
        let leases: Vec<_> = root
            .leases()
            .map(|lease| (lease.id, (lease.ttl_ms, lease.remaining_ms)))
            .collect();
        assert_eq!(
            leases,
            self.model.leases.clone().into_iter().collect::<Vec<_>>()
        );
        // Until the model can know what is left, it takes the size from the state, where
        // `audit` has counted it.
        assert!(
            root.bytes() <= self.model.bytes,
            "compaction made the state larger"
        );
        let mut retained = Vec::new();
        root.for_each_retained(root.revision(), |record| retained.push(record.clone()));
        retained.sort_by_key(Record::moment);
        let retained: Vec<Event> = retained.iter().map(Record::event).collect();
        assert_eq!(retained, self.model.retained());
        if root.compaction_finished() {
            let left: Vec<Event> = root.events.iter().map(|record| record.event()).collect();
            assert_eq!(left, self.model.retained());
        } else {
            assert!(root.compact_revision() >= 0, "nothing was to be compacted");
        }
        self.model.bytes = root.bytes();
    }

    /// Batches that must not apply: the same again, and one for a reign that has not begun.
    fn stray(&mut self) {
        let root = self.state.root();
        let (hash, present) = (root.hash(), root.reign());
        let mut strays = vec![Batch {
            reign: present + 1,
            ..self.batch(Vec::new())
        }];
        let again = Command::Reign { reign: present };
        strays.push(self.batch(vec![again]));
        if let Some((incarnation, sequence)) = root.origin_sequence(MemberId(7)) {
            let origin = Origin {
                member: MemberId(7),
                incarnation,
                sequence,
            };
            strays.push(Batch {
                origin,
                ..self.batch(vec![super::put("a", "stray")])
            });
        }
        for (number, stray) in strays.into_iter().enumerate() {
            self.index += 1;
            let applied = self.state.apply(self.index, &stray);
            match applied.dropped {
                Some(Dropped::Reign { present: told }) => {
                    assert_eq!((told, number < 2), (present, true))
                }
                Some(Dropped::Sequence { last }) => {
                    assert_eq!((Some(last), number), (root.origin_sequence(MemberId(7)), 2));
                }
                Some(Dropped::Malformed) | None => panic!("{stray:?} was {applied:?}"),
            }
            assert!(applied.outcomes.is_empty() && applied.events.is_empty());
            assert_eq!(
                self.state.root().hash(),
                hash,
                "a dropped batch changes nothing"
            );
        }
    }

    fn reload(&mut self, chunk_bytes: usize) {
        let root = self.state.root();
        let chunks = root.chunks(chunk_bytes);
        let decoded = chunks
            .iter()
            .map(|chunk| Chunk::decode(chunk.encode()).expect("it was encoded"));
        self.state = State::load(root.header(), decoded.collect(), 9).expect("it was saved");
        let loaded = self.state.root();
        assert_eq!(loaded.hash(), root.hash());
        assert_eq!(loaded.header(), root.header());
        assert_eq!(loaded.bytes(), root.bytes());
    }
}

fn read(root: &Root, model: &Model, range: &Range) {
    let expected = model.readable(range.revision).map(|()| model.range(range));
    assert_eq!(root.range(range), expected);
}

fn replay(root: &Root, model: &Model, from: Revision, revisions: usize) {
    let replayed = root.events(from, revisions);
    if from < model.compact_revision {
        assert_eq!(replayed, Err(Compacted(model.compact_revision)));
        return;
    }
    let replayed = replayed.expect("history from there on is kept");
    assert_eq!(replayed, model.replay(from, revisions));
    for event in &replayed {
        assert_eq!(
            root.previous(event),
            model.previous(event),
            "before {event:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn state_and_model_agree(
        compaction_step in prop_oneof![Just(1_u64), Just(2), Just(1_000)],
        steps in prop::collection::vec(any_step(), 1..40),
    ) {
        let mut run = Run::new(compaction_step);
        for step in steps {
            run.step(step);
        }
        let all = Range {
            key: Bytes::from_static(b"\0"),
            range_end: Bytes::from_static(b"\0"),
            ..Range::default()
        };
        for (root, model) in run.held {
            for revision in 0..=model.revision {
                read(&root, &model, &Range { revision, ..all.clone() });
            }
            replay(&root, &model, model.compact_revision.max(0), usize::MAX);
            for lease in model.leases.keys() {
                let keys: Vec<Bytes> = root.lease_keys(*lease).collect();
                let present = model.at(Revision::MAX);
                let attached = present.into_values().filter(|kv| kv.lease == *lease);
                prop_assert_eq!(keys, attached.map(|kv| kv.key).collect::<Vec<_>>());
            }
        }
    }

    /// Members that take the same entries have the same hash after each of them, also if one of
    /// them was loaded from a snapshot on the way.
    #[test]
    fn members_have_equal_hashes(
        batches in prop::collection::vec(prop::collection::vec(any_command(), 0..5), 1..20),
        reload_at in 0..20_usize,
    ) {
        let (mut one, mut other) = (Run::new(1), Run::new(1));
        for (at, commands) in batches.into_iter().enumerate() {
            one.index += 1;
            let batch = one.batch(commands);
            prop_assert_eq!(
                one.state.apply(one.index, &batch),
                other.state.apply(one.index, &batch)
            );
            if at == reload_at {
                one.reload(500);
            }
            prop_assert_eq!(one.state.root().hash(), other.state.root().hash());
        }
    }
}
