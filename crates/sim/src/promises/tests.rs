//! The tables of the page name what the code names.

use super::{NO_LIVELOCK, NO_PANIC, SOUND_DISK, SUM_OF_ACCOUNTS};
use synod_checker::Property;
use synod_env::Bug;

const PAGE: &str = include_str!("../../../../docs/internals/simulator.md");

/// The first cells of a table's rows, without its head.
fn names(table: &str) -> Vec<&str> {
    let begin = format!("<!-- {table} -->\n");
    let (_, rest) = PAGE.split_once(&begin).expect("the table begins");
    let end = format!("<!-- {table} end -->");
    let (rows, _) = rest.split_once(&end).expect("the table ends");
    let rows = rows.lines().skip(2);
    rows.map(|row| row.split('`').nth(1).expect("a name"))
        .collect()
}

#[test]
fn the_page_names_every_property_and_no_other() {
    let own = [SUM_OF_ACCOUNTS, SOUND_DISK, NO_PANIC, NO_LIVELOCK];
    let mut known: Vec<&str> = Property::ALL.iter().map(|it| it.name()).collect();
    known.extend(own);
    known.sort_unstable();
    let mut told = names("properties");
    told.sort_unstable();
    assert_eq!(told, known);
}

#[test]
fn the_page_names_every_planted_bug_in_order_and_no_other() {
    assert_eq!(names("planted"), Bug::ALL.map(Bug::name));
}
