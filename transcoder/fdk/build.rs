//! Compiles FDK's encoder a second time, for x86-64 processors of the third level (AVX2, BMI).
//!
//! The sources are those of the crate fdk-aac-sys, which compiles them for any processor. All names
//! of the second copy are in a namespace of their own, so that both can be in one program: nothing
//! of the second is reached but by its five entry points, which the library calls where the
//! processor bears it. Where the sources aren't found, or for other processors, there is no second
//! copy, and the first one serves all: both yield the same bytes.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The version whose sources these are; Cargo.lock has the same.
const CRATE: &str = "fdk-aac-sys";

/// What an encoder is made of.
const LIBRARIES: [&str; 7] = [
    "libAACenc",
    "libFDK",
    "libMpegTPEnc",
    "libPCMutils",
    "libSACenc",
    "libSBRenc",
    "libSYS",
];

/// Headers of the system that FDK includes: they come first, outside of the namespace.
const SYSTEM: &str = "#include <assert.h>\n#include <math.h>\n#include <stdarg.h>\n\
    #include <stddef.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n\
    #include <sys/types.h>\n";

/// The entry points, by names that Rust knows.
const ENTRY: &str = r#"#include "aacenc_lib.h"
extern "C" {
AACENC_ERROR segue_fdk_v3_open(HANDLE_AACENCODER *h, UINT modules, UINT channels) {
  return aacEncOpen(h, modules, channels);
}
AACENC_ERROR segue_fdk_v3_close(HANDLE_AACENCODER *h) { return aacEncClose(h); }
AACENC_ERROR segue_fdk_v3_set(HANDLE_AACENCODER h, AACENC_PARAM param, UINT value) {
  return aacEncoder_SetParam(h, param, value);
}
AACENC_ERROR segue_fdk_v3_encode(HANDLE_AACENCODER h, const AACENC_BufDesc *in,
                                 const AACENC_BufDesc *out, const AACENC_InArgs *in_args,
                                 AACENC_OutArgs *out_args) {
  return aacEncEncode(h, in, out, in_args, out_args);
}
AACENC_ERROR segue_fdk_v3_info(HANDLE_AACENCODER h, AACENC_InfoStruct *info) {
  return aacEncInfo(h, info);
}
}
"#;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(fdk_v3)");
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    if !is("CARGO_CFG_TARGET_ARCH", "x86_64") || !is("CARGO_CFG_TARGET_FAMILY", "unix") {
        return;
    }
    let Some(sources) = registry().or_else(vendored) else {
        println!("cargo::warning=the sources of {CRATE} were not found: AAC without AVX2");
        return;
    };
    if let Err(error) = compile(&sources) {
        println!("cargo::warning=AAC without AVX2: {error}");
        return;
    }
    println!("cargo::rustc-cfg=fdk_v3");
}

/// The version that the workspace has locked.
fn version() -> Option<String> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    let lock = manifest.ancestors().map(|dir| dir.join("Cargo.lock"));
    let lock = lock.into_iter().find(|path| path.exists())?;
    println!("cargo::rerun-if-changed={}", lock.display());
    let text = fs::read_to_string(lock).ok()?;
    let entry = text
        .split(&format!("name = \"{CRATE}\"\nversion = \""))
        .nth(1)?;
    entry.split('"').next().map(str::to_owned)
}

/// Where Cargo unpacks what it downloads.
fn registry() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))?;
    let name = format!("{CRATE}-{}/aac", version()?);
    let registries = fs::read_dir(home.join("registry/src")).ok()?;
    let mut found = registries.flatten().map(|dir| dir.path().join(&name));
    found.find(|aac| aac.join("libAACenc").exists())
}

/// Where Cargo says: for dependencies that lie elsewhere.
fn vendored() -> Option<PathBuf> {
    let metadata = Command::new(env::var_os("CARGO")?)
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .arg("--filter-platform")
        .arg(env::var_os("TARGET")?)
        .current_dir(env::var_os("CARGO_MANIFEST_DIR")?)
        .output()
        .ok()?;
    let text = String::from_utf8(metadata.stdout).ok()?;
    let manifests = text.split("\"manifest_path\":\"").skip(1);
    let mut paths = manifests.filter_map(|rest| rest.split('"').next());
    let ours = paths.find(|path| path.contains(&format!("/{CRATE}")))?;
    Some(Path::new(ours).parent()?.join("aac")).filter(|aac| aac.exists())
}

fn compile(sources: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no output directory")?).join("v3");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    let mut build = cc::Build::new();
    build.cpp(true).warnings(false).opt_level(3).debug(false);
    build.define("FDK_FALLTHROUGH", "").flag("-march=x86-64-v3");
    // Nobody but the five entry points is to be seen, and nobody throws.
    build
        .flag_if_supported("-fno-exceptions")
        .flag_if_supported("-fno-rtti");
    let mut units = vec![unit(&out, "entry", ENTRY)?];
    for library in LIBRARIES {
        for part in ["include", "include/x86", "src"] {
            take_over(
                &sources.join(library).join(part),
                &out.join(library).join(part),
            )?;
        }
        build.include(out.join(library).join("include"));
        for file in names(&out.join(library).join("src"))? {
            if let Some(stem) = file.strip_suffix(".cpp") {
                let path = out.join(library).join("src").join(&file);
                let include = format!("#include \"{}\"\n", path.display());
                units.push(unit(&out, &format!("{library}-{stem}"), &include)?);
            }
        }
    }
    build.files(units);
    build.try_compile("segue-fdk-v3")?;
    Ok(())
}

/// A file of its own in which some code is in the namespace.
fn unit(out: &Path, stem: &str, code: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(out)?;
    let path = out.join(format!("{stem}.cpp"));
    fs::write(
        &path,
        format!("{SYSTEM}namespace segue_fdk_v3 {{\n{code}}}\n"),
    )?;
    Ok(path)
}

/// Copies sources; names that have C's linkage get C++'s, for a namespace doesn't part C's.
fn take_over(from: &Path, to: &Path) -> io::Result<()> {
    if !from.exists() {
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for file in names(from)? {
        let text = String::from_utf8_lossy(&fs::read(from.join(&file))?)
            .replace("extern \"C\" {", "extern \"C++\" {");
        fs::write(to.join(file), text)?;
    }
    Ok(())
}

/// Names of the files in a folder, sorted.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
