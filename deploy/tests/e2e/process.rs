//! Child processes that never outlive the tests, and signals to them.

use std::{
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        mpsc::{Sender, channel},
    },
    time::{Duration, Instant},
};

use crate::tools;

static MACHINE: RwLock<()> = RwLock::new(());

/// Held by tests that load the machine.
pub(crate) fn busy() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// Held by tests that time what a listener would hear: none that loads the machine runs beside them.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

type Job = (Command, Sender<std::io::Result<Child>>);

/// Starts a program that the kernel kills when this process ends, however it ends. Its output is
/// thrown away: what a test wants to read goes to a file.
///
/// The kernel watches the *thread* that started it, and test threads end early; so one thread that
/// lives as long as the process starts them all.
pub(crate) fn spawn(command: &Command) -> Child {
    static STARTER: OnceLock<Sender<Job>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, reply) in jobs {
                let _ = reply.send(command.spawn());
            }
        });
        sender
    });
    let (reply, child) = channel();
    starter.send((guarded(command), reply)).unwrap();
    child
        .recv()
        .unwrap()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

/// The command behind `setpriv --pdeathsig`, where there is one.
fn guarded(command: &Command) -> Command {
    let mut guarded = match tools::find("setpriv") {
        Some(setpriv) => {
            let mut guarded = Command::new(setpriv);
            guarded
                .args(["--pdeathsig", "KILL", "--"])
                .arg(command.get_program());
            guarded
        }
        None => Command::new(command.get_program()),
    };
    guarded.args(command.get_args());
    guarded
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => guarded.env(name, value),
            None => guarded.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        guarded.current_dir(dir);
    }
    guarded
}

/// Sends a signal by name: `TERM`, `KILL`, `INT`.
pub(crate) fn signal(child: &Child, name: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
}

/// Waits for the end, at most so long; `None` if it still runs.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
