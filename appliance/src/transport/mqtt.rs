//! The connection to the broker: events come out, messages go in. The only file that names rumqttc.
//!
//! A new client for every connection: whatever the library kept of an earlier one is void (P5), and an acknowledgement
//! can only be for a message of its own connection. The session is clean; the spool is the truth. `poll()` is not safe
//! to cancel, so it has a task to itself and nothing else happens there.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use keepsake_protocol::status::Status;
use keepsake_protocol::topic::{MessageKind, Topic, downlink_subscription};
use keepsake_protocol::{DeviceId, SpoolId};
use rumqttc::{
    AsyncClient, Broker, ConnectReturnCode, ConnectionError, Event, LastWill, MqttOptions, NetworkOptions, Packet,
    PublishOptions, QoS, SubscribeReasonCode, TlsConfiguration, Transport,
};
use tokio::sync::{mpsc, watch};

use crate::error::display_chain;
use crate::transport::{self, Connection, DisconnectReason, Publisher, SendError, TransportEvent};
use crate::upload::backoff::Backoff;

/// Requests that may wait inside the client. The drain bounds the bytes; this only has to be more than enough.
const REQUESTS_MAX: usize = 1024;
/// The largest message taken in, bytes. Ours are far smaller, but a client that refuses a packet is sent the same packet
/// again after every reconnect, so what is too long is read first and ignored then. More than this a Pi has no memory for.
const INCOMING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a flush may take: a part of 16 KiB then needs half a KiB a second.
const FLUSH_FOR: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) struct Settings {
    pub host: String,
    pub port: u16,
    /// Empty = none, and no password either.
    pub user: String,
    pub password: String,
    /// Its first line is the password, if it is not empty.
    pub password_file: PathBuf,
    /// Present = TLS. The files are read for every connection, so that a renewed certificate needs no restart.
    pub tls: Option<keepsake_tls::TlsFiles>,
    pub certificate_time: keepsake_tls::ClockFloor,
    pub device: DeviceId,
    /// Read for every connection: a new spool has another id.
    pub current_spool: watch::Receiver<SpoolId>,
    pub keep_alive: Duration,
    /// Longest wait for a connection to be made.
    pub connect_timeout: Duration,
    /// The largest message sent, bytes.
    pub packet_bytes_max: usize,
    pub reconnect: Backoff,
}

/// One connection as its [`Publisher`] sees it.
struct MqttConnection {
    client: AsyncClient,
    device: DeviceId,
    events: mpsc::Sender<TransportEvent>,
}

impl Connection for MqttConnection {
    fn publish(&self, kind: MessageKind, payload: Vec<u8>, token: Option<u64>) -> Result<(), SendError> {
        let topic = Topic::new(&self.device, kind).to_string();
        let mut options = PublishOptions::new(QoS::AtLeastOnce);
        if kind.retained() {
            options = options.retain(true);
        }
        let Some(token) = token else {
            return self.client.try_publish(topic, payload, options).map_err(|_| SendError);
        };
        let notice = self.client.try_publish_tracked(topic, payload, options).map_err(|_| SendError)?;
        let events = self.events.clone();
        tokio::spawn(async move {
            if notice.wait_completion_async().await.is_ok() {
                let _ = events.send(TransportEvent::Acknowledged { token }).await;
            }
        });
        Ok(())
    }

    fn finish(&self, patience: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let _ = self.client.disconnect_with_timeout(patience).await;
        })
    }

    fn abandon(&self) {
        let _ = self.client.try_disconnect_now();
    }
}

/// The device and which of its installs: two cameras from one card do not throw each other off the broker.
fn client_id(device: &DeviceId, install: SpoolId) -> String {
    let install = install.to_string();
    format!("{device}.{}", &install[..8])
}

/// Connects, and connects again, until `stop` says so.
pub(crate) async fn run(settings: Settings, events: mpsc::Sender<TransportEvent>, stop: watch::Receiver<bool>) {
    let connect = || connection(&settings, &events);
    transport::reconnect_loop(connect, settings.reconnect, events.clone(), stop).await;
}

