//! What people write.

use synod_sim::file;

/// A scenario: what is read is written and read as the same.
pub(crate) fn scenario(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(scenario) = file::read(text) else {
        return;
    };
    let written = file::write(&scenario);
    match file::read(&written) {
        Ok(again) => assert_eq!(again, scenario, "{written}"),
        Err(mistake) => panic!("what was written is refused: {mistake}\n{written}"),
    }
}

/// A history for the checker.
pub(crate) fn history(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _events = synod_checker::text::parse(text);
    }
}
