use crate::disk::Open;
use crate::sim::{DiskLatency, DiskOp, Sim};
use crate::{Env, File, MemberId};
use bytes::Bytes;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

const ONE: MemberId = MemberId(1);

async fn create(env: &Env, path: &str) -> Arc<dyn File> {
    env.disk().open(path, Open::Create).await.unwrap()
}

#[test]
fn a_file_reads_as_it_was_written() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    sim.block_on(async {
        let disk = env.disk();
        disk.create_dir("a/b").await.unwrap();
        let file = create(&env, "a/b/f").await;
        file.write_at(3, Bytes::from_static(b"xyz")).await.unwrap();
        file.write_at(4, Bytes::from_static(b"-")).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 6);
        assert_eq!(file.read_at(0, 100).await.unwrap().as_ref(), b"\0\0\0x-z");
        assert_eq!(file.read_at(5, 1).await.unwrap().as_ref(), b"z");
        assert_eq!(file.read_at(7, 1).await.unwrap().as_ref(), b"");
        assert_eq!(disk.list("").await.unwrap(), ["a"]);
        assert_eq!(disk.list("a").await.unwrap(), ["b"]);
        disk.rename("a/b/f", "g").await.unwrap();
        assert_eq!(disk.list("a/b").await.unwrap(), [""; 0]);
        let read = disk.open("g", Open::Read).await.unwrap();
        assert_eq!(read.len().await.unwrap(), 6);
    })
    .unwrap();
}

#[test]
fn each_mistake_has_its_error() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let errors = sim.block_on(async {
        let disk = env.disk();
        let file = create(&env, "f").await;
        file.write_at(0, Bytes::from_static(b"x")).await.unwrap();
        let reader = disk.open("f", Open::Read).await.unwrap();
        [
            disk.open("g", Open::Read).await.err(),
            disk.open("g", Open::Write).await.err(),
            disk.open("f", Open::Create).await.err(),
            disk.open("d/f", Open::Create).await.err(),
            disk.list("d").await.err(),
            disk.remove("g").await.err(),
            disk.rename("g", "h").await.err(),
            disk.rename("f", "d/f").await.err(),
            disk.sync_dir("d").await.err(),
            disk.create_dir("f/d").await.err(),
            disk.open("../f", Open::Read).await.err(),
            disk.open("/f", Open::Read).await.err(),
            reader.write_at(0, Bytes::from_static(b"y")).await.err(),
        ]
        .map(|error| error.unwrap().kind())
    });
    use ErrorKind::{AlreadyExists, InvalidInput, NotADirectory, NotFound, PermissionDenied};
    let expected = [
        NotFound,
        NotFound,
        AlreadyExists,
        NotFound,
        NotFound,
        NotFound,
        NotFound,
        NotFound,
        NotFound,
        NotADirectory,
        InvalidInput,
        InvalidInput,
        PermissionDenied,
    ];
    assert_eq!(errors, Ok(expected));
}

#[test]
fn operations_take_the_time_the_disk_needs() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let just = |millis| (Duration::from_millis(millis), Duration::from_millis(millis));
    let latency = DiskLatency {
        read: just(1),
        write: just(2),
        sync: just(10),
        name: just(100),
    };
    sim.nemesis().set_disk_latency(ONE, latency);
    sim.block_on(async {
        let file = create(&env, "f").await;
        file.write_at(0, Bytes::from_static(b"x")).await.unwrap();
        file.sync().await.unwrap();
        file.read_at(0, 1).await.unwrap();
    })
    .unwrap();
    assert_eq!(sim.now(), Duration::from_millis(113));
    sim.nemesis().stall_disk(ONE, Duration::from_secs(60));
    sim.block_on(async { env.disk().list("").await.unwrap() })
        .unwrap();
    assert_eq!(sim.now(), Duration::from_millis(60_213));
}

