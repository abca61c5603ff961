//! The time by which the certificates of the cloud are judged.

/// Returns the time for certificates: a Pi that has just started knows at least when this program was built, and
/// the time in its journal.
///
/// `noted_us`: the latest time known to be past, microseconds UTC.
pub(crate) fn certificate_time(noted_us: Option<i64>) -> keepsake_tls::ClockFloor {
    let time = keepsake_tls::ClockFloor::new(env!("KEEPSAKE_BUILT_S").parse().unwrap_or(0));
    if let Some(noted_us) = noted_us {
        time.raise(u64::try_from(noted_us / 1_000_000).unwrap_or(0));
    }
    time
}

#[cfg(test)]
mod tests {
    use rustls::time_provider::TimeProvider;

    use super::*;

    #[test]
    fn certificates_are_judged_by_no_time_before_what_was_noted() {
        let says = |noted_us| {
            let now = certificate_time(noted_us).current_time();
            now.map(|now| now.as_secs())
        };
        let far_s = 4_000_000_000;
        assert_eq!(says(Some(far_s * 1_000_000)), u64::try_from(far_s).ok());
        assert!(says(None) < says(Some(far_s * 1_000_000)));
        // What is no time changes nothing.
        assert!(says(Some(-1)) > Some(1_700_000_000));
    }
}
