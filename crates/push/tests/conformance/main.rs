//! The push clients' conformance suite: every promise of `PushLane`, run on every client.
//!
//! A client of your own passes the same suite by implementing [`Subject`] and adding a line to
//! [`conformance!`].

#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

mod promises;
mod scripted_gate;
mod simulated;

use std::sync::Arc;
use std::time::Duration;

use push::{ClientOptions, DirectClient, PushClient, PushEndpoint, PushToken, ReqwestClient};
use rustls::pki_types::CertificateDer;

/// A client under test.
trait Subject {
    type Client: PushClient;

    /// Whether a lane never opens a connection that it does not need. reqwest's pool may.
    const EXACT_CONNECTIONS: bool;

    /// A client of `endpoint` that trusts `root` and nobody else.
    fn client(
        endpoint: &PushEndpoint,
        options: ClientOptions,
        root: Option<CertificateDer<'static>>,
    ) -> Self::Client;
}

struct Direct;

impl Subject for Direct {
    type Client = DirectClient;

    const EXACT_CONNECTIONS: bool = true;

    fn client(
        endpoint: &PushEndpoint,
        options: ClientOptions,
        root: Option<CertificateDer<'static>>,
    ) -> DirectClient {
        DirectClient::with_tls(endpoint, options, trusting(root)).unwrap()
    }
}

/// TLS that trusts `root` and nobody else.
fn trusting(root: Option<CertificateDer<'static>>) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(root);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(tls)
}

struct Reqwest;

impl Subject for Reqwest {
    type Client = ReqwestClient;

    const EXACT_CONNECTIONS: bool = false;

    fn client(
        endpoint: &PushEndpoint,
        options: ClientOptions,
        root: Option<CertificateDer<'static>>,
    ) -> ReqwestClient {
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .tls_built_in_root_certs(false);
        if let Some(root) = root {
            builder = builder.add_root_certificate(reqwest::Certificate::from_der(&root).unwrap());
        }
        ReqwestClient::with_builder(endpoint, options, builder).unwrap()
    }
}

/// Options for tests in which nothing is meant to time out.
fn patient() -> ClientOptions {
    ClientOptions {
        timeout: Duration::from_secs(20),
        token: Some(token()),
    }
}

fn token() -> PushToken {
    PushToken::new("X-IG-Api-Key", "s3cr3t").unwrap()
}

/// Runs the suite on each client.
macro_rules! conformance {
    (clients: { $($name:ident = $subject:ty,)+ } promises: $promises:tt) => {
        $(conformance!(@ $name, $subject, $promises);)+
    };
    (@ $name:ident, $subject:ty, { $($promise:ident,)+ }) => {
        mod $name {
            $(
                #[tokio::test]
                async fn $promise() {
                    crate::promises::$promise::<$subject>().await;
                }
            )+
        }
    };
}

conformance! {
    clients: {
        direct_client = crate::Direct,
        reqwest_client = crate::Reqwest,
    }
    promises: {
        the_request_is_a_json_post_with_its_token,
        a_large_body_arrives_whole,
        an_answer_is_an_answer_whatever_its_status,
        both_forms_of_retry_after_are_read,
        redirects_are_not_followed,
        informational_answers_are_passed_over,
        a_chunked_body_is_whole,
        a_body_up_to_the_end_of_the_connection_is_whole,
        a_body_cut_short_is_a_fault,
        a_close_before_the_answer_is_a_fault,
        a_reset_is_a_fault,
        what_is_not_http_is_a_fault,
        an_endless_head_is_a_fault,
        a_stall_is_a_timeout,
        a_trickle_is_a_timeout,
        a_stalled_body_is_a_timeout,
        a_connection_serves_post_after_post,
        a_connection_that_the_gate_closes_is_replaced,
        a_connection_closed_between_posts_is_replaced_without_a_fault,
        a_post_that_fails_is_sent_once,
        a_late_answer_is_never_taken_for_the_next,
        an_answer_that_nobody_asked_for_is_never_taken_for_the_next,
        a_dropped_post_gives_up_its_connection,
        of_a_long_body_only_the_beginning_is_kept,
        an_endless_body_is_not_waited_for,
        a_refused_connection_is_a_fault_until_the_gate_is_there,
        an_unknown_host_is_a_fault,
        https_is_spoken_and_kept_alive,
        a_certificate_that_nobody_vouches_for_is_refused,
        a_tls_body_cut_short_is_a_fault,
        a_token_in_an_answer_is_struck_out,
        a_pusher_gets_its_events_through_every_trouble_in_order,
        a_stop_closes_the_connection_of_a_post_under_way,
    }
}
