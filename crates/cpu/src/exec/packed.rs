//! Operands that lie packed in memory, two bfloat16 in a word: a kernel finds them unpacked in
//! memory of its own, and what it leaves there is packed again.

use std::ops::Range;

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use super::context::Context;
use super::words::Words;

/// Elements that a thread takes at once; an even number, so that no two meet in a word.
const BLOCK: usize = 1 << 14;

/// An operand that lies packed in memory.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    /// Its number in the kernel.
    pub(super) operand: usize,
    /// Where it lies.
    pub(super) buffer: usize,
    pub(super) words: Range<usize>,
    /// The buffer from whose start on it is unpacked, and its elements.
    pub(super) unpacked: usize,
    pub(super) len: usize,
    pub(super) reads: bool,
    pub(super) writes: bool,
}

impl Packed {
    /// Unpacks what a kernel will read.
    pub(super) fn unpack(&self, context: Context<'_>, buffers: &mut [Words]) {
        self.between(buffers, |packed, elements| {
            let one = |(out, words): (&mut [u32], &[u32])| {
                context.arch.dispatch(|| unpack(words, out));
            };
            if context.threads && elements.len() > BLOCK {
                let blocks = elements.par_chunks_mut(BLOCK);
                blocks.zip(packed.par_chunks(BLOCK / 2)).for_each(one);
            } else {
                one((elements, packed));
            }
        });
    }

    /// Packs what a kernel has written.
    pub(super) fn pack(&self, context: Context<'_>, buffers: &mut [Words]) {
        self.between(buffers, |packed, elements| {
            let one = |(words, x): (&mut [u32], &[u32])| context.arch.dispatch(|| pack(x, words));
            if context.threads && elements.len() > BLOCK {
                let blocks = packed.par_chunks_mut(BLOCK / 2);
                blocks.zip(elements.par_chunks(BLOCK)).for_each(one);
            } else {
                one((packed, elements));
            }
        });
    }

    /// The elements, each as a word.
    pub(super) fn elements(&self, buffers: &[Words]) -> Vec<u32> {
        let mut elements = vec![0; self.len];
        let words = buffers.get(self.buffer);
        let words = words.and_then(|words| words.get(self.words.clone()));
        unpack(words.unwrap_or_default(), &mut elements);
        elements
    }

    fn between(&self, buffers: &mut [Words], f: impl FnOnce(&mut [u32], &mut [u32])) {
        let Some(place) = buffers.get_mut(self.unpacked) else {
            return;
        };
        let mut unpacked = std::mem::take(place);
        let packed = buffers.get_mut(self.buffer);
        let packed = packed.and_then(|words| words.get_mut(self.words.clone()));
        if let (Some(packed), Some(elements)) = (packed, unpacked.get_mut(..self.len)) {
            f(packed, elements);
        }
        if let Some(place) = buffers.get_mut(self.unpacked) {
            *place = unpacked;
        }
    }
}

#[inline(always)]
fn unpack(words: &[u32], out: &mut [u32]) {
    let (pairs, last) = out.as_chunks_mut::<2>();
    for ([low, high], word) in pairs.iter_mut().zip(words) {
        (*low, *high) = (word << 16, word & 0xffff_0000);
    }
    if let ([last], Some(word)) = (last, words.last()) {
        *last = word << 16;
    }
}

/// Of elements that are rounded.
#[inline(always)]
fn pack(x: &[u32], words: &mut [u32]) {
    let (pairs, last) = x.as_chunks::<2>();
    for ([low, high], word) in pairs.iter().zip(words.iter_mut()) {
        *word = low >> 16 | high & 0xffff_0000;
    }
    if let ([last], Some(word)) = (last, words.last_mut()) {
        *word = last >> 16;
    }
}
