//! The Wi-Fi network that worked last, remembered on the card.

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
