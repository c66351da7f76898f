//! Where operands lie, and what a kernel may touch while it runs.

use std::borrow::Cow;

use super::regions::Region;
use super::words::Words;

/// The most parts of buffers that one kernel may write, or read beside them.
pub(super) const MAX_WRITTEN: usize = 16;

/// Where an operand lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) home: Home,
    /// First word.
    pub(super) start: usize,
    /// Words that may be touched from there on.
    pub(super) len: usize,
}

/// What an operand lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// A buffer that is only read.
    Read(usize),
    /// What the kernel writes: its position among such parts of buffers.
    Written(usize),
    /// What is only read of a buffer that the kernel writes to: its position among such parts.
    Beside(usize),
    /// The product that a program is the epilogue of.
    Product,
}

impl Place {
    /// The position among what is written, if it is.
    pub(super) fn written(&self) -> Option<usize> {
        if let Home::Written(i) = self.home {
            Some(i)
        } else {
            None
        }
    }
}

/// What a kernel, or one of its threads, may touch.
#[derive(Debug)]
pub(super) struct Memory<'a> {
    buffers: &'a [Words],
    written: [Chunk<'a>; MAX_WRITTEN],
    beside: [Shared<'a>; MAX_WRITTEN],
    /// A part of a product.
    pub(super) product: Window<'a>,
}

/// A range of a buffer that is being written.
#[derive(Debug, Default)]
struct Chunk<'a> {
    first: usize,
    words: &'a mut [u32],
}

/// A range of a buffer that is only read.
#[derive(Clone, Copy, Debug, Default)]
struct Shared<'a> {
    first: usize,
    words: &'a [u32],
}

/// Words around an operand, whose element `p` is at `base + p` among them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window<'a> {
    pub(super) words: &'a [u32],
    pub(super) base: i64,
}

/// As [`Window`], to be written.
#[derive(Debug)]
pub(super) struct WindowMut<'a> {
    pub(super) words: &'a mut [u32],
    pub(super) base: i64,
}

impl<'a> Memory<'a> {
    /// All of the buffers: those that are read, and these parts of those that were taken out to be
    /// written.
    pub(super) fn new(buffers: &'a [Words], taken: &'a mut [Words], regions: &[Region]) -> Self {
        let mut memory = Self {
            buffers,
            written: Default::default(),
            beside: Default::default(),
            product: Window::default(),
        };
        for (i, taken) in taken.iter_mut().enumerate() {
            let (mut rest, mut end) = (&mut **taken, 0);
            for region in regions.iter().filter(|r| r.taken == i) {
                let first = region.words.start;
                let (_, after) = rest.split_at_mut((first - end).min(rest.len()));
                let len = region.words.len().min(after.len());
                let (words, after) = after.split_at_mut(len);
                (rest, end) = (after, first + len);
                match region.home {
                    Home::Written(k) => {
                        if let Some(chunk) = memory.written.get_mut(k) {
                            *chunk = Chunk { first, words };
                        }
                    }
                    Home::Beside(k) => {
                        if let Some(shared) = memory.beside.get_mut(k) {
                            *shared = Shared { first, words };
                        }
                    }
                    Home::Read(_) | Home::Product => {}
                }
            }
        }
        memory
    }

