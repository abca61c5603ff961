//! The limits of memory and connections that are no settings.

use keepsake_protocol::codec::CAPTURE_BYTES_MAX;

/// Memory for messages that are received and not yet committed. Beyond it nothing more is read from the broker until
/// there is room.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Room in that memory for the pictures of third-party cameras.
pub const EXTERNAL_QUEUE_BYTES_MAX: usize = QUEUE_BYTES_MAX / 2;
/// Bytes after which a transaction takes no further messages.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes that the embedded broker queues for a session that is offline or slow.
pub const BROKER_QUEUE_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Open event streams; beyond, 503. A browser opens at most six connections.
pub const STREAMS_MAX: usize = 100;
/// Memory for the bodies of HTTP requests until they are answered; beyond, 503.
pub const BODY_BYTES_MAX: u64 = 4 * BODY_BYTES_OF_ONE_MAX;
/// The share of one user, API token, camera or, without credentials, network. The largest picture with what surrounds
/// it fits.
pub const BODY_BYTES_OF_ONE_MAX: u64 = CAPTURE_BYTES_MAX + 1024 * 1024;
/// Cameras that wait for downlink messages over HTTP at one time; beyond, 503. Each keeps one connection open.
pub const LISTENING_MAX: usize = 256;
/// Open HTTP connections; beyond, new ones wait.
pub const CONNECTIONS_MAX: usize = 512;
/// Default size limit of a picture with a database server: the default packet size of MariaDB is 16 MiB.
pub const SERVER_CAPTURE_BYTES_MAX: u64 = 15 * 1024 * 1024;
