//! The drain against a small model of the world: press, connect, cut, lose, acknowledge, receipt, want, wait.
//! Guards P2 (only a receipt removes), P4 (bounds), P5 (starts again after a reconnect) and P6 (oldest first).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keepsake_appliance::spool::Key;
use keepsake_appliance::upload::backoff::Backoff;
use keepsake_appliance::upload::drain::{CloudLimits, Drain, LIVE_FOR, Limits, NextPart, PART_BYTES_MIN};
use keepsake_protocol::Sequence;
use keepsake_protocol::codec::FRAME_OVERHEAD_MAX;
use keepsake_protocol::receipt::WINDOW_FOR;
use proptest::prelude::*;

const WINDOW: u64 = 256 * 1024;
const PART_MAX: u64 = 64 * 1024;
const UNACKNOWLEDGED: u64 = 128 * 1024;

fn limits() -> Limits {
    Limits {
        window_bytes: WINDOW,
        part_bytes_max: PART_MAX,
        unacknowledged_bytes_max: UNACKNOWLEDGED,
        backoff: Backoff::from_secs(10, 6 * 3600),
    }
}

fn key(number: u64) -> Key {
    Key { generation: 0, sequence: Sequence::try_from(number).unwrap() }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn connected(sizes: &[u64]) -> Drain {
    let mut drain = Drain::new(limits());
    for (number, size) in (1..).zip(sizes) {
        drain.add(key(number), *size, false, 0, Duration::ZERO);
    }
    drain.connected(seconds(100));
    drain.inventory_answered();
    drain
}

fn all(drain: &mut Drain, now: Duration) -> Vec<NextPart> {
    std::iter::from_fn(|| drain.next_part(now)).collect()
}

/// Sends everything to a broker that acknowledges it at once. Returns the number of messages.
fn send_and_acknowledge(drain: &mut Drain, now: Duration) -> usize {
    let mut count = 0;
    while let Some(send) = drain.next_part(now) {
        drain.acknowledged(send.token, now);
        count += 1;
    }
    count
}

#[test]
fn nothing_is_sent_before_the_cloud_has_answered_or_ten_seconds() {
    let mut drain = Drain::new(limits());
    drain.add(key(1), 100, false, 0, Duration::ZERO);
    assert_eq!(drain.next_part(seconds(1)), None);
    drain.connected(seconds(1));
    assert_eq!(drain.next_part(seconds(10)), None);
    assert_eq!(drain.wake_at(seconds(10)), Some(seconds(11)));
    assert!(drain.next_part(seconds(11)).is_some());
}

#[test]
fn without_a_word_from_the_cloud_one_capture_probes() {
    let mut drain = Drain::new(limits());
    for number in 1..=5 {
        drain.add(key(number), 100, false, 0, Duration::ZERO);
    }
    drain.connected(seconds(0));
    assert_eq!(send_and_acknowledge(&mut drain, seconds(10)), 1);
    assert_eq!(send_and_acknowledge(&mut drain, seconds(19)), 0);
    // Its back-off lets the next one try; it never blocks those behind it.
    for probe in 2..=5 {
        assert_eq!(send_and_acknowledge(&mut drain, seconds(probe * 10)), 1);
    }
    drain.add(key(6), 100, false, 0, Duration::ZERO);
    drain.add(key(7), 100, false, 0, Duration::ZERO);
    drain.cloud_responded();
    assert!(send_and_acknowledge(&mut drain, seconds(51)) >= 2);
}

#[test]
fn the_living_go_next_then_the_oldest() {
    let mut drain = connected(&[1000, 1000, 1000]);
    let now = seconds(100);
    drain.add(key(9), 1000, false, 0, now + LIVE_FOR);
    drain.add(key(8), 1000, false, 0, Duration::ZERO);
    let order: Vec<u64> = all(&mut drain, now).iter().map(|send| send.key.sequence.get()).collect();
    assert_eq!(order, [9, 1, 2, 3, 8]);
}

#[test]
fn a_large_capture_goes_in_parts_and_alone_beyond_the_window() {
    let mut drain = connected(&[WINDOW * 2, 10]);
    let mut got = Vec::new();
    let mut now = seconds(100);
    loop {
        let sends = all(&mut drain, now);
        if sends.is_empty() {
            break;
        }
        assert!(sends.iter().map(|send| send.len).sum::<u64>() <= UNACKNOWLEDGED + PART_MAX);
        for send in sends {
            now += Duration::from_millis(50);
            drain.acknowledged(send.token, now);
            got.push((send.offset, send.offset + send.len));
        }
    }
    assert!(
        got.iter()
            .all(|(start, end)| end - start <= PART_MAX && end - start >= PART_BYTES_MIN.min(WINDOW))
    );
    assert_eq!(got.first().unwrap().0, 0);
    assert!(got.windows(2).all(|pair| pair[0].1 == pair[1].0));
    assert_eq!(got.last().unwrap().1, WINDOW * 2);
    drain.remove(key(1));
    assert_eq!(drain.next_part(now).unwrap().key, key(2));
}

#[test]
fn the_cloud_is_sent_only_what_it_lacks() {
    let mut drain = connected(&[100_000]);
    drain.request_resend(key(1), &[(10, 20), (99_990, 200_000)]);
    let sends = all(&mut drain, seconds(100));
    assert_eq!(
        sends.iter().map(|send| (send.offset, send.len)).collect::<Vec<_>>(),
        [(10, 10), (99_990, 10)]
    );
}

#[test]
fn after_a_cut_it_starts_again_from_the_oldest_with_smaller_parts() {
    let mut drain = connected(&[PART_MAX, 10]);
    assert_eq!(all(&mut drain, seconds(100)).len(), 2);
    assert_eq!(drain.disconnected(seconds(101)), [(key(1), 1), (key(2), 1)]);
    assert_eq!(drain.next_part(seconds(102)), None);
    drain.connected(seconds(103));
    drain.inventory_answered();
    let resent = all(&mut drain, seconds(103));
    let NextPart { key: resent_key, tombstone, offset, len, attempt, .. } = resent[0];
    assert_eq!((resent_key, tombstone, offset, len, attempt), (key(1), false, 0, PART_MAX / 2, 1));
}

#[test]
fn a_capture_without_a_receipt_is_sent_again_on_its_back_off() {
    let mut drain = connected(&[10]);
    let mut now = seconds(100);
    for wait in [10, 20, 40] {
        let send = drain.next_part(now).unwrap();
        drain.acknowledged(send.token, now);
        assert_eq!(drain.next_part(now + seconds(wait - 1)), None);
        now += seconds(wait);
    }
}

#[test]
fn while_the_cloud_holds_nothing_is_sent_and_afterwards_everything() {
    let mut drain = connected(&[10, 10]);
    drain.pause(true);
    assert_eq!(drain.next_part(seconds(100)), None);
    drain.pause(false);
    assert_eq!(all(&mut drain, seconds(100)).len(), 2);
}

#[test]
fn a_refused_capture_is_parked_and_the_others_go_on() {
    let mut drain = connected(&[10, 10]);
    assert_eq!(all(&mut drain, seconds(100)).len(), 2);
    drain.defer(key(1), seconds(5000));
    drain.remove(key(2));
    assert_eq!(all(&mut drain, seconds(4999)), []);
    assert_eq!(drain.waiting(), 1);
    assert_eq!(all(&mut drain, seconds(5000)).len(), 1);
}

/// A link that carries `bytes_per_s`, one message after the other, to a cloud that answers at once.
struct SlowLink {
    bytes_per_s: u64,
    /// (when it arrives, what)
    under_way: Vec<(Duration, NextPart)>,
}

impl SlowLink {
    fn carry(&mut self, now: Duration, send: NextPart) {
        let free_at = self.under_way.last().map_or(now, |(at, _)| *at).max(now);
        let takes = Duration::from_secs_f64(send.len as f64 / self.bytes_per_s as f64);
        self.under_way.push((free_at + takes, send));
    }
}

#[test]
fn a_slow_link_carries_every_byte_about_once_and_is_not_taken_for_dead() {
    for bytes_per_s in [1_000, 2_000, 8_000, 20_000, 50_000, 1_000_000] {
        let (count, size) = (30, 100_000);
        let mut drain = connected(&vec![size; count]);
        let mut link = SlowLink { bytes_per_s, under_way: Vec::new() };
        let mut now = seconds(100);
        let mut carried = 0;
        let mut arrived: BTreeMap<Key, u64> = BTreeMap::new();
        let mut worst_silence = Duration::ZERO;
        while drain.waiting() > 0 {
            for send in all(&mut drain, now) {
                carried += send.len;
                link.carry(now, send);
            }
            worst_silence = worst_silence.max(drain.stalled_for(now).unwrap_or_default());
            let next_arrival = link.under_way.first().map(|(at, _)| *at);
            now = next_arrival
                .into_iter()
                .chain(drain.wake_at(now))
                .min()
                .expect("something is under way")
                .max(now);
            while link.under_way.first().is_some_and(|(at, _)| *at <= now) {
                let (_, send) = link.under_way.remove(0);
                drain.acknowledged(send.token, now);
                let got = arrived.entry(send.key).or_default();
                *got += send.len;
                if *got >= size {
                    drain.cloud_responded();
                    drain.remove(send.key);
                }
            }
        }
        let all_bytes = size * count as u64;
        assert!(carried <= all_bytes + all_bytes / 10, "{bytes_per_s} B/s: {carried} of {all_bytes} bytes");
        assert!(worst_silence < seconds(110), "{bytes_per_s} B/s: silent for {worst_silence:?}");
        let rate = drain.rate().expect("something was measured");
        assert!(
            (bytes_per_s / 2..=bytes_per_s * 2).contains(&rate),
            "{rate} B/s measured of {bytes_per_s}"
        );
    }
}

#[test]
fn a_capture_that_gets_no_receipt_leaves_the_window_to_others() {
    let mut drain = connected(&[WINDOW / 4; 3]);
    let mut now = seconds(100);
    // Tried so often that its back-off is long.
    for _ in 0..7 {
        now += seconds(1000);
        send_and_acknowledge(&mut drain, now);
    }
    assert_ne!(drain.in_flight(), (0, 0));
    now += seconds(10);
    assert_eq!(drain.next_part(now), None);
    assert_eq!(drain.in_flight(), (0, 0), "nothing moves any more, and the light may say so");
    drain.add(key(9), WINDOW / 2, false, 0, now + LIVE_FOR);
    assert_eq!(drain.next_part(now).unwrap().key, key(9));
}

#[test]
fn the_cloud_grants_the_window_and_the_setting_bounds_it() {
    let mut drain = connected(&[10_000; 40]);
    let start = CloudLimits { window_bytes: Some(50_000), message_bytes_max: None };
    drain.set_cloud_limits(start);
    let mut now = seconds(100);
    // A quarter is left to live captures.
    assert_eq!(send_and_acknowledge(&mut drain, now), 3);
    drain.grant_window(100_000, now);
    assert_eq!(send_and_acknowledge(&mut drain, now), 4);
    drain.grant_window(u64::MAX, now);
    send_and_acknowledge(&mut drain, now);
    assert_eq!(drain.in_flight(), (19, 190_000), "3/4 of the setting, {WINDOW}");
    // Less than what is in flight: it empties first, and then there is one at a time.
    drain.grant_window(0, now);
    for number in 1..=19 {
        assert_eq!(drain.next_part(now), None);
        drain.received(key(number), now);
    }
    for number in 20..=22 {
        assert_eq!(send_and_acknowledge(&mut drain, now), 1);
        drain.received(key(number), now);
    }
    now += WINDOW_FOR;
    assert_eq!(drain.window_bytes(now), 50_000, "a grant ends");
    drain.grant_window(100_000, now);
    drain.disconnected(now);
    drain.connected(now);
    assert_eq!(drain.window_bytes(now), 50_000, "another connection begins from the start");
}

#[test]
fn a_picture_that_the_broker_carries_is_one_message_unless_the_line_is_slow() {
    let picture = 2_000_000;
    let check = |message_bytes_max, bytes_per_s: u64, expected: usize| {
        let mut drain = Drain::new(Limits {
            window_bytes: 4 << 20,
            part_bytes_max: 4 << 20,
            unacknowledged_bytes_max: 1 << 20,
            ..limits()
        });
        drain.set_cloud_limits(CloudLimits { window_bytes: None, message_bytes_max });
        drain.connected(seconds(100));
        drain.inventory_answered();
        // The first picture measures the line.
        let mut now = seconds(100);
        for number in 1..=2 {
            drain.add(key(number), picture, false, 0, Duration::ZERO);
            let mut messages = 0;
            while let Some(send) = drain.next_part(now) {
                let most = message_bytes_max.unwrap_or(256 * 1024 + FRAME_OVERHEAD_MAX as u64);
                assert!(send.len + FRAME_OVERHEAD_MAX as u64 <= most, "{}", send.len);
                now += Duration::from_secs_f64(send.len as f64 / bytes_per_s as f64);
                drain.acknowledged(send.token, now);
                messages += 1;
            }
            drain.received(key(number), now);
            assert!(
                number == 1 || messages == expected,
                "{messages} messages, {message_bytes_max:?}, {bytes_per_s}/s"
            );
        }
    };
    check(Some(64 << 20), 10_000_000, 1);
    check(Some(picture + FRAME_OVERHEAD_MAX as u64), 10_000_000, 1);
    check(Some(1 << 20), 10_000_000, 2);
    check(None, 10_000_000, 8);
    check(Some(64 << 20), 110_000, 4);
}

#[test]
fn what_waits_its_turn_in_the_cloud_is_not_sent_again() {
    let mut drain = connected(&[10; 4]);
    let now = seconds(100);
    assert_eq!(send_and_acknowledge(&mut drain, now), 4);
    // The cloud is busy and takes nine seconds for each.
    for number in 1..=3 {
        drain.received(key(number), now + seconds(number * 9));
        assert_eq!(drain.next_part(now + seconds(number * 9)), None, "{number}");
    }
    assert_eq!(drain.next_part(now + seconds(80)), None);
    assert_eq!(
        drain.next_part(now + seconds(81)).unwrap().key,
        key(4),
        "three times the 27 s of the last one"
    );
}

#[test]
fn a_capture_in_line_with_those_of_many_cameras_waits_longer_for_its_first_receipt() {
    let resent_at = |window_bytes| {
        let mut drain = connected(&[100_000]);
        drain.set_cloud_limits(CloudLimits { window_bytes, message_bytes_max: None });
        send_and_acknowledge(&mut drain, seconds(100));
        drain.wake_at(seconds(100)).unwrap()
    };
    assert_eq!(resent_at(None), seconds(110));
    assert_eq!(resent_at(Some(100_000)), seconds(110));
    assert_eq!(resent_at(Some(64_000)), seconds(160));
}

#[test]
fn a_fleet_does_not_retry_in_step() {
    let resent_at = |random| {
        let mut drain = connected(&[10]).with_jitter(random);
        send_and_acknowledge(&mut drain, seconds(100));
        drain.next_part(seconds(109));
        drain.wake_at(seconds(109)).unwrap()
    };
    assert_eq!(resent_at(0.0), seconds(110));
    assert_eq!(resent_at(0.4), seconds(111));
}

#[derive(Debug, Clone)]
enum Step {
    Press {
        bytes: u64,
        live: bool,
    },
    Connect,
    Answer,
    Cut,
    Publish,
    Acknowledge,
    /// The cloud commits a capture whose bytes have all arrived, and its receipt arrives, perhaps twice.
    Receipt,
    /// Everything published and not yet delivered is lost on the way.
    Lose,
    Want,
    Hold(bool),
    /// A receipt grants a window.
    Grant(u64),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..200_000_u64, any::<bool>()).prop_map(|(bytes, live)| Step::Press { bytes, live }),
        3 => Just(Step::Connect),
        3 => Just(Step::Answer),
        2 => Just(Step::Cut),
        6 => Just(Step::Publish),
        4 => Just(Step::Acknowledge),
        4 => Just(Step::Receipt),
        1 => Just(Step::Lose),
        1 => Just(Step::Want),
        1 => any::<bool>().prop_map(Step::Hold),
        2 => (0..WINDOW * 2).prop_map(Step::Grant),
        2 => (1..100_u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..80)
}

