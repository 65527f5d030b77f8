use super::{Image, SECTOR_BYTES};
use crate::Prng;
use crate::sim::choices::Choices;
use bytes::Bytes;
use std::collections::BTreeSet;

fn choices(seed: u64) -> Choices {
    Choices::new(Prng::new(seed))
}

/// What of `path` is there after a crash, for many seeds.
fn after_crash(prepare: impl Fn(&mut Image), path: &str) -> BTreeSet<Option<Vec<u8>>> {
    let outcome = |seed| {
        let mut image = Image::new();
        prepare(&mut image);
        image.crash(100, &mut choices(seed));
        let inode = image.lookup(path)?;
        Some(image.read(inode, 0, 1 << 20).to_vec())
    };
    (0..400).map(outcome).collect()
}

fn synced_file(image: &mut Image, path: &str, content: &[u8]) {
    let inode = image.create(path);
    image.write(inode, 0, Bytes::copy_from_slice(content));
    image.sync(inode, 1);
    image.sync_dir("", 1);
    image.settle(inode, 1);
    image.settle_names(1);
}

#[test]
fn what_is_synced_survives() {
    let outcomes = after_crash(|image| synced_file(image, "f", b"kept"), "f");
    assert_eq!(outcomes, BTreeSet::from([Some(b"kept".to_vec())]));
}

#[test]
fn a_sync_that_is_not_complete_promises_nothing() {
    let prepare = |image: &mut Image| {
        synced_file(image, "f", b"old!");
        let inode = image.lookup("f").unwrap();
        image.write(inode, 0, Bytes::from_static(b"new!"));
        image.sync(inode, 101);
    };
    let outcomes = after_crash(prepare, "f");
    let both = [Some(b"old!".to_vec()), Some(b"new!".to_vec())];
    assert_eq!(outcomes, BTreeSet::from(both));
}

#[test]
fn a_sync_covers_the_writes_before_it_only() {
    let prepare = |image: &mut Image| {
        synced_file(image, "f", b"____");
        let inode = image.lookup("f").unwrap();
        image.write(inode, 0, Bytes::from_static(b"1"));
        image.sync(inode, 50);
        image.write(inode, 3, Bytes::from_static(b"2"));
    };
    let outcomes = after_crash(prepare, "f");
    let both = [Some(b"1___".to_vec()), Some(b"1__2".to_vec())];
    assert_eq!(outcomes, BTreeSet::from(both));
}

#[test]
fn an_unsynced_write_is_torn_between_sectors_only() {
    let sector = usize::try_from(SECTOR_BYTES).unwrap();
    let prepare = |image: &mut Image| {
        synced_file(image, "f", &vec![b'o'; 3 * sector]);
        let inode = image.lookup("f").unwrap();
        image.write(inode, 10, Bytes::from(vec![b'n'; 3 * sector - 20]));
    };
    let mut mixes = BTreeSet::new();
    for outcome in after_crash(prepare, "f") {
        let content = outcome.unwrap();
        assert_eq!(content.len(), 3 * sector);
        let mut mix = Vec::new();
        for (index, piece) in content.chunks(sector).enumerate() {
            let written = match index {
                0 => &piece[10..],
                1 => piece,
                _last => &piece[..sector - 10],
            };
            assert!(written.iter().all(|byte| *byte == written[0]), "{index}");
            mix.push(written[0]);
        }
        mixes.insert(mix);
    }
    assert_eq!(mixes.len(), 8, "each of three sectors is old or new");
}

#[test]
fn a_sector_that_is_written_back_shows_the_earlier_writes_to_it() {
    let prepare = |image: &mut Image| {
        synced_file(image, "f", b"__");
        let inode = image.lookup("f").unwrap();
        image.write(inode, 0, Bytes::from_static(b"1"));
        image.write(inode, 1, Bytes::from_static(b"2"));
    };
    let outcomes = after_crash(prepare, "f");
    let possible = [b"__", b"1_", b"12"].map(|it| Some(it.to_vec()));
    assert_eq!(outcomes, BTreeSet::from(possible));
}

#[test]
fn a_file_may_have_grown_without_its_data() {
    let prepare = |image: &mut Image| {
        synced_file(image, "f", b"a");
        let inode = image.lookup("f").unwrap();
        image.write(inode, 1, Bytes::from_static(b"b"));
    };
    let outcomes = after_crash(prepare, "f");
    let possible = [&b"a"[..], b"ab", b"a\0"].map(|it| Some(it.to_vec()));
    assert_eq!(outcomes, BTreeSet::from(possible));
}

#[test]
fn what_a_failed_sync_dropped_is_not_brought_back_by_a_later_one() {
    let mut lost = 0;
    for seed in 0..100 {
        let mut image = Image::new();
        synced_file(&mut image, "f", b"old!");
        let inode = image.lookup("f").unwrap();
        image.write(inode, 0, Bytes::from_static(b"new!"));
        image.fail_sync(inode, &mut choices(seed));
        image.sync(inode, 50);
        assert_eq!(image.read(inode, 0, 4).as_ref(), b"new!");
        lost += usize::from(image.durable("f", 60).unwrap().as_ref() == b"old!");
    }
    assert!(lost > 20 && lost < 80, "lost {lost} of 100");
}

