//! The command line.

use anyhow::{Context, Result, bail};

pub(crate) struct Options {
    /// Fewer and shorter turns, one start: to see that everything runs.
    pub(crate) quick: bool,
    /// Show names and stop.
    pub(crate) list: bool,
    /// The interpreter that has PyTorch and JAX.
    pub(crate) python: String,
    /// `gpu`, or part of the name of the adapter that Gradus takes; peers take the first that they
    /// find.
    pub(crate) gpu: String,
    only: Vec<String>,
    words: Vec<String>,
}

impl Options {
    pub(crate) fn from_args(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            quick: false,
            list: false,
            python: "python3".into(),
            gpu: "gpu".into(),
            only: Vec::new(),
            words: Vec::new(),
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--list" => options.list = true,
                "--python" => options.python = from_here(value()?)?,
                "--gpu" => options.gpu = value()?,
                "--only" => options.only = value()?.split(',').map(str::to_string).collect(),
                option if option.starts_with("--") => {
                    bail!("no option {option}; there are --quick, --list, --only, --python, --gpu")
                }
                _ => options.words.push(arg),
            }
        }
        Ok(options)
    }

    pub(crate) fn wants_contestant(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }

    pub(crate) fn wants_workload(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }
}

/// A path that holds in other folders, too; links stay, as an environment's interpreter is one.
fn from_here(program: String) -> Result<String> {
    if !program.contains('/') {
        return Ok(program);
    }
    Ok(std::path::absolute(program)?.display().to_string())
}
