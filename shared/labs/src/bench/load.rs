//! Generators of load. Everything is encoded before the clock starts, so that they take little of the processor that
//! they share with what they measure.

pub mod pictures;

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keepsake_protocol::capture::{CaptureMetadata, Cause, ContentType, FrameHeader};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::codec::{decode, encode_frame};
use keepsake_protocol::receipt::Receipt;
use keepsake_protocol::topic::{MessageKind, Topic, downlink_subscription};
use keepsake_protocol::{BootId, DeviceId, Hash, SpoolId};
use keepsake_testkit::mqtt_client::{Client, Packet};

use pictures::{Original, Size};

/// Bytes that one of our cameras has in flight without a receipt.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;
/// The largest part of a picture in one message.
const PART_BYTES: usize = 256 * 1024;
/// Messages that a third-party camera has in flight without an acknowledgement: the default of paho.
const WINDOW_MESSAGES: usize = 20;
/// The longest time without any progress.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Encoded packets, each with what it takes of the window.
#[derive(Debug)]
struct Packets(Vec<(Vec<u8>, usize)>);

/// One of our cameras, with its pictures encoded.
#[derive(Debug)]
pub struct NativeCamera {
    device: DeviceId,
    spool: SpoolId,
    /// The length of each picture without a receipt.
    unconfirmed: HashMap<u64, usize>,
    packets: Packets,
}

impl NativeCamera {
    /// Returns camera `number` with `count` pictures, all different from those of other cameras.
    pub fn new(number: u8, count: usize, original: &Original, size: Size) -> Self {
        let device: DeviceId = format!("bench-{number}").parse().expect("a valid name");
        // Also different from those of an earlier run on the same store.
        let mut spool = SpoolId([number; 16]);
        spool.0[8..].copy_from_slice(&keepsake_testkit::Seed::random().number().to_be_bytes());
        let topic = Topic::new(&device, MessageKind::Frame).to_string();
        let mut unconfirmed = HashMap::new();
        let mut packets = Vec::new();
        for sequence in 1..=count as u64 {
            let picture = original.copy(u64::from(number) << 32 | sequence);
            let mut header = header(spool, sequence, &picture, size);
            for (index, part) in picture.chunks(PART_BYTES).enumerate() {
                (header.offset, header.len) = ((index * PART_BYTES) as u64, part.len() as u64);
                let payload = encode_frame(&header, part);
                packets.push((publish(&topic, packets.len(), &payload), part.len()));
            }
            unconfirmed.insert(sequence, picture.len());
        }
        Self { device, spool, unconfirmed, packets: Packets(packets) }
    }

    /// Uploads all pictures, and returns when the last receipt has come.
    pub fn upload(self, port: u16) -> Result<()> {
        let mut client = Client::connect(port, &format!("{}.{}", self.device, &self.spool.to_string()[..8]))?;
        client.subscribe(&downlink_subscription(&self.device))?;
        let receipts = Topic::new(&self.device, MessageKind::Receipt).to_string();
        let mut unconfirmed = self.unconfirmed;
        self.packets.send(&client, WINDOW_BYTES, |packet, socket| {
            let Some(publication) = packet.publication() else {
                return Ok(0);
            };
            if publication.packet_id != 0 {
                let body = publication.packet_id.to_be_bytes().to_vec();
                Packet { first: 0x40, body }.write(&socket.lock().unwrap_or_else(PoisonError::into_inner))?;
            }
            if publication.topic != receipts {
                return Ok(0);
            }
            let receipt: Receipt = decode(&publication.payload).context("read a receipt")?;
            ensure!(receipt.rejected.is_empty(), "rejected: {:?}", receipt.rejected);
            let stored = receipt.stored.iter().filter(|_| receipt.spool == self.spool);
            Ok(stored.filter_map(|(sequence, _)| unconfirmed.remove(&sequence.get())).sum())
        })
    }

    /// Returns into how many messages each picture is split.
    pub fn messages_a_picture(&self) -> usize {
        self.packets.0.len() / self.unconfirmed.len()
    }

    /// Publishes all pictures to a subscriber that only acknowledges.
    pub fn publish(self, port: u16) -> Result<()> {
        let client = Client::connect(port, self.device.as_str())?;
        let packets = self.packets.0.into_iter().map(|(packet, _)| (packet, 1));
        Packets(packets.collect()).send(&client, WINDOW_MESSAGES, acknowledged)
    }
}

/// A third-party camera, with its pictures encoded.
#[derive(Debug)]
pub struct ThirdPartyCamera(Packets, u8);

