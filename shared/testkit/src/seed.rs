//! Repeatable randomness: every run prints its seed, and `KEEPSAKE_SEED` repeats it.

use std::time::Duration;

/// A small generator (SplitMix64), good enough for moments to kill at, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    /// Returns the generator of a known seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Takes the seed from `KEEPSAKE_SEED` or from the system, and prints it, so that a failed run can be repeated.
    pub fn from_env_or_random(what: &str) -> Self {
        use std::hash::{BuildHasher, RandomState};
        let seed = std::env::var("KEEPSAKE_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| RandomState::new().hash_one(what) >> 32);
        println!("{what}: repeat with KEEPSAKE_SEED={seed}");
        Self(seed)
    }

    /// Returns another generator that continues independently.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.number())
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from 0 to `end - 1`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Returns a duration of at most `longest`.
    pub fn duration_up_to(&mut self, longest: Duration) -> Duration {
        let us = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.below(us))
    }

    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(n + 8);
        while bytes.len() < n {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(n);
        bytes
    }
}
