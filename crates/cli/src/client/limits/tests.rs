use super::*;

#[test]
fn values_are_read_in_the_units_that_people_write() {
    let read = |text: &str| assignment(text).map(|(_, value)| value);
    assert_eq!(read("quota-bytes=4GiB"), Ok(4 << 30));
    assert_eq!(read("max-txn-ops=256"), Ok(256));
    assert_eq!(read("auto-compaction-period=90m"), Ok(5_400_000));
    assert_eq!(read("auto-compaction-period=2"), Ok(7_200_000));
    assert_eq!(read("auto-compaction-period=0"), Ok(0));
    assert_eq!(read("auto-compaction-revisions=1000"), Ok(1_000));
    for wrong in [
        "quota-bytes",
        "quota-bytes=much",
        "max-txn-ops=-1",
        "auto-compaction-period=x",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_table_says_where_each_value_comes_from() {
    let limit = |name: &str, value, started_with, change| Limit {
        name: name.to_owned(),
        value,
        started_with,
        default: 128,
        change,
    };
    let change = |value| {
        Some(LimitChange {
            value,
            wall_ms: 1_709_210_096_000,
            by: "ann@box".to_owned(),
        })
    };
    let rows = [
        limit("max-txn-ops", 128, 128, None),
        limit("max-txn-ops", 200, 200, change(None)),
        limit(
            "auto-compaction-period",
            5_400_000,
            0,
            change(Some(5_400_000)),
        ),
    ];
    let expected = "\
NAME                    VALUE  DEFAULT  ORIGIN   LAST CHANGE
max-txn-ops             128    128      default
max-txn-ops             200    128      flag     given back at 2024-02-29T12:34:56Z by ann@box
auto-compaction-period  90m    128ms    set      90m at 2024-02-29T12:34:56Z by ann@box
";
    assert_eq!(table(&rows), expected);
}
