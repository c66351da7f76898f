//! A device for tests, and what happens where there is none.

use gradus_tensor::{Device, TensorError};
use libtest_mimic::{Failed, Trial};

/// Makes trials that run on any adapter, a software one included.
///
/// `GRADUS_TEST_GPU` says what a machine without an adapter means: `auto`, the default, shows the
/// trials as ignored; `required` makes them fail. `off` ignores them everywhere.
pub(crate) struct Gpu {
    device: Result<Device, String>,
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
        Self { device, required }
    }

    pub(crate) fn trial(
        &self,
        name: &str,
        run: impl FnOnce(Device) -> anyhow::Result<()> + Send + 'static,
    ) -> Trial {
        let device = self.device.clone();
        let ignored = device.is_err() && !self.required;
        let body = move || run(device?).map_err(|error| Failed::from(format!("{error:?}")));
        Trial::test(name, body).with_ignored_flag(ignored)
    }
}

/// A fresh device, since some tests break theirs.
pub(crate) fn open() -> Result<Device, TensorError> {
    Device::best().or_else(|_| Device::named("software"))
}
