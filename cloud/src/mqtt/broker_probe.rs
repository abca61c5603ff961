//! Looks at a broker elsewhere as the cloud's sessions use it, and says which of its limits will cost pictures.
//!
//! A broker acknowledges what it then drops, so it is tried: on a connection of its own the cloud says something to
//! itself and sees whether it comes back. Only what was seen is said. The largest message that came back is the limit
//! that cameras are told. It runs whenever the sessions have reconnected; from then on the broker's own count of what it
//! has dropped is watched, where it lets the cloud see that.

use std::time::{Duration, Instant};

use keepsake_protocol::StoreId;
use keepsake_protocol::codec::FRAME_OVERHEAD_MAX;
use keepsake_protocol::topic;
use rumqttc::{AsyncClient, Incoming, Publish, PublishOptions, QoS, SubscribeReasonCode};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::mqtt::session::{BrokerAddress, MqttSession, SessionHealth, client_id, connect, explain};

/// A part of a picture as cameras send it unless they are set otherwise, bytes.
const PART_BYTES: usize = 256 * 1024;
/// Larger messages that are tried, bytes of a picture, up to the largest part that a camera sends. The second one fits
/// into the default `max_packet_size` of mosquitto 2.1.
const LARGER_PARTS: [usize; 3] = [1024 * 1024, 1_900_000, 4 * 1024 * 1024];
/// The time that each of them may take. Over a slower line, large messages are no gain.
const LARGER_BACK_WITHIN: Duration = Duration::from_secs(3);
/// Round trips that are timed of each kind, after as many that are not: a new TCP connection acknowledges at once at
/// first.
const TIMED_ROUND_TRIPS: usize = 9;
const UNTIMED_ROUND_TRIPS: usize = 16;
/// The time before them in which everything else is answered.
const SETTLE: Duration = Duration::from_secs(1);
/// Two answers to one message take longer than one answer by this much: the second one was held back. Linux delays
/// acknowledgements by 40 ms.
const HELD_BACK_FOR: Duration = Duration::from_millis(25);
/// The time that a message of the cloud to itself may take: the largest message then needs 13 KB/s.
const BACK_WITHIN: Duration = Duration::from_secs(20);
/// A lost connection is made again after this, unless the sessions reconnect before.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// mosquitto's count of messages that found no room in a queue.
const DROPPED: &str = "$SYS/broker/publish/messages/dropped";

/// Sentences about the broker; empty while nothing is wrong with it.
pub(crate) type BrokerWarnings = watch::Receiver<Vec<String>>;
/// The largest message that the broker carries, bytes, once it is known.
pub(crate) type MessageBytesMax = watch::Receiver<Option<u64>>;

/// Begins to look, and goes on until it is stopped.
pub(crate) fn start(
    broker: BrokerAddress,
    store: StoreId,
    frames: &MqttSession,
    stop: CancellationToken,
) -> (BrokerWarnings, MessageBytesMax) {
    let (warnings, seen) = watch::channel(Vec::new());
    let (message_bytes_max, limit) = watch::channel(None);
    let check = BrokerProbe {
        broker,
        store,
        sessions: frames.health(),
        warnings,
        message_bytes_max,
    };
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = check.run() => {}
        }
    });
    (seen, limit)
}

/// Nothing to find: the broker is our own.
pub(crate) fn of_embedded_broker(message_bytes_max: u64) -> (BrokerWarnings, MessageBytesMax) {
    (watch::channel(Vec::new()).1, watch::channel(Some(message_bytes_max)).1)
}

struct BrokerProbe {
    broker: BrokerAddress,
    store: StoreId,
    sessions: watch::Receiver<SessionHealth>,
    warnings: watch::Sender<Vec<String>>,
    message_bytes_max: watch::Sender<Option<u64>>,
}

