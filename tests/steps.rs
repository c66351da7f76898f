//! Models with several steps: a WGAN-GP against the oracle, tied parameters, files, mistakes.
#![allow(clippy::unwrap_used, reason = "a broken test may end in a panic")]

use std::collections::BTreeMap;
use std::sync::Arc;

use gradus::graph::philox::{Rng, stream};
use gradus::graph::{Graph, grad};
use gradus::prelude::*;
use gradus_cpu::oracle::{Tensor, Trainer};
use libtest_mimic::{Arguments, Failed};
use support::gpu::{Check, Gpu};

mod support;

const BATCH: usize = 6;
const SEED: u64 = 5;
const F32: DType = DType::F32;

fn generator() -> Sequential {
    Sequential::new().dense(9).tanh().dense(3)
}

fn critic() -> Sequential {
    Sequential::new().dense(8).silu().dense(7).tanh().dense(1)
}

type Loss = for<'g> fn(&Scope<'g>, &Vars<'g>) -> Vars<'g>;

/// The critic's loss of WGAN-GP (Gulrajani et al. 2017), with the gradient's norm in it.
fn critic_loss<'g>(scope: &Scope<'g>, inputs: &Vars<'g>) -> Vars<'g> {
    let get = |name| inputs.get(scope.graph(), name);
    let (real, mix) = (get("real"), get("mix"));
    let fake = scope.apply("gen", &generator(), get("z")).stop_gradient();
    let score = |x| scope.apply("disc", &critic(), x);
    let between = real * mix + fake * (-mix + 1.0);
    let slope = grad(score(between).sum_all(), &[between])[0];
    let norm = (slope.square().sum(&[1]) + 1e-6).sqrt();
    let penalty = (norm - 1.0).square().mean_all();
    let distance = score(fake).mean_all() - score(real).mean_all();
    Vars::new()
        .with("loss", distance + penalty * 10.0)
        .with("penalty", penalty)
        .with("fake", fake)
}

fn generator_loss<'g>(scope: &Scope<'g>, inputs: &Vars<'g>) -> Vars<'g> {
    let fake = scope.apply("gen", &generator(), inputs.get(scope.graph(), "z"));
    (-scope.apply("disc", &critic(), fake).mean_all()).into()
}

fn adam() -> AdamW {
    AdamW::new(1e-2).betas(0.5, 0.9).weight_decay(0.1)
}

fn momentum() -> Sgd {
    Sgd::new(0.05).momentum(0.9).weight_decay(0.01)
}

/// A model of the generator, and the two steps of its training.
fn gan(device: &Device) -> Result<Model, gradus::Error> {
    let net = Functional::new(|scope, inputs| {
        let z = inputs.get(scope.graph(), "z");
        scope.apply("gen", &generator(), z).into()
    });
    let settings = Compile::new().input("z", 4, F32).device(device.clone());
    let mut model = net.compile(settings.batch(BATCH).seed(SEED))?;
    model.define_step("disc", |s| {
        s.input("z", 4, F32)
            .input("real", 3, F32)
            .input("mix", 1, F32)
            .minimize(critic_loss, params("disc."), adam())
            .clip_norm(1.5)
    })?;
    model.define_step("gen", |s| {
        s.input("z", 4, F32)
            .minimize(generator_loss, params("gen."), momentum())
    })?;
    Ok(model)
}

fn noise(name: &str, k: usize, width: usize) -> Array {
    let mut rng = Rng::new(k as u64, stream(name, 0));
    let values: Vec<f32> = (0..BATCH * width).map(|_| rng.uniform() as f32).collect();
    Array::new([BATCH, width], values).unwrap()
}

fn batch(k: usize) -> (Batch, Batch) {
    let z = Batch::new().with("z", noise("z", k, 4));
    let all = z.clone().with("real", noise("real", k, 3));
    (all.with("mix", noise("mix", k, 1)), z)
}

/// A step as the oracle does it, in f64.
struct Reference {
    trainer: Trainer<f64>,
    names: Vec<String>,
    prefix: &'static str,
}

impl Reference {
    fn new(
        prefix: &'static str,
        inputs: &[(&str, usize)],
        loss: Loss,
        optimizer: Arc<dyn Optimizer>,
        values: &BTreeMap<String, Tensor<f64>>,
    ) -> Self {
        let graph = Graph::new();
        let vars = inputs.iter().fold(Vars::new(), |vars, (name, width)| {
            vars.with(*name, graph.input(name, [BATCH, *width], F32))
        });
        let loss = loss(&Scope::root(&graph, true), &vars).first().unwrap();
        let names: Vec<String> = graph.params().into_iter().map(|p| p.name).collect();
        // Those that the step does not train have no gradient here, and are put back.
        let gradients: Vec<Var<'_>> = graph.param_vars();
        let found = grad(loss, &gradients);
        let gradients: Vec<Var<'_>> = names
            .iter()
            .zip(found)
            .map(|(name, dx)| {
                if name.starts_with(prefix) {
                    dx
                } else {
                    dx * 0.0
                }
            })
            .collect();
        let params = names.iter().map(|n| values[n].clone()).collect();
        let trainer = Trainer::new(&graph, loss, &gradients, params, optimizer, SEED).unwrap();
        Self {
            trainer,
            names,
            prefix,
        }
    }

