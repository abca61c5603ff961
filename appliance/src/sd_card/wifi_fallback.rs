//! The Wi-Fi to fall back to: the network that worked last, remembered on the card.

use std::path::PathBuf;

use super::paths::Paths;
use crate::durable_file;
use crate::settings::Network;

/// Larger than any valid file.
const FILE_BYTES_MAX: u64 = 64 * 1024;

fn file(paths: &Paths) -> PathBuf {
    paths.data.join("wifi-that-worked.json")
}

/// Saves the network that just worked with its password: the current settings may contain a wrong one for the same name.
pub(super) fn remember(paths: &Paths, network: &(String, String)) {
    let (name, password) = network;
    let before = read(paths);
    if before.first().is_some_and(|kept| (&kept.name, &kept.password) == (name, password)) {
        return;
    }
    // Only the network that works now is remembered.
    if let Err(error) = durable_file::write_json_privately(&file(paths), &[network]) {
        tracing::warn!(%error, "remember the Wi-Fi that works");
    }
}

pub(super) fn read(paths: &Paths) -> Vec<Network> {
    let pairs: Vec<(String, String)> = durable_file::read_json(&file(paths), FILE_BYTES_MAX).unwrap_or_default();
    pairs.into_iter().map(|(name, password)| Network { name, password }).collect()
}

/// Returns the networks to try: those of the current file first, then the remembered ones.
///
/// `kept`: the last one that worked, and those of the last good file where the present one is bad. A name in the present
/// file replaces one that is kept, for its password may have been changed; the kept password is tried as well, until the
/// new one has worked.
pub(super) fn prioritized(present: &[Network], kept: &[Network]) -> Vec<(Network, u32)> {
    let mut networks: Vec<(Network, u32)> = Vec::new();
    let with_priority = present.iter().map(|network| (network, 10));
    for (network, priority) in with_priority.chain(kept.iter().map(|network| (network, 1))) {
        if !networks.iter().any(|(other, _)| other == network) {
            networks.push((network.clone(), priority));
        }
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, password: &str) -> Network {
        Network { name: name.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn the_last_network_that_worked_is_kept_behind_the_new_ones() {
        let names = |present: &[Network], kept: &[Network]| -> Vec<(String, String, u32)> {
            prioritized(present, kept)
                .into_iter()
                .map(|(network, priority)| (network.name, network.password, priority))
                .collect()
        };
        let old = network("Hytta", "old password");
        let line = |name: &str, password: &str, priority| (name.to_owned(), password.to_owned(), priority);
        assert_eq!(
            names(&[network("Home", "12345678")], std::slice::from_ref(&old)),
            [line("Home", "12345678", 10), line("Hytta", "old password", 1)]
        );
        // The same name with another password: both are tried, the new one first.
        assert_eq!(
            names(&[network("Hytta", "new password")], std::slice::from_ref(&old)),
            [line("Hytta", "new password", 10), line("Hytta", "old password", 1)]
        );
        assert_eq!(
            names(std::slice::from_ref(&old), std::slice::from_ref(&old)),
            [line("Hytta", "old password", 10)]
        );
    }
}
