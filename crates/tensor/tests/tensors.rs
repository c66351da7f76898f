//! Tensors on a real adapter, against the oracle: expressions computed at once.

mod support;

use anyhow::{Context, Result, bail, ensure};
use gradus_cpu::oracle;
use gradus_graph::philox::Rng;
use gradus_graph::{Array, At, DType, Graph, Optimizer, Var, grad};
use gradus_nn::{Activate, Adam};
use gradus_tensor::{Buffer, Device, Tensor, TensorError};
use support::{Gpu, open};

fn main() {
    let gpu = Gpu::from_env();
    let trials = vec![
        gpu.trial("arrays/round_trip", round_trip),
        gpu.trial("arrays/from_buffer", from_buffer),
        gpu.trial("ops/matmul", matmul),
        gpu.trial("ops/activations", activations),
        gpu.trial("ops/broadcast", broadcast),
        gpu.trial("ops/several_results", several_results),
        gpu.trial("ops/empty", empty),
        gpu.trial("ops/compiled_once", compiled_once),
        gpu.trial("loss/value_and_gradient", value_and_gradient),
        gpu.trial("loss/bad_label", bad_label),
        gpu.trial("adam/as_the_oracle", adam),
        gpu.trial("errors/expressions", expressions),
        gpu.trial("errors/destroyed", destroyed),
    ];
    let arguments = libtest_mimic::Arguments::from_args();
    libtest_mimic::run(&arguments, trials).exit();
}

/// Numbers in [-1, 1).
fn random(shape: &[usize], seed: u64) -> Result<Array> {
    let mut rng = Rng::new(seed, 0);
    let numel = shape.iter().product();
    let values: Vec<f32> = (0..numel)
        .map(|_| rng.uniform() as f32 * 2.0 - 1.0)
        .collect();
    Ok(Array::new(shape.to_vec(), values)?)
}

/// What the oracle makes of an expression in f64.
fn reference<const N: usize, const M: usize>(
    inputs: [&Array; N],
    build: impl for<'g> Fn([Var<'g>; N]) -> [Var<'g>; M],
) -> Result<[Vec<f64>; M]> {
    let graph = Graph::new();
    let vars = inputs.map(|x| graph.input("x", *x.shape(), x.dtype()));
    let wanted = build(vars).map(|v| v.id());
    graph.check()?;
    let feeds = inputs.iter().map(|x| oracle::Tensor::<f64>::from_array(x));
    let feeds = oracle::Feeds::inputs(feeds.collect());
    let values = oracle::eval(&graph.nodes(), &feeds, &wanted)?.values;
    let values: Vec<_> = values.iter().map(oracle::Tensor::to_f64).collect();
    values.try_into().ok().context("other results")
}