    /// An operand.
    pub(super) fn read(&self, place: &Place) -> Window<'_> {
        match place.home {
            Home::Read(buffer) => {
                let words = self.buffers.get(buffer).map_or(&[][..], |w| w);
                Window {
                    words,
                    base: distance(place.start, 0),
                }
            }
            Home::Written(i) => {
                let chunk = self.written.get(i);
                let (words, first) = chunk.map_or((&[][..], 0), |c| (&*c.words, c.first));
                Window {
                    words,
                    base: distance(place.start, first),
                }
            }
            Home::Beside(_) => self.read_only(place).unwrap_or_default(),
            Home::Product => self.product,
        }
    }

    /// An operand that is only read. Unlike [`Memory::read`], it can be used while
    /// another one is written.
    pub(super) fn read_only(&self, place: &Place) -> Option<Window<'a>> {
        let (words, first): (&[u32], usize) = match place.home {
            Home::Read(buffer) => (self.buffers.get(buffer)?, 0),
            Home::Beside(k) => self.beside.get(k).map(|s| (s.words, s.first))?,
            Home::Written(_) | Home::Product => return None,
        };
        Some(Window {
            words,
            base: distance(place.start, first),
        })
    }

    /// The first words of an operand, to be used while another one is written: a copy if both lie
    /// in one buffer.
    pub(super) fn snapshot(&self, place: &Place, words: usize) -> Cow<'a, [u32]> {
        match self.read_only(place) {
            Some(window) => Cow::Borrowed(window.slice(0, words).unwrap_or_default()),
            None => {
                let copy = self.read(place).slice(0, words).map(<[u32]>::to_vec);
                Cow::Owned(copy.unwrap_or_default())
            }
        }
    }

    /// An operand that the kernel writes.
    pub(super) fn write(&mut self, place: &Place) -> WindowMut<'_> {
        let chunk = place.written().and_then(|i| self.written.get_mut(i));
        let (words, first) = chunk.map_or((&mut [][..], 0), |c| (&mut *c.words, c.first));
        WindowMut {
            words,
            base: distance(place.start, first),
        }
    }

    /// The same memory, with the part of a product that begins with its element `first`.
    pub(super) fn with_product<'b>(&'b mut self, words: &'b [u32], first: usize) -> Memory<'b> {
        let mut written: [Chunk<'b>; MAX_WRITTEN] = Default::default();
        for (new, old) in written.iter_mut().zip(&mut self.written) {
            *new = Chunk {
                first: old.first,
                words: &mut *old.words,
            };
        }
        let product = Window {
            words,
            base: distance(0, first),
        };
        Memory {
            buffers: self.buffers,
            written,
            beside: self.beside,
            product,
        }
    }

    /// What is only read, to make something of it: the words of the last written buffer from
    /// `first` on.
    pub(super) fn making<'b>(&'b self, words: &'b mut [u32], first: usize) -> Memory<'b> {
        let mut written: [Chunk<'b>; MAX_WRITTEN] = Default::default();
        if let Some(last) = written.last_mut() {
            *last = Chunk { first, words };
        }
        Memory {
            buffers: self.buffers,
            written,
            beside: self.beside,
            product: Window::default(),
        }
    }

    /// What is only read.
    pub(super) fn reading(&self) -> Memory<'a> {
        Memory {
            buffers: self.buffers,
            written: Default::default(),
            beside: self.beside,
            product: Window::default(),
        }
    }

    /// Splits every written buffer in two, at these words.
    pub(super) fn split(&mut self, at: &[usize]) -> (Memory<'_>, Memory<'_>) {
        let mut left: [Chunk<'_>; MAX_WRITTEN] = Default::default();
        let mut right: [Chunk<'_>; MAX_WRITTEN] = Default::default();
        let sides = left.iter_mut().zip(&mut right);
        for ((whole, at), (left, right)) in self.written.iter_mut().zip(at).zip(sides) {
            let middle = at.saturating_sub(whole.first).min(whole.words.len());
            let (a, b) = whole.words.split_at_mut(middle);
            *left = Chunk {
                first: whole.first,
                words: a,
            };
            *right = Chunk {
                first: whole.first + middle,
                words: b,
            };
        }
        let (buffers, beside, product) = (self.buffers, self.beside, self.product);
        (
            Memory {
                buffers,
                written: left,
                beside,
                product,
            },
            Memory {
                buffers,
                written: right,
                beside,
                product,
            },
        )
    }
}

impl<'a> Window<'a> {
    /// The element at a position; 0 outside.
    #[inline]
    pub(super) fn at(&self, position: i64) -> u32 {
        let place = usize::try_from(self.base + position).ok();
        place.and_then(|p| self.words.get(p)).copied().unwrap_or(0)
    }

    /// So many elements from a position on.
    #[inline]
    pub(super) fn slice(&self, position: i64, len: usize) -> Option<&'a [u32]> {
        let start = usize::try_from(self.base + position).ok()?;
        self.words.get(start..start.checked_add(len)?)
    }

    /// Everything from a position on.
    #[inline]
    pub(super) fn after(&self, position: i64) -> Option<&'a [u32]> {
        let start = usize::try_from(self.base + position).ok()?;
        self.words.get(start..)
    }

    /// Everything from a position on, as floats.
    pub(super) fn floats(&self, position: usize) -> &'a [f32] {
        let start = place(self.base, position);
        bytemuck::cast_slice(self.words.get(start..).unwrap_or_default())
    }
}

impl WindowMut<'_> {
    /// The place of the element at a position.
    #[inline]
    pub(super) fn at(&mut self, position: i64) -> Option<&mut u32> {
        let place = usize::try_from(self.base + position).ok()?;
        self.words.get_mut(place)
    }

    /// So many elements from a position on.
    #[inline]
    pub(super) fn slice(&mut self, position: i64, len: usize) -> Option<&mut [u32]> {
        let start = usize::try_from(self.base + position).ok()?;
        self.words.get_mut(start..start.checked_add(len)?)
    }

    /// Everything from a position on.
    #[inline]
    pub(super) fn after(&mut self, position: i64) -> Option<&mut [u32]> {
        let start = usize::try_from(self.base + position).ok()?;
        self.words.get_mut(start..)
    }

    /// Everything from a position on, as floats.
    pub(super) fn floats(&mut self, position: usize) -> &mut [f32] {
        let start = place(self.base, position);
        bytemuck::cast_slice_mut(self.words.get_mut(start..).unwrap_or_default())
    }
}

fn place(base: i64, position: usize) -> usize {
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    usize::try_from(base.saturating_add(position)).unwrap_or(usize::MAX)
}

fn distance(start: usize, first: usize) -> i64 {
    let signed = |v| i64::try_from(v).unwrap_or(i64::MAX);
    signed(start) - signed(first)
}
