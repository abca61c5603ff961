//! The private database servers of the tests are durable, and have the same data after a kill.

use keepsake_provision::servers::database::{Database, Kind};
use keepsake_provision::temp_dir::TempDir;
use mysql::prelude::Queryable;

#[test]
fn a_killed_mariadb_keeps_its_commits() {
    killed_and_restarted("database-mariadb", Kind::MariaDb);
}

#[test]
fn a_killed_mysql_keeps_its_commits() {
    killed_and_restarted("database-mysql", Kind::MySql);
}

fn killed_and_restarted(name: &str, kind: Kind) {
    let folder = TempDir::new(name);
    let Some(mut server) = Database::or_skip(name, kind, &folder) else {
        return;
    };
    server.start();
    println!("{name}: {}", server.version());
    assert_eq!(server.version().contains("MariaDB"), kind == Kind::MariaDb);
    server.create_schema("kept");
    let mut client = server.connect("kept");
    client.query_drop("CREATE TABLE t (n INT)").unwrap();
    client.query_drop("INSERT INTO t VALUES (7)").unwrap();
    assert_eq!(flush_setting(&server), "1");
    server.kill();
    assert!(client.query_drop("SELECT 1").is_err());

    server.set_flags(&["--innodb-flush-log-at-trx-commit=2"]);
    server.start();
    let mut open = server.connect("kept");
    let kept: Option<i64> = open.query_first("SELECT n FROM t").unwrap();
    assert_eq!(kept, Some(7));
    assert_eq!(flush_setting(&server), "2");
    assert_eq!(server.kill_connections(), 1);
    server.stop();
}

fn flush_setting(server: &Database) -> String {
    let setting: Option<String> = server.connect("").query_first("SELECT @@innodb_flush_log_at_trx_commit").unwrap();
    setting.expect("every server has this setting")
}

#[test]
fn tests_share_a_server_but_no_schema() {
    for kind in [Kind::MariaDb, Kind::MySql] {
        let (Some(one), Some(other)) = (
            Database::shared_schema("shared server", kind),
            Database::shared_schema("shared server", kind),
        ) else {
            continue;
        };
        one.connect().query_drop("CREATE TABLE t (n INT)").unwrap();
        let elsewhere: Vec<String> = other.connect().query("SHOW TABLES").unwrap();
        assert_eq!(elsewhere, Vec::<String>::new());
    }
}
