//! An NTP server for the emulated Pi, on the standard port: only root may open it, and only if it is free.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The seconds from 1900, the epoch of NTP, to 1970.
const EPOCH: u64 = 2_208_988_800;

/// Answers with the time of this computer until the program ends.
///
/// # Errors
/// The port cannot be opened.
pub(crate) fn serve() -> std::io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:123")?;
    thread::spawn(move || {
        let mut request = [0; 1024];
        loop {
            let Ok((count, from)) = socket.recv_from(&mut request) else {
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            if let Some(answer) = answer(&request[..count], now.unwrap_or_default()) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    Ok(())
}

/// Returns the reply of RFC 5905, figure 8: version 4, mode 4 (server), stratum 1.
fn answer(request: &[u8], now: Duration) -> Option<[u8; 48]> {
    let sent_at = request.get(40..48)?;
    let seconds = u32::try_from((now.as_secs() + EPOCH) & u64::from(u32::MAX)).ok()?;
    let fraction = u32::try_from((u64::from(now.subsec_nanos()) << 32) / 1_000_000_000).ok()?;
    let mut stamp = [0; 8];
    stamp[..4].copy_from_slice(&seconds.to_be_bytes());
    stamp[4..].copy_from_slice(&fraction.to_be_bytes());
    let mut answer = [0; 48];
    answer[..4].copy_from_slice(&[0x24, 1, 4, 0xec]);
    answer[12..16].copy_from_slice(b"LOCL");
    for (at, field) in [(16, &stamp[..]), (24, sent_at), (32, &stamp), (40, &stamp)] {
        answer[at..at + 8].copy_from_slice(field);
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_the_time_and_what_was_asked() {
        let mut request = [0; 48];
        request[40..48].copy_from_slice(b"question");
        // RFC 868: 1 January 1980 is 2,524,521,600 seconds after 1900.
        let answer = answer(&request, Duration::new(315_532_800, 500_000_000)).unwrap();
        assert_eq!(answer[24..32], *b"question");
        assert_eq!(answer[40..44], 2_524_521_600_u32.to_be_bytes());
        assert_eq!(answer[44..48], [0x80, 0, 0, 0]);
        assert_eq!(super::answer(&request[..47], Duration::ZERO), None);
    }
}
