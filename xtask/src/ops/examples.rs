//! A small graph for each op.

use gradus_graph::ops::{LayerNorm, Normalize, Sharing};
use gradus_graph::{
    AttentionOptions, ConvOptions, DType, Graph, PoolOptions, UpsampleOptions, Var, vjp,
};

/// A graph with an op in it.
pub(super) struct Example {
    /// The variant of `Op`, or the struct of the composite.
    pub(super) op: &'static str,
    /// The op's name.
    pub(super) name: &'static str,
    pub(super) build: for<'g> fn(&'g Graph) -> Var<'g>,
}

const fn example(
    op: &'static str,
    name: &'static str,
    build: for<'g> fn(&'g Graph) -> Var<'g>,
) -> Example {
    Example { op, name, build }
}

/// In the order of the kinds, where an op has several.
pub(super) const EXAMPLES: &[Example] = &[
    example("Select", "select", |g| {
        let condition = g.input("condition", [64, 64], DType::Bool);
        condition.select(x(g, &[64, 64]), x(g, &[64, 64]))
    }),
    example("Cast", "cast", |g| x(g, &[64, 64]).cast(DType::I32)),
    example("CheckIndex", "check_index", |g| {
        index(g, &[64]).check_index(10)
    }),
    example("StopGradient", "stop_gradient", |g| {
        x(g, &[64, 64]).stop_gradient()
    }),
    example("Reshape", "reshape", |g| x(g, &[8, 6]).reshape([2, 24])),
    example("Expand", "expand", |g| x(g, &[1, 6]).expand([8, 6])),
    example("Permute", "permute", |g| {
        x(g, &[2, 8, 6]).permute(&[1, 0, 2])
    }),
    example("Slice", "slice", |g| {
        x(g, &[8, 6]).slice(&[1, 0], &[8, 6], &[2, 1])
    }),
    example("Flip", "flip", |g| x(g, &[8, 6]).flip(&[0])),
    example("Pad", "pad", |g| x(g, &[8, 6]).pad(&[1, 0], &[0, 2], 0.0)),
    example("Concat", "concat", |g| {
        x(g, &[8, 6]).concat(&[x(g, &[8, 4])], 1)
    }),
    example("Slide", "slide", |g| {
        x(g, &[8, 16, 28, 28]).max_pool(&PoolOptions::new(3).stride(2))
    }),
    example("Reduce", "sum", |g| x(g, &[64, 64]).sum_keep(&[1])),
    example("Reduce", "prod", |g| x(g, &[64, 64]).prod_keep(&[1])),
    example("Reduce", "max", |g| x(g, &[64, 64]).max_keep(&[1])),
    example("Reduce", "min", |g| x(g, &[64, 64]).min_keep(&[1])),
    example("ArgReduce", "argmax", |g| x(g, &[64, 64]).argmax(1)),
    example("ArgReduce", "argmin", |g| x(g, &[64, 64]).argmin(1)),
    example("Scan", "cumsum", |g| x(g, &[64, 64]).cumsum(1)),
    example("Scan", "cumprod", |g| x(g, &[64, 64]).cumprod(1)),
    example("Scan", "cummax", |g| x(g, &[64, 64]).cummax(1).0),
    example("Scan", "linear_scan", |g| {
        x(g, &[64, 64]).linear_scan(x(g, &[64, 64]), 1)
    }),
    example("ArgSort", "argsort", |g| x(g, &[64, 1000]).argsort(1)),
    example("MatMul", "matmul", |g| {
        x(g, &[64, 48]).matmul(x(g, &[48, 32]))
    }),
    example("Conv", "conv", |g| {
        x(g, &[8, 16, 28, 28]).conv(x(g, &[32, 16, 3, 3]), &ConvOptions::new())
    }),
    example("Conv", "conv_input", |g| {
        x(g, &[8, 32, 14, 14]).conv_transpose(x(g, &[32, 16, 2, 2]), &ConvOptions::new().stride(2))
    }),
    example("Conv", "conv_weight", |g| {
        let (image, weight) = (x(g, &[8, 16, 28, 28]), x(g, &[32, 16, 3, 3]));
        gradient(image.conv(weight, &ConvOptions::new()), weight)
    }),
    example("Attention", "attention", |g| {
        let [q, k, v] = heads(g);
        q.attention(k, v, &AttentionOptions::new())
    }),
    example("Attention", "attention_log_sum", |g| {
        let [q, k, v] = heads(g);
        gradient(q.attention(k, v, &AttentionOptions::new()), q)
    }),
    example("Attention", "attention_grad", |g| {
        let [q, k, v] = heads(g);
        gradient(q.attention(k, v, &AttentionOptions::new()), q)
    }),
    example("Gather", "gather", |g| {
        x(g, &[100, 16]).gather(index(g, &[64]))
    }),
    example("ScatterAdd", "scatter_add", |g| {
        let table = x(g, &[100, 16]);
        gradient(table.gather(index(g, &[64])), table)
    }),
    example("FirstPosition", "first_position", |g| {
        index(g, &[64]).first_position(100)
    }),
    example("SliceUpdate", "slice_update", |g| {
        let starts = index(g, &[4]);
        x(g, &[4, 64, 32]).slice_update(x(g, &[4, 2, 32]), starts)
    }),
    example("Softmax", "softmax", |g| x(g, &[64, 100]).softmax()),
    example("LogSoftmax", "log_softmax", |g| {
        x(g, &[64, 100]).log_softmax()
    }),
    example("CrossEntropy", "cross_entropy", |g| {
        x(g, &[64, 100]).cross_entropy(index(g, &[64]))
    }),
    example("LayerNorm", "layer_norm", |g| normalized(g, true)),
    example("LayerNorm", "rms_norm", |g| normalized(g, false)),
    example("Normalize", "batch_norm", |g| channels(g, Sharing::Batch)),
    example("Normalize", "group_norm", |g| {
        channels(g, Sharing::Groups(4))
    }),
    example("FirstMax", "first_max", |g| {
        x(g, &[8, 16, 28, 28]).max_pool(&PoolOptions::new(2))
    }),
    example("Resample", "resample", |g| {
        x(g, &[8, 16, 14, 14]).upsample(&UpsampleOptions::scale(2.0).linear())
    }),
];

