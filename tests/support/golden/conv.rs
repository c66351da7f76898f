//! `02a`, `02b`, `02c`, `02g`: convolutions, a transposed one, and pools.

use std::sync::Arc;

use gradus_graph::{ConvOptions, PoolOptions, Var};

use super::{Case, File, with_gradients};

pub(super) fn cases() -> Vec<Case> {
    let plain = ConvOptions::new;
    let convs = [
        ("02a_conv2d_s2p1g2", plain().stride(2).padding(1).groups(2)),
        (
            "02a_conv2d_s2p1d2g2",
            plain().stride(2).padding(1).dilation(2).groups(2),
        ),
        (
            "02b_conv1d",
            plain().stride(2).padding(3).dilation(2).groups(2),
        ),
    ];
    let convs = convs.map(|(name, options)| layer(name, move |x, w| x.conv(w, &options)));
    let doubled = plain().stride(2).padding(1).output_padding(1);
    let transposed = layer("02c_convtranspose2d_basic", move |x, w| {
        x.conv_transpose(w, &doubled)
    });
    convs
        .into_iter()
        .chain([transposed])
        .chain(pools())
        .collect()
}

/// A convolution with a bias, and its gradients.
fn layer<F>(name: &str, conv: F) -> Case
where
    F: for<'g> Fn(Var<'g>, Var<'g>) -> Var<'g> + Send + Sync + 'static,
{
    let file = File::open(name);
    let inputs = ["in.x", "w.weight", "w.bias", "in.gy"];
    let wanted = ["out.y", "grad.x", "grad.weight", "grad.bias"];
    Case::new(&file, "layer", &inputs, &wanted, move |_, x| {
        let mut bias = vec![1; x[0].rank() - 1];
        bias[0] = x[2].dim(0);
        let y = conv(x[0], x[1]) + x[2].reshape(bias);
        with_gradients(y, x[3], &x[..3])
    })
}

fn pools() -> Vec<Case> {
    let file = File::open("02g_pooling");
    let size = |n: usize| PoolOptions::new(n);
    let over = || size(3).stride(2).padding(1);
    let max = [
        ("max.k2s2", size(2)),
        ("max.k3s2p1", over()),
        ("max.k3s2p1_ceil", over().ceil_mode()),
        ("max.k2s3_ceil", size(2).stride(3).ceil_mode()),
        ("max.k3s1d2", size(3).stride(1).dilation(2)),
        (
            "max.k3x2",
            PoolOptions::new([3, 2]).stride([2, 1]).padding([1, 0]),
        ),
        ("max_ties", over()),
    ];
    let average = [
        ("avg.k2s2", size(2)),
        ("avg.k3s2p1", over()),
        ("avg.k3s2p1_nopad", over().exclude_padding()),
        ("avg.k3s2p1_ceil", over().ceil_mode()),
        (
            "avg.k3s2p1_ceil_nopad",
            over().ceil_mode().exclude_padding(),
        ),
    ];
    let adaptive = [
        ("adaptive_avg.1x1", [1, 1]),
        ("adaptive_avg.3x2", [3, 2]),
        ("adaptive_avg.4x5", [4, 5]),
    ];
    let max = max.map(|(part, options)| pool(&file, part, move |x| x.max_pool(&options)));
    let average = average.map(|(part, options)| pool(&file, part, move |x| x.avg_pool(&options)));
    let adaptive = adaptive.map(|(part, n)| pool(&file, part, move |x| x.adaptive_avg_pool(n)));
    max.into_iter().chain(average).chain(adaptive).collect()
}

fn pool<F>(file: &Arc<File>, part: &str, f: F) -> Case
where
    F: for<'g> Fn(Var<'g>) -> Var<'g> + Send + Sync + 'static,
{
    let x = if part == "max_ties" { "x_ties" } else { "x" };
    let inputs = [format!("in.{x}"), format!("in.{part}.gy")];
    let wanted = [format!("out.{part}.y"), format!("grad.{part}.{x}")];
    let inputs = inputs.each_ref().map(String::as_str);
    let wanted = wanted.each_ref().map(String::as_str);
    Case::new(file, part, &inputs, &wanted, move |_, x| {
        with_gradients(f(x[0]), x[1], &x[..1])
    })
}
