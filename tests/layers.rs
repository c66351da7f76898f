//! Layers that behave otherwise in training than in evaluation, in whole models.

use gradus::prelude::*;
use gradus_graph::philox::{Rng, stream};
use gradus_graph::{Data, Shape};
use libtest_mimic::{Arguments, Failed};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use support::gpu::{Check, Gpu};

mod support;

const BATCH: usize = 8;

/// Images whose channels lie 1 and 1000 above 0, in batches, the last one shorter.
fn images(batches: usize, last: usize) -> Result<Dataset, Failed> {
    let mut rng = Rng::new(3, stream("images", 0));
    let samples = (batches - 1) * BATCH + last;
    let pixel = |i: usize, rng: &mut Rng| [1.0, 1000.0][i / 36 % 2] + rng.normal() as f32;
    let pixels: Vec<f32> = (0..samples * 72).map(|i| pixel(i, &mut rng)).collect();
    let labels: Vec<i32> = (0..samples).map(|_| rng.below(3).cast_signed()).collect();
    let images = Array::new([samples, 2, 6, 6], pixels)?;
    Ok(Dataset::from_arrays(
        images,
        Array::new([samples], labels)?,
    )?)
}

fn normalized(
    device: &Device,
    layer: BatchNorm,
    data: &Dataset,
    seed: u64,
) -> Result<Model, Failed> {
    // A bias before a normalization of each channel has the gradient 0.
    let net = Sequential::new().layer(layer).conv2d(4, 3).batch_norm();
    let net = net.relu().conv2d(4, 2).group_norm(2).relu().conv2d(4, 2);
    let net = net.instance_norm().relu().flatten().dense(3);
    let compile = Compile::for_data(data).device(device.clone()).batch(BATCH);
    let compile = compile.loss(CrossEntropy::new());
    Ok(net.compile(compile.optimizer(Adam::new(0.01)).seed(seed))?)
}

/// Mean and unbiased variance of both channels of a batch.
fn moments(pixels: &[f32]) -> [[f64; 2]; 2] {
    [0, 1].map(|channel| {
        let of = |i: &usize| i / 36 % 2 == channel;
        let x: Vec<f64> = (0..pixels.len())
            .filter(of)
            .map(|i| f64::from(pixels[i]))
            .collect();
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let squares = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        [mean, squares / (x.len() - 1) as f64]
    })
}

fn floats(model: &mut Model, name: &str) -> Result<Vec<f32>, Failed> {
    Ok(model.parameter(name)?.as_f32()?.to_vec())
}

/// The first layer sees the images themselves: its statistics are known after every step.
fn running_statistics(device: &Device) -> Result<(), Failed> {
    let data = images(3, 5)?;
    let (_, pixels) = data.inputs().next().ok_or("no images")?;
    let pixels = pixels.as_f32()?;
    for (layer, cumulative) in [
        (BatchNorm::new(), false),
        (BatchNorm::new().cumulative(), true),
    ] {
        let mut model = normalized(device, layer, &data, 5)?;
        let names = model.parameter_names().join(" ");
        let wanted = "0.running_mean 0.running_var 0.num_batches_tracked";
        if !names.contains(wanted) {
            return Err(format!("`{wanted}` is not in `{names}`").into());
        }
        let mut running = [[0.0, 1.0]; 2];
        model.fit(&data, Fit::epochs(1).in_order().quiet())?;
        for (step, batch) in pixels.chunks(BATCH * 72).enumerate() {
            let share = if cumulative {
                1.0 / (step + 1) as f64
            } else {
                0.1
            };
            for (running, batch) in running
                .iter_mut()
                .flatten()
                .zip(moments(batch).as_flattened())
            {
                *running += share * (batch - *running);
            }
        }
        for (i, name) in ["running_mean", "running_var"].into_iter().enumerate() {
            let found = floats(&mut model, &format!("0.{name}"))?;
            for (found, wanted) in found.iter().zip(running.map(|r| r[i])) {
                if (f64::from(*found) - wanted).abs() > 2e-6 * wanted.abs().max(50.0) {
                    return Err(format!("{name}: {found}, want {wanted}").into());
                }
            }
        }
        let batches = model.parameter("0.num_batches_tracked")?;
        if batches != Array::new(Shape::SCALAR, Data::I32(vec![3]))? {
            return Err(format!("{batches:?} batches").into());
        }
    }
    Ok(())
}