impl BrokerProbe {
    async fn run(mut self) {
        loop {
            let connected = self.sessions.wait_for(|health| health.connected).await;
            let Ok(health) = connected.map(|health| health.clone()) else {
                return;
            };
            let mut found = Vec::new();
            if health.session_lost {
                found.push(
                    "the broker had forgotten the cloud's session when it came back: what waited for the cloud is lost \
                     there (cameras of Keepsake send it again); see persistence"
                        .to_owned(),
                );
            }
            let line = self.probe(&mut found).await;
            self.log_new(&found);
            tracing::info!("looked at the broker: {} warnings", found.len());
            let reconnected = self.sessions.wait_for(|now| now.connected && now.subscribed > health.subscribed);
            let ended = async {
                if let Some(line) = line {
                    watch_drops(line, &self.warnings).await;
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            };
            tokio::select! {
                reconnected = reconnected => if reconnected.is_err() { return },
                () = ended => {}
            }
        }
    }

    fn log_new(&self, found: &[String]) {
        for text in found {
            if !self.warnings.borrow().contains(text) {
                tracing::warn!("the broker: {text}");
            }
        }
        self.warnings.send_if_modified(|known| {
            let changed = known != found;
            found.clone_into(known);
            changed
        });
    }

    /// Tries what there is to try. Returns the connection if it has lived through it.
    async fn probe(&self, found: &mut Vec<String>) -> Option<ProbeConnection> {
        let id = client_id("check", self.store);
        let topic = topic::self_test_topic(self.store);
        let mut line = match ProbeConnection::open(&id, &self.broker) {
            Ok(line) => line,
            Err(error) => {
                tracing::debug!("look at the broker: {error}");
                return None;
            }
        };
        match line.subscribe(&topic).await {
            ProbeReply::This(true) => {}
            ProbeReply::This(false) => {
                found.push(unreachable_topic(&topic));
                return Some(line);
            }
            ProbeReply::Nothing | ProbeReply::End => return None,
        }
        match line.round_trip(&topic, vec![1]).await {
            ProbeReply::This(_) => {}
            ProbeReply::Nothing => {
                found.push(unreachable_topic(&topic));
                return Some(line);
            }
            ProbeReply::End => return None,
        }
        let bytes = PART_BYTES + FRAME_OVERHEAD_MAX;
        match line.round_trip(&topic, vec![2; bytes]).await {
            ProbeReply::This(_) => {}
            ProbeReply::Nothing => found.push(format!(
                "a message of {bytes} bytes is acknowledged and then dropped: parts of pictures do not come in; raise \
                 message_size_limit, or lower cloud.part_bytes_max of the cameras"
            )),
            ProbeReply::End => {
                found.push(format!(
                    "a message of {bytes} bytes costs the connection: parts of pictures do not come in; raise \
                     max_packet_size, or lower cloud.part_bytes_max of the cameras"
                ));
                return None;
            }
        }
        let kept = format!("{topic}/kept");
        let retains = line.retains(&kept).await;
        if !matches!(retains, ProbeReply::This(())) {
            found.push(
                "retained messages are not kept: a camera that connects is not told the cloud's limits and wishes, and \
                 nobody sees that a camera went away"
                    .to_owned(),
            );
        }
        if matches!(retains, ProbeReply::End) {
            return None;
        }
        match line.holds_small_packets_back(&topic).await {
            ProbeReply::This(false) | ProbeReply::Nothing => {}
            ProbeReply::This(true) => found.push(
                "small packets are held back for 40 ms, and every receipt takes that much longer; set set_tcp_nodelay to \
                 true"
                    .to_owned(),
            ),
            ProbeReply::End => return None,
        }
        let carried = line.largest_message(&topic, bytes).await;
        self.message_bytes_max
            .send_if_modified(|known| known.replace(carried as u64) != Some(carried as u64));
        if line.polling.is_finished() {
            // The message that was too large has ended it.
            line = ProbeConnection::open(&id, &self.broker).ok()?;
        }
        // A broker that does not let the cloud see this says nothing, and then nothing is said here.
        let _ = line.client.try_subscribe(DROPPED, QoS::AtMostOnce);
        Some(line)
    }
}

/// Returns true if a second answer takes far longer than the first, as with Nagle's algorithm, which waits for the
/// acknowledgement that the other side delays. A slow network delays both.
fn second_answer_is_held_back(mut one_answer: Vec<Duration>, mut two_answers: Vec<Duration>) -> bool {
    one_answer.sort();
    two_answers.sort();
    let slow_one = one_answer.get(one_answer.len() * 3 / 4);
    let fast_two = two_answers.get(two_answers.len() / 4);
    slow_one.zip(fast_two).is_some_and(|(one, two)| *two >= *one + HELD_BACK_FOR)
}

fn unreachable_topic(topic: &str) -> String {
    format!(
        "its limits cannot be seen, because what the cloud says to itself on {topic} does not come back; let it read and \
         write there"
    )
}

/// Follows the broker's count until the connection ends.
async fn watch_drops(mut line: ProbeConnection, warnings: &watch::Sender<Vec<String>>) {
    let mut first: Option<u64> = None;
    let mut told = false;
    while let Some(publish) = line.incoming.recv().await {
        let Incoming::Publish(publish) = publish else {
            continue;
        };
        let count = std::str::from_utf8(&publish.payload).ok().and_then(|text| text.trim().parse().ok());
        let Some(count) = count.filter(|_| &*publish.topic == DROPPED.as_bytes()) else {
            continue;
        };
        let before = *first.get_or_insert(count);
        if count > before && !told {
            told = true;
            let text = "it drops messages because a queue is full (max_queued_messages, max_queued_bytes): cameras of \
                        Keepsake send them again, pictures of others are lost";
            tracing::warn!("the broker: {text}; {} since the cloud connected", count - before);
            warnings.send_modify(|known| known.push(text.to_owned()));
        }
    }
}

/// The result of waiting.
enum ProbeReply<T> {
    This(T),
    Nothing,
    /// The connection is gone.
    End,
}

/// One connection, polled by a task of its own because `poll` must not be cancelled.
struct ProbeConnection {
    client: AsyncClient,
    incoming: mpsc::Receiver<Incoming>,
    polling: tokio::task::JoinHandle<()>,
}

impl Drop for ProbeConnection {
    fn drop(&mut self) {
        self.polling.abort();
    }
}

impl ProbeConnection {
    fn open(client_id: &str, broker: &BrokerAddress) -> Result<Self, String> {
        let (client, mut events) = connect(client_id, broker, true)?;
        let (sender, incoming) = mpsc::channel(64);
        let polling = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(rumqttc::Event::Incoming(packet)) => {
                        if sender.send(packet).await.is_err() {
                            return;
                        }
                    }
                    Ok(rumqttc::Event::Outgoing(_)) => {}
                    Err(error) => {
                        tracing::debug!("looking at the broker ended: {}", explain(&error));
                        return;
                    }
                }
            }
        });
        Ok(Self { client, incoming, polling })
    }

    /// Waits for what `find` looks for.
    async fn wait_for<T>(&mut self, mut find: impl FnMut(&Incoming) -> Option<T>) -> ProbeReply<T> {
        let found = async {
            while let Some(packet) = self.incoming.recv().await {
                if let Some(found) = find(&packet) {
                    return ProbeReply::This(found);
                }
            }
            ProbeReply::End
        };
        timeout(BACK_WITHIN, found).await.unwrap_or(ProbeReply::Nothing)
    }

    /// Subscribes; whether the broker grants it. Without the cloud's own acknowledgements, of which it has no need
    /// here.
    async fn subscribe(&mut self, filter: &str) -> ProbeReply<bool> {
        if self.client.subscribe(filter, QoS::AtMostOnce).await.is_err() {
            return ProbeReply::End;
        }
        self.wait_for(|packet| match packet {
            Incoming::SubAck(granted) => Some(!granted.return_codes.contains(&SubscribeReasonCode::Failure)),
            _ => None,
        })
        .await
    }

    /// Says something, and waits until it comes back.
    async fn round_trip(&mut self, topic: &str, payload: Vec<u8>) -> ProbeReply<()> {
        let length = payload.len();
        let options = PublishOptions::new(QoS::AtLeastOnce);
        if self.client.publish(topic, payload, options).await.is_err() {
            return ProbeReply::End;
        }
        self.wait_for(|packet| is_publish(packet, topic, |publish| publish.payload.len() == length))
            .await
    }

    /// Times messages with one answer (QoS 0: the message itself) and with two (QoS 1: also its PUBACK).
    async fn holds_small_packets_back(&mut self, topic: &str) -> ProbeReply<bool> {
        // Acknowledgements of what was published before would be taken for answers.
        tokio::time::sleep(SETTLE).await;
        while self.incoming.try_recv().is_ok() {}
        let (mut one_answer, mut two_answers) = (Vec::new(), Vec::new());
        for round in 0..UNTIMED_ROUND_TRIPS + TIMED_ROUND_TRIPS {
            for (qos, times) in [(QoS::AtMostOnce, &mut one_answer), (QoS::AtLeastOnce, &mut two_answers)] {
                let began = Instant::now();
                if self.client.publish(topic, vec![4], PublishOptions::new(qos)).await.is_err() {
                    return ProbeReply::End;
                }
                let mut expected = if qos == QoS::AtMostOnce { 1 } else { 2 };
                let answered = self.wait_for(|packet| {
                    let is_answer =
                        matches!(packet, Incoming::PubAck(_)) || is_publish(packet, topic, |_| true).is_some();
                    expected -= i32::from(is_answer);
                    (expected == 0).then_some(())
                });
                match answered.await {
                    ProbeReply::This(()) => {}
                    ProbeReply::Nothing => return ProbeReply::Nothing,
                    ProbeReply::End => return ProbeReply::End,
                }
                if round >= UNTIMED_ROUND_TRIPS {
                    times.push(began.elapsed());
                }
            }
        }
        tracing::debug!(?one_answer, ?two_answers, "timed round trips");
        ProbeReply::This(second_answer_is_held_back(one_answer, two_answers))
    }

    /// Returns the largest message that comes back, bytes; `carried` has come back already.
    async fn largest_message(&mut self, topic: &str, carried: usize) -> usize {
        let mut largest = carried;
        for part in LARGER_PARTS {
            let bytes = part + FRAME_OVERHEAD_MAX;
            let round_trip = self.round_trip(topic, vec![5; bytes]);
            match timeout(LARGER_BACK_WITHIN, round_trip).await {
                Ok(ProbeReply::This(())) => largest = bytes,
                Ok(ProbeReply::Nothing | ProbeReply::End) | Err(_) => break,
            }
        }
        largest
    }

    /// Tests that the broker keeps a retained message, and removes it again.
    async fn retains(&mut self, topic: &str) -> ProbeReply<()> {
        let retained = PublishOptions::new(QoS::AtLeastOnce).retain(true);
        if self.client.publish(topic, vec![3], retained).await.is_err() {
            return ProbeReply::End;
        }
        let acknowledged = self.wait_for(|packet| matches!(packet, Incoming::PubAck(_)).then_some(()));
        if !matches!(acknowledged.await, ProbeReply::This(())) {
            return ProbeReply::End;
        }
        if self.client.subscribe(topic, QoS::AtMostOnce).await.is_err() {
            return ProbeReply::End;
        }
        let kept = self.wait_for(|packet| is_publish(packet, topic, |publish| publish.retain)).await;
        let _ = self.client.publish(topic, Vec::new(), retained).await;
        kept
    }
}

