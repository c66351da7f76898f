//! A GPU for tests, and what happens where there is none.

use gradus::train::Device;
use libtest_mimic::{Failed, Trial};

/// What has to hold on a device.
pub(crate) type Check = fn(&Device) -> Result<(), Failed>;

/// Makes trials that run on any adapter, a software one included.
///
/// `GRADUS_TEST_GPU` says what a machine without an adapter means: `auto`, the default, shows the
/// trials as ignored; `required` makes them fail; `off` ignores them everywhere.
pub(crate) struct Gpu {
    device: Result<Device, String>,
    required: bool,
}

impl Gpu {
    pub(crate) fn from_env() -> Self {
        let mode = std::env::var("GRADUS_TEST_GPU").unwrap_or_else(|_| "auto".into());
        let device = match mode.as_str() {
            "auto" | "required" => Device::gpu()
                .or_else(|_| Device::named("software"))
                .map_err(|e| e.to_string()),
            "off" => Err("GRADUS_TEST_GPU=off".to_string()),
            _ => Err(format!(
                "GRADUS_TEST_GPU={mode} is none of auto, required, off"
            )),
        };
        match &device {
            Ok(device) => eprintln!("GPU tests run on {device}"),
            Err(reason) => eprintln!("GPU tests do not run: {reason}"),
        }
        Self {
            device,
            // A misspelt mode must not turn the requirement off.
            required: !matches!(mode.as_str(), "auto" | "off"),
        }
    }

    /// A trial that gets the device.
    pub(crate) fn trial(
        &self,
        name: impl Into<String>,
        run: impl FnOnce(&Device) -> Result<(), Failed> + Send + 'static,
    ) -> Trial {
        let device = self.device.clone();
        let ignored = device.is_err() && !self.required;
        Trial::test(name, move || run(&device?)).with_ignored_flag(ignored)
    }

    /// A trial on the CPU and one on the GPU.
    pub(crate) fn both(&self, name: &str, check: Check) -> [Trial; 2] {
        let on_cpu = Trial::test(format!("{name}/cpu"), move || check(&Device::cpu()));
        [on_cpu, self.trial(format!("{name}/gpu"), check)]
    }
}
