//! What a token costs: as the first one of its key (and of any key of its kind, where the base point's
//! table is made too), at first sight with signature and claims, then from the verdicts remembered.
//! `cargo run --release --package tokens --example verify`; prints microseconds, writes nothing.
#![allow(clippy::print_stdout)]

use std::{
    hint::black_box,
    net::IpAddr,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _, ParsedPublicKey,
    },
};
use tokens::{Algorithm, Claims, Component, Keyset, Match, Request, Scope, SigningKey, Verifier};

type Failure = Box<dyn std::error::Error>;

const NOW: u64 = 1_800_000_000;
const TRACK: &str = "t0123456789abcdefghjk";

/// Rounds of each measurement, of which the fastest counts.
const ROUNDS: usize = 400;

fn main() -> Result<(), Failure> {
    println!(
        "{:<28}{:>12}{:>12}{:>12}{:>12}{:>8}",
        "", "first", "cold", "remembered", "minting", "chars"
    );
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256] {
        let key = SigningKey::generate_with(algorithm, "k1")?;
        let track = Claims::listening("anna", NOW, Duration::from_secs(3600))
            .scope(Scope::Track(TRACK.into()))
            .id(tokens::fresh_id()?);
        row(algorithm.as_str(), &key, &track)?;
        let regex = track
            .clone()
            .network("192.0.2.0/24".parse()?)
            .method("GET")
            .rule(Component::Extension, Match::Regex(r"^\.(mp4|m4s)$".into()));
        row(
            &format!("{}, regex, network", algorithm.as_str()),
            &key,
            &regex,
        )?;
    }
    peer()
}

/// AWS-LC's verification of signatures, without a token around them.
fn peer() -> Result<(), Failure> {
    let message = [7; 180];
    let pair = Ed25519KeyPair::generate()?;
    let key = ParsedPublicKey::new(&ED25519, pair.public_key())?;
    alone("EdDSA", &key, &message, pair.sign(&message).as_ref());
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key())?;
    let signature = pair.sign(&SystemRandom::new(), &message)?;
    alone("ES256", &key, &message, signature.as_ref());
    Ok(())
}

fn alone(name: &str, key: &ParsedPublicKey, message: &[u8], signature: &[u8]) {
    let time = fastest(10, || {
        let verdict = key.verify_sig(black_box(message), signature);
        black_box(verdict.is_ok());
    });
    println!("{:<40}{:>12}", format!("(AWS-LC, {name} alone)"), us(time));
}

fn us(time: Duration) -> String {
    format!("{:.2} µs", time.as_secs_f64() * 1e6)
}

fn row(name: &str, key: &SigningKey, claims: &Claims) -> Result<(), Failure> {
    let keyset = Keyset::new([key.public()])?;
    let token = tokens::mint(key, claims)?;
    let path = format!("/media/{TRACK}/00ff00ff/opus-96.mp4");
    let request = Request {
        method: "GET",
        scheme: "https",
        host: "music.example",
        port: 443,
        path: &path,
        query: "",
        client_ip: IpAddr::from([192, 0, 2, 7]),
        client_country: None,
        now_unix_s: NOW + 10,
    };
    let begun = Instant::now();
    tokens::verify(&keyset, &token, &request)?;
    let first = begun.elapsed();
    let cold = fastest(10, || {
        let verdict = tokens::verify(&keyset, black_box(&token), &request);
        black_box(verdict.is_ok());
    });
    let verifier = Verifier::new(keyset);
    let remembered = fastest(1_000, || {
        let verdict = verifier.verify(black_box(&token), &request);
        black_box(verdict.is_ok());
    });
    let minting = fastest(10, || {
        black_box(tokens::mint(key, claims).is_ok());
    });
    println!(
        "{name:<28}{:>12}{:>12}{:>12}{:>12}{:>8}",
        us(first),
        us(cold),
        us(remembered),
        us(minting),
        token.len()
    );
    Ok(())
}

/// Time of one call, from the fastest round of `calls`: rounds are shorter than the time that a busy
/// machine gives a process at once.
fn fastest(calls: u32, mut call: impl FnMut()) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let begun = Instant::now();
        (0..calls).for_each(|_| call());
        begun.elapsed() / calls
    });
    rounds.min().unwrap_or_default()
}
