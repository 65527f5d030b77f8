use crate::answer::{Manner, Names};
use crate::file::File;
use crate::judge::difference;
use crate::schema::Schema;
use crate::{request, tokens};
use prost::Message as _;
use prost_reflect::DynamicMessage;

/// A request as it is shown when it is read back from the wire.
fn reread(method: &str, words: &str) -> Vec<String> {
    let method = Schema::load().unwrap().method(method).unwrap();
    let mut names = Names::default();
    let words = tokens::split(words).unwrap();
    let message = request::message(&method.input(), &words, &names).unwrap();
    let bytes = message.encode_to_vec();
    let message = DynamicMessage::decode(method.input(), bytes.as_slice()).unwrap();
    names.lines(&message, &Manner::default())
}

#[test]
fn a_request_says_fields_by_their_names() {
    assert_eq!(
        reread("Put", "key=a\\x20b value=x*40 lease=7 prev_kv"),
        ["key=a\\x20b value=x*40 lease=7 prev_kv"]
    );
    assert_eq!(
        reread("Range", "key=\\0 sort_order=9 sort_target=VALUE"),
        ["key=\\0 sort_order=9 sort_target=VALUE"]
    );
}

#[test]
fn a_transaction_is_said_in_clauses_or_in_fields() {
    let clauses = "if mod(a)=3 value(b,c)!=x then Put key=a value=1 ; Txn {then Range key=b} \
                   else nothing ; DeleteRange key=c";
    let fields = "compare={target=MOD result=EQUAL key=a mod_revision=3} \
                  compare={target=VALUE result=NOT_EQUAL key=b range_end=c value=x} \
                  success={request_put={key=a value=1}} \
                  success={request_txn={success={request_range={key=b}}}} \
                  failure={} failure={request_delete_range={key=c}}";
    let lines = reread("Txn", clauses);
    assert_eq!(lines, reread("Txn", fields));
    assert!(
        lines.contains(&"  compare: result=EQUAL target=MOD key=a mod_revision=3".to_owned()),
        "{lines:#?}"
    );
}

#[test]
fn bytes_are_read_back_as_they_were_shown() {
    let odd: Vec<u8> = (0..=255).collect();
    for bytes in [&odd[..], b"", b"plain", &[7; 100], b"a*3"] {
        let text = tokens::text(bytes);
        let read = if text.is_empty() {
            tokens::bytes("\"\"")
        } else {
            tokens::bytes(&text)
        };
        assert_eq!(read.unwrap(), bytes, "{text}");
    }
}

#[test]
fn a_file_is_written_as_it_was_read() {
    let text = "# Title\n\nProse.\n\n## one\nwith: max-txn-ops=4\nsince: 3.6.0, somewhere\n\n> Put \
                key=a\n>   value=1\n| header=2\n~ header=3\nMore prose.\n\n## two\ndiffers: so it \
                is\n> Range key=a\n| header=1\n! header=2\n";
    let file = File::parse(text).unwrap();
    assert_eq!(file.text(), text);
    assert_eq!(
        file.cases[0].steps().next().unwrap().request,
        "Put key=a value=1"
    );
}

#[test]
fn what_is_marked_must_differ() {
    let wrong = [
        "> Put key=a\n",
        "## a\n| header=1\n",
        "## a\nnothing\n",
        "## a\n> Put\n| header=1\n! header=2\n",
        "## a\n> Put\n| header=1\n~ header=2\n",
        "## a\ndiffers: no\n> Put\n| header=1\n! header=1\n",
        "## a\n> Put\n\n## a\n> Put\n",
    ];
    for text in wrong {
        assert!(File::parse(text).is_err(), "{text}");
    }
}

#[test]
fn less_time_may_be_left_and_nothing_else_may_differ() {
    let lines = |text: &str| vec![text.to_owned()];
    let differs = |recorded, answered| difference(&lines(recorded), &lines(answered)).is_some();
    assert!(!differs("header=1 TTL<=9", "header=1 TTL<=9"));
    assert!(!differs("header=1 TTL<=9", "header=1 TTL<=8"));
    assert!(differs("header=1 TTL<=9", "header=1 TTL<=10"));
    assert!(differs("header=1 TTL<=9", "header=1 TTL=-1"));
    assert!(differs("header=1", "header=2"));
    assert!(differs("header=1", "header=1 more"));
    assert!(difference(&lines("a"), &[]).is_some());
}
