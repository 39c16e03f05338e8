//! The operation that has the key file read again.

use std::sync::Arc;

use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi, Tags};

use super::caller::{Caller, ToAdminister};
use super::error::Code;
use super::failure::Failure;
use super::refused::{OfKeys, Refused};
use kiln_server::auth::Authenticator;

/// `POST /keys/reload`.
pub(super) struct Keys(pub(super) Arc<Authenticator>);

#[derive(Tags)]
enum Tag {
    /// For operators; the scope `admin` is needed.
    Administration,
}

/// The keys after a reload.
#[derive(Debug, Object)]
struct KeysBody {
    /// How many the file has.
    keys: u64,
}

#[OpenApi(tag = "Tag::Administration")]
impl Keys {
    /// Read the key file again
    ///
    /// A changed file is noticed within three seconds anyway; this tells at once whether it is taken. Needs the scope `admin`.
    #[oai(path = "/keys/reload", method = "post", operation_id = "reload_keys")]
    async fn reload(&self, _caller: Caller<ToAdminister>) -> Result<Json<KeysBody>, Refused<OfKeys>> {
        let authority = Arc::clone(&self.0);
        let reloaded = tokio::task::spawn_blocking(move || authority.reload()).await.map_err(|_| Failure::fault())?;
        let keys = reloaded.map_err(|error| Failure::new(Code::KeyFileRefused, error.to_string()))?;
        Ok(Json(KeysBody { keys: keys as u64 }))
    }
}
