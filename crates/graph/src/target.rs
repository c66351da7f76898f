//! A plain description of a device: all that the planner knows of it.

/// What kind of device runs the plan. Decides which kernel variants are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceClass {
    /// A hardware GPU.
    Gpu,
    /// A GPU API run by the CPU (lavapipe, SwiftShader, WARP): barriers and workgroup memory are
    /// slow there.
    Software,
    /// The CPU executor.
    Cpu,
}

/// A device as the planner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// For messages.
    pub name: String,
    /// What kind of device.
    pub class: DeviceClass,
    /// Storage buffers that one kernel may bind.
    pub max_bindings: usize,
    /// Bytes of one storage binding.
    pub max_binding_bytes: u64,
    /// Bytes of one buffer.
    pub max_buffer_bytes: u64,
    /// Alignment of binding offsets, in bytes.
    pub offset_alignment: u64,
    /// Bytes of workgroup memory.
    pub workgroup_memory: u32,
    /// Invocations in one workgroup.
    pub max_invocations: u32,
    /// Loop iterations after which an invocation may be stopped, if any.
    pub max_loop_trips: Option<usize>,
    /// Bytes of attention's weights, over all heads, up to which they lie in memory: products and a
    /// softmax are faster there than a kernel that holds some rows at a time.
    pub max_attention_bytes: u64,
    /// Invocations in every subgroup, if kernels may use subgroup operations and the device has
    /// subgroups of one size only.
    pub subgroup: Option<u32>,
}

impl Target {
    /// WebGPU's default limits: what every browser and every GPU gives.
    pub fn webgpu() -> Self {
        Self {
            name: "webgpu".into(),
            class: DeviceClass::Gpu,
            max_bindings: 8,
            max_binding_bytes: 128 << 20,
            max_buffer_bytes: 256 << 20,
            offset_alignment: 256,
            workgroup_memory: 16 << 10,
            max_invocations: 256,
            max_loop_trips: None,
            max_attention_bytes: 0,
            subgroup: None,
        }
    }

    /// A typical discrete GPU. Drivers allow many more bindings.
    pub fn discrete() -> Self {
        Self {
            name: "discrete".into(),
            max_binding_bytes: 1 << 30,
            max_buffer_bytes: 1 << 30,
            max_bindings: 16,
            workgroup_memory: 32 << 10,
            max_invocations: 1024,
            ..Self::webgpu()
        }
    }

    /// Mesa's lavapipe, the software Vulkan device.
    pub fn lavapipe() -> Self {
        Self {
            name: "lavapipe".into(),
            class: DeviceClass::Software,
            max_buffer_bytes: (2 << 30) - 1,
            workgroup_memory: 32 << 10,
            max_invocations: 1024,
            // Mesa 22 stops loops silently after 65,535 iterations of an invocation.
            max_loop_trips: Some(60_000),
            max_attention_bytes: 64 << 20,
            subgroup: Some(8),
            ..Self::webgpu()
        }
    }

    /// The CPU executor.
    pub fn cpu() -> Self {
        Self {
            name: "cpu".into(),
            class: DeviceClass::Cpu,
            max_bindings: 64,
            max_binding_bytes: 1 << 40,
            max_buffer_bytes: 1 << 40,
            offset_alignment: 64,
            workgroup_memory: 0,
            max_invocations: 1,
            max_loop_trips: None,
            max_attention_bytes: 0,
            subgroup: None,
        }
    }

    /// Bytes of one slab shard: the largest that every rule allows.
    pub fn max_shard_bytes(&self) -> u64 {
        let most = self
            .max_binding_bytes
            .min(self.max_buffer_bytes)
            .min(1 << 30);
        most / 256 * 256
    }
}
