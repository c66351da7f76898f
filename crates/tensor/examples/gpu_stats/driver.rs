//! Compiling compute pipelines with a Vulkan driver that says what became of them.
#![allow(unsafe_code, reason = "Vulkan is a C interface")]

use std::ffi::CStr;
use std::fmt;

use anyhow::{Context, Result, bail};
use ash::khr::pipeline_executable_properties as properties;
use ash::vk;
use gradus_tensor::kernels::Shader;

/// What a driver tells about a shader.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Statistics {
    pub(crate) vgprs: u64,
    /// Scalar and vector registers that did not fit.
    pub(crate) spills: u64,
    pub(crate) lds: u64,
    pub(crate) waves: u64,
    pub(crate) inverse_throughput: u64,
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            vgprs,
            spills,
            lds,
            waves,
            inverse_throughput,
        } = self;
        write!(
            f,
            "{vgprs} | {spills} | {lds} | {waves} | {inverse_throughput}"
        )
    }
}

/// A device of a driver with statistics. It is never given back: the process ends with it.
pub(crate) struct Driver {
    // Everything below is called through it.
    _entry: ash::Entry,
    device: ash::Device,
    properties: properties::Device,
    name: String,
}

impl Driver {
    pub(crate) fn open() -> Result<Self> {
        for (variable, value) in [
            // A Navi 31 that compiles and cannot run.
            ("RADV_FORCE_FAMILY", "gfx1100"),
            // Pipelines from the cache come without statistics.
            ("MESA_SHADER_CACHE_DISABLE", "1"),
        ] {
            if std::env::var_os(variable).is_none() {
                // SAFETY: no other thread exists yet.
                unsafe { std::env::set_var(variable, value) };
            }
        }
        // SAFETY: the handles that these calls take come from those before, and all structures
        // that they point to outlive them.
        unsafe {
            let entry = ash::Entry::load().context("there is no Vulkan loader")?;
            let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let create = vk::InstanceCreateInfo::default().application_info(&app);
            let instance = entry.create_instance(&create, None)?;
            for physical in instance.enumerate_physical_devices()? {
                let extensions = instance.enumerate_device_extension_properties(physical)?;
                let named = |e: &vk::ExtensionProperties| {
                    e.extension_name_as_c_str() == Ok(properties::NAME)
                };
                if extensions.iter().any(named) {
                    return Self::new(entry, &instance, physical);
                }
            }
        }
        bail!(
            "no Vulkan driver here has VK_KHR_pipeline_executable_properties: install Mesa's RADV"
        );
    }

    /// # Safety
    /// The physical device is the instance's, and the instance the entry's.
    unsafe fn new(
        entry: ash::Entry,
        instance: &ash::Instance,
        physical: vk::PhysicalDevice,
    ) -> Result<Self> {
        let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
        let extensions = [properties::NAME.as_ptr()];
        let mut executables = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default()
            .pipeline_executable_info(true);
        let mut memory_model =
            vk::PhysicalDeviceVulkanMemoryModelFeatures::default().vulkan_memory_model(true);
        let create = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queues)
            .enabled_extension_names(&extensions)
            .push_next(&mut executables)
            .push_next(&mut memory_model);
        // SAFETY: as the caller promises; the structures live until the end of the block.
        unsafe {
            let name = instance.get_physical_device_properties(physical);
            let device = instance.create_device(physical, &create, None)?;
            Ok(Self {
                properties: properties::Device::new(instance, &device),
                name: name.device_name_as_c_str()?.to_string_lossy().into_owned(),
                device,
                _entry: entry,
            })
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Makes a pipeline and asks for its statistics.
    pub(crate) fn compile(&self, words: &[u32], shader: &Shader) -> Result<Statistics> {
        let binding = |i, kind| {
            vk::DescriptorSetLayoutBinding::default()
                .binding(i)
                .descriptor_type(kind)
                .descriptor_count(1)
                .stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let storage = (0..).zip(&shader.bindings);
        let storage = storage.map(|(i, _)| binding(i, vk::DescriptorType::STORAGE_BUFFER));
        let uniform = shader
            .step_row
            .then(|| binding(0, vk::DescriptorType::UNIFORM_BUFFER));
        let sets: [Vec<_>; 2] = [storage.collect(), uniform.into_iter().collect()];
        let entry = std::ffi::CString::new(shader.entry)?;
        // SAFETY: handles are this device's, structures outlive the calls, and nothing is in use
        // when it is destroyed.
        unsafe {
            let device = &self.device;
            let module = vk::ShaderModuleCreateInfo::default().code(words);
            let module = device.create_shader_module(&module, None)?;
            let mut layouts = Vec::new();
            for bindings in &sets {
                let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(bindings);
                layouts.push(device.create_descriptor_set_layout(&set, None)?);
            }
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&layouts);
            let layout = device.create_pipeline_layout(&layout, None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(&entry);
            let create = vk::ComputePipelineCreateInfo::default()
                .flags(vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR)
                .stage(stage)
                .layout(layout);
            let made = device.create_compute_pipelines(vk::PipelineCache::null(), &[create], None);
            let pipeline = made.map_err(|(_, error)| error)?;
            let pipeline = pipeline.first().copied().context("no pipeline")?;
            let statistics = self.statistics(pipeline);
            device.destroy_pipeline(pipeline, None);
            device.destroy_pipeline_layout(layout, None);
            for layout in layouts {
                device.destroy_descriptor_set_layout(layout, None);
            }
            device.destroy_shader_module(module, None);
            statistics
        }
    }

    fn statistics(&self, pipeline: vk::Pipeline) -> Result<Statistics> {
        let executable = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        // SAFETY: the pipeline is this device's and captured statistics; a compute pipeline has
        // one executable.
        let all = unsafe {
            self.properties
                .get_pipeline_executable_statistics(&executable)?
        };
        let find = |name: &CStr| {
            let one = all.iter().find(|s| s.name_as_c_str() == Ok(name));
            let one = one.with_context(|| format!("the driver does not tell {name:?}"))?;
            anyhow::ensure!(
                one.format == vk::PipelineExecutableStatisticFormatKHR::UINT64,
                "{name:?} is no whole number"
            );
            // SAFETY: the format says which member is meant.
            Ok(unsafe { one.value.u64 })
        };
        Ok(Statistics {
            vgprs: find(c"VGPRs")?,
            spills: find(c"Spilled SGPRs")? + find(c"Spilled VGPRs")?,
            lds: find(c"LDS size")?,
            waves: find(c"Subgroups per SIMD")?,
            inverse_throughput: find(c"Inverse Throughput")?,
        })
    }
}
