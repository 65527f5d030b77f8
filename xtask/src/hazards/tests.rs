use super::*;

#[test]
fn an_entry_is_a_title_a_command_and_its_output() {
    let page = "# Hazards\n\n## A lost reply\n\nProse.\n\n```console\n$ cargo test -p x\nrunning 1 test\n\ntest … ok\n```\n";
    let hazards = parse(page).expect("the page is right");
    let expected = Hazard {
        line: 3,
        title: "A lost reply".to_owned(),
        command: "cargo test -p x".to_owned(),
        recorded: vec!["running 1 test".to_owned(), "test … ok".to_owned()],
    };
    assert_eq!(hazards, [expected]);
}

#[test]
fn an_entry_that_shows_nothing_is_an_error() {
    assert!(parse("## A\n\nProse only.\n").is_err());
    assert!(parse("## A\n```console\n$ true\n```\n").is_err());
    assert!(parse("## A\n```console\noutput first\n```\n").is_err());
    assert!(parse("## A\n```console\n$ one\n1\n$ two\n2\n```\n").is_err());
}

#[test]
fn other_fenced_blocks_are_prose() {
    let page = "## A\n```text\n$ not a command\n```\n```console\n$ true\nx\n```\n";
    assert_eq!(parse(page).expect("the page is right").len(), 1);
}
