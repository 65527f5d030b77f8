use super::html;
use crate::Machine;
use crate::picture::{Operation, Outcome, Story, Violation};
use std::time::Duration;

fn story() -> Story {
    let hostile = "</script><b>\"\\\u{2028}\n&";
    Story {
        title: format!("Seed 7 {hostile}"),
        facts: vec![("seed".to_owned(), hostile.to_owned())],
        lanes: vec![Machine::Client(0), Machine::Member(1)],
        to: Duration::from_secs(1),
        operations: vec![Operation {
            client: 0,
            from: Duration::from_millis(5),
            to: None,
            outcome: Outcome::Unknown,
            witness: true,
            what: hostile.to_owned(),
            detail: "{{story}}".to_owned(),
        }],
        violation: Some(Violation {
            at: Duration::from_millis(9),
            property: hostile.to_owned(),
            witness: hostile.to_owned(),
        }),
        scenario: hostile.to_owned(),
        ..Story::default()
    }
}

#[test]
fn no_text_of_a_run_can_leave_its_place_in_the_page() {
    let page = html(&story());
    assert_eq!(page.matches("</script>").count(), 2, "data and script");
    assert!(
        !page.contains("<b>\""),
        "markup of the run stands in the page"
    );
    // Places are filled once: a text that looks like one stays as it is.
    assert!(page.contains("{{story}}"));
    assert!(page.contains("\\u003c/script>"));
}

#[test]
fn a_page_asks_nobody_for_anything() {
    let page = html(&story());
    for door in [
        "src=", "href=", "url(", "import ", "fetch(", "http:", "https:",
    ] {
        // The namespace of SVG is a name, not an address that anybody visits.
        let page = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains(door), "the page contains {door}");
    }
}

#[test]
fn equal_texts_are_written_once() {
    let mut story = story();
    let one = html(&story).len();
    let operation = story.operations[0].clone();
    story.operations.extend(std::iter::repeat_n(operation, 10));
    let more = html(&story).len() - one;
    assert!(more < 10 * 60, "ten more operations take {more} bytes");
}
