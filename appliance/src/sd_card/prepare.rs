//! Prepares the system at every start, before the network.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::apply_settings_file::apply_settings_file;
use super::paths::{Paths, write_privately};
use super::{grow, wifi, wifi_fallback};
use crate::settings::{self, Network, SystemSettings};

/// The results of [`prepare`] for `watch`.
///
/// It contains passwords: there is no `Debug`, and only root can read its file.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    pub sentences: Vec<String>,
    /// Name and password of the Wi-Fi networks, in the order in which wpa_supplicant numbers them.
    pub(super) networks: Vec<(String, String)>,
    pub(super) cloud_is_unset: bool,
    device: String,
}

/// Prepares the system: settings, Wi-Fi, host name, time zone, SSH. No setting and no missing partition makes it fail, only
/// a system that is unusable, such as an `/etc` that cannot be written.
pub fn prepare(paths: &Paths) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    if let Err(error) = fs::create_dir_all(&paths.data) {
        prepared.sentences.push(format!(
            "The part of the card that stores pictures cannot be used ({error}). Nothing can be saved. What to do: try another card."
        ));
    }
    let applied = apply_settings_file(paths);
    prepared.sentences.extend(applied.sentences);
    let camera = settings::load(applied.effective_file.as_deref(), &[], false).config;
    prepared.cloud_is_unset = camera.cloud.url == settings::CloudUrl::default();
    prepared.device = camera.device.map(|name| name.to_string()).unwrap_or_default();
    apply_wifi(paths, &applied.card, &applied.kept, &mut prepared)?;
    apply_system(paths, &applied.card, &mut prepared.sentences)?;
    let text = serde_json::to_vec(&prepared).context("note what was prepared")?;
    write_privately(&paths.run.join("prepared.json"), &text)?;
    Ok(prepared)
}

/// `kept`: networks of the last good file.
fn apply_wifi(paths: &Paths, card: &SystemSettings, kept: &[Network], prepared: &mut Prepared) -> Result<()> {
    let worked = wifi_fallback::read(paths);
    let networks = wifi_fallback::prioritized(&card.networks, &[&worked, kept].concat());
    prepared.networks = networks
        .iter()
        .map(|(network, _)| (network.name.clone(), network.password.clone()))
        .collect();
    if networks.is_empty() {
        return Ok(());
    }
    let text = wifi::configuration(&networks, card.country.as_deref());
    let file = paths.etc.join("wpa_supplicant/wpa_supplicant-wlan0.conf");
    write_privately(&file, text.as_bytes())?;
    for (network, _) in networks.iter().filter(|(network, _)| network.password.is_empty()) {
        prepared.sentences.push(format!(
            "The password of Wi-Fi \"{}\" is empty, so it can only be joined if it is open. If it has a password, write it between the quotes of password = \"\".",
            network.name
        ));
    }
    if card.country.is_none() {
        prepared.sentences.push(
            "No country is set for the Wi-Fi, so only channels that are allowed everywhere are used. What to do: write your country's two letters below [[wifi]], such as country = \"NO\"."
                .to_owned(),
        );
    }
    Ok(())
}

fn apply_system(paths: &Paths, card: &SystemSettings, sentences: &mut Vec<String>) -> Result<()> {
    let etc = |name: &str| paths.etc.join(name);
    if let Some(server) = &card.time_server {
        let file = etc("systemd/timesyncd.conf.d/card.conf");
        write_privately(&file, format!("[Time]\nNTP={server}\n").as_bytes())?;
        let readable = fs::Permissions::from_mode(0o644);
        fs::set_permissions(&file, readable).with_context(|| format!("open {}", file.display()))?;
    }
    if let Some(zone) = &card.timezone {
        let zone = Path::new("/usr/share/zoneinfo").join(zone);
        if zone.is_file() {
            let link = etc("localtime");
            let _ = fs::remove_file(&link);
            symlink(&zone, &link).context("set the time zone")?;
        } else {
            sentences
                .push("system.timezone is not a known time zone, such as \"Europe/Oslo\". UTC is used.".to_owned());
        }
    }
    if let Some(name) = &card.hostname {
        fs::write(etc("hostname"), format!("{name}\n")).context("write the host name")?;
    }
    if let Some(key) = &card.ssh_key {
        let file = paths.root_home.join(".ssh/authorized_keys");
        write_privately(&file, format!("{key}\n").as_bytes())?;
        fs::set_permissions(paths.root_home.join(".ssh"), fs::Permissions::from_mode(0o700))?;
        sentences.push("SSH is enabled for the key in camera.toml.".to_owned());
    }
    Ok(())
}

/// Prepares the card itself, with what only a whole system has: growth, a host name, an owner of the settings.
pub(crate) fn prepare_card() -> Result<()> {
    let paths = Paths::default();
    let grown = grow::fill_card("/data");
    let mut prepared = prepare(&paths)?;
    match grown {
        Ok(Some(bytes)) => prepared.sentences.push(format!(
            "The space for pictures was extended to the whole card: {} MB.",
            bytes / 1_000_000
        )),
        Ok(None) => {}
        Err(error) => prepared
            .sentences
            .push(format!("The space for pictures could not be extended to the whole card: {error:#}.")),
    }
    let text = serde_json::to_vec(&prepared).context("note what was prepared")?;
    write_privately(&paths.run.join("prepared.json"), &text)?;
    if let Ok(name) = fs::read_to_string(paths.etc.join("hostname")) {
        nix::unistd::sethostname(name.trim()).context("set the host name")?;
    }
    let settings = paths.etc.join("keepsake/camera.toml");
    let group = nix::unistd::Group::from_name("keepsake").ok().flatten();
    if let Some(group) = group {
        nix::unistd::chown(&settings, None, Some(group.gid)).context("give the settings to the camera")?;
        fs::set_permissions(&settings, fs::Permissions::from_mode(0o640))?;
    }
    for sentence in &prepared.sentences {
        tracing::info!("{sentence}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(root: &Path) -> Paths {
        let paths = Paths::below(root);
        for folder in [&paths.boot, &paths.data, &paths.etc] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(&paths.shipped, "").unwrap();
        paths
    }

    /// A wrong new password must not cost the one by which the camera still gets home.
    #[test]
    fn the_wifi_that_works_is_kept_with_the_password_it_was_joined_by() {
        let root = tempfile::tempdir().unwrap();
        let paths = paths(root.path());
        let worked = ("Hytta".to_owned(), "the old one".to_owned());
        wifi_fallback::remember(&paths, &worked);
        fs::write(paths.boot.join("camera.toml"), "[[wifi]]\nname = \"Hytta\"\npassword = \"mistyped\"\n").unwrap();
        let prepared = prepare(&paths).unwrap();
        let wrong = ("Hytta".to_owned(), "mistyped".to_owned());
        assert_eq!(prepared.networks.as_slice(), [wrong, worked.clone()]);

        // wpa_supplicant could not join the first, and has joined the second.
        let status = "ssid=Hytta\nid=1\nwpa_state=COMPLETED\n";
        let (id, _) = wifi::connected_network(status).unwrap();
        wifi_fallback::remember(&paths, &prepared.networks[id]);
        let second = prepare(&paths).unwrap();
        assert_eq!(second.networks.last(), Some(&worked));
    }
}
