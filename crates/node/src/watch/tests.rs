//! What a watch promises: ordered, unique, complete, resumable, never ahead of its progress.

use super::{Hub, NO_WATCH, WatchCreate, WatchMessage, WatchStream};
use crate::roots::Roots;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use synod_env::{Limits, MemberId, Prng};
use synod_log::Index;
use synod_state::State;
use synod_state::command::{Batch, Command, DeleteRange, Op, Origin, Put, Revision, Txn};
use synod_state::reply::{Event, EventKind};

/// A store with a hub, written to as apply would.
struct World {
    state: State,
    hub: Arc<Hub>,
    roots: Arc<Roots>,
    index: u64,
    history: Vec<Event>,
}

impl World {
    fn new(limits: Limits) -> Self {
        let mut state = State::new(1);
        let origin = Origin {
            member: MemberId(1),
            incarnation: 1,
            sequence: 0,
        };
        let commands = vec![Command::Reign { reign: 1 }];
        state.apply(
            1,
            &Batch {
                origin,
                reign: 1,
                time_ms: 0,
                commands,
            },
        );
        let hub = Arc::new(Hub::new(limits, 1));
        let roots = Arc::new(Roots::new(state.root(), Index(1)));
        Self {
            state,
            hub,
            roots,
            index: 1,
            history: Vec::new(),
        }
    }

    fn stream(&self) -> WatchStream {
        WatchStream::open(Arc::clone(&self.hub), Arc::clone(&self.roots)).expect("there is room")
    }

    fn apply(&mut self, commands: Vec<Command>) -> Revision {
        self.index += 1;
        let origin = Origin {
            member: MemberId(1),
            incarnation: 1,
            sequence: self.index,
        };
        let applied = self.state.apply(
            self.index,
            &Batch {
                origin,
                reign: 1,
                time_ms: 0,
                commands,
            },
        );
        let root = self.state.root();
        self.roots.publish(root.clone(), Index(self.index));
        self.hub.publish(&root, &applied.events);
        self.history.extend(applied.events);
        root.revision()
    }

    fn put(&mut self, key: &str, value: &str) -> Revision {
        self.apply(vec![put(key, value)])
    }

    fn delete(&mut self, key: &str) -> Revision {
        let key = Bytes::copy_from_slice(key.as_bytes());
        self.apply(vec![Command::DeleteRange(DeleteRange {
            key,
            ..DeleteRange::default()
        })])
    }
}

fn put(key: &str, value: &str) -> Command {
    Command::Put(put_op(key, value))
}

fn put_op(key: &str, value: &str) -> Put {
    Put {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        ..Put::default()
    }
}

fn watch(key: &str, start_revision: Revision) -> WatchCreate {
    let key = Bytes::copy_from_slice(key.as_bytes());
    WatchCreate {
        key,
        start_revision,
        ..WatchCreate::default()
    }
}

fn prefix(key: &str, start_revision: Revision) -> WatchCreate {
    let mut end = key.as_bytes().to_vec();
    *end.last_mut().expect("a prefix is not empty") += 1;
    WatchCreate {
        range_end: end.into(),
        ..watch(key, start_revision)
    }
}

/// The messages that are there now.
fn read(stream: &mut WatchStream) -> Vec<WatchMessage> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut messages = Vec::new();
    let mut idle = 0;
    // A stream may yield between replays; it is idle when it yields without progress.
    while idle < 100 {
        match stream.poll_next(&mut cx) {
            Poll::Ready(Some(message)) => {
                messages.push(message);
                idle = 0;
            }
            Poll::Ready(None) => break,
            Poll::Pending => idle += 1,
        }
    }
    messages
}

/// Messages in a line each.
fn show(messages: &[WatchMessage]) -> Vec<String> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    messages
        .iter()
        .map(|message| match message {
            WatchMessage::Created { watch_id, revision } => {
                format!("{watch_id} created @{revision}")
            }
            WatchMessage::Canceled {
                watch_id, reason, ..
            } => {
                format!("{watch_id} canceled {reason:?}")
            }
            WatchMessage::Progress { watch_id, revision } => format!("{watch_id} at {revision}"),
            WatchMessage::Events {
                watch_id,
                revision,
                events,
                fragment,
            } => {
                let mut line = format!("{watch_id} @{revision}");
                for told in events {
                    let kv = &told.event.kv;
                    line += &match told.event.kind {
                        EventKind::Put => format!(" {}={}", text(&kv.key), text(&kv.value)),
                        EventKind::Delete => format!(" -{}", text(&kv.key)),
                    };
                    if let Some(prev) = &told.prev_kv {
                        line += &format!("(was {})", text(&prev.value));
                    }
                }
                if *fragment {
                    line += " …";
                }
                line
            }
        })
        .collect()
}

