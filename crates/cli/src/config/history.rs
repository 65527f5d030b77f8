//! How much history is kept, as etcd's flags write it.

use super::duration;
use std::time::Duration;
use synod_env::HistoryKeep;

/// The longest that makes sense: ten years.
const PERIOD_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// `--auto-compaction-retention`: a time, where a bare number is hours, or a number of revisions.
/// 0 keeps everything.
pub(crate) fn keep(text: &str, by_revision: bool) -> Result<HistoryKeep, String> {
    let number: Option<u64> = text.parse().ok();
    match (number, by_revision) {
        (Some(0), _) => Ok(HistoryKeep::Everything),
        (Some(count), true) => Ok(HistoryKeep::Revisions(count)),
        (None, true) => Err(format!("`{text}` is not a number of revisions")),
        (Some(hours), false) => {
            let seconds = hours.saturating_mul(3_600);
            period(text, Duration::from_secs(seconds))
        }
        (None, false) if text.is_empty() => Ok(HistoryKeep::Everything),
        (None, false) => period(text, duration(text)?),
    }
}

fn period(text: &str, period: Duration) -> Result<HistoryKeep, String> {
    if period.is_zero() {
        return Ok(HistoryKeep::Everything);
    }
    if period < Duration::from_millis(1) {
        return Err(format!("`{text}` is below 1ms, the least allowed"));
    }
    if period > PERIOD_MAX {
        return Err(format!("`{text}` is above ten years, the most allowed"));
    }
    Ok(HistoryKeep::For(period))
}
