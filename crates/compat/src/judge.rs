//! Whether an answer is the recorded one.

/// The first line in which `answered` is not what was `recorded`; `None` if it is all the same.
///
/// `TTL<=N` stands for a remaining time that was N when it was recorded: as much may be left, or
/// less, but something.
#[must_use]
pub fn difference(recorded: &[String], answered: &[String]) -> Option<String> {
    let longer = recorded.len().max(answered.len());
    (0..longer).find_map(|at| match (recorded.get(at), answered.get(at)) {
        (Some(recorded), Some(answered)) if is_same(recorded, answered) => None,
        (recorded, answered) => {
            let show = |line: Option<&String>| line.map_or("nothing", String::as_str).to_owned();
            let (recorded, answered) = (show(recorded), show(answered));
            Some(format!("recorded: {recorded}\n  answered: {answered}"))
        }
    })
}

fn is_same(recorded: &str, answered: &str) -> bool {
    recorded == answered || {
        let (mut recorded, mut answered) = (recorded.split(' '), answered.split(' '));
        loop {
            match (recorded.next(), answered.next()) {
                (None, None) => return true,
                (Some(recorded), Some(answered))
                    if recorded == answered || is_within(recorded, answered) => {}
                (_, _) => return false,
            }
        }
    }
}

fn is_within(recorded: &str, answered: &str) -> bool {
    let (recorded, answered) = (recorded.split_once("<="), answered.split_once("<="));
    match (recorded, answered) {
        (Some((name, most)), Some((answered_name, left))) => {
            let number = |text: &str| text.parse::<u64>().ok();
            name == answered_name
                && number(left).is_some_and(|left| left > 0 && Some(left) <= number(most))
        }
        (_, _) => false,
    }
}
