//! The address of a client, and how it reached the cloud.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::uri::Authority;
use axum::http::{Extensions, HeaderMap, HeaderName, header};

use crate::auth::login_throttle::Network;

/// Headers set by proxies: the peer of such a request is not its client.
const FORWARDED: [&str; 5] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// The client of a request, as an extension of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientInfo {
    /// The peer, or the client that a proxy on this computer names.
    pub(crate) address: IpAddr,
    /// Peer and Host are this computer, and no proxy is between.
    pub(crate) local: bool,
    /// The browser speaks TLS, to us or to a proxy on this computer.
    pub(crate) secure: bool,
}

impl ClientInfo {
    pub(crate) fn network(self) -> Network {
        self.address.into()
    }

    /// Returns the origin that the browser used, for links that are sent on.
    pub(crate) fn origin(self, host: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{host}")
    }

    pub(crate) fn of(peer: Peer, headers: &HeaderMap) -> Self {
        let forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
        let here = peer.address.to_canonical().is_loopback();
        // The nearest proxy appends its value; the rest may be forged.
        let last = |name: &str| {
            let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
            value.rsplit(',').next().map(str::trim)
        };
        let named = last("x-forwarded-for").filter(|_| here);
        let over_tls = here && last("x-forwarded-proto").is_some_and(|proto| proto == "https");
        Self {
            address: named.and_then(|name| name.parse().ok()).unwrap_or(peer.address),
            local: here && !forwarded && is_this_computer(header_text(headers, header::HOST)),
            secure: peer.tls || over_tls,
        }
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) tls: bool,
}

/// Returns what `security_headers` stored about the client of a request.
pub(crate) fn client_info(extensions: &Extensions) -> ClientInfo {
    extensions.get().copied().unwrap_or(ClientInfo {
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        local: false,
        secure: false,
    })
}

/// Returns a header as text; empty if it is absent or not text.
pub(crate) fn header_text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

fn is_this_computer(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    name.eq_ignore_ascii_case("localhost")
        || name
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
pub(crate) mod tests {
    use axum::http::HeaderValue;

    use super::*;

    pub(crate) fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_this_computer_without_a_proxy_is_local() {
        let check = |peer: &str, all: &[(&'static str, &'static str)], expected: bool| {
            let peer = Peer { address: peer.parse().unwrap(), tls: false };
            let caller = ClientInfo::of(peer, &headers(all));
            assert_eq!(caller.local, expected, "{peer:?} {all:?}");
        };
        for host in ["localhost", "localhost:5000", "127.0.0.1:1", "[::1]:5000"] {
            check("127.0.0.1", &[("host", host)], true);
            check("::1", &[("host", host)], true);
            check("10.0.0.2", &[("host", host)], false);
            for name in FORWARDED {
                check("127.0.0.1", &[("host", host), (name, "10.0.0.2")], false);
            }
        }
        for host in ["", "evil.example", "localhost.evil.example", "10.0.0.1", "a@localhost@b"] {
            check("127.0.0.1", &[("host", host)], false);
        }
    }

    #[test]
    fn only_a_proxy_on_this_computer_is_believed() {
        let check = |peer: &str, all: &[(&'static str, &'static str)], address: &str, secure| {
            let peer = Peer { address: peer.parse().unwrap(), tls: false };
            let caller = ClientInfo::of(peer, &headers(all));
            assert_eq!(caller.address, address.parse::<IpAddr>().unwrap(), "{all:?}");
            assert_eq!(caller.secure, secure, "{all:?}");
        };
        let told = [("x-forwarded-for", "1.2.3.4, 203.0.113.7"), ("x-forwarded-proto", "https")];
        check("127.0.0.1", &told, "203.0.113.7", true);
        check("198.51.100.1", &told, "198.51.100.1", false);
        check("127.0.0.1", &[("x-forwarded-for", "<b>")], "127.0.0.1", false);
    }
}
