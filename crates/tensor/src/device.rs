//! A GPU, or a software device, that runs our kernels.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gradus_graph::{DeviceClass, Target};

use crate::TensorError;
use crate::adapters::{self, DeviceInfo, DeviceKind};
use crate::bind::MAX_BINDING;
use crate::cache::Pipelines;
use crate::counters::{Counters, Counts};
use crate::health::Health;
use crate::memory::{self, Memory};
use crate::read::Staging;

/// How long a wait may take unless [`Device::set_timeout`] says otherwise. Drivers reset a GPU
/// that hangs for some seconds; software devices on a busy machine are only slow.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A device: cheap to clone, shared between threads, freed with its last clone.
#[derive(Clone)]
pub struct Device {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    wgpu: wgpu::Device,
    queue: wgpu::Queue,
    info: DeviceInfo,
    limits: wgpu::Limits,
    features: wgpu::Features,
    timeout_ms: AtomicU64,
    // In an `Arc` of its own because wgpu's callbacks hold it too, and must not hold the device.
    pub(crate) health: Arc<Health>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) counts: Counts,
    pub(crate) pipelines: Pipelines,
    pub(crate) staging: Mutex<Vec<Staging>>,
    pub(crate) eager: crate::tensor::Cache,
}

impl Device {
    /// The best hardware GPU: discrete before integrated before virtual.
    ///
    /// # Errors
    ///
    /// [`TensorError::NoAdapter`] where there is none; a software device must be asked for with
    /// [`Device::named`].
    pub fn best() -> Result<Self, TensorError> {
        pollster::block_on(Self::best_async())
    }

    /// The same as [`Device::best`], without blocking.
    pub async fn best_async() -> Result<Self, TensorError> {
        Self::open("hardware GPU", |info| info.kind != DeviceKind::Software).await
    }

    /// The best adapter whose name contains `name`, in upper or lower case; `software` stands for
    /// any software device, whatever its name.
    ///
    /// # Errors
    ///
    /// [`TensorError::NoAdapter`] lists the adapters there are.
    pub fn named(name: &str) -> Result<Self, TensorError> {
        pollster::block_on(Self::named_async(name))
    }

    /// The same as [`Device::named`], without blocking.
    pub async fn named_async(name: &str) -> Result<Self, TensorError> {
        let wanted = name.to_lowercase();
        let accept = |info: &DeviceInfo| match wanted.as_str() {
            "software" => info.kind == DeviceKind::Software,
            _ => info.name.to_lowercase().contains(&wanted),
        };
        Self::open(&format!("\"{name}\""), accept).await
    }

    /// Every adapter of this machine, best first.
    pub fn all() -> Vec<DeviceInfo> {
        let adapters = pollster::block_on(adapters::enumerate());
        adapters
            .iter()
            .map(|adapter| DeviceInfo::new(&adapter.get_info()))
            .collect()
    }

