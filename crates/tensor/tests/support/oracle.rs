//! A kernel's results against the oracle on the kernel's own inputs.

use anyhow::{Context, Result, ensure};
use gradus_cpu::oracle::{Feeds, Float, Tensor, eval};
use gradus_graph::Array;
use gradus_graph::backend::StepRow;
use gradus_graph::ops::Op;
use gradus_graph::plan::{Fragment, Kernel, KernelKind, Plan};

use crate::mlp::value;

/// Within `4 ε √K · max|ref|` plus what rounding alone does to the oracle.
pub(crate) fn compare(
    plan: &Plan,
    kernel: &Kernel,
    row: &StepRow,
    before: &[Option<Vec<u32>>],
    after: &[Option<Vec<u32>>],
) -> Result<()> {
    let single = evaluate::<f32>(kernel, row, before)?;
    let double = evaluate::<f64>(kernel, row, before)?;
    ensure!(
        !kernel.meaning.outputs.is_empty(),
        "a kernel without a meaning"
    );
    let terms = terms(kernel) as f64;
    for (i, (v, _)) in kernel.meaning.outputs.iter().enumerate() {
        let at = kernel.operands.iter().position(|o| o.writes == Some(*v));
        let words = at
            .and_then(|at| after.get(at)?.as_ref())
            .context("no operand")?;
        let meta = value(plan, *v)?.meta;
        let found = Tensor::<f64>::from_array(&Array::from_words(meta.shape, meta.dtype, words)?);
        let (o32, o64) = (single.get(i).context("f32")?, double.get(i).context("f64")?);
        let largest = o64.iter().fold(0f64, |m, x| m.max(x.abs()));
        ensure!(o64.len() == words.len(), "{} of {}", o64.len(), words.len());
        for (j, found) in found.to_f64().iter().enumerate() {
            let (o32, o64) = (o32[j], o64[j]);
            let bound =
                4.0 * f64::from(f32::EPSILON) * terms.sqrt() * largest + 8.0 * (o32 - o64).abs();
            ensure!(
                (found - o64).abs() <= bound,
                "`{}` {}[{j}] is {found}, should be {o64} ± {bound:e} (f32: {o32})",
                kernel.label,
                value(plan, *v)?.name,
            );
        }
    }
    Ok(())
}

/// What the oracle makes of a kernel's meaning.
fn evaluate<T: Float>(
    kernel: &Kernel,
    row: &StepRow,
    before: &[Option<Vec<u32>>],
) -> Result<Vec<Vec<f64>>> {
    let Fragment {
        nodes,
        inputs,
        outputs,
    } = &kernel.meaning;
    let mut feeds = Feeds::<T>::inputs(Vec::new());
    feeds.row = *row;
    for (i, v) in (0u32..).zip(inputs) {
        let at = kernel.operands.iter().position(|o| o.reads == Some(*v));
        let words = at
            .and_then(|at| before.get(at)?.as_ref())
            .context("no input")?;
        // A leaf may see the value under another shape.
        let leaf = nodes
            .iter()
            .find(|n| matches!(n.op, Op::Input(number) if number == i));
        let meta = leaf.context("no leaf")?.meta;
        let array = Array::from_words(meta.shape, meta.dtype, words)?;
        feeds.inputs.push(Tensor::from_array(&array));
    }
    let wanted: Vec<_> = outputs.iter().map(|(_, node)| *node).collect();
    let found = eval(nodes, &feeds, &wanted)?;
    Ok(found.values.iter().map(Tensor::to_f64).collect())
}

/// The most terms that one element is the sum of.
fn terms(kernel: &Kernel) -> usize {
    match &kernel.kind {
        KernelKind::Program(p) => p.cols(),
        KernelKind::MatMul(m) => m.k,
        KernelKind::Conv(c) => c.conv.terms(c.images),
        KernelKind::Attention(a) => a.sizes.queries.max(a.sizes.keys),
        KernelKind::Scatter(s) => s.count,
        KernelKind::Scan(s) => s.length,
        KernelKind::Sort(_) => 1,
        KernelKind::Update(_) | KernelKind::Take(_) => 1,
    }
}
