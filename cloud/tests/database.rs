//! P2 and P3 on MySQL and MariaDB while they are killed, cut off, made read-only, swapped or weakened: what was not
//! committed is an error, what was committed is there once, and nothing is promised that the server cannot keep.

mod harness;

use std::path::Path;
use std::time::Duration;

use keepsake_cloud::auth::Role;
use keepsake_cloud::ingest::operation::{CommitOutcome, IngestOp};
use keepsake_cloud::store::address::{Address, Server};
use keepsake_cloud::store::{
    ClaimLimits, Device, FinishedThumbnail, Limits, PageQuery, Store, StoreError, StoreOptions, Thumbnail,
};
use keepsake_protocol::capture::{CaptureMetadata, Cause, ContentType, FrameHeader};
use keepsake_protocol::{DeviceId, Hash, SpoolId};
use keepsake_testkit::process::free_port;
use keepsake_testkit::servers::database::{Database, Kind, Schema};
use keepsake_testkit::temp_dir::TempDir;
use keepsake_testkit::test_ca::{TestCa, Validity};
use mysql::prelude::Queryable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const NOW: i64 = 1_800_000_000_000_000;
const BACK_WITHIN: Duration = Duration::from_secs(40);
const DURABILITY: &str = "innodb_flush_log_at_trx_commit is 2 and must be 1";

/// Each of these once on either server, with what the function before them sets up.
macro_rules! on_both {
    ($($set_up:ident: $($test:ident),+;)+) => {
        on_both!(mod mariadb, MariaDb: $($set_up: $($test),+;)+);
        on_both!(mod mysql_server, MySql: $($set_up: $($test),+;)+);
    };
    (mod $server:ident, $kind:ident: $($set_up:ident: $($test:ident),+;)+) => {
        mod $server {
            $($(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                if let Some(set_up) = super::$set_up(keepsake_testkit::servers::database::Kind::$kind) {
                    super::$test(set_up).await;
                }
            })+)+
        }
    };
}

on_both!(
    shared_schema:
        nothing_is_committed_to_another_store_at_the_same_address,
        a_commit_whose_answer_is_lost_is_not_believed_and_not_doubled,
        one_cloud_writes_and_another_waits,
        writers_at_once_store_each_picture_once_and_mark_what_conflicts,
        an_owner_is_made_beside_the_cloud_that_leads,
        a_migration_that_died_halfway_is_finished,
        tables_of_a_newer_program_are_left_alone,
        tables_of_a_development_version_are_left_alone,
        a_table_that_does_not_survive_a_crash_is_named;
    own_server:
        a_killed_server_is_come_back_to,
        connections_that_are_cut_lose_and_double_nothing,
        nothing_is_committed_to_a_read_only_server,
        lists_read_no_bytes_and_no_more_rows_than_they_show,
        the_cloud_answers_before_its_database_is_there_and_after_it_was_killed;
    only_the_kind:
        nothing_is_committed_to_a_server_that_may_forget_it,
        a_server_is_spoken_to_by_tls_and_only_the_right_one;
);

async fn a_killed_server_is_come_back_to((_folder, mut server, url): Private) {
    let store = open(&url).await.unwrap();
    store.commit(&[capture(1)], NOW).await.unwrap();
    server.kill();
    let error = store.commit(&[capture(2)], NOW).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    server.start();
    assert_eq!(commit_at_last(&store, 1).await, repeat(1));
    assert!(matches!(commit_at_last(&store, 2).await, CommitOutcome::Stored { .. }));
    assert_eq!(stored(&store).await, [1, 2]);
    store.close().await;
}

