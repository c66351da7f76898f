//! Convolutions in every direction: the sizes that networks have, and awkward ones.
#![allow(dead_code, reason = "each user takes what it needs")]

use gradus_graph::ops::{Conv, Direction, Window};
use gradus_graph::plan::{ConvKernel, Factor};
use gradus_graph::{DType, Expr, ExprId, Index, Program, Store};

use crate::kernels::Memory;

/// Images, groups, channels of `x` and of `y` in a group, and a window for each axis as
/// (elements, taps, stride, dilation, padding).
type Case = (usize, usize, usize, usize, &'static [[usize; 5]]);

const CASES: [Case; 6] = [
    (32, 1, 16, 32, &[[14, 3, 1, 1, 1], [14, 3, 1, 1, 1]]),
    (8, 1, 64, 64, &[[56, 3, 1, 1, 1], [56, 3, 1, 1, 1]]),
    (8, 1, 64, 128, &[[28, 3, 2, 1, 1], [28, 3, 2, 1, 1]]),
    (4, 1, 256, 64, &[[14, 1, 1, 1, 0], [14, 1, 1, 1, 0]]),
    (3, 2, 5, 7, &[[11, 3, 2, 1, 1], [10, 2, 3, 2, 2]]),
    (2, 3, 4, 6, &[[257, 5, 2, 3, 4]]),
];

/// Every case in every direction, with a name.
pub(crate) fn all() -> Vec<(String, ConvKernel, Vec<Memory>)> {
    let directions = [Direction::Output, Direction::Input, Direction::Weight];
    let cases = CASES.iter().flat_map(|case| directions.map(|d| (case, d)));
    cases
        .map(|(case, direction)| kernel(case, direction))
        .collect()
}

fn kernel(case: &Case, direction: Direction) -> (String, ConvKernel, Vec<Memory>) {
    let &(images, groups, inputs, outputs, windows) = case;
    let window = |&[input, size, stride, dilation, padding]: &[usize; 5]| Window {
        input,
        output: (input + 2 * padding - dilation * (size - 1) - 1) / stride + 1,
        size,
        stride,
        dilation,
        padding,
    };
    let conv = Conv {
        direction,
        groups,
        inputs,
        outputs,
        windows: windows.iter().map(window).collect(),
    };
    let count = |of: fn(&Window) -> usize| conv.windows.iter().map(of).product::<usize>();
    let x = images * groups * inputs * count(|w| w.input);
    let w = groups * outputs * inputs * count(|w| w.size);
    let y = images * groups * outputs * count(|w| w.output);
    let [a, b, result] = match direction {
        Direction::Output => [x, w, y],
        Direction::Input => [y, w, x],
        Direction::Weight => [x, y, w],
    };
    let axes = conv.result(images);
    let place = Index::linear(&[0, 1, 2].map(Index::axis), &axes);
    let epilogue = Program {
        axes: axes.to_vec(),
        kept: 3,
        exprs: vec![Expr::Accumulator],
        dtypes: vec![DType::F32],
        stores: vec![Store {
            operand: 2,
            index: place,
            value: ExprId(0),
        }],
    };
    let sums = direction == Direction::Weight;
    let mut memory = vec![
        Memory::floats(&vec![0.5; a]),
        Memory::floats(&vec![0.5; b]),
        Memory::output(DType::F32, result),
    ];
    if sums {
        memory.push(Memory::output(DType::F32, groups * outputs));
    }
    let name = format!("{} {case:?}", conv.name());
    let kernel = ConvKernel {
        conv,
        images,
        a: Factor::Dense(0),
        b: Factor::Dense(1),
        row_sum: sums.then_some(3),
        epilogue,
    };
    (name, kernel, memory)
}
