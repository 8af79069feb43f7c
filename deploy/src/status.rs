//! `segue status`: whether a stack runs, is ready, and what it has served.

use std::{path::PathBuf, process::ExitCode};

use clap::Args as ClapArgs;

use crate::{data::DataDir, purge::http_call};

/// What `segue status` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The stack's data directory [default: ~/.local/share/segue].
    #[arg(long, env = "SEGUE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// An edge's admin address, instead of the stack of the data directory.
    #[arg(long, env = "SEGUE_ADMIN", value_name = "URL")]
    admin: Option<String>,

    /// The admin listener's token, where it has one.
    #[arg(
        long,
        env = "SEGUE_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
}

/// Prints the state; exit code 0 where it is ready, 1 where it is not.
///
/// # Errors
/// Where the data directory can't be opened.
#[expect(clippy::print_stdout, reason = "what the command is for")]
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let admin = match args.admin {
        Some(admin) => admin,
        None => {
            let data = DataDir::open(args.data)?;
            let Some(running) = data.running() else {
                println!("nothing runs on {}", data.path().display());
                return Ok(ExitCode::FAILURE);
            };
            println!("process  {}", running.pid);
            println!("http     {}", running.http);
            println!("https    {}", running.https);
            println!("admin    {}", running.admin);
            running.admin
        }
    };
    let (status, body) = http_call("GET", &admin, "/readyz", None, None).await?;
    let ready = status == 200;
    println!(
        "ready    {}",
        if ready {
            "yes".to_owned()
        } else {
            format!("no ({status}): {}", body.trim())
        }
    );
    let (_, metrics) = http_call("GET", &admin, "/metrics", args.token.as_deref(), None).await?;
    for line in metrics
        .lines()
        .filter(|l| !l.starts_with('#') && !l.contains("_bucket"))
    {
        println!("  {line}");
    }
    Ok(if ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