async fn connections_that_are_cut_lose_and_double_nothing((_folder, server, url): Private) {
    const CAPTURES: u64 = 40;
    let store = open(&url).await.unwrap();
    let cutting = tokio::task::spawn_blocking(move || {
        let mut cut = 0;
        for _ in 0..25 {
            cut += server.kill_connections();
            std::thread::sleep(Duration::from_millis(40));
        }
        (server, cut)
    });
    for number in 1..=CAPTURES {
        commit_at_last(&store, number).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (_server, cut) = cutting.await.unwrap();
    assert!(cut > 5, "cut {cut} connections");
    assert_eq!(stored(&store).await, (1..=CAPTURES).collect::<Vec<_>>());
    let device = store.device(&porch(), NOW).await.unwrap().unwrap();
    assert_eq!(device.counters.stored, CAPTURES);
    assert_eq!(device.conflicts, 0);
    store.close().await;
}

async fn nothing_is_committed_to_a_server_that_may_forget_it(kind: Kind) {
    let folder = TempDir::new("database-weak");
    let weak = ["--innodb-flush-log-at-trx-commit=2"];
    let Some((server, url)) = private(kind, &folder, &weak) else {
        return;
    };
    let error = open(&url).await.unwrap_err();
    assert!(error.sentence().contains(DURABILITY), "{error:?}");
    let tables: Vec<String> = server.connect("keepsake").query("SHOW TABLES").unwrap();
    assert_eq!(tables, Vec::<String>::new());

    let place = StoreOptions { allow_unsafe_durability: true, ..place(&url) };
    let accepted = Store::open(place, Limits::default()).await.unwrap();
    let said = accepted.weaknesses();
    assert!(said.len() == 1 && said[0].contains(DURABILITY), "{said:?}");
    accepted.commit(&[capture(1)], NOW).await.unwrap();
    accepted.close().await;

    // And it is noticed while it runs, as anyone may change it then.
    server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1");
    let store = open(&url).await.unwrap();
    server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2");
    let began = std::time::Instant::now();
    let error = loop {
        match store.commit(&[capture(2)], NOW).await {
            Err(error) => break error,
            Ok(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
        assert!(began.elapsed() < Duration::from_secs(15), "not noticed");
    };
    assert!(error.sentence().contains(DURABILITY), "{error:?}");
    server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1");
    commit_at_last(&store, 3).await;
    assert_eq!(store.weaknesses(), Vec::<String>::new());
    store.close().await;
}

async fn nothing_is_committed_to_a_read_only_server((_folder, server, url): Private) {
    let store = open(&url).await.unwrap();
    store.commit(&[capture(1)], NOW).await.unwrap();
    server.execute("SET GLOBAL read_only = 1");
    server.kill_connections();
    // The first finds its connection cut.
    let _ = store.commit(&[capture(2)], NOW).await;
    let error = store.commit(&[capture(2)], NOW).await.unwrap_err();
    assert!(error.sentence().contains("read_only is ON and must be OFF"), "{error:?}");
    assert_eq!(stored(&store).await, [1]);
    server.execute("SET GLOBAL read_only = 0");
    commit_at_last(&store, 2).await;
    assert_eq!(stored(&store).await, [1, 2]);
    store.close().await;
}

async fn nothing_is_committed_to_another_store_at_the_same_address(schema: Schema) {
    let store = open(&schema.url()).await.unwrap();
    store.commit(&[capture(1)], NOW).await.unwrap();
    let mut witness = schema.connect();
    let id = hex::encode(store.id().0);
    witness
        .query_drop("UPDATE store_meta SET value = REPEAT('x', 16) WHERE name = 'store'")
        .unwrap();
    cut(&mut witness, schema.name());
    let _ = store.commit(&[capture(2)], NOW).await;
    let error = store.commit(&[capture(2)], NOW).await.unwrap_err();
    assert!(error.sentence().contains("not the one it began with"), "{error:?}");
    // Nor is anything of it shown.
    store.pictures_arrived_after(0, 10).await.unwrap_err();
    witness
        .query_drop(format!("UPDATE store_meta SET value = X'{id}' WHERE name = 'store'"))
        .unwrap();
    commit_at_last(&store, 3).await;
    assert_eq!(stored(&store).await, [1, 3]);
    store.close().await;
}

async fn a_commit_whose_answer_is_lost_is_not_believed_and_not_doubled(schema: Schema) {
    for (number, lost) in [(1, Lost::Answer), (2, Lost::Question)] {
        let (port, cutter) = Cutter::start(&schema.url(), lost).await;
        let through = with_port(&schema.url(), port);
        let store = open(&through).await.unwrap();
        cutter.arm();
        store.commit(&[capture(number)], NOW).await.unwrap_err();
        assert!(cutter.has_cut(), "{lost:?}");
        let mut witness = schema.connect();
        let mut there = || -> Option<u64> {
            let counted = format!("SELECT COUNT(*) FROM picture WHERE sequence = {number}");
            witness.query_first(counted).unwrap()
        };
        match lost {
            // The server may still be about to do what it was told.
            Lost::Answer => {
                let began = std::time::Instant::now();
                while there() != Some(1) {
                    assert!(began.elapsed() < BACK_WITHIN, "the server never committed");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Lost::Question => assert_eq!(there(), Some(0)),
        }
        commit_at_last(&store, number).await;
        let all = stored(&store).await;
        assert_eq!(all, (1..=number).collect::<Vec<_>>());
        store.close().await;
    }
}

async fn one_cloud_writes_and_another_waits(schema: Schema) {
    let first = open(&schema.url()).await.unwrap();
    first.commit(&[capture(1)], NOW).await.unwrap();
    let error = open(&schema.url()).await.unwrap_err();
    assert!(matches!(error, StoreError::AnotherWriter), "{error:?}");
    first.commit(&[capture(2)], NOW).await.unwrap();
    first.close().await;
    let second = open(&schema.url()).await.unwrap();
    assert_eq!(second.commit(&[capture(2)], NOW).await.unwrap(), [repeat(2)]);
    second.close().await;
}

/// The way of `cloud user create`.
async fn writers_at_once_store_each_picture_once_and_mark_what_conflicts(schema: Schema) {
    const WRITERS: u64 = 3;
    let first = open(&schema.url()).await.unwrap();
    let mut stores = vec![first.clone()];
    for _ in 1..WRITERS {
        stores.push(Store::open_secondary(place(&schema.url()), Limits::default()).await.unwrap());
    }
    for round in 1..=20 {
        // Copies of one card in several cameras: all bring the same picture, and each one of its own with the same number.
        let batches = (1..=WRITERS).map(|writer| {
            let own = capture_of(round, bytes(1000 * round + writer));
            let mut batch = vec![capture(round), own];
            batch.rotate_left(usize::try_from(writer % 2).unwrap());
            batch
        });
        let outcomes = commit_at_once(&stores, batches).await;
        let new = outcomes.iter().flatten().filter(|outcome| **outcome != repeat(round));
        assert_eq!(new.count() as u64, WRITERS + 1, "{round}: {outcomes:?}");
    }
    // Spools that nobody has heard of, and nothing else in common.
    for spool in 100..110 {
        let batches = (1..=WRITERS).map(|writer| {
            let mut own = capture_of(1, bytes(100_000 * u64::from(spool) + writer));
            if let IngestOp::Capture { header, .. } = &mut own {
                header.capture.spool = SpoolId([spool; 16]);
            }
            vec![own]
        });
        commit_at_once(&stores, batches).await;
    }
    let all = first.pictures_arrived_after(0, 500).await.unwrap();
    for round in 1..=20 {
        let of_round = all
            .iter()
            .filter(|picture| picture.capture == capture(round).receipt_id().unwrap().capture);
        let conflicts: Vec<bool> = of_round.map(|picture| picture.conflict).collect();
        assert_eq!(conflicts, [false, true, true, true], "{round}");
    }
    let devices = first.devices(NOW).await.unwrap();
    let sum = |of: fn(&Device) -> u64| devices.iter().map(of).sum::<u64>();
    let counted = (devices.len(), sum(|device| device.counters.stored), sum(|device| device.conflicts));
    let stored = 20 * (WRITERS + 1) + 10 * WRITERS;
    assert_eq!(counted, (3, stored, 20 * WRITERS + 10 * (WRITERS - 1)));
    assert_eq!(first.picture_count(None).await.unwrap(), stored);
}

/// Commits a batch of each writer, as a camera of its own, all at once and until none loses a race.
async fn commit_at_once(stores: &[Store], batches: impl Iterator<Item = Vec<IngestOp>>) -> Vec<Vec<CommitOutcome>> {
    let commits = stores.iter().zip(batches).enumerate().map(|(writer, (store, mut batch))| async move {
        for operation in &mut batch {
            if let IngestOp::Capture { device, .. } = operation {
                *device = format!("copy-{writer}").parse().unwrap();
            }
        }
        let began = std::time::Instant::now();
        loop {
            match store.commit(&batch, NOW).await {
                Ok(outcomes) => return outcomes,
                Err(error) => assert!(error.is_race() && began.elapsed() < BACK_WITHIN, "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5 * (writer as u64 + 1))).await;
        }
    });
    futures_util::future::join_all(commits).await
}

async fn an_owner_is_made_beside_the_cloud_that_leads(schema: Schema) {
    let leader = open(&schema.url()).await.unwrap();
    let beside = Store::open_secondary(place(&schema.url()), Limits::default()).await.unwrap();
    assert_eq!(beside.id(), leader.id());
    let ada = "ada".parse::<keepsake_cloud::auth::UserName>().unwrap();
    beside.add_user(&ada, Role::Owner, None, NOW).await.unwrap();
    beside.close().await;
    let people = leader.users().await.unwrap();
    assert_eq!(people.len(), 1);
    assert_eq!((people[0].name.as_str(), people[0].role), ("ada", Role::Owner));
    leader.commit(&[capture(1)], NOW).await.unwrap();
    leader.close().await;
}

async fn a_server_is_spoken_to_by_tls_and_only_the_right_one(kind: Kind) {
    let folder = TempDir::new("database-tls");
    let authority = TestCa::new(&folder.join("ours"), "Keepsake CA");
    let stranger = TestCa::new(&folder.join("stranger"), "another CA");
    let server = authority.server("server", &["127.0.0.1"], Validity::Now);
    let flag = |name: &str, file: &Path| format!("--ssl-{name}={}", file.display());
    let flags = [
        flag("ca", &authority.certificate()),
        flag("cert", &server.certificate),
        flag("key", &server.key),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let Some((mut server, url)) = private(kind, &folder, &flags) else {
        return;
    };
    server.execute("SET GLOBAL require_secure_transport = ON");
    let by = |mode: &str, ca: &TestCa| format!("{url}?ssl-mode={mode}&ssl-ca={}", ca.certificate().display());
    let store = open(&by("verify_identity", &authority)).await.unwrap();
    store.commit(&[capture(1)], NOW).await.unwrap();
    assert_eq!(stored(&store).await, [1]);
    store.close().await;
    for wrong in [by("verify_ca", &stranger), format!("{url}?ssl-mode=disabled")] {
        let error = open(&wrong).await.unwrap_err();
        assert!(!format!("{error:?}").contains("only-for-tests"), "{error:?}");
    }
    server.kill();
}

async fn a_migration_that_died_halfway_is_finished(schema: Schema) {
    let store = open(&schema.url()).await.unwrap();
    store.commit(&[capture(1)], NOW).await.unwrap();
    store.close().await;
    let mut witness = schema.connect();
    for statement in [
        // Created some of the tables, and died before the rest.
        "DROP TABLE thumbnail",
        "UPDATE _sqlx_migrations SET success = FALSE",
    ] {
        witness.query_drop(statement).unwrap();
    }
    let again = open(&schema.url()).await.unwrap();
    assert_eq!(stored(&again).await, [1]);
    let small = FinishedThumbnail {
        arrival: 1,
        state: Thumbnail::Ready,
        jpeg: Some(b"small".to_vec()),
        color: None,
        damaged: false,
    };
    let limits = ClaimLimits { pictures_max: 1, bytes_max: 1, attempts_max: 1 };
    again.next_thumbnails(&[small], &[], limits).await.unwrap();
    assert_eq!(again.thumbnail(1).await.unwrap().as_deref(), Some(b"small".as_slice()));
    let open: Option<u64> = witness.query_first("SELECT COUNT(*) FROM _sqlx_migrations WHERE NOT success").unwrap();
    assert_eq!(open, Some(0));
    again.close().await;
}

async fn tables_of_a_newer_program_are_left_alone(schema: Schema) {
    open(&schema.url()).await.unwrap().close().await;
    schema
        .connect()
        .query_drop(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'of tomorrow', TRUE, 'x', 0)",
        )
        .unwrap();
    let error = open(&schema.url()).await.unwrap_err();
    assert!(matches!(error, StoreError::SchemaTooNew(9999)), "{error:?}");
    assert!(error.to_string().contains("newer version"), "{error}");
}

async fn tables_of_a_development_version_are_left_alone(schema: Schema) {
    open(&schema.url()).await.unwrap().close().await;
    for success in ["TRUE", "FALSE"] {
        let statement = format!("UPDATE _sqlx_migrations SET version = 64, success = {success}");
        schema.connect().query_drop(statement).unwrap();
        let error = open(&schema.url()).await.unwrap_err();
        assert!(matches!(error, StoreError::SchemaTooOld), "{error:?}");
        assert!(!error.is_transient(), "no later attempt can succeed");
    }
}

async fn a_table_that_does_not_survive_a_crash_is_named(schema: Schema) {
    open(&schema.url()).await.unwrap().close().await;
    let statement = "ALTER TABLE event ENGINE = MyISAM";
    schema.connect().query_drop(statement).unwrap();
    let error = open(&schema.url()).await.unwrap_err();
    let sentence = error.sentence();
    assert!(sentence.contains("event is kept by MyISAM"), "{sentence}");
}

/// Counted by the server itself, so that no clock is in it.
async fn lists_read_no_bytes_and_no_more_rows_than_they_show((_folder, server, url): Private) {
    const FEW: u64 = 200;
    const MANY: u64 = 2_000;
    let store = open(&url).await.unwrap();
    let mut read = Vec::new();
    let mut next = 1;
    for upto in [FEW, MANY] {
        let numbers: Vec<u64> = (next..=upto).collect();
        for some in numbers.chunks(50) {
            let batch: Vec<IngestOp> = some.iter().map(|number| capture(*number)).collect();
            store.commit(&batch, NOW).await.unwrap();
        }
        next = upto + 1;
        // Statements are prepared, and what the server remembers of the tables is read.
        lists(&store).await;
        let mut witness = server.connect("keepsake");
        for table in ["picture", "fate", "device", "install"] {
            witness.query_drop(format!("ANALYZE TABLE {table}")).unwrap();
        }
        let before = rows_read(&mut witness);
        let nothing = rows_read(&mut witness) - before;
        let before = rows_read(&mut witness);
        lists(&store).await;
        read.push(rows_read(&mut witness) - before - nothing);
    }
    println!("{}: {read:?} rows read for {FEW} and {MANY} pictures", server.version());
    assert!(read[0] > 0 && read[1] <= read[0] + 20, "{read:?}");

    // None of them asks for bytes: there are none now.
    let mut witness = server.connect("keepsake");
    witness.query_drop("DROP TABLE picture_bytes, thumbnail").unwrap();
    lists(&store).await;
    store.image(1).await.unwrap_err();
    store.close().await;
}

/// The queries of pages and the API that show many rows.
async fn lists(store: &Store) {
    let porch = porch();
    for device in [None, Some(&porch)] {
        let newest = store.pictures(device, PageQuery::Before(None), 30).await.unwrap();
        assert_eq!(newest.len(), 30);
        let cursor = newest[29].cursor();
        assert_eq!(store.pictures(device, PageQuery::Before(Some(cursor)), 30).await.unwrap().len(), 30);
        assert_eq!(store.pictures(device, PageQuery::After(cursor), 29).await.unwrap().len(), 29);
        assert!(store.picture_count(device).await.unwrap() >= 200);
    }
    assert_eq!(store.pictures_arrived_after(50, 30).await.unwrap().len(), 30);
    assert_eq!(store.devices(NOW).await.unwrap().len(), 1);
    store.presences(NOW).await.unwrap();
    store.commands(&porch, 20).await.unwrap();
    store.tombstones(&porch, 20).await.unwrap();
    store.faults(&porch, 20).await.unwrap();
}

fn rows_read(witness: &mut mysql::Conn) -> u64 {
    let all: Vec<(String, u64)> = witness.query("SHOW GLOBAL STATUS LIKE 'Handler_read%'").unwrap();
    all.into_iter().map(|(_, read)| read).sum()
}

async fn the_cloud_answers_before_its_database_is_there_and_after_it_was_killed((_folder, mut server, url): Private) {
    server.kill();
    let port = free_port();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let data = tempfile::tempdir().unwrap();
    let listen = address.to_string();
    let more = ["--listen", &listen, "--database", &url];
    let starting = harness::Cloud::start_in(data, &more);
    let meanwhile = async {
        let reasons = says(address, "not").await;
        assert!(reasons.contains("does not answer") || reasons.contains("not reached"), "{reasons}");
        let (status, _) = harness::request(address, "GET", "/healthz", "", b"").await;
        assert_eq!(status, 200);
        let (status, problem) = harness::request(address, "GET", "/api/v1/pictures", "", b"").await;
        assert_eq!(status, 503, "{problem}");
        assert!(problem.contains("about:blank"), "{problem}");
        tokio::task::spawn_blocking(move || {
            server.start();
            server
        })
        .await
        .unwrap()
    };
    let (cloud, mut server) = tokio::join!(starting, meanwhile);
    answers(address, 200, "").await;
    let mut camera = harness::Camera::connect(&cloud, "porch", 1).await;
    let one = harness::photograph(1);
    camera.send(1, &one).await;
    camera.stored(&[(1, Hash::of(&one))]).await;

    server.kill();
    let two = harness::photograph(2);
    camera.send(2, &two).await;
    let reasons = says(address, "does not answer").await;
    assert!(!reasons.contains("only-for-tests"), "{reasons}");
    let mut server = tokio::task::spawn_blocking(move || {
        server.set_flags(&["--innodb-flush-log-at-trx-commit=2"]);
        server.start();
        server
    })
    .await
    .unwrap();
    says(address, DURABILITY).await;
    let (_, page) = harness::request(address, "GET", "/", "", b"").await;
    assert!(page.contains(DURABILITY), "{page}");
    let pictures: Option<u64> = server.connect("keepsake").query_first("SELECT COUNT(*) FROM picture").unwrap();
    assert_eq!(pictures, Some(1));
    server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1");
    camera.stored(&[(2, Hash::of(&two))]).await;
    answers(address, 200, "").await;
    cloud.stop().await;
    server.stop();
}

/// Waits until `/readyz` gives a reason with this in it, and returns the whole answer.
async fn says(address: std::net::SocketAddr, part: &str) -> String {
    answers(address, 503, part).await
}

async fn answers(address: std::net::SocketAddr, expected: u16, part: &str) -> String {
    let began = std::time::Instant::now();
    loop {
        if TcpStream::connect(address).await.is_ok() {
            let (status, said) = harness::request(address, "GET", "/readyz", "", b"").await;
            if status == expected && said.contains(part) {
                return said;
            }
            assert!(began.elapsed() < BACK_WITHIN, "{part} is not said: {said}");
        }
        assert!(began.elapsed() < BACK_WITHIN, "{part} is not said");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn only_the_kind(kind: Kind) -> Option<Kind> {
    Some(kind)
}

type Private = (TempDir, Database, String);

fn own_server(kind: Kind) -> Option<Private> {
    let folder = TempDir::new("database");
    let (server, url) = private(kind, &folder, &[])?;
    Some((folder, server, url))
}

/// A server of its own with an empty database, and its URL.
fn private(kind: Kind, folder: &Path, flags: &[&str]) -> Option<(Database, String)> {
    let test = std::thread::current();
    let mut server = Database::or_skip(test.name().unwrap_or("a test"), kind, folder)?;
    server.set_flags(flags);
    server.start();
    let url = server.create_schema("keepsake");
    Some((server, url))
}

fn shared_schema(kind: Kind) -> Option<Schema> {
    let test = std::thread::current();
    Database::shared_schema(test.name().unwrap_or("a test"), kind)
}

fn place(url: &str) -> StoreOptions {
    StoreOptions {
        // No test here sends a part.
        data: "/nonexistent".into(),
        address: Address::Server(Server::parse(url).unwrap()),
        capture_bytes_max: 15 * 1024 * 1024,
        allow_unsafe_durability: false,
    }
}

async fn open(url: &str) -> Result<Store, StoreError> {
    Store::open(place(url), Limits::default()).await
}

/// Commits one capture, however often it takes.
async fn commit_at_last(store: &Store, number: u64) -> CommitOutcome {
    let began = std::time::Instant::now();
    loop {
        match store.commit(&[capture(number)], NOW).await {
            Ok(mut outcomes) => return outcomes.pop().unwrap(),
            Err(error) => assert!(began.elapsed() < BACK_WITHIN, "{number}: {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The sequences of all pictures, in the order of their arrival, each as often as it is there.
async fn stored(store: &Store) -> Vec<u64> {
    let began = std::time::Instant::now();
    loop {
        // Connections for reading come back by themselves, too.
        match store.pictures_arrived_after(0, 500).await {
            Ok(all) => return all.iter().map(|one| one.capture.sequence.get()).collect(),
            Err(error) => assert!(began.elapsed() < BACK_WITHIN, "{error:?}"),
        }
    }
}

fn porch() -> DeviceId {
    "porch".parse().unwrap()
}

fn bytes(number: u64) -> Vec<u8> {
    number.to_be_bytes().repeat(1000)
}

fn capture(number: u64) -> IngestOp {
    capture_of(number, bytes(number))
}

fn capture_of(number: u64, bytes: Vec<u8>) -> IngestOp {
    IngestOp::Capture {
        device: porch(),
        header: FrameHeader {
            capture: CaptureMetadata {
                spool: SpoolId([7; 16]),
                sequence: number.try_into().unwrap(),
                hash: Hash::of(&bytes),
                total: bytes.len() as u64,
                content_type: ContentType::Jpeg,
                width: 4,
                height: 3,
                cause: Cause::Button,
                command: None,
                pressed: harness::moment(),
                captured_after_us: 10,
                settings_version: 0,
            },
            offset: 0,
            len: bytes.len() as u64,
            attempt: 0,
            saved_after_us: Some(20),
            sent_after_us: Some(30),
            not_before_us: None,
        },
        bytes: bytes.into(),
    }
}

fn repeat(number: u64) -> CommitOutcome {
    let id = capture(number).receipt_id().unwrap();
    CommitOutcome::Stored { id, arrival: None }
}

/// Cuts every connection to one database.
fn cut(witness: &mut mysql::Conn, database: &str) {
    let all: Vec<u64> = witness
        .query(format!(
            "SELECT id FROM information_schema.processlist WHERE db = '{database}' AND id <> CONNECTION_ID()"
        ))
        .unwrap();
    assert!(!all.is_empty());
    for id in all {
        let _ = witness.query_drop(format!("KILL {id}"));
    }
}

fn with_port(url: &str, port: u16) -> String {
    let (before, name) = url.rsplit_once('/').unwrap();
    let (before, _) = before.rsplit_once(':').unwrap();
    format!("{before}:{port}/{name}")
}

/// The part of a COMMIT that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// The server commits, and nobody hears of it.
    Answer,
    /// The server never hears of it.
    Question,
}

/// A way to the server that breaks once, at a COMMIT.
struct Cutter(std::sync::Arc<std::sync::atomic::AtomicU8>);

const IDLE: u8 = 0;
const ARMED: u8 = 1;
const CUT: u8 = 2;

impl Cutter {
    async fn start(url: &str, lost: Lost) -> (u16, Self) {
        let (before, _) = url.rsplit_once('/').unwrap();
        let (_, host) = before.rsplit_once('@').unwrap();
        let host = host.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = std::sync::Arc::new(std::sync::atomic::AtomicU8::new(IDLE));
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&host).await.unwrap();
                tokio::spawn(pass(client, server, lost, shared.clone()));
            }
        });
        (port, Self(state))
    }

    fn arm(&self) {
        self.0.store(ARMED, std::sync::atomic::Ordering::SeqCst);
    }

    fn has_cut(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::SeqCst) == CUT
    }
}

async fn pass(client: TcpStream, server: TcpStream, lost: Lost, state: std::sync::Arc<std::sync::atomic::AtomicU8>) {
    use std::sync::atomic::Ordering::SeqCst;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (cut_tx, mut cut) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = tokio::select! {
                read = from_server.read(&mut buffer) => read.unwrap_or(0),
                // Both ends are closed by letting go of them.
                _ = &mut cut => return,
            };
            if read == 0 || to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from_client.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return;
        }
        // A COMMIT is a message of its own: length 7, sequence 0, COM_QUERY.
        if buffer[..read] == *b"\x07\0\0\0\x03COMMIT" && state.compare_exchange(ARMED, CUT, SeqCst, SeqCst).is_ok() {
            let _ = cut_tx.send(());
            if lost == Lost::Answer {
                to_server.write_all(&buffer[..read]).await.unwrap();
                // Nothing is read of what it says; when it has said it, it is done.
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            return;
        }
        if to_server.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