#[test]
fn a_sync_completes_although_nobody_awaits_it_and_the_member_is_paused() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    sim.block_on(async {
        let file = create(&env, "f").await;
        env.disk().sync_dir("").await.unwrap();
        file.write_at(0, Bytes::from_static(b"x")).await.unwrap();
        let now = env.now();
        let cut_short = env.deadline(now, file.sync()).await;
        assert!(cut_short.is_err());
    })
    .unwrap();
    let nemesis = sim.nemesis();
    nemesis.pause(ONE);
    assert_eq!(nemesis.durable(ONE, "f").unwrap().as_ref(), b"");
    sim.run_for(Duration::from_millis(1)).unwrap();
    assert_eq!(nemesis.durable(ONE, "f").unwrap().as_ref(), b"x");
}

#[test]
fn a_full_disk_refuses_growth_and_nothing_else() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    sim.nemesis().set_disk_capacity(ONE, 4_096);
    sim.block_on(async {
        let file = create(&env, "f").await;
        file.write_at(0, Bytes::from(vec![1; 4_000])).await.unwrap();
        let refused = file.write_at(4_000, Bytes::from(vec![2; 4_000])).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(file.len().await.unwrap() <= 4_096);
        file.write_at(0, Bytes::from(vec![3; 4_000])).await.unwrap();
        file.sync().await.unwrap();
        env.disk().remove("f").await.unwrap();
        env.disk().sync_dir("").await.unwrap();
        drop(file);
        env.sleep(Duration::from_secs(1)).await;
        let other = create(&env, "g").await;
        env.disk().sync_dir("").await.unwrap();
        env.sleep(Duration::from_secs(1)).await;
        other
            .write_at(0, Bytes::from(vec![4; 4_096]))
            .await
            .unwrap();
    })
    .unwrap();
}

#[test]
fn the_nth_operation_of_a_kind_fails_and_the_next_does_not() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let nemesis = sim.nemesis();
    nemesis.fail_disk_op(ONE, DiskOp::Sync, 2);
    nemesis.fail_disk_op(ONE, DiskOp::Write, 3);
    let results = sim.block_on(async {
        let file = create(&env, "f").await;
        let mut results = Vec::new();
        for _ in 0..4 {
            let written = file.write_at(0, Bytes::from_static(b"x")).await;
            results.push((written.is_ok(), file.sync().await.is_ok()));
        }
        results
    });
    let expected = vec![(true, true), (true, false), (false, true), (true, true)];
    assert_eq!(results, Ok(expected));
    assert_eq!(nemesis.disk_counters(ONE).injected_errors, 2);
    assert_eq!(nemesis.disk_counters(ONE).syncs, 3);
}

#[test]
fn the_operation_with_which_the_power_fails_never_returns() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let sim = Sim::new(seed);
        let env = sim.member(ONE);
        // Open, directory sync, then writes and syncs in turn: the seventh is a write.
        sim.nemesis().crash_at_disk_op(ONE, 7);
        let task = env.clone();
        env.spawn("writer", async move {
            let file = create(&task, "f").await;
            task.disk().sync_dir("").await.unwrap();
            for offset in 0_u8.. {
                file.write_at(offset.into(), Bytes::from_static(b"x"))
                    .await
                    .unwrap();
                file.sync().await.unwrap();
            }
        });
        sim.run_for(Duration::from_secs(1)).unwrap();
        assert!(!sim.nemesis().is_up(ONE));
        assert_eq!(sim.nemesis().disk_counters(ONE).ops, 7);
        let env = sim.member(ONE);
        let len = sim.block_on(async {
            let file = env.disk().open("f", Open::Read).await.unwrap();
            file.len().await.unwrap()
        });
        lengths.insert(len.unwrap());
    }
    assert_eq!(lengths, [2, 3].into());
}

#[test]
fn an_open_that_never_returns_gives_its_handle_back() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    sim.nemesis().crash_at_disk_op(ONE, 1);
    let task = env.clone();
    env.spawn("opens", async move {
        let _file = create(&task, "f").await;
    });
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert!(!sim.nemesis().is_up(ONE));
}

