//! A bare cache node: `edge UPSTREAM ADDRESS`, for suites that want nothing else.
#![allow(clippy::print_stderr)]

use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(upstream), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: edge UPSTREAM ADDRESS".into());
    };
    let config = edge::Config {
        upstream,
        http: Some(address.parse()?),
        ..edge::Config::default()
    };
    let server = edge::Server::bind(config).await?;
    eprintln!("listening on {:?}", server.addrs());
    server.run(CancellationToken::new()).await?;
    Ok(())
}
