//! Convolution and its gradients.

use gradus_graph::Shape;
use gradus_graph::ops::{Conv, Direction, Window};

use super::tensor::{Float, Tensor, Values};

/// Sums run in ascending order of what is summed over.
pub(super) fn conv<T: Float>(
    op: &Conv,
    a: &Tensor<T>,
    b: &Tensor<T>,
    shape: Shape,
) -> Option<Tensor<T>> {
    let (groups, inputs, outputs) = (op.groups, op.inputs, op.outputs);
    let volume = |of: fn(&Window) -> usize| op.windows.iter().map(of).product::<usize>();
    let [q, k, p] = [
        volume(|w| w.input),
        volume(|w| w.size),
        volume(|w| w.output),
    ];
    let meetings = meetings(&op.windows);
    let batch = match op.direction {
        Direction::Weight => a.shape()[0],
        _ => shape[0],
    };
    let (a, b) = (a.floats()?, b.floats()?);
    let mut sum = vec![T::of(0.0); shape.numel()];
    for n in 0..batch {
        for g in 0..groups {
            for o in 0..outputs {
                for c in 0..inputs {
                    let x = ((n * groups + g) * inputs + c) * q;
                    let w = ((g * outputs + o) * inputs + c) * k;
                    let y = ((n * groups + g) * outputs + o) * p;
                    for m in &meetings {
                        let (x, w, y) = (x + m.element, w + m.tap, y + m.position);
                        let (to, a, b) = match op.direction {
                            Direction::Output => (y, a[x], b[w]),
                            Direction::Input => (x, a[y], b[w]),
                            Direction::Weight => (w, a[x], b[y]),
                        };
                        sum[to] = sum[to] + a * b;
                    }
                }
            }
        }
    }
    Some(Tensor::of(shape, Values::Float(sum)))
}

/// A tap that lies on an element at a position, each counted over all axes in row-major order.
#[derive(Clone, Copy, Default)]
struct Meeting {
    element: usize,
    tap: usize,
    position: usize,
}

/// All of them, in ascending order of tap, then position.
fn meetings(windows: &[Window]) -> Vec<Meeting> {
    let mut all = vec![Meeting::default()];
    for w in windows {
        all = all
            .iter()
            .flat_map(|m| (0..w.size).map(move |k| (m, k)))
            .flat_map(|(m, k)| (0..w.output).map(move |p| (m, k, p)))
            .filter_map(|(m, tap, position)| {
                Some(Meeting {
                    element: m.element * w.input + element(w, tap, position)?,
                    tap: m.tap * w.size + tap,
                    position: m.position * w.output + position,
                })
            })
            .collect();
    }
    all.sort_by_key(|m| (m.tap, m.position));
    all
}

/// The element on which a tap lies, if it lies inside.
pub(super) fn element(w: &Window, tap: usize, position: usize) -> Option<usize> {
    let q = (position * w.stride + tap * w.dilation).checked_sub(w.padding)?;
    (q < w.input).then_some(q)
}
