//! Environment variables. Each is described in `docs/env.md`.

use std::path::PathBuf;

use crate::Error;

const DEVICE: &str = "GRADUS_DEVICE";
const EXAMPLE_EPOCHS: &str = "GRADUS_EXAMPLE_EPOCHS";
const PROFILE: &str = "GRADUS_PROFILE";

/// `GRADUS_DEVICE`: `gpu`, `cpu`, or part of an adapter's name. Unset or empty is `None`.
pub(crate) fn device() -> Result<Option<String>, Error> {
    read(DEVICE, "gpu, cpu or part of an adapter's name")
}

/// `GRADUS_EXAMPLE_EPOCHS`: the most epochs that a call of `fit` runs, so that examples can be
/// tried for a few steps.
pub(crate) fn example_epochs() -> Result<Option<usize>, Error> {
    let expected = "a number of epochs, at least 1";
    let Some(value) = read(EXAMPLE_EPOCHS, expected)? else {
        return Ok(None);
    };
    match value.parse() {
        Ok(epochs) if epochs > 0 => Ok(Some(epochs)),
        _ => Err(Error::Environment {
            name: EXAMPLE_EPOCHS,
            value,
            expected,
        }),
    }
}

/// `GRADUS_PROFILE`: where `fit` writes a trace of a few steps.
pub(crate) fn profile() -> Result<Option<PathBuf>, Error> {
    Ok(read(PROFILE, "the path of a file to write")?.map(PathBuf::from))
}

fn read(name: &'static str, expected: &'static str) -> Result<Option<String>, Error> {
    match std::env::var(name) {
        Ok(value) => Ok((!value.is_empty()).then_some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(value)) => Err(Error::Environment {
            name,
            value: value.to_string_lossy().into_owned(),
            expected,
        }),
    }
}
