//! How many posts a second each push client makes to a gate on this machine.
//!
//! ```sh
//! cargo run --release -p push --example push_rate -- [SECONDS] [LANES,LANES...] [CLIENT]
//! ```
//!
//! CLIENT is `direct`, `direct-adaptive` or `reqwest`; without it all take their turn.
//! The gate is a bare hyper server that reads the body and admits it. Clients and gate share
//! one runtime of as many threads as there are cores. Prints one JSON object a row.

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement goes by the machine's clock, and its gate and lanes are tasks"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use push::{
    ClientOptions, ConcurrencyLimit, DirectClient, GateWatch, PushClient, PushEndpoint,
    PushOutcome, Pusher, ReqwestClient, RetryPolicy, Stop,
};
use tokio::net::TcpListener;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let lanes = arguments.next().unwrap_or_else(|| "1,8,32,64".to_owned());
    let lanes = lanes
        .split(',')
        .map(str::parse)
        .collect::<Result<Vec<u32>, _>>()?;

    let address = start_gate().await?;
    let endpoint = PushEndpoint::parse(&format!("http://{address}"))?;
    let options = ClientOptions::default();
    let direct = DirectClient::new(&endpoint, options.clone())?;
    let reqwest = ReqwestClient::new(&endpoint, options)?;
    let span = Duration::from_secs(seconds);
    let only = arguments.next();
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    for lanes in lanes {
        for (name, adaptive) in [("direct", false), ("direct-adaptive", true)] {
            if wanted(name) {
                report(name, lanes, measure(&direct, lanes, adaptive, span).await?);
            }
        }
        if wanted("reqwest") {
            report(
                "reqwest",
                lanes,
                measure(&reqwest, lanes, false, span).await?,
            );
        }
    }
    Ok(())
}

fn report(client: &str, lanes: u32, rate: f64) {
    println!(r#"{{"client":"{client}","lanes":{lanes},"posts_per_second":{rate:.0}}}"#);
}

/// Posts a second over `lanes` lanes, each pushing a 1 KB body again and again for `span`.
async fn measure<C: PushClient>(
    client: &C,
    lanes: u32,
    adaptive: bool,
    span: Duration,
) -> Result<f64, AnyError> {
    let limit = if adaptive {
        ConcurrencyLimit::adaptive(lanes)
    } else {
        ConcurrencyLimit::fixed()
    };
    let watch = Arc::new(GateWatch::new(RetryPolicy::default(), limit));
    let stop = Stop::new();
    let body = Bytes::from(vec![b'x'; 1024]);
    let began = Instant::now();
    let pushing: Vec<_> = (0..lanes)
        .map(|_| {
            let mut pusher = Pusher::new(client.lane(), Arc::clone(&watch), &stop);
            let body = body.clone();
            tokio::spawn(async move {
                let mut acknowledged = 0_u64;
                while let PushOutcome::Acknowledged { .. } = pusher.push(body.clone()).await {
                    acknowledged += 1;
                }
                acknowledged
            })
        })
        .collect();
    tokio::time::sleep(span).await;
    stop.throw();
    let wall = began.elapsed();
    let mut acknowledged = 0;
    for lane in pushing {
        acknowledged += lane.await?;
    }
    Ok(acknowledged as f64 / wall.as_secs_f64())
}

async fn start_gate() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let _ = tcp.set_nodelay(true);
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(tcp), service_fn(admit));
            tokio::spawn(async move {
                // Ends when the lane goes.
                let _ = connection.await;
            });
        }
    });
    Ok(address)
}

async fn admit(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    while let Some(Ok(_)) = request.body_mut().frame().await {}
    Ok(Response::new(Full::new(Bytes::from_static(
        br#"{"decision":"ADMIT"}"#,
    ))))
}
