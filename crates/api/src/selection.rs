//! The model that a request selects, before and after its body is read.

use std::sync::Arc;

use super::error::ApiError;
use kiln_classifier::Classifier;
use kiln_classifier::registry::Registry;

/// The parameters with which a request selects a model version; see [`Registry::resolve`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Selection<'a> {
    pub(super) registry: &'a Registry,
    pub(super) model: Option<&'a str>,
    pub(super) version: Option<&'a str>,
}

impl Selection<'_> {
    /// Checks the selected version, reads the body, and returns both. A request that fails the check is answered before its body
    /// is read.
    ///
    /// A body may take hours to arrive, and must not keep an unloaded version in memory. If the version is unloaded in the meantime,
    /// the selection is made and checked again.
    ///
    /// # Errors
    ///
    /// There is no such version, or `check` or `body` returns an error.
    pub(super) async fn receive<T>(
        self,
        check: impl Fn(&Classifier) -> Result<(), ApiError>,
        body: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<(Arc<Classifier>, T), ApiError> {
        let select = || {
            let classifier = self.registry.resolve(self.model, self.version)?;
            check(&classifier)?;
            Ok::<_, ApiError>(classifier)
        };
        let earlier = Arc::downgrade(&select()?);
        let body = body.await?;
        let classifier = earlier.upgrade().map_or_else(select, Ok)?;
        Ok((classifier, body))
    }
}
