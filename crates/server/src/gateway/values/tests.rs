use super::{Cutter, TooLong};
use proptest::prelude::*;

const VALUES: &[&str] = &[
    "{}",
    r#"{"a":"}\"{","b":[1,{"c":"]"}]}"#,
    "[1, 2]",
    "\"te xt\"",
    "null",
    r#"{"a":"\\"}"#,
    "17",
];

/// The values that come out when the bytes come in so.
fn cut<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut cutter = Cutter::new(1 << 10);
    let mut values = Vec::new();
    for chunk in chunks {
        cutter.push(chunk);
        while let Some(value) = cutter.cut().unwrap() {
            values.push(value);
        }
    }
    values.extend(cutter.rest());
    let text = |value: bytes::Bytes| String::from_utf8(value.into()).unwrap();
    let trimmed = |value| text(value).trim().to_owned();
    values.into_iter().map(trimmed).collect()
}

proptest! {
    #[test]
    fn values_are_cut_where_they_end_however_the_bytes_come(
        chosen in prop::collection::vec(prop::sample::select(VALUES), 0..6),
        size in 1_usize..12,
    ) {
        let text = chosen.join("\n");
        let values = cut(text.as_bytes().chunks(size));
        prop_assert_eq!(values, chosen);
    }
}

#[test]
fn objects_need_nothing_between_them() {
    let text = br#"{"a":1}{"b":{}} {}{"#;
    let values = cut([&text[..]]);
    assert_eq!(values, [r#"{"a":1}"#, r#"{"b":{}}"#, "{}", "{"]);
}

#[test]
fn a_value_that_does_not_end_is_given_up() {
    let mut cutter = Cutter::new(8);
    cutter.push(b"{\"abcdef");
    assert_eq!(cutter.cut(), Ok(None));
    cutter.push(b"g");
    assert_eq!(cutter.cut(), Err(TooLong));
}
