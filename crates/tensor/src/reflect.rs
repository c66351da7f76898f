//! What naga reads out of a source, checked against the device before the driver sees it.
//!
//! wgpu 30 never compares the workgroup memory of a shader with the limit of the device.

use naga::{AddressSpace, ArraySize, Expression, Handle, Literal, Module, ShaderStage, TypeInner};

use crate::TensorError;
use crate::pipeline::Source;

/// The workgroup of a source.
#[derive(Clone, Debug)]
pub(crate) struct Workgroup {
    pub(crate) entry_point: String,
    /// Invocations in each dimension.
    pub(crate) size: [u32; 3],
    /// Bytes of workgroup memory.
    pub(crate) bytes: u32,
}

/// Parses a shader and checks its workgroup against `limits`.
pub(crate) fn workgroup(limits: &wgpu::Limits, source: &Source) -> Result<Workgroup, TensorError> {
    let module = parse(source)?;
    let mut points = module
        .entry_points
        .iter()
        .filter(|p| p.stage == ShaderStage::Compute);
    let (Some(point), None) = (points.next(), points.next()) else {
        return Err(TensorError::Shader {
            label: source.label.clone(),
            line: None,
            message: "it must have exactly one @compute entry point".into(),
        });
    };
    let workgroup = Workgroup {
        entry_point: point.name.clone(),
        size: workgroup_size(&module, point),
        bytes: workgroup_bytes(&module),
    };
    check(limits, source, &workgroup)?;
    Ok(workgroup)
}

fn parse(source: &Source) -> Result<Module, TensorError> {
    naga::front::wgsl::parse_str(&source.wgsl).map_err(|error| TensorError::Shader {
        label: source.label.clone(),
        line: error
            .location(&source.wgsl)
            .map(|location| location.line_number),
        message: error
            .emit_to_string_with_path(&source.wgsl, &source.label)
            .trim()
            .to_owned(),
    })
}

fn check(limits: &wgpu::Limits, source: &Source, workgroup: &Workgroup) -> Result<(), TensorError> {
    let [x, y, z] = workgroup.size;
    let invocations = [x, y, z].iter().map(|&n| u64::from(n)).product();
    let bounds: [(&'static str, u64, u32); 5] = [
        (
            "invocations in a workgroup",
            invocations,
            limits.max_compute_invocations_per_workgroup,
        ),
        (
            "invocations in x",
            x.into(),
            limits.max_compute_workgroup_size_x,
        ),
        (
            "invocations in y",
            y.into(),
            limits.max_compute_workgroup_size_y,
        ),
        (
            "invocations in z",
            z.into(),
            limits.max_compute_workgroup_size_z,
        ),
        (
            "bytes of workgroup memory",
            workgroup.bytes.into(),
            limits.max_compute_workgroup_storage_size,
        ),
    ];
    for (limit, needed, allowed) in bounds {
        let allowed = u64::from(allowed);
        if needed > allowed {
            let label = source.label.clone();
            return Err(TensorError::LimitExceeded {
                label,
                limit,
                needed,
                allowed,
            });
        }
    }
    Ok(())
}

fn workgroup_size(module: &Module, point: &naga::EntryPoint) -> [u32; 3] {
    let mut size = point.workgroup_size;
    for (n, expression) in size
        .iter_mut()
        .zip(point.workgroup_size_overrides.iter().flatten())
    {
        if let Some(value) = expression.and_then(|e| evaluate(module, e)) {
            *n = value;
        }
    }
    size
}

/// The WebGPU specification rounds every variable up to 16 bytes.
fn workgroup_bytes(module: &Module) -> u32 {
    let variables = module.global_variables.iter().map(|(_, variable)| variable);
    variables
        .filter(|variable| variable.space == AddressSpace::WorkGroup)
        .filter_map(|variable| module.types.get_handle(variable.ty).ok())
        .map(|ty| {
            size_of(module, &ty.inner)
                .checked_next_multiple_of(16)
                .unwrap_or(u32::MAX)
        })
        .fold(0, u32::saturating_add)
}

fn size_of(module: &Module, ty: &TypeInner) -> u32 {
    match ty {
        TypeInner::Array {
            size: ArraySize::Pending(length),
            stride,
            ..
        } => {
            let length = module.overrides.try_get(*length).ok().and_then(|o| o.init);
            length
                .and_then(|init| evaluate(module, init))
                .unwrap_or(0)
                .saturating_mul(*stride)
        }
        _ => ty.try_size(module.to_ctx()).unwrap_or(u32::MAX),
    }
}

/// The value of a constant, or of an override, which we never change.
fn evaluate(module: &Module, expression: Handle<Expression>) -> Option<u32> {
    let init = match module.global_expressions.try_get(expression).ok()? {
        Expression::Literal(Literal::U32(value)) => return Some(*value),
        Expression::Literal(Literal::I32(value)) => return u32::try_from(*value).ok(),
        Expression::Constant(at) => module.constants.try_get(*at).ok()?.init,
        Expression::Override(at) => module.overrides.try_get(*at).ok()?.init?,
        _ => return None,
    };
    evaluate(module, init)
}

/// The line in a message of naga's, which marks it as `label:line:column`.
pub(crate) fn line_in(message: &str) -> Option<u32> {
    let mark = message
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("┌─ "))?;
    mark.rsplit(':').nth(1)?.parse().ok()
}
