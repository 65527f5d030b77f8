//! A disk that fails calls, or is full.

use super::model::{Actor, Shared};
use super::*;
use crate::log::Preparation;
use synod_env::Prng;
use synod_env::sim::DiskOp;

/// Opens the log and acts on it; ends early once it has failed. True if it was opened.
async fn act(fixture: &Fixture, model: &Shared) -> Result<(), StorageError> {
    let (log, recovered) = Log::open(&fixture.env, fixture.options.clone()).await?;
    model
        .lock()
        .unwrap()
        .recovered(&log, Vec::new(), &recovered);
    let mut actor = Actor {
        log,
        env: fixture.env.clone(),
        model: Arc::clone(model),
        prng: Prng::new(77),
        epoch: 1,
    };
    for _ in 0..120 {
        actor.act().await;
        let fatal = actor.log.health().borrow().fatal.clone();
        if let Some(fatal) = fatal {
            assert!(fatal.contains("log/"), "{fatal}");
            // From now on nothing is taken and nothing acknowledged.
            assert_eq!(actor.log.admit(1).unwrap_err(), Refused::Stopped);
            assert!(actor.log.save_vote(vote(99)).await.is_err());
            fixture.env.sleep(Duration::from_secs(5)).await;
            break;
        }
    }
    actor.log.close().await;
    Ok(())
}

/// After whatever happened: the log opens and holds what it acknowledged.
fn check(fixture: &mut Fixture, model: &Shared, context: &str) {
    fixture.crash();
    let (log, recovered) = fixture
        .try_open()
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    let entries = fixture.entries(&log);
    model.lock().unwrap().recovered(&log, entries, &recovered);
}

/// Fails the first, second, third … call of each kind, until a run ends without meeting it.
#[test]
fn each_disk_call_can_fail() {
    let mut stopped = 0;
    let mut went_on = 0;
    let mut not_opened = 0;
    for kind in [DiskOp::Read, DiskOp::Write, DiskOp::Sync, DiskOp::Name] {
        for call in 1.. {
            let mut fixture = Fixture::new(5);
            let model = Shared::default();
            let nemesis = fixture.sim.nemesis();
            nemesis.fail_disk_op(ONE, kind, call);
            let opened = fixture.run(act(&fixture, &model));
            let is_met = nemesis.disk_counters(ONE).injected_errors > 0;
            nemesis.fail_disk_op(ONE, kind, u64::MAX);
            let context = format!("{kind:?} {call}");
            match opened {
                Err(StorageError::Io { .. }) => not_opened += 1,
                Err(error) => panic!("{context}: {error}"),
                Ok(()) if model.lock().unwrap().failed => stopped += 1,
                Ok(()) => went_on += 1,
            }
            check(&mut fixture, &model, &context);
            if !is_met {
                break;
            }
        }
    }
    assert!(not_opened > 8, "{not_opened}");
    assert!(stopped > 40, "{stopped}");
    assert!(went_on > 20, "{went_on}");
}

/// Gives the disk room for 4 KiB, 8 KiB, 12 KiB … and takes the limit away later.
#[test]
fn a_disk_of_any_size_refuses_what_does_not_fit_and_loses_nothing() {
    let mut refused = 0;
    let mut not_opened = 0;
    for pages in 0..40 {
        let mut fixture = Fixture::new(6);
        fixture.sim.nemesis().set_disk_capacity(ONE, pages * 4096);
        let context = format!("{pages} pages");
        let log = match fixture.try_open() {
            Ok((log, _)) => log,
            Err(error) => {
                let kind = io::Error::from(error).kind();
                assert_eq!(kind, io::ErrorKind::StorageFull, "{context}");
                not_opened += 1;
                fixture.sim.nemesis().set_disk_capacity(ONE, u64::MAX);
                fixture.fill(&fixture.open().0, 1, 1..10, 100);
                continue;
            }
        };
        let mut index = 0;
        let refusal = loop {
            match fixture.run(log.admitted(1_000)) {
                Ok(_room) if index == 100 => break None,
                Ok(room) => {
                    index += 1;
                    fixture
                        .run(append(&log, vec![entry(1, index, vec![5; 1_000])]))
                        .unwrap();
                    drop(room);
                }
                Err(refusal) => break Some(refusal),
            }
        };
        if let Some(refusal) = refusal {
            assert_eq!(refusal, Refused::NoSpace, "{context}");
            assert_eq!(log.health().borrow().preparation, Preparation::NoSpace);
            refused += 1;
            // What the reserve is for still gets through, and reads go on.
            fixture
                .run(log.save_vote(vote(4)))
                .expect("the reserve takes votes");
            assert_eq!(fixture.entries(&log).len(), usize::try_from(index).unwrap());
            fixture.sim.nemesis().set_disk_capacity(ONE, u64::MAX);
            fixture.wait(Duration::from_secs(2));
            assert_eq!(log.health().borrow().preparation, Preparation::Well);
            fixture.fill(&log, 1, index + 1..index + 30, 1_000);
            index += 29;
        }
        fixture.crash();
        assert_eq!(fixture.open().1.last, Some(at(1, index)), "{context}");
    }
    assert!(not_opened > 2, "{not_opened}");
    assert!(refused > 20, "{refused}");
}

