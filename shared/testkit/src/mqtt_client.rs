//! The part of MQTT 3.1.1 that the tests need, without code of the programs under test: packets to and from a socket,
//! and a client that can also send what a well-behaved client would not.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

/// A control packet: its first byte, and everything after the length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub first: u8,
    pub body: Vec<u8>,
}

/// A parsed PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub topic: String,
    /// 0 with QoS 0.
    pub packet_id: u16,
    pub payload: Vec<u8>,
}

/// The largest packet of MQTT, bytes.
const PACKET_BYTES_MAX: usize = 268_435_455;

impl Packet {
    /// Reads one packet; returns `None` at the end of the stream.
    ///
    /// # Errors
    /// The socket's, or `InvalidData` when the bytes are not MQTT.
    pub fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut byte = [0];
        if from.read(&mut byte)? == 0 {
            return Ok(None);
        }
        let first = byte[0];
        let mut length = 0_usize;
        for shift in [0, 7, 14, 21] {
            from.read_exact(&mut byte)?;
            length |= usize::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                let mut body = vec![0; length];
                from.read_exact(&mut body)?;
                return Ok(Some(Self { first, body }));
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "a length of more than four bytes"))
    }

    /// Reads one packet without blocking the thread; returns `None` at the end of the stream. Not safe to cancel.
    ///
    /// # Errors
    /// The socket's, or `InvalidData` when the bytes are not MQTT.
    pub async fn read_async(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut first = [0];
        if from.read(&mut first).await? == 0 {
            return Ok(None);
        }
        let mut length = 0_usize;
        for shift in [0, 7, 14, 21] {
            let byte = from.read_u8().await?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let mut body = vec![0; length];
                from.read_exact(&mut body).await?;
                return Ok(Some(Self { first: first[0], body }));
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "a length of more than four bytes"))
    }

    /// Returns a CONNECT with a clean session and no keep-alive.
    pub fn connect(client_id: &str, login: Option<(&str, &str)>) -> Self {
        let flags = if login.is_some() { 0b1100_0010 } else { 0b10 };
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0, 0];
        push_text(&mut body, client_id.as_bytes());
        if let Some((user, password)) = login {
            push_text(&mut body, user.as_bytes());
            push_text(&mut body, password.as_bytes());
        }
        Self { first: 0x10, body }
    }

    /// Returns a SUBSCRIBE with QoS 1.
    pub fn subscribe(filter: &str) -> Self {
        let mut body = vec![0, 1];
        push_text(&mut body, filter.as_bytes());
        body.push(1);
        Self { first: 0x82, body }
    }

    /// Returns the PUBACK of a publication.
    pub fn puback(packet_id: u16) -> Self {
        Self { first: 0x40, body: packet_id.to_be_bytes().to_vec() }
    }

    /// Returns a PUBLISH with QoS 1, or with QoS 0 if it has no id.
    pub fn publish(topic: &[u8], packet_id: Option<u16>, payload: &[u8]) -> Self {
        let mut body = Vec::with_capacity(payload.len() + topic.len() + 4);
        push_text(&mut body, topic);
        body.extend(packet_id.iter().flat_map(|id| id.to_be_bytes()));
        body.extend_from_slice(payload);
        let first = if packet_id.is_some() { 0x32 } else { 0x30 };
        Self { first, body }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut length = self.body.len();
        assert!(length <= PACKET_BYTES_MAX, "a packet of {length} bytes");
        let mut bytes = Vec::with_capacity(length + 5);
        bytes.push(self.first);
        loop {
            let more = if length > 0x7f { 0x80 } else { 0 };
            bytes.push(low_byte(length) & 0x7f | more);
            length >>= 7;
            if more == 0 {
                break;
            }
        }
        bytes.extend_from_slice(&self.body);
        bytes
    }

    pub fn write(&self, mut to: &TcpStream) -> io::Result<()> {
        to.write_all(&self.to_bytes())
    }

    /// Returns the publication if this is a PUBLISH.
    pub fn publication(&self) -> Option<Publication> {
        if self.first >> 4 != 3 {
            return None;
        }
        let (length, rest) = self.body.split_first_chunk::<2>()?;
        let (topic, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let (packet_id, payload) = if self.first & 0b0110 == 0 {
            (0, rest)
        } else {
            let (id, rest) = rest.split_first_chunk::<2>()?;
            (u16::from_be_bytes(*id), rest)
        };
        Some(Publication {
            topic: String::from_utf8_lossy(topic).into_owned(),
            packet_id,
            payload: payload.to_vec(),
        })
    }

    /// Returns the id of the acknowledged publication if this is a PUBACK.
    pub fn acknowledges(&self) -> Option<u16> {
        let (id, _) = self.body.split_first_chunk::<2>()?;
        (self.first >> 4 == 4).then(|| u16::from_be_bytes(*id))
    }
}

/// The result of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Acknowledged,
    /// The broker closed the connection because of it.
    Closed,
}

/// A client on a socket of its own.
#[derive(Debug)]
pub struct Client {
    socket: TcpStream,
    next_id: u16,
}

