//! Where a model runs.

use std::fmt;
use std::path::Path;
#[cfg(feature = "gpu")]
use std::sync::Arc;

use gradus_graph::Target;
use gradus_graph::backend::{BackendError, ModelMemory, Runtime};

use crate::Error;
use crate::environment;
#[cfg(feature = "gpu")]
use crate::tuning;

/// A GPU, a software device, or the CPU. Cheap to clone.
#[derive(Clone)]
pub struct Device {
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Cpu,
    #[cfg(feature = "gpu")]
    Gpu {
        device: gradus_tensor::Device,
        tuning: Option<Arc<gradus_tensor::Tuning>>,
    },
}

impl Device {
    /// The best hardware GPU; where there is none, the CPU, with one line of log.
    ///
    /// The environment variable `GRADUS_DEVICE` decides otherwise: `cpu`, `gpu` (a hardware GPU
    /// or an error), or part of an adapter's name.
    ///
    /// # Errors
    /// If the variable asks for a device that is not there.
    pub fn best() -> Result<Self, Error> {
        match environment::device()?.as_deref() {
            Some("cpu") => Ok(Self::cpu()),
            Some("gpu") => Self::gpu(),
            Some(name) => Self::named(name),
            None => Ok(Self::gpu().unwrap_or_else(|reason| {
                say(&format!("training on the CPU: {reason}"));
                Self::cpu()
            })),
        }
    }

    /// The CPU.
    pub const fn cpu() -> Self {
        Self { kind: Kind::Cpu }
    }

    /// The best hardware GPU: discrete before integrated.
    ///
    /// # Errors
    /// If there is none, or this program was built without the feature `gpu`.
    #[cfg(feature = "gpu")]
    pub fn gpu() -> Result<Self, Error> {
        let device = gradus_tensor::Device::best();
        device.map(Self::from).map_err(|e| Error::Device(e.into()))
    }

    /// The best adapter whose name contains `name`, in upper or lower case, or `cpu`. A software
    /// device is used only when named: `llvmpipe`, or `software` for any.
    ///
    /// # Errors
    /// If there is none; the error lists the adapters there are.
    #[cfg(feature = "gpu")]
    pub fn named(name: &str) -> Result<Self, Error> {
        if name.eq_ignore_ascii_case("cpu") {
            return Ok(Self::cpu());
        }
        let device = gradus_tensor::Device::named(name);
        device.map(Self::from).map_err(|e| Error::Device(e.into()))
    }

    /// An application's own device: the model's buffers live beside those of the application.
    #[cfg(feature = "gpu")]
    pub fn from_wgpu(
        device: gradus_tensor::wgpu::Device,
        queue: gradus_tensor::wgpu::Queue,
    ) -> Self {
        gradus_tensor::Device::from_wgpu(device, queue).into()
    }

    /// The device below, if it is not the CPU.
    #[cfg(feature = "gpu")]
    pub const fn as_gpu(&self) -> Option<&gradus_tensor::Device> {
        match &self.kind {
            Kind::Cpu => None,
            Kind::Gpu { device, .. } => Some(device),
        }
    }

    /// The best hardware GPU: not in this program, which was built without the feature `gpu`.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "gpu"))]
    pub fn gpu() -> Result<Self, Error> {
        Err(Error::Device(WITHOUT_GPU.into()))
    }

    /// The device of this name: only `cpu` in this program, which was built without the feature
    /// `gpu`.
    ///
    /// # Errors
    /// For any other name.
    #[cfg(not(feature = "gpu"))]
    pub fn named(name: &str) -> Result<Self, Error> {
        if name.eq_ignore_ascii_case("cpu") {
            return Ok(Self::cpu());
        }
        Err(Error::Device(WITHOUT_GPU.into()))
    }

    /// Has each kernel computed in the variant that is fastest on this device, instead of the one
    /// that a table picks by shape and class of device.
    ///
    /// The file at `path` keeps what was measured, by adapter and driver; it is made if it is not
    /// there. Kernels that it does not know are measured when they are first compiled, which takes
    /// a fraction of a second for each, and added. Off unless asked for, because what is fastest
    /// may differ from one measurement to the next, and variants differ in the last bits: runs are
    /// repeatable as long as they use the same file. On the CPU there is nothing to choose.
    ///
    /// # Errors
    /// If the file is damaged, or cannot be read or written.
    pub fn autotune(self, path: impl AsRef<Path>) -> Result<Self, Error> {
        #[cfg(not(feature = "gpu"))]
        let _ = path;
        let kind = match self.kind {
            Kind::Cpu => Kind::Cpu,
            #[cfg(feature = "gpu")]
            Kind::Gpu { device, .. } => {
                let tuning = tuning::open(path.as_ref(), device.info().to_string())?;
                let tuning = Some(Arc::new(tuning));
                Kind::Gpu { device, tuning }
            }
        };
        Ok(Self { kind })
    }

    /// True for the CPU executor.
    pub const fn is_cpu(&self) -> bool {
        matches!(self.kind, Kind::Cpu)
    }

    /// The device as the planner sees it.
    pub fn target(&self) -> Target {
        match &self.kind {
            Kind::Cpu => Target::cpu(),
            #[cfg(feature = "gpu")]
            Kind::Gpu { device, .. } => device.target(),
        }
    }

    /// Memory for a model, and the means to run plans over it: for programs that make their own
    /// plans.
    ///
    /// # Errors
    /// If the device has too little memory or is lost.
    pub fn runtime(&self, memory: ModelMemory) -> Result<Box<dyn Runtime>, BackendError> {
        match &self.kind {
            Kind::Cpu => Ok(Box::new(gradus_cpu::CpuRuntime::new(memory))),
            #[cfg(feature = "gpu")]
            Kind::Gpu { device, tuning } => {
                let mut runtime = gradus_tensor::GpuRuntime::new(device.clone(), memory)?;
                if let Some(tuning) = tuning {
                    runtime.tune(Arc::clone(tuning));
                }
                #[cfg(feature = "progress")]
                runtime.set_progress(crate::progress::kernels());
                Ok(Box::new(runtime))
            }
        }
    }
}

/// What a person should see without asking: in the log, or on standard error if the program has
/// set up no logger.
pub(crate) fn say(text: &str) {
    if log::max_level() == log::LevelFilter::Off {
        eprintln!("{text}");
    } else {
        log::info!("{text}");
    }
}

#[cfg(not(feature = "gpu"))]
const WITHOUT_GPU: &str = "this program was built without the feature `gpu`";

#[cfg(feature = "gpu")]
impl From<gradus_tensor::Device> for Device {
    fn from(device: gradus_tensor::Device) -> Self {
        Self {
            kind: Kind::Gpu {
                device,
                tuning: None,
            },
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Cpu => f.write_str("CPU"),
            #[cfg(feature = "gpu")]
            Kind::Gpu { device, .. } => write!(f, "{}", device.info()),
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({self})")
    }
}
