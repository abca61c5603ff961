//! Sets of sequences as inclusive ranges: `[[1,4],[7,7]]` is 1, 2, 3, 4 and 7.

use serde::{Deserialize, Serialize};

use crate::id::Sequence;

/// The largest number of ranges in a message; a camera with more gaps joins the nearest ranges.
pub const RANGES_MAX: usize = 500;

/// A set of sequences: sorted inclusive ranges that neither touch nor overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(Sequence, Sequence)>", into = "Vec<(Sequence, Sequence)>")]
pub struct Ranges(Vec<(Sequence, Sequence)>);

impl Ranges {
    pub fn iter(&self) -> impl Iterator<Item = (Sequence, Sequence)> + '_ {
        self.0.iter().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of sequences.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| last.get() - first.get() + 1).sum()
    }

    pub fn contains(&self, sequence: Sequence) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= sequence);
        after > 0 && self.0[after - 1].1 >= sequence
    }

    /// Reduces the set to at most `ranges_max` ranges by filling the smallest gaps: the result may contain too many
    /// sequences but never too few. Returns true if gaps were filled.
    pub fn coarsen(&mut self, ranges_max: usize) -> bool {
        let had_to = self.0.len() > ranges_max.max(1);
        while self.0.len() > ranges_max.max(1) {
            let gap = |at: &usize| self.0[at + 1].0.get() - self.0[*at].1.get();
            let Some(at) = (0..self.0.len() - 1).min_by_key(gap) else {
                break;
            };
            self.0[at].1 = self.0[at + 1].1;
            self.0.remove(at + 1);
        }
        had_to
    }
}

/// Sorts and joins the ranges; ignores reversed ones.
impl FromIterator<(Sequence, Sequence)> for Ranges {
    fn from_iter<I: IntoIterator<Item = (Sequence, Sequence)>>(ranges: I) -> Self {
        let mut all: Vec<_> = ranges.into_iter().filter(|(first, last)| first <= last).collect();
        all.sort_unstable();
        let mut joined: Vec<(Sequence, Sequence)> = Vec::new();
        for (first, last) in all {
            match joined.last_mut() {
                Some(before) if first.get() <= before.1.get() + 1 => before.1 = before.1.max(last),
                Some(_) | None => joined.push((first, last)),
            }
        }
        Self(joined)
    }
}

impl FromIterator<Sequence> for Ranges {
    fn from_iter<I: IntoIterator<Item = Sequence>>(sequences: I) -> Self {
        sequences.into_iter().map(|sequence| (sequence, sequence)).collect()
    }
}

/// The error for more ranges than a message may carry.
#[derive(Debug, thiserror::Error)]
#[error("more than {RANGES_MAX} ranges")]
pub struct TooManyRanges;

impl TryFrom<Vec<(Sequence, Sequence)>> for Ranges {
    type Error = TooManyRanges;

    fn try_from(ranges: Vec<(Sequence, Sequence)>) -> Result<Self, TooManyRanges> {
        if ranges.len() > RANGES_MAX {
            Err(TooManyRanges)
        } else {
            Ok(ranges.into_iter().collect())
        }
    }
}

impl From<Ranges> for Vec<(Sequence, Sequence)> {
    fn from(ranges: Ranges) -> Self {
        ranges.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(all: &[(u64, u64)]) -> Ranges {
        all.iter()
            .map(|(first, last)| (Sequence::try_from(*first).unwrap(), Sequence::try_from(*last).unwrap()))
            .collect()
    }

    #[test]
    fn touching_ranges_become_one() {
        assert_eq!(ranges(&[(5, 6), (1, 2), (3, 4), (9, 9), (9, 8)]), ranges(&[(1, 6), (9, 9)]));
        assert_eq!(ranges(&[(1, 6), (9, 9)]).count(), 7);
        for (sequence, inside) in [(1, true), (6, true), (7, false), (8, false), (9, true), (10, false)] {
            assert_eq!(
                ranges(&[(1, 6), (9, 9)]).contains(Sequence::try_from(sequence).unwrap()),
                inside,
                "{sequence}"
            );
        }
    }

    #[test]
    fn coarse_ranges_claim_too_much_but_never_too_little() {
        let mut some = ranges(&[(1, 1), (3, 3), (100, 100)]);
        assert!(some.coarsen(2));
        assert_eq!(some, ranges(&[(1, 3), (100, 100)]));
        assert!(!some.coarsen(2));
    }
}
