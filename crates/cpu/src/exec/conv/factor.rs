//! Operands of convolutions: they lie in memory, or are computed image by image.

use std::ops::Range;

use gradus_graph::plan;
use gradus_graph::{Index, Store};

use super::floats;
use crate::exec::context::Context;
use crate::exec::memory::{Home, MAX_WRITTEN, Memory, Place};
use crate::exec::program::Compiled;
use crate::exec::words::Words;

/// An operand of a convolution.
#[derive(Debug)]
pub(super) struct Factor {
    /// Elements of an image, or of a weight.
    elements: usize,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// In memory.
    Dense(Place),
    /// Computed where it is used, from operands that are only read: a program over images.
    Computed { program: Box<Compiled>, rows: usize },
}

/// The images of a factor that were computed last.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) words: Words,
    images: Range<usize>,
}

impl Held {
    /// No images yet, and memory for them.
    pub(super) fn new(words: Words) -> Self {
        Self {
            words,
            images: 0..0,
        }
    }
}

impl Factor {
    /// An operand of so many images, of so many elements each; a weight is one image.
    ///
    /// # Errors
    /// If it has fewer, or is computed from what the kernel writes.
    pub(super) fn new(
        factor: &plan::Factor,
        places: &[Place],
        [images, elements]: [usize; 2],
    ) -> Result<Self, String> {
        let find = |operand: usize| {
            let place = places.get(operand).copied();
            place.ok_or_else(|| format!("there is no operand {operand}"))
        };
        let used = images.saturating_mul(elements);
        let source = match factor {
            plan::Factor::Dense(operand) => {
                let place = find(*operand)?;
                if place.len < used {
                    let found = place.len;
                    return Err(format!(
                        "operand {operand} has {found} words, but {used} are used"
                    ));
                }
                Source::Dense(place)
            }
            plan::Factor::Computed(program, value) => {
                let scratch = MAX_WRITTEN - 1;
                let taken = places.iter().any(|p| p.written() == Some(scratch));
                let operands = factor.operands();
                let written = operands.into_iter().map(find);
                let written = written.collect::<Result<Vec<_>, _>>()?;
                if taken || written.iter().any(|p| p.written().is_some()) {
                    return Err("an operand is computed from what the kernel writes".into());
                }
                if program.axes != [used] {
                    let axes = &program.axes;
                    return Err(format!(
                        "an operand of {used} elements is computed over {axes:?}"
                    ));
                }
                let (mut program, mut places) = (program.clone(), places.to_vec());
                program.stores.push(Store {
                    operand: places.len(),
                    index: Index::axis(0),
                    value: *value,
                });
                places.push(Place {
                    home: Home::Written(scratch),
                    start: 0,
                    len: used,
                });
                let program = Box::new(Compiled::for_lines(&program, &places, images)?);
                let rows = program.rows() / images.max(1);
                Source::Computed { program, rows }
            }
        };
        Ok(Self { elements, source })
    }

    /// True if the kernel does not write to the buffer that it lies in.
    pub(super) fn is_read_only(&self) -> bool {
        match &self.source {
            Source::Dense(place) => place.written().is_none(),
            Source::Computed { .. } => true,
        }
    }

    /// The elements of some images.
    pub(super) fn images<'s>(
        &self,
        context: Context<'_>,
        memory: &'s Memory<'_>,
        images: Range<usize>,
        held: &'s mut Held,
    ) -> &'s [f32] {
        match &self.source {
            Source::Dense(place) => memory.read(place).floats(images.start * self.elements),
            Source::Computed { program, rows } => {
                let len = images.len() * self.elements;
                if held.images != images {
                    held.words.grow(len);
                    let words = held.words.get_mut(..len).unwrap_or_default();
                    let mut memory = memory.making(words, images.start * self.elements);
                    program.run(context, &mut memory, images.start * rows..images.end * rows);
                    held.images = images;
                }
                floats(&mut held.words, len)
            }
        }
    }
}