fn close(found: &Tensor, expected: &[f64]) -> Result<()> {
    let found = oracle::Tensor::<f64>::from_array(&found.to_array()?).to_f64();
    ensure!(found.len() == expected.len());
    let largest = expected.iter().fold(0f64, |m, x| m.max(x.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let bound = 1e-5 * largest.max(1e-30);
        ensure!(
            (found - expected).abs() <= bound,
            "[{i}]: {found} instead of {expected}"
        );
    }
    Ok(())
}

fn round_trip(device: Device) -> Result<()> {
    for array in [
        random(&[3, 5, 7], 1)?,
        random(&[], 1)?,
        Array::new([4], vec![1u32, 2, 3, u32::MAX])?,
        Array::new([2, 1], vec![i32::MIN, 7])?,
        Array::new([3], vec![true, false, true])?,
        Array::new([0, 4], Vec::<f32>::new())?,
    ] {
        let tensor = Tensor::from_array(&device, &array)?;
        ensure!((tensor.shape(), tensor.dtype()) == (*array.shape(), array.dtype()));
        ensure!(tensor.to_array()? == array);
    }
    let zeros = Tensor::zeros(&device, [3, 2], DType::Bool)?;
    ensure!(zeros.to_array()? == Array::new([3, 2], vec![false; 6])?);
    ensure!(Tensor::zeros(&device, [1; 9], DType::F32).is_err());
    Ok(())
}

fn from_buffer(device: Device) -> Result<()> {
    let buffer = Buffer::from_bytes(&device, "mine", &[0; 40])?;
    ensure!(Tensor::from_buffer(buffer.clone(), [13], DType::F32).is_err());
    let x = Tensor::from_buffer(buffer.clone(), [10], DType::F32)?;
    buffer.write(4, &2.5f32.to_le_bytes())?;
    ensure!(x.map(|x| x.sum_all())?.item()? == 2.5f32.into());
    Ok(())
}

fn matmul(device: Device) -> Result<()> {
    for (a, b) in [
        (vec![1, 1], vec![1, 1]),
        (vec![17, 33], vec![33, 5]),
        (vec![64, 128], vec![128, 96]),
        (vec![3, 9, 4], vec![4, 20]),
        (vec![2, 3, 9, 4], vec![2, 1, 4, 20]),
    ] {
        let (a, b) = (random(&a, 1)?, random(&b, 2)?);
        let [expected] = reference([&a, &b], |[a, b]| [a.matmul(b)])?;
        let (a, b) = (
            Tensor::from_array(&device, &a)?,
            Tensor::from_array(&device, &b)?,
        );
        close(&a.matmul(&b)?, &expected)?;
        let [fused] = reference([&a.to_array()?, &b.to_array()?], |[a, b]| {
            [a.matmul(b).relu()]
        })?;
        let [y] = Tensor::compute([&a, &b], |[a, b]| [a.matmul(b).relu()])?;
        close(&y, &fused)?;
    }
    Ok(())
}

fn activations(device: Device) -> Result<()> {
    let x = random(&[7, 11], 3)?;
    let on = Tensor::from_array(&device, &x)?;
    let [relu, sigmoid, tanh, softmax, gelu, silu] = reference([&x], |[x]| {
        [
            x.relu(),
            x.sigmoid(),
            x.tanh(),
            x.softmax(),
            x.gelu(),
            x.silu(),
        ]
    })?;
    close(&on.relu()?, &relu)?;
    close(&on.sigmoid()?, &sigmoid)?;
    close(&on.tanh()?, &tanh)?;
    close(&on.softmax()?, &softmax)?;
    close(&on.map(|x| x.gelu())?, &gelu)?;
    close(&on.map(|x| x.silu())?, &silu)
}

fn broadcast(device: Device) -> Result<()> {
    let (x, b) = (random(&[5, 1, 3], 4)?, random(&[4, 1], 5)?);
    let [sum, difference, product] = reference([&x, &b], |[x, b]| [x + b, x - b, x * b])?;
    let (x, b) = (
        Tensor::from_array(&device, &x)?,
        Tensor::from_array(&device, &b)?,
    );
    close(&x.add(&b)?, &sum)?;
    close(&x.sub(&b)?, &difference)?;
    close(&x.mul(&b)?, &product)?;
    // One tensor twice.
    let double = x.add(&x)?;
    ensure!(double.to_array()? == x.map(|x| x * 2.0)?.to_array()?);
    Ok(())
}

/// Results that lie in one buffer can be worked with alone, and together.
fn several_results(device: Device) -> Result<()> {
    let x = random(&[6, 50], 6)?;
    let on = Tensor::from_array(&device, &x)?;
    let [expected, sum, largest, same] =
        reference([&x], |[x]| [x.exp(), x.sum(&[1]), x.max(&[0]), x])?;
    let [exp, sums, most, copy] =
        Tensor::compute([&on], |[x]| [x.exp(), x.sum(&[1]), x.max(&[0]), x])?;
    close(&exp, &expected)?;
    close(&sums, &sum)?;
    close(&most, &largest)?;
    close(&copy, &same)?;
    let [again] = reference([&x], |[x]| [x.exp() + x.max(&[0])])?;
    close(&exp.add(&most)?, &again)
}

fn empty(device: Device) -> Result<()> {
    let x = Tensor::zeros(&device, [0, 3], DType::F32)?;
    ensure!(x.relu()?.to_array()?.shape().numel() == 0);
    ensure!(x.map(|x| x.sum_all())?.item()? == 0f32.into());
    ensure!(x.item().is_err());
    Ok(())
}

fn compiled_once(_: Device) -> Result<()> {
    let device = open()?;
    let x = Tensor::from_array(&device, &random(&[9, 9], 7)?)?;
    x.relu()?;
    let before = device.counters();
    x.relu()?.relu()?.to_array()?;
    let spent = device.counters() - before;
    ensure!(
        spent.pipelines == 0 && spent.dispatches == 2 && spent.submits == 3,
        "{spent:?}"
    );
    drop(x);
    ensure!(
        device.allocated() <= 1 << 20,
        "{} bytes stay",
        device.allocated()
    );
    Ok(())
}

fn value_and_gradient(device: Device) -> Result<()> {
    let logits = random(&[33, 10], 8)?;
    let labels: Vec<i32> = (0..33).map(|i| i % 10).collect();
    let labels = Array::vector(labels);
    let [loss, gradient] = reference([&logits, &labels], |[x, y]| {
        let loss = x.cross_entropy(y).mean_all();
        [loss, grad(loss, &[x]).first().copied().unwrap_or(loss)]
    })?;
    let logits = Tensor::from_array(&device, &logits)?;
    let labels = Tensor::from_array(&device, &labels)?;
    let (value, dx) = logits.softmax_cross_entropy(&labels)?;
    close(&value, &loss)?;
    close(&dx, &gradient)
}

fn bad_label(device: Device) -> Result<()> {
    let logits = Tensor::zeros(&device, [2, 3], DType::F32)?;
    for label in [3, -1] {
        let labels = Tensor::from_array(&device, &Array::vector(vec![0, label]))?;
        match logits.softmax_cross_entropy(&labels) {
            Err(TensorError::BadIndex { value, bound: 3 }) if value == i64::from(label) => {}
            other => bail!("{other:?} for label {label}"),
        }
    }
    Ok(())
}

fn adam(_: Device) -> Result<()> {
    // Its own, so that nobody else's pipelines are counted below.
    let device = open()?;
    let optimizer = Adam::new(1e-2).weight_decay(1e-3);
    let (p, g) = (random(&[7, 9], 9)?, random(&[7, 9], 10)?);
    let mut param = Tensor::from_array(&device, &p)?;
    let gradient = Tensor::from_array(&device, &g)?;
    let zeros = || Tensor::zeros(&device, *p.shape(), DType::F32);
    let mut states = vec![zeros()?, zeros()?];
    let mut expected = vec![p.clone(), Array::zeros(*p.shape(), DType::F32)];
    expected.push(Array::zeros(*p.shape(), DType::F32));
    for step in 0..5 {
        param.update(&optimizer, step, &gradient, &mut states)?;
        let graph = Graph::new();
        let vars = [&g, &expected[0], &expected[1], &expected[2]];
        let feeds = vars.map(oracle::Tensor::<f64>::from_array);
        let [g, p, m, v] = vars.map(|x| graph.input("x", *x.shape(), x.dtype()));
        let update = optimizer.update(p, g, &[m, v]);
        let mut ids = vec![update.param.id()];
        ids.extend(update.states.iter().map(Var::id));
        let mut feeds = oracle::Feeds::inputs(feeds.to_vec());
        feeds.row = oracle::row(step, 0, &optimizer.words(&At::step(step)));
        let values = oracle::eval(&graph.nodes(), &feeds, &ids)?.values;
        expected = values.iter().map(oracle::Tensor::to_array).collect();
    }
    for (found, expected) in [&param].into_iter().chain(&states).zip(&expected) {
        close(found, &oracle::Tensor::<f64>::from_array(expected).to_f64())?;
    }
    let before = device.counters().pipelines;
    param.update(&optimizer, 5, &gradient, &mut states)?;
    ensure!(
        device.counters().pipelines == before,
        "compiled for every step"
    );
    Ok(())
}

fn expressions(device: Device) -> Result<()> {
    let here = Tensor::zeros(&device, [2, 3], DType::F32)?;
    let other = Tensor::zeros(&open()?, [3, 2], DType::F32)?;
    let message = |result: Result<Tensor, TensorError>| match result {
        Err(error @ TensorError::Expression { .. }) => Ok(error.to_string()),
        other => bail!("{other:?} instead of a refused expression"),
    };
    let line = line!() + 1;
    let refused = message(here.matmul(&here))?;
    ensure!(
        refused.contains(&format!("tests/tensors.rs:{line}")),
        "{refused}"
    );
    ensure!(
        refused.contains("matmul") && refused.contains('3'),
        "{refused}"
    );
    ensure!(message(here.matmul(&other))?.contains("different devices"));
    let mut param = here.clone();
    ensure!(param.update(&Adam::new(1e-3), 0, &here, &mut []).is_err());
    ensure!(Tensor::compute([], |[]: [Var<'_>; 0]| []).is_err());
    Ok(())
}

fn destroyed(_: Device) -> Result<()> {
    let device = open()?;
    let x = Tensor::zeros(&device, [2, 3], DType::F32)?;
    device.destroy();
    let lost = |error: Option<TensorError>| matches!(error, Some(TensorError::DeviceLost { .. }));
    ensure!(lost(x.relu().err()) && lost(x.to_array().err()));
    Ok(())
}
