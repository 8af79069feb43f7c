//! Finds the programs that tests run against Segue. Does not install them: `make tools` does.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// The checkout's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The path of a program: on `PATH`, or among the tools that `make tools` links into the checkout.
/// A name with a `/` is a path below the checkout.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(root().join(name)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    [root().join(".venv/bin")]
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
}

/// Whether a test that needs all of these may run; names as for [`find`].
///
/// Missing ones are named on standard error, and are a failure where `SEGUE_REQUIRE_TOOLS` is `1`.
pub(crate) fn have(names: &[&str]) -> bool {
    let missing: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| find(name).is_none())
        .collect();
    if missing.is_empty() {
        return true;
    }
    let required = std::env::var("SEGUE_REQUIRE_TOOLS").is_ok_and(|v| v == "1");
    assert!(!required, "missing: {}", missing.join(", "));
    eprintln!(
        "skipped: missing {}; `make tools` installs them",
        missing.join(", ")
    );
    false
}

/// A command of a program that [`have`] has found.
pub(crate) fn command(name: &str) -> Command {
    let path = find(name).unwrap_or_else(|| panic!("{name} is not installed"));
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    command
}

/// Runs to the end; panics with the command's own words where it fails.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}
