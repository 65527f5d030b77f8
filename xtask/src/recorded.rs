//! Recorded output: lines in which `…` stands for any text.

#[cfg(test)]
mod tests;

/// Whether `line` is `pattern`, with `…` for any text.
pub(crate) fn matches(pattern: &str, line: &str) -> bool {
    let mut pieces = pattern.split('…');
    let Some(mut rest) = pieces.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = pattern
        .contains('…')
        .then(|| pieces.next_back().unwrap_or(""))
    else {
        return rest.is_empty();
    };
    for piece in pieces {
        let Some((_, after)) = rest.split_once(piece) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}

/// The first recorded line that `output` does not have; `None` when it has them all.
///
/// The lines must appear in the recorded order; other lines may stand between them.
pub(crate) fn missing<'a>(recorded: &'a [String], output: &str) -> Option<&'a str> {
    let mut lines = output.lines();
    let is_missing = |pattern: &&String| !lines.any(|line| matches(pattern, line.trim_end()));
    recorded.iter().find(is_missing).map(String::as_str)
}