fn is_publish(packet: &Incoming, topic: &str, is: impl Fn(&Publish) -> bool) -> Option<()> {
    match packet {
        Incoming::Publish(publish) => (&*publish.topic == topic.as_bytes() && is(publish)).then_some(()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_held_back_is_told_from_a_slow_or_unsteady_network() {
        let check = |one: &[u64], two: &[u64], expected| {
            let times = |ms: &[u64]| ms.iter().copied().map(Duration::from_millis).collect();
            assert_eq!(second_answer_is_held_back(times(one), times(two)), expected, "{one:?} {two:?}");
        };
        check(&[1, 1, 2, 1, 9], &[41, 42, 43, 41, 44], true);
        // With 200 ms of round trip, the acknowledgement takes another one.
        check(&[200, 210, 220, 205, 230], &[440, 445, 450, 460, 452], true);
        check(&[1, 1, 2, 1, 1], &[1, 2, 1, 1, 3], false);
        check(&[200, 210, 220, 205, 230], &[210, 200, 230, 220, 215], false);
        check(&[5, 60, 20, 90, 40], &[70, 10, 80, 30, 95], false);
        // An interruption of both programs.
        check(&[1, 1, 2, 1, 1], &[1, 80, 90, 1, 2], false);
        check(&[], &[], false);
    }
}