fn x<'g>(graph: &'g Graph, shape: &[usize]) -> Var<'g> {
    graph.input("x", shape, DType::F32)
}

fn index<'g>(graph: &'g Graph, shape: &[usize]) -> Var<'g> {
    graph.input("index", shape, DType::I32)
}

/// The gradient of one input, for a cotangent that is fed.
fn gradient<'g>(y: Var<'g>, of: Var<'g>) -> Var<'g> {
    let dy = x(y.graph(), &y.shape());
    let gradients = vjp(y, dy, &[of]).into_iter().flatten();
    gradients.last().unwrap_or(y)
}

fn heads(graph: &Graph) -> [Var<'_>; 3] {
    [(); 3].map(|()| x(graph, &[4, 64, 4, 32]))
}

fn normalized(graph: &Graph, centered: bool) -> Var<'_> {
    let op = LayerNorm {
        axes: 1,
        eps: 1e-5,
        centered,
    };
    let (input, weight) = (x(graph, &[64, 96]), x(graph, &[96]));
    match centered {
        true => input.composite(op, &[weight, x(graph, &[96])]),
        false => input.composite(op, &[weight]),
    }
}

fn channels(graph: &Graph, sharing: Sharing) -> Var<'_> {
    let op = Normalize { sharing, eps: 1e-5 };
    let affine = [x(graph, &[16]), x(graph, &[16])];
    x(graph, &[8, 16, 28, 28]).composite(op, &affine)
}