/// Every kernel means what it says, and rounding alone is no mistake where sums cancel.
fn verification(device: &Device) -> Result<(), Failed> {
    let data = images(3, 5)?;
    for seed in 0..4 {
        let mut model = normalized(device, BatchNorm::new(), &data, seed)?;
        for epochs in [0, 2] {
            model.fit(&data, Fit::epochs(epochs).quiet())?;
            let verified = model.verify()?;
            if !verified.passed() {
                return Err(format!("seed {seed}, {epochs} epochs: {verified}").into());
            }
        }
    }
    Ok(())
}

/// Evaluation uses the running statistics and changes nothing.
fn evaluation(device: &Device) -> Result<(), Failed> {
    let data = images(3, 5)?;
    let mut model = normalized(device, BatchNorm::new(), &data, 5)?;
    model.fit(&data, Fit::epochs(2).quiet())?;
    let digest = model.digest()?;
    let together = model.predict(&data)?;
    let alone = model.predict(&data.take(1)?)?;
    let (together, alone) = (together.as_f32()?, alone.as_f32()?);
    if together[..3] != *alone {
        return Err(format!("{:?} in a batch, {alone:?} alone", &together[..3]).into());
    }
    if digest != model.digest()? {
        return Err("evaluation changed the model".into());
    }
    Ok(())
}

