//! The products of a convolution: where their factors lie.

use super::view::{Range, position, tap};
use crate::Index;
use crate::ops::{Conv, Direction};

/// A factor of a product: its coordinates in an operand, and when they exist.
pub(super) type Factor = (Vec<Index>, Vec<Range>);

/// The factors, one from each operand, of the product at `at` in [`Conv::space`].
pub(super) fn factors(conv: &Conv, at: &[Index], sizes: &[usize]) -> [Factor; 2] {
    let axes = conv.windows.len();
    // The axes of the space, in its order: three, as many as there are windows, one, as many.
    let (front, rest) = at.split_at(3);
    let (here, rest) = rest.split_at(axes);
    let (inner, there) = (&rest[0], &rest[1..]);
    let channel = |per_group: usize, g: &Index, c: &Index| {
        g.scaled(i64::try_from(per_group).unwrap_or(i64::MAX))
            .plus(c)
    };
    let x = |n: &Index, g: &Index, c: &Index| vec![n.clone(), channel(conv.inputs, g, c)];
    let y = |n: &Index, g: &Index, o: &Index| vec![n.clone(), channel(conv.outputs, g, o)];
    let w = |g: &Index, o: &Index, c: &Index| vec![channel(conv.outputs, g, o), c.clone()];
    let moved = |step: Step, a: &[Index], b: &[Index]| -> Factor {
        let steps = conv.windows.iter().zip(a.iter().zip(b));
        let steps = steps.map(|(window, (a, b))| step(window, a, b, sizes));
        let (places, ranges): (Vec<_>, Vec<_>) = steps.unzip();
        (places, ranges.concat())
    };
    let join = |channels: Vec<Index>, (places, ranges): Factor| -> Factor {
        ([channels, places].concat(), ranges)
    };
    let plain = |places: &[Index]| (places.to_vec(), Vec::new());
    match (conv.direction, front) {
        (Direction::Output, [n, g, o]) => [
            join(x(n, g, inner), moved(tap, here, there)),
            join(w(g, o, inner), plain(there)),
        ],
        (Direction::Input, [n, g, c]) => [
            join(y(n, g, inner), moved(position, here, there)),
            join(w(g, inner, c), plain(there)),
        ],
        (Direction::Weight, [g, o, c]) => [
            join(x(inner, g, c), moved(tap, there, here)),
            join(y(inner, g, o), plain(there)),
        ],
        // A space begins with three axes.
        _ => Default::default(),
    }
}

type Step = fn(&crate::ops::Window, &Index, &Index, &[usize]) -> (Index, Vec<Range>);