    /// Uses an application's device, so that buffers can be shared with it.
    ///
    /// The device keeps the application's error and loss callbacks, and only the limits and
    /// features it was made with are used. Since a loss is then told to the application alone, we
    /// notice it at the next read or wait that fails.
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let info = DeviceInfo::new(&device.adapter_info());
        Self::new(device, queue, info)
    }

    async fn open(wanted: &str, accept: impl Fn(&DeviceInfo) -> bool) -> Result<Self, TensorError> {
        let (device, queue) = adapters::open(wanted, accept).await?;
        let device = Self::from_wgpu(device, queue);
        device.install_handlers();
        log::info!("device {} with {}", device.info(), device.info().driver);
        Ok(device)
    }

    fn new(wgpu: wgpu::Device, queue: wgpu::Queue, info: DeviceInfo) -> Self {
        let budget = match info.kind {
            DeviceKind::Software => memory::half_of_physical(),
            _ => None,
        };
        let inner = Inner {
            limits: wgpu.limits(),
            features: wgpu.features(),
            timeout_ms: AtomicU64::new(TIMEOUT.as_millis() as u64),
            health: Arc::default(),
            memory: Memory::new(budget),
            counts: Counts::default(),
            pipelines: Pipelines::default(),
            staging: Mutex::default(),
            eager: Mutex::default(),
            wgpu,
            queue,
            info,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Without these, wgpu panics on an error outside of a scope and keeps a loss to itself.
    fn install_handlers(&self) {
        let health = Arc::clone(&self.inner.health);
        self.inner
            .wgpu
            .on_uncaptured_error(Arc::new(move |error| health.uncaptured(&error)));
        let health = Arc::clone(&self.inner.health);
        self.inner
            .wgpu
            .set_device_lost_callback(move |reason, message| {
                health.lose(format!("{reason:?}: {message}"));
            });
    }

    /// The name, kind, backend and driver of this device.
    pub fn info(&self) -> &DeviceInfo {
        &self.inner.info
    }

    /// The wgpu device, for applications that share buffers with it.
    pub fn wgpu_device(&self) -> &wgpu::Device {
        &self.inner.wgpu
    }

    /// The wgpu queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.inner.queue
    }

    /// This device as the planner sees it.
    pub fn target(&self) -> Target {
        let (info, limits) = (&self.inner.info, &self.inner.limits);
        // Mesa's lavapipe stops loops silently after 65,535 iterations of an invocation (seen in
        // 22.3, gone in 25.0).
        let counts_loops = info.name.contains("llvmpipe");
        let adapter = self.inner.wgpu.adapter_info();
        let (least, most) = (adapter.subgroup_min_size, adapter.subgroup_max_size);
        let subgroups = self.inner.features.contains(wgpu::Features::SUBGROUP);
        let class = match info.kind {
            DeviceKind::Software => DeviceClass::Software,
            _ => DeviceClass::Gpu,
        };
        Target {
            name: info.name.clone(),
            class,
            max_bindings: limits.max_storage_buffers_per_shader_stage as usize,
            max_binding_bytes: limits.max_storage_buffer_binding_size.min(MAX_BINDING),
            max_buffer_bytes: limits.max_buffer_size,
            offset_alignment: limits.min_storage_buffer_offset_alignment.into(),
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            max_loop_trips: counts_loops.then_some(60_000),
            max_attention_bytes: match class {
                DeviceClass::Software => Target::lavapipe().max_attention_bytes,
                DeviceClass::Gpu | DeviceClass::Cpu => 0,
            },
            subgroup: (subgroups && least == most).then_some(least),
        }
    }

    /// The limits this device was made with.
    pub fn limits(&self) -> &wgpu::Limits {
        &self.inner.limits
    }

    /// The features this device was made with.
    pub fn features(&self) -> wgpu::Features {
        self.inner.features
    }

    /// The most bytes this device's buffers may take together; `None` leaves it to the driver.
    ///
    /// Software devices start with half of the machine's memory, GPUs with no budget.
    pub fn set_memory_budget(&self, bytes: Option<u64>) {
        self.inner.memory.set_budget(bytes);
    }

    /// The budget in bytes, where there is one.
    pub fn memory_budget(&self) -> Option<u64> {
        self.inner.memory.budget()
    }

    /// The bytes that buffers made through this device take now.
    pub fn allocated(&self) -> u64 {
        self.inner.memory.allocated()
    }

    /// How long a wait may take before it gives [`TensorError::Timeout`]; 120 s at first.
    pub fn set_timeout(&self, timeout: Duration) {
        let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.inner.timeout_ms.store(ms, Relaxed);
    }

    /// How long a wait may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.inner.timeout_ms.load(Relaxed))
    }

    /// What was done on this device so far.
    pub fn counters(&self) -> Counters {
        self.inner.counts.snapshot()
    }

    /// Gives the device up: from now on every operation is [`TensorError::DeviceLost`].
    pub fn destroy(&self) {
        self.inner.wgpu.destroy();
        self.inner
            .health
            .lose("it was destroyed by this program".to_owned());
    }

    /// The first thing every operation asks.
    ///
    /// # Errors
    ///
    /// [`TensorError::DeviceLost`] from the moment the loss is known; an error that wgpu reported
    /// outside of our calls, once.
    pub fn check(&self) -> Result<(), TensorError> {
        self.inner.health.check()
    }

    /// Whether this is the same device, not only one of the same adapter.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("info", self.info())
            .finish_non_exhaustive()
    }
}