impl ThirdPartyCamera {
    /// Returns camera `number` with `count` pictures for `topic`, in base64 or as they are.
    pub fn new(number: u8, topic: &str, count: usize, original: &Original, base64: bool) -> Self {
        let packets = (0..count).map(|index| {
            let picture = original.copy(u64::from(number) << 32 | index as u64);
            let payload = if base64 {
                STANDARD.encode(picture).into_bytes()
            } else {
                picture
            };
            (publish(topic, index, &payload), 1)
        });
        Self(Packets(packets.collect()), number)
    }

    /// Publishes all pictures, and returns when the broker has acknowledged the last one.
    pub fn publish(&self, port: u16) -> Result<()> {
        let client = Client::connect(port, &format!("third-party-{}", self.1))?;
        self.0.send(&client, WINDOW_MESSAGES, acknowledged)
    }
}

/// Runs cameras side by side; returns when the last one is done.
pub fn all_at_once<T: Send>(cameras: Vec<T>, run: impl Fn(T) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let running: Vec<_> = cameras.into_iter().map(|camera| scope.spawn(|| run(camera))).collect();
        running.into_iter().try_for_each(|thread| thread.join().expect("a camera does not panic"))
    })
}

/// Receives and acknowledges `count` messages, and does nothing else.
pub fn only_acknowledge(mut client: Client, count: usize) -> Result<()> {
    for _ in 0..count {
        client.next_publication()?;
    }
    Ok(())
}

impl Packets {
    /// Sends all packets while at most `window` of them is unconfirmed, and returns when everything is confirmed.
    ///
    /// `confirmed`: called with every packet that comes; returns how much of the window it frees.
    fn send(
        &self,
        client: &Client,
        window: usize,
        mut confirmed: impl FnMut(&Packet, &Mutex<TcpStream>) -> Result<usize> + Send,
    ) -> Result<()> {
        let mut reader = BufReader::new(client.socket()?);
        reader.get_ref().set_read_timeout(Some(SILENCE_MAX))?;
        let socket = Mutex::new(client.socket()?);
        let mut left: usize = self.0.iter().map(|(_, size)| size).sum();
        let in_flight = Mutex::new(Some(0_usize));
        let change = Condvar::new();
        let lock = || in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut read = || -> Result<()> {
                    while left > 0 {
                        let packet = Packet::read(&mut reader)?.context("the broker has closed the connection")?;
                        let freed = confirmed(&packet, &socket)?;
                        left -= freed;
                        if let Some(bytes) = &mut *lock() {
                            *bytes -= freed;
                        }
                        change.notify_all();
                    }
                    Ok(())
                };
                let result = read();
                // Nothing is sent after an error.
                *lock() = None;
                change.notify_all();
                result
            });
            for (packet, size) in &self.0 {
                let full = |bytes: &mut Option<usize>| bytes.is_some_and(|bytes| bytes > 0 && bytes + size > window);
                match &mut *change.wait_while(lock(), full).unwrap_or_else(PoisonError::into_inner) {
                    Some(bytes) => *bytes += size,
                    None => break,
                }
                socket.lock().unwrap_or_else(PoisonError::into_inner).write_all(packet)?;
            }
            reading.join().expect("the reader does not panic")
        })
    }
}

/// Frees one message for each PUBACK.
fn acknowledged(packet: &Packet, _: &Mutex<TcpStream>) -> Result<usize> {
    match packet.first >> 4 {
        4 => Ok(1),
        other => bail!("a packet of type {other} instead of a PUBACK"),
    }
}

fn publish(topic: &str, index: usize, payload: &[u8]) -> Vec<u8> {
    let packet_id = u16::try_from(index % 65_535 + 1).expect("at most 65,535");
    Packet::publish(topic.as_bytes(), Some(packet_id), payload).to_bytes()
}

fn header(spool: SpoolId, sequence: u64, picture: &[u8], size: Size) -> FrameHeader {
    let total = picture.len() as u64;
    FrameHeader {
        capture: CaptureMetadata {
            spool,
            sequence: sequence.try_into().expect("numbers begin with 1"),
            hash: Hash::of(picture),
            total,
            content_type: ContentType::Jpeg,
            width: size.width,
            height: size.height,
            cause: Cause::Button,
            command: None,
            pressed: ClockReading {
                boot: BootId([1; 16]),
                boottime_us: sequence * 1_000_000,
                wall_us: 1_800_000_000_000_000,
                synchronised: true,
                error_us: 3,
            },
            captured_after_us: 1,
            settings_version: 0,
        },
        offset: 0,
        len: total,
        attempt: 0,
        saved_after_us: None,
        sent_after_us: None,
        not_before_us: None,
    }
}
