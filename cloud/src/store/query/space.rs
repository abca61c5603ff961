//! The space inside the database file that deleted pictures have left.

use crate::store::address::Address;
use crate::store::bind::from_bigint;
use crate::store::error::Result;
use crate::store::open::Store;
use crate::store::statement::sql;

impl Store {
    /// Returns the bytes that new pictures can use without growing the database file: the free pages of SQLite. Zero
    /// for a database server, which may be on another disk.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the database does not answer.
    pub async fn reusable_bytes(&self) -> Result<u64> {
        if matches!(self.connector.address(), Address::Server(_)) {
            return Ok(0);
        }
        let bytes = sql("SELECT CAST(f.freelist_count * p.page_size AS INTEGER) \
             FROM pragma_freelist_count AS f, pragma_page_size AS p")
        .value(self, "count the free pages of the database")
        .await?;
        Ok(bytes.map_or(0, from_bigint))
    }
}

#[cfg(test)]
mod tests {
    use crate::store::commit::upload::Upload;
    use crate::store::limits::Limits;
    use crate::store::open::Store;

    #[tokio::test]
    async fn the_space_of_a_deleted_picture_can_be_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Limits::default()).await.unwrap();
        let bytes = vec![7; 1024 * 1024];
        let before = store.reusable_bytes().await.unwrap();
        let upload = Upload {
            content_type: keepsake_protocol::capture::ContentType::Jpeg,
            width: 1,
            height: 1,
            damaged: false,
        };
        let device = "camera".parse().unwrap();
        let picture = store.upload(&device, bytes.clone().into(), upload, 1).await.unwrap();
        assert!(store.delete(&picture).await.unwrap());
        let after = store.reusable_bytes().await.unwrap();
        let picture_bytes = bytes.len() as u64;
        assert!(after >= before + picture_bytes, "{before} {after}");
    }
}