    fn step(&mut self, batch: &Batch, values: &mut BTreeMap<String, Tensor<f64>>) -> f64 {
        self.trainer.params = self.names.iter().map(|n| values[n].clone()).collect();
        let inputs = batch.fields().map(|(_, a)| Tensor::from_array(a)).collect();
        let loss = self.trainer.step(inputs, &[]).unwrap().loss;
        for (name, value) in self.names.iter().zip(&self.trainer.params) {
            if name.starts_with(self.prefix) {
                values.insert(name.clone(), value.clone());
            }
        }
        loss
    }
}

fn near(what: &str, found: &[f64], want: &[f64]) -> Result<(), Failed> {
    let most = want.iter().map(|w| w.abs()).fold(1.0, f64::max);
    for (f, w) in found.iter().zip(want) {
        if (f - w).abs() > 2e-4 * most {
            return Err(format!("{what}: {f}, oracle {w}").into());
        }
    }
    Ok(())
}

/// 24 alternations: losses, and in the end all parameters, as the oracle has them.
fn alternating(device: &Device) -> Result<(), Failed> {
    let mut model = gan(device)?;
    let names: Vec<String> = model
        .parameter_names()
        .iter()
        .map(|n| (*n).into())
        .collect();
    let mut values = BTreeMap::new();
    for name in &names {
        values.insert(name.clone(), Tensor::from_array(&model.parameter(name)?));
    }
    let all = [("z", 4), ("real", 3), ("mix", 1)];
    let mut disc = Reference::new("disc.", &all, critic_loss, Arc::new(adam()), &values);
    disc.trainer = disc.trainer.clip_norm(1.5);
    let mut make = Reference::new(
        "gen.",
        &all[..1],
        generator_loss,
        Arc::new(momentum()),
        &values,
    );
    for k in 0..24 {
        let (all, z) = batch(k);
        let tickets = [model.run("disc", &all)?, model.run("gen", &z)?];
        let want = [disc.step(&all, &mut values), make.step(&z, &mut values)];
        for (ticket, want) in tickets.into_iter().zip(want) {
            near("loss", &[model.wait(ticket)?.loss()], &[want])?;
        }
    }
    assert_eq!(model.steps(), 48);
    for name in &names {
        let found = Tensor::<f64>::from_array(&model.parameter(name)?);
        near(name, &found.to_f64(), &values[name].to_f64())?;
    }
    Ok(())
}

/// One update for each run of parameters, over nothing else, and states in common vectors where
/// steps share no parameter.
fn counts(device: &Device) -> Result<(), Failed> {
    let mut model = gan(device)?;
    let mut updates = |name: &str| -> Result<(usize, String), Failed> {
        let plan = model.plan_of(name)?;
        plan.check()?;
        let updates = plan
            .kernels
            .iter()
            .filter(|k| k.label == "optimizer/update");
        Ok((updates.count(), format!("{plan:#}")))
    };
    for name in ["disc", "gen"] {
        let (count, plan) = updates(name)?;
        assert_eq!(count, 1, "{plan}");
    }
    // The layers that share a prefix with others in between are two runs.
    let apart = || params("disc.0.").or(params("disc.4."));
    model.define_step("apart", |s| {
        s.input("z", 4, F32)
            .minimize(generator_loss, apart(), Adam::new(1e-2))
            .clip_norm(0.1)
    })?;
    let mut updates = |name: &str| -> Result<usize, Failed> {
        let plan = model.plan_of(name)?;
        plan.check()?;
        let updates = plan
            .kernels
            .iter()
            .filter(|k| k.label == "optimizer/update");
        Ok(updates.count())
    };
    assert_eq!(updates("apart")?, 2);
    passed(&mut model)
}

fn passed(model: &mut Model) -> Result<(), Failed> {
    let found = model.verify()?;
    if found.passed() {
        Ok(())
    } else {
        Err(found.to_string().into())
    }
}

