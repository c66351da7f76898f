//! An operand of a convolution, seen from the sum: implicit im2col.
//!
//! A lane and a term of the sum each give a part of the place of an element: elements to go from
//! the start, and steps along the spatial axes. The parts of lanes are found once, before the
//! sum; those of terms once for all lanes; together they are one addition for each axis, a test
//! whether the steps end inside, and a load.

use gradus_graph::ops::{Conv, Direction, Window};
use gradus_graph::plan::ConvKernel;

use super::super::{ShaderError, Writer, small};
use super::phases::Phases;

/// How the elements of an operand are found.
#[derive(Clone, Debug)]
pub(super) struct Gather {
    name: &'static str,
    lanes: Vec<Digit>,
    terms: Vec<Digit>,
    axes: Vec<Axis>,
    /// Elements from one group to the next.
    batch_stride: u32,
    phased: Option<Phased>,
}

/// What depends on the phase of a convolution.
#[derive(Clone, Debug)]
struct Phased {
    /// Phases of a group.
    count: u32,
    /// Elements from the start.
    start: Vec<String>,
    /// Steps along each axis.
    steps: Vec<String>,
    /// Whether terms may be visited that are none.
    masked: bool,
}

/// A part of the number of a lane or a term, which counts its digits from the innermost one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digit {
    /// Values, or the most there are of taps.
    size: u32,
    /// The axis whose taps these are, if their number depends on the phase.
    count: Option<usize>,
    /// Elements from one value to the next.
    pitch: u32,
    /// Steps along a spatial axis from one value to the next.
    steps: Option<(usize, i32)>,
}

/// A spatial axis.
#[derive(Clone, Copy, Debug)]
struct Axis {
    /// Steps at 0.
    first: i32,
    /// Steps from one element to the next.
    stride: u32,
    /// Elements.
    len: u32,
    /// Elements in memory from one to the next.
    pitch: u32,
    /// Whether steps can lead outside, or between elements.
    checked: bool,
}

impl Digit {
    pub(super) const fn plain(size: u32, pitch: u32) -> Self {
        Self {
            size,
            count: None,
            pitch,
            steps: None,
        }
    }

    pub(super) const fn along(size: u32, axis: usize, steps: i32) -> Self {
        Self {
            size,
            count: None,
            pitch: 0,
            steps: Some((axis, steps)),
        }
    }

    /// The same for the taps of an axis, of which a phase has its own number.
    pub(super) const fn of_axis(self, axis: usize) -> Self {
        Self {
            count: Some(axis),
            ..self
        }
    }
}

/// The operands of a convolution as those of a product, whose terms are visited in groups of
/// `unit`. The left one may be a matrix.
pub(super) fn operands(
    kernel: &ConvKernel,
    phases: Option<&Phases>,
    unit: u32,
) -> Result<(Option<Gather>, Gather), ShaderError> {
    let conv = &kernel.conv;
    let images = small(kernel.images)?;
    let [c, o] = [small(conv.inputs)?, small(conv.outputs)?];
    let count = |of: fn(&Window) -> usize| small(conv.windows.iter().map(of).product());
    let [x, y, taps] = [
        count(|w| w.input)?,
        count(|w| w.output)?,
        count(|w| w.size)?,
    ];
    let groups = small(conv.groups)?;
    let a = |lanes, terms, batch_stride| Gather::new("a", lanes, terms, Vec::new(), batch_stride);
    let b = |lanes, terms, axes, batch_stride| Gather::new("b", lanes, terms, axes, batch_stride);
    let digits = |front: Digit, steps: fn(&Window) -> (usize, usize, bool)| {
        let windows = conv.windows.iter().enumerate();
        let rest = windows.map(|(axis, w)| {
            let (size, steps, back) = steps(w);
            let steps = int(steps)?;
            Ok(Digit::along(
                small(size)?,
                axis,
                if back { -steps } else { steps },
            ))
        });
        std::iter::once(Ok(front))
            .chain(rest)
            .collect::<Result<Vec<_>, ShaderError>>()
    };
    Ok(match conv.direction {
        Direction::Output => {
            let lanes = digits(Digit::plain(images, groups * c * x), |w| {
                (w.output, w.stride, false)
            })?;
            let terms = digits(Digit::plain(c, x), |w| (w.size, w.dilation, false))?;
            (None, b(lanes, terms, axes(conv, false)?, c * x))
        }
        Direction::Input if let Some(phases) = phases => {
            let phased = |start, steps| {
                Ok::<_, ShaderError>(Phased {
                    count: small(phases.count())?,
                    start,
                    steps,
                    masked: phases.overrun(unit),
                })
            };
            let kernels = phases.of_kernel(c * taps)?;
            let a = a(vec![Digit::plain(c, taps)], kernels, o * c * taps);
            let lanes = phases.lanes(images, groups * o * y)?;
            let b = b(lanes, phases.of_y(y)?, axes(conv, true)?, o * y);
            (
                Some(a.phased(phased(phases.first(), Vec::new())?)),
                b.phased(phased(Vec::new(), phases.from())?),
            )
        }
        Direction::Input => {
            let kernels = vec![Digit::plain(o, c * taps), Digit::plain(taps, 1)];
            let lanes = digits(Digit::plain(images, groups * o * y), |w| {
                (w.input, 1, false)
            })?;
            let terms = digits(Digit::plain(o, y), |w| (w.size, w.dilation, true))?;
            (
                Some(a(vec![Digit::plain(c, taps)], kernels, o * c * taps)),
                b(lanes, terms, axes(conv, true)?, o * y),
            )
        }
        Direction::Weight => {
            let positions = vec![Digit::plain(images, groups * o * y), Digit::plain(y, 1)];
            let lanes = digits(Digit::plain(c, x), |w| (w.size, w.dilation, false))?;
            let terms = digits(Digit::plain(images, groups * c * x), |w| {
                (w.output, w.stride, false)
            })?;
            (
                Some(a(vec![Digit::plain(o, y)], positions, o * y)),
                b(lanes, terms, axes(conv, false)?, c * x),
            )
        }
    })
}

