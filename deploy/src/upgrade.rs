//! `segue upgrade`, and what it asks of a running edge: start the program anew, as it lies on disk
//! now, hand the sockets over, drain.

use std::{
    ffi::OsString,
    os::{fd::AsFd as _, unix::net::UnixStream},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use edge::{Handle, handover::Inherited};

use crate::{activation, purge::http_call_within};

/// Set where standard input is the socket to the process before this one.
const VARIABLE: &str = "SEGUE_HANDOVER";

/// How long an upgrade may take: the disk tier is closed and opened.
const PATIENCE: Duration = Duration::from_secs(300);

/// What `segue upgrade` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The edge's admin URL.
    #[arg(long, value_name = "URL")]
    admin: String,

    /// The admin listener's token, where it has one.
    #[arg(
        long,
        env = "SEGUE_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
}

/// Asks for an upgrade; when it returns, the new process serves.
///
/// # Errors
/// Where no edge answers, or its upgrade failed and it goes on.
#[expect(clippy::print_stdout, reason = "the command's result")]
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let token = args.token.as_deref();
    let call = http_call_within(PATIENCE, "POST", &args.admin, "/upgrade", token, None);
    let (status, body) = call.await?;
    anyhow::ensure!(status == 200, "the edge answered {status}: {}", body.trim());
    println!("upgraded");
    Ok(())
}

/// How this program was started, noted before a new one takes its place on disk.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
    args: Vec<OsString>,
}

impl Program {
    /// This one.
    ///
    /// # Errors
    /// Where the system doesn't tell its path.
    pub(crate) fn this() -> anyhow::Result<Self> {
        Ok(Self {
            path: std::env::current_exe().context("where is this program?")?,
            args: std::env::args_os().skip(1).collect(),
        })
    }

    /// Starts it anew and hands everything over. Blocks; this process then drains.
    ///
    /// # Errors
    /// Where the new process did not come to serve; it is gone then.
    pub(crate) fn replace(&self, handle: &Handle) -> anyhow::Result<()> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut child = Command::new(&self.path)
            .args(&self.args)
            .env(VARIABLE, "1")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .spawn()
            .with_context(|| format!("can't start {}", self.path.display()))?;
        tracing::info!(pid = child.id(), program = %self.path.display(), "upgrading");
        let handed = handle.hand_over(ours);
        if handed.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        Ok(handed?)
    }
}

/// What the process before this one hands over, or else the service manager. Blocks.
///
/// # Errors
/// Where that can't be taken.
pub(crate) fn inherit() -> anyhow::Result<Inherited> {
    if std::env::var_os(VARIABLE).is_none() {
        return activation::sockets();
    }
    let line = std::io::stdin().as_fd().try_clone_to_owned()?;
    Inherited::receive(line.into()).context("the process before hands nothing over")
}
