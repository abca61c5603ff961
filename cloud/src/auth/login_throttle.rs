//! The limit on failed logins: a few are free, then each one doubles the wait up to a bound. Pure.
//!
//! A try counts as failed from its beginning, so that many at once gain nothing; success takes it back. A try that is
//! refused counts for nothing, so nobody is kept out longer by trying again. What is remembered is bounded (P4):
//! beyond, the rows nearest to being forgotten go.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Rows in memory, about 100 bytes each.
const ROWS_MAX: usize = 10_000;

/// The thing being tried.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ThrottleKey {
    /// Set-up, log-in and invitations, from one network address.
    Address(Network),
    /// The name of a login, from any address.
    Account(Vec<u8>),
    /// Keys and sessions that do not exist, from one network address.
    Key(Network),
}

/// The addresses of one customer: an IPv4 address, or a /64 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network([u8; 8]);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        let bytes = match address.to_canonical() {
            // 64:ff9b::/96, which no one is reached from, keeps the two kinds apart.
            IpAddr::V4(four) => {
                let [a, b, c, d] = four.octets();
                [0, 0x64, 0xff, 0x9b, a, b, c, d]
            }
            IpAddr::V6(six) => {
                let [a, b, c, d, e, f, g, h, ..] = six.octets();
                [a, b, c, d, e, f, g, h]
            }
        };
        Self(bytes)
    }
}

impl ThrottleKey {
    const fn rule(&self) -> WaitRule {
        let (free, longest) = match self {
            Self::Address(_) => (5, Duration::from_secs(15 * 60)),
            // Short, as strangers must not be able to keep the owner out.
            Self::Account(_) => (10, Duration::from_secs(60)),
            // A camera whose key was revoked goes on trying.
            Self::Key(_) => (30, Duration::from_secs(60)),
        };
        WaitRule { free, longest }
    }
}

#[derive(Debug, Clone, Copy)]
struct WaitRule {
    /// Failures without a wait.
    free: u32,
    /// The longest wait, and the time after which all is forgotten, counted from the end of the last wait.
    longest: Duration,
}

impl WaitRule {
    fn wait(&self, failures: u32) -> Duration {
        match failures.checked_sub(self.free) {
            None => Duration::ZERO,
            Some(more) => Duration::from_secs(1 << more.min(20)).min(self.longest),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Attempts {
    failures: u32,
    last: Instant,
}

/// Everything that was tried lately.
#[derive(Debug, Default)]
pub struct LoginThrottle {
    rows: HashMap<ThrottleKey, Attempts>,
}

impl LoginThrottle {
    /// Counts a try, or says how long to wait for the next one.
    ///
    /// # Errors
    /// The time from `now` until the next try is allowed.
    pub fn record_attempt(&mut self, subject: &ThrottleKey, now: Instant) -> Result<(), Duration> {
        let rule = subject.rule();
        let failures = match self.rows.get(subject) {
            Some(row) => {
                let wait = rule.wait(row.failures);
                let since = now.saturating_duration_since(row.last);
                if since < wait {
                    return Err(wait - since);
                }
                if since > wait + rule.longest { 0 } else { row.failures }
            }
            None => {
                self.make_room();
                0
            }
        };
        let row = Attempts { failures: failures.saturating_add(1), last: now };
        self.rows.insert(subject.clone(), row);
        Ok(())
    }

    /// It was no guess.
    pub fn reset(&mut self, subject: &ThrottleKey) {
        self.rows.remove(subject);
    }

    fn make_room(&mut self) {
        if self.rows.len() < ROWS_MAX {
            return;
        }
        // A tenth at once, so that the work is rare.
        let mut by_end: Vec<_> = self
            .rows
            .iter()
            .map(|(subject, row)| (row.last + subject.rule().wait(row.failures), subject.clone()))
            .collect();
        by_end.sort_unstable_by_key(|(end, _)| *end);
        for (_, subject) in by_end.into_iter().take(ROWS_MAX / 10) {
            self.rows.remove(&subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn address(text: &str) -> ThrottleKey {
        ThrottleKey::Address(text.parse::<IpAddr>().unwrap().into())
    }

    #[test]
    fn waits_double_up_to_a_bound_and_are_forgotten() {
        let mut tries = LoginThrottle::default();
        let who = address("203.0.113.7");
        let mut now = Instant::now();
        for _ in 0..5 {
            assert_eq!(tries.record_attempt(&who, now), Ok(()));
        }
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            assert_eq!(tries.record_attempt(&who, now), Err(wait * S));
            now += (wait - 1) * S;
            assert_eq!(tries.record_attempt(&who, now), Err(S), "a refused try is none");
            now += S;
            assert_eq!(tries.record_attempt(&who, now), Ok(()));
        }
        now += 1801 * S;
        assert_eq!(tries.record_attempt(&who, now), Ok(()));
        assert_eq!(tries.record_attempt(&who, now), Ok(()), "all is forgotten");
    }

    #[test]
    fn a_wait_is_for_one_client_only() {
        let mut tries = LoginThrottle::default();
        let now = Instant::now();
        let guesser = address("203.0.113.7");
        while tries.record_attempt(&guesser, now).is_ok() {}
        assert_eq!(tries.record_attempt(&address("203.0.113.8"), now), Ok(()));
        let account = ThrottleKey::Account(b"ada".to_vec());
        assert_eq!(tries.record_attempt(&account, now), Ok(()));
        tries.reset(&guesser);
        assert_eq!(tries.record_attempt(&guesser, now), Ok(()));
    }

    #[test]
    fn all_addresses_of_one_network_count_as_one_client() {
        let network = |text: &str| Network::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::2:ffff"));
        assert_ne!(network("2001:db8:0:1::1"), network("2001:db8:0:2::1"));
        assert_eq!(network("::ffff:203.0.113.7"), network("203.0.113.7"));
        assert_ne!(network("203.0.113.7"), network("203.0.113.8"));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_longest_waits_stay() {
        let mut tries = LoginThrottle::default();
        let now = Instant::now();
        let guesser = address("203.0.113.7");
        while tries.record_attempt(&guesser, now).is_ok() {}
        for n in 0..50_000_u32 {
            let who = ThrottleKey::Address(IpAddr::from(n.to_be_bytes()).into());
            assert_eq!(tries.record_attempt(&who, now), Ok(()));
            assert!(tries.rows.len() <= ROWS_MAX);
        }
        assert_eq!(tries.record_attempt(&guesser, now), Err(S));
    }
}
