//! Streams whose bytes are compared with their hash.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use keepsake_protocol::Hash;
use sha2::{Digest, Sha256};

use crate::objects::error::ObjectError;
use crate::objects::key::ObjectKey;
use crate::objects::object::{ByteStream, Result};

/// Passes on the whole object `key` and holds its last chunk back until the hash of everything is correct, so that no
/// reader takes other bytes for the picture. Returns after the first chunk.
///
/// # Errors
/// The first chunk cannot be read, or is everything and has another hash.
pub async fn verified(stream: ByteStream, key: ObjectKey, hash: Hash) -> Result<ByteStream> {
    let state = Verification { stream, held: Bytes::new(), hasher: Some(Sha256::new()) };
    let checked = stream::try_unfold(state, move |mut state| {
        let key = key.clone();
        async move {
            loop {
                let Some(mut hasher) = state.hasher.take() else {
                    return Ok(None);
                };
                let chunk = match state.stream.next().await.transpose()? {
                    Some(next) => {
                        hasher.update(&next);
                        state.hasher = Some(hasher);
                        std::mem::replace(&mut state.held, next)
                    }
                    None if hasher.finalize().as_slice() == hash.0 => std::mem::take(&mut state.held),
                    None => return Err(ObjectError::Changed { key }),
                };
                if !chunk.is_empty() {
                    return Ok(Some((chunk, state)));
                }
            }
        }
    });
    started(checked.boxed()).await
}

/// Waits for the first chunk, so that a stream that cannot be read at all is an error and not a stream.
///
/// # Errors
/// The first chunk cannot be read.
pub async fn started(mut stream: ByteStream) -> Result<ByteStream> {
    let first = stream.next().await.transpose()?;
    Ok(stream::iter(first.map(Ok)).chain(stream).boxed())
}

struct Verification {
    stream: ByteStream,
    /// The chunk that is passed on next.
    held: Bytes,
    /// Absent after the end.
    hasher: Option<Sha256>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::object::read_all;

    async fn read(chunks: &[&'static [u8]], hash: Hash) -> (Vec<Bytes>, bool) {
        let chunks: Vec<Result<Bytes>> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
        let key = ObjectKey::new("jpg", 0);
        let Ok(mut stream) = verified(stream::iter(chunks).boxed(), key, hash).await else {
            return (Vec::new(), false);
        };
        let mut passed = Vec::new();
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) => passed.push(chunk),
                Err(_) => return (passed, false),
            }
        }
        (passed, true)
    }

    #[tokio::test]
    async fn the_last_chunk_is_passed_on_only_if_the_hash_is_correct() {
        let right = Hash::of(b"one two three");
        assert_eq!(
            read(&[b"one ", b"two ", b"three"], right).await,
            (vec!["one ".into(), "two ".into(), "three".into()], true)
        );
        assert_eq!(
            read(&[b"one ", b"two ", b"thrEe"], right).await,
            (vec!["one ".into(), "two ".into()], false)
        );
        assert_eq!(read(&[b"one ", b"two "], right).await, (vec!["one ".into()], false));
        assert_eq!(read(&[b"one two thrEe"], right).await, (vec![], false));
        assert_eq!(read(&[], Hash::of(b"")).await, (vec![], true));
        let whole = stream::iter([Ok(Bytes::from_static(b"x"))]).boxed();
        let whole = verified(whole, ObjectKey::new("jpg", 0), Hash::of(b"x")).await.unwrap();
        assert_eq!(read_all(whole).await.unwrap(), b"x");
    }
}
