//! Two proxies between a program and its broker.
//!
//! [`MqttProxy`] is between the cloud's own sessions and the broker. Before it forwards an acknowledgement of the
//! cloud, it checks that the message is committed. [`HostileBroker`] is between a camera and the broker, and sends
//! the camera messages that no broker would.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use keepsake_protocol::event::Event;
use keepsake_protocol::topic::{MessageKind, Topic};
use keepsake_protocol::{Hash, codec};

use crate::commit_checker::CommitChecker;
use crate::mqtt_client::{Packet, Publication};
use crate::store_probe::StoreAddress;
use crate::tcp_proxy::TcpProxy;

/// The observations over all connections.
#[derive(Debug)]
struct Observations {
    /// Checks the acknowledgements of pictures, parts and tombstones.
    checker: CommitChecker,
    /// The devices of these acknowledgements, in their order.
    devices: Mutex<Vec<String>>,
}

/// The proxy of the cloud.
#[derive(Debug)]
pub struct MqttProxy {
    proxy: TcpProxy,
    seen: Arc<Observations>,
}

impl MqttProxy {
    /// `broker_port`: of the broker, which need not be up yet; `database`: of the cloud.
    pub fn start(broker_port: u16, database: &StoreAddress) -> Self {
        let seen = Arc::new(Observations {
            checker: CommitChecker::new(database),
            devices: Mutex::default(),
        });
        let observations = Arc::clone(&seen);
        let proxy = TcpProxy::start(broker_port, move |cloud, broker| observations.forward(cloud, broker));
        Self { proxy, seen }
    }

    pub fn port(&self) -> u16 {
        self.proxy.port()
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        self.proxy.cut();
    }

    /// Returns how often an acknowledgement was for another device than the one before it.
    pub fn device_changes(&self) -> usize {
        let devices = self.seen.devices.lock().unwrap();
        devices.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    /// Fails the test if a message was acknowledged before it was committed.
    ///
    /// Returns how many acknowledgements were checked.
    pub fn verdict(self) -> u64 {
        self.seen.checker.verdict()
    }
}

/// A compromised broker for one camera: it forwards everything, sometimes adds a message, and can withhold those of the
/// cloud.
#[derive(Debug)]
pub struct HostileBroker {
    proxy: TcpProxy,
    cameras: Arc<Mutex<Vec<TcpStream>>>,
    withholds: Arc<AtomicBool>,
}

impl HostileBroker {
    /// `broker_port`: of the real broker.
    pub fn start(broker_port: u16) -> Self {
        let cameras: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let connected = Arc::clone(&cameras);
        let withholds = Arc::new(AtomicBool::new(false));
        let withholding = Arc::clone(&withholds);
        let proxy = TcpProxy::start(broker_port, move |camera, broker| {
            connected.lock().unwrap().push(camera.try_clone()?);
            let to_camera = |packet: &Packet| {
                // Whole packets, one at a time, so that additions come in between.
                let _one_at_a_time = connected.lock().unwrap();
                if withholding.load(Ordering::SeqCst) && packet.publication().is_some() {
                    return Ok(());
                }
                packet.write(camera)
            };
            forward_packets(camera, broker, to_camera, |packet| packet.write(broker))
        });
        Self { proxy, cameras, withholds }
    }

    /// Withholds every message for the camera from now on, or no longer.
    pub fn withhold(&self, withholds: bool) {
        self.withholds.store(withholds, Ordering::SeqCst);
    }

    pub fn port(&self) -> u16 {
        self.proxy.port()
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port())
    }

    /// Sends this message to every connected camera; returns to how many.
    pub fn inject(&self, topic: impl AsRef<[u8]>, payload: &[u8]) -> usize {
        let packet = Packet::publish(topic.as_ref(), None, payload).to_bytes();
        let mut cameras = self.cameras.lock().unwrap();
        cameras.retain_mut(|camera| camera.write_all(&packet).is_ok());
        cameras.len()
    }
}

/// Calls one of the functions for each packet from the server and from the client, which forwards it, until a
/// connection ends or a function fails.
///
/// # Errors
/// The error of the client's side.
pub fn forward_packets(
    client: &TcpStream,
    server: &TcpStream,
    to_client: impl FnMut(&Packet) -> io::Result<()> + Send,
    to_server: impl FnMut(&Packet) -> io::Result<()>,
) -> io::Result<()> {
    fn pump(mut from: &TcpStream, mut forward: impl FnMut(&Packet) -> io::Result<()>) -> io::Result<()> {
        while let Some(packet) = Packet::read(&mut from)? {
            forward(&packet)?;
        }
        Ok(())
    }
    let close = || [client, server].map(|socket| socket.shutdown(Shutdown::Both));
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = pump(server, to_client);
            close()
        });
        let result = pump(client, to_server);
        let _ = close();
        result
    })
}

