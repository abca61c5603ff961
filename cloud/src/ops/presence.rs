//! Pure: from what a camera said, and for how long it has been silent, to online or offline.
//!
//! Only what the *camera* sent counts as a sign of life: traffic of the cloud's own never keeps a dead camera online,
//! and a retained message is an old one. A camera says `offline` itself when it stops; when it vanishes, the broker
//! says so for it (its last will); when even that is lost with the broker, silence says it.

use keepsake_protocol::status::Presence;

/// Silence after which a camera is taken for gone, microseconds. A camera speaks at least every 30 s (its status), so
/// this is three of those, and longer than the keep-alive after which a broker sends the last will.
pub(crate) const SILENCE_US: i64 = 90_000_000;

/// `said`: the camera's last word about itself, or its last will. `last_seen_us` and `now_us`: microseconds UTC by the
/// cloud's clock; a clock set back counts as no silence.
pub(crate) fn presence(said: Presence, last_seen_us: i64, now_us: i64) -> Presence {
    match said {
        Presence::Offline => Presence::Offline,
        Presence::Online if now_us.saturating_sub(last_seen_us) > SILENCE_US => Presence::Offline,
        Presence::Online => Presence::Online,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_is_offline_by_its_word_its_will_or_its_silence() {
        let check = |said, silent_for_us, expected| {
            assert_eq!(presence(said, 1_000, 1_000 + silent_for_us), expected);
        };
        check(Presence::Online, 0, Presence::Online);
        check(Presence::Online, SILENCE_US, Presence::Online);
        check(Presence::Online, SILENCE_US + 1, Presence::Offline);
        check(Presence::Offline, 0, Presence::Offline);
        // The clock was set back: no reason to call anyone gone.
        check(Presence::Online, -500, Presence::Online);
    }
}
