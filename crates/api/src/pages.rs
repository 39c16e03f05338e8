//! Swagger UI and the OpenAPI document: made once, handed out by reference. A page is 1.6 MB, and anyone may ask for it.

use bytes::Bytes;
use poem::http::header;
use poem::middleware::SetHeader;
use poem::{Endpoint, EndpointExt, Response, Route, endpoint};
use poem_openapi::{OpenApi, OpenApiService};

use super::page_policy;

/// `/docs`, `/openapi.json` and `/openapi.yaml`.
pub(super) fn add<T: OpenApi + 'static>(route: Route, service: &OpenApiService<T, ()>) -> Route {
    let json = page("application/json", service.spec());
    let yaml = page("application/yaml", service.spec_yaml());
    let html = service.swagger_ui_html();
    let policy = SetHeader::new().overriding(header::CONTENT_SECURITY_POLICY, page_policy::of(&html));
    let docs = page("text/html; charset=utf-8", html).with(policy);
    route.nest("/docs", poem::get(docs)).at("/openapi.json", poem::get(json)).at("/openapi.yaml", poem::get(yaml))
}

fn page(content_type: &'static str, text: String) -> impl Endpoint + 'static {
    let bytes = Bytes::from(text);
    endpoint::make_sync(move |_| Response::builder().header(header::CONTENT_TYPE, content_type).body(bytes.clone()))
}