/// `verify` covers every step, before and after training, and changes nothing.
fn verified(device: &Device) -> Result<(), Failed> {
    let mut model = gan(device)?;
    for k in 0..3 {
        let (all, z) = batch(k);
        model.run("disc", &all)?;
        model.run("gen", &z)?;
    }
    let before = model.digest()?;
    passed(&mut model)?;
    assert_eq!((model.digest()?, model.steps()), (before, 6));
    let text = model.verify()?.to_json();
    for part in [
        "gradient of disc.0.weight",
        "gen.0.weight beside `disc`",
        "exp_avg of disc",
        "fake",
    ] {
        assert!(text.contains(part), "{part}");
    }
    let profile = model.profile_step("disc", 1)?;
    assert_eq!(profile.kernels.len(), model.plan_of("disc")?.kernels.len());
    assert_eq!((model.digest()?, model.steps()), (before, 6));
    Ok(())
}

/// What is saved in the middle goes on with the same bits; both optimizers and their counts are
/// in the file.
fn saved(device: &Device) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("gan.safetensors");
    let run = |model: &mut Model, range: std::ops::Range<usize>| -> Result<(), Failed> {
        for k in range {
            let (all, z) = batch(k);
            model.run("disc", &all)?;
            if k % 2 == 0 {
                model.run("gen", &z)?;
            }
        }
        Ok(())
    };
    let mut one = gan(device)?;
    run(&mut one, 0..5)?;
    one.save(&path)?;
    run(&mut one, 5..9)?;
    let mut other = gan(device)?;
    other.load(&path)?;
    assert_eq!(other.steps(), 8);
    run(&mut other, 5..9)?;
    assert_eq!(one.digest()?, other.digest()?);
    Ok(())
}

/// Steps that train the same parameters have states of their own; a step that trains nothing
/// gives outputs; a frozen part stays.
fn sharing(device: &Device) -> Result<(), Failed> {
    let data = datasets::digits().take(32)?;
    let net = || Sequential::new().dense(12).relu().dense(10);
    let settings = Compile::for_data(&data)
        .device(device.clone())
        .loss(CrossEntropy::new())
        .optimizer(Adam::new(1e-2))
        .batch(16);
    let mut alone = net().compile(settings.clone())?;
    let mut model = net().compile(settings.clone())?;
    let again = |learning_rate| {
        move |s: gradus::train::Step| {
            s.input("x", 64, F32).minimize(
                move |scope, inputs| {
                    let y = net().forward(scope, inputs.get(scope.graph(), "x"));
                    y.square().mean_all().into()
                },
                Params::all(),
                Adam::new(learning_rate),
            )
        }
    };
    // So slow that it changes nothing but its own states.
    model.define_step("slow", again(1e-30))?;
    model.define_step("hidden", |s| {
        s.input("x", 64, F32).compute(move |scope, inputs| {
            let hidden = Sequential::new().dense(12).relu();
            let h = hidden.forward(scope, inputs.get(scope.graph(), "x"));
            Vars::new().with("h", h).with("mean", h.mean_all())
        })
    })?;
    let x = |indices: &[u32]| -> Result<(Batch, Batch), Failed> {
        let batch = data.gather(indices)?;
        let x = Batch::new().with("x", batch.get("x").unwrap().clone());
        Ok((batch, x))
    };
    for indices in [0..16, 16..32, 0..16u32].map(|r| r.collect::<Vec<u32>>()) {
        let (batch, x) = x(&indices)?;
        alone.step(&batch)?;
        model.step(&batch)?;
        model.run("slow", &x)?;
    }
    assert_eq!(alone.parameter("2.weight")?, model.parameter("2.weight")?);
    passed(&mut model)?;
    let (_, few) = x(&[3, 1, 4])?;
    let outputs = model.outputs("hidden", &few)?;
    assert_eq!(&outputs.get("h").unwrap().shape()[..], [3, 12]);
    let ticket = model.run("hidden", &few)?;
    let mean = model.wait(ticket)?.get("mean").unwrap();
    let h = outputs.get("h").unwrap().as_f32().unwrap().to_vec();
    let want = h.iter().map(|&v| f64::from(v)).sum::<f64>() / h.len() as f64;
    near("mean", &[mean], &[want])?;

    let mut frozen = net().compile(settings.train(params("2.")))?;
    let before = frozen.parameter("0.weight")?;
    frozen.fit(&data, Fit::epochs(2).quiet())?;
    assert_eq!(before, frozen.parameter("0.weight")?);
    passed(&mut frozen)
}

