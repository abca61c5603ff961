//! One contract, three kinds of store: every test of `store/contract.rs` once on each, in a database of its own.

#![expect(clippy::duplicate_mod, reason = "the same tests on every store is what this is for")]

#[path = "store"]
mod sqlite {
    use keepsake_cloud::store::StoreOptions;

    mod contract;

    const CASES: u32 = 24;

    struct Empty(tempfile::TempDir);

    impl Empty {
        fn place(&self) -> StoreOptions {
            self.0.path().into()
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "the other stores may not be there")]
    fn empty() -> Option<Empty> {
        Some(Empty(tempfile::tempdir().unwrap()))
    }
}

#[path = "store"]
mod mariadb {
    use keepsake_testkit::servers::database::Kind;

    mod contract;

    use super::server::Empty;

    /// A server takes its time to create that number of tables again.
    const CASES: u32 = 6;

    fn empty() -> Option<Empty> {
        Empty::new(Kind::MariaDb)
    }
}

#[path = "store"]
mod mysql {
    use keepsake_testkit::servers::database::Kind;

    mod contract;

    use super::server::Empty;

    /// A server takes its time to create that number of tables again.
    const CASES: u32 = 6;

    fn empty() -> Option<Empty> {
        Empty::new(Kind::MySql)
    }
}

mod server {
    use keepsake_cloud::store::StoreOptions;
    use keepsake_cloud::store::address::{Address, Server};
    use keepsake_testkit::servers::database::{Database, Kind, Schema};

    /// An empty database on a server, for one test alone.
    pub(crate) struct Empty(Schema, tempfile::TempDir);

    impl Empty {
        pub(crate) fn new(kind: Kind) -> Option<Self> {
            // The test runner names a thread like its test.
            let test = std::thread::current();
            let schema = Database::shared_schema(test.name().unwrap_or("a test of the store"), kind)?;
            Some(Self(schema, tempfile::tempdir().unwrap()))
        }

        pub(crate) fn place(&self) -> StoreOptions {
            let server = Server::parse(&self.0.url()).unwrap();
            StoreOptions {
                address: Address::Server(server),
                data: self.1.path().to_owned(),
                // What fits into the packets of a MariaDB as it comes.
                capture_bytes_max: 15 * 1024 * 1024,
                allow_unsafe_durability: false,
            }
        }
    }
}