/// The world as it is: what was pressed, what is in the cloud, what is under way.
#[derive(Default)]
struct World {
    pressed: BTreeMap<Key, u64>,
    receipted: BTreeSet<Key>,
    on_the_way: Vec<NextPart>,
    arrived: BTreeMap<Key, BTreeSet<(u64, u64)>>,
    up: bool,
}

impl World {
    fn deliver(&mut self) {
        for send in self.on_the_way.drain(..) {
            self.arrived.entry(send.key).or_default().insert((send.offset, send.offset + send.len));
        }
    }

    fn complete(&self) -> Vec<Key> {
        let covers = |key: &Key, parts: &BTreeSet<(u64, u64)>| {
            let reach = parts
                .iter()
                .fold(0, |reach, (start, end)| if *start <= reach { reach.max(*end) } else { reach });
            reach >= self.pressed[key]
        };
        self.arrived
            .iter()
            .filter(|(key, parts)| covers(key, parts))
            .map(|(key, _)| *key)
            .collect()
    }
}

fn publish(drain: &mut Drain, world: &mut World, now: Duration) {
    let (_, before) = drain.in_flight();
    for send in all(drain, now) {
        assert!(world.up, "nothing is sent without a connection");
        assert!(world.pressed.contains_key(&send.key) && !world.receipted.contains(&send.key));
        assert!(send.len >= 1 && send.offset + send.len <= world.pressed[&send.key]);
        assert!(send.len <= PART_MAX);
        world.on_the_way.push(send);
    }
    let (captures, bytes) = drain.in_flight();
    assert!(captures <= 1 || bytes <= WINDOW, "{captures} captures, {bytes} bytes in flight");
    let window = drain.window_bytes(now);
    assert!(
        captures <= 1 || bytes <= window || bytes <= before,
        "{captures} captures, {bytes} bytes in flight, {before} before, {window} granted"
    );
}

