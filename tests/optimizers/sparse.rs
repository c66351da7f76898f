//! Tables whose gradients are looked up where the optimizer reads them.

use gradus::prelude::*;
use libtest_mimic::Failed;

/// 1.2 MB.
const TOKENS: usize = 8_209;
const WIDTH: usize = 36;

fn model(device: &Device, optimizer: impl Optimizer + 'static) -> Result<Model, Failed> {
    let net = Functional::new(|scope, inputs| {
        let tokens = inputs.get(scope.graph(), "tokens");
        let table = Embedding::new(TOKENS, WIDTH).padding_idx(0);
        let hidden = scope.apply("table", &table, tokens).mean(&[1]);
        scope.apply("head", &Dense::new(3), hidden).into()
    });
    let settings = Compile::new()
        .input("tokens", 40, DType::I32)
        .target((), DType::I32)
        .loss(CrossEntropy::new())
        .optimizer(optimizer)
        .clip_norm(0.01)
        .device(device.clone())
        .batch(5);
    Ok(net.compile(settings)?)
}

/// Every rule that takes the gradient as it is, and one that does not in one of its phases.
pub(crate) fn verified(device: &Device) -> Result<(), Failed> {
    let decayed = || AdamW::new(0.01).weight_decay(0.1);
    let groups = || Groups::new(decayed()).group(params("table"), Sgd::new(0.1).momentum(0.9));
    verify(&mut model(device, decayed())?)?;
    verify(&mut model(device, groups())?)?;
    verify(&mut model(device, decayed().accumulate(2))?)
}

fn verify(model: &mut Model) -> Result<(), Failed> {
    let found = model.verify()?;
    match found.passed() {
        true => Ok(()),
        false => Err(found.to_string().into()),
    }
}
