//! A device for tests, and what happens where there is none.

use std::sync::{Arc, Mutex, PoisonError};

use gradus_tensor::{Device, TensorError};
use libtest_mimic::{Failed, Trial};

/// Makes trials that run on any adapter, a software one included.
///
/// `GRADUS_TEST_GPU` says what a machine without an adapter means: `auto`, the default, shows the
/// trials as ignored; `required` makes them fail. `off` ignores them everywhere.
pub(crate) struct Gpu {
    free: Arc<Mutex<Vec<Device>>>,
    missing: Option<String>,
    required: bool,
}

impl Gpu {
    pub(crate) fn from_env() -> Self {
        let mode = std::env::var("GRADUS_TEST_GPU").unwrap_or_else(|_| "auto".into());
        let device = match mode.as_str() {
            "auto" | "required" => open().map_err(|error| error.to_string()),
            "off" => Err("GRADUS_TEST_GPU=off".into()),
            _ => Err(format!(
                "GRADUS_TEST_GPU={mode} is none of auto, required, off"
            )),
        };
        match &device {
            Ok(device) => eprintln!("GPU tests run on {}", device.info()),
            Err(reason) => eprintln!("GPU tests do not run: {reason}"),
        }
        let required = !matches!(mode.as_str(), "auto" | "off");
        Self {
            missing: device.as_ref().err().cloned(),
            free: Arc::new(Mutex::new(device.into_iter().collect())),
            required,
        }
    }

    /// A trial that gets a device, which is its own while it runs: a software device compiles all
    /// its shaders on one thread.
    pub(crate) fn trial(
        &self,
        name: &str,
        run: impl FnOnce(Device) -> anyhow::Result<()> + Send + 'static,
    ) -> Trial {
        let (free, missing) = (Arc::clone(&self.free), self.missing.clone());
        let ignored = missing.is_some() && !self.required;
        let body = move || {
            if let Some(reason) = missing {
                return Err(reason.into());
            }
            let lock = || free.lock().unwrap_or_else(PoisonError::into_inner);
            let found = lock().pop();
            let device = found.map_or_else(open, Ok)?;
            let outcome = run(device.clone());
            lock().push(device);
            outcome.map_err(|error| Failed::from(format!("{error:?}")))
        };
        Trial::test(name, body).with_ignored_flag(ignored)
    }
}

/// A fresh device, since some tests break theirs.
pub(crate) fn open() -> Result<Device, TensorError> {
    Device::best().or_else(|_| Device::named("software"))
}
