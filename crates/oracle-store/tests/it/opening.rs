//! Opening a world by configuration and environment.

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use oracle_store::{ObjectStoreConfig, ReasonCode, RunReceipt, WorldStore, object_store_at};

use crate::s3_server::{BUCKET, KEY, S3Server, SECRET};
use crate::world::{receipt_json, root_at};

/// Set in the process that [`the_aws_environment_opens_a_bucket`] starts.
const ENDPOINT_FOR_CHILD: &str = "ORACLE_STORE_TEST_ENDPOINT";

/// Credentials come by the environment only, and that is set for a whole process: so this
/// test runs itself once more in one of its own.
#[tokio::test]
async fn the_aws_environment_opens_a_bucket() {
    if let Ok(endpoint) = std::env::var(ENDPOINT_FOR_CHILD) {
        let config = ObjectStoreConfig {
            endpoint: Some(endpoint),
            region: Some("eu-west-1".to_owned()),
            path_style: Some(true),
        };
        let root = root_at(&format!("s3://{BUCKET}/run"));
        let store = WorldStore::open(root.clone(), &config).unwrap();
        let receipt = RunReceipt::load(&store).await.unwrap();
        assert_eq!(receipt.seed, 7);

        let (objects, prefix) = object_store_at(root.location(), &config).unwrap();
        let listed: Vec<_> = objects.list(Some(&prefix)).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        return;
    }
    let server = S3Server::start();
    let path = object_store::path::Path::from("run/run_receipt.json");
    server
        .store()
        .put(&path, receipt_json().to_string().into())
        .await
        .unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "opening::the_aws_environment_opens_a_bucket",
            "--nocapture",
        ])
        .env(ENDPOINT_FOR_CHILD, server.endpoint())
        .env("AWS_ACCESS_KEY_ID", KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && output.contains("1 passed"),
        "{output}"
    );
}

#[test]
fn an_endpoint_that_is_no_address_is_refused_with_its_root() {
    for endpoint in ["localhost:9000", "ftp://host", "https://"] {
        let config = ObjectStoreConfig {
            endpoint: Some(endpoint.into()),
            ..Default::default()
        };
        let error = WorldStore::open(root_at("s3://b/run"), &config).unwrap_err();
        assert_eq!(error.code(), ReasonCode::ObjectStoreInvalid, "{endpoint}");
        assert!(error.to_string().contains("s3://b/run"), "{error}");
    }
}

#[tokio::test]
async fn credentials_in_an_endpoint_are_in_no_error() {
    let config = ObjectStoreConfig {
        endpoint: Some("http://AK:hunter2@127.0.0.1:9".into()),
        ..Default::default()
    };
    let location = root_at("s3://b/run").location().clone();
    let (objects, prefix) = object_store_at(&location, &config).unwrap();
    assert!(!format!("{objects} {objects:?}").contains("hunter2"));
    let request = objects.get(&prefix);
    // Refused at once by a port that nobody listens at; retries would take their time.
    if let Ok(Err(error)) = tokio::time::timeout(std::time::Duration::from_secs(2), request).await {
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}
