//! What was measured on devices, as a file.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use gradus_tensor::{Choices, Tuning};
use serde::{Deserialize, Serialize};

use crate::{Error, replace};

/// Raised when the meaning of the file changes.
const VERSION: u32 = 1;

/// Everything in the file.
#[derive(Default, Deserialize, Serialize)]
struct File {
    version: u32,
    /// By adapter, backend and driver.
    adapters: BTreeMap<String, Choices>,
}

/// Goes on from what the file says of this adapter, and writes what is added.
pub(crate) fn open(path: &Path, adapter: String) -> Result<Tuning, Error> {
    let mut file = read(path)?;
    // Now, not after minutes of training, is the time to learn that it cannot be written.
    write(path, &file)?;
    let choices = file.adapters.remove(&adapter).unwrap_or_default();
    let path = path.to_owned();
    Ok(Tuning::new(choices, move |choices| {
        if let Err(error) = add(&path, &adapter, choices) {
            log::warn!("what was measured is lost when the program ends: {error}");
        }
    }))
}

/// Other programs may have added something meanwhile.
fn add(path: &Path, adapter: &str, choices: &Choices) -> Result<(), Error> {
    let mut file = read(path)?;
    let known = file.adapters.entry(adapter.to_string()).or_default();
    known.extend(choices.clone());
    write(path, &file)
}

fn read(path: &Path) -> Result<File, Error> {
    let new = File {
        version: VERSION,
        ..File::default()
    };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(new),
        Err(error) => return Err(failed(path, error)),
    };
    let file: File = serde_json::from_str(&text).map_err(|error| {
        failed(
            path,
            format!("it is no file of `Device::autotune`: {error}"),
        )
    })?;
    if file.version != VERSION {
        let (path, found) = (path.display(), file.version);
        log::info!("{path} has version {found}, not {VERSION}: everything is measured anew");
        return Ok(new);
    }
    Ok(file)
}

fn write(path: &Path, file: &File) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(file).map_err(|error| failed(path, error))?;
    text.push('\n');
    replace::file(path, text.as_bytes()).map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: impl ToString) -> Error {
    Error::Tuning {
        path: PathBuf::from(path),
        message: error.to_string(),
    }
}
