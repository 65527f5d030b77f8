//! The codes are documented, and stay apart.

use super::Exit;

fn page() -> String {
    let mut page = String::from(
        "# Exit codes\n\
         \n\
         <!-- Printed from crates/cli/src/exit.rs; `UPDATE=1 cargo test -p synod-cli` rewrites it. -->\n\
         \n\
         These numbers do not change.\n\
         A command that changes something ends in one of three ways: done (0), refused (3), or unknown (4).\n\
         \n\
         | code | meaning | what to do |\n|---|---|---|\n",
    );
    for exit in Exit::ALL {
        let (meaning, remedy) = exit.meaning();
        page.push_str(&format!("| {} | {meaning} | {remedy} |\n", exit.code()));
    }
    page.push_str(
        "| 101 | A defect: an invariant did not hold, and the process stopped before it could do harm. | Please report the message on stderr. |\n\
         | 128 + n | Ended by signal n. | |\n",
    );
    page
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the page lies beside the source")]
fn the_reference_page_is_the_definition() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/exit-codes.md"
    );
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page(),
        "exit-codes.md is old: UPDATE=1 cargo test -p synod-cli"
    );
}

#[test]
fn codes_are_distinct_and_ascending() {
    let codes: Vec<u8> = Exit::ALL.into_iter().map(Exit::code).collect();
    assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
}
