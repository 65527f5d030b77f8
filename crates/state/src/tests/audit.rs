//! Recomputes from scratch what the state keeps up to date as it goes.

use crate::Root;
use crate::command::Range;
use crate::digest::Digest;
use crate::record::Record;
use crate::reply::KeyValue;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Checks hash, size and all views of the versions against the versions themselves.
pub(super) fn check(root: &Root) {
    let mut digest = Digest::default();
    let mut bytes = 0;
    let mut scratch = Vec::new();
    let mut by_moment = BTreeMap::new();
    let mut last_of_key: BTreeMap<&[u8], &Record> = BTreeMap::new();
    for record in &root.versions {
        let encoded = record.encoded(&mut scratch);
        digest.add(encoded);
        bytes += encoded.len() as u64;
        assert!(
            by_moment.insert(record.moment(), record).is_none(),
            "{record:?} is there twice"
        );
        last_of_key.insert(record.key(), record);
        assert!(
            record.mod_revision() <= root.revision(),
            "{record:?} is from the future"
        );
    }
    for lease in &root.leases {
        digest.add(&lease.encode());
        bytes += lease.encode().len() as u64;
    }
    for origin in &root.origins {
        digest.add(&origin.encode());
    }
    for alarm in &root.alarms {
        digest.add(&alarm.encode());
    }
    for change in root.limit_changes() {
        digest.add(&change.encode());
    }
    digest.add(&root.scalars.encode());
    assert_eq!(root.hash(), digest.0, "the hash followed the changes");
    assert_eq!(root.bytes(), bytes, "the size followed the changes");
    let events: Vec<&Record> = root.events.iter().collect();
    assert_eq!(events, by_moment.into_values().collect::<Vec<_>>());
    let mut attached: Vec<&Record> = last_of_key
        .into_values()
        .filter(|record| record.lease() != 0)
        .collect();
    attached.sort_by_key(|record| (record.lease(), record.key()));
    assert_eq!(root.attached.iter().collect::<Vec<_>>(), attached);
    for record in attached {
        assert!(
            root.lease(record.lease()).is_some(),
            "{record:?} hangs on nothing"
        );
    }
}

/// All keys at the present revision.
pub(super) fn everything(root: &Root) -> Vec<KeyValue> {
    let (key, range_end) = (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
    let all = Range {
        key,
        range_end,
        ..Range::default()
    };
    root.range(&all).expect("the present revision").kvs
}