#[test]
fn a_handle_of_an_earlier_incarnation_closes_nothing() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let old = sim.block_on(create(&env, "f")).unwrap();
    sim.nemesis().kill(ONE);
    let env = sim.member(ONE);
    sim.block_on(async {
        let disk = env.disk();
        let file = disk.open("f", Open::Write).await.unwrap();
        disk.remove("f").await.unwrap();
        disk.sync_dir("").await.unwrap();
        drop(old);
        disk.sync_dir("").await.unwrap();
        file.write_at(0, Bytes::from_static(b"x")).await.unwrap();
        disk.sync_dir("").await.unwrap();
        assert_eq!(file.len().await.unwrap(), 1);
    })
    .unwrap();
}

#[test]
fn rot_is_seen_by_readers_and_survives_a_crash() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    sim.block_on(async {
        let file = create(&env, "f").await;
        file.write_at(0, Bytes::from_static(b"abc")).await.unwrap();
        file.sync().await.unwrap();
        env.disk().sync_dir("").await.unwrap();
    })
    .unwrap();
    assert!(sim.nemesis().rot(ONE, "f", 1, 0x20));
    assert!(!sim.nemesis().rot(ONE, "f", 3, 0x20));
    assert!(!sim.nemesis().rot(ONE, "g", 0, 0x20));
    let env = sim.restart(ONE);
    let read = sim.block_on(async {
        let file = env.disk().open("f", Open::Read).await.unwrap();
        file.read_at(0, 3).await.unwrap()
    });
    assert_eq!(read.unwrap().as_ref(), b"aBc");
}

/// One operation of each kind on a disk of one file.
async fn one_of_each(env: &Env) -> [(DiskOp, io::Result<()>); 4] {
    let disk = env.disk();
    let file = disk.open("f", Open::Write).await.unwrap();
    [
        (DiskOp::Read, file.read_at(0, 1).await.map(|_| ())),
        (DiskOp::Write, file.write_at(0, "y".into()).await),
        (DiskOp::Sync, file.sync().await),
        (DiskOp::Name, disk.create_dir("d").await),
    ]
}

#[test]
fn each_kind_of_operation_can_fail_alone_and_is_counted() {
    for fails in [DiskOp::Read, DiskOp::Write, DiskOp::Sync, DiskOp::Name] {
        let sim = Sim::new(1);
        let env = sim.member(ONE);
        let made = sim.block_on(async {
            let file = env.disk().open("f", Open::Create).await?;
            file.write_at(0, "x".into()).await
        });
        made.unwrap().unwrap();
        // The first operation on names is the opening of the file.
        let nth = if fails == DiskOp::Name { 2 } else { 1 };
        sim.nemesis().fail_disk_op(ONE, fails, nth);
        for (op, result) in sim.block_on(one_of_each(&env)).unwrap() {
            assert_eq!(result.is_err(), op == fails, "{op:?}: {result:?}");
        }
        let faults = sim.faults();
        let failed = [
            faults.read_errors,
            faults.write_errors,
            faults.sync_errors,
            faults.name_errors,
        ];
        let mut expected = [0; 4];
        expected[fails as usize] = 1;
        assert_eq!(failed, expected);
    }
}

#[test]
fn a_flipped_byte_counts_each_time_it_is_read_until_it_is_written() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let nemesis = sim.nemesis();
    sim.block_on(async {
        let file = create(&env, "f").await;
        let zeros_after = Bytes::from_static(b"abc\0\0\0");
        file.write_at(0, zeros_after).await.unwrap();
        assert_eq!(nemesis.written_bytes(ONE, "f"), 3);
        assert_eq!(nemesis.written_bytes(ONE, "g"), 0);
        assert!(nemesis.rot(ONE, "f", 1, 0x20));
        let read = || sim.faults().rotten_bytes_read;
        file.read_at(2, 4).await.unwrap();
        assert_eq!(read(), 0);
        file.read_at(0, 2).await.unwrap();
        file.read_at(1, 1).await.unwrap();
        assert_eq!(read(), 2);
        file.write_at(0, Bytes::from_static(b"xyz")).await.unwrap();
        file.read_at(0, 6).await.unwrap();
        assert_eq!(read(), 2);
    })
    .unwrap();
}