#[test]
fn a_purge_makes_room_on_a_full_disk() {
    let fixture = Fixture::new(7);
    let (log, _) = fixture.open();
    fixture.fill(&log, 1, 1..30, 1_000);
    fixture.wait(Duration::from_millis(500));
    let used = files(&fixture)
        .iter()
        .map(|path| read_file(&fixture, path).len())
        .sum::<usize>();
    fixture
        .sim
        .nemesis()
        .set_disk_capacity(ONE, u64::try_from(used).unwrap());
    let mut index = 30;
    while fixture.run(log.admitted(1_000)).is_ok() {
        fixture
            .run(append(&log, vec![entry(1, index, vec![5; 1_000])]))
            .unwrap();
        index += 1;
    }
    fixture.run(log.purge(at(1, index - 1))).unwrap();
    fixture.wait(Duration::from_secs(2));
    fixture.fill(&log, 1, index..index + 10, 1_000);
}

#[test]
fn a_failed_sync_stops_the_log_for_good() {
    let mut fixture = Fixture::new(8);
    let (log, _) = fixture.open();
    fixture.wait(Duration::from_secs(1));
    fixture.fill(&log, 1, 1..4, 10);
    let notes = Arc::new(Mutex::new(Vec::new()));
    fixture.sim.nemesis().fail_disk_op(ONE, DiskOp::Sync, 1);
    let entries = vec![entry(1, 4, "four")];
    log.append(entries, Priority::Ordinary, noting(&notes, 4))
        .unwrap();
    fixture.wait(Duration::from_secs(1));
    let fatal = log
        .health()
        .borrow()
        .fatal
        .clone()
        .expect("the log has stopped");
    assert!(
        fatal.starts_with("write /sim/1/log/0000000000000001.log: "),
        "{fatal}"
    );
    assert!(notes.lock().unwrap()[0].1.is_err());
    assert_eq!(log.durable(), Some(3));
    let ops = fixture.sim.nemesis().disk_counters(ONE).ops;
    let (done, _flush) = callback();
    let refused = log.append(vec![entry(1, 5, "five")], Priority::Reserve, done);
    assert_eq!(refused, Err(Refused::Stopped));
    fixture.wait(Duration::from_secs(5));
    assert_eq!(
        fixture.sim.nemesis().disk_counters(ONE).ops,
        ops,
        "it touched the disk again"
    );
    fixture.crash();
    assert!(fixture.open().1.last >= Some(at(1, 3)));
}

/// The page cache shows what a failed sync has lost. A process that starts on it must not take
/// that for durable.
#[test]
fn what_only_the_page_cache_holds_is_written_again() {
    let mut lost_without = 0;
    for seed in 0..50 {
        let mut fixture = Fixture::new(seed);
        let (log, _) = fixture.open();
        fixture.fill(&log, 1, 1..4, 10);
        fixture.wait(Duration::from_secs(1));
        fixture.sim.nemesis().fail_disk_op(ONE, DiskOp::Sync, 1);
        assert!(
            fixture
                .run(append(&log, vec![entry(1, 4, vec![4; 1_200])]))
                .is_err()
        );
        let path = "log/0000000000000001.log";
        let durable = fixture
            .sim
            .nemesis()
            .durable(ONE, path)
            .expect("it is there");
        lost_without += u32::from(durable != read_file(&fixture, path));
        fixture.kill();
        assert_eq!(
            fixture.open().1.last,
            Some(at(1, 4)),
            "the page cache has it"
        );
        fixture.crash();
        assert_eq!(fixture.open().1.last, Some(at(1, 4)), "seed {seed}");
    }
    assert!(lost_without > 10, "the failed syncs lost nothing");
}
