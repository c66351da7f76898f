//! The phases of a strided convolution, seen from its input.
//!
//! ```text
//! x[q] = Σ y[p] · w[k]   over all taps k and positions p with   q = stride·p + dilation·k − padding
//! ```
//!
//! Of the taps only every so-manyth meets a position: the same ones for all elements
//! `q = stride·t + f` of a phase `f`. A phase is a product of its own, with no zeros in its sum,
//! `p` a step on for each `t`, and back for each of its taps `k = first + spacing·j`. All of an
//! axis follows from the phase by arithmetic on constants:
//!
//! ```text
//! g = gcd(stride, dilation)   spacing = stride / g   r = (f + padding) mod stride
//! no taps unless g divides r; else first = (r / g) · (dilation / g)⁻¹ mod spacing
//! p = t + (f + padding − dilation·first) / stride − j · dilation / g
//! ```

use gradus_graph::ops::{Conv, Direction, Window};

use super::super::{ShaderError, Writer, small};
use super::gather::{Digit, int};

/// All phases of a convolution.
#[derive(Clone, Debug)]
pub(super) struct Phases {
    axes: Vec<Phased>,
    /// Channels that are summed over: an innermost part of the terms.
    channels: usize,
}

/// An axis: its window, and what the phases share.
#[derive(Clone, Copy, Debug)]
struct Phased {
    window: Window,
    /// The greatest common divisor of stride and dilation.
    divisor: usize,
    /// Taps from one tap of a phase to its next.
    spacing: usize,
    /// What makes the first tap of the remainder.
    inverse: usize,
}

impl Phased {
    fn new(window: Window) -> Self {
        let divisor = gcd(window.stride, window.dilation);
        let spacing = window.stride / divisor;
        let step = window.dilation / divisor % spacing.max(1);
        let inverse = (0..spacing).find(|i| step * i % spacing == 1 % spacing);
        Self {
            window,
            divisor,
            spacing,
            inverse: inverse.unwrap_or(0),
        }
    }

    /// Phases that have elements.
    fn count(&self) -> usize {
        self.window.stride.min(self.window.input)
    }

    /// Elements of the phase that has the most.
    fn len(&self) -> usize {
        self.window.input.div_ceil(self.window.stride)
    }

    /// Taps of the phase that has the most.
    fn taps(&self) -> usize {
        self.window.size.div_ceil(self.spacing)
    }

    /// The phase `f{i}`, its first tap `first{i}`, how many it has, `taps{i}`, and the position
    /// `from{i}` where its first element meets the first of them.
    fn declare(&self, out: &mut Writer, i: usize, below: usize) {
        let Window {
            stride,
            dilation,
            padding,
            size,
            ..
        } = self.window;
        let Self {
            divisor,
            spacing,
            inverse,
            ..
        } = self;
        out.line(format_args!("let f{i} = {};", self.phase("phase", below)));
        out.line(format_args!("let r{i} = (f{i} + {padding}u) % {stride}u;"));
        out.line(format_args!(
            "let first{i} = r{i} / {divisor}u * {inverse}u % {spacing}u;"
        ));
        out.line(format_args!(
            "let taps{i} = select(0u, ({}u - first{i}) / {spacing}u, r{i} % {divisor}u == 0u);",
            size + spacing - 1
        ));
        out.line(format_args!(
            "let from{i} = i32(f{i} + {padding}u - {dilation}u * first{i}) / {stride}i;"
        ));
    }

    /// The phase along this axis, from the number of all axes' phases.
    fn phase(&self, number: &str, below: usize) -> String {
        match self.count() {
            1 => "0u".to_owned(),
            count => format!("{number} / {below}u % {count}u"),
        }
    }
}

