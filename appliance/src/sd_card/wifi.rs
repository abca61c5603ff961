//! The configuration and status of wpa_supplicant.

use std::fmt::Write as _;

use crate::settings::Network;

/// The country code for channels that are allowed everywhere.
const NOWHERE: &str = "00";

/// Returns the configuration of wpa_supplicant, which contains passwords.
pub(super) fn configuration(networks: &[(Network, u32)], country: Option<&str>) -> String {
    let mut text = format!(
        "ctrl_interface=DIR=/run/wpa_supplicant\nupdate_config=0\ncountry={}\n",
        country.unwrap_or(NOWHERE)
    );
    for (network, priority) in networks {
        let password = &network.password;
        let key = match password.len() {
            0 => "key_mgmt=NONE".to_owned(),
            64 => format!("psk={password}"),
            // From the first quote to the last one of the line, so it may hold some.
            _ => {
                format!("psk=\"{password}\"\n\tkey_mgmt=WPA-PSK WPA-PSK-SHA256 SAE\n\tieee80211w=1")
            }
        };
        let name = hex::encode(&network.name);
        let _ = write!(text, "network={{\n\tssid={name}\n\tscan_ssid=1\n\t{key}\n\tpriority={priority}\n}}\n");
    }
    text
}

/// Returns the networks that refused the password, each once, from the log of wpa_supplicant.
pub(super) fn refused_networks(log: &str) -> Vec<String> {
    let mut refused: Vec<String> = Vec::new();
    for line in log.lines() {
        // ... CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid="Hytta" auth_failures=1 duration=10 reason=WRONG_KEY
        let Some((_, rest)) = line.split_once("CTRL-EVENT-SSID-TEMP-DISABLED") else {
            continue;
        };
        let name = rest.split_once("ssid=\"").and_then(|(_, rest)| rest.split_once("\" auth_failures"));
        if let Some((name, rest)) = name
            && rest.contains("reason=WRONG_KEY")
            && !refused.iter().any(|other| other == name)
        {
            refused.push(name.to_owned());
        }
    }
    refused
}

/// Number and name of the network that is joined, from `wpa_cli status`. Numbers count the networks of
/// [`configuration`] from 0; two may have one name, and another password each.
pub(super) fn connected_network(status: &str) -> Option<(usize, &str)> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    if field("wpa_state") != Some("COMPLETED") {
        return None;
    }
    Some((field("id")?.parse().ok()?, field("ssid")?))
}

/// Names and strengths (dBm) of what is in reach, the strongest first, each name once, from `wpa_cli scan_results`.
pub(super) fn visible_networks(scan: &str) -> Vec<(String, i32)> {
    let mut found: Vec<(String, i32)> = Vec::new();
    for line in scan.lines() {
        // bssid, frequency, strength, flags, name
        let fields: Vec<&str> = line.split('\t').collect();
        let [_, _, strength, _, name] = fields[..] else {
            continue;
        };
        if let Ok(strength) = strength.parse::<i32>()
            && !name.is_empty()
        {
            found.push((name.to_owned(), strength));
        }
    }
    found.sort_by_key(|(name, strength)| (std::cmp::Reverse(*strength), name.clone()));
    let mut names = std::collections::BTreeSet::new();
    found.retain(|(name, _)| names.insert(name.clone()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, password: &str) -> Network {
        Network { name: name.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn no_name_or_password_can_break_out_of_its_line() {
        let text = configuration(
            &[
                (network("a\"}\nb", "say \"hi\" now"), 10),
                (network("open", ""), 10),
                (network("key", &"0f".repeat(32)), 1),
            ],
            Some("NO"),
        );
        assert!(text.contains("country=NO\n"));
        assert!(text.contains("\tssid=61227d0a62\n"));
        assert!(text.contains("\tpsk=\"say \"hi\" now\"\n"));
        assert!(text.contains("\tkey_mgmt=NONE\n"));
        assert!(text.contains(&format!("\tpsk={}\n", "0f".repeat(32))));
        assert_eq!(text.matches("network={").count(), 3);
        assert!(configuration(&[], None).contains("country=00"));
    }

    #[test]
    fn what_wpa_supplicant_says_is_understood() {
        let log = "wlan0: CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid=\"Hytta\" auth_failures=1 duration=10 reason=WRONG_KEY\n\
                   wlan0: CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid=\"Hytta\" auth_failures=2 duration=20 reason=WRONG_KEY\n\
                   wlan0: CTRL-EVENT-SSID-TEMP-DISABLED id=1 ssid=\"Other\" auth_failures=1 duration=10 reason=CONN_FAILED\n";
        assert_eq!(refused_networks(log), ["Hytta"]);
        assert_eq!(connected_network("bssid=1\nssid=Hytta\nid=2\nwpa_state=COMPLETED\n"), Some((2, "Hytta")));
        assert_eq!(connected_network("ssid=Hytta\nid=2\nwpa_state=SCANNING\n"), None);
        let scan = "bssid / frequency / signal level / flags / ssid\n\
                    00:11\t2412\t-80\t[WPA2]\tNaboen\n00:12\t2412\t-61\t[WPA2]\tHytta\n00:13\t5180\t-70\t[WPA2]\tHytta\n00:14\t2412\t-50\t[WPA2]\t\n";
        assert_eq!(visible_networks(scan), [("Hytta".to_owned(), -61), ("Naboen".to_owned(), -80)]);
    }
}
