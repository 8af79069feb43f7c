//! `segue token`: mint access tokens, and read what a token says.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use clap::{Args as ClapArgs, Subcommand};
use tokens::{Claims, Country, Keyset, Network, Renewal, RenewalKind, Scope, SigningKey};

use crate::data::DataDir;

/// What `segue token` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sign a token for listening.
    Mint(MintArgs),
    /// Print a token's claims, and whether its signature holds.
    Inspect(InspectArgs),
}

/// What `segue token mint` takes.
#[derive(Debug, ClapArgs)]
#[command(group(clap::ArgGroup::new("scope").required(true).multiple(false)))]
pub(crate) struct MintArgs {
    /// For one track.
    #[arg(long, group = "scope", value_name = "TRACK")]
    track: Option<String>,

    /// For everything.
    #[arg(long, group = "scope")]
    all: bool,

    /// How long it holds.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,

    /// Who listens; shows in the access log.
    #[arg(long, value_name = "NAME", default_value = "operator")]
    subject: String,

    /// Only from this address or network (10.1.0.0/16); may be given several times.
    #[arg(long, value_name = "CIDR")]
    network: Vec<String>,

    /// Only from this country (SE), where the edge has a GeoIP file; may be given several times.
    #[arg(long, value_name = "CC")]
    country: Vec<String>,

    /// Let edges renew it shortly before it expires, each time for so long.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    renew: Option<Duration>,

    /// Signing key [default: the data directory's].
    #[arg(long, env = "SEGUE_SIGNING_KEY", value_name = "FILE")]
    key: Option<PathBuf>,

    /// The stack's data directory [default: ~/.local/share/segue].
    #[arg(long, env = "SEGUE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What `segue token inspect` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct InspectArgs {
    /// The token; a URL with a /~token/ prefix will do.
    #[arg(value_name = "TOKEN")]
    token: String,

    /// Keyset to check the signature with [default: the data directory's key].
    #[arg(long, env = "SEGUE_KEYSET", value_name = "FILE")]
    keyset: Option<PathBuf>,

    /// The stack's data directory [default: ~/.local/share/segue].
    #[arg(long, env = "SEGUE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Runs one of the commands.
///
/// # Errors
/// Where no key can be read, or the token is none.
pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Mint(args) => mint(args),
        Command::Inspect(args) => inspect(&args),
    }
}

/// A token for everything, signed with the data directory's key.
///
/// # Errors
/// Where there is no key yet.
pub(crate) fn listening(data: &DataDir, ttl: Duration) -> anyhow::Result<String> {
    let key = signing_key(&data.signing_key())?;
    let claims = Claims::listening("operator", now_unix_s()?, ttl)
        .scope(Scope::All)
        .id(tokens::fresh_id()?);
    Ok(tokens::mint(&key, &claims)?)
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn mint(args: MintArgs) -> anyhow::Result<()> {
    let path = match args.key {
        Some(path) => path,
        None => DataDir::open(args.data)?.signing_key(),
    };
    let key = signing_key(&path)?;
    let scope = args.track.map_or(Scope::All, Scope::Track);
    let mut claims = Claims::listening(args.subject, now_unix_s()?, args.ttl)
        .scope(scope)
        .id(tokens::fresh_id()?);
    for country in &args.country {
        let country: Country = country
            .parse()
            .map_err(|e| anyhow::anyhow!("--country {country}: {e}"))?;
        claims = claims.country(country);
    }
    if let Some(add) = args.renew {
        claims = claims.renewal(Renewal::new(RenewalKind::Automatic, add.as_secs()));
    }
    for network in &args.network {
        let network: Network = network
            .parse()
            .map_err(|e| anyhow::anyhow!("--network {network}: {e}"))?;
        claims = claims.network(network);
    }
    println!("{}", tokens::mint(&key, &claims)?);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn inspect(args: &InspectArgs) -> anyhow::Result<()> {
    let token = bare(&args.token);
    let inspected =
        tokens::inspect(token).map_err(|e| anyhow::anyhow!("this is no token: {}", e.as_str()))?;
    println!("{inspected:#?}");
    let keyset = match &args.keyset {
        Some(path) => Keyset::from_json(&read(path)?)?,
        None => {
            let path = DataDir::open(args.data.clone())?.signing_key();
            if !path.exists() {
                println!("signature: not checked; say --keyset FILE");
                return Ok(());
            }
            Keyset::new([signing_key(&path)?.public()])?
        }
    };
    match tokens::authenticate(&keyset, token, now_unix_s()?) {
        Ok(_) => println!("signature: holds"),
        Err(reject) => println!("signature: refused, {}", reject.as_str()),
    }
    Ok(())
}

/// The token within a URL's `/~token/` prefix, or the text itself.
fn bare(text: &str) -> &str {
    text.split_once("/~")
        .map_or(text, |(_, rest)| rest.split('/').next().unwrap_or(rest))
}

fn signing_key(path: &Path) -> anyhow::Result<SigningKey> {
    SigningKey::from_json(&read(path)?)
        .with_context(|| format!("{} is no signing key", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| {
        format!(
            "can't read {}; a stack makes its key on its first start",
            path.display()
        )
    })
}

fn now_unix_s() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}