fn receive(drain: &mut Drain, world: &mut World) {
    for key in world.complete() {
        drain.cloud_responded();
        drain.remove(key);
        drain.remove(key);
        world.receipted.insert(key);
    }
}

proptest! {
    #[test]
    fn no_history_loses_a_capture_or_sends_one_that_has_its_receipt(history in steps()) {
        let mut drain = Drain::new(limits());
        let mut world = World::default();
        let mut now = seconds(1);
        let mut next = 1;
        for step in history {
            now += Duration::from_millis(10);
            match step {
                Step::Press { bytes, live } => {
                    let live_until = if live { now + LIVE_FOR } else { Duration::ZERO };
                    drain.add(key(next), bytes, false, 0, live_until);
                    world.pressed.insert(key(next), bytes);
                    next += 1;
                }
                Step::Connect => { if !world.up { drain.connected(now); world.up = true; } }
                Step::Answer => { if world.up { drain.inventory_answered(); } }
                Step::Cut => { drain.disconnected(now); world.up = false; world.deliver(); }
                Step::Publish => publish(&mut drain, &mut world, now),
                Step::Acknowledge => {
                    if let Some(send) = world.on_the_way.first().copied() { drain.acknowledged(send.token, now); }
                }
                Step::Receipt => { world.deliver(); if world.up { receive(&mut drain, &mut world); } }
                Step::Lose => world.on_the_way.clear(),
                Step::Want => { if let Some((key, _)) = world.pressed.iter().next() { drain.request_resend(*key, &[]); } }
                Step::Hold(held) => drain.pause(held),
                Step::Grant(bytes) => drain.grant_window(bytes, now),
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
            }
            prop_assert_eq!(drain.waiting(), world.pressed.len() - world.receipted.len());
        }
        // In the end the net comes back and stays: everything arrives, in bounded time.
        drain.disconnected(now);
        drain.connected(now);
        drain.inventory_answered();
        drain.pause(false);
        world.up = true;
        for _ in 0..2000 {
            if drain.waiting() == 0 { break; }
            publish(&mut drain, &mut world, now);
            for send in world.on_the_way.clone() { drain.acknowledged(send.token, now); }
            world.deliver();
            receive(&mut drain, &mut world);
            now = drain.wake_at(now).unwrap_or(now).max(now + Duration::from_millis(1));
        }
        prop_assert_eq!(drain.waiting(), 0);
    }
}

#[test]
fn one_that_is_turned_away_waits_goes_in_smaller_parts_and_blocks_nothing() {
    let mut drain = connected(&[PART_MAX, 100]);
    let now = seconds(100);
    let first = drain.next_part(now).unwrap();
    assert_eq!((first.key, first.len), (key(1), PART_MAX));
    drain.rejected(first.token, now);
    assert_eq!(drain.deferred(), 1);
    // A second word about the same message changes nothing.
    drain.rejected(first.token, now);
    let next = drain.next_part(now).unwrap();
    assert_eq!(next.key, key(2));
    drain.acknowledged(next.token, now);
    drain.remove(key(2));
    assert_eq!(drain.next_part(seconds(109)), None);
    let resent = drain.next_part(seconds(110)).unwrap();
    assert_eq!((resent.key, resent.attempt), (key(1), 1));
    assert!(resent.len < PART_MAX, "{} bytes", resent.len);
    assert_eq!(drain.waiting(), 1, "only a receipt removes (P2)");
}