/// One layer at two places of a network with a residual and two outputs, from two inputs.
fn functional(device: &Device) -> Result<(), Failed> {
    let array = |name, width| noise(name, 1, width);
    let y = array("y", 2);
    let data = Dataset::from_inputs([("a", array("a", 3)), ("b", array("b", 3))], y)?;
    let net = || {
        Functional::new(|scope, inputs| {
            let graph = scope.graph();
            let tied = |x| scope.apply("tied", &Dense::new(5), x).tanh();
            let (a, b) = (tied(inputs.get(graph, "a")), tied(inputs.get(graph, "b")));
            let h = a * b + scope.apply("mix", &Dense::new(5), a) + b;
            Vars::new()
                .with("score", scope.apply("head", &Dense::new(2), h))
                .with("hidden", h)
        })
    };
    let settings = Compile::for_data(&data)
        .device(device.clone())
        .loss(Mse::new())
        .optimizer(Adam::new(1e-2))
        .batch(4)
        .seed(1);
    let mut model = net().compile(settings)?;
    let names = ["tied", "mix", "head"].map(|n| [format!("{n}.weight"), format!("{n}.bias")]);
    assert_eq!(model.parameter_names(), names.concat());
    passed(&mut model)?;
    let before = model.evaluate(&data)?.loss();
    model.fit(&data, Fit::epochs(60).quiet())?;
    assert!(model.evaluate(&data)?.loss() < 0.5 * before);
    let outputs = model.predict_all(&data)?;
    assert_eq!(&outputs.get("hidden").unwrap().shape()[..], [BATCH, 5]);
    Ok(())
}

/// Mistakes are errors that say what was expected, and leave the model as it was.
fn mistakes(device: &Device) -> Result<(), Failed> {
    let mut model = gan(device)?;
    let before = model.digest()?;
    let says = |result: Result<(), gradus::Error>, parts: &[&str]| -> Result<(), Failed> {
        let text = result.err().ok_or("there was no error")?.to_string();
        match parts.iter().find(|part| !text.contains(**part)) {
            Some(part) => Err(format!("`{part}` is not in: {text}").into()),
            None => Ok(()),
        }
    };
    let (all, z) = batch(0);
    let run = |model: &mut Model, name: &str, batch: &Batch| model.run(name, batch).map(drop);
    says(
        run(&mut model, "dis", &z),
        &["`dis`", "`predict`", "`disc`", "`gen`"],
    )?;
    says(run(&mut model, "train", &z), &["`train`", "`.loss(…)`"])?;
    says(run(&mut model, "disc", &z), &["takes `real`", "`z`"])?;
    says(
        run(&mut model, "gen", &all),
        &["takes `z`", "also has `real`"],
    )?;
    says(
        model.fit(&datasets::digits(), Fit::epochs(1)).map(drop),
        &["no step"],
    )?;

    let mut define = |prefix: &'static str, loss: Loss| {
        model.define_step("new", |s| {
            s.input("z", 4, F32)
                .minimize(loss, params(prefix), Adam::new(1e-3))
        })
    };
    says(
        define("dics.", generator_loss),
        &[
            "step `new`",
            "`dics.…`",
            "`disc.0.weight`",
            "`gen.0.weight`",
        ],
    )?;
    let no_scalar: Loss = |scope, inputs| {
        let z = inputs.get(scope.graph(), "z");
        scope.apply("gen", &generator(), z).into()
    };
    says(define("gen.", no_scalar), &["scalar", "[6, 3]", "mean"])?;
    let constant: Loss = |_, inputs| inputs.first().unwrap().mean_all().into();
    says(define("gen.", constant), &["depends on no parameter"])?;
    let unknown: Loss = |scope, inputs| inputs.get(scope.graph(), "real").mean_all().into();
    says(define("gen.", unknown), &["no value named `real`", "`z`"])?;
    let nothing: Loss = |_, _| Vars::new();
    says(define("gen.", nothing), &["expected a value"])?;
    let other_shape: Loss = |scope, _| {
        scope
            .child("gen")
            .child("0")
            .param("weight", [2, 4], init::Zeros)
            .mean_all()
            .into()
    };
    says(
        define("gen.", other_shape),
        &["gen.0.weight", "[2, 4]", "[9, 4]"],
    )?;

    let z4 = |s: gradus::train::Step| s.input("z", 4, F32);
    let compute = |s: gradus::train::Step| s.compute(generator_loss);
    says(
        model.define_step("gen", |s| compute(z4(s))),
        &["`gen`", "taken"],
    )?;
    says(model.define_step("a/b", |s| compute(z4(s))), &["`a/b`"])?;
    says(model.define_step("new", compute), &["no inputs"])?;
    says(model.define_step("new", z4), &["computes nothing"])?;
    says(
        model.define_step("new", |s| compute(z4(s)).clip_norm(1.0)),
        &["clips gradients"],
    )?;
    assert_eq!(model.digest()?, before);
    model.run("gen", &z)?;
    model.last_loss()?;
    Ok(())
}

fn main() {
    let gpu = Gpu::from_env();
    let checks: [(&str, Check); 7] = [
        ("alternating", alternating),
        ("counts", counts),
        ("verified", verified),
        ("saved", saved),
        ("sharing", sharing),
        ("functional", functional),
        ("mistakes", mistakes),
    ];
    let mut trials = Vec::new();
    for (name, check) in checks {
        trials.extend(gpu.both(name, check));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
