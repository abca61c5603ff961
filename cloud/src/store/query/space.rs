//! The space inside the database file that deleted pictures have left.

use crate::store::address::Address;
use crate::store::bind::from_bigint;
use crate::store::error::Result;
use crate::store::open::Store;
use crate::store::statement::sql;

/// Free pages that the database keeps for new pictures, bytes: giving them back and taking them again takes time.
const SPARE_BYTES: u64 = 16 * 1024 * 1024;

impl Store {
    /// Gives at most 4 MiB of free pages back to the disk, beyond a reserve for new pictures. Returns true if there are
    /// more. Pages of a database server are its own affair.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] if the database does not answer.
    pub async fn shrink(&self) -> Result<bool> {
        if self.reusable_bytes().await? <= SPARE_BYTES {
            return Ok(false);
        }
        // Every page that is moved to the front is written once more, so commits wait for no more than these.
        sql("PRAGMA incremental_vacuum(1024)")
            .commit(self, "give free pages back to the disk")
            .await?;
        Ok(self.reusable_bytes().await? > SPARE_BYTES)
    }

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
    use super::SPARE_BYTES;
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

    #[tokio::test]
    async fn the_database_file_shrinks_after_pictures_were_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Limits::default()).await.unwrap();
        let bytes = bytes::Bytes::from(vec![7; 4 * 1024 * 1024]);
        let mut pictures = Vec::new();
        for _ in 0..12 {
            let upload = Upload {
                content_type: keepsake_protocol::capture::ContentType::Jpeg,
                width: 1,
                height: 1,
                damaged: false,
            };
            let device = "camera".parse().unwrap();
            pictures.push(store.upload(&device, bytes.clone(), upload, 1).await.unwrap());
        }
        // Every other one, so that pages from the end have to be moved.
        for picture in pictures.iter().step_by(2) {
            assert!(store.delete(picture).await.unwrap());
        }
        let mut steps = 0;
        while store.shrink().await.unwrap() {
            steps += 1;
        }
        assert!(steps >= 1, "{steps} steps");
        for picture in pictures.iter().skip(1).step_by(2) {
            assert_eq!(store.image(picture.arrival).await.unwrap().unwrap(), bytes);
        }
        store.close().await;
        let file = std::fs::metadata(folder.path().join("keepsake.sqlite")).unwrap().len();
        let kept = 6 * bytes.len() as u64;
        assert!(file < kept + SPARE_BYTES + 1024 * 1024, "{file} bytes");
    }
}
