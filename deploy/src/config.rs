//! `segue config`: what is wrong with a configuration file, and what an edge would run with.

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;
use serde_json::Value;

use crate::{edge_role, settings};

/// What `segue config` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read a file and report every fault in it, with line and key; nothing is started.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Print what `segue edge` would run with, given the same flags and environment: every key, its
    /// value and where that comes from. Secrets are hidden.
    Show(Box<edge_role::Args>),
}

/// Runs `segue config`; exit code 1 where there are faults.
///
/// # Errors
/// Where the file can't be read at all.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check { file } => check(file),
        Command::Show(args) => show(&args),
    }
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn check(file: PathBuf) -> anyhow::Result<ExitCode> {
    let settings = settings::read(Some(&file), Vec::new())?;
    if settings.faults.is_empty() {
        println!("{}: sound", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    for fault in &settings.faults {
        println!("{fault}");
    }
    Ok(ExitCode::FAILURE)
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn show(args: &edge_role::Args) -> anyhow::Result<ExitCode> {
    let settings = args.settings()?;
    println!("[edge]");
    let mut tables = Vec::new();
    if let Value::Object(fields) = serde_json::to_value(&settings.config)? {
        for (key, value) in fields {
            // The access log's file is a table in JSON only.
            match value {
                Value::Object(below) if key != "access-log" => tables.push((key, below)),
                value => println!("{}", line(&settings, "", &key, &value)),
            }
        }
    }
    for (table, fields) in tables {
        println!("\n[edge.{table}]");
        for (key, value) in fields {
            println!("{}", line(&settings, &table, &key, &value));
        }
    }
    for fault in &settings.faults {
        println!("# fault: {fault}");
    }
    Ok(match settings.faults.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// A key and its value as in a file, and where it comes from.
fn line(settings: &settings::Settings, table: &str, key: &str, value: &Value) -> String {
    let path = match table {
        "" => key.to_owned(),
        table => format!("{table}.{key}"),
    };
    let setting = match value {
        Value::Null => format!("# {key} is not set"),
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(k, v)| format!("{k} = {v}")).collect();
            format!("{key} = {{ {} }}", fields.join(", "))
        }
        value => format!("{key} = {value}"),
    };
    match settings.origins.get(&path) {
        Some(origin) => format!("{setting:<44} # {origin}"),
        None => setting,
    }
}
