//! The index of the parts that are here, and the decision which of them make room for others. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use keepsake_protocol::{DeviceId, Hash, Sequence, SpoolId};

use crate::store::limits::Limits;

pub(super) type CaptureKey = (SpoolId, Sequence, Hash);

/// A part that is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) crc: u32,
}

impl Part {
    pub(super) fn file_name(&self) -> String {
        format!("{}-{}-{:08x}", self.start, self.len, self.crc)
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut fields = name.splitn(3, '-');
        let part = Self {
            start: fields.next()?.parse().ok()?,
            len: fields.next()?.parse().ok()?,
            crc: u32::from_str_radix(fields.next()?, 16).ok()?,
        };
        (part.file_name() == name && part.start.checked_add(part.len).is_some()).then_some(part)
    }
}

/// A capture that is not whole yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfinished {
    pub(super) device: DeviceId,
    /// Length of the capture, bytes.
    pub(super) total: u64,
    /// The time of the last part that was new, microseconds UTC.
    pub(super) progress_us: i64,
    /// By their start. They may overlap, because a camera may divide a capture differently when it sends it again.
    pub(super) parts: BTreeMap<u64, Part>,
}

impl Unfinished {
    pub(super) fn new(device: DeviceId, total: u64) -> Self {
        Self { device, total, progress_us: 0, parts: BTreeMap::new() }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.parts.values().map(|part| part.len).sum()
    }

    /// Returns the bytes that no part has, as `[start, end)`.
    pub(super) fn missing(&self) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut reached = 0;
        for part in self.parts.values() {
            if part.start > reached {
                gaps.push((reached, part.start));
            }
            reached = reached.max(part.start + part.len);
        }
        if reached < self.total {
            gaps.push((reached, self.total));
        }
        gaps
    }

    /// Returns the directory of a capture, below that of all parts. Its name says all that the index knows.
    pub(super) fn directory(&self, (spool, sequence, hash): &CaptureKey) -> PathBuf {
        let capture = format!("{spool}-{}-{hash}-{}", sequence.get(), self.total);
        [self.device.as_str(), &capture].iter().collect()
    }

    /// Reads the names of a capture's directory.
    pub(super) fn parse(device: &str, capture: &str) -> Option<(CaptureKey, Self)> {
        let mut fields = capture.splitn(4, '-');
        let spool = fields.next()?.parse().ok()?;
        let sequence = fields.next()?.parse::<u64>().ok()?.try_into().ok()?;
        let hash = fields.next()?.parse().ok()?;
        let total = fields.next()?.parse().ok()?;
        Some(((spool, sequence, hash), Self::new(device.parse().ok()?, total)))
    }
}

/// The unfinished captures of all cameras.
#[derive(Debug, Default)]
pub(super) struct Index {
    captures: BTreeMap<CaptureKey, Unfinished>,
}

impl Index {
    pub(super) fn get(&self, key: &CaptureKey) -> Option<&Unfinished> {
        self.captures.get(key)
    }

    pub(super) fn insert(&mut self, key: CaptureKey, unfinished: Unfinished) {
        self.captures.insert(key, unfinished);
    }

    pub(super) fn remove(&mut self, key: &CaptureKey) -> Option<Unfinished> {
        self.captures.remove(key)
    }

    /// Returns true if a part that starts there does not reach as far.
    pub(super) fn lacks(&self, key: &CaptureKey, part: &Part) -> bool {
        let known = self.captures.get(key).and_then(|unfinished| unfinished.parts.get(&part.start));
        known.is_none_or(|known| known.len < part.len)
    }

    /// Adds a part, and returns the shorter one that it replaces.
    pub(super) fn add(&mut self, key: CaptureKey, new: Unfinished, part: Part, now_us: i64) -> Option<Part> {
        let unfinished = self.captures.entry(key).or_insert(new);
        unfinished.progress_us = now_us;
        unfinished.parts.insert(part.start, part)
    }

    pub(super) fn drop_part(&mut self, key: &CaptureKey, part: &Part) {
        if let Some(unfinished) = self.captures.get_mut(key)
            && unfinished.parts.get(&part.start) == Some(part)
        {
            unfinished.parts.remove(&part.start);
        }
    }

    /// Returns the unfinished captures of a spool within a range of sequences.
    pub(super) fn within(
        &self,
        spool: SpoolId,
        (first, last): (Sequence, Sequence),
    ) -> impl Iterator<Item = (&CaptureKey, &Unfinished)> {
        let first = (spool, first, Hash([0; 32]));
        let last = (spool, last, Hash([0xff; 32]));
        self.captures.range(first..=last)
    }