#[test]
fn a_failed_sync_takes_nothing_from_an_earlier_one_under_way() {
    for seed in 0..50 {
        let mut image = Image::new();
        synced_file(&mut image, "f", b"old!");
        let inode = image.lookup("f").unwrap();
        image.write(inode, 0, Bytes::from_static(b"new!"));
        image.sync(inode, 50);
        image.fail_sync(inode, &mut choices(seed));
        assert_eq!(image.durable("f", 60).unwrap().as_ref(), b"new!");
    }
}

#[test]
fn a_sync_of_a_directory_covers_the_changes_before_it_only() {
    let names = |seed| {
        let mut image = Image::new();
        image.create("a");
        image.sync_dir("", 50);
        image.create("b");
        image.crash(60, &mut choices(seed));
        image.list("")
    };
    let outcomes: BTreeSet<_> = (0..50).map(names).collect();
    let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    assert_eq!(outcomes, [names(&["a"]), names(&["a", "b"])].into());
}

#[test]
fn names_are_kept_or_lost_each_on_its_own_until_the_directory_is_synced() {
    let names = |seed| {
        let mut image = Image::new();
        image.create("a");
        image.create("b");
        image.crash(1, &mut choices(seed));
        image.list("")
    };
    let outcomes: BTreeSet<_> = (0..100).map(names).collect();
    assert_eq!(outcomes.len(), 4, "{outcomes:?}");
}

#[test]
fn a_rename_leaves_the_old_file_or_the_new_one() {
    let prepare = |image: &mut Image| {
        synced_file(image, "f", b"old");
        synced_file(image, "f.tmp", b"new");
        let inode = image.lookup("f.tmp").unwrap();
        image.rename("f.tmp", "f", inode);
    };
    let outcomes = after_crash(prepare, "f");
    let both = [Some(b"old".to_vec()), Some(b"new".to_vec())];
    assert_eq!(outcomes, BTreeSet::from(both));
}

#[test]
fn a_late_rename_does_not_take_a_new_file_of_the_old_name() {
    let mut image = Image::new();
    image.make_dir("a");
    image.make_dir("b");
    image.sync_dir("", 1);
    let inode = image.create("a/f");
    image.rename("a/f", "b/f", inode);
    image.create("a/f");
    image.sync_dir("a", 1);
    image.settle_names(1);
    image.sync_dir("b", 2);
    image.crash(2, &mut choices(1));
    assert_eq!(
        (image.list("a"), image.list("b")),
        (vec!["f".into()], vec!["f".into()])
    );
}

#[test]
fn a_file_renamed_before_its_data_was_synced_can_be_empty() {
    let prepare = |image: &mut Image| {
        synced_file(image, "f", b"old");
        let inode = image.create("f.tmp");
        image.write(inode, 0, Bytes::from_static(b"new"));
        image.rename("f.tmp", "f", inode);
        image.sync_dir("", 50);
    };
    let outcomes = after_crash(prepare, "f");
    let possible = [&b""[..], b"new", b"\0\0\0"].map(|it| Some(it.to_vec()));
    assert_eq!(outcomes, BTreeSet::from(possible));
}

#[test]
fn a_removed_file_can_come_back_until_the_directory_is_synced() {
    let remove = |image: &mut Image| {
        synced_file(image, "f", b"x");
        image.remove("f");
    };
    let both = BTreeSet::from([None, Some(b"x".to_vec())]);
    assert_eq!(after_crash(remove, "f"), both);
    let synced = |image: &mut Image| {
        remove(image);
        image.sync_dir("", 50);
    };
    assert_eq!(after_crash(synced, "f"), BTreeSet::from([None]));
}

#[test]
fn a_file_is_lost_with_the_directory_above_it() {
    let prepare = |image: &mut Image| {
        image.make_dir("d");
        image.create("d/f");
        image.sync_dir("d", 50);
    };
    let outcomes = after_crash(prepare, "d/f");
    assert_eq!(outcomes, BTreeSet::from([None, Some(Vec::new())]));
    let synced = |image: &mut Image| {
        prepare(image);
        image.sync_dir("", 50);
    };
    let outcomes = after_crash(synced, "d/f");
    assert_eq!(outcomes, BTreeSet::from([Some(Vec::new())]));
}

#[test]
fn a_removed_file_takes_room_while_somebody_can_read_it() {
    let mut image = Image::new();
    synced_file(&mut image, "f", &[1; 1_000]);
    let inode = image.lookup("f").unwrap();
    image.open(inode);
    image.remove("f");
    image.sync_dir("", 2);
    image.settle_names(2);
    assert_eq!(image.read(inode, 0, 2_000).len(), 1_000);
    assert_eq!(image.used_bytes(), 1_000);
    image.close_all();
    assert_eq!(image.used_bytes(), 0);
}

#[test]
fn a_listing_names_files_and_directories_sorted() {
    let mut image = Image::new();
    image.make_dir("b/c");
    image.create("b/z");
    image.create("a");
    assert_eq!(image.list(""), ["a", "b"]);
    assert_eq!(image.list("b"), ["c", "z"]);
}
