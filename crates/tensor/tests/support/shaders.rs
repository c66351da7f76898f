//! The shaders of all samples in all variants.
#![allow(dead_code, reason = "each user takes what it needs")]

use std::collections::BTreeSet;

use gradus_graph::plan::{Kernel, KernelKind, Plan, ScatterKernel, TakeKernel};
use gradus_graph::{DType, DeviceClass, Target};
use gradus_tensor::kernels::{Shader, ShaderError, shader, suits, variants};
use naga::Module;
use naga::valid::{
    Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator,
};

use crate::kernels::{self, Memory};
use crate::{attentions, convs, products, samples};

/// A shader and what it computes how.
pub(crate) struct Named {
    pub(crate) kernel: String,
    pub(crate) variant: String,
    /// Whether GPUs can gain by it.
    pub(crate) for_gpus: bool,
    pub(crate) shader: Shader,
}

/// Shaders without repeats.
#[derive(Default)]
pub(crate) struct Collection {
    seen: BTreeSet<String>,
    pub(crate) shaders: Vec<Named>,
}

impl Collection {
    /// Adds every variant of a kernel.
    pub(crate) fn add(
        &mut self,
        name: &str,
        plan: &Plan,
        kernel: &Kernel,
    ) -> Result<(), ShaderError> {
        let mut on_gpu = plan.clone();
        on_gpu.target.class = DeviceClass::Gpu;
        for variant in variants(plan, kernel) {
            let shader = shader(plan, kernel, variant)?;
            if self.seen.insert(shader.wgsl.clone()) {
                self.shaders.push(Named {
                    kernel: name.to_string(),
                    variant: variant.to_string(),
                    for_gpus: suits(&on_gpu, kernel, variant),
                    shader,
                });
            }
        }
        Ok(())
    }
}

/// Every variant of every sample, product, convolution, gather and scatter, over floats as they are
/// and packed.
pub(crate) fn all() -> Result<Vec<Named>, ShaderError> {
    let mut all = Collection::default();
    let mut add = |name: &str, kind: KernelKind, memory: &[Memory]| {
        let (mut plan, kernel) = kernels::plan(Target::lavapipe(), kind, memory);
        all.add(name, &plan, &kernel)?;
        // The same with what lies packed wherever something can.
        for value in &mut plan.values {
            value.packed = value.meta.dtype == DType::F32;
        }
        all.add(&format!("{name} packed"), &plan, &kernel)
    };
    for sample in samples::all() {
        add(
            &sample.name,
            KernelKind::Program(sample.program),
            &sample.memory,
        )?;
    }
    for case in products::cases() {
        let (kernel, memory) = products::kernel(&case);
        add(&case.to_string(), KernelKind::MatMul(kernel), &memory)?;
    }
    for (name, kernel, memory) in convs::all() {
        add(&name, KernelKind::Conv(kernel), &memory)?;
    }
    for (name, kernel, memory) in attentions::all() {
        add(&name, KernelKind::Attention(kernel), &memory)?;
    }
    for (name, x, order) in [
        ("scatter", Some(0), None),
        ("scatter in order", Some(0), Some(3)),
        ("first position", None, None),
        ("first position in order", None, Some(3)),
    ] {
        let (kind, memory) = scatter(x, order);
        add(name, kind, &memory)?;
    }
    let (kind, memory) = take();
    add("take", kind, &memory)?;
    Ok(all.shaders)
}

fn scatter(x: Option<usize>, order: Option<usize>) -> (KernelKind, Vec<Memory>) {
    let kernel = ScatterKernel {
        x,
        index: 1,
        order,
        out: 2,
        count: 300_000,
        rows: 10,
        width: if x.is_some() { 3 } else { 1 },
    };
    let memory = vec![
        Memory::floats(&[0.0; 8]),
        Memory::input(DType::U32, vec![0; 8]),
        Memory::output(if x.is_some() { DType::F32 } else { DType::I32 }, 30),
        Memory::input(DType::I32, vec![0; 8]),
    ];
    (KernelKind::Scatter(kernel), memory)
}

fn take() -> (KernelKind, Vec<Memory>) {
    let kernel = TakeKernel {
        order: 0,
        count: 5,
        samples: 20,
        arrays: vec![(1, 2, 3), (3, 4, 1)],
    };
    let memory = vec![
        Memory::input(DType::U32, vec![0; 20]),
        Memory::floats(&[0.0; 60]),
        Memory::output(DType::F32, 15),
        Memory::input(DType::U32, vec![0; 20]),
        Memory::output(DType::U32, 5),
    ];
    (KernelKind::Take(kernel), memory)
}

/// What naga makes of a shader, or why it refuses it.
pub(crate) fn parse(shader: &Shader) -> Result<(Module, ModuleInfo), String> {
    let module =
        naga::front::wgsl::parse_str(&shader.wgsl).map_err(|e| e.emit_to_string(&shader.wgsl))?;
    let capabilities = if shader.subgroups {
        Capabilities::SUBGROUP
    } else {
        Capabilities::empty()
    };
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .subgroup_stages(ShaderStages::COMPUTE)
        .subgroup_operations(SubgroupOperationSet::all())
        .validate(&module)
        .map_err(|e| format!("{e:?}"))?;
    Ok((module, info))
}
