//! Two proxies between a program and its broker.
//!
//! [`MqttProxy`] is between the cloud's own sessions and the broker. Before it forwards an acknowledgement of the
//! cloud, it checks that the message is committed. [`HostileBroker`] is between a camera and the broker, and sends
//! the camera messages that no broker would.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use keepsake_protocol::event::Event;
use keepsake_protocol::topic::{MessageKind, Topic};
use keepsake_protocol::{Hash, codec};

use crate::mqtt_client::{Packet, Publication};
use crate::receipt_observer::ReceiptChecker;
use crate::store_probe::Location;
use keepsake_provision::process::free_port;

/// The observations over all connections.
#[derive(Debug)]
struct Observations {
    witness: ReceiptChecker,
    /// The checked acknowledgements of pictures, parts and tombstones.
    checked: AtomicU64,
    violations: Mutex<Vec<String>>,
    /// The devices of these acknowledgements, in their order.
    order: Mutex<Vec<String>>,
    sockets: Mutex<Vec<TcpStream>>,
    stop: AtomicBool,
}

/// The proxy. It runs until it is dropped.
#[derive(Debug)]
pub struct MqttProxy {
    port: u16,
    seen: Arc<Observations>,
}

impl MqttProxy {
    /// `broker_port`: of the broker, which need not be up yet; `database`: the cloud's, or its data directory.
    pub fn start(broker_port: u16, database: impl Into<Location>) -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("bind a free port");
        let seen = Arc::new(Observations {
            witness: ReceiptChecker::new(database),
            checked: AtomicU64::new(0),
            violations: Mutex::default(),
            order: Mutex::default(),
            sockets: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        {
            let seen = Arc::clone(&seen);
            thread::spawn(move || {
                for cloud in listener.incoming().flatten() {
                    if seen.stop.load(Ordering::Relaxed) {
                        break;
                    }
                    // A broker that is down looks like one that closes the connection.
                    if let Ok(broker) = TcpStream::connect(("127.0.0.1", broker_port)) {
                        let _ = join(cloud, broker, &seen);
                    }
                }
            });
        }
        Self { port, seen }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        for socket in self.seen.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Returns how often an acknowledgement was for another device than the one before it.
    pub fn connection_count(&self) -> usize {
        let order = self.seen.order.lock().unwrap();
        order.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    /// Fails the test if a message was acknowledged before it was committed.
    ///
    /// Returns how many acknowledgements were checked.
    pub fn verdict(self) -> u64 {
        let lies = self.seen.violations.lock().unwrap();
        assert!(lies.is_empty(), "acknowledged before the commit: {lies:#?}");
        drop(lies);
        let checked = self.seen.checked.load(Ordering::Relaxed);
        assert!(checked > 0, "a proxy that saw no acknowledgement proves nothing");
        checked
    }
}

impl Drop for MqttProxy {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// A compromised broker for one camera: it forwards everything, and sometimes adds a message.
#[derive(Debug)]
pub struct HostileBroker {
    port: u16,
    cameras: Arc<Mutex<Vec<TcpStream>>>,
}

impl HostileBroker {
    /// `broker_port`: of the real broker.
    pub fn start(broker_port: u16) -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("bind a free port");
        let cameras: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        {
            let cameras = Arc::clone(&cameras);
            thread::spawn(move || {
                for camera in listener.incoming().flatten() {
                    if let Ok(broker) = TcpStream::connect(("127.0.0.1", broker_port)) {
                        let _ = serve_hostile(camera, broker, &cameras);
                    }
                }
            });
        }
        Self { port, cameras }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends this message to every connected camera; returns to how many.
    pub fn inject(&self, topic: impl AsRef<[u8]>, payload: &[u8]) -> usize {
        let topic = topic.as_ref();
        let length = u16::try_from(topic.len()).expect("a topic of at most 65,535 bytes");
        let body = [&length.to_be_bytes()[..], topic, payload].concat();
        let packet = Packet { first: 0x30, body }.to_bytes();
        let mut cameras = self.cameras.lock().unwrap();
        cameras.retain_mut(|camera| camera.write_all(&packet).is_ok());
        cameras.len()
    }
}

fn serve_hostile(camera: TcpStream, broker: TcpStream, cameras: &Arc<Mutex<Vec<TcpStream>>>) -> io::Result<()> {
    let (mut from_broker, mut to_broker) = (broker.try_clone()?, broker);
    let (mut from_camera, mut to_camera) = (camera.try_clone()?, camera.try_clone()?);
    cameras.lock().unwrap().push(camera);
    let cameras = Arc::clone(cameras);
    thread::spawn(move || {
        while let Ok(Some(packet)) = Packet::read(&mut from_broker) {
            // Whole packets, one at a time, so that additions come in between.
            let _one_at_a_time = cameras.lock().unwrap();
            if to_camera.write_all(&packet.to_bytes()).is_err() {
                break;
            }
        }
        let _ = to_camera.shutdown(Shutdown::Both);
    });
    thread::spawn(move || pump(&mut from_camera, &mut to_broker, |_| {}));
    Ok(())
}

/// Forwards in both directions; both ends close together.
fn join(cloud: TcpStream, broker: TcpStream, seen: &Arc<Observations>) -> io::Result<()> {
    cloud.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    {
        let mut sockets = seen.sockets.lock().unwrap();
        sockets.push(cloud.try_clone()?);
        sockets.push(broker.try_clone()?);
    }
    let open: Arc<Mutex<HashMap<u16, Publication>>> = Arc::default();
    let (mut from_broker, mut to_cloud) = (broker.try_clone()?, cloud.try_clone()?);
    let (mut from_cloud, mut to_broker) = (cloud, broker);
    {
        let open = Arc::clone(&open);
        thread::spawn(move || {
            pump(&mut from_broker, &mut to_cloud, |packet| {
                if let Some(publication) = packet.publication()
                    && publication.packet_id != 0
                {
                    let mut open = open.lock().unwrap();
                    open.insert(publication.packet_id, publication);
                }
            });
        });
    }
    let seen = Arc::clone(seen);
    thread::spawn(move || {
        pump(&mut from_cloud, &mut to_broker, |packet| {
            if let Some(id) = packet.acknowledges() {
                let publication = open.lock().unwrap().remove(&id);
                match publication {
                    Some(publication) => seen.check_committed(&publication),
                    None => seen.report_violation(format!("an acknowledgement of {id}, which is not open")),
                }
            }
        });
    });
    Ok(())
}

fn pump(from: &mut TcpStream, to: &mut TcpStream, mut look: impl FnMut(&Packet)) {
    while let Ok(Some(packet)) = Packet::read(from) {
        look(&packet);
        if to.write_all(&packet.to_bytes()).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

impl Observations {
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
                    .witness
                    .query(|store| Ok(store.has_bytes_of(&frame.header)? || store.has_quarantined(hash)?)),
                Err(_) => self.witness.query(|store| store.has_quarantined(hash)),
            },
            MessageKind::Event => match codec::decode::<Event>(payload) {
                Ok(Event::Tombstone(_)) => {
                    self.witness.query(|store| Ok(store.has_event(hash)? || store.has_quarantined(hash)?))
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
        self.checked.fetch_add(1, Ordering::Relaxed);
        self.order.lock().unwrap().push(topic.device.to_string());
        match committed {
            Ok(true) => {}
            Ok(false) => self.report_violation(format!("{} of {}", topic, describe(payload))),
            Err(error) => {
                self.report_violation(format!("{topic}: the database could not be read: {error}"));
            }
        }
    }

    fn report_violation(&self, lie: String) {
        self.violations.lock().unwrap().push(lie);
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
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::photos;
    use crate::store_probe::tests::with_one_picture;
    use keepsake_provision::temp_dir::TempDir;

    /// Sends a message from the broker to the cloud, and its acknowledgement back, through a proxy with a database
    /// that has the first photograph in it.
    fn acknowledged(payload: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<u64, String> {
        let folder = TempDir::new("proxy");
        with_one_picture(&folder);
        let payload = payload(&photos::all(&photos::folder())[0]);
        let broker = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = MqttProxy::start(broker.local_addr().unwrap().port(), &*folder);
        let mut cloud = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        let (mut broker, _) = broker.accept().unwrap();

        let topic = b"keepsake/v1/porch/up/frame";
        let length = u16::try_from(topic.len()).unwrap().to_be_bytes();
        let body = [&length[..], topic, b"\0\x07", &payload].concat();
        let publish = Packet { first: 0x32, body };
        broker.write_all(&publish.to_bytes()).unwrap();
        assert_eq!(Packet::read(&mut cloud).unwrap(), Some(publish));
        let ack = Packet { first: 0x40, body: vec![0, 7] };
        cloud.write_all(&ack.to_bytes()).unwrap();
        assert_eq!(Packet::read(&mut broker).unwrap(), Some(ack));
        catch_unwind(AssertUnwindSafe(|| proxy.verdict()))
            .map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default())
    }

    fn frame(sequence: u64, bytes: &[u8]) -> Vec<u8> {
        let header = serde_json::json!({
            "install": "07".repeat(16), "sequence": sequence, "hash": Hash::of(bytes), "total": bytes.len(),
            "content_type": "image/jpeg", "width": 1, "height": 1, "cause": "button",
            "pressed": {"boot": "00".repeat(16), "boottime_us": 1, "wall_us": 2, "synchronised": false},
            "captured_after_us": 0, "offset": 0, "len": bytes.len(),
        });
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
            assert!(early.unwrap_err().contains("acknowledged before the commit"));
        }
    }
}
