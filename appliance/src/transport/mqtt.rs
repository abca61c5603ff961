//! The connection to the broker: events come out, messages go in. The only file that names rumqttc.
//!
//! A new client for every connection: whatever the library kept of an earlier one is void (P5), and an acknowledgement
//! can only be for a message of its own connection. The session is clean; the spool is the truth. `poll()` is not safe
//! to cancel, so it has a task to itself and nothing else happens there.

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
use crate::settings::CloudSettings;
use crate::transport::{self, DisconnectReason, Publisher, SendError, TransportEvent, TransportSettings};

/// Requests that may wait inside the client. The drain bounds the bytes; this only has to be more than enough.
const REQUESTS_MAX: usize = 1024;
/// The largest message taken in, bytes. Ours are far smaller, but a client that refuses a packet is sent the same packet
/// again after every reconnect, so what is too long is read first and ignored then. More than this a Pi has no memory for.
const INCOMING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The largest message sent, bytes: parts may become as large as a setting allows while a connection stands.
const OUTGOING_BYTES_MAX: usize = (4 << 20) + keepsake_protocol::codec::JSON_BYTES_MAX;
/// The longest time for a flush: a part of 16 KiB then needs half a KiB a second.
const FLUSH_FOR: Duration = Duration::from_secs(30);

/// One connection as its [`Publisher`] sees it.
struct MqttConnection {
    client: AsyncClient,
    device: DeviceId,
    events: mpsc::Sender<TransportEvent>,
}

impl Publisher for MqttConnection {
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

/// Returns the device and the begin of its spool id: two cameras from one card do not throw each other off the broker.
fn client_id(device: &DeviceId, spool: SpoolId) -> String {
    format!("{device}.{}", &spool.to_string()[..8])
}

/// Connects, and connects again, until `stop` says so.
pub(crate) async fn run(
    settings: TransportSettings,
    events: mpsc::Sender<TransportEvent>,
    stop: watch::Receiver<bool>,
) {
    let connect = || connection(&settings, &events);
    transport::reconnect_loop(connect, settings.reconnect, events.clone(), stop).await;
}

/// One connection, from its first byte to its last.
async fn connection(settings: &TransportSettings, events: &mpsc::Sender<TransportEvent>) -> (DisconnectReason, String) {
    let options = match mqtt_options(settings) {
        Ok(options) => options,
        Err(text) => return (DisconnectReason::TlsUntrusted, text),
    };
    let (client, mut eventloop) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
    let mut network = NetworkOptions::new();
    network.set_connection_timeout(settings.cloud.connect_timeout_s);
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
                let publisher = Arc::new(MqttConnection {
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

/// An error is a sentence about a file that cannot be used.
fn mqtt_options(settings: &TransportSettings) -> Result<MqttOptions, String> {
    let cloud = &settings.cloud;
    let broker = Broker::tcp(cloud.url.host.clone(), cloud.url.port);
    let mut options = MqttOptions::new(client_id(&settings.device, *settings.current_spool.borrow()), broker);
    let will = keepsake_protocol::codec::encode(&Status::last_will());
    let will_topic = Topic::new(&settings.device, MessageKind::Status).to_string();
    options
        .set_clean_session(true)
        .set_keep_alive(u16::try_from(cloud.keep_alive_s).unwrap_or(u16::MAX))
        .set_inflight(u16::MAX)
        .set_max_packet_size(INCOMING_BYTES_MAX, OUTGOING_BYTES_MAX)
        .set_last_will(LastWill::new(will_topic, will, QoS::AtLeastOnce, true));
    if !cloud.user.is_empty() {
        options.set_credentials(cloud.user.clone(), read_password(cloud)?);
    }
    if let Some(files) = cloud.tls() {
        let config = keepsake_tls::client(&files, Arc::new(settings.certificate_time.clone()))
            .map_err(|error| display_chain(&error))?;
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
    }
    Ok(options)
}

fn read_password(cloud: &CloudSettings) -> Result<String, String> {
    let path = &cloud.password_file;
    if path.as_os_str().is_empty() {
        return Ok(cloud.password.clone());
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
