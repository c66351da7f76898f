//! Views: ops that only move elements.

use gradus_graph::ops::{Concat, Expand, Meta, Pad, Permute, Reshape, Slice};
use gradus_graph::{Scalar, Shape};

use super::tensor::{Float, Tensor, strided};

pub(super) fn reshape<T: Float>(op: &Reshape, x: &Tensor<T>) -> Tensor<T> {
    Tensor::of(op.shape, x.values().clone())
}

pub(super) fn expand<T: Float>(op: &Expand, x: &Tensor<T>) -> Tensor<T> {
    let sizes = x.shape();
    let strides: Vec<usize> = sizes
        .strides()
        .iter()
        .zip(sizes.iter())
        .map(|(&stride, &size)| if size == 1 { 0 } else { stride })
        .collect();
    let positions = strided(&op.shape, 0, &strides);
    Tensor::of(op.shape, x.values().take(&positions))
}

pub(super) fn permute<T: Float>(op: &Permute, x: &Tensor<T>, shape: Shape) -> Tensor<T> {
    let from = x.shape().strides();
    let strides: Vec<usize> = op.axes.iter().map(|&a| from[a]).collect();
    let positions = strided(&shape, 0, &strides);
    Tensor::of(shape, x.values().take(&positions))
}

pub(super) fn slice<T: Float>(op: &Slice, x: &Tensor<T>, shape: Shape) -> Tensor<T> {
    let from = x.shape().strides();
    let offset = dot(&op.start, &from);
    let strides: Vec<usize> = from.iter().zip(&op.step).map(|(s, n)| s * n).collect();
    let positions = strided(&shape, offset, &strides);
    Tensor::of(shape, x.values().take(&positions))
}

pub(super) fn pad<T: Float>(op: &Pad, x: &Tensor<T>, shape: Shape) -> Tensor<T> {
    let mut values = Tensor::full(shape, op.value).values().clone();
    let to = shape.strides();
    let positions = strided(&x.shape(), dot(&op.before, &to), &to);
    values.put(&positions, x.values());
    Tensor::of(shape, values)
}

pub(super) fn concat<T: Float>(op: &Concat, inputs: &[&Tensor<T>], meta: Meta) -> Tensor<T> {
    let filled = Tensor::full(meta.shape, Scalar::zero(meta.dtype));
    let mut values = filled.values().clone();
    let to = meta.shape.strides();
    let mut start = 0;
    for x in inputs {
        let positions = strided(&x.shape(), start * to[op.axis], &to);
        values.put(&positions, x.values());
        start += x.shape()[op.axis];
    }
    Tensor::of(meta.shape, values)
}

fn dot(a: &[usize], b: &[usize]) -> usize {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
