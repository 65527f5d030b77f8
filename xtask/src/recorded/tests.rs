use super::*;

#[test]
fn an_ellipsis_stands_for_any_text_and_nothing_else_does() {
    assert!(matches("took …ms", "took 12.5ms"));
    assert!(matches("a … b … c", "a 1 b 2 c"));
    assert!(matches("…", ""));
    assert!(matches("same", "same"));
    assert!(!matches("same", "same and more"));
    assert!(!matches("took …ms", "took 12.5s"));
    assert!(!matches("a … b … c", "a 1 c"));
    assert!(!matches("…ab", "b"));
}

#[test]
fn recorded_lines_must_come_in_their_order_with_others_between() {
    let recorded = |lines: &[&str]| {
        lines
            .iter()
            .map(|&line| line.to_owned())
            .collect::<Vec<_>>()
    };
    let output = "compiling\ntest a ... ok\n\ntest b ... ok\nfinished in 1.2s\n";
    assert_eq!(
        missing(&recorded(&["test a ... ok", "finished in …s"]), output),
        None
    );
    let swapped = recorded(&["test b ... ok", "test a ... ok"]);
    assert_eq!(missing(&swapped, output), Some("test a ... ok"));
    assert_eq!(missing(&recorded(&["test a"]), output), Some("test a"));
    assert_eq!(missing(&[], output), None);
}
