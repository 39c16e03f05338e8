//! The bare address: it leads to the documentation.

use poem_openapi::{ApiResponse, OpenApi};

/// `GET /`
pub(super) struct Home;

#[derive(ApiResponse)]
enum HomeResponse {
    /// The documentation is at `Location`
    #[oai(status = 303)]
    SeeOther(#[oai(header = "Location")] String),
}

#[OpenApi]
impl Home {
    /// Where to begin
    #[oai(path = "/", method = "get", operation_id = "home", hidden)]
    async fn home(&self) -> HomeResponse {
        HomeResponse::SeeOther("/docs".to_string())
    }
}
