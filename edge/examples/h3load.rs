//! A generator of HTTP/3 load for the benchmarks: `h3load URL FROM-TO SECONDS [CONNECTIONS
//! [STREAMS]]` fetches that byte range over and over and prints `requests N`.
//!
//! Speaks just enough HTTP/3 to ask and to check the answer's length, so that it costs little beside
//! the server. Trusts any certificate: never use it against anything but a benchmark.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{
    error::Error,
    net::{SocketAddr, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use quinn::{
    ClientConfig, Connection, Endpoint, TransportConfig, VarInt, crypto::rustls::QuicClientConfig,
};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// More than any response's head and frame headers.
const HEAD_MAX: usize = 4096;

type Failure = Box<dyn Error + Send + Sync>;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trusts everyone.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn client() -> Result<Endpoint, Failure> {
    let mut provider = aws_lc_rs::default_provider();
    // What the peers are measured with.
    provider
        .cipher_suites
        .retain(|suite| suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    let provider = Arc::new(provider);
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let mut transport = TransportConfig::default();
    transport
        .receive_window(VarInt::from_u32(16 << 20))
        .stream_receive_window(VarInt::from_u32(4 << 20));
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport));
    let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

/// A HEADERS frame: GET, https, `authority`, `path`, `range`, by RFC 9204's static table.
fn request(authority: &str, path: &str, range: &str) -> Bytes {
    let mut section = vec![0, 0, 0xd1, 0xd7];
    // Name references: `:authority` 0, `:path` 1, `range` 55 (15 + 40).
    for (name, value) in [
        (&[0x50][..], authority),
        (&[0x51], path),
        (&[0x5f, 40], range),
    ] {
        section.extend_from_slice(name);
        section.push(u8::try_from(value.len()).unwrap_or(0).min(126));
        section.extend_from_slice(value.as_bytes());
    }
    let length = section.len() as u16 | 0x4000;
    [&[0x1][..], &length.to_be_bytes(), &section]
        .concat()
        .into()
}

/// Fetches one stream after the other until `end`.
async fn fetch(
    quic: Connection,
    request: Bytes,
    least: usize,
    end: Instant,
    done: Arc<AtomicU64>,
) -> Result<(), Failure> {
    while Instant::now() < end {
        let (mut send, mut recv) = quic.open_bi().await?;
        send.write_all_chunks(&mut [request.clone()]).await?;
        send.finish()?;
        let mut length = 0;
        while let Some(chunk) = recv.read_chunk(usize::MAX, true).await? {
            length += chunk.bytes.len();
        }
        // Neither an error page nor the whole object.
        if !(least..least + HEAD_MAX).contains(&length) {
            return Err(format!("{length} bytes where {least} were asked for").into());
        }
        done.fetch_add(1, Relaxed);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, range, seconds, more @ ..] = &args[..] else {
        return Err("h3load URL FROM-TO SECONDS [CONNECTIONS [STREAMS]]".into());
    };
    let url: http::Uri = url.parse()?;
    let authority = url.authority().ok_or("no authority")?;
    let address = (authority.host(), authority.port_u16().unwrap_or(443));
    let address = address
        .to_socket_addrs()?
        .find(SocketAddr::is_ipv4)
        .ok_or("no IPv4 address")?;
    let (from, to) = range.split_once('-').ok_or("no range")?;
    let least = to.parse::<usize>()? + 1 - from.parse::<usize>()?;
    let count = |i: usize, default: usize| more.get(i).map_or(Ok(default), |n| n.parse());
    let (connections, streams) = (count(0, 32)?, count(1, 8)?);
    let request = request(authority.as_str(), url.path(), &format!("bytes={range}"));

    let endpoint = client()?;
    let end = Instant::now() + Duration::from_secs_f64(seconds.parse()?);
    let done = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    let mut controls = Vec::new();
    for _ in 0..connections {
        let quic = endpoint.connect(address, "localhost")?.await?;
        // Our control stream with empty settings, open to the end.
        let mut control = quic.open_uni().await?;
        control.write_all(&[0x0, 0x4, 0x0]).await?;
        for _ in 0..streams {
            tasks.spawn(fetch(
                quic.clone(),
                request.clone(),
                least,
                end,
                Arc::clone(&done),
            ));
        }
        controls.push(control);
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    println!("requests {}", done.load(Relaxed));
    endpoint.close(VarInt::from_u32(0x100), b"");
    endpoint.wait_idle().await;
    Ok(())
}
