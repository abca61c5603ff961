//! Pure: whether what a server says of itself is good enough to be trusted with a commit.

use std::collections::HashMap;

/// The settings that are asked for.
pub(super) const VARIABLES_QUERY: &str = "SHOW VARIABLES WHERE Variable_name IN ('innodb_flush_log_at_trx_commit', \
     'sync_binlog', 'log_bin', 'innodb_doublewrite', 'innodb_flush_method', 'max_allowed_packet', 'read_only', \
     'super_read_only', 'innodb_read_only', 'wsrep_on', 'group_replication_group_name')";

/// Bytes of a packet beside those of a picture.
const PACKET_ROOM: u64 = 1024 * 1024;

/// The unsafe settings of a server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DurabilityReport {
    /// Nothing may be committed.
    pub(super) unfit: Vec<String>,
    /// A commit may be forgotten in a power cut.
    pub(super) weak: Vec<String>,
}

/// Looks at the settings by name. `capture_bytes_max`: the largest picture that must fit into one packet.
pub(super) fn check(settings: &HashMap<String, String>, capture_bytes_max: u64) -> DurabilityReport {
    let mut findings = DurabilityReport::default();
    let value = |name: &str| settings.get(name).map(String::as_str);
    let is_on = |name: &str| !matches!(value(name), None | Some("OFF" | "0"));
    for name in ["read_only", "super_read_only", "innodb_read_only"] {
        if is_on(name) {
            findings.unfit.push(must_be(name, value(name), "OFF"));
        }
    }
    // Each member of a cluster grants GET_LOCK by itself, so two clouds would both hold the writer lease.
    if is_on("wsrep_on") {
        let found = "wsrep_on is ON (Galera)";
        findings.unfit.push(in_cluster(found));
    }
    if value("group_replication_group_name").is_some_and(|group| !group.is_empty()) {
        let found = "group_replication_group_name is set (group replication)";
        findings.unfit.push(in_cluster(found));
    }
    let packet_min = capture_bytes_max.saturating_add(PACKET_ROOM);
    let packet = value("max_allowed_packet");
    if packet.and_then(|bytes| bytes.parse::<u64>().ok()).is_none_or(|bytes| bytes < packet_min) {
        let least = format!("at least {packet_min}, or capture_bytes_max smaller");
        findings.unfit.push(must_be("max_allowed_packet", packet, &least));
    }
    let mut durable = |name: &str, good: &[&str]| {
        let is = value(name);
        if !is.is_some_and(|is| good.iter().any(|good| is.eq_ignore_ascii_case(good))) {
            findings.weak.push(must_be(name, is, good[0]));
        }
    };
    // 3 is MariaDB's word for 1 with a flush more.
    durable("innodb_flush_log_at_trx_commit", &["1", "3"]);
    // What is in the binary log and not in the tables, or the other way round, is taken out again after a crash.
    if is_on("log_bin") {
        durable("sync_binlog", &["1"]);
    }
    durable("innodb_doublewrite", &["ON", "1", "TRUE", "DETECT_AND_RECOVER", "FAST"]);
    if value("innodb_flush_method").is_some_and(|is| matches!(is, "nosync" | "littlesync")) {
        let is = value("innodb_flush_method");
        findings.weak.push(must_be("innodb_flush_method", is, "fsync or O_DIRECT"));
    }
    findings
}

fn in_cluster(found: &str) -> String {
    format!(
        "the database is a member of a cluster, where two clouds could write at the same time: {found}; use a single \
         server"
    )
}

fn must_be(name: &str, is: Option<&str>, must: &str) -> String {
    let is = is.unwrap_or("unknown");
    format!("the database's setting {name} is {is} and must be {must}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 8] = [
        ("innodb_flush_log_at_trx_commit", "1"),
        ("sync_binlog", "1"),
        ("log_bin", "ON"),
        ("innodb_doublewrite", "ON"),
        ("innodb_flush_method", "O_DIRECT"),
        ("max_allowed_packet", "16777216"),
        ("read_only", "OFF"),
        ("super_read_only", "OFF"),
    ];

    fn check_with(changed: &[(&str, &str)], unfit: &[&str], weak: &[&str]) {
        let settings = GOOD.iter().chain(changed);
        let settings = settings.map(|(name, is)| ((*name).to_owned(), (*is).to_owned()));
        let found = check(&settings.collect(), 15 * 1024 * 1024);
        for (said, expected) in [(&found.unfit, unfit), (&found.weak, weak)] {
            assert_eq!(said.len(), expected.len(), "{changed:?}: {found:?}");
            for (said, expected) in said.iter().zip(expected) {
                assert!(said.contains(expected), "{said} has no {expected}");
            }
        }
    }

    #[test]
    fn a_setting_that_is_not_met_is_named_with_what_it_is_and_must_be() {
        let flush = "innodb_flush_log_at_trx_commit";
        check_with(&[], &[], &[]);
        check_with(&[(flush, "2")], &[], &["innodb_flush_log_at_trx_commit is 2 and must be 1"]);
        check_with(&[(flush, "3")], &[], &[]);
        check_with(&[("sync_binlog", "0")], &[], &["sync_binlog is 0 and must be 1"]);
        check_with(&[("sync_binlog", "0"), ("log_bin", "OFF")], &[], &[]);
        check_with(&[("innodb_doublewrite", "OFF")], &[], &["innodb_doublewrite is OFF"]);
        check_with(&[("innodb_doublewrite", "DETECT_ONLY")], &[], &["DETECT_ONLY"]);
        check_with(&[("innodb_flush_method", "nosync")], &[], &["nosync"]);
        check_with(
            &[("max_allowed_packet", "16777215")],
            &["max_allowed_packet is 16777215 and must be at least 16777216"],
            &[],
        );
        check_with(&[("read_only", "ON")], &["read_only is ON and must be OFF"], &[]);
        check_with(&[("super_read_only", "1")], &["super_read_only is 1"], &[]);
    }

    #[test]
    fn a_member_of_a_cluster_is_refused() {
        let group = "group_replication_group_name";
        // MariaDB without Galera; MySQL without the plugin has neither variable, and with an unconfigured one no name.
        check_with(&[("wsrep_on", "OFF")], &[], &[]);
        check_with(&[(group, "")], &[], &[]);
        check_with(&[("wsrep_on", "ON")], &["wsrep_on is ON"], &[]);
        check_with(&[(group, "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa")], &["group replication"], &[]);
    }

    #[test]
    fn a_server_that_tells_nothing_is_not_trusted() {
        let found = check(&HashMap::new(), 0);
        assert_eq!(found.unfit.len(), 1, "{found:?}");
        assert_eq!(found.weak.len(), 2, "{found:?}");
    }
}
