//! Handles of S3 buckets.

use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::client::SpawnedReqwestConnector;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

use super::connect::{ObjectStoreConfig, invalid};
use super::io;
use crate::error::{Error, ReasonCode};
use crate::location::Location;

/// The store of a bucket, which `location` names in errors.
pub(super) fn s3(
    location: &Location,
    bucket: &str,
    config: &ObjectStoreConfig,
    retry: RetryConfig,
) -> Result<Arc<dyn ObjectStore>, Error> {
    let endpoint = config
        .endpoint
        .clone()
        .or_else(|| {
            ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]
                .iter()
                .find_map(|name| std::env::var(name).ok())
        })
        .filter(|endpoint| !endpoint.is_empty());
    let plain_http = endpoint
        .as_deref()
        .is_some_and(|text| text.starts_with("http://"));
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_retry(retry)
        .with_http_connector(SpawnedReqwestConnector::new(io::handle()?.clone()))
        .with_client_options(ClientOptions::new().with_allow_http(plain_http));
    if let Some(region) = config.region.as_deref().filter(|region| !region.is_empty()) {
        builder = builder.with_region(region);
    }
    let path_style = config.path_style.unwrap_or(true);
    builder = builder.with_virtual_hosted_style_request(!path_style);
    if let Some(endpoint) = endpoint {
        let mut url = url::Url::parse(&endpoint)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
            .ok_or_else(|| {
                // Not repeated: it may hold credentials.
                let what = "The endpoint of the object store (`object_store.endpoint`, else \
                            AWS_ENDPOINT_URL) is no http or https address";
                Error::new(ReasonCode::ObjectStoreInvalid, what).object(location.full_name(""))
            })?;
        if !url.username().is_empty() || url.password().is_some() {
            // A request is signed by the AWS credentials; these would only be shown in errors.
            tracing::warn!("the user and password in the object store's endpoint are not used");
            let stripped = url.set_username("").and_then(|()| url.set_password(None));
            stripped.map_err(|()| invalid(location))?;
        }
        if !path_style {
            // With the bucket in the host, the builder wants it in the endpoint already.
            let host = format!("{bucket}.{}", url.host_str().unwrap_or_default());
            url.set_host(Some(&host))
                .map_err(|e| invalid(location).because(e))?;
        }
        builder = builder.with_endpoint(url.as_str().trim_end_matches('/'));
    }
    let store = builder
        .build()
        .map_err(|source| invalid(location).because(source))?;
    Ok(Arc::new(store))
}
