//! Finding an adapter and asking it for a device.

use std::fmt;

use crate::TensorError;

/// What a device is made of; the order is the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the processor's memory.
    Integrated,
    /// A GPU lent by a hypervisor.
    Virtual,
    /// The driver does not say.
    Other,
    /// No GPU: shaders run on the processor (lavapipe, SwiftShader, WARP).
    Software,
}

/// Names a device, for messages and reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// The adapter's name, as its driver gives it.
    pub name: String,
    /// What it is made of.
    pub kind: DeviceKind,
    /// `Vulkan`, `Metal` or `Dx12`.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
}

impl DeviceInfo {
    pub(crate) fn new(info: &wgpu::AdapterInfo) -> Self {
        Self {
            name: info.name.clone(),
            kind: match info.device_type {
                wgpu::DeviceType::DiscreteGpu => DeviceKind::Discrete,
                wgpu::DeviceType::IntegratedGpu => DeviceKind::Integrated,
                wgpu::DeviceType::VirtualGpu => DeviceKind::Virtual,
                wgpu::DeviceType::Other => DeviceKind::Other,
                wgpu::DeviceType::Cpu => DeviceKind::Software,
            },
            backend: format!("{:?}", info.backend),
            driver: format!("{} {}", info.driver, info.driver_info)
                .trim()
                .to_owned(),
        }
    }
}

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let software = if self.kind == DeviceKind::Software {
            ", software"
        } else {
            ""
        };
        write!(f, "\"{}\" ({}{software})", self.name, self.backend)
    }
}

/// Every adapter of this machine that a backend of ours reaches, best first.
pub(crate) async fn enumerate() -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    // wgpu's default for debug builds loads a validation layer, which old drivers lack and which
    // slows all calls; `WGPU_VALIDATION=1` still asks for it.
    descriptor.flags = wgpu::InstanceFlags::empty().with_env();
    let backends = descriptor.backends;
    let mut adapters = wgpu::Instance::new(descriptor)
        .enumerate_adapters(backends)
        .await;
    // Stable: among equals the driver's own order stays.
    adapters.sort_by_key(|adapter| DeviceInfo::new(&adapter.get_info()).kind);
    adapters
}

/// The first adapter that satisfies `accept` and gives a device.
pub(crate) async fn open(
    wanted: &str,
    accept: impl Fn(&DeviceInfo) -> bool,
) -> Result<(wgpu::Device, wgpu::Queue), TensorError> {
    let adapters = enumerate().await;
    let mut refusal = None;
    for adapter in &adapters {
        let info = DeviceInfo::new(&adapter.get_info());
        if !accept(&info) {
            continue;
        }
        match request(adapter).await {
            Ok(opened) => return Ok(opened),
            Err(error) => {
                let (adapter, message) = (info.to_string(), error.to_string());
                refusal.get_or_insert(TensorError::NoDevice { adapter, message });
            }
        }
    }
    Err(refusal.unwrap_or_else(|| TensorError::NoAdapter {
        wanted: wanted.to_owned(),
        available: adapters
            .iter()
            .map(|a| DeviceInfo::new(&a.get_info()).to_string())
            .collect(),
    }))
}

/// Asks for all that the adapter has: its real limits, and those optional features that kernels
/// know how to use.
async fn request(
    adapter: &wgpu::Adapter,
) -> Result<(wgpu::Device, wgpu::Queue), wgpu::RequestDeviceError> {
    let useful = wgpu::Features::TIMESTAMP_QUERY
        | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES
        | wgpu::Features::SHADER_F16
        | wgpu::Features::SUBGROUP
        | wgpu::Features::IMMEDIATES
        | wgpu::Features::PIPELINE_CACHE;
    adapter
        .request_device(&wgpu::DeviceDescriptor {
            label: Some("gradus"),
            required_features: adapter.features() & useful,
            required_limits: adapter.limits(),
            experimental_features: wgpu::ExperimentalFeatures::disabled(),
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        })
        .await
}