/// The spatial axes of `x`, or `back` those of `y`.
fn axes(conv: &Conv, back: bool) -> Result<Vec<Axis>, ShaderError> {
    let len = |w: &Window| if back { w.output } else { w.input };
    let windows = conv.windows.iter().enumerate();
    let axes = windows.map(|(i, w)| {
        let behind = conv.windows.iter().skip(i + 1);
        let (padding, stride) = (int(w.padding)?, small(w.stride)?);
        Ok(Axis {
            first: if back { padding } else { -padding },
            stride: if back { stride } else { 1 },
            len: small(len(w))?,
            pitch: small(behind.map(len).product())?,
            checked: true,
        })
    });
    axes.collect()
}

pub(super) fn int(size: usize) -> Result<i32, ShaderError> {
    i32::try_from(size).map_err(|_| ShaderError::TooLarge(size))
}

impl Gather {
    fn new(
        name: &'static str,
        lanes: Vec<Digit>,
        terms: Vec<Digit>,
        mut axes: Vec<Axis>,
        batch_stride: u32,
    ) -> Self {
        for (i, axis) in axes.iter_mut().enumerate() {
            let (mut low, mut high) = (i64::from(axis.first), i64::from(axis.first));
            for digit in lanes.iter().chain(&terms) {
                if let Some((_, steps)) = digit.steps.filter(|s| s.0 == i) {
                    let most = i64::from(steps) * (i64::from(digit.size) - 1);
                    (low, high) = (low + most.min(0), high + most.max(0));
                }
            }
            axis.checked = axis.stride > 1 || low < 0 || high >= i64::from(axis.len);
        }
        Self {
            name,
            lanes,
            terms,
            axes,
            batch_stride,
            phased: None,
        }
    }

    /// The same with what the phases give, which find positions without a stride.
    fn phased(mut self, phased: Phased) -> Self {
        for axis in &mut self.axes {
            (axis.first, axis.stride, axis.checked) = (0, 1, true);
        }
        self.phased = Some(phased);
        self
    }

    /// Declares the function that finds an element, which `load` then loads from `place`.
    pub(super) fn declare(&self, out: &mut Writer, load: &str) {
        let steps: String = (0..self.axes.len())
            .map(|i| format!(", i{i}: i32"))
            .collect();
        let head = format!("fn {}_at(start: u32{steps}) -> f32", self.name);
        out.block(head, |out| {
            let mut place = vec!["start".to_owned()];
            let mut inside = Vec::new();
            for (i, axis) in self.axes.iter().enumerate() {
                // What is negative becomes too large.
                let (len, stride) = (axis.len, axis.stride);
                let mut at = format!("u32(i{i})");
                if stride > 1 {
                    inside.push(format!("{at} % {stride}u == 0u"));
                    at = format!("{at} / {stride}u");
                }
                if axis.checked {
                    inside.push(format!("{at} < {len}u"));
                }
                place.push(match axis.pitch {
                    1 => at,
                    pitch => format!("{at} * {pitch}u"),
                });
            }
            let place = place.join(" + ");
            if inside.is_empty() {
                out.line(format_args!("let place = {place};"));
                out.line(format_args!("return {load};"));
                return;
            }
            out.line(format_args!("let inside = {};", inside.join(" && ")));
            out.line(format_args!("let place = select(0u, {place}, inside);"));
            out.line(format_args!("return select(0.0, {load}, inside);"));
        });
    }

