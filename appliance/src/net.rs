//! The addresses of this computer. Without one it has no network: the difference between "no cloud" and "no Wi-Fi"
//! (fault 2).

use std::net::IpAddr;

/// An address by which others can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub interface: String,
    pub ip: IpAddr,
}

/// All of them, IPv4 first. Empty where the system cannot say.
pub(crate) fn addresses() -> Vec<Address> {
    let Ok(found) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let mut addresses: Vec<Address> = found
        .filter_map(|found| {
            let address = found.address?;
            let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
                (Some(four), _) => IpAddr::V4(four.ip()),
                (_, Some(six)) => IpAddr::V6(six.ip()),
                (None, None) => return None,
            };
            is_routable(ip).then_some(Address { interface: found.interface_name, ip })
        })
        .collect();
    addresses.sort_by_key(|address| (address.ip.is_ipv6(), address.interface.clone()));
    addresses
}

/// An address that a network has given, and not one that a computer takes when it is alone.
fn is_routable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_a_computer_takes_when_it_is_alone_is_no_network() {
        for (ip, reaches) in [
            ("127.0.0.1", false),
            ("169.254.3.4", false),
            ("0.0.0.0", false),
            ("192.168.1.7", true),
            ("10.0.2.15", true),
            ("::1", false),
            ("fe80::1", false),
            ("fd00::1", true),
            ("2001:db8::1", true),
        ] {
            assert_eq!(is_routable(ip.parse().unwrap()), reaches, "{ip}");
        }
    }
}
