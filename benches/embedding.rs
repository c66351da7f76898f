//! The gradient of an embedding in a training step: rows that are summed in the order of their
//! positions, by itself and with the update of the table.

use anyhow::{Context, Result, ensure};
use gradus::graph::backend::ModelMemory;
use gradus::graph::philox::Rng;
use gradus::graph::plan::{Plan, Request, Role, SlabLayout, SparseGradient, lower};
use gradus::graph::{Array, At, Graph, Optimizer, Scope, Target, step_row, vjp};
use gradus::nn::AdamW;
use gradus::nn::init::Zeros;
use gradus::train::Device;

use crate::harness::{Case, Contestant};
use crate::machine;
use crate::planned::Planned;

const VOCABULARIES: [usize; 2] = [1_000, 50_257];
const TOKENS: [usize; 3] = [256, 1_024, 4_096];
const WIDTH: usize = 128;

/// What of a step is timed.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// What makes the gradient, without the optimizer.
    Gradient,
    /// With AdamW's update of the table.
    Step,
}

pub(crate) fn cases(
    devices: &[Device],
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Case<'static>>> {
    let mut cases = Vec::new();
    for vocabulary in VOCABULARIES {
        for tokens in TOKENS {
            for (part, what) in [(Part::Gradient, "gradient"), (Part::Step, "step")] {
                let name = format!("embedding {what} {vocabulary}×{WIDTH}, {tokens} tokens");
                if !wanted(&name) {
                    continue;
                }
                let mut contestants = Vec::new();
                for device in devices {
                    for dense in [false, true] {
                        let size = Size { vocabulary, tokens };
                        let planned = on_device(device, size, part, dense);
                        let Some(planned) = planned.with_context(|| name.clone())? else {
                            continue;
                        };
                        let how = if dense { ", as a tensor" } else { "" };
                        contestants.push(Contestant::planned(
                            format!("{}{how}", machine::short_name(device)),
                            planned,
                        ));
                    }
                }
                cases.push(Case {
                    name,
                    unit: "1/s",
                    amount: 1.0,
                    contestants,
                });
            }
        }
    }
    Ok(cases)
}

#[derive(Clone, Copy)]
struct Size {
    vocabulary: usize,
    tokens: usize,
}

/// Run once, and the gradient checked. Nothing if the gradient is a tensor anyway.
fn on_device(device: &Device, size: Size, part: Part, dense: bool) -> Result<Option<Planned>> {
    let Size { vocabulary, tokens } = size;
    let mut rng = Rng::new(7, 0);
    let below = u32::try_from(vocabulary)?;
    let index: Vec<i32> = (0..tokens)
        .map(|_| rng.below(below).cast_signed())
        .collect();
    let dy: Vec<f32> = (0..tokens * WIDTH).map(|_| rng.normal() as f32).collect();
    let plan = |target: &Target| plan(size, &index, target);
    let mut made = plan(&device.target())?;
    if dense {
        if made.sparse.is_empty() {
            return Ok(None);
        }
        // Looking the gradient up takes a binding more than reading it.
        let target = Target {
            max_bindings: 4,
            ..device.target()
        };
        made = plan(&target)?;
    }
    if part == Part::Gradient {
        made.kernels.retain(|k| !k.label.starts_with("optimizer/"));
    }
    let memory = ModelMemory {
        slabs: made.slabs.clone(),
        optimizer_states: AdamW::new(0.01).states().len(),
        ..ModelMemory::default()
    };
    let (values, sparse) = (made.values.clone(), made.sparse.first().copied());
    let mut planned = Planned::prepare(device, memory, vec![made.clone()])?;
    let place = |name: &str| made.slabs.find(name).with_context(|| format!("no {name}"));
    let (table, of_dy) = (place("table")?, place("dy")?);
    planned.write(&Role::Params(of_dy.shard), of_dy.offset, &dy)?;
    let words = AdamW::new(0.01).words(&At::step(0));
    for (slot, word) in (step_row::OPTIMIZER as usize..).zip(words) {
        planned.row[slot] = word.to_bits();
    }
    planned.run(1)?;
    let mut words = |role: &Role, first: u64, count: usize| -> Result<Vec<u32>> {
        let read = planned.read(0, role, first, count)?;
        Ok(read.into_iter().map(f32::to_bits).collect())
    };
    let found = match sparse {
        Some(sparse) => {
            let [first, sums] = [sparse.first, sparse.sums].map(|id| {
                let value = values.get(id.index()).context("no value")?;
                let count = value.meta.shape.numel();
                words(&Role::Outputs, value.offset / 4, count)
            });
            SparseGradient::words(&first?, &sums?, WIDTH)
        }
        None => words(&Role::Grads(table.shard), table.offset, vocabulary * WIDTH)?,
    };
    let mut expected = vec![0.0f32; vocabulary * WIDTH];
    for (row, dy) in index.iter().zip(dy.chunks(WIDTH)) {
        let first = usize::try_from(*row)? * WIDTH;
        let sums = expected.iter_mut().skip(first);
        sums.zip(dy).for_each(|(sum, dy)| *sum += dy);
    }
    let found = found.into_iter().map(f32::from_bits);
    ensure!(found.eq(expected), "the sums are others");
    Ok(Some(planned))
}

/// A step that trains the table.
fn plan(size: Size, index: &[i32], target: &Target) -> Result<Plan> {
    let Size { vocabulary, tokens } = size;
    let graph = Graph::new();
    let scope = Scope::root(&graph, true);
    let table = scope.param("table", [vocabulary, WIDTH], Zeros);
    let dy = scope.param("dy", [tokens, WIDTH], Zeros);
    let y = table.gather(graph.literal(Array::new([tokens], index.to_vec())?));
    let gradient = vjp(y, dy, &[table]).into_iter().flatten().next();
    let optimizer = AdamW::new(0.01);
    Ok(lower(&Request {
        gradients: vec![gradient, None],
        optimizer: Some(&optimizer),
        ..Request::new(
            "bench",
            &graph,
            SlabLayout::new(&graph.params(), target)?,
            target,
        )
    })?)
}
