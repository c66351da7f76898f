//! A GPU for tests, and what happens where there is none.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gradus::train::Device;
use libtest_mimic::{Failed, Trial};

/// What has to hold on a device.
pub(crate) type Check = fn(&Device) -> Result<(), Failed>;

/// Makes trials that run on any adapter, a software one included.
///
/// `GRADUS_TEST_GPU` says what a machine without an adapter means: `auto`, the default, shows the
/// trials as ignored; `required` makes them fail; `off` ignores them everywhere.
pub(crate) struct Gpu {
    free: Arc<Mutex<Vec<Device>>>,
    ignored: bool,
}

impl Gpu {
    pub(crate) fn from_env() -> Self {
        let device = open();
        match &device {
            Ok(device) => eprintln!("GPU tests run on {device}"),
            Err(reason) => eprintln!("GPU tests do not run: {reason}"),
        }
        Self {
            // A misspelt mode must not turn the requirement off.
            ignored: device.is_err() && matches!(mode().as_str(), "auto" | "off"),
            free: Arc::new(Mutex::new(device.into_iter().collect())),
        }
    }

    /// A trial that gets a device, which is its own while it runs: a software device compiles all
    /// its shaders on one thread.
    pub(crate) fn trial(
        &self,
        name: impl Into<String>,
        run: impl FnOnce(&Device) -> Result<(), Failed> + Send + 'static,
    ) -> Trial {
        let free = Arc::clone(&self.free);
        let run = move || {
            let found = lock(&free).pop();
            let device = found.map_or_else(open, Ok)?;
            let outcome = run(&device);
            lock(&free).push(device);
            outcome
        };
        Trial::test(name, run).with_ignored_flag(self.ignored)
    }

    /// A trial on the CPU and one on the GPU.
    pub(crate) fn both(&self, name: &str, check: Check) -> [Trial; 2] {
        let on_cpu = Trial::test(format!("{name}/cpu"), move || check(&Device::cpu()));
        [on_cpu, self.trial(format!("{name}/gpu"), check)]
    }
}

fn mode() -> String {
    std::env::var("GRADUS_TEST_GPU").unwrap_or_else(|_| "auto".into())
}

fn open() -> Result<Device, String> {
    match mode().as_str() {
        "auto" | "required" => Device::gpu()
            .or_else(|_| Device::named("software"))
            .map_err(|e| e.to_string()),
        "off" => Err("GRADUS_TEST_GPU=off".to_string()),
        mode => Err(format!(
            "GRADUS_TEST_GPU={mode} is none of auto, required, off"
        )),
    }
}

fn lock(free: &Mutex<Vec<Device>>) -> MutexGuard<'_, Vec<Device>> {
    free.lock().unwrap_or_else(PoisonError::into_inner)
}
