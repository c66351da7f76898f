//! Where a model runs.

use std::fmt;

use gradus_graph::Target;
use gradus_graph::backend::{BackendError, ModelMemory, Runtime};

use crate::Error;
use crate::environment;

/// A GPU, a software device, or the CPU. Cheap to clone.
#[derive(Clone)]
pub struct Device {
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Cpu,
    #[cfg(feature = "gpu")]
    Gpu(gradus_tensor::Device),
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
            Kind::Gpu(device) => Some(device),
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

    /// True for the CPU executor.
    pub const fn is_cpu(&self) -> bool {
        matches!(self.kind, Kind::Cpu)
    }

    /// The device as the planner sees it.
    pub fn target(&self) -> Target {
        match &self.kind {
            Kind::Cpu => Target::cpu(),
            #[cfg(feature = "gpu")]
            Kind::Gpu(device) => device.target(),
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
            Kind::Gpu(device) => {
                let device = device.clone();
                #[cfg_attr(not(feature = "progress"), expect(unused_mut, reason = "set below"))]
                let mut runtime = gradus_tensor::GpuRuntime::new(device, memory)?;
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
            kind: Kind::Gpu(device),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Cpu => f.write_str("CPU"),
            #[cfg(feature = "gpu")]
            Kind::Gpu(device) => write!(f, "{}", device.info()),
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({self})")
    }
}
