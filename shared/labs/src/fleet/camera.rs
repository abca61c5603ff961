//! One camera of the fleet: a full card, a connection, and the camera's own decision of what to send next.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keepsake_appliance::settings::Config;
use keepsake_appliance::spool::Key;
use keepsake_appliance::upload::drain::{CloudLimits, Drain, Limits, NextPart};
use keepsake_protocol::capture::{CaptureMetadata, Cause, ContentType, FrameHeader};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::cloud_info::CloudInfo;
use keepsake_protocol::inventory::{INVENTORY_PAGE_MAX, Inventory};
use keepsake_protocol::receipt::Receipt;
use keepsake_protocol::topic::{MessageKind, Topic, downlink_subscription};
use keepsake_protocol::{BootId, DeviceId, Hash, Sequence, SpoolId, codec};
use keepsake_testkit::mqtt_client::Packet;
use keepsake_testkit::seed::Seed;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;

use super::pictures::Pictures;

/// Packets read from the socket and not handled yet.
const PACKETS_MAX: usize = 64;
/// The longest wait before a connection, as after the first failure of a camera's program.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

pub(super) struct Camera {
    number: u32,
    device: DeviceId,
    spool: SpoolId,
    pictures: Arc<Pictures>,
    /// The hash of every picture on the card, from sequence 1 on.
    hashes: Vec<Hash>,
    total: u64,
    drain: Drain,
    /// The place of this camera among others, 0.0 to 1.0.
    jitter: f64,
    began: Instant,
    /// When the first part of a picture that has no receipt yet was sent.
    sent_at: HashMap<Key, Instant>,
    /// Tokens of the drain by packet id.
    tokens: HashMap<u16, u64>,
    next_packet_id: u16,
    inventory_pages: usize,
    cloud_started: Option<u64>,
    uploaded: Uploaded,
}

/// The counts of one camera.
#[derive(Default)]
pub(super) struct Uploaded {
    /// From the first part to the receipt, for every picture that has one.
    pub(super) receipt_times: Vec<Duration>,
    pub(super) last_receipt: Option<Instant>,
    pub(super) resent: u64,
    pub(super) dropped_connections: u64,
}

impl Camera {
    /// Returns a camera with this many pictures on its card.
    pub(super) fn new(number: u32, count: u32, pictures: Arc<Pictures>, seed: &mut Seed) -> Self {
        let jitter = seed.below(1000) as f64 / 1000.0;
        let mut drain = Drain::new(Limits::from(&Config::default())).with_jitter(jitter);
        let hashes: Vec<Hash> = (1..=count).map(|at| Hash::of(&pictures.picture(number, at))).collect();
        let total = pictures.picture(number, 1).len() as u64;
        for at in 1..=count {
            drain.add(key(at), total, false, 0, Duration::ZERO);
        }
        let spool: Vec<u8> = seed.bytes(16);
        Self {
            number,
            device: format!("fleet-{number}").parse().expect("a name of letters and digits"),
            spool: SpoolId::try_from(&spool[..]).expect("16 bytes"),
            pictures,
            hashes,
            total,
            drain,
            jitter,
            began: Instant::now(),
            sent_at: HashMap::new(),
            tokens: HashMap::new(),
            next_packet_id: 0,
            inventory_pages: 0,
            cloud_started: None,
            uploaded: Uploaded::default(),
        }
    }

    pub(super) fn into_uploaded(self) -> Uploaded {
        self.uploaded
    }

    /// Connects, and connects again, until every picture has its receipt.
    pub(super) async fn upload_everything(&mut self, port: u16) {
        loop {
            // At random: mosquitto's queue of new connections holds 100.
            tokio::time::sleep(CONNECT_WITHIN.mul_f64(self.jitter)).await;
            let end = self.connection(port).await;
            if self.drain.waiting() == 0 {
                return;
            }
            self.uploaded.dropped_connections += 1;
            eprintln!("{}: the connection ended: {end:?}", self.device);
            self.tokens.clear();
            self.drain.disconnected(self.began.elapsed());
        }
    }