/// A file as PyTorch writes it: the count of batches has 64 bits.
fn a_count_of_64_bits(device: &Device) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.safetensors");
    let data = images(2, 5)?;
    let mut model = normalized(device, BatchNorm::new(), &data, 5)?;
    model.fit(&data, Fit::epochs(1).quiet())?;
    model.save(&path)?;
    let bytes = std::fs::read(&path)?;
    let write = |count: i64| -> Result<(), Failed> {
        let count = count.to_le_bytes();
        let file = SafeTensors::deserialize(&bytes)?;
        let mut tensors = Vec::new();
        for (name, view) in file.tensors() {
            if name.ends_with("num_batches_tracked") {
                tensors.push((name, TensorView::new(Dtype::I64, Vec::new(), &count)?));
            } else if !name.starts_with("optimizer.") {
                tensors.push((name, view));
            }
        }
        std::fs::write(&path, safetensors::serialize(tensors, None)?)?;
        Ok(())
    };
    write(41)?;
    model.load(&path)?;
    if model.parameter("1.weight").is_err() || floats(&mut model, "0.running_mean")?.len() != 2 {
        return Err("not loaded".into());
    }
    let count = model.parameter("0.num_batches_tracked")?;
    if count != Array::new(Shape::SCALAR, Data::I32(vec![41]))? {
        return Err(format!("{count:?} batches").into());
    }
    write(1 << 40)?;
    match model.load(&path) {
        Err(e) if format!("{e:?}").contains("num_batches_tracked") => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

/// Layers before and after an update read the old value of a state, in the gradient too.
fn a_state_that_others_read(device: &Device) -> Result<(), Failed> {
    let data = images(3, 5)?.reshape_features(72)?;
    let net = Sequential::new().with(|scope, x| {
        let seen = scope.state("seen", x.dim(1), DType::F32, 0.5);
        let before = x * seen.sigmoid();
        scope.update(seen, seen * 0.75 + x.mean(&[0]) * 0.25);
        scope.apply("fc", &Dense::new(8), before * 1e-3) * seen.slice_axis(0, 0, 8)
    });
    let compile = Compile::for_data(&data).device(device.clone()).batch(BATCH);
    let compile = compile.loss(CrossEntropy::new()).optimizer(Sgd::new(1e-4));
    let mut model = net.dense(3).compile(compile)?;
    let mut wanted = [0.5; 72];
    for _ in 0..2 {
        let verified = model.verify()?;
        if !verified.passed() {
            return Err(format!("{verified}").into());
        }
        model.fit(&data, Fit::epochs(1).in_order().quiet())?;
        let (_, x) = data.inputs().next().ok_or("no images")?;
        for batch in x.as_f32()?.chunks(BATCH * 72) {
            let samples = (batch.len() / 72) as f64;
            for (i, seen) in wanted.iter_mut().enumerate() {
                let sum: f64 = batch
                    .iter()
                    .skip(i)
                    .step_by(72)
                    .map(|&x| f64::from(x))
                    .sum();
                *seen = *seen * 0.75 + sum / samples * 0.25;
            }
        }
        for (found, wanted) in floats(&mut model, "0.seen")?.iter().zip(wanted) {
            if (f64::from(*found) - wanted).abs() > 1e-5 * wanted.abs() {
                return Err(format!("{found}, want {wanted}").into());
            }
        }
    }
    Ok(())
}

/// A single sample has no variance: the error names the layer and says what to do.
fn one_sample(device: &Device) -> Result<(), Failed> {
    let data = Dataset::from_arrays(
        Array::new([5, 4], vec![0.5f32; 20])?,
        Array::new([5], vec![0i32, 1, 2, 0, 1])?,
    )?;
    let net = Sequential::new().dense(4).batch_norm().dense(3);
    let compile = Compile::for_data(&data).device(device.clone()).batch(4);
    let compile = compile.loss(CrossEntropy::new());
    let mut model = net.compile(compile.optimizer(Sgd::new(0.01)))?;
    let Err(error) = model.fit(&data, Fit::epochs(1).quiet()) else {
        return Err("a batch of one was normalized".into());
    };
    let text = format!("{error:?}");
    for part in ["batch_norm", "at least 2 values", "[1, 4]", "batch size"] {
        if !text.contains(part) {
            return Err(format!("`{part}` is not in: {text}").into());
        }
    }
    Ok(())
}

/// Tokens attend to their own document alone, and their positions begin with it.
fn a_reader<'g>(scope: &Scope<'g>, inputs: &Vars<'g>) -> Vars<'g> {
    let get = |name| inputs.get(scope.graph(), name);
    let x = scope.apply("tokens", &Embedding::new(20, 16), get(TOKENS));
    let learned = LearnedPositions::new(8).weight_init(init::Normal::with_std(1.0));
    let x = learned.at(&scope.child("positions"), x, get(text::POSITIONS));
    let x = SinusoidalPositions.at(x, get(text::POSITIONS));
    let attention = MultiHeadAttention::new(2).rotary(Rotary::new()).causal();
    let layer = TransformerEncoderLayer::new(2).attention(attention);
    let documents = Attend::new().documents(get(text::DOCUMENTS));
    let x = layer.encode(&scope.child("layer"), x, documents);
    scope.apply("head", &Dense::new(20), x).into()
}

/// Documents in one row give what each of them gives in a row of its own.
fn packed_documents(device: &Device) -> Result<(), Failed> {
    let mut next = 0..;
    let lengths = [4, 2, 3, 1, 5, 3];
    let documents = lengths.map(|n| next.by_ref().take(n).collect::<Vec<i32>>());
    let pack = text::PackSequences::new(8).padding(19);
    let data = pack.next_tokens(&documents)?;
    let compile = Compile::for_data(&data).device(device.clone()).batch(2);
    let compile = compile.loss(CrossEntropy::new().ignore(IGNORED));
    let compile = compile.optimizer(Sgd::new(0.1)).seed(3);
    let mut model = Functional::new(a_reader).compile(compile)?;
    let found = model.verify()?;
    if !found.passed() {
        return Err(found.to_string().into());
    }
    let batch = pack.batch(&documents)?;
    let tokens = batch.get(TOKENS).ok_or("no tokens")?.as_i32()?;
    let together = model.predict(&batch)?;
    for document in documents {
        let place = tokens.iter().position(|t| *t == document[0]);
        let place = place.ok_or("a document is lost")?;
        let alone = model.predict(&pack.batch(&[&document])?)?;
        let scores = alone.as_f32()?.iter().take(20 * document.len());
        for (found, wanted) in together.as_f32()?[20 * place..].iter().zip(scores) {
            if (found - wanted).abs() > 1e-5 {
                return Err(format!("{found}, alone {wanted}").into());
            }
        }
    }
    Ok(())
}

fn main() {
    let gpu = Gpu::from_env();
    let checks: [(&str, Check); 7] = [
        ("a state that others read", a_state_that_others_read),
        ("verification", verification),
        ("running statistics", running_statistics),
        ("evaluation", evaluation),
        ("a count of 64 bits", a_count_of_64_bits),
        ("one sample", one_sample),
        ("packed documents", packed_documents),
    ];
    let mut trials = Vec::new();
    for (name, check) in checks {
        trials.extend(gpu.both(name, check));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