/// One connection, from its first byte to its last.
async fn connection(settings: &Settings, events: &mpsc::Sender<TransportEvent>) -> (DisconnectReason, String) {
    let options = match mqtt_options(settings) {
        Ok(options) => options,
        Err(text) => return (DisconnectReason::TlsUntrusted, text),
    };
    let (client, mut eventloop) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
    let mut network = NetworkOptions::new();
    network.set_connection_timeout(settings.connect_timeout.as_secs());
    network.set_tcp_nodelay(true);
    eventloop.set_network_options(network);

    loop {
        let event = match eventloop.poll().await {
            Ok(event) => event,
            Err(error) => return classify_error(&error),
        };
        let Event::Incoming(packet) = event else {
            continue;
        };
        match packet {
            Packet::ConnAck(_) => {
                // The library has one number for both: from now on it bounds a flush.
                let mut network = eventloop.network_options();
                network.set_connection_timeout(FLUSH_FOR.as_secs());
                eventloop.set_network_options(network);
                let down = downlink_subscription(&settings.device);
                let asked = client.try_subscribe(down, QoS::AtLeastOnce);
                if asked.is_err() {
                    return (DisconnectReason::Unreachable, "subscribe to what is meant for this camera".to_owned());
                }
            }
            // Only now receipts can come in, so only now it makes sense to send.
            Packet::SubAck(granted) => {
                if granted.return_codes.contains(&SubscribeReasonCode::Failure) {
                    let text = "the broker refuses the subscription".to_owned();
                    return (DisconnectReason::Unauthorized, text);
                }
                let publisher = Publisher::new(MqttConnection {
                    client: client.clone(),
                    device: settings.device.clone(),
                    events: events.clone(),
                });
                if events.send(TransportEvent::Connected(publisher)).await.is_err() {
                    return (DisconnectReason::Unreachable, "stopping".to_owned());
                }
            }
            Packet::Publish(publish) => {
                let topic = std::str::from_utf8(&publish.topic).ok().and_then(|topic| topic.parse::<Topic>().ok());
                let Some(topic) = topic.filter(|topic| topic.device == settings.device) else {
                    continue;
                };
                let message = TransportEvent::Message { kind: topic.kind, payload: publish.payload };
                if events.send(message).await.is_err() {
                    return (DisconnectReason::Unreachable, "stopping".to_owned());
                }
            }
            _ => {}
        }
    }
}

/// # Errors
/// A sentence about a file that cannot be used.
fn mqtt_options(settings: &Settings) -> Result<MqttOptions, String> {
    let broker = Broker::tcp(settings.host.clone(), settings.port);
    let mut options = MqttOptions::new(client_id(&settings.device, *settings.current_spool.borrow()), broker);
    let will = keepsake_protocol::codec::encode(&Status::last_will());
    let will_topic = Topic::new(&settings.device, MessageKind::Status).to_string();
    options
        .set_clean_session(true)
        .set_keep_alive(u16::try_from(settings.keep_alive.as_secs()).unwrap_or(u16::MAX))
        .set_inflight(u16::MAX)
        .set_max_packet_size(INCOMING_BYTES_MAX, settings.packet_bytes_max)
        .set_last_will(LastWill::new(will_topic, will, QoS::AtLeastOnce, true));
    if !settings.user.is_empty() {
        options.set_credentials(settings.user.clone(), read_password(settings)?);
    }
    if let Some(files) = &settings.tls {
        let config = keepsake_tls::client(files, Arc::new(settings.certificate_time.clone()))
            .map_err(|error| display_chain(&error))?;
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
    }
    Ok(options)
}

fn read_password(settings: &Settings) -> Result<String, String> {
    let path = &settings.password_file;
    if path.as_os_str().is_empty() {
        return Ok(settings.password.clone());
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("read cloud.password_file {}: {error}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn classify_error(error: &ConnectionError) -> (DisconnectReason, String) {
    if let Some(trouble) = keepsake_tls::classify(error) {
        return match trouble {
            keepsake_tls::TlsFailure::Untrusted(text) => {
                (DisconnectReason::TlsUntrusted, format!("the broker is not believed: {text}"))
            }
            keepsake_tls::TlsFailure::Refused(text) => (DisconnectReason::Unauthorized, text),
            keepsake_tls::TlsFailure::Failed(text) => (DisconnectReason::Unreachable, text),
        };
    }
    match error {
        ConnectionError::ConnectionRefused(
            code @ (ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized),
        ) => (
            DisconnectReason::Unauthorized,
            format!("the broker refuses this camera's name or password ({code:?}): see cloud.user and cloud.password"),
        ),
        // A broker without TLS hangs up on the first bytes of it.
        ConnectionError::Tls(error) => (
            DisconnectReason::Unreachable,
            format!("TLS handshake failed ({error}); is this the broker's plaintext port?"),
        ),
        other => (DisconnectReason::Unreachable, other.to_string()),
    }
}