    async fn connection(&mut self, port: u16) -> io::Result<()> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (from, mut to) = stream.into_split();
        let (packets_tx, mut packets) = mpsc::channel(PACKETS_MAX);
        // Reading a packet cannot be cancelled, so it has a task of its own, which ends with the connection.
        tokio::spawn(async move {
            let mut from = BufReader::new(from);
            while let Ok(Some(packet)) = Packet::read_async(&mut from).await {
                if packets_tx.send(packet).await.is_err() {
                    return;
                }
            }
        });
        let client_id = format!("{}.{}", self.device, &self.spool.to_string()[..8]);
        to.write_all(&Packet::connect(&client_id, None).to_bytes()).await?;
        to.write_all(&Packet::subscribe(&downlink_subscription(&self.device)).to_bytes()).await?;
        while self.drain.waiting() > 0 {
            self.send_what_is_next(&mut to).await?;
            let now = self.began.elapsed();
            let wake_at = self.drain.wake_at(now).map_or(Duration::from_secs(1), |at| at.saturating_sub(now));
            let packet = tokio::select! {
                packet = packets.recv() => packet.ok_or(io::ErrorKind::UnexpectedEof)?,
                () = tokio::time::sleep(wake_at) => continue,
            };
            self.handle(&packet, &mut to).await?;
        }
        to.shutdown().await
    }

    async fn handle(&mut self, packet: &Packet, to: &mut OwnedWriteHalf) -> io::Result<()> {
        let now = self.began.elapsed();
        if packet.first == 0x90 {
            // Subscribed: only now receipts can come in.
            self.drain.connected(now);
            return self.send_inventory(to).await;
        }
        if let Some(token) = packet.acknowledges().and_then(|id| self.tokens.remove(&id)) {
            self.drain.acknowledged(token, now);
            return Ok(());
        }
        let Some(publication) = packet.publication() else {
            return Ok(());
        };
        to.write_all(&Packet::puback(publication.packet_id).to_bytes()).await?;
        match publication.topic.parse().map(|topic: Topic| topic.kind) {
            Ok(MessageKind::Receipt) => {
                self.on_receipt(&codec::decode(&publication.payload).map_err(io::Error::other)?);
            }
            Ok(MessageKind::Cloud) => {
                let cloud: CloudInfo = codec::decode(&publication.payload).map_err(io::Error::other)?;
                self.drain.pause(cloud.hold.is_some());
                self.drain.set_cloud_limits(CloudLimits {
                    window_bytes: cloud.window,
                    message_bytes_max: cloud.message_bytes_max,
                });
                let restarted = self.cloud_started.replace(cloud.started).is_some_and(|before| before != cloud.started);
                if restarted {
                    self.drain.restart_inventory(now);
                    self.send_inventory(to).await?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn on_receipt(&mut self, receipt: &Receipt) {
        if receipt.spool != self.spool {
            return;
        }
        self.drain.cloud_responded();
        if let Some(window) = receipt.window {
            self.drain.grant_window(window, self.began.elapsed());
        }
        for (sequence, prefix) in &receipt.stored {
            let hash = usize::try_from(sequence.get() - 1).ok().and_then(|at| self.hashes.get(at));
            if hash.is_none_or(|hash| hash.prefix() != *prefix) {
                continue;
            }
            let key = Key { generation: 0, sequence: *sequence };
            self.drain.received(key, self.began.elapsed());
            if let Some(sent_at) = self.sent_at.remove(&key) {
                self.uploaded.receipt_times.push(sent_at.elapsed());
                self.uploaded.last_receipt = Some(Instant::now());
            }
        }
        for want in &receipt.want {
            let key = Key { generation: 0, sequence: want.sequence };
            self.drain.request_resend(key, &want.ranges);
        }
        if receipt.inventory_ack.is_some() {
            self.inventory_pages = self.inventory_pages.saturating_sub(1);
            if self.inventory_pages == 0 {
                self.drain.inventory_answered();
            }
        }
    }

    async fn send_inventory(&mut self, to: &mut OwnedWriteHalf) -> io::Result<()> {
        let waiting: Vec<_> = (1..)
            .zip(&self.hashes)
            .filter(|(number, _)| self.drain.contains(key(*number)))
            .map(|(number, hash)| (key(number).sequence, hash.prefix()))
            .collect();
        let pages = waiting.chunks(INVENTORY_PAGE_MAX);
        self.inventory_pages = pages.len();
        let count = u32::try_from(pages.len()).expect("a few pages");
        for (page, captures) in (0..).zip(pages) {
            let inventory = Inventory {
                spool: self.spool,
                next: sequence(self.hashes.len() as u64 + 1),
                id: 1,
                page,
                pages: count,
                captures: captures.to_vec(),
            };
            self.publish(MessageKind::Have, &codec::encode(&inventory), None, to).await?;
        }
        Ok(())
    }

    async fn send_what_is_next(&mut self, to: &mut OwnedWriteHalf) -> io::Result<()> {
        while let Some(part) = self.drain.next_part(self.began.elapsed()) {
            let message = self.frame(&part);
            if part.offset == 0 {
                if part.attempt > 0 {
                    self.uploaded.resent += 1;
                }
                self.sent_at.entry(part.key).or_insert_with(Instant::now);
            }
            self.publish(MessageKind::Frame, &message, Some(part.token), to).await?;
        }
        Ok(())
    }

    fn frame(&self, part: &NextPart) -> Vec<u8> {
        let number = u32::try_from(part.key.sequence.get()).expect("a number of this card");
        let picture = self.pictures.picture(self.number, number);
        let bytes = |at: u64| usize::try_from(at).expect("inside a picture in memory");
        let header = FrameHeader {
            capture: CaptureMetadata {
                spool: self.spool,
                sequence: part.key.sequence,
                hash: self.hashes[bytes(part.key.sequence.get() - 1)],
                total: self.total,
                content_type: ContentType::Jpeg,
                width: self.pictures.width,
                height: self.pictures.height,
                cause: Cause::Interval,
                command: None,
                pressed: ClockReading {
                    boot: BootId([7; 16]),
                    boottime_us: u64::from(number),
                    wall_us: 0,
                    synchronised: false,
                    error_us: 0,
                },
                captured_after_us: 0,
                settings_version: 0,
            },
            offset: part.offset,
            len: part.len,
            attempt: part.attempt,
            saved_after_us: None,
            sent_after_us: None,
            not_before_us: None,
        };
        codec::encode_frame(&header, &picture[bytes(part.offset)..bytes(part.offset + part.len)])
    }

    /// Publishes with QoS 1; `token` comes back with the acknowledgement.
    async fn publish(
        &mut self,
        kind: MessageKind,
        payload: &[u8],
        token: Option<u64>,
        to: &mut OwnedWriteHalf,
    ) -> io::Result<()> {
        self.next_packet_id = self.next_packet_id.checked_add(1).unwrap_or(1);
        self.tokens.extend(token.map(|token| (self.next_packet_id, token)));
        let topic = Topic::new(&self.device, kind).to_string();
        to.write_all(&Packet::publish(topic.as_bytes(), Some(self.next_packet_id), payload).to_bytes())
            .await
    }
}

fn sequence(number: u64) -> Sequence {
    Sequence::try_from(number).expect("from 1 to the pictures of one card")
}

fn key(number: u32) -> Key {
    Key { generation: 0, sequence: sequence(number.into()) }
}