#[test]
fn a_stall_holds_up_all_but_writes_into_the_cache_and_is_counted() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let made = sim.block_on(async { env.disk().open("f", Open::Create).await.map(|_| ()) });
    made.unwrap().unwrap();
    for (before, op) in [DiskOp::Read, DiskOp::Sync, DiskOp::Name, DiskOp::Write]
        .into_iter()
        .enumerate()
    {
        let start = sim.now();
        let stall = Duration::from_secs(1);
        let nemesis = sim.nemesis();
        let ended = sim.block_on(async {
            let disk = env.disk();
            let file = disk.open("f", Open::Write).await.unwrap();
            nemesis.stall_disk(ONE, stall);
            match op {
                DiskOp::Read => file.read_at(0, 1).await.map(|_| ()),
                DiskOp::Write => file.write_at(0, "y".into()).await,
                DiskOp::Sync => file.sync().await,
                DiskOp::Name => disk.list("").await.map(|_| ()),
            }
        });
        ended.unwrap().unwrap();
        let is_held_up = op != DiskOp::Write;
        assert_eq!(sim.now() - start >= stall, is_held_up, "{op:?}");
        let held_up = before as u64 + u64::from(is_held_up);
        assert_eq!(sim.faults().disk_stalls, held_up);
    }
}

#[test]
fn what_a_crash_takes_is_counted() {
    let (mut lost, mut torn, mut names) = (0, 0, 0);
    for seed in 0..40 {
        let sim = Sim::new(seed);
        let env = sim.member(ONE);
        let made = sim.block_on(async {
            let disk = env.disk();
            let file = disk.open("f", Open::Create).await?;
            disk.sync_dir("").await?;
            file.write_at(0, Bytes::from(vec![1; 4_096])).await?;
            file.sync().await?;
            file.write_at(0, Bytes::from(vec![2; 4_096])).await?;
            disk.create_dir("d").await
        });
        made.unwrap().unwrap();
        sim.nemesis().crash(ONE);
        let sectors = sim.nemesis().durable(ONE, "f").unwrap();
        let new = sectors.iter().filter(|byte| **byte == 2).count() / 512;
        let faults = sim.faults();
        assert_eq!(faults.writes_lost, u64::from(new == 0));
        assert_eq!(
            faults.writes_torn,
            u64::from((1..8).contains(&new)),
            "{new}"
        );
        lost += faults.writes_lost;
        torn += faults.writes_torn;
        names += faults.names_lost;
    }
    assert!(lost > 5 && torn > 5 && names > 5, "{lost} {torn} {names}");
}

#[test]
fn a_disk_that_is_rolled_back_has_forgotten_what_was_synced() {
    let sim = Sim::new(1);
    let write = |text: &'static str| {
        let env = sim.member(ONE);
        let written = sim.block_on(async {
            let disk = env.disk();
            let how = match sim.nemesis().files(ONE).is_empty() {
                true => Open::Create,
                false => Open::Write,
            };
            let file = disk.open("f", how).await?;
            file.write_at(0, text.into()).await?;
            file.sync().await?;
            disk.sync_dir("").await
        });
        written.unwrap().unwrap();
    };
    let holds = || sim.nemesis().durable(ONE, "f").unwrap();
    write("old");
    let copy = sim.nemesis().copy_disk(ONE);
    write("new");
    assert_eq!(holds(), "new");
    sim.nemesis().roll_back_disk(ONE, &copy);
    assert!(!sim.nemesis().is_up(ONE));
    assert_eq!(holds(), "old");
    write("newer");
    sim.nemesis().crash(ONE);
    assert_eq!(holds(), "newer", "from then on it is sound");
}