impl Observations {
    fn forward(&self, cloud: &TcpStream, broker: &TcpStream) -> io::Result<()> {
        let unacknowledged: Mutex<HashMap<u16, Publication>> = Mutex::default();
        let to_cloud = |packet: &Packet| {
            if let Some(publication) = packet.publication()
                && publication.packet_id != 0
            {
                unacknowledged.lock().unwrap().insert(publication.packet_id, publication);
            }
            packet.write(cloud)
        };
        let to_broker = |packet: &Packet| {
            if let Some(id) = packet.acknowledges() {
                let publication = unacknowledged.lock().unwrap().remove(&id);
                match publication {
                    Some(publication) => self.check_committed(&publication),
                    None => self.checker.record(false, || format!("an acknowledgement of the unknown packet {id}")),
                }
            }
            packet.write(broker)
        };
        forward_packets(cloud, broker, to_cloud, to_broker)
    }

    /// Checks whether the message may be acknowledged now.
    fn check_committed(&self, publication: &Publication) {
        let Ok(topic) = publication.topic.parse::<Topic>() else {
            return;
        };
        let payload = &publication.payload;
        let hash = Hash::of(payload);
        let committed = match topic.kind {
            MessageKind::Frame => match codec::decode_frame(payload) {
                Ok(frame) => self
                    .checker
                    .query(|store| Ok(store.has_bytes_of(&frame.header)? || store.has_quarantined(hash)?)),
                Err(_) => self.checker.query(|store| store.has_quarantined(hash)),
            },
            MessageKind::Event => match codec::decode::<Event>(payload) {
                Ok(Event::Tombstone(_)) => {
                    self.checker.query(|store| Ok(store.has_event(hash)? || store.has_quarantined(hash)?))
                }
                Ok(Event::Fault(_) | Event::Boot(_)) | Err(_) => return,
            },
            // These leave no row: a status replaces the one before it, an inventory is answered.
            MessageKind::Have
            | MessageKind::Status
            | MessageKind::Reply
            | MessageKind::Receipt
            | MessageKind::Command
            | MessageKind::Settings
            | MessageKind::Cloud => return,
        };
        self.devices.lock().unwrap().push(topic.device.to_string());
        self.checker.record(committed == Ok(true), || {
            format!("{topic}, acknowledged while the database says {committed:?}: {}", describe(payload))
        });
    }
}

fn describe(payload: &[u8]) -> String {
    match codec::decode_frame(payload) {
        Ok(frame) => format!(
            "{} bytes {} to {} of {}",
            frame.header.capture.id(),
            frame.header.offset,
            frame.header.offset + frame.header.len,
            frame.header.capture.total
        ),
        Err(_) => String::from_utf8_lossy(&payload[..payload.len().min(200)]).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use keepsake_protocol::SpoolId;

    use super::*;
    use crate::photos;
    use crate::store_probe::StoreAddress;
    use crate::store_probe::tests::{caught, with_one_picture};
    use keepsake_provision::temp_dir::TempDir;

    /// Sends a message from the broker to the cloud, and its acknowledgement back, through a proxy with a database
    /// that has the first photograph in it.
    fn acknowledged(payload: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<u64, String> {
        let folder = TempDir::new("proxy");
        with_one_picture(&folder);
        let payload = payload(&photos::all(&photos::folder())[0]);
        let broker = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = MqttProxy::start(broker.local_addr().unwrap().port(), &StoreAddress::sqlite(&folder));
        let mut cloud = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        let (mut broker, _) = broker.accept().unwrap();

        let publish = Packet::publish(b"keepsake/v1/porch/up/frame", Some(7), &payload);
        broker.write_all(&publish.to_bytes()).unwrap();
        assert_eq!(Packet::read(&mut cloud).unwrap(), Some(publish));
        let ack = Packet { first: 0x40, body: vec![0, 7] };
        cloud.write_all(&ack.to_bytes()).unwrap();
        assert_eq!(Packet::read(&mut broker).unwrap(), Some(ack));
        caught(|| proxy.verdict())
    }

    fn frame(sequence: u64, bytes: &[u8]) -> Vec<u8> {
        let header = photos::frame_header(SpoolId([7; 16]), sequence, bytes);
        codec::encode_frame(&serde_json::from_value(header).unwrap(), bytes)
    }

    #[test]
    fn an_acknowledgement_before_the_commit_does_not_go_unseen() {
        assert_eq!(acknowledged(|photo| frame(1, photo)), Ok(1));
        for early in [
            acknowledged(|photo| frame(2, photo)),
            acknowledged(|photo| frame(1, &photo[1..])),
            acknowledged(|_| b"neither a frame nor in quarantine".to_vec()),
        ] {
            assert!(early.unwrap_err().contains("confirmed before the commit"));
        }
    }
}