    /// Declares the part of the place that lane `lane` of group `batch` gives, under this name.
    pub(super) fn lane(&self, out: &mut Writer, name: &str, base: u32, lane: &str) {
        let mut start = Vec::new();
        if base > 0 {
            start.push(format!("{base}u"));
        }
        if self.batch_stride > 0 {
            let group = match &self.phased {
                Some(phased) => format!("batch / {}u", phased.count),
                None => "batch".to_owned(),
            };
            start.push(format!("{group} * {}u", self.batch_stride));
        }
        let text = |first: i32| (first != 0).then(|| format!("{first}"));
        let first = self
            .axes
            .iter()
            .map(|a| text(a.first).into_iter().collect());
        let mut first: Vec<Vec<String>> = first.collect();
        if let Some(phased) = &self.phased {
            start.extend(phased.start.iter().cloned());
            for (first, step) in first.iter_mut().zip(&phased.steps) {
                first.push(step.clone());
            }
        }
        part(out, name, lane, &self.lanes, start, first);
    }

    /// Declares the part of the place that a term gives, under this name.
    pub(super) fn term(&self, out: &mut Writer, name: &str, term: &str) {
        let none = vec![Vec::new(); self.axes.len()];
        if !self.is_masked() {
            part(out, name, term, &self.terms, Vec::new(), none);
            return;
        }
        out.line(format_args!("let {name}_in = {term} < terms;"));
        let term = format!("select(0u, {term}, {name}_in)");
        part(out, name, &term, &self.terms, Vec::new(), none);
    }

    fn is_masked(&self) -> bool {
        self.phased.as_ref().is_some_and(|p| p.masked)
    }

    /// Whether a term says by itself whether it is one.
    pub(super) const fn knows_terms(&self) -> bool {
        self.phased.is_some()
    }

    /// The element at a lane and a term, by the names of their parts.
    pub(super) fn load(&self, lane: &str, term: &str) -> String {
        let steps: String = (0..self.axes.len())
            .map(|i| format!(", {lane}_{i} + {term}_{i}"))
            .collect();
        let element = format!("{}_at({lane} + {term}{steps})", self.name);
        match self.is_masked() {
            true => format!("select(0.0, {element}, {term}_in)"),
            false => element,
        }
    }
}

/// Declares `name`, elements from the start, and `name_i`, steps along axis `i`.
fn part(
    out: &mut Writer,
    name: &str,
    number: &str,
    digits: &[Digit],
    mut start: Vec<String>,
    mut steps: Vec<Vec<String>>,
) {
    out.line(format_args!("let {name}_n = {number};"));
    let mut below: Vec<String> = Vec::new();
    for (i, digit) in digits.iter().enumerate().rev() {
        if digit.size == 1 {
            continue;
        }
        let mut value = format!("{name}_n");
        if !below.is_empty() {
            value = format!("{value} / ({})", below.join(" * "));
        }
        let size = match digit.count {
            Some(axis) => format!("taps{axis}"),
            None => format!("{}u", digit.size),
        };
        let outermost = digits.iter().take(i).all(|d| d.size == 1);
        if !outermost {
            value = format!("{value} % {size}");
        }
        below.push(size);
        match digit.steps {
            None if digit.pitch == 1 => start.push(value),
            None => start.push(format!("({value}) * {}u", digit.pitch)),
            Some((axis, scale)) => {
                let value = match scale {
                    1 => format!("i32({value})"),
                    scale => format!("i32({value}) * ({scale})"),
                };
                if let Some(steps) = steps.get_mut(axis) {
                    steps.push(value);
                }
            }
        }
    }
    let sum = |terms: &[String], zero: &str| match terms {
        [] => zero.to_owned(),
        terms => terms.join(" + "),
    };
    out.line(format_args!("let {name} = {};", sum(&start, "0u")));
    for (i, steps) in steps.iter().enumerate() {
        out.line(format_args!("let {name}_{i} = {};", sum(steps, "0i")));
    }
}