#[test]
fn a_watch_from_now_hears_what_comes_and_nothing_before() {
    let mut world = World::new(Limits::default());
    world.put("a", "0");
    let mut stream = world.stream();
    stream.requester().create(&watch("a", 0));
    world.put("a", "1");
    world.put("b", "1");
    world.delete("a");
    assert_eq!(
        show(&read(&mut stream)),
        ["0 created @2", "0 @3 a=1", "0 @5 -a"]
    );
}

#[test]
fn a_watch_of_the_past_replays_and_goes_on_live_without_gap_or_repetition() {
    let limits = Limits {
        watch_replay_revisions_max: 2,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    for value in ["1", "2", "3", "4", "5"] {
        world.put("a", value);
    }
    let mut stream = world.stream();
    stream.requester().create(&watch("a", 3));
    assert_eq!(
        show(&read(&mut stream)),
        ["0 created @6", "0 @4 a=2 a=3", "0 @6 a=4 a=5"],
        "two revisions at a time"
    );
    world.put("a", "6");
    assert_eq!(show(&read(&mut stream)), ["0 @7 a=6"]);
}

#[test]
fn a_watch_of_the_future_is_silent_until_then() {
    let mut world = World::new(Limits::default());
    let mut stream = world.stream();
    stream.requester().create(&watch("a", 4));
    world.put("a", "2");
    world.put("a", "3");
    stream.requester().progress();
    assert_eq!(show(&read(&mut stream)), ["0 created @1"]);
    world.put("a", "4");
    let messages = show(&read(&mut stream));
    assert!(messages.contains(&"0 @4 a=4".to_owned()), "{messages:?}");
}

#[test]
fn a_watch_of_compacted_history_is_created_and_then_canceled_with_the_compact_revision() {
    let mut world = World::new(Limits::default());
    world.put("a", "1");
    world.put("a", "2");
    world.put("a", "3");
    world.apply(vec![Command::Compact { revision: 3 }]);
    let mut stream = world.stream();
    stream.requester().create(&watch("a", 2));
    stream.requester().create(&watch("a", 3));
    assert_eq!(
        show(&read(&mut stream)),
        [
            "0 created @4",
            "1 created @4",
            "0 canceled Compacted(3)",
            "1 @4 a=2 a=3"
        ],
        "the compact revision itself can be watched"
    );
}

#[test]
fn numbers_are_given_in_order_and_a_taken_one_is_refused() {
    let world = World::new(Limits::default());
    let mut stream = world.stream();
    let requester = stream.requester();
    requester.create(&watch("a", 0));
    requester.create(&WatchCreate {
        watch_id: 7,
        ..watch("a", 0)
    });
    requester.create(&WatchCreate {
        watch_id: 7,
        ..watch("b", 0)
    });
    requester.create(&watch("a", 0));
    requester.create(&WatchCreate {
        range_end: "a".into(),
        ..watch("b", 0)
    });
    requester.create(&watch("a", -1));
    assert_eq!(
        show(&read(&mut stream)),
        [
            "0 created @1",
            "7 created @1",
            "-1 canceled DuplicateId",
            "1 created @1",
            "-1 canceled EmptyRange",
            "-1 canceled InvalidRevision",
        ]
    );
}

#[test]
fn a_canceled_watch_is_silent_and_an_unknown_one_is_not_answered() {
    let mut world = World::new(Limits::default());
    let mut stream = world.stream();
    let requester = stream.requester();
    requester.create(&watch("a", 0));
    requester.cancel(0);
    requester.cancel(5);
    world.put("a", "1");
    assert_eq!(
        show(&read(&mut stream)),
        ["0 created @1", "0 canceled ByClient"]
    );
    assert_eq!(world.hub.counts(), (1, 0));
    drop(stream);
    requester.create(&watch("a", 0));
    assert_eq!(world.hub.counts(), (0, 0), "a closed stream takes no watch");
}

#[test]
fn filters_and_previous_pairs() {
    let mut world = World::new(Limits::default());
    let mut stream = world.stream();
    let requester = stream.requester();
    requester.create(&WatchCreate {
        no_put: true,
        prev_kv: true,
        ..prefix("k", 0)
    });
    requester.create(&WatchCreate {
        no_delete: true,
        prev_kv: true,
        ..prefix("k", 0)
    });
    world.put("k1", "a");
    world.put("k1", "b");
    world.delete("k1");
    world.put("k1", "c");
    assert_eq!(
        show(&read(&mut stream)),
        [
            "0 created @1",
            "1 created @1",
            "1 @2 k1=a",
            "1 @3 k1=b(was a)",
            "0 @4 -k1(was b)",
            "1 @5 k1=c",
        ]
    );
}

#[test]
fn all_changes_of_a_revision_come_together() {
    let mut world = World::new(Limits::default());
    let mut stream = world.stream();
    stream.requester().create(&prefix("k", 0));
    let puts = ["k1", "k2", "x", "k3"].map(|key| Op::Put(put_op(key, "v")));
    world.apply(vec![Command::Txn(Txn {
        success: puts.to_vec(),
        ..Txn::default()
    })]);
    assert_eq!(
        show(&read(&mut stream)),
        ["0 created @1", "0 @2 k1=v k2=v k3=v"]
    );
}

#[test]
fn a_large_message_is_cut_only_for_those_who_allow_it() {
    let limits = Limits {
        watch_response_bytes_max: 150,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let mut stream = world.stream();
    stream.requester().create(&WatchCreate {
        fragment: true,
        ..prefix("k", 0)
    });
    stream.requester().create(&prefix("k", 0));
    let puts = ["k1", "k2", "k3"].map(|key| Op::Put(put_op(key, "0123456789")));
    world.apply(vec![Command::Txn(Txn {
        success: puts.to_vec(),
        ..Txn::default()
    })]);
    assert_eq!(
        show(&read(&mut stream))[2..],
        [
            "0 @2 k1=0123456789 k2=0123456789 …",
            "0 @2 k3=0123456789",
            "1 @2 k1=0123456789 k2=0123456789 k3=0123456789",
        ]
    );
}

#[test]
fn a_slow_reader_costs_a_bounded_outbox_and_misses_nothing() {
    let limits = Limits {
        watch_stream_bytes_max: 300,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let mut stream = world.stream();
    stream.requester().create(&watch("a", 0));
    for i in 0..1_000 {
        world.put("a", &i.to_string());
    }
    let mut told = Vec::new();
    for message in read(&mut stream) {
        if let WatchMessage::Events { events, .. } = message {
            told.extend(events.iter().map(|told| told.event.clone()));
        }
    }
    assert_eq!(told, world.history);
    world.put("a", "live");
    assert_eq!(show(&read(&mut stream)), ["0 @1002 a=live"]);
}

#[test]
fn progress_of_a_stream_is_told_once_all_its_watches_are_synced() {
    let mut world = World::new(Limits::default());
    world.put("a", "1");
    let mut stream = world.stream();
    let requester = stream.requester();
    requester.create(&watch("a", 1));
    requester.create(&watch("b", 0));
    requester.progress();
    assert_eq!(
        show(&read(&mut stream)),
        ["0 created @2", "1 created @2", "0 @2 a=1", "-1 at 2"],
        "after everything up to its revision"
    );
    requester.progress();
    world.put("b", "1");
    assert_eq!(show(&read(&mut stream)), ["-1 at 2", "1 @3 b=1"]);
}

#[test]
fn quiet_watches_that_asked_are_told_their_progress_from_time_to_time() {
    let mut world = World::new(Limits::default());
    let mut stream = world.stream();
    stream.requester().create(&WatchCreate {
        progress_notify: true,
        ..watch("a", 0)
    });
    stream.requester().create(&watch("a", 0));
    world.put("b", "1");
    world.hub.progress_notify();
    assert_eq!(
        show(&read(&mut stream)),
        ["0 created @1", "1 created @1"],
        "whoever has not read is not told that there is nothing to read"
    );
    world.hub.progress_notify();
    assert_eq!(show(&read(&mut stream)), ["0 at 2"]);
    world.put("a", "1");
    assert_eq!(show(&read(&mut stream)), ["0 @3 a=1", "1 @3 a=1"]);
    world.hub.progress_notify();
    assert!(read(&mut stream).is_empty(), "it was not quiet");
    world.hub.progress_notify();
    assert_eq!(show(&read(&mut stream)), ["0 at 3"]);
}

/// A report may not overtake what waits to be read, nor leave out who is still catching up.
#[test]
fn progress_is_never_ahead_of_what_is_not_delivered() {
    let mut reports = 0;
    for seed in 0..100 {
        let mut prng = Prng::new(seed);
        let limits = Limits {
            watch_stream_bytes_max: usize::try_from(1 + prng.below(400)).expect("small"),
            watch_replay_revisions_max: usize::try_from(1 + prng.below(4)).expect("small"),
            ..Limits::default()
        };
        let mut world = World::new(limits);
        let mut stream = world.stream();
        let requester = stream.requester();
        for start in [0, 1, 3] {
            requester.create(&prefix("k", start));
        }
        let mut told: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
        let mut cx = Context::from_waker(Waker::noop());
        for step in 0..400 {
            match prng.below(10) {
                0 => drop(world.put("k", "0123456789")),
                1 => drop(world.put("other", "v")),
                2 => requester.progress(),
                _ => match stream.poll_next(&mut cx) {
                    Poll::Ready(Some(WatchMessage::Events {
                        watch_id, events, ..
                    })) => told
                        .entry(watch_id)
                        .or_default()
                        .extend(events.iter().map(|told| told.event.clone())),
                    Poll::Ready(Some(WatchMessage::Progress { watch_id, revision })) => {
                        reports += 1;
                        assert_eq!(watch_id, NO_WATCH, "seed {seed}, step {step}");
                        for (watch_id, start) in [(0, 2), (1, 1), (2, 3)] {
                            let due = world.history.iter().filter(|event| {
                                let at = event.kv.mod_revision;
                                event.kv.key == "k" && at >= start && at <= revision
                            });
                            let told = told.get(&watch_id).into_iter().flatten();
                            let told = told.filter(|event| event.kv.mod_revision <= revision);
                            assert!(
                                told.eq(due),
                                "seed {seed}, step {step}: watch {watch_id} has not heard all up \
                                 to {revision}"
                            );
                        }
                    }
                    Poll::Ready(_) | Poll::Pending => {}
                },
            }
        }
    }
    assert!(reports > 1_000, "only {reports} reports came");
}

/// Ten thousand watchers on a thousand streams, of four kinds: what is made of an event is made
/// four times.
#[test]
fn what_watchers_are_told_alike_is_encoded_once() {
    const STREAMS: usize = 1_000;
    const WATCHERS: usize = 10;
    const CHANGES: usize = 5;
    let mut world = World::new(Limits::default());
    let mut streams: Vec<WatchStream> = (0..STREAMS).map(|_| world.stream()).collect();
    for (number, stream) in streams.iter().enumerate() {
        for watch_id in 1..=WATCHERS {
            let request = match (number * WATCHERS + watch_id) % 4 {
                0 => prefix("k", 0),
                1 => watch("k1", 0),
                2 => WatchCreate {
                    prev_kv: true,
                    ..prefix("k", 0)
                },
                _ => WatchCreate {
                    no_delete: true,
                    ..prefix("k", 0)
                },
            };
            stream.requester().create(&request);
        }
    }
    for number in 0..CHANGES {
        world.put("k1", &number.to_string());
    }
    let (mut encodings, mut deliveries) = (0, 0);
    for stream in &mut streams {
        for message in read(stream) {
            if let WatchMessage::Events { events, .. } = message {
                deliveries += 1;
                let encoded = events.encoded(|events| {
                    encodings += 1;
                    events[0].event.kv.value.clone()
                });
                assert_eq!(encoded, events[0].event.kv.value);
            }
        }
    }
    assert_eq!(deliveries, STREAMS * WATCHERS * CHANGES);
    assert_eq!(encodings, 4 * CHANGES);
}

/// Also what is cut, and what somebody hears only in part since it begins later.
#[test]
fn watchers_who_begin_later_and_those_who_take_fragments_hear_no_less() {
    let limits = Limits {
        watch_response_bytes_max: 150,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let mut streams = [world.stream(), world.stream()];
    for stream in &streams {
        stream.requester().create(&WatchCreate {
            fragment: true,
            ..prefix("k", 0)
        });
        stream.requester().create(&prefix("k", 3));
    }
    let batch = ["k1", "k2", "k3"].map(|key| put(key, "0123456789"));
    world.apply(batch.to_vec());
    for stream in &mut streams {
        assert_eq!(
            show(&read(stream))[2..],
            [
                "0 @4 k1=0123456789 k2=0123456789 …",
                "0 @4 k3=0123456789",
                "1 @4 k2=0123456789 k3=0123456789",
            ]
        );
    }
}

#[test]
fn limits_are_refusals() {
    let limits = Limits {
        watchers_max: 1,
        watch_streams_max: 1,
        ..Limits::default()
    };
    let world = World::new(limits);
    let mut stream = world.stream();
    stream.requester().create(&watch("a", 0));
    stream.requester().create(&watch("b", 0));
    assert_eq!(
        show(&read(&mut stream)),
        ["0 created @1", "-1 canceled TooMany"]
    );
    let second = WatchStream::open(Arc::clone(&world.hub), Arc::clone(&world.roots));
    assert!(second.is_err());
}

#[test]
fn a_member_that_stops_ends_its_streams() {
    let world = World::new(Limits::default());
    let mut stream = world.stream();
    world.hub.stop();
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(stream.poll_next(&mut cx), Poll::Ready(None));
}

/// Random keys, ranges, start revisions, slow readers and tiny limits: each watch hears exactly
/// the history of its keys from its start on, in order, once.
#[test]
fn every_watch_hears_exactly_its_history() {
    const KEYS: [&str; 6] = ["a", "aa", "ab", "b", "ba", "c"];
    for seed in 0..300 {
        let mut prng = Prng::new(seed);
        let limits = Limits {
            watch_stream_bytes_max: usize::try_from(1 + prng.below(400)).expect("small"),
            watch_replay_revisions_max: usize::try_from(1 + prng.below(4)).expect("small"),
            ..Limits::default()
        };
        let mut world = World::new(limits);
        let mut streams: Vec<WatchStream> = (0..3).map(|_| world.stream()).collect();
        let mut started: BTreeMap<(usize, i64), (WatchCreate, Revision)> = BTreeMap::new();
        let mut heard: BTreeMap<(usize, i64), Vec<Event>> = BTreeMap::new();
        let mut next_id = 1;
        let take = |at: usize, stream: &mut WatchStream, heard: &mut BTreeMap<_, Vec<Event>>| {
            for message in read(stream) {
                if let WatchMessage::Events {
                    watch_id, events, ..
                } = message
                {
                    heard
                        .entry((at, watch_id))
                        .or_default()
                        .extend(events.iter().map(|told| told.event.clone()));
                }
            }
        };
        for _ in 0..200 {
            let key = KEYS[usize::try_from(prng.below(6)).expect("small")];
            match prng.below(8) {
                0 => {
                    let at = usize::try_from(prng.below(3)).expect("small");
                    let now = world.roots.latest().revision();
                    let start = i64::try_from(prng.below(now.cast_unsigned() + 3)).expect("small");
                    let mut request = if prng.chance(1, 2) {
                        watch(key, start)
                    } else {
                        prefix(key, start)
                    };
                    request.watch_id = next_id;
                    next_id += 1;
                    streams[at].requester().create(&request);
                    let from = if start == 0 { now + 1 } else { start };
                    started.insert((at, request.watch_id), (request, from));
                }
                1 => {
                    let at = usize::try_from(prng.below(3)).expect("small");
                    take(at, &mut streams[at], &mut heard);
                }
                2 => {
                    world.delete(key);
                }
                _ => {
                    world.put(key, "v");
                }
            }
        }
        for (at, stream) in streams.iter_mut().enumerate() {
            take(at, stream, &mut heard);
        }
        for (address, (request, from)) in started {
            let mine: Vec<Event> = world
                .history
                .iter()
                .filter(|event| {
                    let key = &event.kv.key;
                    let within = if request.range_end.is_empty() {
                        *key == request.key
                    } else {
                        *key >= request.key && *key < request.range_end
                    };
                    within && event.kv.mod_revision >= from
                })
                .cloned()
                .collect();
            let heard = heard.remove(&address).unwrap_or_default();
            assert_eq!(heard, mine, "seed {seed}, watch {address:?} {request:?}");
        }
    }
}
