//! Views: ops that only move elements.

use gradus_graph::ops::{Concat, Expand, Flip, Meta, Pad, Permute, Reshape, Slice, Slide};
use gradus_graph::{Scalar, Shape};

use super::conv::element;
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

pub(super) fn flip<T: Float>(op: &Flip, x: &Tensor<T>) -> Tensor<T> {
    let (shape, strides) = (x.shape(), x.shape().strides());
    let mirrored = |at: usize, axis: usize| {
        let place = at / strides[axis] % shape[axis];
        at + (shape[axis] - 1 - place) * strides[axis] - place * strides[axis]
    };
    let from = |at| op.axes.iter().fold(at, |at, &axis| mirrored(at, axis));
    let positions: Vec<usize> = (0..shape.numel()).map(from).collect();
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

pub(super) fn slide<T: Float>(op: &Slide, x: &Tensor<T>, shape: Shape) -> Tensor<T> {
    // Positions and elements of the axis, each with all that lies around it.
    let (from, to) = (x.shape(), shape);
    let positions = if op.back { &from } else { &to };
    let (stride, taps) = (from.strides()[op.axis], positions.strides()[op.taps]);
    let (mut read, mut written) = (Vec::new(), Vec::new());
    for at in 0..positions.numel() {
        let tap = at / taps % positions[op.taps];
        let position = at / stride % op.window.output;
        let Some(element) = element(&op.window, tap, position) else {
            continue;
        };
        let outer = at / stride / op.window.output;
        let there = (outer * op.window.input + element) * stride + at % stride;
        let (here, there) = if op.back { (at, there) } else { (there, at) };
        read.push(here);
        written.push(there);
    }
    let mut values = Tensor::full(shape, op.outside).values().clone();
    values.put(&written, &x.values().take(&read));
    Tensor::of(shape, values)
}

fn dot(a: &[usize], b: &[usize]) -> usize {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
