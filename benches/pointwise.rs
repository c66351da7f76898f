//! Pointwise ops in a row over an array: as one kernel, and as a plan for each.

use anyhow::{Result, ensure};
use gradus::graph::Var;
use gradus::graph::philox::Rng;
use gradus::nn::init::Zeros;
use gradus::train::Device;

use crate::harness::{Case, Contestant};
use crate::machine;
use crate::planned::Planned;

const NAME: &str = "pointwise 5 ops, 4 M";
const ELEMENTS: usize = 4 << 20;

/// An op on the device, and the same here.
type Op = (for<'g> fn(Var<'g>) -> Var<'g>, fn(f32) -> f32);

/// Cheap ones, so that memory is the limit; exact on all devices, whatever is contracted.
const OPS: [Op; 5] = [
    (|x| x * 0.5, |x| x * 0.5),
    (|x| x.maximum(0.25), |x| x.max(0.25)),
    (|x| x - 1.5, |x| x - 1.5),
    (|x| x.abs(), f32::abs),
    (|x| x * x, |x| x * x),
];

pub(crate) fn cases(
    devices: &[Device],
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Case<'static>>> {
    if !wanted(NAME) {
        return Ok(Vec::new());
    }
    let each: Vec<&[Op]> = OPS.chunks(1).collect();
    let case = |device: &Device| {
        Ok(Case {
            name: NAME.into(),
            unit: "GB/s",
            // What must be moved at least: the array, there and back.
            amount: (2 * 4 * ELEMENTS) as f64 / 1e9,
            contestants: vec![
                contestant(device, "unfused", &each)?,
                contestant(device, "fused", &[&OPS])?,
            ],
        })
    };
    devices.iter().map(case).collect()
}

/// A plan for each group of ops. All read the same array: what ops in a row would move as well.
fn contestant(device: &Device, how: &str, groups: &[&[Op]]) -> Result<Contestant<'static>> {
    let mut rng = Rng::new(3, 0);
    let x: Vec<f32> = (0..ELEMENTS).map(|_| 2.0 * rng.uniform() as f32).collect();
    let arrays = std::slice::from_ref(&x);
    let mut planned = Planned::several(device, arrays, groups.len(), |scope, number| {
        let x = scope.param("x", [ELEMENTS], Zeros);
        groups[number].iter().fold(x, |x, (op, _)| op(x))
    })?;
    planned.run(1)?;
    for (number, ops) in groups.iter().enumerate() {
        for (&x, found) in x.iter().zip(planned.result(number)?) {
            let expected = ops.iter().fold(x, |x, (_, op)| op(x));
            ensure!(
                found == expected,
                "{how}: {x} became {found}, expected {expected}"
            );
        }
    }
    Ok(Contestant::planned(
        format!("{}, {how}", machine::short_name(device)),
        planned,
    ))
}