impl Client {
    /// Connects with a clean session and no keep-alive.
    ///
    /// # Errors
    /// The socket's, or `ConnectionRefused` when the broker refuses.
    pub fn connect(port: u16, client_id: &str) -> io::Result<Self> {
        Self::connect_with(port, client_id, None)
    }

    /// Connects like [`Client::connect`], with a user name and a password.
    pub fn connect_as(port: u16, client_id: &str, user: &str, password: &str) -> io::Result<Self> {
        Self::connect_with(port, client_id, Some((user, password)))
    }

    fn connect_with(port: u16, client_id: &str, login: Option<(&str, &str)>) -> io::Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut client = Self { socket, next_id: 0 };
        Packet::connect(client_id, login).write(&client.socket)?;
        match Packet::read(&mut client.socket)? {
            Some(Packet { first: 0x20, body }) if body.get(1) == Some(&0) => Ok(client),
            refused => Err(io::Error::new(io::ErrorKind::ConnectionRefused, format!("{refused:?}"))),
        }
    }

    /// Subscribes with QoS 1 and waits for the SUBACK.
    ///
    /// # Errors
    /// The socket's, or `PermissionDenied` when the broker refuses the filter.
    pub fn subscribe(&mut self, filter: &str) -> io::Result<()> {
        Packet::subscribe(filter).write(&self.socket)?;
        loop {
            match Packet::read(&mut self.socket)? {
                Some(packet) if packet.first == 0x90 => {
                    return match packet.body.last() {
                        Some(0..=2) => Ok(()),
                        _ => Err(io::ErrorKind::PermissionDenied.into()),
                    };
                }
                Some(_) => {}
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Publishes any topic and bytes with QoS 1, and waits for the result.
    ///
    /// # Errors
    /// `WouldBlock` when nothing comes for 20 s.
    pub fn publish(&mut self, topic: &[u8], payload: &[u8]) -> io::Result<Outcome> {
        self.publish_with(topic, payload, false)
    }

    /// Publishes like [`Client::publish`]; `retain`: the broker keeps the message.
    pub fn publish_with(&mut self, topic: &[u8], payload: &[u8], retain: bool) -> io::Result<Outcome> {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        let mut packet = Packet::publish(topic, Some(self.next_id), payload);
        packet.first |= u8::from(retain);
        if let Err(error) = packet.write(&self.socket) {
            return closed_or(error);
        }
        loop {
            match Packet::read(&mut self.socket) {
                Ok(Some(packet)) if packet.acknowledges() == Some(self.next_id) => {
                    return Ok(Outcome::Acknowledged);
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Outcome::Closed),
                Err(error) => return closed_or(error),
            }
        }
    }

    /// Waits for the next publication and acknowledges it.
    ///
    /// # Errors
    /// The socket's; `WouldBlock` when nothing comes for 20 s, `UnexpectedEof` when the broker is gone.
    pub fn next_publication(&mut self) -> io::Result<Publication> {
        loop {
            let packet = Packet::read(&mut self.socket)?.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
            if let Some(publication) = packet.publication() {
                if publication.packet_id != 0 {
                    Packet::puback(publication.packet_id).write(&self.socket)?;
                }
                return Ok(publication);
            }
        }
    }

    /// Returns another handle on the socket, to read, write or close it from elsewhere.
    ///
    /// # Errors
    /// The socket's.
    pub fn socket(&self) -> io::Result<TcpStream> {
        self.socket.try_clone()
    }

    pub(crate) fn wait_forever(&self) -> io::Result<()> {
        self.socket.set_read_timeout(None)
    }
}

fn push_text(body: &mut Vec<u8>, text: &[u8]) {
    let length = u16::try_from(text.len()).expect("a text of MQTT is at most 65,535 bytes");
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(text);
}

fn closed_or(error: io::Error) -> io::Result<Outcome> {
    let kind = error.kind();
    if kind == io::ErrorKind::WouldBlock || kind == io::ErrorKind::TimedOut {
        Err(error)
    } else {
        Ok(Outcome::Closed)
    }
}

fn low_byte(number: usize) -> u8 {
    number.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_read_as_it_was_written() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 300_000] {
            let packet = Packet { first: 0x32, body: vec![7; length] };
            let bytes = packet.to_bytes();
            assert_eq!(Packet::read(&mut &bytes[..]).unwrap(), Some(packet));
        }
        assert_eq!(Packet::read(&mut &b""[..]).unwrap(), None);
        assert!(Packet::read(&mut &[0x30, 0xff, 0xff, 0xff, 0xff, 1][..]).is_err());
    }

    #[test]
    fn a_publication_is_taken_apart() {
        let packet = Packet { first: 0x32, body: b"\0\x03a/b\x01\x02hello".to_vec() };
        assert_eq!(
            packet.publication(),
            Some(Publication {
                topic: "a/b".into(),
                packet_id: 0x0102,
                payload: b"hello".to_vec()
            })
        );
        let acknowledgement = Packet { first: 0x40, body: vec![1, 2] };
        assert_eq!(acknowledgement.acknowledges(), Some(0x0102));
        assert_eq!(acknowledgement.publication(), None);
    }
}
