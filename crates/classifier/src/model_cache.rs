//! The response cache of one model. A response is found by the digest of the image file, before the image is admitted
//! or decoded.

use std::sync::Arc;

use blake3::Hasher;
use bytes::Bytes;

use crate::cache::{Cache, Key, Lookup, OutcomeGuard, Weight};
use crate::options::RequestOptions;
use crate::prediction::{Classification, ClassifyError};
use kiln_image::{DecodePool, PoolError, PreprocessSpec};
use kiln_inference::model::Model;
use kiln_runtime::telemetry::metrics::CacheOutcome;

/// Files of this size and larger are hashed on a decode thread, since hashing them takes long enough to delay other
/// connections.
const HASH_ON_POOL_BYTES: usize = 256 << 10;

/// The cached responses of all models of a server.
pub type ResponseCache = Cache<Arc<Classification>, ClassifyError>;

impl Weight for Arc<Classification> {
    fn bytes(&self) -> usize {
        size_of::<Classification>() + size_of_val(&*self.classes)
    }
}

/// The cached responses of one model.
#[derive(Clone, Debug)]
pub(super) struct ModelCache {
    responses: ResponseCache,
    keys: KeyDeriver,
    pool: DecodePool,
}

impl ModelCache {
    /// Creates the view of one model on the cache of all models.
    pub(super) fn new(
        responses: ResponseCache,
        model: &Model,
        preprocessing: &PreprocessSpec,
        pool: DecodePool,
    ) -> Self {
        let spec = model.spec();
        let digest = model.digest();
        let preprocessing = format!("{preprocessing:?} {:?} {:?} {:?}", spec.mean, spec.std, spec.task);
        let labels = spec.labels.iter().map(|label| label.as_bytes());
        let keys = KeyDeriver::new([digest.as_bytes(), preprocessing.as_bytes()].into_iter().chain(labels));
        Self { responses, keys, pool }
    }

    /// Returns the classification of an image from the cache, or the result of `compute`. See
    /// [`Cache::get_or_compute`].
    ///
    /// `engine_failures` is part of the key: what was computed before an engine failed may already be wrong.
    pub(super) async fn get_or_compute<X, F>(
        &self,
        bytes: Bytes,
        engine_failures: u64,
        options: &RequestOptions,
        compute: impl FnOnce(Bytes) -> F,
        count: impl Fn(CacheOutcome),
    ) -> Lookup<Arc<Classification>, X, ClassifyError>
    where
        F: Future<Output = Result<(Arc<Classification>, X), ClassifyError>>,
    {
        let outcome = OutcomeGuard::new(count);
        let key = self.key(options.top_k, engine_failures, &bytes);
        let key = match options.deadline {
            // The decode threads may be busy.
            Some(deadline) => match tokio::time::timeout_at(deadline, key).await {
                Ok(key) => key,
                Err(_) => return Lookup::DeadlinePassed,
            },
            None => key.await,
        };
        let key = match key {
            Ok(key) => key,
            Err(error) => return Lookup::Failed(error.into()),
        };
        // The image is the same for all requests, and so are its errors. Admission and deadlines belong to each
        // request.
        let is_shared = |error: &ClassifyError| matches!(error, ClassifyError::Image(_));
        self.responses.get_or_compute(key, options, compute(bytes), is_shared, outcome).await
    }

    async fn key(&self, top_k: Option<usize>, engine_failures: u64, bytes: &Bytes) -> Result<Key, PoolError> {
        if bytes.len() < HASH_ON_POOL_BYTES {
            return Ok(self.keys.derive(top_k, engine_failures, bytes));
        }
        let (keys, bytes) = (self.keys, bytes.clone());
        self.pool.run(move || keys.derive(top_k, engine_failures, &bytes)).await
    }
}

/// Derives cache keys for one model: its weights and labels, and the preprocessing of its images.
#[derive(Clone, Copy, Debug)]
struct KeyDeriver([u8; 32]);

impl KeyDeriver {
    /// Creates the deriver of a model that is described by these parts. The length of each part is hashed too, so that
    /// parts with other boundaries give other keys.
    fn new<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Hasher::new();
        for part in parts {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }

    /// Returns the key for the `top_k` most probable classes of an image with these bytes. Responses of another `epoch`
    /// are not found.
    fn derive(&self, top_k: Option<usize>, epoch: u64, bytes: &[u8]) -> Key {
        // The image comes first: BLAKE3 hashes chunks in parallel, and more of them if they are near the start.
        let mut digest = Hasher::new_keyed(&self.0);
        digest.update(bytes);
        digest.update(&top_k.map_or(u64::MAX, |top_k| top_k as u64).to_le_bytes());
        digest.update(&epoch.to_le_bytes());
        digest.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_differ_have_different_keys() {
        let deriver = |parts: &[&str]| KeyDeriver::new(parts.iter().map(|part| part.as_bytes()));
        let one = deriver(&["model", "1"]);
        assert_eq!(one.derive(Some(5), 0, b"image"), deriver(&["model", "1"]).derive(Some(5), 0, b"image"));
        assert_ne!(one.derive(Some(5), 0, b"image"), one.derive(Some(4), 0, b"image"));
        assert_ne!(one.derive(Some(5), 0, b"image"), one.derive(None, 0, b"image"));
        assert_ne!(one.derive(Some(5), 0, b"image"), one.derive(Some(5), 0, b"imagf"));
        assert_ne!(one.derive(Some(5), 0, b"image"), one.derive(Some(5), 1, b"image"));
        assert_ne!(one.derive(Some(5), 0, b"image"), deriver(&["model", "2"]).derive(Some(5), 0, b"image"));
        assert_ne!(one.derive(Some(5), 0, b"image"), deriver(&["model1", ""]).derive(Some(5), 0, b"image"));
    }
}
