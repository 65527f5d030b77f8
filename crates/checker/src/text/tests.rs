use super::{parse, parse_line, write, write_event};

/// One line of each form, as they are written.
const EVERY_FORM: &str = r#"0s m1 started 1
1ns c1 #1 put a x1
2ns c2 #2 put b \x00\xff lease=7 prev
3ns c1 #3 del a
4ns c1 #4 del a to=c prev
5ns c1 #5 get a
6us c1 #6 get a to=\x00 rev=3 limit=2 keys count serializable
7us c1 #7 txn
8us c1 #8 txn if version a = 0 & value b to=c != "" then put a 1 ; get a else del b to=c prev
9us c1 #9 txn if create a > 1 & mod a < 2 & lease a = 7 else get a
10us c1 #10 compact 5
11us c1 #11 grant 7 ttl_ms=2000
12us c1 #12 revoke 7
13us c1 #13 keepalive 7
14us c1 #14 ttl 7
15ms #1 done rev=2 m1 put
16ms #2 done rev=3 m1 put was b=""@1:1:1:0
17ms #3 done rev=4 m2 del 1
18ms #4 done rev=4 m2 del 1 a=x@2:2:1:0
19ms #5 done rev=4 m2 get count=0
20ms #6 done rev=4 m2 get count=3 more a=x@2:2:1:0 b=y@3:3:1:7
21ms #7 done rev=4 m2 txn else
22ms #8 done rev=5 m2 txn then ; rev=5 put ; rev=5 get count=1 a=1@5:5:1:0
23ms #9 refused compacted
24ms #10 done rev=5 m3 compact
25ms #11 done rev=5 m3 grant 7 ttl_ms=2000
26ms #12 done rev=5 m3 revoke
27ms #13 done rev=5 m3 keepalive ttl_ms=2000
28ms #14 done rev=5 m3 ttl left_ms=1500 granted_ms=2000 keys a b
29ms #15 done rev=5 m3 keepalive gone
30ms #16 done rev=5 m3 ttl gone granted_ms=0
31ms #17 refused future-revision
32ms #18 refused lease-not-found
33ms #19 refused lease-exists
34ms #20 refused not-done
35ms #21 unknown
36ms w1 created c1 a rev=5
37ms w2 created c1 a to=b start=3 rev=5 prev no-put no-delete
38ms w1 events rev=6 put a=2@5:6:2:0 was a=1@5:5:1:0 ; del b@6
39ms w1 events rev=6 del b=x@1:6:0:3
40ms w1 progress rev=6
41ms w1 compacted rev=3
42ms w1 resumed rev=7
43ms w1 closed
44ms c1 believes-in lease=7
44ms c1 holds lock=2 token=5
45ms m1 stopped
46ms m1 applied 17
47ms m1 hashed 17 deadbeef
48ms m1 reigns 4
49ms healed within=5s
50ms hurt
51s settled
"#;

#[test]
fn every_form_of_event_is_written_as_it_was_read() {
    let history = parse(EVERY_FORM).unwrap();
    assert_eq!(history.len(), EVERY_FORM.lines().count());
    assert_eq!(write(&history), EVERY_FORM);
}

#[test]
fn prose_and_empty_lines_are_passed_over() {
    assert_eq!(parse("# put a x1\n\n   \n1ms hurt\n").unwrap().len(), 1);
}

#[test]
fn a_malformed_line_is_named_with_its_reason() {
    for (text, reason) in [
        ("5", "line 1: \"5\" is not a time in s, ms, us or ns"),
        ("5ms", "line 1: it ends too early"),
        ("5ms c1 #1 get a b", "line 1: \"b\" has no meaning here"),
        ("5ms c1 1 get a", "line 1: \"1\" is not #OP"),
        ("5ms x", "line 1: \"x\" is nobody who does something"),
        (
            "# prose\n5ms hurt\n4ms hurt",
            "line 3: it is earlier than 0.005 s",
        ),
        (
            "5ms c1 #1 get \\x1",
            "line 1: \"\\\\x1\" is not a word of bytes",
        ),
        (
            "5ms w1 events rev=1 put a=1@1:1:0:0",
            "line 1: a put has a version of at least 1, a delete has 0",
        ),
        ("5ms healed", "line 1: within=… is missing"),
        (
            "18446744073709551615s hurt",
            "line 1: \"18446744073709551615s\" is too late",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), reason);
    }
}

#[test]
fn any_byte_can_stand_in_a_key() {
    let all: Vec<u8> = (0..=255).collect();
    let mut event = parse_line("1ms c1 #1 get a").unwrap().unwrap();
    let crate::What::Invoked { operation, .. } = &mut event.what else {
        unreachable!("the line begins an operation");
    };
    let crate::Operation::Range(range) = operation else {
        unreachable!("the operation is a read");
    };
    range.key = all.into();
    assert_eq!(parse_line(&write_event(&event)).unwrap().unwrap(), event);
}
