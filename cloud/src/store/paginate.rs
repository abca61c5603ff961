//! Cutting a list into pages.

/// Cuts what is sorted by a moment to about `limit`, and says from which moment to go on. What was committed at one
/// moment is never cut apart: it would be lost between two pages.
pub(in crate::store) fn paginate<T>(mut all: Vec<T>, limit: u32, at_us: impl Fn(&T) -> i64) -> (Vec<T>, Option<i64>) {
    let mut end = all.len().min(limit as usize);
    while end > 0 && end < all.len() && at_us(&all[end]) == at_us(&all[end - 1]) {
        end += 1;
    }
    let next = (end > 0 && end < all.len()).then(|| at_us(&all[end - 1]));
    all.truncate(end);
    (all, next)
}
