//! What a scenario file says is what is compared.

use super::*;

#[test]
fn a_scenario_reads_and_writes_the_same() {
    let text = "# Title\n\nprose | with a bar\n\n$ etcdctl txn\n< value(\"a\") = \"1\"\n<\n| OK\n|\n| done\n\nmore\n";
    let scenario = Scenario::parse(text);
    assert_eq!(scenario.text(), text);
    let mut steps = scenario.parts.iter().filter_map(|part| match part {
        Part::Step(step) => Some(step),
        Part::Prose(_) => None,
    });
    let step = steps.next_back().expect("there is one command");
    assert_eq!(step.line, 5);
    assert_eq!(step.input, ["value(\"a\") = \"1\"", ""]);
    assert_eq!(step.recorded, ["OK", "", "done"]);
}

#[test]
fn recording_keeps_an_ellipsis_that_still_fits() {
    let recorded = vec!["took …".to_owned(), "1".to_owned(), "gone".to_owned()];
    let mut step = Step {
        line: 1,
        command: String::new(),
        input: Vec::new(),
        recorded,
    };
    step.record(vec!["took 5 ms".to_owned(), "2".to_owned()]);
    assert_eq!(step.recorded, ["took …", "2"]);
    assert_eq!(
        step.difference(&["took 7 ms".to_owned(), "2".to_owned()]),
        None
    );
    assert!(step.difference(&["took 7 ms".to_owned()]).is_some());
}

#[test]
fn what_varies_gets_a_name_by_its_first_appearance() {
    let (client, peer) = ("127.0.0.1:1000".to_owned(), "127.0.0.1:2000".to_owned());
    let mut names = Names {
        client,
        peer,
        folder: "/here".into(),
        ids: Vec::new(),
    };
    let line = names.replace_in("lease 694d7a6c9a1b0c04 granted at http://127.0.0.1:1000");
    assert_eq!(line, "lease <id1> granted at http://<client>");
    assert_eq!(
        names.replace_in("694d7a6c9a1b0c05 694d7a6c9a1b0c04"),
        "<id2> <id1>"
    );
    assert_eq!(names.insert_into("revoke <id2>"), "revoke 694d7a6c9a1b0c05");
    assert_eq!(names.replace_in("facade 1234"), "facade 1234");
}

#[test]
fn unsteady_fields_lose_their_values_and_others_keep_them() {
    let json = r#"{"header":{"revision":7,"raft_term":2},"version":"3.5.1","kvs":[{"version":3}]}"#;
    let steady = r#"{"header":{"revision":7,"raft_term":<n>},"version":<n>,"kvs":[{"version":3}]}"#;
    assert_eq!(replace_unsteady(json), steady);
    assert_eq!(replace_unsteady("\"RaftTerm\" : 2"), "\"RaftTerm\" : <n>");
    assert_eq!(replace_unsteady("\"Revision\" : 2"), "\"Revision\" : 2");
}

#[test]
fn quotes_hold_words_together() {
    assert_eq!(words("put a 'b c'  \"\" d"), ["put", "a", "b c", "", "d"]);
}
