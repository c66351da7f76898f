//! Files of many small parts, made by `own.py`; `own_layers` and `own_losses`.

use std::sync::Arc;

use gradus_graph::{ConvOptions, Layer, PoolOptions, Scope, UpsampleOptions, Var};
use gradus_nn::{
    CosineEmbedding, Ctc, GaussianNll, GroupNorm, HingeEmbedding, Huber, InstanceNorm,
    KlDivergence, L1, Loss, MarginRanking, Mse, MultiMargin, PoissonNll, Reduction, SmoothL1,
    TripletMargin,
};

use super::{Case, File, with_gradients};

pub(super) type Part = Box<dyn for<'g> Fn(&Scope<'g>, &[Var<'g>]) -> Var<'g> + Send + Sync>;

pub(super) fn cases() -> Vec<Case> {
    let affine = ["weight", "bias"];
    let mut cases = cases_of("own_layers", &affine, layers());
    cases.extend(cases_of("own_losses", &[], losses()));
    cases
}

/// The parts of a file, each with those of these parameters that it has, in the order in which it
/// makes them.
pub(super) fn cases_of(
    file: &str,
    params: &[&str],
    parts: impl IntoIterator<Item = (String, Part)>,
) -> Vec<Case> {
    let file = File::open(file);
    let parts = parts.into_iter();
    parts
        .map(|(part, f)| case(&file, &part, params, f))
        .collect()
}

/// The result of a part on its inputs, and the gradients that the file holds, which are those of
/// floats that come first, and of parameters.
fn case(file: &Arc<File>, part: &str, params: &[&str], f: Part) -> Case {
    let given = format!("in.{part}.");
    let gy = format!("{given}gy");
    let inputs: Vec<&str> = file
        .names()
        .filter(|n| n.starts_with(&given) && *n != gy)
        .collect();
    let gradient = |name: &str| format!("grad.{part}.{name}");
    let has = |name: &String| file.names().any(|n| n == name);
    let of = |n: &&str| gradient(&n[given.len()..]);
    let wrt: Vec<usize> = (0..inputs.len())
        .filter(|&i| has(&of(&inputs[i])))
        .collect();
    let mut wanted = vec![format!("out.{part}.y")];
    wanted.extend(wrt.iter().map(|&i| of(&inputs[i])));
    wanted.extend(params.iter().map(|name| gradient(name)).filter(has));
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let inputs: Vec<&str> = inputs.iter().copied().chain([gy.as_str()]).collect();
    let name = part.to_owned();
    Case::new(file, part, &inputs, &wanted, move |graph, x| {
        let (gy, x) = x.split_last().unwrap();
        let y = f(&Scope::root(graph, true).child(&name), x);
        let wrt: Vec<Var<'_>> = wrt
            .iter()
            .map(|&i| x[i])
            .chain(graph.param_vars())
            .collect();
        with_gradients(y, *gy, &wrt)
    })
}

pub(super) fn part<F>(name: &str, f: F) -> (String, Part)
where
    F: for<'g> Fn(&Scope<'g>, &[Var<'g>]) -> Var<'g> + Send + Sync + 'static,
{
    (name.to_owned(), Box::new(f))
}

fn layers() -> Vec<(String, Part)> {
    let conv = ConvOptions::new;
    let transposed = [
        (
            "g2s2op1",
            conv().stride(2).padding(1).output_padding(1).groups(2),
        ),
        (
            "g3s2x3d2",
            conv()
                .stride([2, 3])
                .padding([1, 0])
                .output_padding([1, 2])
                .dilation([2, 1])
                .groups(3),
        ),
        ("d3s1", conv().dilation(3).padding(2)),
        (
            "1d",
            conv()
                .stride(3)
                .padding(2)
                .output_padding(2)
                .dilation(2)
                .groups(2),
        ),
    ];
    let plain = [
        ("1d_g4d3", conv().groups(4).dilation(3).padding(2)),
        ("1d_s5", conv().stride(5).padding(1)),
        ("depthwise", conv().groups(5).padding(1).stride([2, 1])),
        ("1x1s2", conv().stride(2)),
    ];
    let mut parts = Vec::new();
    for (name, options) in transposed {
        parts.push(part(&format!("transposed.{name}"), move |_, x| {
            biased(x[0].conv_transpose(x[1], &options), x[2])
        }));
    }
    for (name, options) in plain {
        parts.push(part(&format!("conv.{name}"), move |_, x| {
            biased(x[0].conv(x[1], &options), x[2])
        }));
    }
    parts.extend([
        part("group_norm.2d", |s, x| GroupNorm::new(3).forward(s, x[0])),
        part("group_norm.1d", |s, x| GroupNorm::new(2).forward(s, x[0])),
        part("instance_norm.2d", |s, x| {
            InstanceNorm::new().affine().forward(s, x[0])
        }),
        part("instance_norm.1d", |s, x| {
            InstanceNorm::new().affine().forward(s, x[0])
        }),
    ]);
    parts.extend(pools());
    parts.extend(resizing());
    parts
}

/// With a bias along the channels.
fn biased<'g>(y: Var<'g>, bias: Var<'g>) -> Var<'g> {
    let mut axes = vec![1; y.rank() - 1];
    axes[0] = bias.dim(0);
    y + bias.reshape(axes)
}

fn pools() -> Vec<(String, Part)> {
    let sizes = [
        ("k3s2p1", PoolOptions::new(3).stride(2).padding(1)),
        (
            "k3x2s2x3",
            PoolOptions::new([3, 2]).stride([2, 3]).padding([1, 0]),
        ),
        ("1d", PoolOptions::new(4).stride(3).padding(2)),
    ];
    let mut parts = Vec::new();
    for (name, options) in sizes {
        for (tag, options) in [
            ("", options.clone()),
            ("_nopad", options.clone().exclude_padding()),
            ("_ceil", options.clone().ceil_mode()),
            ("_ceil_nopad", options.ceil_mode().exclude_padding()),
        ] {
            let name = format!("avg.{name}{tag}");
            parts.push(part(&name, move |_, x| x[0].avg_pool(&options)));
        }
    }
    let ceil = PoolOptions::new(3).stride(2).padding(1).ceil_mode();
    parts.push(part("max.1d_ceil", move |_, x| x[0].max_pool(&ceil)));
    parts.push(part("adaptive.5x3", |_, x| x[0].adaptive_avg_pool([5, 3])));
    parts.push(part("adaptive.up", |_, x| x[0].adaptive_avg_pool([7, 4])));
    parts.push(part("adaptive.1d", |_, x| x[0].adaptive_avg_pool(4)));
    parts
}

fn resizing() -> Vec<(String, Part)> {
    let size = |n: [usize; 2]| UpsampleOptions::size(n);
    let mut parts = Vec::new();
    for (name, options) in [
        ("nearest_5x7", size([5, 7])),
        ("nearest_2.5", UpsampleOptions::scale(2.5)),
        ("nearest_down", size([3, 2])),
        ("bilinear_5x7", size([5, 7]).linear()),
        ("bilinear_down", size([3, 2]).linear()),
        ("corners_5x7", size([5, 7]).align_corners()),
        ("corners_1x3", size([1, 3]).align_corners()),
        ("linear_1d", UpsampleOptions::size(8).linear()),
    ] {
        parts.push(part(&format!("up.{name}"), move |_, x| {
            x[0].upsample(&options)
        }));
    }
    parts.push(part("shuffle.3", |_, x| x[0].pixel_shuffle(3)));
    parts.push(part("unshuffle.2", |_, x| x[0].pixel_unshuffle(2)));
    parts
}

fn losses() -> Vec<(String, Part)> {
    use Reduction::{Mean, None, Sum};
    let mut parts = Vec::new();
    for (how, name) in [(Mean, "mean"), (Sum, "sum"), (None, "none")] {
        let mut pair = |part: &str, loss: Box<dyn Loss>| {
            // The target is `t`, the prediction `x`.
            let f: Part = Box::new(move |s, x| loss.forward(s, x[1], x[0]));
            parts.push((format!("{part}.{name}"), f));
        };
        pair("l1", Box::new(L1::new().reduction(how)));
        pair("mse", Box::new(Mse::new().reduction(how)));
        for delta in [1.0, 1.5, 0.3] {
            let huber = Huber::new().delta(delta).reduction(how);
            pair(&format!("huber{delta:?}"), Box::new(huber));
        }
        for beta in [1.0, 1.5, 0.3, 0.0] {
            let smooth = SmoothL1::new().beta(beta).reduction(how);
            pair(&format!("smooth_l1_{beta:?}"), Box::new(smooth));
        }
        let kl = || KlDivergence::new().reduction(how);
        pair("kl", Box::new(kl()));
        pair("kl_log", Box::new(kl().log_target()));
        let poisson = || PoissonNll::new().reduction(how);
        pair("poisson", Box::new(poisson()));
        pair("poisson_full", Box::new(poisson().full()));
        pair("poisson_rates", Box::new(poisson().rates().eps(1e-3)));
        let hinge = || HingeEmbedding::new().reduction(how);
        pair("hinge_embedding", Box::new(hinge().margin(0.7)));
        pair("hinge_embedding_odd", Box::new(hinge()));
        let margin = || MultiMargin::new().reduction(how);
        let weights = [0.5, 2.0, 1.0, 0.25, 3.0];
        let squared = margin().squared().margin(0.8).class_weights(weights);
        pair("multi_margin", Box::new(margin()));
        pair("multi_margin_p2w", Box::new(squared));
        parts.extend(of_three(how).map(|(part, f)| (format!("{part}.{name}"), f)));
    }
    let mean = KlDivergence::new().batch_mean();
    parts.push(part("kl.batchmean", move |s, x| {
        mean.forward(s, x[1], x[0])
    }));
    let mean = KlDivergence::new().log_target().batch_mean();
    parts.push(part("kl_log.batchmean", move |s, x| {
        mean.forward(s, x[1], x[0])
    }));
    parts
}

fn of_three(how: Reduction) -> impl Iterator<Item = (String, Part)> {
    let gaussian = move || GaussianNll::new().reduction(how);
    let triplet = move || TripletMargin::new().reduction(how);
    let mut parts = Vec::new();
    for (name, loss) in [
        ("gaussian", gaussian().eps(0.01)),
        ("gaussian_full", gaussian().full()),
        ("gaussian_rows", gaussian()),
        ("gaussian_flat", gaussian()),
    ] {
        parts.push(part(name, move |s, x| loss.forward(s, x[0], x[1], x[2])));
    }
    for (name, loss) in [
        ("triplet_p1", triplet().norm(1.0)),
        ("triplet_p2", triplet()),
        ("triplet_p3", triplet().norm(3.0)),
        ("triplet_swap", triplet().margin(2.0).swap()),
    ] {
        parts.push(part(name, move |s, x| loss.forward(s, x[0], x[1], x[2])));
    }
    let ranking = MarginRanking::new().margin(0.3).reduction(how);
    parts.push(part("ranking", move |s, x| {
        ranking.forward(s, x[0], x[1], x[2])
    }));
    let cosine = CosineEmbedding::new().margin(0.1).reduction(how);
    parts.push(part("cosine", move |s, x| {
        cosine.forward(s, x[0], x[1], x[2])
    }));
    let ctc = Ctc::new().reduction(how);
    for (name, ctc) in [("ctc", ctc), ("ctc_zero", ctc.zero_infinity())] {
        parts.push(part(name, move |s, x| {
            ctc.forward(s, x[0].log_softmax(), x[1], x[2], x[3])
        }));
    }
    parts.into_iter()
}
