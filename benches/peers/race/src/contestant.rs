//! Who takes part.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Where a contestant computes: it is compared with Gradus there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Cpu,
    Gpu,
}

#[derive(Clone, Debug)]
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) side: Side,
    program: Program,
    /// Why it cannot start.
    unbuilt: Option<String>,
}

#[derive(Clone, Debug)]
enum Program {
    /// A package of this workspace, and an argument.
    Package(&'static str, Option<String>),
    /// An interpreter, and the library that it shall use.
    Python(String, &'static str),
}

/// Everyone; the first of a side is Gradus.
pub(crate) fn all(gpu: &str, python: &str) -> Vec<Contestant> {
    use Side::{Cpu, Gpu};
    let gradus = |side, device: &str| Contestant {
        name: format!("gradus {device}"),
        side,
        program: Program::Package("race-gradus", Some(device.into())),
        unbuilt: None,
    };
    let package = |name: &str, side, package| Contestant {
        name: name.into(),
        side,
        program: Program::Package(package, None),
        unbuilt: None,
    };
    let library = |library: &'static str| Contestant {
        name: library.into(),
        side: Cpu,
        program: Program::Python(python.into(), library),
        unbuilt: None,
    };
    vec![
        gradus(Cpu, "cpu"),
        package("burn-flex", Cpu, "race-burn-flex"),
        package("candle", Cpu, "race-candle"),
        package("gemm", Cpu, "race-gemm"),
        package("gemmkit", Cpu, "race-gemmkit"),
        library("numpy"),
        library("torch"),
        library("torch-fused"),
        library("jax"),
        gradus(Gpu, gpu),
        package("burn-wgpu", Gpu, "race-burn-wgpu"),
        package("burn-vulkan", Gpu, "race-burn-vulkan"),
        package("meganeura", Gpu, "race-meganeura"),
    ]
}

impl Contestant {
    /// Compiles it by itself, so that no contestant is given features that another asked for.
    /// One that does not compile fails where it would start.
    pub(crate) fn build(&mut self) -> Result<()> {
        let Program::Package(package, _) = &self.program else {
            return Ok(());
        };
        let status = Command::new(env!("CARGO"))
            .args(["build", "--release", "--locked", "--package", package])
            .current_dir(workspace())
            .status()?;
        if !status.success() {
            self.unbuilt = Some(format!("{package} does not compile"));
        }
        Ok(())
    }

    /// Starts it.
    pub(crate) fn command(&self) -> Result<Command> {
        if let Some(reason) = &self.unbuilt {
            bail!("{reason}");
        }
        match &self.program {
            Program::Package(package, argument) => {
                let race = std::env::current_exe()?;
                let folder = race.parent().context("this program lies in no folder")?;
                let mut command = Command::new(folder.join(package));
                command.args(argument);
                Ok(command)
            }
            Program::Python(python, library) => {
                let mut command = Command::new(python);
                command.arg(workspace().join("python/contestant.py"));
                command.arg(library);
                Ok(command)
            }
        }
    }
}

fn workspace() -> PathBuf {
    let race = Path::new(env!("CARGO_MANIFEST_DIR"));
    race.parent().unwrap_or(race).to_path_buf()
}