    /// Removes what has been without progress for longest until every camera and all cameras together are within their
    /// limits, and returns it. Beyond the limit of all, the camera with the most bytes gives way. The capture just
    /// `touched` goes only if it is beyond the limits alone, as one cut into absurdly many parts is.
    pub(super) fn make_room(&mut self, touched: &CaptureKey, limits: &Limits) -> Vec<(CaptureKey, Unfinished)> {
        let mut removed = Vec::new();
        while let Some(device) = self.beyond(limits) {
            let oldest = self
                .captures
                .iter()
                .filter(|(_, unfinished)| unfinished.device == device)
                .min_by_key(|(key, unfinished)| (*key == touched, unfinished.progress_us))
                .map(|(key, _)| *key);
            let Some((key, unfinished)) = oldest.and_then(|key| self.captures.remove_entry(&key)) else {
                break;
            };
            removed.push((key, unfinished));
        }
        removed
    }

    /// Returns a camera that must give way.
    fn beyond(&self, limits: &Limits) -> Option<DeviceId> {
        let mut by_device: BTreeMap<&DeviceId, (u64, u64)> = BTreeMap::new();
        for unfinished in self.captures.values() {
            let (parts, bytes) = by_device.entry(&unfinished.device).or_default();
            *parts += unfinished.parts.len() as u64;
            *bytes += unfinished.bytes();
        }
        let all: u64 = by_device.values().map(|(_, bytes)| bytes).sum();
        let (device, _) = by_device.into_iter().max_by_key(|(_, (parts, bytes))| {
            let beyond_own = *parts > limits.parts_max || *bytes > limits.part_bytes_max;
            (beyond_own, *bytes)
        })?;
        let own = self.captures.values().filter(|unfinished| unfinished.device == *device);
        let (parts, bytes) =
            own.fold((0, 0), |(parts, bytes), one| (parts + one.parts.len() as u64, bytes + one.bytes()));
        let beyond = parts > limits.parts_max || bytes > limits.part_bytes_max || all > limits.part_all_bytes_max;
        beyond.then(|| device.clone())
    }

    /// Removes what has been without progress since `before_us`, and returns it.
    pub(super) fn remove_stale(&mut self, before_us: i64) -> Vec<(CaptureKey, Unfinished)> {
        self.captures.extract_if(.., |_, unfinished| unfinished.progress_us < before_us).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(sequence: u64) -> CaptureKey {
        (SpoolId([1; 16]), sequence.try_into().unwrap(), Hash([2; 32]))
    }

    /// Cameras with captures of these lengths, each in one part, the oldest first.
    fn index(captures: &[(&str, u64)]) -> Index {
        let mut index = Index::default();
        for (number, (device, len)) in (1..).zip(captures) {
            let part = Part { start: 0, len: *len, crc: 0 };
            let new = Unfinished::new(device.parse().unwrap(), len + 1);
            let now_us = i64::try_from(number).unwrap();
            assert_eq!(index.add(key(number), new, part, now_us), None);
        }
        index
    }

    #[test]
    fn the_camera_with_the_most_gives_way_and_its_oldest_capture_goes() {
        let limits = Limits {
            part_bytes_max: 100,
            part_all_bytes_max: 150,
            ..Limits::default()
        };
        for (captures, removed) in [
            (&[("a", 50), ("b", 50), ("b", 50)][..], &[][..]),
            (&[("a", 50), ("b", 60), ("b", 50)], &[2]),
            (&[("a", 60), ("b", 50), ("b", 41)], &[2]),
            (&[("a", 10), ("b", 30), ("c", 40), ("c", 31), ("b", 40)], &[3]),
            // The last one was just touched.
            (&[("a", 90), ("b", 101)], &[2]),
        ] {
            let mut index = index(captures);
            let gone = index.make_room(&key(captures.len() as u64), &limits);
            let gone: Vec<u64> = gone.iter().map(|((_, sequence, _), _)| sequence.get()).collect();
            assert_eq!(gone, removed, "{captures:?}");
        }
    }

    #[test]
    fn names_say_what_the_index_knows() {
        let part = Part { start: 7, len: 9, crc: 0xab };
        assert_eq!(Part::parse(&part.file_name()), Some(part));
        for odd in ["", "7-9", "7-9-ab", "7-9-000000AB", "07-9-000000ab", "x-9-000000ab", "7-9-000000ab-"] {
            assert_eq!(Part::parse(odd), None, "{odd}");
        }
        let unfinished = Unfinished::new("porch".parse().unwrap(), 500);
        let directory = unfinished.directory(&key(3));
        let (device, capture) = directory.to_str().unwrap().split_once('/').unwrap();
        assert_eq!(Unfinished::parse(device, capture), Some((key(3), unfinished)));
        assert_eq!(Unfinished::parse("..", capture), None);
        assert_eq!(Unfinished::parse(device, "lost+found"), None);
    }
}
