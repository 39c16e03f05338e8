//! In place of the API's own `failure.rs`, which knows every room's errors.

use std::time::Duration;

use poem::error::ResponseError;
use poem::http::StatusCode;

use super::error::Code;

/// What a client is told.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// When to come again is nothing that is looked at here.
    pub(super) fn retry_after(self, _after: Duration) -> Self {
        self
    }
}

impl ResponseError for Failure {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).expect("every code has a status of HTTP's")
    }
}