impl Phases {
    /// The phases of a convolution toward its input, if there is more than one.
    pub(super) fn of(conv: &Conv) -> Option<Self> {
        let strided = conv.windows.iter().any(|w| w.stride > 1);
        (conv.direction == Direction::Input && strided).then(|| Self {
            axes: conv.windows.iter().copied().map(Phased::new).collect(),
            channels: conv.outputs,
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.axes.iter().map(Phased::count).product()
    }

    /// Elements of the largest.
    pub(super) fn len(&self) -> usize {
        self.axes.iter().map(Phased::len).product()
    }

    /// Terms of the longest sum.
    pub(super) fn terms(&self) -> usize {
        self.channels * self.axes.iter().map(Phased::taps).product::<usize>()
    }
}

impl Phases {
    /// Declares what a workgroup needs to know of its phase, and the number of its `terms`.
    pub(super) fn declare(&self, out: &mut Writer) {
        out.line(format_args!("let phase = batch % {}u;", self.count()));
        let mut terms = format!("{}u", self.channels);
        for (i, below) in self.below(Phased::count) {
            if let Some(axis) = self.axes.get(i) {
                axis.declare(out, i, below);
            }
            terms += &format!(" * taps{i}");
        }
        out.line(format_args!("let terms = {terms};"));
    }

    /// The place in the image of element `col` of a phase of group `batch`, as the lines that find
    /// `position` or leave if there is none.
    pub(super) fn position(&self, out: &mut Writer) {
        out.line(format_args!("let phase = batch % {}u;", self.count()));
        out.line(format_args!("let t = col % {}u;", self.len()));
        let counts = self.below(Phased::count);
        let (lens, inputs) = (self.below(Phased::len), self.below(|a| a.window.input));
        let mut place = Vec::new();
        for ((((i, phases), (_, len)), (_, pitch)), axis) in
            counts.zip(lens).zip(inputs).zip(&self.axes)
        {
            let Window { stride, input, .. } = axis.window;
            let t = match axis.len() {
                1 => "0u".to_owned(),
                n => format!("t / {len}u % {n}u"),
            };
            let f = axis.phase("phase", phases);
            out.line(format_args!("let q{i} = {t} * {stride}u + {f};"));
            if !input.is_multiple_of(axis.count()) {
                out.line(format_args!("if q{i} >= {input}u {{ return; }}"));
            }
            place.push(format!("q{i} * {pitch}u"));
        }
        out.line(format_args!("let position = {};", place.join(" + ")));
    }

    /// The axes, with the product of the sizes of those behind each.
    fn below(&self, size: impl Fn(&Phased) -> usize) -> impl Iterator<Item = (usize, usize)> {
        let sizes: Vec<usize> = self.axes.iter().map(size).collect();
        let below = move |i: usize| sizes.iter().skip(i + 1).product();
        (0..self.axes.len()).map(move |i| (i, below(i)))
    }

    /// The part of a lane of `y`: the image, with so many elements from one to the next, and steps.
    pub(super) fn lanes(&self, images: u32, pitch: u32) -> Result<Vec<Digit>, ShaderError> {
        let steps = self.axes.iter().enumerate();
        let steps = steps.map(|(i, axis)| Ok(Digit::along(small(axis.len())?, i, 1)));
        std::iter::once(Ok(Digit::plain(images, pitch)))
            .chain(steps)
            .collect()
    }

    /// The parts of a term of `y`, whose channels are so many elements apart.
    pub(super) fn of_y(&self, pitch: u32) -> Result<Vec<Digit>, ShaderError> {
        self.terms_of(pitch, |i, axis, taps| {
            let step = int(axis.window.dilation / axis.divisor)?;
            Ok(Digit::along(taps, i, -step))
        })
    }

    /// The same of the kernel.
    pub(super) fn of_kernel(&self, pitch: u32) -> Result<Vec<Digit>, ShaderError> {
        let pitches: Vec<usize> = self.below(|a| a.window.size).map(|(_, n)| n).collect();
        self.terms_of(pitch, |i, axis, taps| {
            let pitch = pitches.get(i).copied().unwrap_or(1);
            Ok(Digit::plain(taps, small(axis.spacing * pitch)?))
        })
    }

    /// The taps of each axis, of which a phase has its own number, then the channel.
    fn terms_of(
        &self,
        pitch: u32,
        taps: impl Fn(usize, &Phased, u32) -> Result<Digit, ShaderError>,
    ) -> Result<Vec<Digit>, ShaderError> {
        let axes = self.axes.iter().enumerate();
        let taps = axes.map(|(i, axis)| Ok(taps(i, axis, small(axis.taps())?)?.of_axis(i)));
        let channel = small(self.channels).map(|channels| Digit::plain(channels, pitch));
        taps.chain(std::iter::once(channel)).collect()
    }

    /// The positions where the first elements of a phase meet its first taps.
    pub(super) fn from(&self) -> Vec<String> {
        (0..self.axes.len()).map(|i| format!("from{i}")).collect()
    }

    /// The place of its first tap in the kernel.
    pub(super) fn first(&self) -> Vec<String> {
        let pitches = self.below(|a| a.window.size);
        pitches.map(|(i, n)| format!("first{i} * {n}u")).collect()
    }

    /// Whether some terms are no terms of the sum, where they are visited in groups of so many.
    pub(super) const fn overrun(&self, unit: u32) -> bool {
        !self.channels.is_multiple_of(unit as usize)
    }
}

const fn gcd(a: usize, b: usize) -> usize {
    match b {
        0 => a,
        _ => gcd(b, a % b),
    }
}
